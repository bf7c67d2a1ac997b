"""One line of what happened, as people read it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["said", "call", "result", "wrong", "host", "end"]


class Line(NamedTuple):
    """label: who or what. text: perhaps of several lines, not yet made harmless. kind: how it is shown."""

    label: str
    text: str
    kind: Kind


def span(seconds: float) -> str:
    """A duration: "340 ms", "12.4 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
