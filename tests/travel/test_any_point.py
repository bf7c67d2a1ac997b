"""Any point of any life: what it is, what changed since another, and who wrote what stands there."""

from __future__ import annotations

import itertools
from typing import Any

import jsonpatch
import pytest
from any_life import Life, for_any_life
from hypothesis import strategies as st
from journal_support import RunLog, finished, step
from travel_support import ReadOnly, written

from executus.errors import JournalUnavailable, LogCorrupt, UnknownRun
from executus.events import CeilingRaised, ChildStarted, Event, StepCompleted, StepStarted, Text, ToolCall, ToolStarted
from executus.journal import MemoryJournal
from executus.projections import fold
from executus.projections.changes import changes, patch
from executus.testing import SPEC_RUN_ID, run_started
from executus.travel import (
    Recording,
    blame,
    diff,
    history,
    moments,
    pointer,
    reading,
    recording,
    shown,
    state_at,
)

numbers = st.lists(st.integers(0, 10_000), min_size=6, max_size=6)


def kept(life: Life) -> tuple[Any, list[Event]]:
    """A journal that holds the life, and its events."""
    journal = written((SPEC_RUN_ID, life.facts))
    return journal, journal.read(SPEC_RUN_ID)


@for_any_life(st.integers(1, 5), numbers)
def test_any_version_is_the_fold_of_the_events_up_to_it(life: Life, every: int, order: list[int]) -> None:
    journal, events = kept(life)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recording, "EVERY", every)
        patched.setattr(recording, "STRETCHES", 2)
        one = Recording(journal, SPEC_RUN_ID)
        versions = [number % (one.head + 1) for number in order] + list(range(one.head + 1))
        for version in versions:
            assert one.at(version) == fold(events[:version]) == state_at(journal, SPEC_RUN_ID, version)
            if version:
                assert one.event(version) == events[version - 1]
        for position in range(journal.head() + 2):
            assert one.version_at(position) == sum(event.position <= position for event in events)


@for_any_life(numbers)
def test_a_difference_leads_from_one_point_to_the_other(life: Life, order: list[int]) -> None:
    journal, events = kept(life)
    for m, n in itertools.pairwise(number % (len(events) + 1) for number in order):
        found = diff(journal, SPEC_RUN_ID, m, n)
        before, after = fold(events[:m]), fold(events[:n])
        assert jsonpatch.apply_patch(shown(before), found.patch) == shown(after)
        old, new = list(before.transcript.messages), list(after.transcript.messages)
        assert len(old) - len(found.unsaid) == len(new) - len(found.said)
        assert [*old[: len(old) - len(found.unsaid)], *found.said] == new
        assert found.moments == moments(events[min(m, n) : max(m, n)])
    assert diff(journal, SPEC_RUN_ID, len(events), len(events)).changes == []


