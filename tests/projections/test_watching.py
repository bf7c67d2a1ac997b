"""What whoever operates a host sees of a run: what it does now, since when, and what was said to it last."""

from __future__ import annotations

import pytest
from any_life import Life, for_any_life

from executus.events import (
    AgentPrint,
    ApprovalAwaited,
    ApprovalGranted,
    ApprovalRequested,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    CriticKilled,
    CriticObserved,
    CriticSteered,
    DeadlineExtended,
    Event,
    Fact,
    InputAwaited,
    InputReceived,
    Limits,
    ReconcileStarted,
    RunFinished,
    RunForked,
    RunInfo,
    RunResumed,
    RunStarted,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolReconciled,
    ToolStarted,
    Totals,
    tag_of,
)
from executus.projections import outstanding
from executus.projections.watching import Wait, Watched, Word, evolve_watched, watched_of

SECOND_US = 1_000_000
STATS = RunStats(status="ok", output="", error="", steps=1, tool_calls=0, runtime_s=0.0)


class Seen:
    """A run told fact by fact, one a second: the fact of second n has n s on both clocks."""

    def __init__(self, limits: Limits | None = None, **start: bool) -> None:
        self.watched = Watched()
        self.second = 0
        info = RunInfo(run_id="r1", name="told", caller_id="alice")
        self.put(
            RunStarted(
                info=info,
                agent=AgentPrint(name="a", model="scripted"),
                input=(Text("Go."),),
                limits=limits or Limits(),
                **start,
            )
        )

    def put(self, *facts: Fact) -> Seen:
        for fact in facts:
            self.second += 1
            event = Event(
                run_id="r1",
                version=self.second,
                tag=tag_of(fact),
                fact=fact,
                at_us=self.second * SECOND_US,
                elapsed_ms=self.second * 1000,
            )
            self.watched = evolve_watched(self.watched, event)
        return self

    def asks(self, *names: str) -> Seen:
        """The model asks for tools."""
        calls = tuple(ToolCall(id=name, name=name, arguments=f'{{"of":"{name}"}}') for name in names)
        return self.put(StepStarted(step=1), StepCompleted(step=1, reply=calls))

    @property
    def waits(self) -> list[tuple[str, str, int]]:
        """What it waits for: kind, name, and since which second."""
        return [(one.kind, one.name, one.since_us // SECOND_US) for one in self.watched.waits]


def test_it_waits_for_the_model_since_the_attempt_began() -> None:
    run = Seen().put(StepStarted(step=1))
    assert run.waits == [("model", "", 2)]
    run.put(CriticObserved(text="hm"))
    assert run.waits == [("model", "", 2)]
    run.put(StepFailed(step=1, attempt=1, error="503", kind="unavailable", retry_at_ms=9_000))
    assert run.waits == [("retry", "", 4)]
    assert run.watched.waits[0].retry_at_ms == 9_000
    assert run.put(StepStarted(step=1, attempt=2)).waits == [("model", "", 5)]


def test_it_waits_for_each_tool_since_that_was_started() -> None:
    run = (
        Seen().asks("slow", "slower").put(ToolStarted(call="1.0", name="slow"), ToolStarted(call="1.1", name="slower"))
    )
    assert run.waits == [("tool", "slow", 4), ("tool", "slower", 5)]
    assert run.watched.waits[1].arguments == '{"of":"slower"}'
    assert run.put(ToolFinished(call="1.0", result="")).waits == [("tool", "slower", 5)]
    assert run.put(ToolFinished(call="1.1", result="")).waits == [("step", "", 7)]
    assert run.watched.begun == ()


def test_what_a_host_takes_up_again_began_when_it_did() -> None:
    run = Seen().asks("pay", "ask").put(ToolStarted(call="1.0", name="pay"), ApprovalRequested(call="1.1", name="ask"))
    assert run.put(RunResumed(reason="crash", epoch=2)).waits == [("tool", "pay", 6), ("approval", "ask", 5)]
    assert run.put(ReconcileStarted(call="1.0", attempt=1)).waits[0] == ("asking", "pay", 7)
    assert run.put(ToolReconciled(call="1.0", attempt=1, happened=False)).waits[0] == ("tool", "pay", 7)
    model = Seen().put(StepStarted(step=1), RunResumed(reason="crash", epoch=2))
    assert model.waits == [("model", "", 3)]


def test_it_waits_for_a_yes_and_knows_what_silence_means() -> None:
    run = Seen().asks("publish")
    asked = ApprovalRequested(call="1.0", name="publish", expires_at_us=99, default="grant", question="May it?")
    run.put(asked, ApprovalAwaited(since_ms=4_000))
    [wait] = run.watched.waits
    assert wait == Wait(
        kind="approval",
        since_us=4 * SECOND_US,
        name="publish",
        call="1.0",
        arguments='{"of":"publish"}',
        expires_at_us=99,
        default="grant",
        question="May it?",
    )
    run.put(ApprovalGranted(call="1.0", waited_ms=2_000), ToolStarted(call="1.0", name="publish"))
    assert run.waits == [("tool", "publish", 7)]


def test_it_waits_for_a_child_and_knows_that_the_child_waits() -> None:
    run = Seen().asks("agent__b").put(ChildStarted(call="1.0", name="b", run_id="r2"))
    assert run.waits == [("child", "b", 4)]
    assert (run.watched.waits[0].run_id, run.watched.waits[0].waits) == ("r2", False)
    assert run.put(ChildWaited(call="1.0", run_id="r2")).watched.waits[0].waits
    run.put(ChildFinished(call="1.0", run_id="r2", status="ok", output="", spent=Totals()))
    assert [kind for kind, _, _ in run.waits] == ["step"]


def test_it_waits_for_a_person_for_its_beginning_and_for_its_budget() -> None:
    run = Seen(interactive=True).put(StepStarted(step=1), StepCompleted(step=1, reply=(Text("Hi"),)))
    assert run.put(InputAwaited(since_ms=3_000)).waits == [("message", "", 4)]
    assert run.put(InputReceived(input=(Text("Go"),))).waits == [("step", "", 5)]
    fork = Seen().put(RunForked(source="r0", version=3, paused=True))
    assert fork.waits == [("begin", "", 2)]
    assert Seen(budgeted=True).waits == [("budget", "", 1)]


def test_a_run_that_is_over_waits_for_nothing() -> None:
    run = Seen().put(StepStarted(step=1), RunFinished(stats=STATS, by="model"))
    assert run.waits == []
    assert run.watched.left_ms(0) is None


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (CriticObserved(text="hm"), "hm"),
        (CriticSteered(text="Stop reading."), "Stop reading."),
        (CriticKilled(reason="a loop"), "a loop"),
        (DeadlineExtended(until_ms=9, reason="slow"), "slow"),
        (CeilingRaised(limit="steps", old=10, new=15, reason="near"), "steps from 10 to 15: near"),
        (CeilingRaised(limit="steps", old=10, new=15), "steps from 10 to 15"),
    ],
)
def test_the_last_word_is_the_newest_one(fact: Fact, text: str) -> None:
    run = Seen().put(CriticObserved(text="before", by="other"), fact, StepStarted(step=1))
    assert run.watched.word == Word(tag_of(fact), text, "critic", 3 * SECOND_US)


