"""`executus rebuild`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import JournalError
from ..journal import OutsideReader
from ..journal.views import all_definitions
from ..journal.views.building import ViewStopped, check, rebuild, writing
from ..journal.views.definition import Definition
from ..journal.views.feed import Pages
from ..journal.views.file import views_path
from .bars import bar
from .named import imported
from .opening import hosted, reading
from .program import OK, PROBLEM, Misuse, Unopened
from .shapes import print_json
from .words import harmless, many, one_line, span


def rebuild_views(db: Path, names: tuple[str, ...], own: tuple[str, ...], *, checking: bool, as_json: bool) -> int:
    """Build the named views, or all, anew, or compare them with what is stored; returns the exit code."""
    definitions = _chosen(names, own)
    with reading(db) as journal:
        assert isinstance(journal, OutsideReader)
        if checking:
            return _check(journal, definitions, as_json)
        if hosted(journal):
            raise Unopened(
                f"a host has {db} open and keeps its views itself; close that host first, or compare with --check"
            )
        return _rebuild(journal, definitions, as_json)


def _rebuild(journal: OutsideReader, definitions: Iterable[Definition], as_json: bool) -> int:
    code = OK
    with writing(views_path(journal.path)) as file:
        for definition in definitions:
            head, began = journal.head(), time.monotonic()
            try:
                with bar(definition.name, head) as told:
                    rows = rebuild(file, definition, Pages(journal.scan), head, told)
            except ViewStopped as error:
                code = PROBLEM
                _say(as_json, {"type": "stopped", "view": definition.name, "error": str(error)}, str(error))
                continue
            seconds = time.monotonic() - began
            line = {"type": "rebuilt", "view": definition.name, "position": head, "rows": rows, "seconds": seconds}
            speed = f"{head / seconds:,.0f} events/s" if seconds > 0.01 and head else ""
            words = [many(rows, "row"), f"of {many(head, 'event')}", span(seconds), speed]
            _say(as_json, line, f"{definition.name}: {', '.join(word for word in words if word)}")
    return code


def _check(journal: OutsideReader, definitions: Iterable[Definition], as_json: bool) -> int:
    code = OK
    for definition in definitions:
        try:
            with bar(definition.name, journal.head()) as told:
                found = check(views_path(journal.path), definition, Pages(journal.scan), told)
        except JournalError as error:
            code = PROBLEM
            _say(as_json, {"type": "stopped", "view": definition.name, "error": str(error)}, str(error))
            continue
        line = {
            "type": "checked",
            "view": found.name,
            "position": found.position,
            "rows": found.rows,
            "difference": found.difference,
        }
        if found.difference:
            code = PROBLEM
            _say(as_json, line, f"{found.name}: differs at position {found.position:,}: {found.difference}")
        else:
            _say(
                as_json, line, f"{found.name}: {many(found.rows, 'row')} at position {found.position:,}, as built anew"
            )
    return code


def _say(as_json: bool, line: dict[str, Any], words: str) -> None:
    if as_json:
        print_json(line)
    else:
        click.echo(harmless(words))


def _chosen(names: Sequence[str], own: Sequence[str]) -> list[Definition]:
    try:
        builtin, theirs = all_definitions([view for spec in own for view in _imported(spec)])
    except (TypeError, ValueError) as error:
        raise Misuse(str(error)) from error
    known = {one.name: one for one in (*builtin, *theirs)}
    for name in names:
        if name not in known:
            there = ", ".join(known)
            raise Misuse(f"no view {one_line(name)!r}; there are {there}; add your own with --views MODULE:NAME")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def _imported(spec: str) -> list[Any]:
    """The views that `MODULE:NAME` names: a view, a class of one, or a sequence of views. Only what the command line
    says is imported, from the current directory too.
    """
    found = imported("--views", spec)
    if isinstance(found, type):
        found = found()
    views: list[Any] = [*found] if isinstance(found, (list, tuple)) else [found]  # pyright: ignore[reportUnknownArgumentType]
    return views
