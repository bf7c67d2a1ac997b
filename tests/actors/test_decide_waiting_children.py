"""What a run does while a child of it waits for a person: it stands still as soon as nothing else of it goes on."""

from __future__ import annotations

import pytest
from run_specs import CALL, completed, end_of

from executus.actors.run.messages import (
    AcceptChild,
    AcceptChildWait,
    AcceptResult,
    ApproveCall,
    CancelRun,
    DenyCall,
    EndByDeadline,
    EndRun,
    EndWithParent,
    KillRun,
    ReachSoftTimeout,
    ResumeRun,
    RunMessage,
    SendInput,
    SteerRun,
)
from executus.events import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    CallerSteered,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    FamilyAwaited,
    InputReceived,
    Limits,
    RunResumed,
    Status,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolRefused,
    ToolStarted,
)
from executus.projections import worked_ms
from executus.testing import RunSpec, run_started

ASK, ASK_TOO = ToolCall("c1", "agent__helper"), ToolCall("c2", "agent__helper")


def asked(limits: Limits) -> RunSpec:
    return RunSpec().given(run_started(limits=limits), StepStarted(step=1))


def born(call: str = "1.0", number: int = 1) -> ChildStarted:
    return ChildStarted(call=call, name="agent__helper", run_id=f"child-{number}")


def over(status: Status = "ok", output: str = "Looked.") -> AcceptChild:
    return AcceptChild(call="1.0", run_id="child-1", status=status, output=output)


def waits(call: str = "1.0", number: int = 1, *, still: bool = True) -> AcceptChildWait:
    return AcceptChildWait(call=call, run_id=f"child-{number}", waits=still)


UNTIMED = asked(Limits(timeout_s=None))
WAITED, AWAITED = ChildWaited(call="1.0", run_id="child-1"), FamilyAwaited(since_ms=5_000)
TIMED = asked(Limits(timeout_s=60.0, soft_timeout_s=30.0)).given(completed(ASK), born())
STILL = TIMED.given(WAITED, AWAITED)
"""Its only child waits for a person."""


def test_a_run_stands_still_when_all_that_is_under_way_of_it_waits_for_a_person() -> None:
    after = TIMED.when(waits(), now_ms=5_000).then(WAITED, AWAITED)
    assert (after.state.doing, after.state.governed.children[0].waits) == ("waiting", True)
    after.owes("child:1.0")  # and no deadline


def test_the_time_a_run_stands_still_for_its_child_moves_both_its_deadlines() -> None:
    day_ms = 86_400_000
    STILL.when(EndByDeadline(at_ms=60_000), now_ms=day_ms).then_nothing()
    STILL.when(ReachSoftTimeout(at_ms=30_000), now_ms=day_ms).then_nothing()
    went_on = ChildWentOn(call="1.0", run_id="child-1", waited_ms=day_ms - 5_000)
    after = STILL.when(waits(still=False), now_ms=day_ms).then(went_on)
    after.owes("child:1.0", f"deadline:{day_ms + 55_000}", f"soft:{day_ms + 25_000}")
    assert worked_ms(after.state, day_ms + 10) == 5_010
    after.when(EndByDeadline(at_ms=0), now_ms=day_ms + 54_999).then_nothing()
    assert end_of(after.when(EndByDeadline(at_ms=0), now_ms=day_ms + 55_000)).status == "timeout"


def test_what_is_said_of_a_child_a_second_time_changes_nothing() -> None:
    STILL.when(waits(), now_ms=9_000).then_nothing()
    TIMED.when(waits(still=False)).then_nothing()
    TIMED.when(waits("1.9")).then_nothing()
    done = TIMED.given(ChildFinished(call="1.0", run_id="child-1", status="ok"), StepStarted(step=2))
    done.when(waits()).then_nothing()


