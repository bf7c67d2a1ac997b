"""AES-256-GCM from the `cryptography` package. Nothing here is cryptography of our own.

Each message gets a random nonce of 96 bits, which is safe for 2^32 messages under one key. A run has a key of its own,
and a run with four thousand million events would be some terabytes of log.
"""

from __future__ import annotations

import os

from ...errors import ExtraMissing
from ...ports import Cipher

KEY_BYTES = 32
NONCE_BYTES = 12


class AesGcm:
    """`ports.Cipher`: what it makes is nonce ‖ ciphertext ‖ tag, 28 bytes longer than the plain text.

    Raises:
        ExtraMissing: `cryptography` is not installed.
        ValueError: the key is not 32 bytes.
    """

    __slots__ = ("_aead", "_invalid")

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ExtraMissing("encryption", "encryption") from error
        if len(key) != KEY_BYTES:
            raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
        self._aead = AESGCM(key)
        self._invalid = InvalidTag

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """See `ports.Cipher.seal`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, place)

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        """See `ports.Cipher.unseal`."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (self._invalid, ValueError) as error:  # ValueError: too short to be anything
            raise ValueError("it does not open with this key in this place") from error


def cipher(key: bytes) -> Cipher:
    """The cipher of a key."""
    return AesGcm(key)
