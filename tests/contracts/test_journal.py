"""What every journal promises; the one in memory, the one in SQLite, and that of two run the same tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from journal_support import PATIENCE_S, RunLog, Sent, a_run, finished, note, started, step

from executus.errors import (
    JournalConflict,
    JournalUnavailable,
    LogCorrupt,
    RequestRepeated,
    RunIsOver,
    UnknownRun,
)
from executus.events import Event, NoteLogged, Opaque
from executus.events.codec import BLOB_BYTES, Body, Stored, run_id_bytes
from executus.events.envelope import chain_hash
from executus.events.upcasts import UPCASTS
from executus.journal import BesideJournal, MemoryJournal, SqliteJournal, open_journal, verify_run
from executus.ports import Append, Recovery, RunSummary
from executus.projections import fold

AnyJournal = MemoryJournal | SqliteJournal | BesideJournal


class AllAside(BesideJournal):
    """Keeps every run in memory, and shows those where it shows the stored ones otherwise."""

    def append(self, append: Append) -> None:
        if append.expected == 0 and self.run(append.run_id) is None:
            self.keep_aside(append.run_id, recorded=True)
        super().append(append)

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return self.aside.scan(after, limit)

    def head(self) -> int:
        return self.aside.head()

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        return self.aside.runs(unfinished=unfinished, after=after, limit=limit)


@pytest.fixture(params=["memory", "sqlite", "beside", "aside"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyJournal]:
    opened: AnyJournal = open_journal(None if request.param == "memory" else tmp_path / "runs.db")
    if request.param in ("beside", "aside"):
        assert isinstance(opened, SqliteJournal)
        opened = BesideJournal(opened) if request.param == "beside" else AllAside(opened)
    yield opened
    assert opened.close(PATIENCE_S)


def stored_raw(run: RunLog, tag: str, schema: int, payload: object) -> Stored:
    """The next event of `run` as another version of executus would store it."""
    body = msgspec.msgpack.encode(Body(s=schema, t=1, e=2, o=1, p=msgspec.Raw(msgspec.msgpack.encode(payload))))
    digest = chain_hash(run.hash, run_id_bytes(run.run_id), run.version + 1, tag, body)
    fact = Opaque(tag=tag, schema=schema, payload=b"")
    event = Event(run_id=run.run_id, version=run.version + 1, tag=tag, fact=fact, hash=digest)
    return Stored(event, digest + body, run.hash)


class TestAppending:
    def test_what_was_appended_is_read_back_equal(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.write(*step(1, "ünïcödé ☃ " * 50), note(1))
        assert journal.read(run.run_id) == run.events
        assert journal.scan() == run.events

    def test_an_append_is_acknowledged_exactly_once(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        sent = [run.send(note(number)) for number in range(50)]
        assert [one.answer() for one in sent] == [None] * 50
        RunLog(journal).start()  # whatever would come twice has come by now
        assert all(one.answers == [None] for one in sent)

    def test_events_carry_their_positions_when_acknowledged(self, journal: AnyJournal) -> None:
        first, second = a_run(journal, 2), a_run(journal, 1)
        assert [event.position for event in first.events] == [1, 2, 3]
        assert [event.position for event in second.events] == [4, 5]
        assert journal.head() == 5

    def test_a_wrong_expected_version_is_a_conflict_that_names_both(self, journal: AnyJournal) -> None:
        run = a_run(journal, 2)
        stale = RunLog(journal, run.run_id)
        error = stale.send(started(run.run_id)).answer()
        assert isinstance(error, JournalConflict)
        assert (error.run_id, error.expected, error.found) == (run.run_id, 0, 3)

    def test_a_version_gap_is_refused(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        skipped = run.encode(note(1), note(2))[1:]
        sent = Sent(run.run_id, run.version, skipped)
        journal.append(sent)
        assert isinstance(sent.answer(), JournalConflict)
        ahead = Sent(run.run_id, run.version + 1, skipped)
        journal.append(ahead)
        assert isinstance(ahead.answer(), JournalConflict)
        assert len(journal.read(run.run_id)) == 1

    def test_a_refused_append_stores_none_of_its_events(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        good, bad = run.encode(note(1)), a_run(journal).encode(note(2))
        sent = Sent(run.run_id, run.version, [*good, *bad])
        journal.append(sent)
        assert isinstance(sent.answer(), JournalConflict)
        assert [event.version for event in journal.read(run.run_id)] == [1]

    def test_a_conflict_never_fails_its_neighbours(self, journal: AnyJournal) -> None:
        runs = [a_run(journal) for _ in range(20)]
        stale = [RunLog(journal, run.run_id) for run in runs]
        good = [run.send(note(1)) for run in runs for _ in (0,)]
        bad = [one.send(started(one.run_id)) for one in stale]
        more = [run.send(note(2), note(3)) for run in runs]
        assert [one.answer() for one in good + more] == [None] * 40
        assert all(isinstance(one.answer(), JournalConflict) for one in bad)
        assert all(journal.read(run.run_id, verify=True) == run.events for run in runs)

    def test_an_append_that_is_nonsense_fails_alone(self, journal: AnyJournal) -> None:
        run, other = a_run(journal), a_run(journal)
        nonsense = Sent("no uuid", 0, [object()])  # type: ignore[list-item]
        before, between, after = run.send(note(1)), Sent(other.run_id, 1, None), run.send(note(2))  # type: ignore[arg-type]
        journal.append(nonsense)
        journal.append(between)
        last = other.send(note(1))
        assert isinstance(nonsense.answer(), JournalUnavailable)
        assert isinstance(between.answer(), JournalUnavailable)
        assert [before.answer(), after.answer(), last.answer()] == [None, None, None]

    def test_an_empty_append_is_acknowledged_and_stores_nothing(self, journal: AnyJournal) -> None:
        assert RunLog(journal).send().answer() is None
        assert journal.head() == 0
        assert journal.runs() == []

    def test_many_threads_share_the_journal_and_every_run_stays_whole(self, journal: AnyJournal) -> None:
        runs = [RunLog(journal) for _ in range(8)]

        def work(run: RunLog) -> None:
            run.start()
            for number in range(25):
                run.write(note(number), note(number))

        threads = [threading.Thread(target=work, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        everything = journal.scan(limit=10_000)
        assert [event.position for event in everything] == list(range(1, 8 * 51 + 1))
        for run in runs:
            assert journal.read(run.run_id, verify=True) == run.events

    def test_an_acknowledgement_that_raises_hurts_nobody(self, journal: AnyJournal) -> None:
        class Rude(Sent):
            def done(self, error: object) -> None:
                super().done(None)
                raise SystemExit("rude")

        run = RunLog(journal)
        rude = Rude(run.run_id, 0, run.encode(started(run.run_id)))
        journal.append(rude)
        rude.answer()
        assert a_run(journal, 3).version == 4

    def test_an_acknowledgement_may_append_again(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        last = threading.Event()

        class Chain(Sent):
            def done(self, error: object) -> None:
                assert error is None
                if run.version < 20:
                    stored = run.encode(note(run.version))
                    run.version, run.hash = stored[-1].event.version, stored[-1].event.hash
                    journal.append(Chain(run.run_id, run.version - 1, stored))
                else:
                    last.set()

        Chain(run.run_id, 1, []).done(None)
        assert last.wait(PATIENCE_S)
        assert len(journal.read(run.run_id, verify=True)) == 20


class TestRequests:
    def test_the_same_request_is_the_same_run(self, journal: AnyJournal) -> None:
        first, second = RunLog(journal), RunLog(journal)
        first.write(started(first.run_id), request_key="alice:1")
        error = second.send(started(second.run_id), request_key="alice:1").answer()
        assert isinstance(error, RequestRepeated)
        assert error.run_id == first.run_id == journal.find_request("alice:1")
        assert journal.run(second.run_id) is None

    def test_the_same_request_twice_at_once_is_one_run(self, journal: AnyJournal) -> None:
        runs = [RunLog(journal) for _ in range(20)]
        sent = [run.send(started(run.run_id), request_key="same") for run in runs]
        answers = [one.answer() for one in sent]
        assert answers.count(None) == 1
        winner = runs[answers.index(None)].run_id
        assert {answer.run_id for answer in answers if isinstance(answer, RequestRepeated)} == {winner}

    def test_no_request_key_and_an_unknown_one_find_nothing(self, journal: AnyJournal) -> None:
        a_run(journal), a_run(journal)
        assert journal.find_request("") is None
        assert journal.find_request("never seen") is None


class TestTheEnd:
    def test_nothing_but_notes_may_follow_the_end(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.write(finished())
        refused = Sent(run.run_id, run.version, run.encode(*step(1)))
        journal.append(refused)
        assert isinstance(refused.answer(), RunIsOver)
        second_end = Sent(run.run_id, run.version, run.encode(finished()))
        journal.append(second_end)
        assert isinstance(second_end.answer(), JournalConflict)
        run.write(note(1))
        assert journal.read(run.run_id, verify=True) == run.events

    def test_the_end_counts_within_one_append_too(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        sent = Sent(run.run_id, run.version, run.encode(finished(), *step(1)))
        journal.append(sent)
        assert isinstance(sent.answer(), RunIsOver)
        assert len(journal.read(run.run_id)) == 1
        run.write(finished(), note(1))

    def test_the_index_says_which_runs_are_over(self, journal: AnyJournal) -> None:
        going, over = a_run(journal, 1), a_run(journal)
        over.write(finished())
        assert [row.run_id for row in journal.runs(unfinished=True)] == [going.run_id]
        assert [row.over for row in journal.runs()] == [False, True]


class TestReading:
    def test_a_read_starts_after_a_version_and_stops_at_the_limit(self, journal: AnyJournal) -> None:
        run = a_run(journal, 9)
        assert journal.read(run.run_id, 4) == run.events[4:]
        assert journal.read(run.run_id, 4, 3) == run.events[4:7]
        assert journal.read(run.run_id, 10) == []
        assert journal.read(run.run_id, 4, 3, verify=True) == run.events[4:7]

    def test_an_unknown_run_is_named(self, journal: AnyJournal) -> None:
        a_run(journal)
        for unknown in (str(uuid4()), "nonsense", ""):
            assert journal.run(unknown) is None
            for reading in (journal.read, journal.load):
                with pytest.raises(UnknownRun, match=repr(unknown)):
                    reading(unknown)

    def test_a_scan_pages_through_all_runs_in_order_of_position(self, journal: AnyJournal) -> None:
        runs = [a_run(journal, 4) for _ in range(3)]
        pages = [journal.scan(0, 6), journal.scan(6, 6), journal.scan(12, 6), journal.scan(15, 6)]
        assert [len(page) for page in pages] == [6, 6, 3, 0]
        assert [event for page in pages for event in page] == [event for run in runs for event in run.events]

    def test_the_index_has_a_row_for_each_run(self, journal: AnyJournal) -> None:
        runs = [a_run(journal, number) for number in range(4)]
        rows = journal.runs()
        assert [row.run_id for row in rows] == [run.run_id for run in runs]
        for run, row in zip(runs, rows, strict=True):
            assert (row.version, row.first_position) == (run.version, run.events[0].position)
            assert (row.position, row.hash) == (run.events[-1].position, run.hash)
            assert journal.run(run.run_id) == row
        assert journal.runs(after=rows[1].first_position, limit=1) == [rows[2]]

    def test_a_load_is_the_fold_of_all_events(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        for number in range(1, 30):
            run.write(*step(number))
        run.write(finished(), note(1))
        assert journal.load(run.run_id) == fold(run.events)

    def test_a_log_that_makes_no_sense_is_corrupt_and_not_a_crash(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.write(step(1)[2])  # a tool that no model asked for
        with pytest.raises(LogCorrupt, match="fold"):
            journal.load(run.run_id)

    def test_what_a_reader_does_with_an_event_changes_nothing_stored(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.write(note(1))
        fact = journal.read(run.run_id)[-1].fact
        assert isinstance(fact, NoteLogged)
        fact.payload["number"] = 666
        assert journal.read(run.run_id, verify=True)[-1].fact == note(1)

    def test_large_payloads_are_kept_out_of_line_and_come_back_whole(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        large = "x" * (BLOB_BYTES * 3)
        sent = run.send(note(1, large), note(2), note(3, large))
        assert sent.ok()
        assert [one.blob is not None for one in sent.stored] == [True, False, True]
        assert journal.read(run.run_id, verify=True) == run.events
        assert journal.scan() == run.events


class TestOtherVersions:
    def test_an_unknown_fact_is_kept_and_makes_its_run_read_only(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.send_stored([stored_raw(run, "moon-landed", 3, {"a": 1})]).ok()
        event = journal.read(run.run_id, verify=True)[-1]
        payload = msgspec.msgpack.encode({"a": 1})
        assert event.fact == Opaque(tag="moon-landed", schema=3, payload=payload)
        assert journal.load(run.run_id).state.read_only

    def test_an_old_schema_is_read_as_todays_fact(self, journal: AnyJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        def from_zero(payload: dict[str, object]) -> dict[str, object]:
            return {"type": payload["kind"], "payload": {"was": payload["text"]}}

        monkeypatch.setitem(UPCASTS, ("note-logged", 0), from_zero)  # type: ignore[arg-type]
        run = a_run(journal)
        run.send_stored([stored_raw(run, "note-logged", 0, {"kind": "old", "text": "hello"})]).ok()
        expected = NoteLogged(type="old", payload={"was": "hello"})
        assert journal.read(run.run_id, verify=True)[-1].fact == expected
        assert journal.scan()[-1].fact == expected
        assert journal.load(run.run_id).version == 2

    def test_an_event_that_does_not_decode_stops_its_run_and_no_scan(self, journal: AnyJournal) -> None:
        bad, good = a_run(journal), a_run(journal)
        bad.send_stored([stored_raw(bad, "step-started", 1, {"step": "not a number"})]).ok()
        good.write(note(1))
        with pytest.raises(LogCorrupt, match="does not decode") as caught:
            journal.read(bad.run_id)
        assert (caught.value.run_id, caught.value.version) == (bad.run_id, 2)
        with pytest.raises(LogCorrupt, match="does not decode"):
            journal.load(bad.run_id)
        seen = journal.scan()
        assert [event.position for event in seen] == [1, 2, 3, 4]
        assert isinstance(seen[2].fact, Opaque)
        assert seen[2].fact.schema == -1
        assert journal.read(good.run_id) == good.events
        assert verify_run(journal, bad.run_id) != []


class TestFollowing:
    def test_followers_are_told_what_is_durable_in_order_and_once(self, journal: AnyJournal) -> None:
        told: list[Event] = []

        def follower(events: object) -> None:
            for event in events:  # type: ignore[attr-defined]
                assert journal.read(event.run_id, event.version - 1, 1) == [event]
                told.append(event)

        before = a_run(journal, 2)
        leave = journal.follow(follower)
        runs = [a_run(journal, 3) for _ in range(5)]
        last = a_run(journal)
        RunLog(journal).start()  # the batch before this one was told completely
        leave()
        a_run(journal)
        assert told[:21] == [event for run in [*runs, last] for event in run.events]
        assert told[0].position == before.events[-1].position + 1
        assert len(told) in (21, 22)  # the last one raced with leaving

    def test_followers_never_hear_of_what_was_refused(self, journal: AnyJournal) -> None:
        told: list[Event] = []
        journal.follow(told.extend)
        run = a_run(journal)
        RunLog(journal, run.run_id).send(started(run.run_id)).answer()
        after = a_run(journal)
        RunLog(journal).start()
        assert told[:2] == [run.events[0], after.events[0]]

    def test_a_follower_that_raises_hurts_nobody(self, journal: AnyJournal) -> None:
        told: list[Event] = []

        def rude(events: object) -> None:
            raise KeyboardInterrupt

        journal.follow(rude)
        journal.follow(told.extend)
        run = a_run(journal, 2)
        RunLog(journal).start()
        assert told[:3] == run.events


class TestClosing:
    def test_a_closed_journal_refuses_everything_and_calls_nobody(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        assert journal.close(PATIENCE_S)
        late = Sent(run.run_id, run.version, run.encode(note(1)))
        with pytest.raises(JournalUnavailable, match="closed"):
            journal.append(late)
        for reading in (journal.scan, journal.head, journal.runs, lambda: journal.read(run.run_id)):
            with pytest.raises(JournalUnavailable, match="closed"):
                reading()
        assert late.answers == []

    def test_what_was_queued_before_the_close_is_stored(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        sent = [run.send(note(number)) for number in range(200)]
        assert journal.close(PATIENCE_S)
        assert [one.answers for one in sent] == [[None]] * 200

    def test_closing_again_is_harmless(self, journal: AnyJournal) -> None:
        assert journal.close(PATIENCE_S)
        assert journal.close(PATIENCE_S)


class TestVerifying:
    def test_a_whole_log_has_no_problems(self, journal: AnyJournal) -> None:
        run = a_run(journal)
        run.write(*step(1), note(1, "x" * BLOB_BYTES * 2), finished(), note(2))
        assert verify_run(journal, run.run_id) == []

    def test_an_unknown_run_cannot_be_verified(self, journal: AnyJournal) -> None:
        for unknown in (str(uuid4()), "nonsense"):
            with pytest.raises(UnknownRun):
                verify_run(journal, unknown)


class TestRecoveries:
    def test_unfinished_runs_come_with_their_first_event(self, tmp_path: Path) -> None:
        for opened in (open_journal(None), BesideJournal(open_journal(tmp_path / "runs.db"))):
            runs = [a_run(opened, notes=3) for _ in range(4)]
            runs[1].write(finished())
            found = opened.unfinished()
            assert [one.summary for one in found] == opened.runs(unfinished=True)
            assert [one.first for one in found] == [run.events[0] for run in (runs[0], runs[2], runs[3])]
            assert opened.unfinished(after=found[0].summary.first_position, limit=1) == found[1:2]
            assert opened.close(PATIENCE_S)

    def test_what_is_kept_of_attempts_is_replaced_and_forgotten(self, journal: AnyJournal) -> None:
        first, second = (str(uuid4()) for _ in range(2))
        tried = Recovery(run_id=first, standing="trying", attempts=1, company=1, at_us=7)
        waits = Recovery(run_id=second, standing="waiting", why="no agent ünïcödé")
        keep(journal, [tried, waits], [])
        assert {one.run_id: one for one in journal.recoveries()} == {first: tried, second: waits}
        failed = msgspec.structs.replace(tried, standing="failed", attempts=3, why="boom")
        keep(journal, [failed], [second, str(uuid4())])
        assert journal.recoveries() == [failed]
        keep(journal, [], [first])
        assert journal.recoveries() == []

    def test_what_is_kept_is_there_for_the_next_host_and_a_damaged_id_is_passed_over(self, tmp_path: Path) -> None:
        opened = open_journal(tmp_path / "runs.db")
        kept = Recovery(run_id=str(uuid4()), standing="failed", attempts=2, why="boom")
        keep(opened, [kept, Recovery(run_id="b'no id'", standing="waiting")], ["nor this"])
        assert opened.close(PATIENCE_S)
        with pytest.raises(JournalUnavailable):
            opened.keep_recoveries([kept], [], print)
        again = open_journal(tmp_path / "runs.db")
        assert again.recoveries() == [kept]
        assert again.close(PATIENCE_S)

    def test_what_was_asked_before_the_close_is_stored(self, tmp_path: Path) -> None:
        opened = open_journal(tmp_path / "runs.db")
        kept = [Recovery(run_id=str(uuid4()), standing="trying") for _ in range(200)]
        told: list[object] = []
        for one in kept:
            opened.keep_recoveries([one], [], told.append)
        assert opened.close(PATIENCE_S)
        assert told == [None] * 200
        again = open_journal(tmp_path / "runs.db")
        assert len(again.recoveries()) == 200
        assert again.close(PATIENCE_S)


def keep(journal: AnyJournal, kept: list[Recovery], dropped: list[str]) -> None:
    """Store it and wait."""
    done = threading.Event()
    told: list[object] = []

    def tell(error: object) -> None:
        told.append(error)
        done.set()

    journal.keep_recoveries(kept, dropped, tell)
    assert done.wait(PATIENCE_S)
    assert told == [None]
