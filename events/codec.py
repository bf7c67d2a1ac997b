"""Facts <-> the bytes a journal stores; the only place that knows the encoding.

What a journal keeps of an event is (run id, version, tag, state) with `state = hash ‖ body`: 32 bytes of chain
hash, then a msgpack map of the envelope with the payload inside. The tag stands outside, the schema version in the
envelope. A payload over `BLOB_BYTES` is kept out of line under its SHA-256; the envelope carries hash, size and head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Protocol, cast
from uuid import UUID

import msgspec

from ..errors import LogCorrupt
from .envelope import Event, chain_hash
from .facts import Fact, Opaque
from .registry import FACTS, TAGS
from .upcasts import upcast

BLOB_BYTES = 64 * 1024
HEAD_BYTES = 256
HASH_BYTES = 32


class BlobRef(msgspec.Struct, frozen=True, gc=False):
    """Where a large payload is: SHA-256 (32 bytes), size in bytes, and its first bytes."""

    sha256: bytes
    size: int
    head: bytes


class Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The stored part of an envelope. One-letter keys: they are paid for in every event."""

    s: int = 1
    """schema version of the payload"""
    t: int = 0
    """wall clock, microseconds"""
    e: int = 0
    """run's clock, milliseconds"""
    c: str = ""
    """cause"""
    o: int = 0
    """owner epoch"""
    p: msgspec.Raw = msgspec.Raw()
    """payload, a msgpack map; absent when `b` is given"""
    b: BlobRef | None = None


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An event as a journal keeps it, with the blob it needs, if any, as (sha256, bytes).

    previous: the hash of the event that it follows.
    """

    event: Event
    state: bytes
    previous: bytes
    blob: tuple[bytes, bytes] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode
_decode_map = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decoders: dict[str, tuple[Callable[[bytes | msgspec.Raw], Any], int]] = {
    tag: (msgspec.msgpack.Decoder(struct).decode, schema) for tag, (struct, schema) in FACTS.items()
}


class _Envelope(Protocol):
    """What `Body`, and the body of today's schema of a tag, have in common."""

    @property
    def t(self) -> int: ...
    @property
    def e(self) -> int: ...
    @property
    def c(self) -> str: ...
    @property
    def o(self) -> int: ...


def _whole_decoder(tag: str) -> Callable[[bytes], Any]:
    """Decode body and payload in one go: nearly every event is of today's schema and in line."""
    struct, schema = FACTS[tag]
    fields: list[str | tuple[str, Any] | tuple[str, Any, Any]] = [
        ("s", Literal[schema], 1),  # another schema does not fit, and is decoded in two steps
        ("t", int, 0),
        ("e", int, 0),
        ("c", str, ""),
        ("o", int, 0),
        ("p", struct),
    ]
    return msgspec.msgpack.Decoder(msgspec.defstruct(f"Body of {tag}", fields, gc=False, kw_only=True)).decode


_decode_whole = {tag: _whole_decoder(tag) for tag in FACTS}


@lru_cache(maxsize=4096)
def run_id_bytes(run_id: str) -> bytes:
    """The 16 bytes of a run id.

    Raises:
        ValueError: `run_id` is not a UUID.
    """
    return UUID(run_id).bytes


def encode_event(
    fact: Fact, *, run_id: str, version: int, previous: bytes, at_us: int, elapsed_ms: int, cause: str, epoch: int
) -> Stored:
    """Encode `fact` as the event that follows the one with hash `previous`.

    Never fails for a fact whose text passed `events.clean`.
    """
    if isinstance(fact, Opaque):
        tag, schema, payload = fact.tag, fact.schema, fact.payload
    else:
        tag = TAGS[type(fact)]
        schema = FACTS[tag][1]
        payload = _encode(fact)
    blob = None
    if len(payload) > BLOB_BYTES:
        digest = hashlib.sha256(payload).digest()
        blob = (digest, payload)
        ref = BlobRef(digest, len(payload), payload[:HEAD_BYTES])
        body = _encode(Body(schema, at_us, elapsed_ms, cause, epoch, b=ref))
    else:
        body = _encode(Body(schema, at_us, elapsed_ms, cause, epoch, msgspec.Raw(payload)))
    digest = chain_hash(previous, run_id_bytes(run_id), version, tag, body)
    event = Event(
        run_id=run_id,
        version=version,
        tag=tag,
        fact=fact,
        at_us=at_us,
        elapsed_ms=elapsed_ms,
        cause=cause,
        epoch=epoch,
        hash=digest,
    )
    return Stored(event, digest + body, previous, blob)


