"""Where a host's key comes from: its own bytes, a file, the environment, or a key service behind `ports.KeySource`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from pathlib import Path

from ...errors import KeyRefused
from ...ports import Encryption, KeySource
from .aes import KEY_BYTES, AesGcm, cipher

KEY_VARIABLE = "EXECUTUS_KEY"
FILE_VARIABLE = "EXECUTUS_KEY_FILE"

_PLACE = b"executus: the key of a journal"


class HostKey:
    """`ports.KeySource` over a key of 32 bytes that the host keeps.

    Raises:
        ValueError: it is not 32 bytes, or one byte 32 times, which nobody meant.
        ExtraMissing: `cryptography` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise ValueError(
                f"key: expected {KEY_BYTES} bytes, got {len(key) if isinstance(key, bytes) else type(key).__name__}"
            )
        if len(set(key)) == 1:
            raise ValueError(
                "key: expected random bytes, got one byte 32 times; make one with KeyFile(path, create=True)"
            )
        self._cipher = AesGcm(key)
        self.key_id = hashlib.sha256(b"executus: the name of a key" + key).hexdigest()[:16]
        """By which people tell keys apart; nothing of the key can be learned from it."""

    def __repr__(self) -> str:
        return f"<HostKey {self.key_id}>"

    def wrap(self, key: bytes) -> bytes:
        """See `ports.KeySource.wrap`."""
        return self._cipher.seal(key, _PLACE)

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `ports.KeySource.unwrap`."""
        return self._cipher.unseal(wrapped, _PLACE)


class KeyFile(HostKey):
    """The same over a file outside the journal's folder, with the key as 64 hexadecimal digits or in base64.

    create: make a new key with mode 0600 if there is no such file.

    Raises:
        KeyRefused: no such file, not a key, or open to others.
        ExtraMissing: `cryptography` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = Path(path).expanduser()
        if create:
            self._make()
        super().__init__(self._read())

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def _make(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return
        except OSError as error:
            raise KeyRefused(f"key file {self.path} cannot be made: {error.strerror}") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise KeyRefused(f"key file {self.path} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode):
                raise KeyRefused(f"key file {self.path}: it is no regular file")
            if seen.st_mode & 0o077:
                raise KeyRefused(f"key file {self.path} is open to others: chmod 600 {self.path}")
            return key_of_text(file.read(1000), f"key file {self.path}")


class EnvironmentKey(HostKey):
    """The same over the variable EXECUTUS_KEY, as 64 hexadecimal digits or in base64.

    Raises:
        KeyRefused: it is not set, or no key.
        ExtraMissing: `cryptography` is not installed.
    """

    def __init__(self, variable: str = KEY_VARIABLE) -> None:
        text = os.environ.get(variable, "")
        if not text:
            raise KeyRefused(f"{variable} is not set; set it to a key of 32 bytes, as 64 hexadecimal digits")
        super().__init__(key_of_text(text.encode(), variable))


def key_of_text(text: bytes, what: str) -> bytes:
    """The key that `text` writes in hexadecimal digits or in base64.

    Raises:
        KeyRefused: it is neither; the sentence names `what` and nothing of the text.
    """
    text = text.strip()
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text.decode("ascii"))
        key = base64.b64decode(text, validate=True)
        if len(key) == KEY_BYTES:
            return key
    except (ValueError, binascii.Error):
        pass
    raise KeyRefused(f"{what}: expected a key of 32 bytes, as 64 hexadecimal digits or in base64")


def encryption_of(given: object, label: str = "encryption") -> Encryption:
    """How to seal with what a host passed: 32 bytes, a `KeySource`, or an `Encryption`.

    Raises:
        TypeError, ValueError: something else.
        ExtraMissing: `cryptography` is not installed.
    """
    if isinstance(given, Encryption):
        return given
    if isinstance(given, (bytes, bytearray)):
        given = HostKey(bytes(given))
    if not isinstance(given, KeySource):
        raise TypeError(
            f"{label}: expected 32 bytes, KeyFile(path), or a KeySource (wrap and unwrap), got {type(given).__name__}"
        )
    AesGcm(bytes(range(KEY_BYTES)))  # now rather than at the first run: is the library there?
    return Encryption(given, cipher)


def key_of_environment() -> HostKey | None:
    """What EXECUTUS_KEY or EXECUTUS_KEY_FILE names, for commands; None if neither is set.

    Raises:
        KeyRefused, ExtraMissing: see `EnvironmentKey` and `KeyFile`.
    """
    if os.environ.get(KEY_VARIABLE):
        return EnvironmentKey()
    path = os.environ.get(FILE_VARIABLE, "")
    return KeyFile(path) if path else None
