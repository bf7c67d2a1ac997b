"""Events on the wire, and the frames of the live feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import LogCorrupt
from ..events import Content, Event, Fact, Opaque
from ..events.codec import fact_of, payload_of

FEED_BYTES: Final = 256 * 1024
"""A frame of the feed carries at most so many bytes of events: a larger event is only announced."""


class WireEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as it travels: its envelope, and its fact as the journal encodes it."""

    position: int
    run_id: str
    version: int
    tag: str
    schema: int
    payload: bytes
    at_us: int
    elapsed_ms: int
    cause: str
    epoch: int
    hash: bytes
    content: Content


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One message of the feed. boot: of the host. after: position of the event before these. last: of the newest event
    there is. Whoever stands before `after`, or after `events` before `last`, has to ask for what is missing.
    """

    boot: str
    after: int
    last: int
    events: tuple[WireEvent, ...] = ()


def on_the_wire(event: Event) -> WireEvent:
    """`event`, to be sent."""
    _, schema, payload = payload_of(event.fact)
    return WireEvent(
        event.position,
        event.run_id,
        event.version,
        event.tag,
        schema,
        payload,
        event.at_us,
        event.elapsed_ms,
        event.cause,
        event.epoch,
        event.hash,
        event.content,
    )


def off_the_wire(sent: WireEvent) -> Event:
    """The event that was sent.

    Raises:
        LogCorrupt: its fact does not decode.
    """
    try:
        fact: Fact
        if sent.schema < 0:  # what the host itself could not decode
            fact = Opaque(tag=sent.tag, schema=sent.schema, payload=sent.payload)
        else:
            fact = fact_of(sent.tag, sent.schema, sent.payload)
    except Exception as error:  # msgspec raises plain UnicodeDecodeError and RecursionError too
        raise LogCorrupt(sent.run_id, sent.version, f"{sent.tag} does not decode: {error}") from error
    return Event(
        run_id=sent.run_id,
        version=sent.version,
        tag=sent.tag,
        fact=fact,
        position=sent.position,
        at_us=sent.at_us,
        elapsed_ms=sent.elapsed_ms,
        cause=sent.cause,
        epoch=sent.epoch,
        hash=sent.hash,
        content=sent.content,
    )


def size_of(sent: WireEvent) -> int:
    """About how many bytes it has on the wire."""
    return len(sent.payload) + len(sent.cause) + len(sent.tag) + 128


def frames_of(boot: str, after: int, events: Sequence[Event], most: int = FEED_BYTES) -> list[Frame]:
    """The frames that tell of `events`, which follow the one at `after`; those that are too large are left out."""
    frames: list[Frame] = []
    some: list[WireEvent] = []
    size, last = 0, after
    for event in events:
        sent = on_the_wire(event)
        bytes_of_it = size_of(sent)
        if some and size + bytes_of_it > most:
            frames.append(Frame(boot, after, last, tuple(some)))
            after, some, size = last, [], 0
        if bytes_of_it > most:  # announced: whoever wants it asks
            frames.append(Frame(boot, after, event.position))
            after = last = event.position
            continue
        some.append(sent)
        size += bytes_of_it
        last = event.position
    if some:
        frames.append(Frame(boot, after, last, tuple(some)))
    return frames


encode_frame = msgspec.msgpack.Encoder().encode
decode_frame = msgspec.msgpack.Decoder(Frame).decode
