"""What is kept of attempts to take runs up, beside their events."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ..errors import JournalError, JournalUnavailable
from ..events import TOMBSTONE
from ..events.codec import run_id_bytes
from ..ports import Recovery
from .chores import AnyChore, Chore

log = logging.getLogger("executus.journal")

_KEEP = "INSERT OR REPLACE INTO recoveries VALUES (?, ?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM recoveries WHERE run_id = ?"

ROW_BYTES = 200
"""About."""


def keep_recoveries(
    put: Callable[[AnyChore], None],
    kept: Sequence[Recovery],
    dropped: Sequence[str],
    done: Callable[[JournalError | None], None],
    is_sealed: Callable[[str], bool] = lambda run_id: False,
) -> None:
    """See `ports.Journal.keep_recoveries`. put: gives the writer a chore. is_sealed: asked on the writer's thread; of a
    sealed run it is not stored what an error said, since that may be what was said in the run.

    Raises:
        JournalUnavailable: the journal is closed.
    """
    keys = [(key,) for run_id in dropped if (key := _key(run_id)) is not None]

    def write(connection: sqlite3.Connection) -> None:
        if keys:
            connection.executemany(_DROP, keys)
        rows = [
            (key, one.standing, one.attempts, one.company, one.version, one.at_us, _why(one, is_sealed))
            for one in kept
            if (key := _key(one.run_id)) is not None
        ]
        if rows:
            connection.executemany(_KEEP, rows)

    def tell(answer: Future[None]) -> None:
        error = answer.exception()
        if error is not None and not isinstance(error, JournalError):
            error = JournalUnavailable(f"the journal could not store this now: {error}")
        try:
            done(error)
        except BaseException:
            log.exception("telling that recoveries were kept raised")

    chore: Chore[None] = Chore(write, size=ROW_BYTES * (len(kept) + len(keys)))
    chore.answer.add_done_callback(tell)
    put(chore)


def _why(one: Recovery, is_sealed: Callable[[str], bool]) -> str:
    what, colon, _ = one.why.partition(": ")
    if one.standing == "waiting" or not colon or not is_sealed(one.run_id):
        return one.why
    return f"{what}: {TOMBSTONE}"


def _key(run_id: str) -> bytes | None:
    """None for the id of a damaged row, under which nothing can be kept."""
    try:
        return run_id_bytes(run_id)
    except ValueError:
        return None
