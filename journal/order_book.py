"""What is kept of orders from other processes, in a file beside the journal: `PATH.orders`.

Not in the journal: most refusals are of no run, and whoever is refused must not make a run's log grow.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from typing import Any, Final

from ..errors import JournalUnavailable
from ..ports.orders import Fate, KeptOrder
from . import forks

log = logging.getLogger("executus.journal")

MOST_KEPT: Final = 100_000
"""Rows; the oldest go."""
SWEEP_EVERY: Final = 500
SAME_US: Final = 60_000_000
"""Refusals of one kind within a minute of the first are one row."""
BUSY_S: Final = 5.0

_COLUMNS: Final = "number, id, at_us, grant_name, role, by_words, peer, ask, run, fate, kind, told, times"
_FIELDS: Final = ("number", "id", "at_us", "grant", "role", "by", "peer", "ask", "run", "fate", "kind", "told", "times")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at_us INTEGER NOT NULL, grant_name TEXT NOT NULL,
    role TEXT NOT NULL, by_words TEXT NOT NULL, peer TEXT NOT NULL, ask TEXT NOT NULL, run TEXT NOT NULL,
    fate TEXT NOT NULL, kind TEXT NOT NULL, told TEXT NOT NULL, times INTEGER NOT NULL)
"""
_INDEX: Final = "CREATE UNIQUE INDEX IF NOT EXISTS orders_by_id ON orders (id) WHERE id <> ''"
_INSERT: Final = (
    "INSERT INTO orders (id, at_us, grant_name, role, by_words, peer, ask, run, fate, kind, told, times)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def orders_path(journal: str | os.PathLike[str]) -> str:
    """Where the orders of a journal are kept."""
    return os.fspath(journal) + ".orders"


class SqliteOrderBook:
    """See `ports.orders.OrderBook`. path: of the journal; None keeps them in memory.

    Raises:
        JournalUnavailable: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        forks.check()
        self._lock = threading.Lock()
        self._since_sweep = 0
        self._last: tuple[tuple[str, ...], int, int] | None = None
        where = ":memory:" if path is None else orders_path(path)
        try:
            if path is not None:
                os.close(os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(where, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(_TABLE)
            self._connection.execute(_INDEX)
            # A host that died in the middle of an order cannot say any more what became of it.
            self._connection.execute("UPDATE orders SET fate = 'unknown' WHERE fate = 'under way'")
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailable(f"{where} cannot be opened: {error}") from error
        forks.register(self)

    def left_behind(self) -> list[object]:
        """See `journal.forks.Forkable`."""
        return [self._connection]

    def take(self, order: KeptOrder) -> KeptOrder | None:
        """See `OrderBook`."""
        with self._lock:
            try:
                known = self._find(order.id)
                if known is None:
                    self._connection.execute(_INSERT, _values(order))
                    self._sweep()
                return known
            except sqlite3.Error as error:
                raise JournalUnavailable(f"orders cannot be kept now: {error}") from error

    def settle(self, id: str, fate: Fate, *, kind: str = "", told: str = "", run: str = "") -> None:
        """See `OrderBook`."""
        sql = "UPDATE orders SET fate = ?, kind = ?, told = ?, run = CASE ? WHEN '' THEN run ELSE ? END WHERE id = ?"
        with self._lock:
            try:
                self._connection.execute(sql, (fate, kind, told, run, run, id))
            except sqlite3.Error as error:
                log.warning("what became of order %s cannot be kept: %s", id, error)

    def refuse(self, order: KeptOrder) -> None:
        """See `OrderBook`."""
        same = (order.grant, order.peer, order.ask, order.run, order.kind)
        with self._lock:
            try:
                last = self._last
                if last is not None and last[0] == same and order.at_us - last[2] < SAME_US and not order.id:
                    self._connection.execute("UPDATE orders SET times = times + 1 WHERE number = ?", (last[1],))
                    return
                if order.id and self._find(order.id) is not None:
                    return
                found = self._connection.execute(_INSERT, _values(order))
                self._last = (same, found.lastrowid or 0, order.at_us)
                self._sweep()
            except sqlite3.Error as error:
                log.warning("a refusal cannot be kept: %s", error)

    def find(self, id: str) -> KeptOrder | None:
        """See `OrderBook`."""
        with self._lock:
            try:
                return self._find(id)
            except sqlite3.Error as error:
                raise JournalUnavailable(f"orders cannot be read now: {error}") from error

    def rows(self, after: int = 0, limit: int = 1000) -> list[KeptOrder]:
        """See `OrderBook`."""
        sql = f"SELECT {_COLUMNS} FROM orders WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            try:
                return [_order(row) for row in self._connection.execute(sql, (after, limit))]
            except sqlite3.Error as error:
                raise JournalUnavailable(f"orders cannot be read now: {error}") from error

    def close(self) -> None:
        """See `OrderBook`."""
        forks.unregister(self)
        with self._lock:
            self._connection.close()

    def _find(self, id: str) -> KeptOrder | None:
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = ? AND id <> ''", (id,)).fetchone()
        return None if row is None else _order(row)

    def _sweep(self) -> None:
        self._since_sweep += 1
        if self._since_sweep >= SWEEP_EVERY:
            self._since_sweep = 0
            self._connection.execute(
                "DELETE FROM orders WHERE number <= (SELECT max(number) FROM orders) - ?", (MOST_KEPT,)
            )


def read_orders(path: str | os.PathLike[str], after: int = 0, limit: int = 1000) -> list[KeptOrder]:
    """What is kept of orders to the host of a journal, oldest first; beside a live host too. Empty if there is nothing.

    Raises:
        JournalUnavailable: it cannot be read.
    """
    forks.check()
    where = orders_path(path)
    if not os.path.exists(where):  # noqa: PTH110
        return []
    try:
        connection = sqlite3.connect(f"file:{where}?mode=ro", uri=True, timeout=BUSY_S)
        try:
            sql = f"SELECT {_COLUMNS} FROM orders WHERE number > ? ORDER BY number LIMIT ?"
            return [_order(row) for row in connection.execute(sql, (after, limit))]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise JournalUnavailable(f"{where} cannot be read: {error}") from error


def _values(one: KeptOrder) -> tuple[Any, ...]:
    who = (one.id, one.at_us, one.grant, one.role, one.by, one.peer)
    return (*who, one.ask, one.run, one.fate, one.kind, one.told, one.times)


def _order(row: tuple[Any, ...]) -> KeptOrder:
    return KeptOrder(**dict(zip(_FIELDS, row, strict=True)))
