"""A sequence that only grows, shared by all its versions: appending costs O(1) and older versions stay as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Grown(Sequence[T], Generic[T]):
    """An immutable sequence whose `plus` shares storage with the version it came from.

    The newest version appends in place; an older one, which somebody else has already grown from, copies first. So a
    fold over n events does O(n) work and each state in between keeps its own, unchanging view. Who grows it in place is
    who takes the one out of its `_token`: that needs no lock, which a forked child might find taken for ever.
    """

    __slots__ = ("_items", "_length", "_token")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)
        self._length = len(self._items)
        self._token = [True]

    def plus(self, items: Sequence[T]) -> Grown[T]:
        """Return this sequence followed by `items`."""
        longer = type(self).__new__(type(self))
        try:
            self._token.pop()
            longer._items = self._items
        except IndexError:
            longer._items = self._items[: self._length]
        longer._items.extend(items)
        longer._length = len(longer._items)
        longer._token = [True]
        return longer

    def shares(self, other: Grown[T]) -> bool:
        """Whether one of both is known to begin with the other, since they share storage."""
        return self._items is other._items

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return iter(self._items[: self._length])

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return self._items[: self._length][index]
        if not -self._length <= index < self._length:
            raise IndexError(f"index {index} of {self._length} items")
        return self._items[index if index >= 0 else index + self._length]

    def __eq__(self, other: object) -> bool:
        foreign: Any = other
        if not isinstance(other, Grown):
            return NotImplemented
        if self._length != len(foreign):
            return False
        if self._items is foreign._items:
            return True
        return list(self) == [*foreign]

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Grown({list(self)!r})"
