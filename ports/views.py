"""The port of stored views: tables that a host keeps of what happens, beside the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ..events import Event
from ..projections.rows import Rows, Table


@runtime_checkable
class View(Protocol):
    """Tables and how events change them: a pure function of the events, in order, and of nothing else.

    name: tells views apart (a-z, 0-9, _). version: goes up whenever `apply` would make other rows of the same events;
    the view is then built anew, beside the old one, which stays until it is replaced. tables: their columns may change
    freely; that alone has the view built anew.
    """

    name: str
    version: int
    tables: Sequence[Table]

    def apply(self, event: Event, rows: Rows, /) -> None:
        """Change `rows` by `event`. Each event comes once, in order of position; one that cannot be read as `Opaque`.

        What it raises stops this view, and nothing else, until it is rebuilt.
        """
        ...


@runtime_checkable
class FoldingView(Protocol):
    """A view that takes many events at once, and may remember what it can read from `rows` again."""

    @property
    def name(self) -> str:
        """See `View`."""
        ...

    @property
    def version(self) -> int:
        """See `View`."""
        ...

    @property
    def tables(self) -> Sequence[Table]:
        """See `View`."""
        ...

    def fold(self, rows: Rows) -> Callable[[Sequence[Event]], None]:
        """What applies events to `rows`; asked for anew after a failure, and then it remembers nothing."""
        ...


class ViewStanding(msgspec.Struct, frozen=True):
    """How a stored view stands. position: of the newest event in it. behind: events after it.

    status: "kept", "building" (anew; `position` is how far), or "stopped" (`error` says why).
    """

    name: str
    position: int
    behind: int
    status: str
    error: str = ""
