"""Whether a journal's file is sound: by SQLite's own check, and by its tables, with nothing beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from .findings import Finding
from .layout import UPGRADES
from .recorder import create_statements

MOST: Final = 20
"""Sentences of SQLite's own check that are told."""

_OBJECTS: Final = (
    "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)


def file_findings(name: str, ask: Callable[[str], list[Any]], *, deep: bool) -> Iterator[Finding]:
    """What is wrong with the file that `ask` asks. name: put before each sentence. deep: compare indexes with tables.

    Raises:
        JournalError, sqlite3.Error: it cannot be read.
    """
    how = "integrity_check" if deep else "quick_check"
    for (sentence,) in ask(f"PRAGMA {how}({MOST})"):
        if sentence != "ok":
            for line in str(sentence).splitlines():
                yield Finding(f"{name}SQLite: {line}")
    made = made_of(ask("PRAGMA user_version")[0][0])
    found = {str(row[1]): (row[0], row[2]) for row in ask(_OBJECTS)}
    for thing in sorted({*made, *found}):
        kind, sql = found.get(thing, ("", ""))
        if thing not in made:  # a trigger, say: it would run at our next write
            yield Finding(f"{name}the {kind} {thing!r:.60} is not of executus; nobody knows what it does")
        elif not sql:
            yield Finding(f"{name}the {made[thing][0]} {thing!r} is missing")
        elif (kind, _plain(str(sql))) != made[thing]:
            yield Finding(f"{name}the {made[thing][0]} {thing!r} is not as executus makes it")


@cache
def made_of(layout: int) -> dict[str, tuple[str, str]]:
    """Everything in a new file of `layout`, by name: type, and SQL without what may differ."""
    connection = sqlite3.connect(":memory:")
    try:
        later = [statement for step in range(1, layout) for statement in UPGRADES.get(step, ())]
        for statement in (*create_statements(), *later):
            connection.execute(statement)
        return {row[1]: (row[0], _plain(row[2])) for row in connection.execute(_OBJECTS)}
    finally:
        connection.close()


def _plain(sql: str) -> str:
    return "".join(sql.split()).replace("IFNOTEXISTS", "").casefold()
