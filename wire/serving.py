"""Being a critic for a host in another process: take a trace, ask the critic, give its verdict back."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any, Final

from ..adapters.critics.outside import trace_of, verdict_json
from ..errors import ControlRefused, HostUnreachable, RuntimeClosed
from .line import Line
from .requests import Done, GiveReview, NextReview, ReviewWanted

log = logging.getLogger("executus.wire")

WAIT_S: Final = 2.0
AGAIN_S: Final = 0.5


def serve(line: Line, critic: Any, name: str, until: threading.Event) -> None:
    """Serve until `until` is set. While the host is gone it waits for the next one.

    Raises:
        ControlRefused: the host wants no critic of this name. TypeError: the critic has no `review`.
    """
    if not callable(getattr(critic, "review", None)):
        raise TypeError(f"serve_critic: expected a Critic, with review(trace, now), got {critic!r}")
    while not until.is_set():
        try:
            wanted = line.ask(NextReview(critic=name, wait_s=WAIT_S), ReviewWanted)
            if wanted.id:
                line.ask(_reviewed(critic, name, wanted), Done)
        except (HostUnreachable, RuntimeClosed):
            if line.is_closed:
                return
            until.wait(AGAIN_S)
        except ControlRefused as refused:
            if refused.kind not in ("expired", "busy", "too-many"):
                raise
            until.wait(AGAIN_S)


def _reviewed(critic: Any, name: str, wanted: ReviewWanted) -> GiveReview:
    try:
        answer = critic.review(trace_of(wanted.trace), wanted.now)
        if inspect.isawaitable(answer):
            answer = asyncio.run(_awaited(answer, wanted.until_s))
        return GiveReview(critic=name, review=wanted.id, verdict=verdict_json(answer))
    except Exception as error:
        log.exception("the critic %s failed at a review", name)
        return GiveReview(critic=name, review=wanted.id, error=f"{type(error).__name__}: {error}"[:1000] or "it failed")


async def _awaited(answer: Any, timeout_s: float) -> Any:
    async with asyncio.timeout(timeout_s or None):
        return await answer
