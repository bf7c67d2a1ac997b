"""The layout of a journal file: tables, identity and version, and which SQLite may open it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from ..errors import JournalError

APPLICATION_ID: Final = 0x65786375
"""`PRAGMA application_id` of a journal: "excu"."""

LAYOUT: Final = 2
"""`PRAGMA user_version`: the layout written today, and the highest one understood. A host brings an older file up to
it in the transaction in which it takes over; a reader leaves it as it is."""

PAGE_BYTES: Final = 8192
"""Events are a few hundred bytes to a few KB: 4 KB pages waste a fifth of their space on them."""

EVENTS_TABLE: Final = "stored_events"

CREATE_EVENTS: Final = f"""
CREATE TABLE IF NOT EXISTS {EVENTS_TABLE} (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    originator_id BLOB NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
)"""
"""rowid is the position: the column has this name so that the library's own queries read it, and AUTOINCREMENT so
that a position is never used twice, even if rows are deleted. originator_id: the 16 bytes of a run id."""

CREATE_REST: Final = (
    """
CREATE TABLE runs (
    run_id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    position INTEGER NOT NULL,
    over INTEGER NOT NULL,
    hash BLOB NOT NULL,
    request_key TEXT
) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX runs_by_position ON runs (first_position)",
    "CREATE UNIQUE INDEX runs_by_request ON runs (request_key) WHERE request_key IS NOT NULL",
    "CREATE INDEX runs_unfinished ON runs (first_position) WHERE over = 0",
    "CREATE TABLE blobs (sha256 BLOB PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE TABLE owner (epoch INTEGER NOT NULL, pid INTEGER NOT NULL, since_us INTEGER NOT NULL)",
    "INSERT INTO owner VALUES (0, 0, 0)",
)

UPGRADES: Final[dict[int, tuple[str, ...]]] = {
    1: (
        "ALTER TABLE owner ADD COLUMN boot TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE owner ADD COLUMN lease_until_us INTEGER NOT NULL DEFAULT 0",
        """
CREATE TABLE recoveries (
    run_id BLOB PRIMARY KEY,
    standing TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    company INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    why TEXT NOT NULL
) WITHOUT ROWID""",
        """
CREATE TABLE archived (
    run_id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    hash BLOB NOT NULL,
    archived_us INTEGER NOT NULL
) WITHOUT ROWID""",
        "CREATE TABLE keyring (id BLOB NOT NULL)",
    ),
}
"""layout -> what brings a file from it to the next one. A new file is made as layout 1 and brought up at once, so that
there is one way to today's tables.

owner: boot names the opening and where its host runs (`place.Boot`), lease_until_us (wall clock) is when others may
take over. recoveries: runs that a host should take up and has not yet, or could not (`ports.Recovery`). archived: runs
whose events up to `version`, which has `hash`, were moved to the archive at archived_us (wall clock); the archive has
the same rows, of the runs that it holds. keyring: the id of the file with the keys of sealed runs; no row without one.
"""

TABLE_NAMES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"

_TABLES: Final = frozenset({EVENTS_TABLE, "runs", "blobs", "owner", "snapshots"})


_SINCE: Final[dict[int, frozenset[str]]] = {1: _TABLES, 2: frozenset({"recoveries", "archived", "keyring"})}


def missing_tables(found: Iterable[str], layout: int) -> str:
    """Which tables of a journal of `layout` are not among `found`; "" if all are there."""
    wanted = frozenset[str]().union(*(tables for since, tables in _SINCE.items() if since <= layout))
    return ", ".join(sorted(wanted.difference(found)))


def upgrade_statements(layout: int) -> list[str]:
    """What brings a file of `layout` up to today's, to be executed in one transaction."""
    steps = [statement for one in range(layout, LAYOUT) for statement in UPGRADES[one]]
    return [*steps, f"PRAGMA user_version = {LAYOUT}"] if steps else []


OLDEST_SQLITE: Final = (3, 31, 0)
"""Partial indexes, read-only WAL and `trusted_schema` are all there from here on."""

Version = tuple[int, ...]


def has_wal_reset_bug(version: Version) -> bool:
    """Whether this SQLite can lose commits when one connection checkpoints while another one writes.

    3.7.0 to 3.51.2, without the backports 3.50.7 and 3.44.6. We are safe with it because one connection does both:
    no other one of ours may write or checkpoint.
    """
    if version[:2] in ((3, 44), (3, 50)):
        return version < ((3, 44, 6) if version[1] == 44 else (3, 50, 7))
    return (3, 7, 0) <= version < (3, 51, 3)


def check_sqlite(version: Version = sqlite3.sqlite_version_info) -> None:
    """Refuse an SQLite that lacks what the journal stands on.

    Raises:
        JournalError: this one is too old.
    """
    if version < OLDEST_SQLITE:
        found, needed = (".".join(map(str, one)) for one in (version, OLDEST_SQLITE))
        raise JournalError(
            f"Python is linked with SQLite {found}; a journal needs {needed} or newer; nothing was changed"
        )
