"""Runtimes that are closed when their test is over, and runs that are lulled to sleep."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runtime_support import DEADLINE_S
from time_support import Lull

from executus import Run, Runtime
from executus.actors.address import Address
from executus.testing import VirtualClock

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


@pytest.fixture
def lulled(monkeypatch: pytest.MonkeyPatch) -> Lull:
    """Lets time pass until a run that waits has given up its actor; for runtimes with `sleep_after_s=5`."""
    slept: dict[str, threading.Event] = {}
    sleep = Address.sleep

    def noted(address: Address, left: list[Any]) -> None:
        sleep(address, left)
        slept.setdefault(address.run_id, threading.Event()).set()

    monkeypatch.setattr(Address, "sleep", noted)

    def wait(run: Run, clock: VirtualClock) -> None:
        event = slept.setdefault(run.id, threading.Event())
        for _ in range(10):  # the run may set its timer only after the clock moved
            clock.advance(6)
            if event.wait(DEADLINE_S / 10):
                event.clear()
                return
        raise AssertionError("it does not fall asleep")

    return wait
