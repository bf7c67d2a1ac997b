"""Mistakes about parents and children, and runs that go on from others, made on purpose: each must be noticed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace
from sim_host import SimRunActor
from sim_planted import found_in
from sim_world import Bugs

from executus.actors.address import Address
from executus.actors.run.messages import AcceptChild, AcceptChildWait, EndWithParent, RunMessage, StartRun
from executus.actors.supervisor import Supervisor
from executus.events import ChildWaited, FamilyAwaited, Totals
from executus.ports import Agent, Journal
from executus.recovery import survey


class StartsChildrenTooLate(Supervisor):
    """A child that is being born while its parent ends is started all the same, and nobody tells it."""

    def want_child(self, want: Any) -> None:
        late, want.call.over = want.call.over, False
        super().want_child(want)
        want.call.over = late

    def found_child(self, looked: Any) -> None:
        call = looked.want.call
        late, call.over = call.over, False
        super().found_child(looked)
        call.over = late


class LeavesOrphans(Bugs):
    """At boot, nobody looks at children."""

    def survey(self, journal: Journal, agents: dict[str, Agent]) -> Any:
        return dataclasses.replace(survey(journal, agents, {}), children={})


class ForgetsChildrenOfEarlierHosts(Supervisor):
    """A parent that ends before it has taken them up again leaves them alone."""

    def bereave(self, address: Address, end: Any) -> None:
        pass


class ForgetsGrandchildren(SimRunActor):
    """A run that ends with its parent does not pass it on."""

    def reconcile(self) -> None:
        if self._end is not None and self._end.by == "parent":
            self.address.bereft = ()
            for call in self.address.running.values():
                call.parent = Address(self.address.info, self.address.agent)  # type: ignore[attr-defined]
        super().reconcile()


class CountsChildrenTwice(SimRunActor):
    """What a child's own children spent is in its sum already."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptChild):
            message = replace(message, spent=message.spent.plus(message.spent))
        return super().decide(message, now_ms)


class CancelsWhateverTheParentDied(SimRunActor):
    """A child does not end as its parent did."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, EndWithParent):
            message = replace(message, status="cancelled")
        return super().decide(message, now_ms)


class IgnoresThatAChildWaits(SimRunActor):
    """A parent's clock runs on while its child waits for a person."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        return [] if isinstance(message, AcceptChildWait) else super().decide(message, now_ms)


class StandsStillForTooLong(SimRunActor):
    """That a child goes on is noticed when it is over."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptChildWait) and not message.waits:
            return []
        return super().decide(message, now_ms)


class StandsStillTooSoon(SimRunActor):
    """One child that waits stops the clock, whatever else works."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        return [*facts, FamilyAwaited(since_ms=now_ms)] if [type(fact) for fact in facts] == [ChildWaited] else facts


# ------------------------------------------------------------------ runs that go on from others


class ForgetsWhatItsSourceSpent(SimRunActor):
    """A run that goes on from another begins with nothing spent."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, StartRun) and message.forked is not None:
            message = replace(message, forked=replace(message.forked, totals=Totals(steps=message.forked.totals.steps)))
        return super().decide(message, now_ms)


PLANTED = {
    kind.__name__: kind
    for kind in (
        StartsChildrenTooLate,
        LeavesOrphans,
        ForgetsChildrenOfEarlierHosts,
        ForgetsGrandchildren,
        CountsChildrenTwice,
        CancelsWhateverTheParentDied,
        IgnoresThatAChildWaits,
        StandsStillForTooLong,
        StandsStillTooSoon,
        ForgetsWhatItsSourceSpent,
    )
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_of_families_is_found(name: str) -> None:
    assert found_in(PLANTED[name]) is not None, f"{name} went unnoticed"
