"""Ed25519 keys that sign for a journal, from the `cryptography` package (extra `signing`), and `Signing`, what a host
says about it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ExtraMissing
from ..ports.signing import AnchorSink, Signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

RAW_BYTES = 32


class PublicKey:
    """The public half of an Ed25519 key. given: PEM, 32 raw bytes, or the path of a PEM file, which may also hold the
    private half.

    Raises:
        ExtraMissing: `cryptography` is not installed.
        ValueError: it is no such key.
        OSError: the file cannot be read.
    """

    def __init__(self, given: bytes | str | os.PathLike[str]) -> None:
        self._key = _public(_content(given))
        self.key_id = hashlib.sha256(self._key.public_bytes_raw()).hexdigest()[:16]

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See `ports.signing.Verifier`."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """`ports.signing.Signer` with a key at hand. given: PEM, 32 raw bytes, or the path of a PEM file.

    Raises:
        ExtraMissing: `cryptography` is not installed.
        ValueError: it is no such key.
        OSError: the file cannot be read.
    """

    def __init__(self, given: bytes | str | os.PathLike[str]) -> None:
        self._key = _private(_content(given))
        self._public = PublicKey(self._key.public_key().public_bytes_raw())
        self.key_id = self._public.key_id

    def sign(self, message: bytes) -> bytes:
        """See `ports.signing.Signer`."""
        return self._key.sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See `ports.signing.Verifier`."""
        return self._public.verify(message, signature)

    def __repr__(self) -> str:
        return f"PrivateKey(key_id={self.key_id!r})"


class RemoteKey:
    """`ports.signing.Signer` with its private half elsewhere: `sign` asks for signatures."""

    def __init__(self, sign: Callable[[bytes], bytes], public: PublicKey) -> None:
        self._sign = sign
        self._public = public
        self.key_id = public.key_id

    def sign(self, message: bytes) -> bytes:
        """See `ports.signing.Signer`."""
        return self._sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See `ports.signing.Verifier`."""
        return self._public.verify(message, signature)


@dataclass(frozen=True)
class Signing:
    """How a host signs for its journal, for `Runtime(signing=…)`.

    key: the private key as PEM, 32 raw bytes, or the path of a PEM file; a function that signs bytes elsewhere (then
    `public_key` is needed, PEM, raw or a path); or a `Signer`. every_events, every_s: an anchor is signed after so many
    events, or so many seconds if there was any, and at the end. sink: a function that is told each anchor, a line of
    JSON, or the path of a file to which they are appended: keep it where whoever has the journal cannot write.
    """

    key: bytes | str | os.PathLike[str] | Callable[[bytes], bytes] | Signer = field(repr=False)
    public_key: bytes | str | os.PathLike[str] | None = None
    every_events: int = 1_000
    every_s: float = 10.0
    sink: AnchorSink | str | os.PathLike[str] | None = None

    def signer(self) -> Signer:
        """Who signs.

        Raises:
            ExtraMissing, TypeError, ValueError, OSError: the key cannot be used; the message says why.
        """
        if isinstance(self.every_events, bool) or not isinstance(self.every_events, int) or self.every_events < 1:
            raise ValueError(f"Signing, every_events: expected a number ≥ 1, got {self.every_events!r}")
        if (
            isinstance(self.every_s, bool)
            or not isinstance(self.every_s, (int, float))
            or not 0 < self.every_s <= 86_400
        ):
            raise ValueError(f"Signing, every_s: expected seconds > 0, at most a day, got {self.every_s!r}")
        self.told()
        key = self.key
        if isinstance(key, Signer):
            return key
        if callable(key):
            if self.public_key is None:
                raise ValueError("Signing, public_key: a key elsewhere is given by a function and its public half")
            return RemoteKey(key, PublicKey(self.public_key))
        return PrivateKey(key)

    def told(self) -> AnchorSink | None:
        """Where anchors go beside the journal's own file."""
        sink = self.sink
        if sink is None or callable(sink):
            return sink
        if not isinstance(sink, (str, os.PathLike)):
            raise TypeError(f"Signing, sink: expected a function or the path of a file, got {sink!r}")
        path = Path(sink)

        def append(line: str) -> None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, (line + "\n").encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

        return append


def _content(given: bytes | str | os.PathLike[str]) -> bytes:
    if isinstance(given, (bytes, bytearray)):
        return bytes(given)
    if isinstance(given, (str, os.PathLike)):
        if isinstance(given, str) and given.lstrip().startswith("-----BEGIN"):
            return given.encode()
        return Path(given).read_bytes()
    raise TypeError(f"key: expected PEM, 32 bytes or the path of a PEM file, got {type(given).__name__}")


def _private(content: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise ExtraMissing("signing", "signing") from error
    if len(content) == RAW_BYTES:
        return Ed25519PrivateKey.from_private_bytes(content)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"key: expected an Ed25519 private key without a password, as PEM or 32 bytes: {error}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"key: expected an Ed25519 private key, got {type(key).__name__}")  # noqa: TRY004
    return key


def _public(content: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise ExtraMissing("signing", "signing") from error
    if len(content) == RAW_BYTES:
        return Ed25519PublicKey.from_public_bytes(content)
    if b"PRIVATE KEY" in content:
        return _private(content).public_key()
    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise ValueError(f"key: expected an Ed25519 public key, as PEM or 32 bytes: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"key: expected an Ed25519 public key, got {type(key).__name__}")  # noqa: TRY004
    return key