def test_what_is_left_of_the_time_stands_still_while_people_are_waited_for() -> None:
    run = Seen(Limits(timeout_s=60), interactive=True).put(StepStarted(step=1))
    assert run.watched.clock_ms(12 * SECOND_US) == 12_000
    assert run.watched.left_ms(12_000) == 48_000
    run.put(StepCompleted(step=1, reply=(Text("Hi"),)), InputAwaited(since_ms=4_000))
    assert run.watched.left_ms(500_000) == 56_000
    run.put(InputReceived(input=(Text("Go"),), waited_ms=1_000))
    assert run.watched.left_ms(6_000) == 55_000
    assert Seen(Limits(timeout_s=None)).watched.left_ms(0) is None


def test_the_last_step_counts_from_where_a_person_last_spoke() -> None:
    run = Seen(Limits(max_steps=5), interactive=True).put(
        StepStarted(step=1), StepCompleted(step=1, reply=(Text("Hi"),))
    )
    assert run.watched.last_step == 5
    run.put(InputAwaited(since_ms=4_000), InputReceived(input=(Text("Go"),)))
    assert run.watched.last_step == 6
    assert run.put(CeilingRaised(limit="steps", old=5, new=8)).watched.last_step == 9


@for_any_life()
def test_it_goes_on_from_any_point_and_waits_exactly_when_something_is_owed(life: Life) -> None:
    log = life.events
    whole = watched_of(log)
    for cut in range(len(log) + 1):
        assert watched_of(log[cut:], watched_of(log[:cut])) == whole
        watched = watched_of(log[:cut])
        calls = {one.call for one in watched.waits if one.call}
        assert {one.call for one in watched.begun} == calls
        state = watched.row.state
        owed = [
            one for one in outstanding(state) if type(one).__name__ not in ("Wake", "Expire", "PlanCalls", "Reserve")
        ]
        assert len([one for one in watched.waits if one.kind in ("model", "tool", "asking", "child")]) == len(owed)
        assert bool(watched.waits) == (state.doing not in ("new", "over"))
