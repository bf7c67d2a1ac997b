"""What tests of the wire send: one valid request of each kind, frames signed as they like, and sockets that speak the
protocol of the library without it.
"""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import msgspec

from executus.wire import requests
from executus.wire.requests import VERSION, AnyReply, AnyRequest, Order, Request
from executus.wire.signing import NONCE_BYTES, WINDOW_US, Signed, encode_signed, key_of, mac_of

KINDS: tuple[type[Request], ...] = get_args(AnyRequest)
RUN = "01234567-89ab-7cde-8f01-23456789abcd"
SEVERAL_S = 10.0

decode_reply = msgspec.msgpack.Decoder(AnyReply).decode
encode = msgspec.msgpack.Encoder().encode

_FIELDS: dict[str, dict[str, Any]] = {
    "run": {"run": RUN},
    "read": {"run": RUN},
    "standing": {"run": RUN},
    "outcome": {"id": "0" * 32},
    "steer": {"text": "Slow down."},
    "send": {"text": "And then?"},
    "approve": {"call": "call-1"},
    "deny": {"call": "call-1", "reason": "No."},
    "extend": {"seconds": 5.0, "reason": "More."},
    "raise": {"more": 3.0, "limit": "steps"},
    "cancel": {"reason": "Enough."},
    "kill": {"reason": "Enough."},
    "start": {"agent": "holding", "input": "Begin."},
    "next-review": {"critic": "outside", "wait_s": 0.0},
    "give-review": {"critic": "outside", "review": "0" * 32, "verdict": '{"verdict":"continue"}'},
}


def tag_of(kind: type[Request]) -> str:
    """By which a request is known on the wire."""
    return str(kind.__struct_config__.tag)


def valid(kind: type[Request], **fields: Any) -> Any:
    """A request of this kind that passes every check; an order with an id of its own."""
    given = dict(_FIELDS.get(tag_of(kind), {}))
    if issubclass(kind, Order):
        given["id"] = uuid.uuid4().hex
    if issubclass(kind, requests.RunOrder):
        given["run"] = RUN
    return msgspec.convert({"ask": tag_of(kind), **given, **fields}, kind)


def frame(
    body: Request | bytes,
    *,
    token: str,
    boot: str,
    now_us: int,
    grant: str | None = None,
    nonce: bytes | None = None,
    window_us: int = WINDOW_US,
    version: int = VERSION,
) -> bytes:
    """A frame that asks `body`, signed with the token's key."""
    body = body if isinstance(body, bytes) else encode(body)
    name = token.rpartition(".")[0] if grant is None else grant
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    mac = mac_of(key_of(token), boot, name, nonce, now_us, now_us + window_us, body)
    return encode_signed(Signed(version, name, nonce, now_us, now_us + window_us, body, mac))


@contextmanager
def short_room() -> Iterator[str]:
    """A private directory whose path is short enough for sockets, in which hosts are found."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="ex", ignore_cleanup_errors=True) as room:
        os.environ["XDG_RUNTIME_DIR"] = room
        try:
            yield room
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before


class RawAsker:
    """Speaks to a host's control socket byte by byte, as the library's protocol has it."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SEVERAL_S)
        self._socket.connect(address.removeprefix("ipc://"))
        self._socket.sendall(b"\x00SP\x00\x00\x30\x00\x00")
        assert self._receive(8)[:4] == b"\x00SP\x00"
        self._number = 0

    def send(self, body: bytes) -> None:
        """Send one question."""
        self._number += 1
        whole = struct.pack(">I", 0x80000000 | self._number) + body
        self._socket.sendall(b"\x01" + struct.pack(">Q", len(whole)) + whole)

    def take(self) -> Any:
        """The next answer.

        Raises:
            ConnectionError: the host hung up.
        """
        kind, size = struct.unpack(">BQ", self._receive(9))
        assert kind == 1
        return decode_reply(self._receive(size)[4:])

    def ask(self, body: bytes) -> Any:
        """Send one and take its answer."""
        self.send(body)
        return self.take()

    def _receive(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            some = self._socket.recv(size - len(found))
            if not some:
                raise ConnectionError("the host hung up")
            found += some
        return found

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> RawAsker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def eventually(holds: Any) -> None:
    """Wait until `holds()` is true.

    Raises:
        AssertionError: it is not within `SEVERAL_S` seconds.
    """
    until = time.monotonic() + SEVERAL_S
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.01)
