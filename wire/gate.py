"""Who is let in with what: every frame that comes to a host passes here, and nothing else does. Pure but for its
memory of nonces and rates: clocks are passed in. One frame at a time.
"""

from __future__ import annotations

import heapq
import hmac
from collections.abc import Hashable, Iterable
from typing import Final

import msgspec

from .buckets import Buckets
from .requests import FRAME_BYTES, URGENT, VERSION, AnyRequest, Hello, Kind, Order, Refused
from .rights import may
from .signing import EARLY_US, NONCE_BYTES, WINDOW_US, Signed, decode_signed, key_of, mac_of
from .terms import Grant

ORDERS_A_SECOND: Final = 20.0
READS_A_SECOND: Final = 500.0
"""Of all requests that are no orders."""
NONCES: Final = 65_536
"""Nonces remembered at most of a grant's orders, and as many of its other requests; when all are of open windows, no
more of these is let in until one closes.
"""
HELLOS_A_SECOND: Final = 20.0

_decode_request = msgspec.msgpack.Decoder(AnyRequest).decode
_NOBODY: Final = bytes(32)


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in. grant: whose; None for the one that needs no token."""

    grant: Grant | None
    request: AnyRequest


class Turned(msgspec.Struct, frozen=True):
    """One that was not. grant, request: whose and which, as far as that is known for certain."""

    reply: Refused
    grant: Grant | None = None
    request: AnyRequest | None = None


class Gate:
    """Lets requests in, for one opening `boot` of a host."""

    def __init__(self, boot: str, grants: Iterable[Grant]) -> None:
        self._boot = boot
        self._grants: dict[str, tuple[Grant, bytes]] = {}
        for grant in grants:
            self._grants[grant.name] = (grant, key_of(grant.token))
        # Of what was let in only. By grant, and orders for themselves: a flood of questions keeps no kill out.
        self._nonces = {(name, order): _Nonces() for name in self._grants for order in (False, True)}
        self._orders = Buckets(ORDERS_A_SECOND, 2 * ORDERS_A_SECOND)
        self._reads = Buckets(READS_A_SECOND, 2 * READS_A_SECOND)
        self._hellos = Buckets(HELLOS_A_SECOND, 5 * HELLOS_A_SECOND)

    def admit(self, frame: bytes, peer: Hashable, now_us: int) -> Admitted | Turned:
        """Look at one frame of `peer`, at the time that the host tells its clients."""
        if len(frame) > FRAME_BYTES:
            return Turned(_no("oversize", f"a request has at most {FRAME_BYTES:,} bytes"))
        try:
            signed = decode_signed(frame)
        except Exception:  # msgspec raises plain UnicodeDecodeError and RecursionError too
            return Turned(_no("malformed", "this is no request"))
        if signed.version != VERSION:
            why = f"this host speaks version {VERSION} of the protocol, not {signed.version}"
            return Turned(_no("version", why))
        if not signed.grant and not signed.mac:
            return self._unsigned(signed, peer, now_us)
        grant = self._signer(signed, now_us)
        if isinstance(grant, Refused):
            return Turned(grant)
        request = _request_of(signed.body)
        if isinstance(request, Refused):
            return Turned(request, grant)
        if not may(grant.role, request.needs):
            asked = type(request).__struct_config__.tag
            why = f"grant {grant.name!r} is a {grant.role}'s; {asked} needs a {request.needs}'s"
            return Turned(_no("forbidden", why), grant, request)
        nonces = self._nonces[grant.name, isinstance(request, Order)]
        if nonces.are_full(now_us):
            return Turned(_no("busy", "too many requests at once; ask again in a moment"), grant, request)
        if not self._is_in_time(request, grant, peer, now_us / 1e6):
            return Turned(_no("too-many", "too many requests; ask more slowly"), grant, request)
        nonces.add(signed.nonce, signed.until_us)
        return Admitted(grant, request)

    def _unsigned(self, signed: Signed, peer: Hashable, now_us: int) -> Admitted | Turned:
        request = _request_of(signed.body)
        if isinstance(request, Refused):
            return Turned(request)
        if not isinstance(request, Hello):
            return Turned(_no("unauthenticated", "this needs a token"))
        if not self._hellos.take(peer, now_us / 1e6):
            return Turned(_no("too-many", "too many requests; ask more slowly"))
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
        if any(signed.nonce in self._nonces[grant.name, order] for order in (False, True)):
            return _no("replayed", "this very request came before")
        return grant

    def _is_in_time(self, request: AnyRequest, grant: Grant, peer: Hashable, now_s: float) -> bool:
        if isinstance(request, URGENT):
            return True
        buckets = self._orders if isinstance(request, Order) else self._reads
        return buckets.take((grant.name, peer), now_s)


class _Nonces:
    """Those of requests whose windows are open: each is let in once."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._closing: list[tuple[int, bytes]] = []

    def __contains__(self, nonce: bytes) -> bool:
        return nonce in self._seen

    def are_full(self, now_us: int) -> bool:
        """Forget those whose windows are closed, and say whether there is room for no more."""
        while self._closing and self._closing[0][0] < now_us:
            self._seen.discard(heapq.heappop(self._closing)[1])
        return len(self._seen) >= NONCES

    def add(self, nonce: bytes, until_us: int) -> None:
        """Remember one until its window closes."""
        self._seen.add(nonce)
        heapq.heappush(self._closing, (until_us, nonce))


def _request_of(body: bytes) -> AnyRequest | Refused:
    try:
        request: AnyRequest = _decode_request(body)
    except Exception as error:
        return _no("malformed", f"this is no request: {_said(error)}")
    return request


def _said(error: Exception) -> str:
    """What is wrong with it, for the one who wrote it. It may hold words of the request: mask it before it is kept."""
    return str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__


def _no(kind: Kind, why: str) -> Refused:
    return Refused(kind=kind, why=why)
