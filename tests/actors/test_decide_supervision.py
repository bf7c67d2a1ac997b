"""What a run does about its supervision: a critic, whose orders are bounded and never answered, and its host."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from run_specs import after_steps, completed, end_of, reply

from executus.actors.run.messages import (
    AcceptResult,
    CancelRun,
    ChargeReview,
    EndByDeadline,
    ExtendRun,
    KillRun,
    LoseCritic,
    NoteSleep,
    ObserveRun,
    RaiseCeiling,
    ReachSoftTimeout,
    RunMessage,
    SendInput,
    SteerRun,
)
from executus.events import (
    BudgetExceeded,
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    HostSlept,
    InputAwaited,
    InputReceived,
    Limits,
    RunFinished,
    RunStats,
    SoftTimeoutReached,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
)
from executus.testing import RunSpec, run_started

NEW = RunSpec()
TIMED = Limits(max_steps=4, timeout_s=60.0, soft_timeout_s=20.0)
ASKED = NEW.given(run_started(limits=TIMED), StepStarted(step=1))
WORKING = ASKED.given(completed(Text("Let me look."), ToolCall("c1", "look")), ToolStarted(call="1.0", name="look"))
BOUNDLESS = NEW.given(run_started(), StepStarted(step=1))
WAITING = NEW.given(
    run_started(limits=TIMED, interactive=True), StepStarted(step=1), completed(Text("Yes?")), InputAwaited(since_ms=0)
)
OVER = ASKED.given(RunFinished(stats=RunStats(status="ok", steps=1), by="model"))
EVIDENCE = {"rule": "same call", "times": 3}


# ------------------------------------------------------------------ the soft timeout


def test_the_soft_timeout_ends_nothing_and_is_said_once() -> None:
    ASKED.owes("model:1:1", "deadline:60000", "soft:20000")
    after = ASKED.when(ReachSoftTimeout(at_ms=20_000), now_ms=20_001).then(SoftTimeoutReached(at_ms=20_000))
    after.owes("model:1:1", "deadline:60000")
    after.when(ReachSoftTimeout(at_ms=20_000), now_ms=30_000).then_nothing()


def test_an_early_soft_timeout_is_ignored() -> None:
    ASKED.when(ReachSoftTimeout(at_ms=20_000), now_ms=19_999).then_nothing()


def test_waiting_for_a_person_moves_the_soft_timeout() -> None:
    WAITING.owes()
    WAITING.when(ReachSoftTimeout(at_ms=20_000), now_ms=25_000).then_nothing()
    run = WAITING.when(SendInput(input=(Text("Go on."),)), now_ms=30_000).then(
        InputReceived(input=(Text("Go on."),), waited_ms=30_000), StepStarted(step=2)
    )
    run.owes("model:2:1", "deadline:90000", "soft:50000")
    run.when(ReachSoftTimeout(at_ms=50_000), now_ms=49_999).then_nothing()


@pytest.mark.parametrize("run", [NEW, BOUNDLESS, OVER])
def test_a_run_without_a_soft_timeout_or_without_work_ignores_it(run: RunSpec) -> None:
    run.when(ReachSoftTimeout(at_ms=20_000), now_ms=1 << 40).then_nothing()


# ------------------------------------------------------------------ observe, steer


def test_an_observation_is_recorded_and_the_model_hears_nothing_of_it() -> None:
    after = WORKING.when(ObserveRun(text="it repeats itself", evidence=EVIDENCE)).then(
        CriticObserved(text="it repeats itself", evidence=EVIDENCE)
    )
    after = after.when(AcceptResult(call="1.0", text="x")).then(
        ToolFinished(call="1.0", result="x"), StepStarted(step=2)
    )
    assert [message.role for message in after.transcript] == ["user", "assistant", "tool"]


def test_a_critics_advice_is_read_at_the_next_step_and_keeps_its_evidence() -> None:
    advice = SteerRun(text="Try another way.", by="stuck", critic=True, evidence=EVIDENCE)
    after = WORKING.when(advice).then(CriticSteered(text="Try another way.", by="stuck", evidence=EVIDENCE))
    assert [message.role for message in after.transcript] == ["user", "assistant"]
    after = after.when(AcceptResult(call="1.0", text="x")).then(
        ToolFinished(call="1.0", result="x"), StepStarted(step=2)
    )
    assert [message.role for message in after.transcript] == ["user", "assistant", "tool", "user"]
    assert after.transcript[-1].parts == (Text("Try another way."),)


def test_a_critics_advice_is_read_before_the_run_ends() -> None:
    ASKED.given(CriticSteered(text="Check it.")).when(reply(Text("Done."))).then(
        completed(Text("Done.")), StepStarted(step=2)
    )


# ------------------------------------------------------------------ extend


def extend(seconds: float, *, critic: bool = True) -> ExtendRun:
    return ExtendRun(seconds=seconds, by="critic" if critic else "ops", reason="nearly there", critic=critic)


def extended(until_ms: int, by: str = "critic") -> DeadlineExtended:
    return DeadlineExtended(until_ms=until_ms, by=by, reason="nearly there")


def test_a_critic_may_extend_the_deadline_and_the_old_alarm_is_ignored() -> None:
    after = ASKED.when(extend(30)).then(extended(90_000)).owes("model:1:1", "deadline:90000", "soft:20000")
    after.when(EndByDeadline(at_ms=60_000), now_ms=60_000).then_nothing()
    end = end_of(after.when(EndByDeadline(at_ms=90_000), now_ms=90_000))
    assert (end.status, end.by, end.reason) == ("timeout", "deadline", "the deadline of 90 s is over")


def test_a_critic_extends_to_twice_the_deadline_at_most() -> None:
    after = ASKED.when(extend(1e9)).then(extended(120_000))
    after.when(extend(1)).then_nothing()


def test_the_cap_given_at_start_holds_for_the_critic_and_not_for_the_host() -> None:
    run = NEW.given(run_started(limits=replace(TIMED, extend_to_s=70.0)), StepStarted(step=1))
    after = run.when(extend(30)).then(extended(70_000))
    after.when(extend(30)).then_nothing()
    after.when(extend(30, critic=False)).then(extended(100_000, by="ops"))


def test_a_cap_below_the_deadline_lets_a_critic_extend_nothing() -> None:
    run = NEW.given(run_started(limits=replace(TIMED, extend_to_s=10.0)), StepStarted(step=1))
    run.when(extend(30)).then_nothing().owes("model:1:1", "deadline:60000", "soft:20000")


def test_an_extension_that_comes_too_late_changes_nothing() -> None:
    timed_out = ASKED.given(*ASKED.when(EndByDeadline(at_ms=60_000), now_ms=60_000).facts)
    timed_out.when(extend(30)).then_nothing()
    timed_out.when(extend(30, critic=False)).then_refused("it is over, with status timeout")


@pytest.mark.parametrize("seconds", [0.0, -5.0, -1e300])
def test_no_order_brings_the_deadline_nearer(seconds: float) -> None:
    ASKED.when(extend(seconds)).then_nothing()
    ASKED.when(extend(seconds, critic=False)).then_nothing()


def test_a_run_without_a_deadline_cannot_be_extended() -> None:
    BOUNDLESS.when(extend(30)).then_nothing()
    BOUNDLESS.when(extend(30, critic=False)).then_refused("no deadline to extend")


def test_an_extension_given_while_the_run_waits_counts_afterwards() -> None:
    after = WAITING.when(extend(30)).then(extended(90_000)).owes()
    after.given(InputReceived(input=(Text("x"),), waited_ms=5_000), StepStarted(step=2)).owes(
        "model:2:1", "deadline:95000", "soft:25000"
    )


# ------------------------------------------------------------------ raise


def raise_by(more: float, limit: str = "steps", *, critic: bool = True) -> RaiseCeiling:
    return RaiseCeiling(limit=limit, more=more, by="critic" if critic else "ops", critic=critic)  # type: ignore[arg-type]


def test_a_raised_ceiling_lets_the_run_go_on() -> None:
    run = NEW.given(run_started(max_steps=1), StepStarted(step=1))
    raised = run.when(raise_by(1)).then(CeilingRaised(limit="steps", old=1, new=2, by="critic"))
    raised = raised.given(completed(ToolCall("c1", "look")), ToolStarted(call="1.0", name="look"))
    raised.when(AcceptResult(call="1.0", text="x")).then(ToolFinished(call="1.0", result="x"), StepStarted(step=2))


def test_a_critic_raises_the_ceiling_to_twice_what_it_was_at_most() -> None:
    after = ASKED.when(raise_by(100)).then(CeilingRaised(limit="steps", old=4, new=8, by="critic"))
    after.when(raise_by(1)).then_nothing()


def test_the_cap_on_steps_given_at_start_holds_for_the_critic_and_not_for_the_host() -> None:
    run = NEW.given(run_started(limits=replace(TIMED, raise_steps_to=5)), StepStarted(step=1))
    after = run.when(raise_by(3)).then(CeilingRaised(limit="steps", old=4, new=5, by="critic"))
    after.when(raise_by(3, critic=False)).then(CeilingRaised(limit="steps", old=5, new=8, by="ops"))


@pytest.mark.parametrize("limit", ["tool_calls", "tokens", "cost_usd", "seconds"])
def test_a_critic_raises_nothing_but_steps(limit: str) -> None:
    limits = Limits(max_tool_calls=5, max_tokens=100, max_cost_usd=1.0)
    NEW.given(run_started(limits=limits), StepStarted(step=1)).when(raise_by(5, limit)).then_nothing()


@pytest.mark.parametrize(("limit", "old"), [("tool_calls", 5), ("tokens", 100), ("cost_usd", 1.0)])
def test_the_host_may_raise_every_limit_the_run_has(limit: str, old: float) -> None:
    limits = Limits(max_tool_calls=5, max_tokens=100, max_cost_usd=1.0)
    run = NEW.given(run_started(limits=limits), StepStarted(step=1))
    raised = CeilingRaised(limit=limit, old=old, new=old + 2, by="ops")  # type: ignore[arg-type]
    after = run.when(raise_by(2, limit, critic=False)).then(raised)
    spent = {"tool_calls": "max_tool_calls", "tokens": "max_tokens", "cost_usd": "max_cost_usd"}
    assert getattr(after.state.limits, spent[limit]) == old + 2
    BOUNDLESS.when(raise_by(2, limit, critic=False)).then_refused(f"no limit of {limit} to raise")


@pytest.mark.parametrize("more", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_a_ceiling_is_never_lowered_nor_taken_away(more: float) -> None:
    ASKED.when(raise_by(more, critic=False)).then_nothing()


# ------------------------------------------------------------------ kill


def test_a_critics_kill_ends_the_run_with_its_reason_and_evidence_and_keeps_what_there_is() -> None:
    order = KillRun(reason="going in circles", by="stuck", critic=True, evidence=EVIDENCE)
    after = WORKING.when(order, now_ms=900).then(
        CriticKilled(reason="going in circles", by="stuck", evidence=EVIDENCE),
        RunFinished(
            stats=after_steps(1, status="killed", output="Let me look.", tool_calls=1, runtime_s=0.9),
            by="stuck",
            reason="going in circles",
        ),
    )
    after.owes()
    after.when(order, now_ms=901).then_nothing()


def test_the_host_may_kill_too_and_is_named() -> None:
    assert end_of(WAITING.when(KillRun(reason="enough"))).by == "host"
    end = end_of(ASKED.when(KillRun(reason="enough", by="ops")))
    assert (end.status, end.by, end.reason) == ("killed", "ops", "enough")


def test_a_kill_a_timeout_and_a_cancel_are_told_apart() -> None:
    ends = [
        end_of(ASKED.when(message, now_ms=60_000)).status
        for message in (KillRun(critic=True, by="critic"), KillRun(), EndByDeadline(at_ms=60_000), CancelRun())
    ]
    assert ends == ["killed", "killed", "timeout", "cancelled"]


def test_a_kill_that_lost_the_race_with_the_end_changes_nothing() -> None:
    OVER.when(KillRun(by="critic", critic=True)).then_nothing()
    OVER.when(KillRun(by="ops")).then_nothing()


# ------------------------------------------------------------------ what the critic costs, and that it is gone


def test_a_reviews_tokens_are_the_runs_own() -> None:
    run = NEW.given(run_started(limits=Limits(max_tokens=20, timeout_s=None)), StepStarted(step=1))
    usage = Usage(input=10, output=4, thinking=2, cost_usd=0.5)
    after = run.when(ChargeReview(usage=usage, model="judge")).then(CriticReviewed(usage=usage, model="judge"))
    after = after.given(completed(ToolCall("c1", "look")), ToolStarted(call="1.0", name="look"))
    facts = after.when(AcceptResult(call="1.0", text="x")).facts
    assert BudgetExceeded(measure="tokens", limit=20, spent=22) in facts
    end = facts[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.stats.input_tokens, end.stats.output_tokens) == ("budget_exceeded", 15, 7)
    assert (end.stats.thinking_tokens, end.stats.cost_usd) == (3, 0.5)


def test_a_lost_critic_is_recorded_and_the_deadline_stands() -> None:
    after = ASKED.when(LoseCritic(reason="it raised ValueError")).then(CriticLost(reason="it raised ValueError"))
    after.owes("model:1:1", "deadline:60000", "soft:20000")
    assert end_of(after.when(EndByDeadline(at_ms=60_000), now_ms=60_000)).status == "timeout"


CRITICS: list[RunMessage] = [
    SteerRun(text="x", by="critic", critic=True),
    ObserveRun(text="x"),
    extend(30),
    raise_by(1),
    KillRun(by="critic", critic=True),
    ChargeReview(usage=Usage(1, 1)),
    LoseCritic(reason="x"),
]


@pytest.mark.parametrize("message", CRITICS, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("run", [NEW, OVER], ids=["new", "over"])
def test_a_critic_is_never_answered_before_the_start_and_after_the_end(run: RunSpec, message: RunMessage) -> None:
    run.when(message).then_nothing()


def test_a_critic_says_nothing_to_a_run_that_waits_for_a_message() -> None:
    WAITING.when(SteerRun(text="x", by="critic", critic=True)).then_nothing()


# ------------------------------------------------------------------ a host that slept


def test_a_sleep_of_the_host_is_noted_and_moves_no_deadline() -> None:
    after = ASKED.when(NoteSleep(slept_s=600.0)).then(HostSlept(slept_s=600.0))
    after.owes("model:1:1", "deadline:60000", "soft:20000")


@pytest.mark.parametrize("run", [NEW, WAITING, OVER])
def test_a_run_that_does_nothing_does_not_note_a_sleep(run: RunSpec) -> None:
    run.when(NoteSleep(slept_s=600.0)).then_nothing()
