"""What changed in a run between two of its versions."""

from __future__ import annotations

from typing import Any

import msgspec

from ..events import Message
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.changes import Change, alike, changed, patch
from ..projections.moments import Moment
from .recording import Recording


class Difference(msgspec.Struct, frozen=True):
    """From version `m` of a run to version `n`, which may be earlier.

    changes: the steps from `shown` at m to `shown` at n. said, unsaid: messages of the transcript at n that were not in
    that at m, and the other way round. moments: of the events between, in the log's order.
    """

    run_id: str
    m: int
    n: int
    changes: list[Change]
    said: list[Message]
    unsaid: list[Message]
    moments: list[Moment]

    @property
    def patch(self) -> list[dict[str, Any]]:
        """`changes` as a JSON Patch (RFC 6902)."""
        return patch(self.changes)


def diff(journal: Journal | Recording, run_id: str, m: int, n: int) -> Difference:
    """What changed in a run from version `m` to version `n`; given a `Recording` of it, that is used.

    Raises:
        UnknownRun: no such run. ValueError: no such version. LogCorrupt: an event up to there does not decode or fold.
    """
    recording = journal if isinstance(journal, Recording) else Recording(journal, run_id)
    before, after = recording.at(m), recording.at(n)
    return between(run_id, before, after, recording.moments(min(m, n), abs(n - m)))


def between(run_id: str, before: Checkpoint, after: Checkpoint, moments: list[Moment]) -> Difference:
    """The difference of two checkpoints at hand."""
    old, new = before.transcript.messages, after.transcript.messages
    same = alike(old, new)
    return Difference(run_id, before.version, after.version, changed(before, after), new[same:], old[same:], moments)
