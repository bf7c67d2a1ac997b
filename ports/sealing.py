"""The port to keys: who wraps a journal's keys, and the cipher that works with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec


@runtime_checkable
class KeySource(Protocol):
    """The host's own key, outside the journal's folder: a key service, a key file, the environment.

    It wraps one key per journal, at the first opening and at a rotation, and unwraps it at each opening. An attribute
    `key_id` (text), if there is one, is kept beside the wrapped key and named in errors.
    """

    def wrap(self, key: bytes) -> bytes:
        """Encrypt `key` (32 bytes) so that only `unwrap` can get it back."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """What `wrap` was given. Any exception means that this source cannot, and is told to whoever opens."""
        ...


class Cipher(Protocol):
    """Authenticated encryption with one key. Thread-safe."""

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Encrypt `plain`, bound to `place`, with a nonce of its own."""
        ...

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt what `seal` made for the same `place`.

        Raises:
            ValueError: another key, another place, or altered bytes.
        """
        ...


class Encryption(msgspec.Struct, frozen=True):
    """How a journal's content is sealed. cipher: makes the cipher of a key of 32 bytes."""

    source: KeySource
    cipher: Callable[[bytes], Cipher]
