"""The rules by which unfinished runs are taken up, one by one."""

from __future__ import annotations

import pytest

from executus.actors.address import Address
from executus.actors.recovering import (
    KILLER,
    PAUSES_S,
    after_a_failure,
    before_the_attempt,
    groups_of,
    has_survived,
    put_off,
    why_quarantined,
)
from executus.events import (
    Event,
    Fact,
    InputAwaited,
    NoteLogged,
    RunInfo,
    RunResumed,
    StepCompleted,
    StepFailed,
    StepStarted,
    tag_of,
)
from executus.ports import Agent, Recovery

AGENT = Agent("a", model="none:none")


def runs(number: int) -> list[Address]:
    return [Address(RunInfo(run_id=f"r{one}", name="x"), AGENT) for one in range(number)]


def known(**of: Recovery | tuple[int, int]) -> dict[str, Recovery]:
    """run=(attempts, company)."""
    return {
        run_id: Recovery(run_id=run_id, standing="trying", attempts=one[0], company=one[1])
        for run_id, one in of.items()
        if isinstance(one, tuple)
    }


def shape(groups: list[object]) -> list[tuple[list[str], float]]:
    return [([one.run_id for one in group.addresses], group.after_s) for group in groups]  # type: ignore[attr-defined]


def test_runs_under_no_suspicion_are_taken_up_together() -> None:
    assert shape(groups_of(runs(3), {}, lambda: 0.5)) == [(["r0", "r1", "r2"], 0.0)]
    assert groups_of([], {}, lambda: 0.5) == []


def test_a_failure_that_the_host_has_survived_makes_nobody_suspect() -> None:
    failed = {"r1": Recovery(run_id="r1", standing="failed", attempts=2, why="boom")}
    assert shape(groups_of(runs(2), failed, lambda: 0.5)) == [(["r0", "r1"], 0.0)]


def test_suspects_come_last_and_alone() -> None:
    assert shape(groups_of(runs(4), known(r1=(0, 3), r2=(0, 3)), lambda: 0.5)) == [
        (["r0", "r3"], 0.0),
        (["r1"], 0.0),
        (["r2"], 0.0),
    ]


def test_a_large_company_is_parted_before_each_is_alone() -> None:
    many = known(**{f"r{one}": (0, 95) for one in range(95)})
    groups = groups_of(runs(95), many, lambda: 0.0)
    assert [len(group.addresses) for group in groups] == [10] * 9 + [5]
    kept = {one.run_id: one for one in before_the_attempt(groups[0], many, {}, 5)}
    assert {one.company for one in kept.values()} == {10}
    assert {one.attempts for one in kept.values()} == {0}, "one of many is not held to account"
    assert [len(group.addresses) for group in groups_of(list(groups[0].addresses), kept, lambda: 0.0)] == [1] * 10


@pytest.mark.parametrize(("attempts", "least"), [(0, 0.0), (1, 2.0), (2, 10.0)])
def test_the_more_is_held_against_a_run_the_older_the_host_must_be(attempts: int, least: float) -> None:
    [first] = groups_of(runs(1), known(r0=(attempts, 1)), lambda: 0.0)
    [last] = groups_of(runs(1), known(r0=(attempts, 1)), lambda: 0.999)
    assert first.after_s == least == PAUSES_S[attempts]
    assert last.after_s == pytest.approx(2 * least, rel=0.01)


def test_who_has_the_least_against_it_comes_first() -> None:
    order = groups_of(runs(3), known(r0=(2, 1), r1=(1, 1), r2=(0, 3)), lambda: 0.5)
    assert [one for one, _ in shape(order)] == [["r2"], ["r1"], ["r0"]]


def test_an_attempt_alone_is_counted_before_it_is_made() -> None:
    [group] = groups_of(runs(1), known(r0=(1, 1)), lambda: 0.5)
    [kept] = before_the_attempt(group, known(r0=(1, 1)), {"r0": 7}, 5)
    assert (kept.attempts, kept.company, kept.standing, kept.at_us, kept.version) == (2, 1, "trying", 5, 7)
    assert not kept.quarantined
    [group] = groups_of(runs(1), {}, lambda: 0.5)
    [kept] = before_the_attempt(group, {}, {}, 5)
    assert (kept.attempts, kept.company) == (0, 1), "one that is the only one, and not suspect, becomes so"


def test_a_failure_counts_once_however_it_was_tried() -> None:
    [group] = groups_of(runs(1), known(r0=(0, 1)), lambda: 0.5)
    [alone] = before_the_attempt(group, known(r0=(0, 1)), {}, 5)
    assert after_a_failure(None, alone, "r0", "boom", 6) == Recovery(
        run_id="r0", standing="failed", attempts=1, at_us=6, why="boom"
    )
    before = Recovery(run_id="r0", standing="failed", attempts=1, why="boom")
    [group] = groups_of(runs(1), {}, lambda: 0.5)
    assert after_a_failure(None, before_the_attempt(group, {}, {}, 5)[0], "r0", "boom", 6).attempts == 1
    with_others = Recovery(run_id="r0", standing="trying", attempts=1, company=5)
    assert after_a_failure(before, with_others, "r0", "again", 7).attempts == 2
    assert after_a_failure(before, None, "r0", "later", 7).attempts == 2
    third = after_a_failure(after_a_failure(before, None, "r0", "later", 7), None, "r0", "last", 8)
    assert third.quarantined
    assert "3 attempts to take it up failed, the last time: last" in str(why_quarantined(third))


def test_a_suspect_that_has_to_wait_says_so_and_stays_one() -> None:
    [one] = known(r0=(0, 4)).values()
    assert put_off(one, 9).standing == "waiting"
    assert put_off(one, 9).company == 4
    [lone] = known(r0=(2, 1)).values()
    assert put_off(lone, 9).why.startswith(f"{KILLER} (2 of 3 times)")


def event(version: int, fact: Fact, at_us: int) -> Event:
    return Event(run_id="r0", version=version, tag=tag_of(fact), fact=fact, at_us=at_us)


BEFORE = event(4, StepStarted(step=2), 10)
RESUMED = [
    event(5, RunResumed(reason="x", epoch=2), 20),
    event(6, StepFailed(step=2, attempt=1, error="x", kind="interrupted", retry_at_ms=0), 20),
    event(7, StepStarted(step=2, attempt=2), 20),
]


@pytest.mark.parametrize(
    ("tail", "survived"),
    [
        ([BEFORE], False),
        ([BEFORE, *RESUMED], False),
        ([BEFORE, *RESUMED, event(8, StepCompleted(step=2, reply=()), 30)], True),
        ([event(4, InputAwaited(since_ms=1), 10), RESUMED[0]], True),
        ([event(4, InputAwaited(since_ms=1), 10)], False),
        ([BEFORE, event(5, NoteLogged(type="x"), 15), event(6, NoteLogged(type="x"), 16)], False),
    ],
)
def test_a_log_in_which_something_came_after_the_attempt_acquits(tail: list[Event], survived: bool) -> None:
    assert has_survived(tail) is survived
