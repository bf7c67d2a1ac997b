"""Several critics are one: the most severe verdict wins, each is asked on its own cadence, none silences the others."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from told_run import ToldRun, rung

from executus.adapters.critics.judge import ModelCritic
from executus.adapters.critics.rules import ExtendWhileBusy
from executus.adapters.critics.several import RUNS, Critics
from executus.adapters.critics.stuck import StuckCritic
from executus.events import (
    ChildStarted,
    InputAwaited,
    Limits,
    RunFinished,
    RunStats,
    SoftTimeoutReached,
    StepStarted,
    ToolStarted,
    Usage,
)
from executus.ports import Continue, Critic, Extend, Judged, Kill, Raise, Steer, Verdict
from executus.projections.trace import Trace
from executus.testing import ScriptedModel, say

LOOK = ("look", "{}", "x")


class Says:
    """A critic that answers from a list, the last for ever, and counts how often it was asked."""

    def __init__(self, *answers: Any, name: str = "says", **cadence: float) -> None:
        self.answers = answers
        self.name = name
        self.times = 0
        self.__dict__.update(cadence)

    def review(self, trace: Trace, now: float) -> Verdict:
        answer = self.answers[min(self.times, len(self.answers) - 1)]
        self.times += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer


class SaysLater(Says):
    """The same, on the loop."""

    async def review(self, trace: Trace, now: float) -> Verdict:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().review(trace, now)


def reviewed(critic: Critic, run: ToldRun, now: float | None = None) -> Any:
    return asyncio.run(critic.review(run.trace, run.now if now is None else now))  # type: ignore[arg-type]


def stepped() -> ToldRun:
    return ToldRun().step(LOOK)


# ------------------------------------------------------------------ whose verdict


@pytest.mark.parametrize("kind", [Says, SaysLater])
def test_the_most_severe_verdict_wins(kind: Callable[..., Says]) -> None:
    ladder = [Continue(), Continue("odd"), Extend(5), Steer("no"), Kill("harm")]
    for place, severe in enumerate(ladder):
        for mild in ladder[:place]:
            for pair in ((severe, mild), (mild, severe)):
                answer = reviewed(Critics(*(kind(one, every_steps=1) for one in pair)), stepped())
                assert (type(answer), rung(answer)) == (type(severe), rung(severe))


def test_the_earlier_critic_wins_a_tie() -> None:
    critics = Critics(Says(Raise(3), every_steps=1), Says(Extend(5), every_steps=1))
    assert reviewed(critics, stepped()) == Raise(3)


def test_the_evidence_names_who_said_it() -> None:
    quiet = Says(Continue(), every_steps=1, name="quiet")
    first = Critics(quiet, Says(Kill("harm", {"n": 1}), every_steps=1, name="strict"))
    assert reviewed(first, stepped()) == Kill("harm", {"critic": "strict", "n": 1})
    named = Critics(Says(Steer("no", {"critic": "inner"}), every_steps=1, name="outer"))
    assert reviewed(named, stepped()) == Steer("no", {"critic": "inner"})


def test_one_that_was_overruled_is_asked_again_at_the_next_review() -> None:
    patient = Says(Extend(60), name="patient")
    critics = Critics(Says(Steer("no"), Continue(), every_steps=1), patient)
    run = stepped().put(SoftTimeoutReached(at_ms=1))
    assert rung(reviewed(critics, run)) == "steer"
    assert reviewed(critics, run.step(LOOK)) == Extend(60)
    assert reviewed(critics, run.step(LOOK)) == Continue()
    assert patient.times == 2


def test_usages_are_added_up_and_charged_even_to_another_verdict() -> None:
    cheap = ModelCritic(
        ScriptedModel([say('{"verdict": "continue"}', usage=Usage(10, 1, 1, 2, 3, 0.5))], "a"), every_steps=1
    )
    dear = ModelCritic(
        ScriptedModel([say('{"verdict": "continue"}', usage=Usage(20, 2, 2, 4, 6, 0.25))], "b"), every_steps=1
    )
    unknown = ModelCritic(ScriptedModel([say('{"verdict": "continue"}', usage=Usage(1, 1))], "b"), every_steps=1)
    strict = Says(Kill("harm"), every_steps=1, name="strict")
    answer = reviewed(Critics(cheap, dear, unknown, strict), stepped())
    assert answer == Judged(Kill("harm", {"critic": "strict"}), Usage(31, 4, 3, 6, 9, 0.75), "a+b")
    assert reviewed(Critics(unknown), stepped()).usage.cost_usd is None


# ------------------------------------------------------------------ when


def test_the_cadence_is_the_fastest_and_the_time_limit_the_longest() -> None:
    critics = Critics(
        Says(Continue(), every_steps=3, timeout_s=9.0),
        Says(Continue(), every_steps=2, every_s=60),
        StuckCritic(),
        name="all",
    )
    assert (critics.every_s, critics.every_steps, critics.timeout_s, critics.name) == (30.0, 1, 61.0, "all")
    assert isinstance(critics, Critic)
    bare = Critics(Says(Continue()))
    assert (bare.every_s, bare.every_steps) == (None, None)


def test_each_is_asked_on_its_own_cadence_of_steps() -> None:
    every, third = Says(Continue(), every_steps=1), Says(Continue(), every_steps=3)
    critics, run = Critics(every, third), ToldRun()
    for _ in range(9):
        reviewed(critics, run.step(LOOK))
    assert (every.times, third.times) == (9, 3)


def test_each_is_asked_on_its_own_cadence_of_seconds() -> None:
    often, seldom = Says(Continue(), every_s=30), Says(Continue(), every_s=300)
    critics, run = Critics(often, seldom), ToldRun()
    for tick in range(1, 31):
        reviewed(critics, run, tick * 30 - 0.001)
        reviewed(critics, run, tick * 30 + 5)
    assert (often.times, seldom.times) == (30, 3)


def test_a_timer_that_fires_a_moment_early_costs_no_round() -> None:
    critic, run = Says(Continue(), every_s=100), ToldRun()
    critics = Critics(critic)
    for now in (100, 199.9, 299.8):
        reviewed(critics, run, now)
    assert critic.times == 3


def test_everyone_is_asked_once_at_the_soft_timeout() -> None:
    idle, slow = Says(Continue()), Says(Continue(), every_s=1e6)
    critics, run = Critics(idle, slow), stepped()
    reviewed(critics, run)
    assert (idle.times, slow.times) == (0, 0)
    run.put(SoftTimeoutReached(at_ms=1))
    for _ in range(3):
        reviewed(critics, run.step(LOOK))
    assert (idle.times, slow.times) == (1, 1)


def test_runs_do_not_share_their_cadence_and_only_so_many_are_remembered() -> None:
    counting = Says(Continue(), every_steps=5)
    critics = Critics(counting)
    runs = [ToldRun(run_id=f"r{number}") for number in range(3)]
    for _ in range(5):
        for run in runs:
            reviewed(critics, run.step(LOOK))
    assert counting.times == 3

    async def flood() -> None:
        for number in range(RUNS + 10):
            await critics.review(ToldRun(run_id=f"x{number}").trace, 1)

    asyncio.run(flood())
    assert len(critics._asked) == RUNS


def test_a_run_that_is_told_again_is_asked_about_again() -> None:
    counting = Says(Continue(), every_s=100)
    critics, run = Critics(counting), stepped()
    for now in (100, 150, 200, 100, 150, 200):
        reviewed(critics, run, now)
    assert counting.times == 4


# ------------------------------------------------------------------ failures


class OddKill(Kill, frozen=True):
    """A subclass, which the runtime does not take."""


ODD: Any = None
FAILURES: list[Any] = [
    *(ValueError("bug"), SystemExit(1), KeyboardInterrupt()),
    *("continue", None, Verdict(), OddKill("x")),
    *(Extend(float("nan")), Extend(float("inf")), Extend(-1), Extend(0), Raise(0), Raise(True), Steer(" "), Steer(ODD)),
    *(Kill("x", ODD), Kill("x", {"a": "b" * 70_000}), Kill("x" * 70_000)),
    *(Judged(ODD), Judged(Kill("x"), ODD), Judged(Kill("x"), Usage(ODD)), Judged(Kill("x"), model=ODD)),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: repr(failure)[:40])
@pytest.mark.parametrize("kind", [Says, SaysLater])
def test_one_that_fails_does_not_silence_the_others(
    kind: Callable[..., Says], failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    critics = Critics(kind(failure, every_steps=1, name="broken"), kind(Steer("no"), every_steps=1))
    run = stepped()
    with caplog.at_level(logging.WARNING, "executus.critics"):
        for _ in range(5):
            assert rung(reviewed(critics, run.step(LOOK))) == "steer"
    assert "critic broken failed" in caplog.text


def test_failures_are_raised_when_all_failed() -> None:
    critics = Critics(Says(ValueError("one"), every_steps=1), Says(KeyError("two"), every_steps=1))
    with pytest.raises(ValueError, match="one"):
        reviewed(critics, stepped())


def test_one_that_failed_at_the_soft_timeout_is_asked_again_but_not_for_ever() -> None:
    fine, broken = Says(ValueError("busy"), Extend(60)), Says(ValueError("bug"))
    critics, run = Critics(fine, broken, Says(Continue(), every_steps=1)), stepped()
    run.put(SoftTimeoutReached(at_ms=1))
    answers = [reviewed(critics, run.step(LOOK)) for _ in range(8)]
    assert answers == [Continue(), Extend(60), *[Continue()] * 6]
    assert (fine.times, broken.times) == (2, 3)


def test_one_that_fails_alone_at_its_time_does_not_lose_those_who_were_fine() -> None:
    critics = Critics(Says(ValueError("bug"), every_s=10), Says(Continue(), every_steps=1))
    run = stepped()
    assert reviewed(critics, run, 1) == Continue()
    for now in (20, 40, 60, 80):
        assert reviewed(critics, run, now) == Continue()


def test_one_that_hangs_is_given_up_after_its_own_time() -> None:
    gate = threading.Event()

    class Hangs:
        name, every_steps, timeout_s = "hangs", 1, 0.01

        def review(self, trace: Trace, now: float) -> Verdict:
            gate.wait()
            return Kill("late")

    class HangsLater:
        name, every_steps, timeout_s = "hangs-later", 1, 0.01

        async def review(self, trace: Trace, now: float) -> Verdict:
            await asyncio.Event().wait()
            return Kill("late")

    critics = Critics(Hangs(), HangsLater(), Says(Steer("no"), every_steps=1))
    run = stepped()
    try:
        before = threading.active_count()
        for _ in range(30):
            assert rung(reviewed(critics, run.step(LOOK))) == "steer"
        assert threading.active_count() - before <= 17, "hanging threads are bounded"
    finally:
        gate.set()


def test_one_that_cancels_itself_has_failed_and_cancelling_the_review_cancels_it() -> None:
    class Cancels:
        name, every_steps = "cancels", 1

        async def review(self, trace: Trace, now: float) -> Verdict:
            raise asyncio.CancelledError

    assert rung(reviewed(Critics(Cancels(), Says(Steer("no"), every_steps=1)), stepped())) == "steer"

    stopped: list[str] = []

    class Waits:
        name, every_steps = "waits", 1

        async def review(self, trace: Trace, now: float) -> Verdict:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append("stopped")
            return Continue()

    async def story() -> None:
        task = asyncio.create_task(Critics(Waits()).review(stepped().trace, 1))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(story())
    assert stopped == ["stopped"]


def test_plain_critics_do_not_run_on_the_loop() -> None:
    where: list[threading.Thread] = []

    class Where:
        name, every_steps = "where", 1

        def review(self, trace: Trace, now: float) -> Verdict:
            where.append(threading.current_thread())
            return Continue()

    reviewed(Critics(Where()), stepped())
    assert where[0] is not threading.current_thread()
    assert where[0].daemon


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((), "expected at least one critic"),
        ((5,), "expected critics, got 5"),
        ((Says(Continue(), every_s=0),), "every_s of says: expected a number > 0 or None, got 0"),
    ],
)
def test_members_that_cannot_be_meant_are_refused(members: tuple[Any, ...], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        Critics(*members)


def test_the_ladder_of_a_stuck_run_works_inside_a_composition() -> None:
    critics = Critics(StuckCritic(), ExtendWhileBusy())
    run, rungs = ToldRun(limits=Limits(timeout_s=None)), []
    for _ in range(8):
        verdict = reviewed(critics, run.step(LOOK))
        rungs.append(rung(verdict))
        run.obey(verdict, by=critics.name)
    assert rungs == ["", "", "", "observe", "steer", "", "", "kill"]


# ------------------------------------------------------------------ more time for a run that works


def busy(**limits: Any) -> ToldRun:
    return ToldRun(limits=Limits(timeout_s=1_000, **limits)).step(LOOK)


def test_a_run_that_works_gets_more_time_at_its_soft_timeout_once() -> None:
    critic, run = ExtendWhileBusy(60), busy()
    assert critic.review(run.trace, run.now) == Continue()
    run.put(SoftTimeoutReached(at_ms=1))
    verdict = critic.review(run.trace, run.now)
    assert isinstance(verdict, Extend)
    assert verdict.seconds == 60
    run.obey(verdict)
    assert critic.review(run.trace, run.now) == Continue()


def test_a_run_that_works_gets_more_time_when_its_deadline_is_near_up_to_the_cap() -> None:
    critic, run = ExtendWhileBusy(60), busy()
    run.now = 968.0
    run.step(LOOK)
    assert isinstance(critic.review(run.trace, run.now), Extend)
    for cap_s, given in ((1_000.0, False), (1_001.0, True)):
        capped = busy(extend_to_s=cap_s).put(SoftTimeoutReached(at_ms=1))
        assert isinstance(critic.review(capped.trace, capped.now), Extend) == given


def test_a_run_that_is_silent_gets_no_more_time_unless_a_child_of_it_runs() -> None:
    critic = ExtendWhileBusy(60, quiet_s=20)
    run = busy().asks("", ("build", "{}")).put(ToolStarted(call="2.0", name="build"), SoftTimeoutReached(at_ms=1))
    assert isinstance(critic.review(run.trace, run.now + 15), Extend)
    assert critic.review(run.trace, run.now + 25) == Continue()
    parent = (
        busy()
        .asks("", ("agent__b", "{}"))
        .put(ChildStarted(call="2.0", name="agent__b", run_id="r2"), SoftTimeoutReached(at_ms=1))
    )
    assert isinstance(critic.review(parent.trace, parent.now + 25), Extend)


def test_a_run_without_a_deadline_or_that_waits_or_is_over_needs_no_time() -> None:
    critic = ExtendWhileBusy(60)
    endless = ToldRun(limits=Limits(timeout_s=None)).step(LOOK).put(SoftTimeoutReached(at_ms=1))
    waiting = busy().put(SoftTimeoutReached(at_ms=1), InputAwaited(since_ms=1))
    over = busy().put(SoftTimeoutReached(at_ms=1), RunFinished(stats=RunStats(status="ok"), by="model"))
    for run in (endless, waiting, over):
        assert critic.review(run.trace, run.now) == Continue()
    assert isinstance(critic.review(busy().put(SoftTimeoutReached(at_ms=1), StepStarted(step=2)).trace, 9), Extend)


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"seconds": None}, {"quiet_s": -1}, {"quiet_s": float("nan")}])
def test_times_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected seconds > 0"):
        ExtendWhileBusy(**settings)
