"""What a run does about approvals: it asks before it acts, stands still meanwhile, and tells three answers apart."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from run_specs import CALL, PAY, after_steps, completed, end_of, reply

from executus.actors.run.messages import (
    AcceptResult,
    ApprovalPlan,
    ApproveCall,
    CancelRun,
    DenyCall,
    EndByDeadline,
    EndRun,
    ExpireApproval,
    KillRun,
    ResumeRun,
    SendInput,
    SteerRun,
    StoreArtifact,
    ToolPlan,
)
from executus.events import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ArtifactStored,
    CallerSteered,
    InputReceived,
    Limits,
    RunFinished,
    RunResumed,
    StepStarted,
    Text,
    ToolFinished,
    ToolRefused,
    ToolResult,
    ToolStarted,
)
from executus.testing import RunSpec, run_started

LIMITS = Limits(max_steps=4, timeout_s=60.0)
ASKED = RunSpec().given(run_started(limits=LIMITS), StepStarted(step=1))
TERMS = ToolPlan("never_retry", approval=ApprovalPlan(9_000_000, "deny", "Pay 5 €?"))
REQUESTED = ApprovalRequested(
    call="1.0", name="pay", effect="never_retry", expires_at_us=9_000_000, default="deny", question="Pay 5 €?"
)
STILL = ASKED.given(completed(PAY), REQUESTED, ApprovalAwaited(since_ms=1_000))
"""Stands still until somebody answers."""
BUSY = ASKED.given(completed(PAY, CALL), REQUESTED, ToolStarted(call="1.1", name="look", effect="pure"))
"""Asks while another tool is at work."""
NOT_A_NO = "nobody answered the request for approval in time, which is not a no; the tool was not run"


# ------------------------------------------------------------------ asking


def test_a_call_that_needs_a_yes_is_asked_about_and_the_run_stands_still() -> None:
    after = ASKED.when(reply(PAY, plans=(TERMS,)), now_ms=1_000).then(
        completed(PAY), REQUESTED, ApprovalAwaited(since_ms=1_000)
    )
    after.owes("expiry:1.0:9000000")
    assert after.state.tool_calls == 0


def test_an_approval_that_never_expires_leaves_a_run_that_nobody_owes_anything() -> None:
    plan = ToolPlan("never_retry", approval=ApprovalPlan())
    after = ASKED.when(reply(PAY, plans=(plan,))).then(
        completed(PAY), ApprovalRequested(call="1.0", name="pay"), ApprovalAwaited(since_ms=0)
    )
    after.owes()
    after.when(ExpireApproval(call="1.0", now_us=1 << 60)).then_nothing()


def test_other_tools_go_on_while_a_call_is_asked_about() -> None:
    run = ASKED.when(reply(PAY, CALL, plans=(TERMS, ToolPlan("pure")))).then(
        completed(PAY, CALL), REQUESTED, ToolStarted(call="1.1", name="look", effect="pure")
    )
    run.owes("tool:1.1", "expiry:1.0:9000000", "deadline:60000")
    run.when(AcceptResult(call="1.1", text="seen"), now_ms=2_000).then(
        ToolFinished(call="1.1", result="seen"), ApprovalAwaited(since_ms=2_000)
    )


def test_a_dry_run_asks_nobody() -> None:
    dry = RunSpec().given(run_started(dry_run=True), StepStarted(step=1))
    dry.when(reply(PAY, plans=(TERMS,))).then(
        completed(PAY),
        ToolRefused(call="1.0", name="pay", reason="dry run: the tool was not executed"),
        StepStarted(step=2),
    )


# ------------------------------------------------------------------ three answers


def test_a_yes_starts_the_call_and_the_time_it_took_does_not_count() -> None:
    after = STILL.when(ApproveCall(call="1.0", by="alice"), now_ms=3_601_000).then(
        ApprovalGranted(call="1.0", by="alice", waited_ms=3_600_000),
        ToolStarted(call="1.0", name="pay", effect="never_retry"),
    )
    after.owes("tool:1.0", "deadline:3660000")
    after.when(EndByDeadline(at_ms=60_000), now_ms=3_601_500).then_nothing()
    after.when(AcceptResult(call="1.0", text="paid"), now_ms=3_602_000).then(
        ToolFinished(call="1.0", result="paid"), StepStarted(step=2)
    )


def test_a_yes_while_other_tools_work_has_held_up_nothing() -> None:
    after = BUSY.when(ApproveCall(call="1.0"), now_ms=5_000).then(
        ApprovalGranted(call="1.0"), ToolStarted(call="1.0", name="pay", effect="never_retry")
    )
    after.owes("tool:1.0", "tool:1.1", "deadline:60000")


def test_a_no_is_told_to_the_model_with_who_and_why() -> None:
    after = STILL.when(DenyCall(call="1.0", by="alice", reason="too much"), now_ms=4_000).then(
        ApprovalDenied(call="1.0", by="alice", reason="too much", waited_ms=3_000),
        ToolRefused(call="1.0", name="pay", reason="the approval was denied by alice: too much"),
        StepStarted(step=2),
    )
    after.owes("model:2:1", "deadline:63000")
    bare = STILL.when(DenyCall(call="1.0")).facts
    assert ToolRefused(call="1.0", name="pay", reason="the approval was denied") in bare


def test_silence_is_not_a_no() -> None:
    after = STILL.when(ExpireApproval(call="1.0", now_us=9_000_000), now_ms=8_000).then(
        ApprovalExpired(call="1.0", waited_ms=7_000),
        ToolRefused(call="1.0", name="pay", reason=NOT_A_NO),
        StepStarted(step=2),
    )
    assert after.transcript[-1].parts == (ToolResult("c2", "pay", NOT_A_NO, True),)


def test_silence_may_mean_yes_if_the_request_said_so() -> None:
    run = ASKED.given(
        completed(PAY),
        ApprovalRequested(call="1.0", name="pay", effect="idempotent", expires_at_us=9_000_000, default="grant"),
        ApprovalAwaited(since_ms=0),
    )
    run.when(ExpireApproval(call="1.0", now_us=9_000_001), now_ms=10).then(
        ApprovalExpired(call="1.0", waited_ms=10), ToolStarted(call="1.0", name="pay", effect="idempotent")
    )


def test_granted_denied_and_expired_are_three_facts() -> None:
    answers = (ApproveCall(call="1.0"), DenyCall(call="1.0"), ExpireApproval(call="1.0", now_us=9_000_000))
    assert [type(STILL.when(answer).facts[0]) for answer in answers] == [
        ApprovalGranted,
        ApprovalDenied,
        ApprovalExpired,
    ]


# ------------------------------------------------------------------ answers that answer nothing


def test_an_early_expiry_is_ignored() -> None:
    STILL.when(ExpireApproval(call="1.0", now_us=8_999_999)).then_nothing()


def test_the_first_answer_counts() -> None:
    granted = STILL.given(*STILL.when(ApproveCall(call="1.0")).facts)
    granted.when(ExpireApproval(call="1.0", now_us=1 << 60)).then_nothing()
    granted.when(DenyCall(call="1.0")).then_refused("call '1.0' does not wait for an approval")
    granted.when(ApproveCall(call="1.0")).then_refused("those that do: none")


def test_an_answer_to_a_call_that_asks_nothing_is_refused_and_names_those_that_do() -> None:
    STILL.when(ApproveCall(call="7.0")).then_refused("those that do: 1.0")
    ASKED.when(DenyCall(call="1.0")).then_refused("those that do: none")
    STILL.when(ExpireApproval(call="7.0", now_us=1 << 60)).then_nothing()


@pytest.mark.parametrize("answer", [ApproveCall(call="1.0"), DenyCall(call="1.0")])
def test_a_run_that_is_over_takes_no_answer(answer: ApproveCall | DenyCall) -> None:
    over = STILL.given(*STILL.when(CancelRun()).facts)
    over.when(answer).then_refused("it is over, with status cancelled")
    over.when(ExpireApproval(call="1.0", now_us=1 << 60)).then_nothing().owes()


# ------------------------------------------------------------------ several

TWO = ASKED.given(
    completed(PAY, CALL),
    ApprovalRequested(call="1.0", name="pay", expires_at_us=9_000_000),
    ApprovalRequested(call="1.1", name="look", effect="pure", expires_at_us=5_000_000),
    ApprovalAwaited(since_ms=1_000),
)


def test_a_no_to_one_of_two_leaves_the_run_waiting_for_the_other() -> None:
    TWO.owes("expiry:1.0:9000000", "expiry:1.1:5000000")
    after = TWO.when(DenyCall(call="1.0"), now_ms=3_000).then(
        ApprovalDenied(call="1.0", waited_ms=2_000),
        ToolRefused(call="1.0", name="pay", reason="the approval was denied"),
        ApprovalAwaited(since_ms=3_000),
    )
    after.owes("expiry:1.1:5000000")
    after = after.when(ApproveCall(call="1.1"), now_ms=7_000).then(
        ApprovalGranted(call="1.1", waited_ms=4_000), ToolStarted(call="1.1", name="look", effect="pure")
    )
    after.owes("tool:1.1", "deadline:66000")


def test_a_yes_to_one_of_two_sets_the_run_to_work_and_it_waits_for_the_other_afterwards() -> None:
    after = TWO.given(*TWO.when(ApproveCall(call="1.1"), now_ms=2_000).facts)
    after.owes("tool:1.1", "expiry:1.0:9000000", "deadline:61000")
    after.when(AcceptResult(call="1.1", text="seen"), now_ms=2_500).then(
        ToolFinished(call="1.1", result="seen"), ApprovalAwaited(since_ms=2_500)
    )


# ------------------------------------------------------------------ meanwhile


def test_a_run_that_stands_still_has_no_deadline() -> None:
    STILL.when(EndByDeadline(at_ms=60_000), now_ms=1 << 40).then_nothing()


def test_a_run_that_stands_still_can_be_stopped() -> None:
    assert end_of(STILL.when(CancelRun(by="bob"))).status == "cancelled"
    assert end_of(STILL.when(KillRun(by="ops"))).status == "killed"


def test_advice_to_a_run_that_stands_still_waits_for_its_next_step() -> None:
    STILL.when(SteerRun(text="Hurry.", by="bob")).then(CallerSteered(text="Hurry.", by="bob")).owes(
        "expiry:1.0:9000000"
    )


def test_a_message_to_a_run_that_asks_for_approval_is_no_answer_to_it() -> None:
    chat = RunSpec().given(
        run_started(interactive=True), StepStarted(step=1), completed(PAY), REQUESTED, ApprovalAwaited(since_ms=0)
    )
    after = chat.when(SendInput(input=(Text("Well?"),)), now_ms=500).then(InputReceived(input=(Text("Well?"),)))
    after.owes("expiry:1.0:9000000")
    chat.when(EndRun()).then_refused("busy")


def test_a_run_that_stands_still_is_taken_up_as_it_was() -> None:
    STILL.when(ResumeRun(epoch=2, reason="a new host took over")).then(
        RunResumed(reason="a new host took over", epoch=2)
    ).owes("expiry:1.0:9000000")
    STILL.when(ResumeRun(epoch=2, reason="an answer came", woken=True)).then_nothing()


def test_a_call_that_was_never_approved_is_not_called_unknown() -> None:
    facts = BUSY.when(ResumeRun(epoch=2, reason="x")).facts
    assert [type(fact) for fact in facts] == [RunResumed]


# ------------------------------------------------------------------ artifacts


def test_a_stored_artifact_is_recorded_while_the_run_is_live() -> None:
    artifact = ArtifactStored(sha256="0f", name="plan.md", media_type="text/markdown", size=3, call="1.1")
    BUSY.when(StoreArtifact(artifact=artifact)).then(artifact)
    BUSY.given(RunFinished(stats=after_steps(1), by="model")).when(StoreArtifact(artifact=artifact)).then_refused(
        "over"
    )
    RunSpec().when(StoreArtifact(artifact=artifact)).then_refused("has not started")


def test_what_a_call_stores_a_second_time_is_the_same_artifact() -> None:
    artifact = ArtifactStored(sha256="0f", name="plan.md", media_type="text/markdown", size=3, call="1.1")
    stored = BUSY.given(artifact)
    stored.when(StoreArtifact(artifact=artifact)).then_nothing()
    stored.given(*stored.when(ResumeRun(epoch=2, reason="x")).facts).when(
        StoreArtifact(artifact=artifact)
    ).then_nothing()
    other = replace(artifact, sha256="1f")
    stored.when(StoreArtifact(artifact=other)).then(other)
    later = stored.given(ToolFinished(call="1.1", result="seen"))
    assert later.state.governed.kept == ()
