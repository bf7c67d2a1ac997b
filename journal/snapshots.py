"""Snapshots: a fold kept beside the log so that a long run loads fast. A cache: deleting it changes nothing.

A snapshot is used only if it was made by this very code (its shape is a digest of the sources that define facts and
folds), decodes, and carries the hash that the log has at its version.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Final

import msgspec

from ..events import Message, ToolCall, ToolResult, facts, registry, upcasts, values
from ..events.codec import HASH_BYTES, run_id_bytes
from ..projections import Checkpoint, Grown, RunState, Transcript, run, transcript
from .layout import EVENTS_TABLE

WORTH_IT = 2000
"""Events that had to be folded before a snapshot is left for the next time."""

_FINAL = (
    "SELECT originator_version, state FROM snapshots WHERE originator_id = ? AND originator_version = ? AND topic = ?"
)
_ALL = "SELECT originator_version, state, topic FROM snapshots WHERE originator_id = ? AND topic IN (?, ?)"
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


SMALL: Final = ":z"
"""Ending of the shape of snapshots that are compressed."""

MOST_BYTES: Final = 1 << 30
"""No compressed snapshot is opened that is larger."""

UNUSABLE: Final = (
    *(sqlite3.Error, ValueError, TypeError, UnicodeDecodeError, RecursionError, MemoryError),
    *(msgspec.MsgspecError, zlib.error),
)
"""What a snapshot may raise that cannot be used."""

_decode = msgspec.msgpack.Decoder(_Body).decode


@cache
def shape() -> str:
    """A digest of everything a stored fold depends on; "" (no snapshots) when the sources cannot be read."""
    digest = hashlib.sha256()
    for module in (facts, values, registry, upcasts, run, transcript):
        source = source_of(module)
        if source is None:
            return ""
        digest.update(source)
    return digest.hexdigest()[:32]


def source_of(module: ModuleType) -> bytes | None:
    """The source text of a module, None if it cannot be read."""
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


def final_row(snapshot: Snapshot) -> tuple[bytes, int, str, bytes]:
    """The row that stays of a run whose events were moved to the archive: as `snapshot_row`, smaller, read seldom."""
    key, version, topic, state = snapshot_row(snapshot)
    return key, version, topic + SMALL, zlib.compress(state)


def read_snapshot(query: Callable[[str, Sequence[Any]], list[Any]], run_id: str) -> Snapshot | None:
    """The newest usable snapshot of the run, or None; whatever is wrong with it, the log is still there."""
    try:
        found = query(_NEWEST, (run_id_bytes(run_id), shape())) if shape() else []
        return _opened(run_id, found[0][0], found[0][1], found[0][2][:HASH_BYTES]) if found else None
    except UNUSABLE:
        return None


def read_final(
    query: Callable[[str, Sequence[Any]], list[Any]], run_id: str, version: int, digest: bytes
) -> Snapshot | None:
    """The snapshot of a run whose events up to `version`, which has the hash `digest`, are in the archive; or None."""
    try:
        found = query(_FINAL, (run_id_bytes(run_id), version, shape() + SMALL)) if shape() else []
        return _opened(run_id, found[0][0], _unpacked(found[0][1]), digest) if found else None
    except UNUSABLE:
        return None


def read_all(query: Callable[[str, Sequence[Any]], list[Any]], run_id: str) -> tuple[dict[int, Checkpoint], int]:
    """Every snapshot of the run that this version would look at, by version; and how many of them cannot be used."""
    found: dict[int, Checkpoint] = {}
    useless = 0
    key, made = run_id_bytes(run_id), shape()
    for version, state, topic in query(_ALL, (key, made, made + SMALL)) if made else []:
        try:
            state = _unpacked(state) if topic != made else state
            found[version] = _opened(run_id, version, state, None).checkpoint
        except UNUSABLE:
            useless += 1
    return found, useless


def _unpacked(state: bytes) -> bytes:
    opener = zlib.decompressobj()
    content = opener.decompress(state, MOST_BYTES)
    if not opener.eof:
        raise ValueError("a snapshot that is cut off, or too large")
    return content


def _opened(run_id: str, version: int, state: bytes, digest: bytes | None) -> Snapshot:
    body = _decode(state)
    if digest is not None and body.hash != digest:
        raise ValueError("a snapshot of another log")
    spoken = Transcript(Grown(body.messages), body.asked, body.answers, body.heard)
    return Snapshot(run_id, Checkpoint(body.state, spoken, version, body.hash, body.elapsed_ms))
