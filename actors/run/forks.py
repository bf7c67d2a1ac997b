"""How a fork goes on from where its source stood: when it is told to begin, it does what the source would have done."""

from __future__ import annotations

from ...events import Fact, RunBegun
from ...projections import RunState
from .calling import taken_up
from .course import begun as at_first
from .course import said_its_say
from .messages import AcceptPlans, BeginRun
from .people import waited_ms
from .refusal import must_be_live


def begun(state: RunState, message: BeginRun, now_ms: int) -> list[Fact]:
    """A person starts it. A run that has begun is not begun again."""
    must_be_live(state)
    governed = state.governed
    if not governed.paused:
        return []
    facts: list[Fact] = [RunBegun(by=message.by, waited_ms=waited_ms(state, now_ms))]
    if governed.unplanned:
        return facts  # first it is looked at what these calls are
    if governed.said is not None:
        return said_its_say(state, facts, governed.said, None, now_ms)
    return at_first(state, facts, now_ms)


def planned(state: RunState, message: AcceptPlans, now_ms: int) -> list[Fact]:
    """What is to be known about the calls that it has inherited: they are made, or not, as those of a reply are."""
    unplanned = state.governed.unplanned
    if state.doing != "tools" or message.step != state.step or len(message.plans) != len(unplanned):
        return []
    asked = [state.asked[int(call.rpartition(".")[2])] for call in unplanned]
    return taken_up(state, [], list(zip(unplanned, asked, message.plans, strict=True)), now_ms) if unplanned else []
