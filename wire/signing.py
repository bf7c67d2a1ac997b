"""Signed requests: a MAC over the host's boot, a nonce, a time window and the request, under the grant's key.

The token itself never travels. What was signed for one opening of a host is worth nothing for the next one, and within
one the nonce is remembered for as long as the window is open.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Annotated, Final

import msgspec

NONCE_BYTES: Final = 16
TOKEN_BYTES: Final = 32
WINDOW_US: Final = 30_000_000
"""How long a signed request may be on its way."""
EARLY_US: Final = 5_000_000
"""How far a client's clock may be ahead."""


class Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What travels: `body` is the encoded request. Times are wall clock, microseconds since 1970 UTC."""

    version: int
    grant: Annotated[str, msgspec.Meta(max_length=64)]
    nonce: Annotated[bytes, msgspec.Meta(max_length=NONCE_BYTES)]
    issued_us: int
    until_us: int
    body: bytes
    mac: Annotated[bytes, msgspec.Meta(max_length=32)]


_PLACE = struct.Struct(">qqHH")

encode_signed = msgspec.msgpack.Encoder().encode
decode_signed = msgspec.msgpack.Decoder(Signed).decode


def new_token(grant: str) -> str:
    """A token for a grant: its name, and 256 bits."""
    return f"{grant}.{secrets.token_urlsafe(TOKEN_BYTES)}"


def grant_of(token: str) -> str:
    """The name of the grant that a token is of."""
    return token.rpartition(".")[0]


def key_of(token: str) -> bytes:
    """With what requests are signed; a host keeps this and not the token."""
    return hashlib.sha256(b"executus grant\x00" + token.encode()).digest()


def mac_of(key: bytes, boot: str, grant: str, nonce: bytes, issued_us: int, until_us: int, body: bytes) -> bytes:
    """HMAC-SHA256. Lengths are within, so that no two requests feed the same bytes."""
    host, name = boot.encode(), grant.encode()
    place = _PLACE.pack(issued_us, until_us, len(host), len(name))
    return hmac.digest(key, b"".join((place, host, name, nonce.ljust(NONCE_BYTES, b"\x00"), body)), "sha256")


def signed(key: bytes, boot: str, grant: str, issued_us: int, body: bytes, *, version: int) -> bytes:
    """The frame that asks `body`, for one sending."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    until_us = issued_us + WINDOW_US
    mac = mac_of(key, boot, grant, nonce, issued_us, until_us, body)
    return encode_signed(Signed(version, grant, nonce, issued_us, until_us, body, mac))


def unsigned(body: bytes, *, version: int) -> bytes:
    """The frame of a request that needs no token."""
    return encode_signed(Signed(version, "", b"", 0, 0, body, b""))
