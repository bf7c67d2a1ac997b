"""What models, tools and hosts may hand over that no program expects, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

from executus import Reply, Text, Usage
from executus.errors import ModelRefused, ModelUnavailable
from executus.events import Thinking, ToolCall

NASTY = (
    "\x00",
    "\ud800",
    "\udfff",
    "\ud83d",
    "\ude00\ud83d",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\x1b[2J",
    "\U0001f600",
    "a",
    "\r\n",
    '"',
    "\\",
    "é",
    "\x7f",
    "\ufffe",
)


class Unsayable:
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Exits:
    """Asking for its text ends the interpreter, if it is let."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Word(str):
    """A str that is not quite one."""

    def __str__(self) -> str:
        return cast(str, 5)


class Mine(BaseException):
    """An error that no `except Exception` sees."""


def text(rng: random.Random, most: int = 40) -> str:
    """Text with everything in it that breaks encoders; now and then very long."""
    word = "".join(rng.choice(NASTY) for _ in range(rng.randrange(most)))
    return word * rng.choice((1, 1, 1, 1, 1000, 40_000)) if rng.random() < 0.2 else word


def value(rng: random.Random, depth: int = 4) -> Any:
    """Anything at all."""
    kind = rng.randrange(20 if depth else 14)
    simple: tuple[Callable[[], Any], ...] = (
        lambda: text(rng),
        lambda: text(rng),
        lambda: rng.choice((0, -1, 1 << 63, 1 << 64, -(1 << 63) - 1, 10**4000, 10**5000)),
        lambda: rng.choice((float("nan"), float("inf"), -0.0, 1e308)),
        lambda: rng.choice((None, True, False)),
        lambda: rng.randbytes(rng.randrange(40)),
        Unsayable,
        Exits,
        lambda: Word(text(rng)),
        lambda: (one for one in (1, 2)),
        lambda: {1, 2},
        lambda: object,
        lambda: range(3),
        lambda: deep(rng),
    )
    if kind < 14:
        return simple[kind]()
    size = rng.randrange(4)
    if kind < 17:
        return [value(rng, depth - 1) for _ in range(size)]
    if kind < 18:
        looped: list[Any] = [1]
        looped.append(looped)
        return looped
    return {rng.choice((text(rng), 5, None, b"k")): value(rng, depth - 1) for _ in range(size)}


def plain(rng: random.Random) -> Any:
    """Any value that JSON, or a host's own carelessness, may bring: no object whose text is a trap."""
    nested: Any = []
    for _ in range(rng.choice((1, 100))):
        nested = [nested]
    numbers = (0, -1, 1 << 70, 1.5, float("nan"), float("inf"), 10**4000, True)
    several = ([], {}, (), ["a", 5], {"a": {5: None}}, nested, range(3), {1, 2}, [Text(text(rng))])
    return rng.choice((*numbers, *several, None, b"\xff", object(), Text("part"), "", text(rng)))


def deep(rng: random.Random) -> Any:
    """Nested deeper than anybody should follow."""
    nested: Any = []
    for _ in range(rng.choice((100, 100_000))):
        nested = [nested]
    return nested


def error(rng: random.Random) -> BaseException:
    """Something to raise."""
    kinds: tuple[Callable[[], BaseException], ...] = (
        lambda: ValueError(value(rng, 1)),
        lambda: RuntimeError(text(rng)),
        lambda: Mine(text(rng)),
        lambda: SystemExit(2),
        lambda: KeyboardInterrupt(),
        lambda: RecursionError(),
        lambda: MemoryError(),
        lambda: StopIteration(text(rng)),
        lambda: StopAsyncIteration(),
        lambda: GeneratorExit(),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        lambda: OSError(5, text(rng)),
        lambda: ExceptionGroup("several", [ValueError(text(rng)), OSError()]),
        lambda: ModelUnavailable(text(rng), retry_after_s=rng.choice((None, 0.0, -1.0, float("nan"), 0.001))),
        lambda: ModelRefused(text(rng)),
        lambda: Exception(Unsayable()),
        lambda: Exception(Exits()),
    )
    return rng.choice(kinds)()


def arguments(rng: random.Random) -> str:
    """Arguments of a call, as models write them."""
    return rng.choice(
        (
            "{}",
            "",
            "null",
            "[]",
            '{"number": 1}',
            '{"number": "\\ud800"}',
            '{"number": 1' + "0" * 5000 + "}",
            '{"number": ' + "[" * 100_000 + "]" * 100_000 + "}",
            '{"number": 1, "number": 2, "other": {}}',
            '{"number": NaN}',
            text(rng),
            '{"number": 1}' + text(rng),
        )
    )


def part(rng: random.Random, tools: tuple[str, ...]) -> Any:
    """A part of a reply, or something that is none."""
    kind = rng.randrange(10)
    if kind < 3:
        return Text(text(rng))
    if kind < 7:
        name = rng.choice((*tools, *tools, text(rng, 5), "agent__nobody", ""))
        return ToolCall(rng.choice((text(rng, 4), "same", "")), name, arguments(rng))
    if kind < 9:
        return Thinking(text(rng), rng.choice((None, text(rng))), extra=rng.choice((None, value(rng))))
    return rng.choice((cast(Any, value(rng)), Text(cast(Any, value(rng))), ToolCall(cast(Any, 5), cast(Any, None), "")))


def _good_part(rng: random.Random, tools: tuple[str, ...]) -> Any:
    """A part of the right types, with a content that is not nice."""
    if rng.random() < 0.4:
        return rng.choice((Text(text(rng)), Thinking(text(rng), rng.choice((None, text(rng))))))
    good = rng.choice(('{"number": 1}', "{}", "", arguments(rng)))
    return ToolCall(text(rng, 4), rng.choice((*tools, text(rng, 5))), good)


def usage(rng: random.Random) -> Usage:
    """Usage as a provider may count it."""
    numbers = (0, 5, -5, 1 << 53, 1 << 70, 1.5, "5", None, float("nan"))
    cost = (None, 0.01, -1.0, float("nan"), float("inf"), 1e308, "1")
    return Usage(cast(Any, rng.choice(numbers)), cast(Any, rng.choice(numbers)), cost_usd=cast(Any, rng.choice(cost)))


def reply(rng: random.Random, tools: tuple[str, ...]) -> Any:
    """A model's answer, or something that is none."""
    if rng.random() < 0.7:
        return Reply(tuple(_good_part(rng, tools) for _ in range(rng.randrange(4))), Usage(1, 1))
    if rng.random() < 0.2:
        return value(rng)
    count = rng.choice((0, 1, 2, 5, 300)) if rng.random() < 0.3 else rng.randrange(4)
    parts: Any = tuple(part(rng, tools) for _ in range(count))
    if rng.random() < 0.05:
        parts = rng.choice((list(parts), None, 5, "parts", (parts,)))
    stop = rng.choice(("stop", "tool_calls", "length", "other", "no such", None, 5))
    model = rng.choice(("", "m", text(rng), None))
    used = usage(rng) if rng.random() < 0.5 else Usage(1, 1)
    return Reply(parts, used, cast(Any, stop), cast(Any, model), cast(Any, rng.choice(("", text(rng)))))
