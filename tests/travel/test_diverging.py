"""Two runs part where they first differ in what matters; forks are compared from the point they were forked at."""

from __future__ import annotations

from typing import Any

import pytest
from any_life import Life, for_any_life
from journal_support import RunLog
from msgspec.structs import replace
from travel_support import ReadOnly, written

from executus.errors import UnknownRun
from executus.events import (
    Edit,
    Event,
    Fact,
    HostSlept,
    InputStaged,
    Message,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
)
from executus.journal import MemoryJournal
from executus.projections import fold
from executus.testing import run_started
from executus.travel import Call, Divergence, diff_runs

A, B, C, D = (f"00000000-0000-7000-8000-00000000000{number}" for number in range(1, 5))


def life(
    *, first: str = "rain", second: str = "sun", words: str = "Done.", turned: bool = False, cost: int = 1
) -> list[Fact]:
    results = [ToolFinished(call="1.0", result=first, took_ms=cost), ToolFinished(call="1.1", result=second)]
    calls = (ToolCall(f"a{cost}", "look", '{"at": 1}'), ToolCall(f"b{cost}", "look", '{"at": 2}'))
    stats = RunStats(status="ok", output=words, runtime_s=cost, cost_usd=cost)
    return [
        run_started("Go."),
        StepStarted(step=1, reserved_tokens=cost),
        StepCompleted(step=1, reply=(Text("I look."), *calls), usage=Usage(cost, cost), took_ms=cost),
        ToolStarted(call="1.0", name="look"),
        ToolStarted(call="1.1", name="look"),
        *(reversed(results) if turned else results),
        StepStarted(step=2),
        StepCompleted(step=2, reply=(Text(words),), response_id=f"r{cost}"),
        RunFinished(stats=stats, by="model"),
    ]


def compared(mine: list[Fact], theirs: list[Fact]) -> Divergence:
    return diff_runs(written((A, mine), (B, theirs)), A, B)


def versions(found: Divergence) -> tuple[int | None, int | None]:
    return found.a and found.a.version, found.b and found.b.version


def test_times_ids_cost_and_the_order_of_answers_do_not_matter() -> None:
    theirs = life(turned=True, cost=9)
    failed = StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=5)
    theirs[2:2] = [failed, StepStarted(step=1, attempt=2)]
    theirs[5:5] = [RunResumed(reason="crash", epoch=2), HostSlept(slept_s=4.0)]
    found = compared(life(), theirs)
    assert found.same
    assert (found.source, found.common, found.alike, found.given, versions(found)) == ("", 0, 9, [], (None, None))


def test_the_first_thing_that_matters_is_named_with_what_each_did() -> None:
    found = compared(life(), life(second="snow", words="Cold."))
    assert not found.same
    assert (found.alike, versions(found)) == (5, (7, 7))
    assert found.a is not None
    assert found.b is not None
    assert (found.a.title, found.b.title) == ("1.1: sun", "1.1: snow")
    assert [(one.path, one.before, one.after) for one in found.changes] == [("/result", "sun", "snow")]
    turned = compared(life(), life(second="snow", turned=True))
    assert versions(turned) == (7, 6), "each by its own version"


def test_a_run_that_goes_on_longer_parts_where_the_other_has_no_more() -> None:
    found = compared(life()[:7], life())
    assert (found.alike, versions(found), found.changes) == (6, (None, 8), [])


def test_how_they_were_started_is_told_first() -> None:
    theirs = life()
    assert isinstance(theirs[0], RunStarted)
    theirs[0] = replace(
        theirs[0], agent=replace(theirs[0].agent, model="other"), limits=replace(theirs[0].limits, max_steps=3)
    )
    found = compared(life(), theirs)
    assert {(one.path, one.before, one.after) for one in found.given} == {
        ("/agent/model", "scripted", "other"),
        ("/limits/max_steps", 50, 3),
    }
    assert (found.alike, found.parts, found.same) == (9, False, False), "and they did the same"


def test_runs_with_other_input_part_where_they_do_something_else() -> None:
    theirs = [run_started("Go again."), InputStaged("f", "a.txt", "text/plain", 3, "00"), *life(second="snow")[1:]]
    found = compared(life(), theirs)
    assert [(one.op, one.path) for one in found.given] == [("replace", "/input/0/text"), ("add", "/attachments")]
    assert (found.source, found.alike, versions(found)) == ("", 5, (7, 8))
    assert [(one.path, one.before, one.after) for one in found.changes] == [("/result", "sun", "snow")]


def forked(journal: MemoryJournal, run_id: str, source: list[Event], at: int, *facts: Fact, **more: Any) -> RunLog:
    """A run that goes on from event `at` of `source`."""
    before = fold(source[:at])
    messages = more.pop("messages", tuple(before.transcript.messages))
    fork = RunForked(source=source[0].run_id, version=at, messages=messages)
    log = RunLog(journal, run_id)
    log.write(replace(run_started("Go."), **more), fork, *facts)
    return log


