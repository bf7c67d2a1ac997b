"""Which runs owe a delivery, as a table: the outbox, kept elsewhere. There is one fold of it, `outbox`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..events import DeliveryAttempted, Event, RunStarted
from .outbox import DELIVERY_TAGS, Outbox, Sending, evolve_sending
from .rows import Row, Rows, Table


class OutboxRow(Row):
    """A run whose output is to be delivered and is not settled. place: orders them, the position at which it came in.
    is_over: the run has ended. attempts to retry_us: as in `projections.outbox.Sending`.
    """

    run_id: str
    place: int = 0
    is_over: int = 0
    attempts: int = 0
    earlier: int = 0
    is_open: int = 0
    retry_us: int | None = None


TABLES: Final = (Table("outbox", OutboxRow),)


class OutboxView:
    """The outbox as a view."""

    name = "outbox"
    version = 1
    tables = TABLES

    def fold(self, rows: Rows) -> Callable[[Sequence[Event]], None]:
        """What applies events to `rows`."""
        table = rows.of(OutboxRow)
        kept = {row.run_id for row in table.all()}

        def apply(events: Sequence[Event]) -> None:
            for event in events:
                if event.tag not in DELIVERY_TAGS:
                    continue
                run_id, fact = event.run_id, event.fact
                row = table.get(run_id) if run_id in kept else None
                if row is not None:
                    before = _sending(row)
                elif type(fact) is DeliveryAttempted:  # of a run that was settled, or it would be here
                    before = Sending(settled="dead")
                elif type(fact) is RunStarted and fact.deliver:
                    before = Sending()
                else:
                    continue
                after = evolve_sending(before, fact)
                if after.settled or not after.wanted:
                    kept.discard(run_id)
                    table.remove(run_id)
                else:
                    kept.add(run_id)
                    place = event.position if row is None else row.place
                    table.put(_row(run_id, place, after))

        return apply


def stored_outbox(rows: Rows) -> Outbox:
    """The outbox that `rows` keep, to go on from."""
    return Outbox((row.run_id, _sending(row)) for row in sorted(rows.of(OutboxRow).all(), key=lambda row: row.place))


def _sending(row: OutboxRow) -> Sending:
    return Sending(
        wanted=True,
        over=bool(row.is_over),
        attempts=row.attempts,
        earlier=row.earlier,
        open=bool(row.is_open),
        retry_at_us=row.retry_us,
    )


def _row(run_id: str, place: int, sending: Sending) -> OutboxRow:
    over, is_open = int(sending.over), int(sending.open)
    return OutboxRow(run_id, place, over, sending.attempts, sending.earlier, is_open, sending.retry_at_us)
