"""The port to what is kept of orders from other processes: each once, with what became of it."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

Fate: TypeAlias = Literal["under way", "done", "refused", "failed", "unknown"]
"""What became of an order. unknown: the host was lost, or the answer came too late; it may have been carried out."""


class KeptOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order, or some that were refused for one reason. id: of the order; "" for what was refused and not taken.
    number: of the row. at_us: wall clock. grant, role, by: who, and in whose own words. peer: the process
    it came from. ask: what was asked. run: about which run. kind, told: the refusal's kind, and what was answered.
    times: how often.
    """

    id: str = ""
    number: int = 0
    at_us: int = 0
    grant: str = ""
    role: str = ""
    by: str = ""
    peer: str = ""
    ask: str = ""
    run: str = ""
    fate: Fate = "under way"
    kind: str = ""
    told: str = ""
    times: int = 1


class OrderBook(Protocol):
    """Keeps orders. Thread-safe; durable before it returns."""

    def take(self, order: KeptOrder) -> KeptOrder | None:
        """Keep an order before it is carried out; what is kept of it, if its id was taken before.

        Raises:
            JournalUnavailable: it cannot be kept now.
        """
        ...

    def settle(self, id: str, fate: Fate, *, kind: str = "", told: str = "", run: str = "") -> None:
        """Keep what became of it. What cannot be kept stays "under way"."""
        ...

    def refuse(self, order: KeptOrder) -> None:
        """Keep a refusal. Those of one kind, from one process and about one run within a minute are one row that is
        counted; counts of a flood may be a second late. What cannot be kept is only logged.
        """
        ...

    def find(self, id: str) -> KeptOrder | None:
        """What is kept of an order."""
        ...

    def rows(self, after: int = 0, limit: int = 1000) -> list[KeptOrder]:
        """What is kept, oldest first, with numbers > `after`."""
        ...

    def close(self) -> None:
        """Let go. May be repeated."""
        ...