def test_forks_are_compared_from_where_they_were_forked() -> None:
    journal = MemoryJournal()
    source = RunLog(journal, A)
    source.write(*life())
    words = [StepStarted(step=2), StepCompleted(step=2, reply=(Text("Cold."),))]
    agent = replace(run_started("Go.").agent, model="other")
    forked(journal, B, source.events, 7, *words, agent=agent)
    told = [*fold(source.events[:7]).transcript.messages[:-1], Message("user", (Text("Look again."),))]
    forked(journal, C, source.events, 7, *words, messages=tuple(told))
    forked(journal, D, source.events, 8, words[1])
    looked = ReadOnly(journal)

    found = diff_runs(looked, A, B)
    assert (found.source, found.common, found.alike, versions(found)) == (A, 7, 1, (9, 4))
    assert [(one.path, one.after) for one in found.given] == [("/agent/model", "other")]
    back = diff_runs(looked, B, A)
    assert (back.source, back.common, versions(back)) == (A, 7, (4, 9))
    assert [(one.path, one.after) for one in back.given] == [("/agent/model", "scripted")]

    edited = diff_runs(looked, B, C)
    assert (edited.source, edited.common, edited.alike, versions(edited)) == (A, 7, 2, (None, None))
    assert {one.path.split("/")[1] for one in edited.given} == {"agent", "messages"}
    assert not edited.same
    [said] = [one for one in edited.given if one.path.startswith("/messages")]
    assert (said.op, said.before["role"], said.after["role"]) == ("replace", "tool", "user")

    later = diff_runs(looked, C, D)
    assert (later.source, later.common, later.alike, versions(later)) == (A, 7, 2, (None, None))


def test_the_first_tool_call_that_differs_is_told_whatever_was_said_beside_it() -> None:
    def worded(facts: list[Fact], text: str, *calls: ToolCall) -> list[Fact]:
        [begun, started, completed, *rest] = facts
        assert isinstance(completed, StepCompleted)
        return [begun, started, replace(completed, reply=(Text(text), *(calls or completed.reply[1:]))), *rest]

    found = compared(life(), worded(life(second="snow", words="Cold."), "Let me look."))
    assert (found.alike, versions(found)) == (1, (3, 3)), "they part at the first word"
    assert (found.calls, found.call_a, found.call_b) == (2, None, None), "and ask for the same"
    spaced, other = ToolCall("x", "look", '{ "at":1 }'), ToolCall("y", "look", '{"at": 3}')
    found = compared(life(), worded(life(), "Let me look.", spaced, other))
    assert (found.calls, found.call_a) == (1, Call(3, "1.1", "look", '{"at": 2}'))
    assert found.call_b == Call(3, "1.1", "look", '{"at": 3}')
    broken = ToolCall("x", "look", '{"at": ')
    found = compared(worded(life(), "a", broken, spaced), worded(life(), "b", broken))
    assert (found.calls, found.call_b) == (1, None)
    assert found.call_a is not None
    assert found.call_a.call == "1.1"


def test_a_fork_and_a_run_that_is_no_kin_of_it_are_compared_from_the_first_start() -> None:
    journal = MemoryJournal()
    source = RunLog(journal, A)
    source.write(*life())
    fork = forked(journal, B, source.events, 7, StepStarted(step=2), StepCompleted(step=2, reply=(Text("Cold."),)))
    RunLog(journal, C).write(run_started("Come."), *life()[1:])
    found = diff_runs(ReadOnly(journal), C, B)
    assert (found.source, found.alike, versions(found)) == ("", 7, (9, 4))
    assert [(one.path, one.after) for one in found.given] == [("/input/0/text", "Go.")]

    edit = Edit(what="said", before="", after="Look again.")
    RunLog(journal, D).write(run_started("Go."), RunForked(source=B, version=3, edits=(edit,)))
    assert [one.path for one in diff_runs(ReadOnly(journal), C, D).given] == ["/input/0/text", "/edits"]
    assert [one.path for one in diff_runs(ReadOnly(journal), A, D).given] == []

    lost = written((C, life()), (D, [event.fact for event in fork.events]))
    found = diff_runs(lost, C, D)
    assert [one.path for one in found.given] == ["/messages"], "what it goes on from is not here: it begins there"
    assert (found.alike, versions(found)) == (0, (2, 3))


def test_a_fork_of_a_fork_is_compared_along_both_lines() -> None:
    journal = MemoryJournal()
    source = RunLog(journal, A)
    source.write(*life())
    child = forked(journal, B, source.events, 7, StepStarted(step=2), StepCompleted(step=2, reply=(Text("Cold."),)))
    forked(journal, C, child.events, 3, StepCompleted(step=2, reply=(Text("Warm."),)))
    looked = ReadOnly(journal)
    found = diff_runs(looked, A, C)
    assert (found.source, found.common, found.alike) == (A, 7, 1)
    assert found.a is not None
    assert found.b is not None
    assert (found.a.title, found.b.title, found.b.run_id) == ("Done.", "Warm.", C)
    near = diff_runs(looked, B, C)
    assert (near.source, near.common, near.alike, versions(near)) == (B, 3, 0, (4, 3))


@for_any_life()
def test_any_life_is_like_itself_and_what_is_cut_off_is_told(mine: Life) -> None:
    journal = written((A, mine.facts), (B, mine.facts), (C, mine.facts[:1]))
    assert diff_runs(journal, A, A).same
    assert diff_runs(journal, A, B).same
    found = diff_runs(journal, A, C)
    assert found.b is None
    assert found.alike == 0


def test_a_run_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownRun):
        diff_runs(written((A, life())), A, B)
