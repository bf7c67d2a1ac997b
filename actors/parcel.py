"""A run's parcel, read from its log, and what came of handing it over."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from typing import Any

import msgspec

from ..errors import ContentWithheld, DeliveryRefused, UnknownFact
from ..events import GENESIS, ArtifactStored, Event, Opaque, RunFinished, RunInfo, RunStarted
from ..events.clean import clean_text
from ..ports import ArtifactStore, Delivery, Journal, Parcel
from ..ports.saying import said
from ..projections.outbox import Sending, delivery_key, evolve_sending

PAGE = 512
"""Events of a run read at once."""

MOST_SAID = 4096
"""Characters kept of a receipt, or of why a delivery failed."""

LONGEST_PAUSE_S = 86_400.0
"""A receiver that asks us to wait longer than a day is tried again after one."""


class SendingLog(msgspec.Struct, frozen=True):
    """What a run's log says about its delivery. parcel: None until the run is over. version, hash, elapsed_ms: of its
    newest event.
    """

    sending: Sending = Sending()
    parcel: Parcel | None = None
    version: int = 0
    hash: bytes = GENESIS
    elapsed_ms: int = 0


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel was handed over. receipt: what the delivery said. error: why it failed, None if it did not.

    final: it will never work. retry_after_s: how long it asked us to wait, if it did.
    """

    receipt: str = ""
    error: str | None = None
    final: bool = False
    retry_after_s: float | None = None


def read_sending(run_id: str, journal: Journal) -> SendingLog:
    """Read a run's log, page by page.

    Raises:
        UnknownRun, LogCorrupt, JournalUnavailable: as `Journal.read`.
        UnknownFact: it holds a fact of a newer version, and is read-only.
        ContentWithheld: there is nothing to deliver but tombstones.
    """
    events = journal.read(run_id, limit=PAGE)
    journal.seal(run_id)  # read here, it is at hand when the courier needs it

    def pages() -> Iterable[Event]:
        page = events
        while page:
            yield from page
            page = journal.read(run_id, page[-1].version, PAGE) if len(page) == PAGE else []

    return sending_log(pages())


def sending_log(events: Iterable[Event]) -> SendingLog:
    """Fold all events of one run, in order.

    Raises:
        UnknownFact: one of them is of a newer version.
        ContentWithheld: there is nothing to deliver but tombstones.
    """
    sending, event = Sending(), None
    info: RunInfo | None = None
    finished: RunFinished | None = None
    artifacts: list[ArtifactStored] = []
    for event in events:
        fact = event.fact
        sending = evolve_sending(sending, fact)
        if event.content == "locked" or event.content == "erased":
            raise ContentWithheld(event.run_id, event.content)
        if isinstance(fact, Opaque):
            raise UnknownFact(event.run_id, event.version, event.tag)
        if isinstance(fact, RunStarted):
            info = fact.info
        elif isinstance(fact, ArtifactStored):
            artifacts.append(fact)
        elif isinstance(fact, RunFinished):
            finished = fact
    if event is None:
        return SendingLog()
    parcel = None
    if info is not None and finished is not None:
        parcel = Parcel(
            key=delivery_key(event.run_id),
            info=info,
            status=finished.status,
            output=finished.stats.output,
            error=finished.stats.error,
            stats=finished.stats,
            artifacts=tuple(artifacts),
            attempt=max(1, sending.attempts),
        )
    return SendingLog(sending, parcel, event.version, event.hash, event.elapsed_ms)


async def hand_over(
    delivery: Delivery,
    parcel: Parcel,
    artifacts: ArtifactStore,
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> Handed:
    """Have `delivery` take `parcel`: here if it is async, else by way of `in_thread`.

    Raises:
        BaseException: whatever the delivery raises; see `not_handed`.
    """
    receipt: Any
    if inspect.iscoroutinefunction(delivery.deliver):
        receipt = await delivery.deliver(parcel, artifacts)
    else:
        receipt = await in_thread(partial(delivery.deliver, parcel, artifacts))
        if inspect.isawaitable(receipt):
            receipt = await receipt
    return Handed(receipt="" if receipt is None else clean_text(said(receipt), MOST_SAID))


def not_handed(error: BaseException) -> Handed:
    """What is told of a delivery that raised `error`; never raises itself."""
    refused = isinstance(error, DeliveryRefused)
    if isinstance(error, asyncio.CancelledError):
        text = "the delivery was cancelled"
    else:
        text = clean_text(said(error, name=not refused), MOST_SAID)
    return Handed(error=text, final=refused, retry_after_s=None if refused else _asked_pause_s(error))


def _asked_pause_s(error: BaseException) -> float | None:
    try:
        seconds: Any = getattr(error, "retry_after_s", None)
    except BaseException:  # a foreign property may do anything
        return None
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < inf:
        return None
    return min(float(seconds), LONGEST_PAUSE_S)
