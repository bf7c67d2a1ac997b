"""What the tests that set a clock by hand share: letting time pass, and knowing that everything due was noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from runtime_support import DEADLINE_S

from executus import Agent, Run, Runtime, ScriptedModel
from executus.testing import VirtualClock


async def _never(request: Any) -> str:
    await asyncio.sleep(3_600)
    return "too late"


CANARY = Agent("canary", model=ScriptedModel(_never))
"""To be given to a runtime whose time is to pass."""


Lull = Callable[[Run, VirtualClock], None]
"""Lets time pass until a run that waits has given up its actor."""


def let_pass(runtime: Runtime, clock: VirtualClock, seconds: float) -> None:
    """Let so much time pass; returns when all that became due was told to whom it concerns.

    Timers go off in order: the canary's, which is due last, is seen when its run has ended by it.
    """
    canary = runtime.start("canary", "x", timeout_s=seconds)
    clock.advance(seconds + 0.01)
    assert canary.result(DEADLINE_S).status == "timeout"
