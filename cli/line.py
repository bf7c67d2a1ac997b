"""One line of what happened, as people read it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["said", "call", "result", "wrong", "host", "end"]


class Line(NamedTuple):
    """label: who or what. text: perhaps of several lines, not yet made harmless. kind: how it is shown."""

    label: str
    text: str
    kind: Kind
