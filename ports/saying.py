"""Foreign values as text."""

from __future__ import annotations

from typing import Any


def said(value: Any, *, name: bool = False) -> str:
    """`value` as text, after the name of its class if `name`; never raises, whatever its `__str__` does."""
    kind = type(value).__name__
    try:
        text = str(value)
    except BaseException as error:
        text = f"(its str() failed with {type(error).__name__})"
    return f"{kind}: {text}" if name else text
