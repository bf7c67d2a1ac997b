"""Mistakes about critics, budgets, approvals, limits and phases, made on purpose: the simulation must notice each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace
from sim_host import SimRunActor
from sim_planted import found_in
from sim_world import Bugs, SimTimer

from executus.actors.address import Address
from executus.actors.budget import BudgetActor
from executus.actors.budget_desk import BudgetDesk
from executus.actors.run.messages import (
    AcceptGrant,
    ApproveCall,
    DenyCall,
    EndByDeadline,
    ExpireApproval,
    ExtendRun,
    RaiseCeiling,
    ResumeRun,
    RunMessage,
    SteerRun,
)
from executus.actors.run.people import approved
from executus.actors.run.refusal import Refusal
from executus.actors.supervisor import Supervisor
from executus.events import (
    BudgetNoticed,
    Event,
    PhaseStarted,
    StepStarted,
    ToolStarted,
)
from executus.ports import Allowance
from executus.projections import PendingApproval, Wake, notices
from executus.projections.allowing import room
from executus.projections.ledger import Held

# ------------------------------------------------------------------ critics


class LeavesTheDeadlineToItsCritic(SimRunActor):
    """Whoever is watched has no deadline of its own: the critic looks at the clock whenever it says something."""

    def begin(self, owed: Any) -> Any:
        if self.address.critic is not None and isinstance(owed, Wake) and owed.what == "deadline":
            return SimTimer(lambda: None)
        return super().begin(owed)

    def take(self, message: RunMessage, asked: Any) -> None:
        super().take(message, asked)
        due_ms = self.state.governed.deadline_ms
        if getattr(message, "critic", False) and due_ms is not None and not self.actor_stopped.is_set():
            super().take(EndByDeadline(at_ms=due_ms), None)


class IgnoresCaps(SimRunActor):
    """A critic's order is taken for a person's."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, (ExtendRun, RaiseCeiling)) and not self.state.over and self.state.doing != "new":
            message = replace(message, critic=False)
        return super().decide(message, now_ms)


class LosesTheDeadlineItExtends(SimRunActor):
    """The old timer is called off, and none is set in its place."""

    def begin(self, owed: Any) -> Any:
        timeout_s, deadline_ms = self.state.limits.timeout_s, self.state.governed.deadline_ms
        extended = timeout_s is not None and deadline_ms != round(timeout_s * 1000)
        if extended and isinstance(owed, Wake) and owed.what == "deadline":
            return SimTimer(lambda: None)
        return super().begin(owed)


class LetsACriticEndItTwice(SimRunActor):
    """A late order of a critic still finds a run that is over."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        late = self._end is not None and getattr(message, "critic", False)
        return [self._end] if late else facts


class CriticsEndItTwice(Bugs):
    run_actor = LetsACriticEndItTwice

    def refusal(self, append: Any, head: Any) -> Any:
        return None if head.over else super().refusal(append, head)


class KeepsWatching(Supervisor):
    """The critic of a run that is over is not sent home."""

    def on_receive(self, message: Any) -> None:
        address = getattr(message, "address", None)
        critic = getattr(address, "critic", None)
        if critic is not None:
            critic.leave = critic.retire = lambda: None
        super().on_receive(message)


# ------------------------------------------------------------------ budgets


class ChecksThenSpends(BudgetDesk):
    """Room is what nobody has spent, whatever is under way."""

    def _actor(self, caller: str) -> BudgetActor:
        actor = super()._actor(caller)

        def verdict(want: Any, now_us: int) -> Any:
            held, actor.account.held = actor.account.held, Held()
            try:
                return room(actor.account, actor.allowances, want, now_us)
            finally:
                actor.account.held = held

        actor.verdict = verdict  # type: ignore[method-assign]
        return actor


class ForgetsWhatItGranted(BudgetDesk):
    """What was granted counts from when its step is in the log."""

    def _actor(self, caller: str) -> BudgetActor:
        actor = super()._actor(caller)
        actor.verdict = lambda want, now_us: room(actor.account, actor.allowances, want, now_us)  # type: ignore[method-assign]
        return actor


class ForgetsReservationsInACrash(BudgetDesk):
    def rebuild(self, events: Iterable[Event]) -> None:
        super().rebuild(
            replace(event, fact=replace(event.fact, reserved_tokens=0))
            if isinstance(event.fact, StepStarted)
            else event
            for event in events
        )


class StartsAnewAfterACrash(BudgetDesk):
    """Only what this host saw counts."""

    def rebuild(self, events: Iterable[Event]) -> None:
        super().rebuild(event for event in events if not hasattr(event.fact, "usage"))


class WindowsThatStandStill(BudgetDesk):
    """What was spent is never forgotten, whatever the window."""

    def _actor(self, caller: str) -> BudgetActor:
        actor = super()._actor(caller)
        for_ever = [
            Allowance(window="run" if one.window == "run" else "total", tokens=one.tokens, cost_usd=one.cost_usd)
            for one in actor.allowances
        ]
        actor.verdict = lambda want, now_us: room(actor.account, for_ever, want, now_us, actor.granted)  # type: ignore[method-assign]
        return actor


class CallsWithoutAsking(SimRunActor):
    """A retry goes on under the first attempt's reservation."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptGrant) and message.attempt > 1:
            message = replace(message, tokens=0)
        return super().decide(message, now_ms)


