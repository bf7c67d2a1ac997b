"""Who is let in with what: every frame that comes to a host passes here, and nothing else does. Pure but for its
memory of nonces and rates: clocks are passed in. One frame at a time.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from .buckets import Buckets
from .requests import FRAME_BYTES, READS, URGENT, VERSION, AnyRequest, Hello, Kind, Order, Refused
from .rights import may
from .signing import EARLY_US, NONCE_BYTES, WINDOW_US, Signed, decode_signed, key_of, mac_of
from .terms import Grant

ORDERS_A_SECOND: Final = 20.0
READS_A_SECOND: Final = 500.0
NONCES: Final = 65_536
"""Nonces remembered at most; when all are of open windows, nothing more is let in until one closes."""
HELLOS_A_SECOND: Final = 20.0

_decode_request = msgspec.msgpack.Decoder(AnyRequest).decode
_NOBODY: Final = bytes(32)


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in. grant: whose; None for the one that needs no token."""

    grant: Grant | None
    request: AnyRequest


class Gate:
    """Lets requests in, for one opening `boot` of a host."""

    def __init__(self, boot: str, grants: Iterable[Grant]) -> None:
        self._boot = boot
        self._grants: dict[str, tuple[Grant, bytes]] = {}
        for grant in grants:
            self._grants[grant.name] = (grant, key_of(grant.token))
        self._seen: set[bytes] = set()
        self._closing: deque[tuple[int, bytes]] = deque()
        self._orders = Buckets(ORDERS_A_SECOND, 2 * ORDERS_A_SECOND)
        self._reads = Buckets(READS_A_SECOND, 2 * READS_A_SECOND)
        self._hellos = Buckets(HELLOS_A_SECOND, 5 * HELLOS_A_SECOND)

    def admit(self, frame: bytes, peer: int, now_us: int) -> Admitted | Refused:
        """Look at one frame from the connection `peer` at the host's wall clock."""
        if len(frame) > FRAME_BYTES:
            return _no("oversize", f"a request has at most {FRAME_BYTES:,} bytes")
        try:
            signed = decode_signed(frame)
        except Exception:  # msgspec raises plain UnicodeDecodeError and RecursionError too
            return _no("malformed", "this is no request")
        if signed.version != VERSION:
            return _no("version", f"this host speaks version {VERSION} of the protocol, not {signed.version}")
        if not signed.grant and not signed.mac:
            return self._unsigned(signed, peer, now_us)
        grant = self._signer(signed, now_us)
        if isinstance(grant, Refused):
            return grant
        request = _request_of(signed.body)
        if isinstance(request, Refused):
            return request
        if not may(grant.role, request.needs):
            asked = msgspec.to_builtins(request)["ask"]
            return _no("forbidden", f"grant {grant.name!r} is a {grant.role}'s; {asked} needs a {request.needs}'s")
        if not self._is_in_time(request, grant, peer, now_us / 1e6):
            return _no("too-many", "too many requests; ask more slowly")
        return Admitted(grant, request)

    def _unsigned(self, signed: Signed, peer: int, now_us: int) -> Admitted | Refused:
        request = _request_of(signed.body)
        if isinstance(request, Refused):
            return request
        if not isinstance(request, Hello):
            return _no("unauthenticated", "this needs a token")
        if not self._hellos.take(peer, now_us / 1e6):
            return _no("too-many", "too many requests; ask more slowly")
        return Admitted(None, request)

    def _signer(self, signed: Signed, now_us: int) -> Grant | Refused:
        """Whose request it is. The same work for a grant that is not known, so that time tells nothing."""
        grant, key = self._grants.get(signed.grant, (None, _NOBODY))
        try:
            mac = mac_of(key, self._boot, signed.grant, signed.nonce, signed.issued_us, signed.until_us, signed.body)
        except Exception:  # a time outside 64 bits, a name that is no text
            return _no("malformed", "this is no request")
        if not hmac.compare_digest(mac, signed.mac) or grant is None or len(signed.nonce) != NONCE_BYTES:
            return _no("unauthenticated", "the token is wrong, or was not signed for this opening of the host")
        if signed.until_us < now_us or signed.until_us - signed.issued_us > WINDOW_US:
            return _no("expired", "this request is too old; are the clocks right?")
        if signed.issued_us > now_us + EARLY_US:
            return _no("expired", "this request is of the future; are the clocks right?")
        return self._once(signed, grant, now_us)

    def _once(self, signed: Signed, grant: Grant, now_us: int) -> Grant | Refused:
        while self._closing and self._closing[0][0] < now_us:
            self._seen.discard(self._closing.popleft()[1])
        if signed.nonce in self._seen:
            return _no("replayed", "this very request came before")
        if len(self._seen) >= NONCES:
            return _no("busy", "too many requests at once; ask again in a moment")
        self._seen.add(signed.nonce)
        # Until the last moment at which its window may be open, so that the queue is in order.
        self._closing.append((max(now_us + WINDOW_US + EARLY_US, signed.until_us), signed.nonce))
        return grant

    def _is_in_time(self, request: AnyRequest, grant: Grant, peer: int, now_s: float) -> bool:
        if isinstance(request, URGENT):
            return True
        if isinstance(request, Order):
            return self._orders.take((grant.name, peer), now_s)
        if isinstance(request, READS):
            return self._reads.take((grant.name, peer), now_s)
        return True


def _request_of(body: bytes) -> AnyRequest | Refused:
    try:
        request: AnyRequest = _decode_request(body)
    except Exception as error:
        return _no("malformed", f"this is no request: {_said(error)}")
    return request


def _said(error: Exception) -> str:
    """What is wrong with it, for the one who wrote it; bounded."""
    return str(error)[:200] if isinstance(error, msgspec.MsgspecError) else type(error).__name__


def _no(kind: Kind, why: str) -> Refused:
    return Refused(kind=kind, why=why)
