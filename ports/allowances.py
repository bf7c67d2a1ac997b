"""Whether what a host gives as allowances is that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

from .budget import Allowance, Window


def checked_allowances(given: Any) -> tuple[Allowance, ...]:
    """`given` as a tuple, if it is a sequence of allowances that make sense.

    Raises:
        TypeError, ValueError: it is not; says what was expected.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise TypeError(f"allowances: expected a sequence of Allowance, got {given!r}")
    found: list[Any] = [*given]  # pyright: ignore[reportUnknownVariableType]
    for one in found:
        if not isinstance(one, Allowance):
            raise TypeError(f"allowances: expected Allowance, got {one!r}")
        if one.window not in (windows := get_args(Window)):
            raise ValueError(f"window: expected one of {', '.join(windows)}, got {one.window!r}")
        for name in ("tokens", "tool_calls", "cost_usd", "runtime_s"):
            limit: Any = getattr(one, name)
            kinds = int if name in ("tokens", "tool_calls") else (int, float)
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, kinds):
                raise TypeError(f"{name}: expected a number, got {limit!r}")
            if not math.isfinite(limit) or limit < 0:
                raise ValueError(f"{name}: expected a finite number of 0 or more, got {limit!r}")
    return tuple(found)
