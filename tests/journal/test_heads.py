"""What was signed for cannot be changed unseen, not even by whoever owns the file and knows how hashes are chained."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal_support import PATIENCE_S, RunLog, a_run, note

from executus.adapters.signing import PrivateKey, PublicKey, RemoteKey
from executus.events.codec import HASH_BYTES
from executus.events.envelope import chain_hash
from executus.journal import (
    Anchors,
    AnchorTerms,
    Compactor,
    HeadsCheck,
    Inspection,
    SqliteJournal,
    Terms,
    plan,
    read_journal,
)

KEY = PrivateKey(bytes(range(32)))
PUBLIC = PublicKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw())
OTHER = PrivateKey(bytes(reversed(range(32))))


class Signed:
    """A closed journal of some runs whose events alternate, signed for every ten events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads = path.with_name("runs.db.heads")
        self.elsewhere = path.with_name("elsewhere.jsonl")
        self.runs: list[RunLog] = []
        self.grow(5, 6)

    def grow(self, runs: int, notes: int, key: Any = KEY) -> None:
        """A host comes, writes, and goes."""
        journal = SqliteJournal(self.path)
        told = threading.Condition()
        position = self.lines()[-1]["position"] if self.heads.exists() and key is KEY else 0

        def sink(line: str) -> None:
            with self.elsewhere.open("a") as file:
                file.write(line + "\n")
            with told:
                nonlocal position
                position = json.loads(line)["position"]
                told.notify()

        anchors = Anchors(journal, key, AnchorTerms(10, 3600.0), sink, wall_us=lambda: 1_700_000_000_000_000)
        new = [a_run(journal) for _ in range(runs)]
        for number in range(notes):
            for run in new:
                run.write(note(number, f"said in {number}"))
            with told:
                assert told.wait_for(lambda: journal.head() - position < 10, PATIENCE_S)
        assert journal.close(PATIENCE_S)
        assert anchors.close(PATIENCE_S)
        self.runs += new

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.heads.read_text().splitlines() if line.endswith("}")]

    def problems(self, heads: Path | None = None, keys: tuple[Any, ...] = (PUBLIC,), since: int = 0) -> list[str]:
        reader = read_journal(self.path)
        check = HeadsCheck(heads or self.heads, keys, since=since) if keys else None
        found = [str(one) for one in Inspection(reader, heads=check, since=since).of_everything() if not one.remark]
        reader.close()
        return found

    def remarks(self) -> list[str]:
        reader = read_journal(self.path)
        check = HeadsCheck(self.heads, (PUBLIC,))
        found = [str(one) for one in Inspection(reader, heads=check).of_everything() if one.remark]
        reader.close()
        return found


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path / "runs.db")


