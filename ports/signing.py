"""The port of who signs what a journal holds."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Signer(Protocol):
    """Signs anchors (see docs/evidence.md). Asked on a thread of its own, so that it may be far away and slow."""

    @property
    def key_id(self) -> str:
        """Names the key: at most 64 characters, the same for ever."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """The signature of `message`. What it raises is logged, and it is asked again later."""
        ...

    def verify(self, message: bytes, signature: bytes, /) -> bool:
        """Whether the signature is of this key."""
        ...


class Verifier(Protocol):
    """Knows the public half of a key."""

    @property
    def key_id(self) -> str:
        """See `Signer`."""
        ...

    def verify(self, message: bytes, signature: bytes, /) -> bool:
        """See `Signer`."""
        ...


class AnchorSink(Protocol):
    """Where a host puts anchors out of reach of whoever has the journal."""

    def __call__(self, line: str, /) -> None:
        """Keep one anchor, a line of JSON. What it raises is logged, and it is told again later."""
        ...
