"""The envelope around a fact: where it stands, when it happened, who owned the run, and what came before it."""

from __future__ import annotations

import hashlib
import struct

import msgspec

from .facts import Fact
from .sealing import Content

GENESIS = bytes(32)
"""The hash before the first event of a run."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact with its envelope: what followers, projections and readers are given.

    run_id: UUIDv7 of the run, as text. version: 1, 2, 3 … within the run. position: place in the whole journal,
    growing, never reused; 0 while the event is not yet stored. at_us: wall clock, microseconds since 1970 UTC, for
    people only. elapsed_ms: the run's own clock, awake milliseconds since it started. cause: the order that led to
    it ("steer by alice"), empty for what follows from the event before. epoch: which ownership of the journal wrote it.
    hash: SHA-256 over the previous event's hash and everything stored of this one. content: how its content was stored;
    of what is "locked" or "erased", `fact` is the skeleton (`events.erasing`).
    """

    run_id: str
    version: int
    tag: str
    fact: Fact
    position: int = 0
    at_us: int = 0
    elapsed_ms: int = 0
    cause: str = ""
    epoch: int = 0
    hash: bytes = GENESIS
    content: Content = "clear"


_VERSION = struct.Struct(">Q")


def chain_hash(previous: bytes, run_id: bytes, version: int, tag: str, body: bytes) -> bytes:
    """The hash of an event: SHA-256 over (previous hash, run id, version, tag, 0, stored body).

    previous: 32 bytes. run_id: 16 bytes. The first three have fixed lengths and the tag has no NUL, so that no two
    different events feed the same bytes.
    """
    return hashlib.sha256(b"".join((previous, run_id, _VERSION.pack(version), tag.encode(), b"\x00", body))).digest()
