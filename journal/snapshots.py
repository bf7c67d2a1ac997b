"""Snapshots: a fold kept beside the log so that a long run loads fast. A cache: deleting it changes nothing.

A snapshot is used only if it was made by this very code (its shape is a digest of the sources that define facts and
folds), decodes, and carries the hash that the log has at its version.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import msgspec

from ..events import Message, ToolCall, ToolResult, facts, registry, upcasts, values
from ..events.codec import HASH_BYTES, run_id_bytes
from ..projections import Checkpoint, Grown, RunState, Transcript, run, transcript
from .layout import EVENTS_TABLE

WORTH_IT = 2000
"""Events that had to be folded before a snapshot is left for the next time."""

_NEWEST = (
    "SELECT s.originator_version, s.state, e.state FROM snapshots s"
    f" JOIN {EVENTS_TABLE} e ON e.originator_id = s.originator_id AND e.originator_version = s.originator_version"
    " WHERE s.originator_id = ? AND s.topic = ? ORDER BY s.originator_version DESC LIMIT 1"
)


class _Body(msgspec.Struct):
    """What is stored of a checkpoint."""

    state: RunState
    messages: list[Message]
    asked: tuple[ToolCall, ...]
    answers: tuple[ToolResult | None, ...]
    heard: tuple[Message, ...]
    hash: bytes
    elapsed_ms: int


class Snapshot(msgspec.Struct, frozen=True):
    """A checkpoint on its way to or from the table."""

    run_id: str
    checkpoint: Checkpoint


_decode = msgspec.msgpack.Decoder(_Body).decode


@cache
def shape() -> str:
    """A digest of everything a stored fold depends on; "" (no snapshots) when the sources cannot be read."""
    digest = hashlib.sha256()
    for module in (facts, values, registry, upcasts, run, transcript):
        source = _source(module)
        if source is None:
            return ""
        digest.update(source)
    return digest.hexdigest()[:32]


def _source(module: ModuleType) -> bytes | None:
    loader, path = getattr(module, "__loader__", None), getattr(module, "__file__", None)
    try:
        return loader.get_data(path) if loader is not None and path is not None else None
    except (OSError, AttributeError):
        return None


def snapshot_row(snapshot: Snapshot) -> tuple[bytes, int, str, bytes]:
    """The row of the snapshots table that keeps `snapshot`."""
    checkpoint = snapshot.checkpoint
    asked = checkpoint.transcript
    body = _Body(
        checkpoint.state,
        list(asked.messages),
        asked.asked,
        asked.answers,
        asked.heard,
        checkpoint.hash,
        checkpoint.elapsed_ms,
    )
    return run_id_bytes(snapshot.run_id), checkpoint.version, shape(), msgspec.msgpack.encode(body)


def read_snapshot(query: Callable[[str, Sequence[Any]], list[Any]], run_id: str) -> Snapshot | None:
    """The newest usable snapshot of the run, or None; whatever is wrong with it, the log is still there."""
    try:
        found = query(_NEWEST, (run_id_bytes(run_id), shape())) if shape() else []
        if not found:
            return None
        version, state, event = found[0]
        body = _decode(state)
        if body.hash != event[:HASH_BYTES]:
            return None
    except (sqlite3.Error, ValueError, TypeError, UnicodeDecodeError, RecursionError, msgspec.MsgspecError):
        return None
    spoken = Transcript(Grown(body.messages), body.asked, body.answers, body.heard)
    return Snapshot(run_id, Checkpoint(body.state, spoken, version, body.hash, body.elapsed_ms))
