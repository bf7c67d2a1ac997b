"""What is kept of orders from other processes, in a file beside the journal: `PATH.orders`.

Not in the journal: most refusals are of no run, and whoever is refused must not make a run's log grow.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import JournalUnavailable
from ..ports.orders import Fate, KeptOrder
from . import forks

log = logging.getLogger("executus.journal")

MOST_KEPT: Final = 100_000
"""Orders that were taken; the oldest go."""
MOST_REFUSED: Final = 20_000
"""Rows of what was refused. They are counted for themselves: whoever is refused pushes no order out."""
SWEEP_EVERY: Final = 500
SAME_US: Final = 60_000_000
"""Refusals of one kind within a minute of the first are one row."""
MOST_KINDS: Final = 256
"""Such rows that are counted at a time; of more, only the kind is told."""
COUNT_AT_ONCE: Final = 16
"""So many of a row are stored as they come; then it is stored once a second: a sync for each would delay orders."""
COUNT_US: Final = 1_000_000
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


@dataclass
class _Counted:
    """Refusals of one kind. number: of their row. since_us: of the first. stored: how many of `times` the row says."""

    number: int
    since_us: int
    times: int = 1
    stored: int = 1


class SqliteOrderBook:
    """See `ports.orders.OrderBook`. path: of the journal; None keeps them in memory.

    Raises:
        JournalUnavailable: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        forks.check()
        self._lock = threading.Lock()
        self._since_sweep = 0
        self._counted: dict[tuple[str, ...], _Counted] = {}
        self._counted_us = 0
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
        order = msgspec.structs.replace(order, id="")
        with self._lock:
            try:
                if not 0 <= order.at_us - self._counted_us < COUNT_US:
                    self._store_counts()
                    self._counted_us = order.at_us
                    self._counted = {
                        same: one for same, one in self._counted.items() if 0 <= order.at_us - one.since_us < SAME_US
                    }
                same = (order.grant, order.peer, order.ask, order.run, order.kind)
                counted = self._of_one_kind(same, order.at_us)
                if counted is None and len(self._counted) >= MOST_KINDS:
                    order = KeptOrder(at_us=order.at_us, peer="several", fate="refused", kind=order.kind)
                    same = ("", order.peer, "", "", order.kind)
                    counted = self._of_one_kind(same, order.at_us)
                if counted is None:
                    found = self._connection.execute(_INSERT, _values(order))
                    self._counted[same] = _Counted(found.lastrowid or 0, order.at_us)
                    self._sweep()
                    return
                counted.times += 1
                if counted.times <= COUNT_AT_ONCE:
                    self._store_count(counted)
            except sqlite3.Error as error:
                log.warning("a refusal cannot be kept: %s", error)

    def _of_one_kind(self, same: tuple[str, ...], now_us: int) -> _Counted | None:
        """The row that counts these, if it was begun within a minute."""
        counted = self._counted.get(same)
        if counted is not None and not 0 <= now_us - counted.since_us < SAME_US:
            self._store_count(counted)
            del self._counted[same]
            return None
        return counted

    def _store_counts(self) -> None:
        """Store what was counted, in one transaction."""
        if not self._counted:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for counted in self._counted.values():
                self._store_count(counted)
        finally:
            self._connection.execute("COMMIT")

    def _store_count(self, counted: _Counted) -> None:
        if counted.times > counted.stored:
            self._connection.execute("UPDATE orders SET times = ? WHERE number = ?", (counted.times, counted.number))
            counted.stored = counted.times

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
                self._store_counts()
                return [_order(row) for row in self._connection.execute(sql, (after, limit))]
            except sqlite3.Error as error:
                raise JournalUnavailable(f"orders cannot be read now: {error}") from error

    def close(self) -> None:
        """See `OrderBook`."""
        forks.unregister(self)
        with self._lock:
            with suppress(sqlite3.Error):  # closed before, or no room: a count is lost
                self._store_counts()
            self._connection.close()

    def _find(self, id: str) -> KeptOrder | None:
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = ? AND id <> ''", (id,)).fetchone()
        return None if row is None else _order(row)

    def _sweep(self) -> None:
        self._since_sweep += 1
        if self._since_sweep >= SWEEP_EVERY:
            self._since_sweep = 0
            for which, most in (("id <> ''", MOST_KEPT), ("id = ''", MOST_REFUSED)):
                newest = f"SELECT number FROM orders WHERE {which} ORDER BY number DESC LIMIT 1 OFFSET ?"
                self._connection.execute(f"DELETE FROM orders WHERE {which} AND number <= ({newest})", (most,))


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
        connection = sqlite3.connect(f"{Path(where).absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
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
