"""What a host takes up from stored views at its opening, so that it reads only the events after them.

Like snapshots these are caches: one is used only if it was made by this very code and carries the hash that the log
has at its position; without it everything is read.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ...errors import JournalError
from ...projections.ledger import Ledger, Price
from ...projections.outbox import Outbox
from ...projections.outgoing import stored_outbox
from ...projections.rows import Rows
from ...projections.spending import stored_ledgers
from ..reading import LogReader
from .builtin import budget_view, outbox_view, purse_view
from .definition import Definition
from .file import views_path
from .reading import ViewsReader
from .store import is_sound
from .tables import BufferedRows

log = logging.getLogger("executus.views")

T = TypeVar("T")


class StoredSpending(msgspec.Struct, frozen=True):
    """Every caller's ledger as of `position`, with the runs it pays for that are not over."""

    position: int
    ledgers: list[tuple[str, Ledger, list[str]]]


class StoredOutbox(msgspec.Struct, frozen=True):
    """What was to be delivered as of `position`."""

    position: int
    outbox: Outbox


def taken_up_spending(journal: LogReader, path: str, price: Price | None, version: str) -> StoredSpending | None:
    """The ledgers as they are stored beside the journal at `path`; None if they are not, or cannot be used.

    price, version: the host's prices; None if it has none. What was stored with others is not used.
    """
    definition = budget_view() if price is None else purse_view(price, version)
    found = _taken_up(journal, path, definition, lambda rows: list(stored_ledgers(rows, price)))
    return None if found is None else StoredSpending(*found)


def taken_up_outbox(journal: LogReader, path: str) -> StoredOutbox | None:
    """The outbox as it is stored beside the journal at `path`; None if it is not, or cannot be used."""
    found = _taken_up(journal, path, outbox_view(), stored_outbox)
    return None if found is None else StoredOutbox(*found)


def _taken_up(journal: LogReader, path: str, definition: Definition, take: Callable[[Rows], T]) -> tuple[int, T] | None:
    try:
        with ViewsReader(views_path(path)) as stored, stored.still():
            found = stored.standing_of(definition)
            if found is None or not is_sound(*found, journal.scan):
                return None
            rows = BufferedRows(definition.tables, "", lambda sql, values: list(stored.each(sql, values)))
            return found[0], take(rows)
    except (JournalError, sqlite3.Error, ValueError, TypeError) as error:
        log.info("the stored view %r is not taken up: %s", definition.name, error)
        return None
