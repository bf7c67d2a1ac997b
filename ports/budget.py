"""The port to budgets: what each caller may spend in which window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

Window: TypeAlias = Literal["run", "hour", "day", "month", "total"]
"""run: one run with all its children. hour, day, month: the 60 minutes, 24 hours, 30 days before now. total: ever."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may spend in a window; None is no limit. tokens: input and output together."""

    window: Window = msgspec.field(default="day")
    tokens: int | None = None
    cost_usd: float | None = None
    runtime_s: float | None = None
    tool_calls: int | None = None


@runtime_checkable
class Budget(Protocol):
    """Says what a caller may spend; asked when one of the caller's runs starts, must return at once."""

    def allowances(self, caller_id: str) -> Sequence[Allowance]:
        """The caller's allowances; all of them hold. Empty: unbounded."""
        ...