def places(shape: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place in a JSON value."""
    found = [at]
    items = shape.items() if isinstance(shape, dict) else enumerate(shape) if isinstance(shape, list) else ()
    for name, value in items:
        found += places(value, (*at, str(name)))
    return found


def value_at(shape: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        shape = shape[int(name)] if isinstance(shape, list) else shape[name]
    return shape


@for_any_life(numbers)
def test_the_last_write_of_a_place_is_what_stands_there(life: Life, order: list[int]) -> None:
    journal, events = kept(life)
    version = order[0] % len(events) + 1
    shape = shown(fold(events[:version]))
    all_places = places(shape)
    for number in order:
        place = all_places[number % len(all_places)]
        found = blame(journal, SPEC_RUN_ID, pointer(place), version)
        now = value_at(shape, place)
        if found:
            assert found[-1].after == now
            assert all(before.after == after.before for before, after in itertools.pairwise(found))
            assert all(events[write.version - 1].tag == write.tag for write in found)
        else:
            assert now == value_at(shown(fold([])), place), "nothing ever changed it"
        for write in found:
            before, after = (shown(fold(events[:at])) for at in (write.version - 1, write.version))
            assert jsonless(before, place) == (write.op != "add", write.before)
            assert jsonless(after, place) == (write.op != "remove", write.after)
            if place and write.op == "replace":
                assert jsonpatch.apply_patch(before, patch(write.changes)) == changed_at(before, after, place)


def changed_at(before: Any, after: Any, place: tuple[str, ...]) -> Any:
    """`before`, with what stands at `place` in `after`."""
    return jsonpatch.apply_patch(before, [{"op": "replace", "path": pointer(place), "value": value_at(after, place)}])


def jsonless(shape: Any, place: tuple[str, ...]) -> tuple[bool, Any]:
    """Whether there is such a place, and what stands there."""
    try:
        return True, value_at(shape, place)
    except (KeyError, IndexError, TypeError):
        return False, None


json = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["", "a", "b/~"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["a", "b", "c/~d"]), inner),
)


@for_any_life(json, json)
def test_changes_of_any_json_are_a_patch(life: Life, before: Any, after: Any) -> None:
    steps = list(changes({"it": before}, {"it": after}))
    assert jsonpatch.apply_patch({"it": before}, patch(steps)) == {"it": after}
    assert (steps == []) == (before == after)


def test_a_long_run_is_kept_in_stretches_and_grows() -> None:
    journal = MemoryJournal()
    log = RunLog(journal).start()
    for number in range(1, 101):
        log.write(*step(number))
    one = Recording(journal, log.run_id)
    assert one.at(one.head) == fold(log.events)
    log.write(finished())
    with pytest.raises(ValueError, match=r"has versions 0 .* to 401, not 402"):
        one.at(402)
    assert one.refresh() == 402
    for version in (402, 3, 401, 128, 129, 256, 257, 0):
        assert one.at(version) == fold(log.events[:version])
    assert one.events(400) == log.events[400:]
    assert one.events(2, 3) == log.events[2:5]
    assert one.moments(399, 2) == moments(log.events[399:401])


def test_what_is_not_there_is_refused_with_what_is() -> None:
    journal = written((SPEC_RUN_ID, [run_started("Go.")]))
    with pytest.raises(ValueError, match=r"versions 0 \(before its first event\) to 1, not 2"):
        state_at(journal, SPEC_RUN_ID, 2)
    with pytest.raises(ValueError, match="not -1"):
        Recording(journal, SPEC_RUN_ID).at(-1)
    with pytest.raises(ValueError, match="version 0 is before the first event"):
        Recording(journal, SPEC_RUN_ID).event(0)
    with pytest.raises(UnknownRun):
        Recording(journal, "00000000-0000-7000-8000-000000000000")
    with pytest.raises(UnknownRun):
        history(journal, "00000000-0000-7000-8000-000000000000")
    with pytest.raises(ValueError, match=r"'colour' names nothing in a run's state; there are version, .*deadline_ms"):
        blame(journal, SPEC_RUN_ID, "colour")


def test_blame_knows_short_names_dots_and_who_it_was() -> None:
    facts = [
        run_started("Go.", timeout_s=9.0),
        CeilingRaised(limit="steps", old=50, new=60, by="judge", reason="healthy"),
        StepStarted(step=1),
        StepCompleted(step=1, reply=(Text("Hi."),)),
    ]
    journal = written((SPEC_RUN_ID, facts))
    for path in ("limits.max_steps", "limits/max_steps", "/state/limits/max_steps", "state.limits.max_steps"):
        [write] = blame(journal, SPEC_RUN_ID, path)[1:] or blame(journal, SPEC_RUN_ID, path)
        assert (write.version, write.before, write.after, write.by) == (2, 50, 60, "judge")
    [write] = blame(journal, SPEC_RUN_ID, "output")
    assert (write.version, write.op, write.by, write.title) == (4, "replace", "test", "Hi.")
    assert blame(journal, SPEC_RUN_ID, "deadline_ms")[0].version == 1
    begun, went_on = blame(journal, SPEC_RUN_ID, "messages")
    assert (begun.version, went_on.version) == (1, 4)
    assert [(one.op, one.path) for one in went_on.changes] == [("add", "/transcript/messages/1")]
    assert went_on.after == [*begun.after, went_on.changes[0].after]
    [said] = blame(journal, SPEC_RUN_ID, "/transcript/messages/1")
    assert (said.op, said.before, said.after["role"]) == ("add", None, "assistant")
    assert blame(journal, SPEC_RUN_ID, "/transcript/messages/7") == []


class Failing:
    """A journal whose reads after a version fail once."""

    def __init__(self, journal: Any, after: int) -> None:
        self._journal, self._after = journal, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        if after >= self._after > 0:
            self._after = 0
            raise JournalUnavailable("not now")
        return self._journal.read(run_id, after, limit)  # type: ignore[no-any-return]


def test_a_read_that_failed_is_made_again() -> None:
    journal = MemoryJournal()
    log = RunLog(journal).start()
    for number in range(1, 6):
        reply = StepCompleted(step=number, reply=(ToolCall("a", "agent__b"),))
        log.write(StepStarted(step=number), reply, ChildStarted(call=f"{number}.0", name="b", run_id=f"child {number}"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recording, "EVERY", 4)
        patched.setattr(reading, "PAGE", 6)
        one = Recording(Failing(journal, 6), log.run_id)  # type: ignore[arg-type]
        with pytest.raises(JournalUnavailable):
            one.at(16)
        assert one.at(16) == fold(log.events)
        for version in range(17):
            born = [event.fact for event in log.events[:version] if event.tag == "child-started"]
            assert one.born(version) == born


def test_what_decodes_and_does_not_fold_is_corrupt_from_there_on() -> None:
    journal = MemoryJournal()
    log = RunLog(journal).start()
    log.write(StepStarted(step=1), ToolStarted(call="1.7", name="look"), StepStarted(step=2))
    looked = ReadOnly(journal)
    for look in (Recording(looked, log.run_id).at, lambda version: state_at(looked, log.run_id, version)):
        assert look(2) == fold(log.events[:2])
        for version in (3, 4):
            with pytest.raises(LogCorrupt, match="version 3: the log does not fold"):
                look(version)
    assert [write.version for write in blame(looked, log.run_id, "step", at=2)] == [2]
    with pytest.raises(LogCorrupt, match="version 3"):
        blame(looked, log.run_id, "step")
    assert len(history(looked, log.run_id)) == 4
