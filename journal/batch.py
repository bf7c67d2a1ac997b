"""One transaction: the appends of many runs are checked and stored together; one that is refused hurts no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from msgspec.structs import force_setattr

from ..errors import Deposed, JournalError, JournalUnavailable, RequestRepeated
from ..events.codec import run_id_bytes
from ..ports import Append
from .aftermath import Unsure
from .layout import EVENTS_TABLE
from .lease import Tenure
from .rules import Head, advance_head, refusal

_STANDING = "SELECT epoch, boot = ?, (SELECT seq FROM sqlite_sequence WHERE name = ?) FROM owner"
_HEAD = "SELECT version, over, hash, first_position, position FROM runs WHERE run_id = ?"
_REQUEST = "SELECT run_id FROM runs WHERE request_key = ?"
_INSERT_EVENT = f"INSERT INTO {EVENTS_TABLE} VALUES (?, ?, ?, ?, ?)"
_INSERT_BLOB = "INSERT OR IGNORE INTO blobs VALUES (?, ?)"
_INSERT_RUN = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)"
_UPDATE_RUN = "UPDATE runs SET version = ?, position = ?, hash = ? WHERE run_id = ? AND version = ?"
_END_RUN = "UPDATE runs SET version = ?, position = ?, hash = ?, over = 1 WHERE run_id = ? AND version = ?"
"""Apart, since naming `over` makes SQLite write its index anew, a page more in every commit."""

Outcome: TypeAlias = JournalError | None


class NotStored(Exception):
    """The transaction was rolled back before its commit: nothing of it is stored, and its connection is sound.

    mine: whether the cause lies in what was to be stored, so that each append may be tried by itself.
    """

    def __init__(self, cause: Exception, mine: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.mine = cause, mine


class StaleHeads(Exception):
    """A row is not what we remember of it: somebody else wrote. Nothing was stored."""


class Growing:
    """A run that is being written: its head, and the version that its row has (0: there is no row)."""

    __slots__ = ("head", "key", "request_key", "stored")

    def __init__(self, key: bytes, head: Head) -> None:
        self.key, self.head, self.stored = key, head, head.version
        self.request_key: str | None = None


Heads: TypeAlias = dict[str, Growing]
"""Heads known from earlier transactions of the same owner. Each is compared with its row when that is updated."""

MOST_HEADS = 50_000


def store(
    connection: sqlite3.Connection,
    tenure: Tenure,
    appends: Sequence[Append],
    heads: Heads,
    keep_keys: Callable[[Sequence[tuple[str, bytes]]], None] | None = None,
) -> list[Outcome]:
    """Store `appends` durably in one transaction; return for each None, or why it was refused.

    tenure: checked first, and renewed with it when that is due. heads is kept up to date, and emptied when anything
    fails. keep_keys: called before the commit with the (run id, key id) of the sealed runs that begin in it; when it
    returns their keys are durable.

    Raises:
        Deposed: another host took over; nothing was stored.
        NotStored: nothing was stored.
        Unsure: the commit failed; it is unknown whether it was stored, and the connection must be dropped.
        sqlite3.Error: nothing was stored, and the connection must be dropped.
    """
    execute = connection.execute
    touched: Heads = {}
    renewed: float | None = None
    try:
        execute("BEGIN IMMEDIATE")
        try:
            outcomes, position = _fill(connection, tenure, appends, heads, touched)
            if keep_keys is not None and (keys := _new_keys(appends, outcomes)):
                keep_keys(keys)
            if tenure.due:
                renewed = tenure.renew(connection)
        except Exception as error:
            if connection.in_transaction:  # a full disk makes SQLite roll back by itself
                execute("ROLLBACK")
            if isinstance(error, Deposed):
                raise
            raise NotStored(error, is_content(error)) from error
        try:
            execute("COMMIT")
        except Exception as error:
            events = [
                one.event
                for append, outcome in zip(appends, outcomes, strict=True)
                if outcome is None
                for one in append.stored
            ]
            raise Unsure(error, events, position) from error
    except BaseException:
        heads.clear()
        raise
    if renewed is not None:
        tenure.renewed(renewed)
    for append, outcome in zip(appends, outcomes, strict=True):
        if outcome is None:
            for stored in append.stored:
                position += 1
                force_setattr(stored.event, "position", position)
    for run_id, one in touched.items():
        one.stored = one.head.version
        if one.head.over or not one.stored:
            del heads[run_id]
    if len(heads) > MOST_HEADS:
        heads.clear()
    return outcomes


def _fill(
    connection: sqlite3.Connection, tenure: Tenure, appends: Sequence[Append], heads: Heads, touched: Heads
) -> tuple[list[Outcome], int]:
    epoch, same, last = connection.execute(_STANDING, (tenure.boot, EVENTS_TABLE)).fetchone()
    tenure.compare(epoch, same)
    before = position = last or 0
    requests: dict[str, str] = {}
    rows: list[tuple[int, bytes, int, str, bytes]] = []
    blobs: list[tuple[bytes, bytes]] = []
    outcomes: list[Outcome] = []
    for append in appends:
        try:
            run_id = append.run_id
            one = heads.get(run_id)
            if one is None:
                one = heads[run_id] = _look_up(connection, run_id)
            touched[run_id] = one
            outcome = _repeated(connection, append, requests) or refusal(append, one.head)
            if outcome is None and append.stored:
                key = one.key
                new = [
                    (number, key, stored.event.version, stored.event.tag, stored.state)
                    for number, stored in enumerate(append.stored, position + 1)
                ]
                new_blobs = [stored.blob for stored in append.stored if stored.blob is not None]
                position += len(new)
                advance_head(one.head, append, position)
                rows += new
                blobs += new_blobs
                if append.request_key and append.expected == 0:
                    requests[append.request_key] = run_id
                    one.request_key = append.request_key
        except sqlite3.Error:
            raise
        except Exception as error:  # something that is no append: it fails alone
            outcome = JournalUnavailable(f"this append cannot be stored: {error!r}")
        outcomes.append(outcome)
    connection.executemany(_INSERT_EVENT, rows)
    if blobs:
        connection.executemany(_INSERT_BLOB, blobs)
    _write_heads(connection, touched)
    return outcomes, before


def _new_keys(appends: Sequence[Append], outcomes: Sequence[Outcome]) -> list[tuple[str, bytes]]:
    """The keys that events of new runs were sealed with."""
    found: list[tuple[str, bytes]] = []
    for append, outcome in zip(appends, outcomes, strict=True):
        if outcome is None and append.expected == 0:
            key = next((stored.key for stored in append.stored if stored.key), b"")
            if key:
                found.append((append.run_id, key))
    return found


def _look_up(connection: sqlite3.Connection, run_id: str) -> Growing:
    key = run_id_bytes(run_id)
    found: Any = connection.execute(_HEAD, (key,)).fetchone()
    if found is None:
        return Growing(key, Head())
    return Growing(key, Head(found[0], bool(found[1]), found[2], found[3], found[4]))


def _repeated(connection: sqlite3.Connection, append: Append, requests: dict[str, str]) -> RequestRepeated | None:
    if append.expected or not append.request_key:
        return None
    run_id = requests.get(append.request_key)
    if run_id is None:
        found = connection.execute(_REQUEST, (append.request_key,)).fetchone()
        if found is None:
            return None
        run_id = str(UUID(bytes=found[0]))
    return RequestRepeated(append.request_key, run_id)


def _write_heads(connection: sqlite3.Connection, touched: Heads) -> None:
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    ended: list[tuple[Any, ...]] = []
    for one in touched.values():
        head = one.head
        if head.version == one.stored:
            continue  # refused
        if one.stored:
            row = (head.version, head.position, head.hash, one.key, one.stored)
            (ended if head.over else changed).append(row)
        else:
            new.append(
                (one.key, head.version, head.first_position, head.position, head.over, head.hash, one.request_key)
            )
    if new:
        connection.executemany(_INSERT_RUN, new)
    for update, rows in ((_UPDATE_RUN, changed), (_END_RUN, ended)):
        if rows and connection.executemany(update, rows).rowcount != len(rows):
            raise StaleHeads


_CONTENT_CODES = frozenset(
    {
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_MISUSE,
    }
)


def is_content(error: Exception) -> bool:
    """Whether what was to be stored is at fault, rather than the disk."""
    if not isinstance(error, sqlite3.Error):
        return True
    code = getattr(error, "sqlite_errorcode", None)  # missing when Python itself could not bind a value
    return code is None or code & 0xFF in _CONTENT_CODES
