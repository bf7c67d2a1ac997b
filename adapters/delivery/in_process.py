"""Delivery to a function of the host, in this process."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ...ports import ArtifactStore, Parcel

Receiver: TypeAlias = Callable[[Parcel, ArtifactStore], object]
"""A host's function, plain or async. It may be handed the same parcel again after a crash: `parcel.key` tells."""


class CallbackDelivery:
    """`Delivery` by calling `function(parcel, artifacts)`.

    A text that it returns is the receipt; anything else is none. What it raises is an attempt that failed;
    `DeliveryRefused` is the last one.

    Raises:
        TypeError: `function` cannot be called.
    """

    def __init__(self, function: Receiver) -> None:
        if not callable(function):
            raise TypeError(f"function: expected something to call, got {type(function).__name__}")
        self._function = function

    def __repr__(self) -> str:
        return f"CallbackDelivery({getattr(self._function, '__qualname__', type(self._function).__name__)})"

    def deliver(self, parcel: Parcel, artifacts: ArtifactStore) -> str | Awaitable[str | None] | None:
        """Call the function, on this thread; an async one goes on where the result is awaited."""
        answer = self._function(parcel, artifacts)
        return _later(answer) if inspect.isawaitable(answer) else _receipt(answer)


async def _later(answer: Awaitable[object]) -> str | None:
    return _receipt(await answer)


def _receipt(answer: object) -> str | None:
    return answer if isinstance(answer, str) else None
