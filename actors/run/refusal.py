"""Why a run cannot take an order."""

from __future__ import annotations

from ...projections import RunState


class Refusal(Exception):
    """The message cannot be taken; the sender is told why. Not a fault of the run."""


def must_be_live(state: RunState) -> None:
    """Refuse what can only be asked of a run that goes on.

    Raises:
        Refusal: it is over or has not started.
    """
    if state.over:
        raise Refusal(f"it is over, with status {state.status}")
    must_have_started(state)


def must_have_started(state: RunState) -> None:
    """Refuse what needs a run.

    Raises:
        Refusal: it has not started.
    """
    if state.doing == "new":
        raise Refusal("it has not started")