def test_a_run_goes_on_as_long_as_one_call_of_it_does() -> None:
    run = UNTIMED.given(completed(ASK, CALL), born(), ToolStarted(call="1.1", name="look"))
    after = run.when(waits(), now_ms=4_000).then(WAITED)
    assert after.state.doing == "tools"
    seen = ToolFinished(call="1.1", result="seen")
    after.when(AcceptResult(call="1.1", text="seen"), now_ms=5_000).then(seen, AWAITED)


def test_a_run_goes_on_as_long_as_one_child_of_it_does() -> None:
    run = UNTIMED.given(completed(ASK, ASK_TOO), born(), born("1.1", 2))
    after = run.when(waits(), now_ms=4_000).then(WAITED)
    assert after.state.doing == "tools"
    both = after.when(waits("1.1", 2), now_ms=5_000).then(ChildWaited(call="1.1", run_id="child-2"), AWAITED)
    one = both.when(waits(still=False), now_ms=9_000).then(ChildWentOn(call="1.0", run_id="child-1", waited_ms=4_000))
    assert one.state.doing == "tools"
    one.when(over(), now_ms=11_000).then(
        ChildFinished(call="1.0", run_id="child-1", status="ok", output="Looked."), FamilyAwaited(since_ms=11_000)
    )


def test_an_approval_of_its_own_is_answered_while_a_child_waits_too() -> None:
    request = ApprovalRequested(call="1.1", name="pay")
    run = UNTIMED.given(completed(ASK, CALL), born(), request)
    still = run.when(waits(), now_ms=5_000).then(WAITED, AWAITED)
    granted = ApprovalGranted(call="1.1", by="alice", waited_ms=2_000)
    on = still.when(ApproveCall(call="1.1", by="alice"), now_ms=7_000).then(
        granted, ToolStarted(call="1.1", name="pay")
    )
    assert on.state.doing == "tools"
    no = still.when(DenyCall(call="1.1", by="alice"), now_ms=7_000).facts
    assert [type(fact) for fact in no] == [ApprovalDenied, ToolRefused, FamilyAwaited]
    gone_on = still.when(waits(still=False), now_ms=7_000).then(
        ChildWentOn(call="1.0", run_id="child-1", waited_ms=2_000)
    )
    gone_on.when(over(), now_ms=8_000).then(
        ChildFinished(call="1.0", run_id="child-1", status="ok", output="Looked."), ApprovalAwaited(since_ms=8_000)
    )


def test_a_child_that_ends_while_it_waits_has_gone_on_first() -> None:
    over_now = over(status="cancelled", output="")
    STILL.when(over_now, now_ms=9_000).then(
        ChildWentOn(call="1.0", run_id="child-1", waited_ms=4_000),
        ChildFinished(call="1.0", run_id="child-1", status="cancelled"),
        StepStarted(step=2),
    )


def test_a_message_for_a_run_that_stands_still_for_its_child_is_read_when_that_is_over() -> None:
    chat = RunSpec().given(run_started(interactive=True), StepStarted(step=1), completed(ASK), born(), WAITED, AWAITED)
    received = InputReceived(input=(Text("And?"),))
    after = chat.when(SendInput(input=(Text("And?"),)), now_ms=9_000).then(received)
    assert (after.state.doing, after.state.waited_ms) == ("waiting", 0)
    assert after.when(EndRun()).refused == "it is busy answering; wait until it is waiting, or use cancel"
    after.when(SteerRun(text="Slowly.")).then(CallerSteered(text="Slowly."))


@pytest.mark.parametrize("message", [CancelRun(by="bob"), KillRun(by="ops"), EndWithParent(status="killed")])
def test_a_run_that_stands_still_for_its_child_can_be_stopped(message: RunMessage) -> None:
    assert end_of(STILL.when(message, now_ms=9_000)).status in ("cancelled", "killed")


def test_a_run_that_stands_still_for_its_child_does_so_in_the_next_host() -> None:
    after = STILL.when(ResumeRun(epoch=2, reason="x"), now_ms=6_000).then(RunResumed(reason="x", epoch=2))
    assert after.state.doing == "waiting"
    STILL.when(ResumeRun(epoch=2, reason="x", woken=True)).then_nothing()
