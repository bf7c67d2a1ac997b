"""Exceptions on their way to whoever called: what they say, without secrets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from .redactor import Redactor

T = TypeVar("T")

MOST: int = 64
"""Exceptions of a chain that are looked at."""
DEEP: int = 3
"""Levels of what an exception holds that are looked at; it may hold itself."""


def mask_error(error: BaseException, redactor: Redactor) -> None:
    """Mask the texts of `error`, of its notes, and of what it came from, in place. Never raises."""
    if redactor.idle:
        return
    left, seen = [error], set[int]()
    while left and len(seen) < MOST:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        with suppress(Exception):  # a foreign exception may refuse anything
            _mask_one(one, redactor)
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            left += cast("tuple[BaseException, ...]", one.exceptions)  # pyright: ignore[reportUnknownMemberType]


def _mask_one(error: BaseException, redactor: Redactor) -> None:
    args = redactor.data(error.args, depth=DEEP)
    if args is not error.args:
        error.args = args
    fields: dict[str, Any] = getattr(error, "__dict__", {})
    for name, value in list(fields.items()):
        masked: Any = redactor.data(value, depth=DEEP)
        if masked is not value:
            fields[name] = masked
    for name in ("filename", "filename2", "strerror", "object", "msg", "text"):  # where Python's own keep their words
        value = getattr(error, name, None)
        if isinstance(value, str) and (masked := redactor.text(value)) is not value:
            setattr(error, name, masked)


def masks_errors(redactor_of: Callable[[Any], Redactor]) -> Callable[[type[T]], type[T]]:
    """A class decorator: what public methods raise has no secret in its words. redactor_of: that of an object."""

    def decorate(kind: type[T]) -> type[T]:
        for name, method in list(vars(kind).items()):
            if not name.startswith("_") and inspect.isfunction(method):
                setattr(kind, name, _masking(method, redactor_of))
        return kind

    return decorate


def _masking(method: Callable[..., Any], redactor_of: Callable[[Any], Redactor]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def later(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await method(self, *args, **kwargs)
            except Exception as error:
                mask_error(error, redactor_of(self))
                raise

        return later

    @functools.wraps(method)
    def now(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            mask_error(error, redactor_of(self))
            raise

    return now