class Attacker:
    """Whoever may write the file, and knows everything but the key."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)

    def do(self, sql: str, *values: object) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    def rechain(self, run_id: str, version: int, change: Callable[[bytes], bytes]) -> None:
        """Rewrite what was said, and chain everything after it again: without signatures, it was always like this."""
        key = UUID(run_id).bytes
        rows = self.do(
            "SELECT originator_version, topic, state FROM stored_events WHERE originator_id = ? ORDER BY 1", key
        )
        previous = bytes(32)
        for number, tag, state in rows:
            body = change(state[HASH_BYTES:]) if number == version else state[HASH_BYTES:]
            digest = chain_hash(previous, key, number, tag, body)
            sql = "UPDATE stored_events SET state = ? WHERE originator_id = ? AND originator_version = ?"
            self.do(sql, digest + body, key, number)
            previous = digest
        self.do("UPDATE runs SET hash = ? WHERE run_id = ?", previous, key)
        self.do("DELETE FROM snapshots")

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def attacker(signed: Signed) -> Iterator[Attacker]:
    one = Attacker(signed.path)
    yield one
    one.close()


def test_a_whole_journal_fits_what_was_signed(signed: Signed) -> None:
    assert signed.problems() == []
    assert signed.remarks() == []
    assert [line["position"] for line in signed.lines()][-1] == 35
    assert 3 <= len(signed.lines()) <= 5
    assert stat.S_IMODE(signed.heads.stat().st_mode) == 0o600
    assert signed.elsewhere.read_text() == signed.heads.read_text()


def test_a_later_host_goes_on_from_the_newest_anchor(signed: Signed) -> None:
    before = signed.lines()
    signed.grow(2, 9)
    lines = signed.lines()
    assert lines[: len(before)] == before
    assert len(lines) > len(before)
    assert signed.problems() == []


def test_history_that_is_rewritten_and_chained_again_is_found_by_what_was_signed_alone(
    signed: Signed, attacker: Attacker
) -> None:
    run = signed.runs[2]
    attacker.rechain(run.run_id, 3, lambda body: body.replace(b"said in 1", b"said in 9"))
    assert signed.problems(keys=()) == [], "hashes alone do not show it"
    found = signed.problems()
    assert found
    position = run.events[2].position
    first = min(line["position"] for line in signed.lines() if line["position"] >= position)
    assert f"what was signed for at position {first} is not there" in found[0]
    assert run.run_id in found[0]
    assert signed.problems(heads=signed.elsewhere) == found


def test_events_cut_off_at_the_end_are_missed(signed: Signed, attacker: Attacker) -> None:
    attacker.do("DELETE FROM stored_events WHERE rowid > 31")
    attacker.do("UPDATE sqlite_sequence SET seq = 31 WHERE name = 'stored_events'")
    for run in signed.runs:
        left = [event for event in run.events if event.position <= 31]
        sql = "UPDATE runs SET version = ?, position = ?, hash = ? WHERE run_id = ?"
        attacker.do(sql, left[-1].version, left[-1].position, left[-1].hash, UUID(run.run_id).bytes)
    assert signed.problems(keys=()) == []
    assert any("ends at position 31; it was signed for up to 35" in one for one in signed.problems())


def test_a_run_that_is_deleted_and_positions_closed_up_is_missed(signed: Signed, attacker: Attacker) -> None:
    key = UUID(signed.runs[1].run_id).bytes
    attacker.do("DELETE FROM stored_events WHERE originator_id = ?", key)
    attacker.do("DELETE FROM runs WHERE run_id = ?", key)
    assert any("missing" in one for one in signed.problems(keys=()))
    moved = attacker.do("SELECT rowid FROM stored_events ORDER BY rowid")
    for position, (old,) in enumerate(moved, 1):
        attacker.do("UPDATE stored_events SET rowid = ? WHERE rowid = ?", position, old)
    attacker.do("UPDATE sqlite_sequence SET seq = ? WHERE name = 'stored_events'", len(moved))
    for run in signed.runs:
        attacker.do(
            "UPDATE OR REPLACE runs SET"
            " first_position = (SELECT min(rowid) FROM stored_events WHERE originator_id = run_id),"
            " position = (SELECT max(rowid) FROM stored_events WHERE originator_id = run_id) WHERE run_id = ?",
            UUID(run.run_id).bytes,
        )
    assert signed.problems(keys=()) == []
    found = signed.problems()
    assert "what was signed for at position" in found[0]
    assert any("its end was cut off" in one for one in found)


def test_events_of_two_runs_that_change_places_are_found(signed: Signed, attacker: Attacker) -> None:
    attacker.do("UPDATE stored_events SET rowid = 999 WHERE rowid = 12")
    attacker.do("UPDATE stored_events SET rowid = 12 WHERE rowid = 13")
    attacker.do("UPDATE stored_events SET rowid = 13 WHERE rowid = 999")
    assert signed.problems(keys=()) == []
    assert "what was signed for at position" in signed.problems()[0]


def test_every_span_that_is_bad_is_named_and_no_other(signed: Signed, attacker: Attacker) -> None:
    run = signed.runs[0]
    last = run.events[-1]
    attacker.rechain(run.run_id, last.version, lambda body: body + b"")
    assert signed.problems() == []
    attacker.rechain(run.run_id, last.version, lambda body: body.replace(b"said in 5", b"said in 0"))
    [found] = signed.problems()
    assert f"to {signed.lines()[-1]['position']} were altered" in found


EDITS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "another position": (
        lambda lines: [lines[0].replace('"position":', '"position":1'), *lines[1:]],
        "signature is wrong",
    ),
    "another digest": (
        lambda lines: [lines[0], lines[1].replace('"digest":"', '"digest":"00')[:-3] + '"}', *lines[2:]],
        "an anchor before it is missing|is no anchor",
    ),
    "the first one gone": (lambda lines: lines[1:], "the first anchors are missing"),
    "one in the middle gone": (lambda lines: [lines[0], *lines[2:]], "an anchor before it is missing"),
    "all gone": (lambda lines: [], "has no anchor that could be checked"),
    "garbage": (lambda lines: ["\x00\x01", "[" * 100_000, "{}"], "has no anchor that could be checked"),
    "a line altered": (lambda lines: [lines[0][:-5] + '=="}', *lines[1:]], "line 1|line 2"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_anchors_that_are_altered_or_gone_are_found(signed: Signed, edit: str) -> None:
    change, says = EDITS[edit]
    lines = signed.heads.read_text().splitlines()
    signed.heads.write_text("".join(f"{line}\n" for line in change(lines)))
    found = signed.problems()
    assert found
    assert any(says_one in one for one in found for says_one in says.split("|")), found
    assert signed.problems(heads=signed.elsewhere) == [], "those kept elsewhere are the evidence"


def test_the_newest_anchors_gone_leave_a_remark_about_what_is_not_signed_for(signed: Signed) -> None:
    lines = signed.heads.read_text().splitlines()
    signed.heads.write_text("".join(f"{line}\n" for line in lines[:-1]))
    assert signed.problems() == []
    assert any("are not signed for" in one for one in signed.remarks())


def test_a_key_that_did_not_sign_is_told(signed: Signed) -> None:
    assert any("which is not given" in one for one in signed.problems(keys=(OTHER,)))
    impostor = RemoteKey(OTHER.sign, PUBLIC)
    signed.heads.unlink()
    journal = SqliteJournal(signed.path)
    anchors = Anchors(journal, impostor, AnchorTerms(1, 0.01), wall_us=lambda: 1)
    journal.close(PATIENCE_S)
    anchors.close(PATIENCE_S)
    assert not signed.heads.exists(), "what does not verify is never written"


def test_keys_may_change(signed: Signed) -> None:
    signed.grow(1, 3, key=OTHER)
    assert signed.problems(keys=(PUBLIC, OTHER)) == []
    assert signed.problems() != []


def test_a_host_that_died_while_it_wrote_an_anchor_harms_nothing(signed: Signed) -> None:
    with signed.heads.open("a") as file:
        file.write('{"anchor":1,"posi')
    assert signed.problems() == []
    signed.grow(1, 9)
    assert signed.problems() == []
    assert any("was never finished" in one for one in signed.remarks())


def test_anchors_of_before_a_compaction_still_fit(signed: Signed, attacker: Attacker) -> None:
    from executus.events import RunFinished, RunStats

    journal = SqliteJournal(signed.path)
    anchors = Anchors(journal, KEY, AnchorTerms(5, 3600.0), wall_us=lambda: 1)
    for run in signed.runs:
        run.journal = journal
        run.write(RunFinished(stats=RunStats(status="ok"), by="model"))
    a_run(journal, 3)
    assert Compactor(journal, plan(journal, Terms(before_us=1 << 60)), at_us=1).move().runs == 5
    assert journal.close(PATIENCE_S)
    assert anchors.close(PATIENCE_S)
    assert signed.problems() == []
    signed.heads.unlink()
    signed.grow(1, 2)
    assert signed.problems() == [], "also those that were made of the journal and its archive"
    archive = Attacker(signed.path.with_name("runs.db.archive"))
    archive.rechain(signed.runs[0].run_id, 3, lambda body: body.replace(b"said in 1", b"said in 9"))
    archive.close()
    assert any("what was signed for at position" in one for one in signed.problems(heads=signed.elsewhere))
    signed.path.with_name("runs.db.archive").unlink()
    found = signed.problems(heads=signed.elsewhere)
    assert len(found) == 1, found
    assert "runs.db.archive" in found[0]


def test_a_check_may_begin_at_a_position(signed: Signed, attacker: Attacker) -> None:
    attacker.rechain(signed.runs[0].run_id, 2, lambda body: body.replace(b"said in 0", b"said in 9"))
    position = signed.lines()[-2]["position"]
    assert signed.problems(since=position) != [], "the run goes on after it, and its later hashes changed too"
    signed.grow(1, 12)
    assert signed.problems(since=36) == []


class TestSigning:
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[SqliteJournal]:
        opened = SqliteJournal(tmp_path / "runs.db")
        yield opened
        opened.close(PATIENCE_S)

    def test_a_signer_that_fails_is_asked_again_and_hurts_no_run(self, journal: SqliteJournal) -> None:
        failures = [OSError("far away"), ValueError("closed"), SystemError("odd")]
        signed = threading.Event()

        def sign(message: bytes) -> bytes:
            if failures:
                raise failures.pop()
            signed.set()
            return KEY.sign(message)

        anchors = Anchors(journal, RemoteKey(sign, PUBLIC), AnchorTerms(1, 0.01), wall_us=lambda: 1)
        run = a_run(journal, 2)
        assert signed.wait(PATIENCE_S)
        assert run.version == 3
        journal.close(PATIENCE_S)
        assert anchors.close(PATIENCE_S)
        assert failures == []

    def test_a_sink_that_fails_is_told_again_in_order(self, journal: SqliteJournal) -> None:
        lines: list[str] = []
        failing = [True, True, False, True]

        def sink(line: str) -> None:
            if failing and failing.pop():
                raise OSError("full")
            lines.append(line)

        anchors = Anchors(journal, KEY, AnchorTerms(1, 0.01), sink, wall_us=lambda: 1)
        for _ in range(5):
            a_run(journal, 1)
        journal.close(PATIENCE_S)
        assert anchors.close(PATIENCE_S)
        told = [json.loads(line)["position"] for line in lines]
        written = [json.loads(line)["position"] for line in anchors.path.read_text().splitlines()]
        assert told == written[: len(told)]
        assert told

    def test_a_signer_that_hangs_delays_neither_runs_nor_the_end(self, journal: SqliteJournal) -> None:
        gate = threading.Event()
        asked = threading.Event()

        def sign(message: bytes) -> bytes:
            asked.set()
            gate.wait(PATIENCE_S)
            return KEY.sign(message)

        anchors = Anchors(journal, RemoteKey(sign, PUBLIC), AnchorTerms(1, 0.01), wall_us=lambda: 1)
        a_run(journal, 3)
        assert asked.wait(PATIENCE_S)
        a_run(journal, 3)
        assert journal.close(PATIENCE_S)
        assert not anchors.close(0.01)
        gate.set()
        assert not anchors.path.exists(), "after the end another host may go on from the file"

    def test_a_journal_that_was_cut_off_is_told_and_signed_for_from_its_beginning(
        self, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = Anchors(journal, KEY, AnchorTerms(1, 3600.0), wall_us=lambda: 1)
        a_run(journal, 9)
        journal.close(PATIENCE_S)
        first.close(PATIENCE_S)
        Path(journal.path).unlink()
        again = SqliteJournal(journal.path)
        anchors = Anchors(again, KEY, AnchorTerms(1, 3600.0), wall_us=lambda: 1)
        a_run(again, 2)
        assert again.close(PATIENCE_S)
        assert anchors.close(PATIENCE_S)
        assert "its end was cut off, or it is another file" in caplog.text
        reader = read_journal(journal.path)
        check = HeadsCheck(anchors.path, (PUBLIC,))
        found = [str(one) for one in Inspection(reader, heads=check).of_everything() if not one.remark]
        reader.close()
        assert found != []
