"""A recorded run under another critic: it is asked when a live one would be, shown nothing that came later, and what it
says comes to what it would have come to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.critics.stuck import StuckCritic
from executus.events import (
    AgentPrint,
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Event,
    Fact,
    InputAwaited,
    InputReceived,
    Limits,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    SoftTimeoutReached,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
    tag_of,
)
from executus.ports import Continue, Extend, Judged, Kill, Raise, Steer
from executus.ports.terms import terms_of
from executus.ports.verdicts import answer, checked_review
from executus.projections.replaying import Answered, Failed, Replay
from executus.projections.rounds import Rounds
from executus.projections.trace import Trace, evolve_trace

Critic = Callable[[Trace, float], Any]


class Log:
    """Recorded facts, at the times that the test says."""

    def __init__(self, limits: Limits = Limits(), imported_from: str = "") -> None:
        self.events: list[Event] = []
        self.now_ms = 0
        self.put(
            RunStarted(
                info=RunInfo(run_id="r1", name="told"),
                agent=AgentPrint(name="a", model="p:m"),
                limits=limits,
                input=(Text("go"),),
                imported_from=imported_from,
            )
        )

    def put(self, *facts: Fact, cause: str = "") -> Log:
        for fact in facts:
            version = len(self.events) + 1
            self.events.append(
                Event(
                    run_id="r1",
                    version=version,
                    position=version,
                    tag=tag_of(fact),
                    fact=fact,
                    elapsed_ms=self.now_ms,
                    at_us=self.now_ms * 1000,
                    cause=cause,
                )
            )
        return self

    def at(self, now_s: float) -> Log:
        self.now_ms = round(now_s * 1000)
        return self

    def step(self, number: int, *tools: str, usage: Usage = Usage()) -> Log:
        """A step that is asked for and answered at once, and perhaps calls tools."""
        calls = tuple(ToolCall(f"c{index}", name) for index, name in enumerate(tools))
        self.put(StepStarted(step=number), StepCompleted(step=number, reply=(Text("…"), *calls), usage=usage))
        return self.put(*(ToolStarted(call=f"{number}.{index}", name=name) for index, name in enumerate(tools)))

    def results(self, number: int, *texts: str) -> Log:
        return self.put(*(ToolFinished(call=f"{number}.{index}", result=text) for index, text in enumerate(texts)))

    def ends(self, status: Any = "ok") -> Log:
        return self.put(RunFinished(stats=RunStats(status=status), by="model"))


def replayed(
    log: Log | Sequence[Event], critic: Critic | None, kind: type[Replay] = Replay, **rounds: Any
) -> tuple[Replay, list[tuple[int, float]]]:
    """The replay, and when the critic was asked: version of the trace, seconds."""
    asked: list[tuple[int, float]] = []

    def ask(trace: Trace, now_s: float) -> Answered | Failed:
        asked.append((trace.version, round(now_s, 3)))
        assert critic is not None
        try:
            checked = checked_review(critic(trace, now_s))
        except Exception as error:
            return Failed(str(error))
        return Answered(answer(checked, "tried"), checked.orders)

    replay = kind(None if critic is None else ask, Rounds(**rounds))
    for event in log.events if isinstance(log, Log) else log:
        replay.before(event)
        replay.take(event)
    return replay, asked


def silent(trace: Trace, now_s: float) -> Any:
    return Continue()


def once(verdict: Any, version: int) -> Critic:
    """Says `verdict` when it is shown that version, and nothing before and after."""
    return lambda trace, now_s: verdict if trace.version == version else Continue()


# ------------------------------------------------------------------ when it is asked


def test_it_is_asked_at_the_soft_timeout_and_after_every_so_many_steps() -> None:
    log = Log().step(1, "look").at(9).results(1, "x").step(2, "look").at(20).put(SoftTimeoutReached(at_ms=20_000))
    log.at(30).results(2, "y").step(3).ends()
    assert replayed(log, silent)[1] == [(9, 20.0)]
    assert replayed(log, silent, every_steps=1)[1] == [(3, 0.0), (7, 9.0), (9, 20.0), (12, 30.0)]
    assert replayed(log, silent, every_steps=2)[1] == [(7, 9.0), (9, 20.0)]


def test_it_is_asked_every_so_many_seconds_of_the_runs_own_clock_with_what_was_known_then() -> None:
    log = (
        Log()
        .step(1, "look")
        .at(25)
        .results(1, "x")
        .put(StepStarted(step=2))
        .at(41)
        .put(StepCompleted(step=2, reply=(Text("done"),)))
    )
    log.ends()
    assert replayed(log, silent, every_s=10)[1] == [(4, 10.001), (4, 20.002), (6, 30.003), (6, 40.004)]


def test_the_time_that_a_run_waits_for_a_person_does_not_count() -> None:
    log = Log().at(4).step(1).put(InputAwaited(since_ms=4_000)).at(1_004)
    log.put(InputReceived(input=(Text("and?"),), waited_ms=1_000_000), StepStarted(step=2)).at(1_012)
    log.put(StepCompleted(step=2, reply=(Text("so"),))).ends()
    assert replayed(log, silent, every_s=10)[1] == [(6, 1_010.001)]


def test_what_becomes_due_while_a_run_waits_is_asked_when_it_goes_on() -> None:
    log = Log().step(1).put(InputAwaited(since_ms=0)).at(5).put(SoftTimeoutReached(at_ms=0)).at(9)
    log.put(InputReceived(input=(Text("and?"),), waited_ms=9_000)).ends()
    assert replayed(log, silent)[1] == [(6, 9.0)]


def test_recorded_conversations_have_no_times_and_are_watched_by_their_steps() -> None:
    log = Log(imported_from="x.json#1")
    for number in (1, 2, 3):
        log.step(number, "look").results(number, "x")
    log.step(4).ends()
    assert [version for version, _ in replayed(log, silent, every_steps=1, every_s=30.0)[1]] == [3, 7, 11, 15]


# ------------------------------------------------------------------ what it leads to


def test_a_verdict_on_a_reply_comes_after_what_was_decided_with_the_reply() -> None:
    log = Log().step(1, "look", "listen").at(3).results(1, "x", "y").step(2).ends()
    replay, _ = replayed(log, once(Steer("turn left", {"n": 1}), 3), every_steps=1)
    [deed] = replay.deeds
    assert (deed.kind, deed.version, deed.seen, deed.step, deed.at_s) == ("steered", 6, 3, 1, 0.0)
    assert (deed.text, deed.evidence) == ("turn left", {"n": 1})


def test_a_verdict_on_the_last_reply_comes_too_late() -> None:
    replay, asked = replayed(Log().step(1).ends(), once(Kill("no"), 3), every_steps=1)
    assert asked == [(3, 0.0)]
    assert replay.deeds == []
    assert replay.ending is None


def test_nobody_hears_advice_in_a_run_that_waits_for_a_person() -> None:
    log = Log().step(1).put(InputAwaited(since_ms=0)).at(5)
    log.put(InputReceived(input=(Text("and?"),), waited_ms=5_000), StepStarted(step=2)).ends()
    assert replayed(log, once(Steer("turn left"), 3), every_steps=1)[0].deeds == []
    assert [one.kind for one in replayed(log, once(Continue("hm"), 3), every_steps=1)[0].deeds] == ["observed"]


def test_its_own_acts_are_in_what_it_is_shown_next_and_the_recorded_critics_are_not() -> None:
    seen: list[list[str]] = []

    def critic(trace: Trace, now_s: float) -> Any:
        seen.append([act.text for act in trace.acts])
        return Steer(f"advice {len(seen)}")

    log = Log().step(1, "look").put(CriticSteered(text="recorded"), CriticObserved(text="recorded"))
    log.put(CriticReviewed(usage=Usage(5, 5)), CriticLost(reason="recorded"))
    log.at(1).results(1, "x").step(2, "look").results(2, "y").step(3).ends()
    replay, asked = replayed(log, critic, every_steps=1)
    assert seen == [[], ["advice 1"], ["advice 1", "advice 2"]]
    assert [version for version, _ in asked] == [3, 8, 13]
    assert [deed.seen for deed in replay.deeds] == [3, 11]


def test_orders_of_people_stay() -> None:
    log = Log().step(1, "look").put(DeadlineExtended(until_ms=9, by="alice"), cause="ExtendRun by alice")
    log.put(CriticKilled(reason="enough", by="alice"), cause="KillRun by alice").ends("killed")
    texts: list[str] = []

    def critic(trace: Trace, now_s: float) -> Any:
        texts.extend(act.by for act in trace.acts)
        return Continue()

    replay, _ = replayed(log, critic, every_s=1.0)
    assert [act.by for act in replay.trace.acts] == ["alice", "alice"]


def test_extensions_and_raises_are_held_to_the_caps_given_at_the_start() -> None:
    limits = Limits(timeout_s=100, extend_to_s=150, max_steps=10, raise_steps_to=12)
    log = Log(limits).step(1, "look").results(1, "x").step(2, "look").results(2, "x").step(3).ends()
    replay, _ = replayed(log, lambda trace, now_s: Extend(1e6, "busy"), every_steps=1)
    assert [(deed.kind, deed.evidence) for deed in replay.deeds] == [("extended", {"until_s": 150.0})]
    replay, _ = replayed(log, lambda trace, now_s: Raise(50, "near"), every_steps=1)
    assert [(deed.kind, deed.evidence) for deed in replay.deeds] == [("raised", {"from": 10, "to": 12})]


def test_a_run_that_only_the_recorded_critic_had_extended_ends_at_its_deadline() -> None:
    log = Log(Limits(timeout_s=10)).step(1, "look").at(8).put(DeadlineExtended(until_ms=20_000)).at(15)
    log.results(1, "x").step(2, usage=Usage(100, 5)).ends()
    replay, _ = replayed(log, silent)
    assert replay.ending is not None
    assert (replay.ending.kind, replay.ending.version, replay.ending.at_s) == ("timeout", 5, 10.0)
    assert (replay.saved.tokens, replay.saved.worked_s) == (105, 5.0)
    assert replayed(log, lambda trace, now_s: Extend(10), every_s=5)[0].ending is None
    assert replayed(log, None)[0].ending is None, "without a critic the recorded one keeps its place"


def test_a_step_that_only_the_recorded_critic_had_made_room_for_does_not_begin() -> None:
    log = Log(Limits(max_steps=1)).step(1, "look").put(CeilingRaised(limit="steps", old=1, new=2)).at(3)
    log.results(1, "x").step(2).ends()
    replay, _ = replayed(log, silent)
    assert replay.ending is not None
    assert (replay.ending.kind, replay.ending.version) == ("ceiling", 6)


# ------------------------------------------------------------------ the end


def spending() -> Log:
    """Three steps with a tool each, a hundred tokens and ten seconds a step."""
    log = Log()
    for number in (1, 2, 3):
        log.step(number, "look", usage=Usage(90, 10, cost_usd=0.5)).at(10 * number).results(number, "x")
    return log.step(4, usage=Usage(90, 10)).ends()


def test_after_a_kill_the_rest_counts_as_saved() -> None:
    replay, asked = replayed(spending(), once(Kill("enough", {"n": 2}), 7), every_steps=1)
    assert replay.ending is not None
    assert (replay.ending.kind, replay.ending.why, replay.ending.by) == ("killed", "enough", "tried")
    assert (replay.ending.version, replay.ending.step, replay.ending.at_s) == (8, 2, 10.0)
    assert [deed.kind for deed in replay.deeds] == ["killed"]
    assert len(asked) == 2, "nobody is asked about a run that is over"
    assert (replay.spent.tokens, replay.spent.steps, replay.spent.tool_calls) == (400, 4, 3)
    assert (replay.saved.tokens, replay.saved.steps, replay.saved.tool_calls) == (200, 2, 1)
    assert (replay.saved.cost_usd, replay.saved.worked_s) == (0.5, 20.0)


def test_a_model_call_that_is_under_way_at_the_kill_counts_as_made() -> None:
    log = Log().put(StepStarted(step=1)).at(50).put(StepCompleted(step=1, reply=(Text("x"),), usage=Usage(90, 10)))
    log.put(StepStarted(step=2), StepCompleted(step=2, reply=(Text("x"),), usage=Usage(7, 0))).ends()
    replay, _ = replayed(log, lambda trace, now_s: Kill("slow"), every_s=10)
    assert replay.ending is not None
    assert (replay.ending.at_s, replay.saved.tokens, replay.saved.worked_s) == (10.001, 7, 39.999)


def test_reviews_that_cost_something_are_told_and_shown_to_the_critic_as_spent() -> None:
    seen: list[int] = []

    def critic(trace: Trace, now_s: float) -> Any:
        seen.append(trace.state.input_tokens)
        return Judged(Continue(), Usage(20, 5, cost_usd=0.1), "p:judge")

    log = Log().step(1, "look").results(1, "x").step(2, "look").results(2, "x").ends()
    replay, _ = replayed(log, critic, every_steps=1)
    assert seen == [0, 20]
    assert (replay.review_tokens, replay.review_usd, replay.spent.tokens) == (50, 0.2, 0)


# ------------------------------------------------------------------ critics that fail


def test_a_critic_that_fails_is_asked_again_after_a_pause_and_lost_after_the_third_time() -> None:
    def critic(trace: Trace, now_s: float) -> Any:
        raise RuntimeError("down")

    log = Log().step(1, "look").at(60).results(1, "x").step(2, "look").at(99).results(2, "x").ends()
    replay, asked = replayed(log, critic, every_steps=1)
    assert [now_s for _, now_s in asked] == [0.0, 1.0, 3.0]
    assert (replay.failures, replay.deeds) == (3, [])
    assert replay.lost == "it failed 3 times in a row, the last time: down"


def test_where_no_time_passes_it_is_asked_again_at_the_next_event() -> None:
    log = Log(imported_from="x.json#1").step(1, "look").results(1, "x").step(2).ends()
    replay, asked = replayed(log, lambda trace, now_s: "nonsense", every_steps=1)
    assert [version for version, _ in asked] == [3, 4, 5]
    assert "expected a Verdict" in replay.lost


def test_a_failure_between_two_verdicts_is_forgotten() -> None:
    answers = cycle([None, None, Continue()])
    log = Log().step(1, "look").at(100).results(1, "x").step(2, "look").at(200).results(2, "x").ends()
    replay, _ = replayed(log, lambda trace, now_s: next(answers), every_s=50)
    assert replay.failures > 3
    assert replay.lost == ""


# ------------------------------------------------------------------ no look into the future

A, B = ("look", "a tree"), ("listen", "nothing")
steps = st.lists(st.lists(st.sampled_from([A, B]), min_size=1, max_size=2), min_size=4, max_size=14)


def told(taken: Sequence[Sequence[tuple[str, str]]], seconds: Sequence[float]) -> Log:
    log = Log()
    for number, calls in enumerate(taken, 1):
        log.step(number, *(name for name, _ in calls)).at(log.now_ms / 1000 + seconds[number % len(seconds)])
        log.results(number, *(result for _, result in calls))
    return log.ends()


def questions(events: Sequence[Event], critic: Any, kind: type[Replay]) -> list[tuple[Trace, float]]:
    """Everything that the critic is asked."""
    found: list[tuple[Trace, float]] = []

    def review(trace: Trace, now_s: float) -> Any:
        found.append((trace, now_s))
        return critic.review(trace, now_s)

    terms = terms_of(critic)
    replayed(events, review, kind, every_s=terms.every_s, every_steps=terms.every_steps)
    return found


def peeks(log: Log, critic: Any, kind: type[Replay] = Replay) -> bool:
    """Whether the critic is shown anything that happened after the moment in question, or that it could not have been
    shown if the recording had ended there.
    """
    whole = questions(log.events, critic, kind)
    if any(trace.now_ms > round(now_s * 1000) for trace, now_s in whole):
        return True
    for cut in range(1, len(log.events)):
        part = questions(log.events[:cut], critic, kind)
        if part != whole[: len(part)]:
            return True
    return False


class Late(Replay):
    """Asks about a moment only when the next event is there, and shows that too."""

    def before(self, event: Event) -> None:
        pass

    def take(self, event: Event) -> None:
        super().take(event)
        self.up_to(event.elapsed_ms)


class Foresight(Replay):
    """Shows what the next event says already."""

    def before(self, event: Event) -> None:
        kept = self.trace
        self.trace = evolve_trace(kept, event)
        super().before(event)
        self.trace = kept


@given(steps, st.lists(st.sampled_from([0.0, 5.0, 31.0, 400.0]), min_size=1, max_size=4))
def test_what_comes_later_is_never_shown(taken: Any, seconds: Any) -> None:
    assert not peeks(told(taken, seconds), StuckCritic(silence_s=60))


@pytest.mark.parametrize("bug", [Late, Foresight])
def test_a_look_into_the_future_would_be_noticed(bug: type[Replay]) -> None:
    assert peeks(told([[A], [A], [A]], [400.0]), StuckCritic(silence_s=60), bug)
