"""Tables that facts add up to: what a row, a table and the rows of a view are. Nothing here knows where they are kept.

A row is a struct whose fields are the columns. A view changes rows as events come; whoever keeps them writes what
changed, with the position of the newest event, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import force_setattr

MOST_WHOLE = (1 << 63) - 1
"""The largest whole number of a column."""
MOST_ADDED = 1 << 53
"""The largest whole number that one fact adds to a column; what says more is no count of anything."""

KINDS = (str, int, float, bytes, bool)


class Row(msgspec.Struct, gc=False):
    """A row of a table; its fields are the columns: str, int, float, bytes or bool, each also with `| None`.

    Fields beside the key have defaults: with them a row begins.
    """


R = TypeVar("R", bound=Row)


class Table(msgspec.Struct, frozen=True):
    """A table of a view. row: its rows. key: the columns that tell rows apart, by default the first.

    indexes: columns by which people will ask, each a tuple.

    Raises:
        TypeError, ValueError: it cannot be a table, with what was expected.
    """

    name: str
    row: type[Row]
    key: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.row, type) or not issubclass(self.row, Row):
            raise TypeError(f"table {self.name!r}: expected a class of Row, got {self.row!r}")
        names = self.row.__struct_fields__
        if not is_name(self.name) or not names:
            raise ValueError(
                f"table {self.name!r}: expected a name of a-z, 0-9 and _, at most 60, and one column or more"
            )
        for column, (kind, _) in columns(self.row).items():
            if kind not in KINDS or not is_name(column):
                raise TypeError(f"table {self.name!r}, column {column!r}: expected str, int, float, bytes or bool")
        key = self.key or names[:1]
        force_setattr(self, "key", key)
        for some in (key, *self.indexes):
            if not some or not set(some) <= set(names):
                raise ValueError(f"table {self.name!r}: expected columns of {', '.join(names)}, got {some!r}")
        if key != names[: len(key)]:
            raise ValueError(f"table {self.name!r}: expected the key {key!r} to be the first columns, in this order")
        required = set(names[: len(names) - len(self.row.__struct_defaults__)])
        if required - set(key):
            raise ValueError(f"table {self.name!r}: expected a default for {', '.join(sorted(required - set(key)))}")


class TableRows(Protocol[R]):
    """The rows of one table as of the events applied so far."""

    def change(self, *key: Any) -> R:
        """The row with this key, to be changed in place; a new one, with defaults, if there is none."""
        ...

    def get(self, *key: Any) -> R | None:
        """The row with this key, to be read only; None if there is none."""
        ...

    def put(self, row: R, /) -> None:
        """Add `row`; it replaces one with the same key."""
        ...

    def remove(self, *key: Any) -> None:
        """Remove the row with this key, if there is one."""
        ...

    def all(self, *key: Any) -> Iterator[R]:
        """The rows whose key begins so, in the order of their keys, to be read only."""
        ...


class Rows(Protocol):
    """All tables of one view."""

    def of(self, row: type[R], /) -> TableRows[R]:
        """The rows of the table of this class."""
        ...


def columns(row: type[Row]) -> dict[str, tuple[Any, bool]]:
    """The columns of a row in order, each with its type and whether it may be None."""
    hints = get_type_hints(row)
    return {name: _column(hints[name]) for name in row.__struct_fields__}


def _column(hint: Any) -> tuple[Any, bool]:
    parts = get_args(hint)
    if type(None) not in parts or get_origin(hint) in (tuple, dict):
        return hint, False
    inner = [one for one in parts if one is not type(None)]
    return (inner[0] if len(inner) == 1 else hint), True


def is_name(text: Any) -> bool:
    """Whether `text` can name a view, a table or a column."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= 60
        and text[0] in "abcdefghijklmnopqrstuvwxyz"
        and not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789_")
    )


def whole(number: int) -> int:
    """A count of a fact as a column can hold it: between 0 and `MOST_ADDED`, so that sums do not depend on batches."""
    return number if 0 <= number <= MOST_ADDED else (0 if number < 0 else MOST_ADDED)


def added(total: int, number: int) -> int:
    """The sum of counts, at most `MOST_WHOLE`."""
    total += number if 0 <= number <= MOST_ADDED else whole(number)
    return total if total <= MOST_WHOLE else MOST_WHOLE


def head(text: str, most: int) -> str:
    """The first `most` characters of `text`, the last of them "…" if more were there."""
    return text if len(text) <= most else text[: most - 1] + "…"