def decode_event(
    run_id: str, version: int, tag: str, state: bytes, *, position: int, blob: Callable[[bytes], bytes | None]
) -> Event:
    """Decode one stored event. `blob` fetches an out-of-line payload by its SHA-256, or returns None.

    A tag this version does not know, or a schema newer than its own, becomes `Opaque`.

    Raises:
        LogCorrupt: the bytes do not decode, or the blob is missing or not what its hash says.
    """
    body, fact = _open(run_id, version, tag, state, blob)
    return Event(
        run_id=run_id,
        version=version,
        tag=tag,
        fact=fact,
        position=position,
        at_us=body.t,
        elapsed_ms=body.e,
        cause=body.c,
        epoch=body.o,
        hash=state[:HASH_BYTES],
    )


def decode_fact(
    run_id: str, version: int, tag: str, state: bytes, *, blob: Callable[[bytes], bytes | None]
) -> tuple[Fact, int]:
    """As `decode_event`, for folds: the fact and the run's clock in milliseconds, without the rest of the envelope."""
    try:
        today = _decode_whole[tag](state[HASH_BYTES:])
    except Exception:  # an unknown tag, an older schema, a blob, or damage: the careful way says which
        body, fact = _open(run_id, version, tag, state, blob)
        return fact, body.e
    return today.p, today.e


def _open(
    run_id: str, version: int, tag: str, state: bytes, blob: Callable[[bytes], bytes | None]
) -> tuple[_Envelope, Fact]:
    whole = _decode_whole.get(tag)
    if whole is not None:
        try:
            today = whole(state[HASH_BYTES:])
        except Exception:  # an older schema, a blob, or damage: the careful way says which
            pass
        else:
            return today, today.p
    try:
        body = _decode_body(state[HASH_BYTES:])
        payload: bytes | msgspec.Raw = body.p
        if body.b is not None:
            found = blob(body.b.sha256)
            if found is None or hashlib.sha256(found).digest() != body.b.sha256:
                what = "missing" if found is None else "altered"
                raise LogCorrupt(run_id, version, f"blob {body.b.sha256.hex()} is {what}")
            payload = found
        return body, _decode_fact(tag, body.s, payload)
    except LogCorrupt:
        raise
    except Exception as error:  # msgspec raises plain UnicodeDecodeError and RecursionError too
        raise LogCorrupt(run_id, version, f"{tag} does not decode: {error}") from error


def _decode_fact(tag: str, schema: int, payload: bytes | msgspec.Raw) -> Fact:
    known = _decoders.get(tag)
    if known is None or schema > known[1]:
        return Opaque(tag=tag, schema=schema, payload=bytes(payload))
    decode, today = known
    if schema == today:
        return cast(Fact, decode(payload))
    struct = FACTS[tag][0]
    return cast(Fact, msgspec.convert(upcast(tag, schema, today, _decode_map(payload)), struct))


def verify_hash(event: Event, state: bytes, previous: bytes) -> None:
    """Check that `state` is what was hashed when the event was written after the one with hash `previous`.

    Raises:
        LogCorrupt: it is not: the event, its place, or an earlier event was altered.
    """
    want = chain_hash(previous, run_id_bytes(event.run_id), event.version, event.tag, state[HASH_BYTES:])
    if want != state[:HASH_BYTES]:
        raise LogCorrupt(event.run_id, event.version, "the hash chain is broken here")