# ------------------------------------------------------------------ people


class TakesSilenceForNo(SimRunActor):
    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, ExpireApproval):
            if not super().decide(message, now_ms):
                return []
            message = DenyCall(call=message.call, by="nobody")
        return super().decide(message, now_ms)


class RunsWhatIsApprovedAgain(SimRunActor):
    """A second yes starts the call a second time."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        try:
            return super().decide(message, now_ms)
        except Refusal:
            if not isinstance(message, ApproveCall) or self.state.over:
                raise
            effect = "never_retry"
            pending = PendingApproval(message.call, "sign", effect, "{}", None, "deny", "")
            state = replace(self.state, governed=replace(self.state.governed, approvals=(pending,)))
            return approved(state, message, now_ms)[1:]


class StartsWhatWasDenied(SimRunActor):
    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        if isinstance(message, DenyCall):
            return [facts[0], ToolStarted(call=message.call, name="sign")] if facts else []
        return facts


class SleepsOverMessages(SimRunActor):
    """What came while it fell asleep is lost."""

    def doze(self) -> None:
        sleep = self.address.sleep
        asleep = type("Deaf", (Address,), {"__slots__": (), "sleep": lambda address, left: sleep([])})
        self.address.__class__ = asleep
        try:
            super().doze()
        finally:
            self.address.__class__ = Address


class NeverWakes(SimRunActor):
    """A message for a run that sleeps is kept, and nobody is told."""

    def doze(self) -> None:
        super().doze()
        self.address.wake = lambda address: None


class ForgetsWhatWasExpiring(SimRunActor):
    """A run that sleeps has no timers."""

    def doze(self) -> None:
        super().doze()
        if self.actor_stopped.is_set():
            for timer in self.address.running.values():
                timer.cancel()


# ------------------------------------------------------------------ limits and phases


class CountsSleep(SimRunActor):
    """The run's clock goes on while the machine sleeps."""

    def now_ms(self) -> int:
        return round((self.world.now - self._since) * 1000)


class NoticesAgainAfterACrash(SimRunActor):
    """What the model was told is not looked up in the log."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        if isinstance(message, ResumeRun) and any(isinstance(fact, StepStarted) for fact in facts):
            fresh = replace(self.state, governed=replace(self.state.governed, noticed=()))
            told: list[BudgetNoticed] = notices(fresh, now_ms)
            return [*told, *facts]
        return facts


class DoesAPhaseAgain(SimRunActor):
    """A run that was taken up begins its phase anew."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        if isinstance(message, ResumeRun) and facts and self.state.phase and self.state.doing == "backoff":
            return [*facts, PhaseStarted(phase=self.state.phase, index=self.state.governed.phase_index)]
        return facts


class SteersNobody(SimRunActor):
    """A critic's advice is heard twice."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        return facts * 2 if isinstance(message, SteerRun) and not message.critic else facts


PLANTED = {
    kind.__name__: kind
    for kind in (
        LeavesTheDeadlineToItsCritic,
        IgnoresCaps,
        LosesTheDeadlineItExtends,
        CriticsEndItTwice,
        KeepsWatching,
        ChecksThenSpends,
        ForgetsWhatItGranted,
        ForgetsReservationsInACrash,
        StartsAnewAfterACrash,
        WindowsThatStandStill,
        CallsWithoutAsking,
        TakesSilenceForNo,
        RunsWhatIsApprovedAgain,
        StartsWhatWasDenied,
        SleepsOverMessages,
        NeverWakes,
        ForgetsWhatWasExpiring,
        CountsSleep,
        NoticesAgainAfterACrash,
        DoesAPhaseAgain,
        SteersNobody,
    )
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_of_governance_is_found(name: str) -> None:
    assert found_in(PLANTED[name]) is not None, f"{name} went unnoticed"
