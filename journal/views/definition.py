"""A view as the keeper sees it: checked, with everything its tables are made of, and the shape by which it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ...events import Event
from ...ports.views import FoldingView, View
from ...projections.rows import Rows, Table, is_name
from ..snapshots import source_of
from .tables import create_indexes, create_table

RESERVED = frozenset({"views", "tracking"})
RESERVED_PREFIXES = ("sqlite_", "new_", "purse")

Apply = Callable[[Sequence[Event]], None]


@dataclass(frozen=True)
class Definition:
    """name, tables: of the view. sums: SQL views over its tables, by name. shape: the same for two definitions that
    make the same rows of the same events; a stored view of another one is built anew. fold: begins to apply events.
    """

    name: str
    shape: str
    tables: tuple[Table, ...]
    sums: tuple[tuple[str, str], ...]
    fold: Callable[[Rows], Apply]

    def after_building(self) -> list[str]:
        """What makes its full tables fit to be asked: indexes and sums."""
        indexes = [statement for table in self.tables for statement in create_indexes(table)]
        return [*indexes, *(f"CREATE VIEW {name} AS {query}" for name, query in self.sums)]

    def relations(self) -> list[str]:
        """The names of its tables and sums."""
        return [*(table.name for table in self.tables), *(name for name, _ in self.sums)]


def defined(
    view: View | FoldingView,
    *,
    sums: Iterable[tuple[str, str]] = (),
    sources: Iterable[ModuleType] = (),
    more: str = "",
) -> Definition:
    """What a view is, checked. sources: modules whose text is part of its shape, as `more` is.

    Raises:
        TypeError, ValueError: it is no view, with what was expected.
    """
    name, version = _attribute(view, "name"), _attribute(view, "version")
    if not is_name(name):
        raise ValueError(f"view {view!r}, name: expected a name of a-z, 0-9 and _, at most 60, got {name!r}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"view {name!r}, version: expected a whole number ≥ 1, got {version!r}")
    tables: Any = _attribute(view, "tables")
    if isinstance(tables, Table) or not isinstance(tables, Iterable):
        raise TypeError(f"view {name!r}, tables: expected a sequence of Table, got {tables!r}")
    tables = tuple(tables)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not tables or not all(isinstance(table, Table) for table in tables):
        raise TypeError(f"view {name!r}, tables: expected one Table or more, got {tables!r}")
    digest = hashlib.sha256()
    for table in tables:
        digest.update("\n".join([create_table(table), *create_indexes(table)]).encode())
    for one in sums:
        digest.update(repr(one).encode())
    for module in sources:
        digest.update(source_of(module) or b"")
    digest.update(more.encode())
    shape = f"{version}:{digest.hexdigest()[:24]}"
    if isinstance(view, FoldingView):
        return Definition(name, shape, tables, tuple(sums), view.fold)
    if not callable(getattr(view, "apply", None)):
        raise TypeError(f"view {name!r}: expected a method `apply(event, rows)`")
    return Definition(name, shape, tables, tuple(sums), lambda rows: _each(view, rows))


def _attribute(view: object, name: str) -> Any:
    try:
        return getattr(view, name)
    except AttributeError:
        raise TypeError(f"view {view!r}: expected a View (name, version, tables, apply), without {name}") from None


def _each(view: View, rows: Rows) -> Apply:
    def apply(events: Sequence[Event]) -> None:
        for event in events:
            try:
                view.apply(event, rows)
            except Exception as error:
                where = f"event {event.position} ({event.tag}, run {event.run_id})"
                raise ViewFailed(f"at {where}: {type(error).__name__}: {error}") from error

    return apply


class ViewFailed(Exception):
    """A view raised at an event; only its own keeper sees this."""


def checked_together(definitions: Sequence[Definition]) -> tuple[Definition, ...]:
    """The same, if no two have a name in common.

    Raises:
        ValueError: two views, tables or sums have one name.
    """
    names: dict[str, str] = dict.fromkeys(RESERVED, "every view")
    seen: set[str] = set()
    for one in definitions:
        if one.name in seen:
            raise ValueError(f"two views are named {one.name!r}; give one of them another name")
        seen.add(one.name)
        for name in one.relations():
            if name in names or name.startswith(RESERVED_PREFIXES):
                owner = names.get(name, "executus")
                raise ValueError(f"view {one.name!r}: the table {name!r} is that of {owner}; name it otherwise")
            names[name] = one.name
    return tuple(definitions)
