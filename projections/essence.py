"""What of a fact matters when two runs are compared: asked, said, done, decided; not when, nor under which ids.

Facts of one reply's calls may come in any order, since calls run side by side: here each call's stand together, in the
order of the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ..events import Event, Fact, RunStarted, StepFailed, StepStarted, tag_of
from .shown import plain

LEFT: Final = frozenset(
    {
        # times
        "took_ms", "at_ms", "since_ms", "waited_ms", "until_ms", "retry_at_ms", "retry_at_us", "expires_at_us",
        "started_at_us", "runtime_s", "slept_s",
        # ids and what follows from them
        "run_id", "root_run_id", "parent_run_id", "request_id", "id", "response_id", "file_id", "key", "epoch", "hash",
        "source", "version", "signature", "extra", "fingerprint", "receipt",
        # what it cost
        "usage", "reserved_tokens", "reserved_usd", "spent", "family", "input_tokens", "output_tokens",
        "thinking_tokens", "cost_usd", "totals", "steps", "tool_calls",
    }
)  # fmt: skip
"""Fields that do not matter, in whatever struct they are. Sums are what the facts add up to; a fork counts its own."""

BESIDE: Final = frozenset(
    {
        "run-resumed", "host-slept", "note-logged", "error-logged", "delivery-attempted", "delivered",
        "delivery-failed", "content-erased", "critic-reviewed", "critic-observed", "soft-timeout-reached",
        "input-awaited", "approval-awaited", "family-awaited", "child-waited", "child-went-on", "reconcile-started",
        "tool-reconciled", "run-begun",
    }
)  # fmt: skip
"""Facts that do not matter: the model is not told of them and nothing is decided by them. So are attempts that failed
and were made again.
"""


class Essence(NamedTuple):
    """What matters of an event."""

    event: Event
    shape: dict[str, Any]


def essence_of(fact: Fact) -> dict[str, Any]:
    """What matters of `fact`, as JSON has it, with its tag."""
    shape: dict[str, Any] = {"tag": tag_of(fact), **plain(fact, LEFT)}
    if isinstance(fact, RunStarted):
        shape["info"] = {name: shape["info"][name] for name in ("model_tier", "inputs")}
        shape.pop("imported_from", None)
    return shape


def essences(events: Iterable[Event]) -> Iterator[Essence]:
    """What matters of `events`, in an order that does not depend on which of several calls was answered first."""
    calls: list[Event] = []
    for event in events:
        if _beside(event):
            continue
        if getattr(event.fact, "call", ""):
            calls.append(event)
            continue
        yield from _ordered(calls)
        calls = []
        yield Essence(event, essence_of(event.fact))
    yield from _ordered(calls)


def _beside(event: Event) -> bool:
    match event.fact:
        case StepStarted():
            return event.fact.attempt > 1
        case StepFailed():
            return event.fact.retry_at_ms is not None
        case _:
            return event.tag in BESIDE


def _ordered(calls: list[Event]) -> Iterator[Essence]:
    def place(event: Event) -> tuple[int, ...]:
        return tuple(int(part) if part.isdecimal() else 0 for part in str(getattr(event.fact, "call", "")).split("."))

    for event in sorted(calls, key=place):
        yield Essence(event, essence_of(event.fact))
