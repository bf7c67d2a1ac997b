"""Facts <-> the bytes a journal stores; the only place that knows the encoding.

What a journal keeps of an event is (run id, version, tag, state) with `state = hash ‖ body`: 32 bytes of chain
hash, then a msgpack map of the envelope with the payload inside. The tag stands outside, the schema version in the
envelope. A payload over `BLOB_BYTES` is kept out of line under its SHA-256; the envelope carries hash, size and head.

The payload of a sealed run is encrypted, bound to its place and to all of the envelope; beside it stands the fact's
skeleton in the clear (`events.erasing`), which is what remains when the key is destroyed. A fact that is nothing but
skeleton is stored as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Protocol, cast
from uuid import UUID

import msgspec

from ..errors import JournalError, LogCorrupt
from .envelope import Event, chain_hash
from .erasing import erased
from .erasure import ContentErased
from .facts import Fact, Opaque
from .registry import FACTS, TAGS
from .sealing import Content, Opener, Seal, Withheld
from .upcasts import upcast

BLOB_BYTES = 64 * 1024
HEAD_BYTES = 256
HASH_BYTES = 32


class BlobRef(msgspec.Struct, frozen=True, gc=False):
    """Where a large payload is: SHA-256 (32 bytes), size in bytes, and its first bytes, none of sealed ones."""

    sha256: bytes
    size: int
    head: bytes


class Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The stored part of an envelope. One-letter keys: they are paid for in every event."""

    k: bytes = b""
    """id of the key of a sealed payload; first, so that a sealed event is known at a glance"""
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
    """payload, a msgpack map; absent when `b` is given, and when sealed"""
    b: BlobRef | None = None
    z: msgspec.Raw = msgspec.Raw()
    """skeleton of a sealed payload, as `p`"""
    x: bytes = b""
    """the sealed payload; absent when `y` is given"""
    y: BlobRef | None = None


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An event as a journal keeps it, with the blob it needs, if any, as (sha256, bytes).

    previous: the hash of the event that it follows. key: the id of the key that sealed it, b"" for none.
    """

    event: Event
    state: bytes
    previous: bytes
    blob: tuple[bytes, bytes] | None = None
    key: bytes = b""


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
    fact: Fact,
    *,
    run_id: str,
    version: int,
    previous: bytes,
    at_us: int,
    elapsed_ms: int,
    cause: str,
    epoch: int,
    seal: Seal | Withheld | None = None,
) -> Stored:
    """Encode `fact` as the event that follows the one with hash `previous`.

    seal: the run's key, None to store it in the clear. Of a sealed run whose key is not here only the skeleton is
    stored, so that nothing of it is ever in the clear. Never fails for a fact whose text passed `events.clean`.
    """
    skeleton = None
    if seal is not None and type(fact) is not ContentErased:
        skeleton = erased(fact)
        if isinstance(seal, str):
            fact, skeleton = skeleton, None
        elif skeleton is fact:
            skeleton = None
    tag, schema, payload = payload_of(fact)
    run = run_id_bytes(run_id)
    blob, key = None, b""
    if skeleton is not None:
        assert seal is not None
        assert not isinstance(seal, str)
        key, bare = seal.key, msgspec.Raw(payload_of(skeleton)[2])
        place = _encode((run, version, tag, schema, key, at_us, elapsed_ms, cause, epoch, bare))
        sealed = seal.seal(payload, place)
        if len(sealed) > BLOB_BYTES:
            digest = hashlib.sha256(sealed).digest()
            blob = (digest, sealed)
            ref = BlobRef(digest, len(sealed), b"")
            body = _encode(Body(key, schema, at_us, elapsed_ms, cause, epoch, z=bare, y=ref))
        else:
            body = _encode(Body(key, schema, at_us, elapsed_ms, cause, epoch, z=bare, x=sealed))
    elif len(payload) > BLOB_BYTES:
        digest = hashlib.sha256(payload).digest()
        blob = (digest, payload)
        ref = BlobRef(digest, len(payload), payload[:HEAD_BYTES])
        body = _encode(Body(b"", schema, at_us, elapsed_ms, cause, epoch, b=ref))
    else:
        body = _encode(Body(b"", schema, at_us, elapsed_ms, cause, epoch, msgspec.Raw(payload)))
    digest = chain_hash(previous, run, version, tag, body)
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
        content="sealed" if key else "clear",
    )
    return Stored(event, digest + body, previous, blob, key)


def payload_of(fact: Fact) -> tuple[str, int, bytes]:
    """(tag, schema, payload) of a fact."""
    if isinstance(fact, Opaque):
        return fact.tag, fact.schema, fact.payload
    tag = TAGS[type(fact)]
    return tag, FACTS[tag][1], _encode(fact)


def _place(run_id: str, version: int, tag: str, body: Body) -> bytes:
    """What a sealed payload is bound to: its run, version, tag, schema, key, envelope and skeleton."""
    return _encode((run_id_bytes(run_id), version, tag, body.s, body.k, body.t, body.e, body.c, body.o, body.z))


_SEALED = b"\xa1k"
"""The first key of a sealed body, after the byte that begins the map."""


def decode_event(
    run_id: str,
    version: int,
    tag: str,
    state: bytes,
    *,
    position: int,
    blob: Callable[[bytes], bytes | None],
    opener: Opener | None = None,
) -> Event:
    """Decode one stored event. `blob` fetches an out-of-line payload by its SHA-256, or returns None. `opener` has the
    keys of sealed ones; without it they are locked.

    A tag this version does not know, or a schema newer than its own, becomes `Opaque`.

    Raises:
        LogCorrupt: the bytes do not decode, the blob is missing or not what its hash says, or sealed content does not
            open: altered, moved, or another key.
    """
    body, fact, content = _open(run_id, version, tag, state, blob, opener)
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
        content=content,
    )


def decode_fact(
    run_id: str,
    version: int,
    tag: str,
    state: bytes,
    *,
    blob: Callable[[bytes], bytes | None],
    opener: Opener | None = None,
) -> tuple[Fact, int]:
    """As `decode_event`, for folds: the fact and the run's clock in milliseconds, without the rest of the envelope."""
    if opener is None or state[HASH_BYTES + 1 : HASH_BYTES + 3] != _SEALED:
        try:
            today = _decode_whole[tag](state[HASH_BYTES:])
        except Exception:  # an unknown tag, an older schema, a blob, a seal, or damage: the careful way says which
            pass
        else:
            return today.p, today.e
    body, fact, _ = _open(run_id, version, tag, state, blob, opener)
    return fact, body.e


