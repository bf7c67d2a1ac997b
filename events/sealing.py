"""What the pure core knows of encryption: a run's key as something that seals and opens, and why it may be missing.

Also here: how a file of a sealed run is framed, so that whoever finds it knows which key opens it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

Withheld: TypeAlias = Literal["locked", "erased"]
"""Why sealed content cannot be shown. locked: its key is not here. erased: its key was destroyed, for ever."""

Content: TypeAlias = Literal["clear", "sealed"] | Withheld
"""How the content of an event was stored and read. clear: as it is. sealed: encrypted, and opened here."""


class Seal(Protocol):
    """The key of one run at work. Thread-safe."""

    @property
    def key(self) -> bytes:
        """The id of the key, 8 bytes; says nothing about the key."""
        ...

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Encrypt `plain`, bound to `place`: it opens there and nowhere else."""
        ...

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt what `seal` returned for the same `place`.

        Raises:
            ValueError: another key, another place, or altered bytes.
        """
        ...


Opener: TypeAlias = Callable[[str, bytes], Seal | Withheld]
"""Run id and key id -> what opens content sealed with that key, or why nothing does."""

_MARK: Final = b"executus sealed 1\n"
_RUN_BYTES: Final = 16
_KEY_BYTES: Final = 8
_HEAD_BYTES: Final = len(_MARK) + _RUN_BYTES + _KEY_BYTES
_PLACE: Final = b"executus: a file of a run"


def sealed_file(content: bytes, run_id: str, seal: Seal) -> bytes:
    """`content` as a store is given it: mark, run id and key id, and the sealed bytes."""
    head = UUID(run_id).bytes + seal.key
    return _MARK + head + seal.seal(content, _PLACE + head)


def key_of_file(stored: bytes) -> tuple[str, bytes] | None:
    """(run id, key id) of what `sealed_file` made; None for anything else."""
    if not stored.startswith(_MARK) or len(stored) < _HEAD_BYTES:
        return None
    head = stored[len(_MARK) : _HEAD_BYTES]
    return str(UUID(bytes=head[:_RUN_BYTES])), head[_RUN_BYTES:]


def opened_file(stored: bytes, seal: Seal) -> bytes:
    """The content of what `sealed_file` made.

    Raises:
        ValueError: another key, another run, or altered bytes.
    """
    return seal.unseal(stored[_HEAD_BYTES:], _PLACE + stored[len(_MARK) : _HEAD_BYTES])
