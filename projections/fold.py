"""Folding: what a sequence of events adds up to. Live run, resume, command line and debugger all stand on this."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..events import GENESIS, Event, Withheld
from .run import RunState, evolve
from .transcript import Transcript, evolve_transcript


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything needed to go on from an event: the run's state and transcript, and where the log stood.

    version, hash, elapsed_ms: of the last event folded. withheld: why content is missing in it: nothing can go on then.
    """

    state: RunState = RunState()
    transcript: Transcript = Transcript()
    version: int = 0
    hash: bytes = GENESIS
    elapsed_ms: int = 0
    withheld: Withheld | None = None


def advance(checkpoint: Checkpoint, event: Event) -> Checkpoint:
    """Return the checkpoint after `event`."""
    return Checkpoint(
        evolve(checkpoint.state, event.fact),
        evolve_transcript(checkpoint.transcript, event.fact),
        event.version,
        event.hash,
        event.elapsed_ms,
        event.content if event.content == "locked" or event.content == "erased" else checkpoint.withheld,
    )


def fold(events: Iterable[Event], start: Checkpoint | None = None) -> Checkpoint:
    """Fold `events` onto `start`, or onto the beginning of a run."""
    checkpoint = start if start is not None else Checkpoint()
    state, transcript = checkpoint.state, checkpoint.transcript
    withheld = checkpoint.withheld
    event = None
    for event in events:
        state = evolve(state, event.fact)
        transcript = evolve_transcript(transcript, event.fact)
        if event.content == "locked" or event.content == "erased":
            withheld = event.content
    if event is None:
        return checkpoint
    return Checkpoint(state, transcript, event.version, event.hash, event.elapsed_ms, withheld)
