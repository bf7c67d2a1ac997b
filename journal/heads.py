"""Anchors: what a journal held when somebody signed for it, and a running hash that is cheap to keep and hard to bend.

The running hash of a journal after position p is SHA-256 over (the hash after p-1, p, the hash of the event at p). That
hash covers the event and all earlier ones of its run, so one running hash covers every event, its run and its place.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any, Final

import msgspec

from ..errors import ExecutusError
from .placed import Placed

ENDING: Final = ".heads"
"""The anchors of `runs.db` are kept in `runs.db.heads`."""

NOTHING: Final = bytes(32)
"""The running hash of an empty journal, and what the first anchor says of the one before it."""

_PLACE = struct.Struct(">Q")
_SIGNED = struct.Struct(">QQQ32s32s")
_DOMAIN: Final = b"executus anchor 1\n"
MOST_LINE: Final = 4096
"""No line of anchors is longer."""


class NoAnchor(ExecutusError):
    """A line is no anchor."""


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What was signed: after `position` the journal's running hash was `digest`.

    at_us: the signer's wall clock. epoch: of the host. previous: the digest of the anchor before, or 32 zeros. key: the
    id of the key.
    """

    position: int
    digest: bytes
    at_us: int
    epoch: int
    previous: bytes
    key: str
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """What the signature is over."""
        numbers = _SIGNED.pack(self.position, self.epoch, self.at_us, self.digest, self.previous)
        return _DOMAIN + numbers + self.key.encode()

    @property
    def mark(self) -> bytes:
        """What the next anchor says of this one."""
        return hashlib.sha256(self.message + self.signature).digest()


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    anchor: int
    position: int
    digest: str
    at_us: int
    epoch: int
    previous: str
    key: str
    signature: str


_decode = msgspec.json.Decoder(_Line).decode


def advanced(digest: bytes, event: Placed) -> bytes:
    """The running hash after one more event."""
    found: Any = event.hash
    return hashlib.sha256(digest + _PLACE.pack(event.position) + (found if isinstance(found, bytes) else b"")).digest()


def line_of(anchor: Anchor) -> str:
    """The anchor as a line of JSON, without its end."""
    line = _Line(
        anchor=1,
        position=anchor.position,
        digest=anchor.digest.hex(),
        at_us=anchor.at_us,
        epoch=anchor.epoch,
        previous=anchor.previous.hex(),
        key=anchor.key,
        signature=base64.b64encode(anchor.signature).decode(),
    )
    return msgspec.json.encode(line).decode()


def anchor_of(line: bytes) -> Anchor:
    """The anchor in a line.

    Raises:
        NoAnchor: it is none, with the reason.
    """
    if len(line) > MOST_LINE:
        raise NoAnchor("it is too long")
    try:
        found = _decode(line)
        digest, previous = bytes.fromhex(found.digest), bytes.fromhex(found.previous)
        signature = base64.b64decode(found.signature, validate=True)
        numbers = (found.position, found.at_us, found.epoch)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise NoAnchor(f"it is no anchor: {error}") from error
    if found.anchor != 1:
        raise NoAnchor("it is of a newer version")
    if len(digest) != 32 or len(previous) != 32 or not all(0 <= one < 1 << 63 for one in numbers):
        raise NoAnchor("it is no anchor: numbers or hashes of a wrong size")
    return Anchor(
        position=found.position,
        digest=digest,
        at_us=found.at_us,
        epoch=found.epoch,
        previous=previous,
        key=found.key,
        signature=signature,
    )
