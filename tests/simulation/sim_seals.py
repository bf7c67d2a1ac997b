"""Keys in the simulated world. The cipher hides nothing from people; it opens only in its place, with its key."""

from __future__ import annotations

import msgspec

from executus.events import Seal, Withheld


class SimSeal:
    """One run's key. secret: what must be on the disk when the run is read."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.key = secret[:8]

    def seal(self, plain: bytes, place: bytes) -> bytes:
        return msgspec.msgpack.encode([self.secret, place, bytes(255 - byte for byte in plain)])

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        secret, where, hidden = msgspec.msgpack.decode(sealed)
        if (secret, where) != (self.secret, place):
            raise ValueError("another key, or another place")
        return bytes(255 - byte for byte in hidden)


def secret_of(run_id: str, epoch: int) -> bytes:
    """The key that a host makes for a run: another host would make another."""
    return f"{run_id[-6:]}{epoch:02}".encode()


def opening(keys: dict[str, bytes], run_id: str) -> Seal | Withheld:
    """What opens a run with the keys that are there."""
    secret = keys.get(run_id)
    return "locked" if secret is None else SimSeal(secret)
