"""What an append must satisfy before it is stored: the same rules for every journal."""

from __future__ import annotations

import msgspec

from ..errors import JournalConflict, JournalError, RunIsOver
from ..events import AFTER_THE_END, GENESIS, TERMINAL_TAGS
from ..ports import Append, RunSummary


class Head(msgspec.Struct):
    """Where a run's log stands. Version 0 is a run that does not exist yet."""

    version: int = 0
    over: bool = False
    hash: bytes = GENESIS
    first_position: int = 0
    position: int = 0

    def summary(self, run_id: str) -> RunSummary:
        """The head as readers see it."""
        return RunSummary(
            run_id=run_id,
            version=self.version,
            first_position=self.first_position,
            position=self.position,
            over=self.over,
            hash=self.hash,
        )


def refusal(append: Append, head: Head) -> JournalError | None:
    """Why `append` may not follow `head`, or None if it may.

    It may if its versions leave no gap, its first event was chained to the head's hash, and nothing but notes follows
    the end. The hash matters when an append was made on top of one that was refused: a rival's event may have
    brought the run to just the version that it expects.
    """
    version, over = head.version, head.over
    if append.expected != version or (append.stored and append.stored[0].previous != head.hash):
        return JournalConflict(append.run_id, append.expected, version)
    for stored in append.stored:
        event = stored.event
        if event.version != version + 1 or event.run_id != append.run_id:
            return JournalConflict(append.run_id, event.version - 1, version)
        if over and event.tag not in AFTER_THE_END:
            return RunIsOver(append.run_id, version, event.tag)
        if event.tag in TERMINAL_TAGS:
            over = True
        version += 1
    return None


def advance_head(head: Head, append: Append, position: int) -> None:
    """Move `head` over `append`, whose last event is stored at `position`. Its events must not be empty."""
    last = append.stored[-1].event
    if head.version == 0:
        head.first_position = position - len(append.stored) + 1
    head.version, head.hash, head.position = last.version, last.hash, position
    if not head.over:
        head.over = any(stored.event.tag in TERMINAL_TAGS for stored in append.stored)
