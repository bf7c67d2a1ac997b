"""Runtimes that are closed when their test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executus import Runtime

Open = Callable[..., Runtime]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens runtimes as `Runtime(…)` does, and closes them at the end."""
    runtimes: list[Runtime] = []

    def open_one(*arguments: Any, **options: Any) -> Runtime:
        runtimes.append(Runtime(*arguments, **options))
        return runtimes[-1]

    yield open_one
    for runtime in runtimes:
        runtime.close(2)
