"""Budgets said once, in code: the same for every caller, or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ports import Allowance
from ..ports.allowances import checked_allowances


class FixedBudget:
    """A `Budget` that gives every caller the same allowances, each caller its own. None given: unbounded.

    Raises:
        TypeError, ValueError: something is not an allowance that makes sense.
    """

    def __init__(self, *allowances: Allowance) -> None:
        self._allowances = checked_allowances(allowances)

    def __repr__(self) -> str:
        return f"FixedBudget({', '.join(map(repr, self._allowances))})"

    def allowances(self, caller_id: str) -> Sequence[Allowance]:
        """The allowances, whoever asks."""
        return self._allowances


class PerCaller:
    """A `Budget` by caller id. otherwise: for everybody who is not named; empty is unbounded.

    Raises:
        TypeError, ValueError: something is not an allowance that makes sense.
    """

    def __init__(self, callers: Mapping[str, Sequence[Allowance]], otherwise: Sequence[Allowance] = ()) -> None:
        self._callers = {caller: checked_allowances(theirs) for caller, theirs in callers.items()}
        self._otherwise = checked_allowances(otherwise)

    def __repr__(self) -> str:
        return f"PerCaller({self._callers!r}, otherwise={self._otherwise!r})"

    def allowances(self, caller_id: str) -> Sequence[Allowance]:
        """What is said for this caller, or else for everybody."""
        return self._callers.get(caller_id, self._otherwise)
