"""Holding back what touches the world, after the host stood still for so long that another may have taken over (P6)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from ..errors import Deposed, ExecutusError, JournalError
from ..ports import Journal

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0


def wait_until_held(journal: Journal, over: Callable[[], bool]) -> None:
    """Block until a transaction has found this host the owner of `journal`, or nobody wants to know any more (`over`).

    What a run stored before the host stood still may be another host's to do by now.

    Raises:
        Deposed: another host took over.
    """
    pause_s = FIRST_PAUSE_S
    while not journal.held and not over():
        answer: Future[JournalError | None] = Future()
        error: ExecutusError | None
        try:
            journal.confirm(answer.set_result)
            error = answer.result()
        except ExecutusError as refused:
            error = refused
        if error is None:
            return
        if isinstance(error, Deposed):
            raise error
        threading.Event().wait(pause_s)
        pause_s = min(pause_s * 2, LAST_PAUSE_S)
