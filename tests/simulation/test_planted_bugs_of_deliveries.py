"""Mistakes about deliveries, made on purpose: the simulation must notice each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sim_planted import found_in

from executus.actors.courier import CourierActor
from executus.actors.parcel import Handed
from executus.events import DeliveryAttempted
from executus.projections.outbox import delivery_key


class HandsOverBeforeItIsSaid(CourierActor):
    """The receiver has the parcel before the attempt is in the log."""

    def say(self, errand: Any, fact: Any) -> None:
        super().say(errand, fact)
        if isinstance(fact, DeliveryAttempted):
            entry = errand.entry
            self.hand(errand, fact.attempt)
            errand.at, errand.entry = "saying", entry


class ForgetsWhatIsOwed(CourierActor):
    """What an earlier host owed is not looked up."""

    def read_page(self) -> None:
        pass


class DeliversAgain(CourierActor):
    """Whoever asks gets it, delivered or not."""

    def begin(self, errand: Any) -> None:
        if errand.log.sending.settled == "delivered":
            attempt = errand.log.sending.attempts + 1
            self.say(errand, DeliveryAttempted(attempt=attempt, key=delivery_key(errand.run_id)))
        else:
            super().begin(errand)


class SaysItIsDelivered(CourierActor):
    """What the receiver refused counts as taken."""

    def come_back(self, errand: Any, handed: Any) -> None:
        super().come_back(errand, Handed(receipt="taken") if handed.final else handed)


class TriesForEver(CourierActor):
    """Nobody counts attempts."""

    def begin(self, errand: Any) -> None:
        self.terms = replace_attempts(self.terms)
        super().begin(errand)


class CountsFromOne(CourierActor):
    """A new host does not know of the attempts of an earlier one."""

    def go_on(self, errand: Any, found: Any) -> None:
        if hasattr(found, "sending") and not errand.asking:
            found = replace(found, sending=replace(found.sending, attempts=0))
        super().go_on(errand, found)


def replace_attempts(terms: Any) -> Any:
    return type(terms)(**{name: getattr(terms, name) for name in terms.__slots__} | {"attempts": 1 << 20})


PLANTED = {
    kind.__name__: kind
    for kind in (
        HandsOverBeforeItIsSaid,
        ForgetsWhatIsOwed,
        DeliversAgain,
        SaysItIsDelivered,
        TriesForEver,
        CountsFromOne,
    )
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_of_deliveries_is_found(name: str) -> None:
    assert found_in(PLANTED[name]) is not None, f"{name} went unnoticed"