def _open(
    run_id: str,
    version: int,
    tag: str,
    state: bytes,
    blob: Callable[[bytes], bytes | None],
    opener: Opener | None,
) -> tuple[_Envelope, Fact, Content]:
    whole = _decode_whole.get(tag)
    if whole is not None and not (opener is not None and state[HASH_BYTES + 1 : HASH_BYTES + 3] == _SEALED):
        try:
            today = whole(state[HASH_BYTES:])
        except Exception:  # an older schema, a blob, a seal, or damage: the careful way says which
            pass
        else:
            return today, today.p, "clear"
    try:
        body = _decode_body(state[HASH_BYTES:])
        if body.k:
            return _open_sealed(run_id, version, tag, body, blob, opener)
        payload: bytes | msgspec.Raw = body.p
        if body.b is not None:
            payload = _fetched(run_id, version, body.b, blob)
        return body, fact_of(tag, body.s, payload), "clear"
    except JournalError:
        raise
    except Exception as error:  # msgspec raises plain UnicodeDecodeError and RecursionError too
        raise LogCorrupt(run_id, version, f"{tag} does not decode: {error}") from error


def _fetched(run_id: str, version: int, ref: BlobRef, blob: Callable[[bytes], bytes | None]) -> bytes:
    found = blob(ref.sha256)
    if found is None or hashlib.sha256(found).digest() != ref.sha256:
        what = "missing" if found is None else "altered"
        raise LogCorrupt(run_id, version, f"blob {ref.sha256.hex()} is {what}")
    return found


def _open_sealed(
    run_id: str, version: int, tag: str, body: Body, blob: Callable[[bytes], bytes | None], opener: Opener | None
) -> tuple[Body, Fact, Content]:
    seal = "locked" if opener is None else opener(run_id, body.k)
    if isinstance(seal, str):  # the blob of an erased run is gone too
        return body, fact_of(tag, body.s, body.z), seal
    sealed = body.x if body.y is None else _fetched(run_id, version, body.y, blob)
    try:
        payload = seal.unseal(sealed, _place(run_id, version, tag, body))
    except ValueError as error:
        why = f"the sealed content of {tag} does not open: it was altered or moved, or was sealed with another key"
        raise LogCorrupt(run_id, version, why) from error
    return body, fact_of(tag, body.s, payload), "sealed"


def sealed_blob(state: bytes) -> tuple[bytes, bytes | None]:
    """(key id, SHA-256 of the blob) of a stored event: b"" for one in the clear, None for one in line.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it is damaged.
    """
    body = _decode_body(state[HASH_BYTES:])
    return body.k, None if body.y is None else body.y.sha256


def fact_of(tag: str, schema: int, payload: bytes | msgspec.Raw) -> Fact:
    """The fact that was encoded as `payload_of` says; of a tag or schema that is not known here, `Opaque`.

    Raises:
        Exception: whatever msgspec raises when the bytes are none of such a fact.
    """
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
