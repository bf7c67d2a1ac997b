"""Calls that need a person's yes: asked, answered or not, and a run that stands still meanwhile at no cost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from family_support import answers, look, refusals
from runtime_support import DEADLINE_S, AsyncGate, everywhere, facts, tags, texts_heard, wait_for
from time_support import CANARY, Lull, let_pass

from executus import Agent, ApprovalTerms, Run, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.adapters.system import SystemClock
from executus.errors import MessageRefused
from executus.events import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, InputReceived
from executus.journal import verify_run
from executus.projections import PendingApproval
from executus.testing import VirtualClock

DAY_S = 86_400.0


class Till:
    """A tool that asks first, and what it did."""

    def __init__(self, approval: Any = True) -> None:
        self.paid: list[int] = []

        @tool(approval=approval)
        async def pay(amount: int) -> str:
            """Pay."""
            self.paid.append(amount)
            return f"paid {amount}"

        self.tool: Any = pay

    def agent(self, *calls: Any, **options: Any) -> Agent:
        """Makes these calls in one reply, then says what it heard."""

        def answer(request: Any) -> Any:
            if request.step == 1:
                return ["Paying.", *(calls or (call("pay", amount=3),))]
            return " ".join(texts_heard(request))

        return Agent("a", model=ScriptedModel(answer), tools=[self.tool, look], **options)


def waiting(run: Run, count: int = 1) -> Run:
    """The run, as soon as it waits for a person."""
    wait_for(run, "approval-awaited", count)
    return run


# ------------------------------------------------------------------ granted, denied, expired


def test_a_call_that_is_granted_starts_then_and_not_before(opened: Any, tmp_path: Path) -> None:
    till = Till("May I?")
    runtime = opened(tmp_path / "runs.db", [till.agent()])
    run = waiting(runtime.start("a", "Go."))
    pending = PendingApproval("1.0", "pay", "never_retry", '{"amount":3}', None, "deny", "May I?")
    assert (run.status, run.approvals(), till.paid) == ("waiting", (pending,), [])
    assert [(one.id, what) for one, what in runtime.waiting()] == [(run.id, pending)]
    run.approve("1.0", by="alice")
    assert run.result(DEADLINE_S).status == "ok"
    assert (till.paid, answers(run)[0].text) == ([3], "paid 3")
    asked = tags(run).index("approval-requested")
    assert tags(run)[asked : asked + 4] == [
        "approval-requested",
        "approval-awaited",
        "approval-granted",
        "tool-started",
    ]
    granted = next(fact for fact in facts(run) if isinstance(fact, ApprovalGranted))
    assert (granted.call, granted.by) == ("1.0", "alice")
    assert runtime.waiting() == []
    assert verify_run(runtime.journal, run.id) == []


@pytest.mark.parametrize(
    ("by", "reason", "told"),
    [
        ("bob", "too dear", "the approval was denied by bob: too dear"),
        ("", "", "the approval was denied"),
    ],
)
def test_a_call_that_is_denied_never_starts_and_the_model_is_told_why(
    opened: Any, by: str, reason: str, told: str
) -> None:
    till = Till()
    run = waiting(opened(None, [till.agent()]).start("a", "Go."))
    run.deny(by=by, reason=reason)
    assert run.result(DEADLINE_S).status == "ok"
    assert (till.paid, refusals(run)) == ([], [told])
    assert answers(run)[0].is_error
    assert next(fact for fact in facts(run) if isinstance(fact, ApprovalDenied)).by == by
    assert not any(isinstance(fact, ApprovalExpired) for fact in facts(run))


@pytest.mark.parametrize(("default", "paid"), [("deny", []), ("grant", [3])])
def test_silence_is_not_a_no_and_leads_to_what_was_set(opened: Any, default: Any, paid: list[int]) -> None:
    clock, till = VirtualClock(), Till(ApprovalTerms(expires_s=60.0, default=default))
    run = waiting(opened(None, [till.agent()], clock=clock).start("a", "Go."))
    assert run.approvals()[0].expires_at_us == clock.wall_us() + 60_000_000
    clock.advance(61)
    assert run.result(DEADLINE_S).status == "ok"
    assert till.paid == paid
    assert not any(isinstance(fact, (ApprovalDenied, ApprovalGranted)) for fact in facts(run))
    assert sum(isinstance(fact, ApprovalExpired) for fact in facts(run)) == 1
    if not paid:
        assert refusals(run) == [
            "nobody answered the request for approval in time, which is not a no; the tool was not run"
        ]


def test_an_answer_in_time_leaves_nothing_to_expire(opened: Any) -> None:
    clock, gate = VirtualClock(), AsyncGate()

    @tool(approval=ApprovalTerms(expires_s=60.0))
    async def act() -> str:
        await gate.pass_through()
        return "acted"

    agent = Agent("a", model=ScriptedModel([[call("act")], "done"]), tools=[act], timeout_s=None)
    runtime = opened(None, [agent, CANARY], clock=clock)
    run = waiting(runtime.start("a", "x"))
    run.approve()
    gate.wait_entered()
    let_pass(runtime, clock, 120)
    gate.open()
    assert run.result(DEADLINE_S).output == "done"
    assert not any(isinstance(fact, ApprovalExpired) for fact in facts(run))


def test_an_approval_expires_by_the_wall_clock_whatever_is_done_to_it(opened: Any) -> None:
    clock = VirtualClock()
    till = Till(ApprovalTerms(expires_s=60.0))
    runtime = opened(None, [till.agent(), CANARY], clock=clock)
    run = waiting(runtime.start("a", "Go."))
    clock.set_wall(clock.wall_us() - 3_600_000_000)  # somebody set it back: the awake time is over, the hour is not
    let_pass(runtime, clock, 120)
    assert (run.status, len(run.approvals())) == ("waiting", 1)
    let_pass(runtime, clock, 3_540)
    assert run.result(DEADLINE_S).status == "ok"
    assert till.paid == []


def test_a_dry_run_asks_nobody(opened: Any) -> None:
    till = Till()
    run = opened(None, [till.agent()]).start("a", "Go.", dry_run=True)
    assert run.result(DEADLINE_S).status == "dry_run"
    assert not any(isinstance(fact, ApprovalRequested) for fact in facts(run))
    assert till.paid == []


# ------------------------------------------------------------------ several at once


def test_calls_beside_the_one_that_waits_are_made_at_once_and_results_keep_their_order(opened: Any) -> None:
    till = Till()
    calls = [call("pay", amount=1), call("look", at=7), call("pay", amount=2), call("pay", amount=3)]
    run = waiting(opened(None, [till.agent(*calls)]).start("a", "Go."))
    assert tags(run).count("tool-finished") == 1
    assert [one.call for one in run.approvals()] == ["1.0", "1.2", "1.3"]
    with pytest.raises(MessageRefused, match=r"name the call; waiting for approval: 1\.0, 1\.2, 1\.3"):
        run.approve()
    run.approve("1.3")
    waiting(run, 2)
    run.deny("1.0", reason="no")
    run.approve("1.2")
    assert run.result(DEADLINE_S).stats.steps == 2
    assert [one.text for one in answers(run)] == ["the approval was denied: no", "saw 7", "paid 2", "paid 3"]
    assert till.paid == [3, 2]


def test_a_run_does_not_stand_still_while_another_call_of_it_works(opened: Any) -> None:
    till, gate = Till(), AsyncGate()

    @tool(effect="pure")
    async def slow() -> str:
        await gate.pass_through()
        return "slow"

    agent = till.agent(call("pay", amount=1), call("slow"))
    agent = Agent("a", model=agent.model, tools=[till.tool, slow])
    run = opened(None, [agent]).start("a", "Go.")
    gate.wait_entered()
    assert (run.status, "approval-awaited" in tags(run)) == ("running", False)
    run.approve()
    wait_for(run, "tool-finished")
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"
    assert "approval-awaited" not in tags(run)


def test_of_many_answers_at_once_one_counts_and_the_others_are_told(opened: Any) -> None:
    till = Till()
    run = waiting(opened(None, [till.agent()]).start("a", "Go."))

    def one(number: int) -> None:
        run.approve("1.0") if number % 2 else run.deny("1.0")

    results = everywhere(8, one)
    assert run.result(DEADLINE_S).status == "ok"
    assert results.count(None) == 1
    refused = [result for result in results if result is not None]
    assert all(isinstance(result, MessageRefused) for result in refused)
    decided = [fact for fact in facts(run) if isinstance(fact, (ApprovalGranted, ApprovalDenied))]
    assert len(decided) == 1
    assert len(till.paid) == isinstance(decided[0], ApprovalGranted)


def test_answers_that_do_not_fit_are_refused_with_what_would(opened: Any) -> None:
    run = waiting(opened(None, [Till().agent()]).start("a", "Go."))
    with pytest.raises(MessageRefused, match=r"call '9\.9' does not wait for an approval; those that do: 1\.0"):
        run.approve("9.9")
    with pytest.raises(TypeError, match="deny, reason: expected a string, got 5"):
        run.deny(reason=5)  # type: ignore[arg-type]
    asyncio.run(run.deny_async(by="bob"))
    run.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match="it is over, with status ok"):
        run.approve("1.0")
    with pytest.raises(MessageRefused, match="waiting for approval: none"):
        asyncio.run(run.approve_async())


# ------------------------------------------------------------------ asleep


def test_a_waiting_run_gives_up_its_actor_and_comes_back_days_later(opened: Any, lulled: Lull) -> None:
    clock, till = VirtualClock(), Till()
    runtime = opened(None, [till.agent(timeout_s=60.0), CANARY], clock=clock, sleep_after_s=5.0)
    run = waiting(runtime.start("a", "Go."))
    lulled(run, clock)
    address = runtime.address(run.id)
    let_pass(runtime, clock, 3 * DAY_S)
    assert (address.asleep, address._mailbox, run.status) == (True, None, "waiting")
    assert [one.id for one, _ in runtime.waiting()] == [run.id]
    run.approve(by="alice")
    result = run.result(DEADLINE_S)
    assert (result.status, till.paid) == ("ok", [3])
    granted = next(fact for fact in facts(run) if isinstance(fact, ApprovalGranted))
    assert granted.waited_ms >= 3 * DAY_S * 1000
    assert verify_run(runtime.journal, run.id) == []


def test_time_spent_waiting_is_not_the_deadline_s_and_time_at_work_is(opened: Any) -> None:
    clock, gate = VirtualClock(), AsyncGate()

    @tool(approval=True)
    async def act() -> str:
        await gate.pass_through()
        return "acted"

    agent = Agent("a", model=ScriptedModel([[call("act")], "done"]), tools=[act], timeout_s=60.0)
    runtime = opened(None, [agent, CANARY], clock=clock)
    run = waiting(runtime.start("a", "x"))
    let_pass(runtime, clock, DAY_S)
    run.approve()
    gate.wait_entered()
    let_pass(runtime, clock, 59)
    assert run.status == "running"
    clock.advance(2)
    assert (run.result(DEADLINE_S).status, run.result().by) == ("timeout", "deadline")


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize(("order", "status"), [("kill", "killed"), ("cancel", "cancelled")])
def test_a_run_that_waits_is_stopped_like_any_other(
    opened: Any, lulled: Lull, order: str, status: str, asleep: bool
) -> None:
    clock, till = VirtualClock(), Till()
    runtime = opened(None, [till.agent()], clock=clock, sleep_after_s=5.0)
    run = waiting(runtime.start("a", "Go."))
    if asleep:
        lulled(run, clock)
    getattr(run, order)("enough", by="alice")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason, result.output) == (status, "alice", "enough", "Paying.")
    assert (till.paid, runtime.waiting(), run.approvals()) == ([], [], ())


@pytest.mark.parametrize("asleep", [False, True])
def test_advice_given_to_a_run_that_waits_is_read_at_its_next_step(opened: Any, lulled: Lull, asleep: bool) -> None:
    clock = VirtualClock()
    run = waiting(opened(None, [Till().agent()], clock=clock, sleep_after_s=5.0).start("a", "Go."))
    if asleep:
        lulled(run, clock)
    run.steer("Slowly.", by="alice")
    assert (run.status, len(run.approvals())) == ("waiting", 1)
    run.approve()
    assert run.result(DEADLINE_S).output == "Go. Slowly."


def test_a_run_that_was_woken_for_something_else_falls_asleep_again(opened: Any, lulled: Lull) -> None:
    clock = VirtualClock()
    runtime = opened(None, [Till().agent()], clock=clock, sleep_after_s=5.0)
    run = waiting(runtime.start("a", "Go."))
    for turn in range(3):
        lulled(run, clock)
        run.note(f"{turn}")
    run.approve()
    assert run.result(DEADLINE_S).status == "ok"
    assert "run-resumed" not in tags(run)


def test_an_approval_expires_while_its_run_sleeps(opened: Any, lulled: Lull) -> None:
    clock, till = VirtualClock(), Till(ApprovalTerms(expires_s=DAY_S, default="grant"))
    runtime = opened(None, [till.agent(), CANARY], clock=clock, sleep_after_s=5.0)
    run = waiting(runtime.start("a", "Go."))
    lulled(run, clock)
    let_pass(runtime, clock, DAY_S - 600)
    assert (run.status, till.paid) == ("waiting", [])
    let_pass(runtime, clock, 3_600)  # the wall clock is looked at every hour
    assert run.result(DEADLINE_S).status == "ok"
    assert till.paid == [3]


def test_an_interactive_run_sleeps_and_wakes_too(opened: Any, lulled: Lull) -> None:
    clock = VirtualClock()
    agent = Agent("talker", model=ScriptedModel(lambda r: f"You said {texts_heard(r)[-1]}."), timeout_s=60.0)
    runtime = opened(None, [agent], clock=clock, sleep_after_s=5.0)
    run = runtime.start("talker", "one", interactive=True)
    wait_for(run, "input-awaited")
    lulled(run, clock)
    assert runtime.address(run.id)._mailbox is None
    clock.advance(3 * DAY_S)
    run.send("two", by="bob")
    wait_for(run, "input-awaited", 2)
    assert run.state().output == "You said two."
    received = next(fact for fact in facts(run) if isinstance(fact, InputReceived))
    assert received.waited_ms >= 3 * DAY_S * 1000
    lulled(run, clock)
    run.end()
    assert run.result(DEADLINE_S).status == "ok"


def test_an_interactive_run_that_waits_for_a_yes_takes_messages_for_later(opened: Any) -> None:
    run = waiting(opened(None, [Till().agent()]).start("a", "Go.", interactive=True))
    run.send("And hurry.")
    with pytest.raises(MessageRefused, match="it is busy answering"):
        run.end()
    run.approve()
    wait_for(run, "input-awaited")
    assert run.state().output == "Go. And hurry."


# ------------------------------------------------------------------ after a restart


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_a_run_waits_on_in_the_next_host_and_is_answered_there(opened: Any, tmp_path: Path, answer: str) -> None:
    till = Till("May I?")
    runtime = opened(tmp_path / "runs.db", [till.agent()])
    run = waiting(runtime.start("a", "Go."))
    before = run.approvals()
    runtime.close()
    later = opened(tmp_path / "runs.db", [till.agent()])
    again = later.run(run.id)
    assert (again.status, again.approvals()) == ("waiting", before)
    getattr(again, answer)(by="alice")
    assert again.result(DEADLINE_S).status == "ok"
    assert till.paid == ([3] if answer == "approve" else [])
    assert verify_run(later.journal, run.id) == []


class DaysLater(SystemClock):
    """The wall clock of a host that comes two days later."""

    def wall_us(self) -> int:
        return super().wall_us() + round(2 * DAY_S * 1e6)


@pytest.mark.parametrize(("default", "paid"), [("deny", []), ("grant", [3])])
def test_an_approval_that_expired_while_no_host_was_there_has_expired(
    opened: Any, tmp_path: Path, default: Any, paid: list[int]
) -> None:
    till = Till(ApprovalTerms(expires_s=DAY_S, default=default))
    runtime = opened(tmp_path / "runs.db", [till.agent(timeout_s=60.0)])
    run = waiting(runtime.start("a", "Go."))
    runtime.close()
    again = opened(tmp_path / "runs.db", [till.agent(timeout_s=60.0)], clock=DaysLater()).run(run.id)
    assert again.result(DEADLINE_S).status == "ok"
    assert till.paid == paid
    assert sum(isinstance(fact, ApprovalExpired) for fact in facts(again)) == 1
    assert not any(isinstance(fact, (ApprovalDenied, ApprovalGranted)) for fact in facts(again))


def test_a_granted_call_that_the_host_s_end_interrupted_is_not_asked_about_again(opened: Any, tmp_path: Path) -> None:
    gate, acted = AsyncGate(), []

    @tool(approval=True, effect="never_retry")
    async def act() -> str:
        acted.append(1)
        await gate.pass_through()
        return "acted"

    agent = Agent("a", model=ScriptedModel([[call("act")], "done"]), tools=[act])
    runtime = opened(tmp_path / "runs.db", [agent])
    run = waiting(runtime.start("a", "x"))
    run.approve()
    gate.wait_entered()
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert again.result(DEADLINE_S).output == "done"
    assert (len(acted), again.approvals()) == (1, ())
    assert "tool-outcome-unknown" in tags(again)
