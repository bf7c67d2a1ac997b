"""Several palettes in a row, asked one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from ...ports import Agent, Palette, Skill

F = TypeVar("F", Agent, Skill)


class ChainedPalette:
    """The first palette that knows a name answers; None if none does.

    Palettes may be sync or async: the answer is awaitable only if an async one had to be asked. What a palette raises
    ends the look-up: the next one could answer with something else of the same name.

    Raises:
        TypeError: something that is no palette.
    """

    def __init__(self, *palettes: Palette) -> None:
        for palette in palettes:
            if not isinstance(palette, Palette):
                raise TypeError(f"ChainedPalette: expected palettes, got {palette!r}")
        self._palettes = palettes

    def agent(self, caller_id: str, name: str) -> Agent | Awaitable[Agent | None] | None:
        """The agent of that name."""
        return _first(iter([palette.agent for palette in self._palettes]), caller_id, name)

    def skill(self, caller_id: str, name: str) -> Skill | Awaitable[Skill | None] | None:
        """The skill of that name."""
        return _first(iter([palette.skill for palette in self._palettes]), caller_id, name)


def _first(
    asks: Iterator[Callable[[str, str], F | Awaitable[F | None] | None]], caller_id: str, name: str
) -> F | Awaitable[F | None] | None:
    for ask in asks:
        found = ask(caller_id, name)
        if inspect.isawaitable(found):
            return _first_awaited(found, asks, caller_id, name)
        if found is not None:
            return found
    return None


async def _first_awaited(
    first: Awaitable[F | None],
    asks: Iterator[Callable[[str, str], F | Awaitable[F | None] | None]],
    caller_id: str,
    name: str,
) -> F | None:
    found = await first
    for ask in asks:
        if found is not None:
            break
        answer = ask(caller_id, name)
        found = await answer if inspect.isawaitable(answer) else answer
    return found
