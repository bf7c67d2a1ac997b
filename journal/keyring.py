"""The keys of a journal's runs at work: made, kept ready, looked up, destroyed.

Each run has a key of its own. A master key, which is in memory while the journal is open, wraps them; the host's key
wraps the master. So a key service is asked once at an opening, not once a run, and erasing one run needs no key at all.
A new run's key costs its actor no wait: the journal's writer stores it, durably, before the commit of its first event.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from ..errors import JournalError, JournalUnavailable, JournalUnreadable, KeyRefused, KeysMissing, LogCorrupt
from ..events import Seal, Withheld
from ..events.codec import run_id_bytes
from ..ports import Cipher, Encryption
from . import keys_file
from .keys_file import KeysFile, Ring, Unfinished
from .keys_outside import KeysReader

log = logging.getLogger("executus.journal")

KEY_BYTES = 32
KEY_ID_BYTES = 8

READY = 10_000
"""Keys kept ready for use; a run at work holds its own."""
FRESH = 100_000
"""Keys of runs that are being started. One that is pushed out makes its start fail, and it is tried again."""


class RunSeal:
    """`events.Seal`: one run's key."""

    __slots__ = ("_cipher", "key")

    def __init__(self, key: bytes, cipher: Cipher) -> None:
        self.key, self._cipher = key, cipher

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """See `events.Seal.seal`."""
        return self._cipher.seal(plain, place)

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        """See `events.Seal.unseal`."""
        return self._cipher.unseal(sealed, place)


class Standing(msgspec.Struct, frozen=True):
    """source: the name of the host's key. here, gone: runs whose keys are there, and destroyed."""

    source: str
    here: int
    gone: int


class Keyring:
    """Thread-safe. file: None if there is none here: then everything sealed is locked.

    encryption: without it nothing is opened or sealed, but keys can be destroyed.

    Raises:
        KeyRefused: the host's key does not open this file.
    """

    def __init__(self, file: KeysFile | KeysReader | None, encryption: Encryption | None) -> None:
        self.file = file
        self._encryption = encryption
        self._master = None if file is None or encryption is None else _master(file, encryption)
        self._lock = threading.Lock()
        self._destroyed = 0
        self._ready: OrderedDict[str, Seal | Withheld | None] = OrderedDict()
        self._fresh: OrderedDict[str, tuple[RunSeal, bytes]] = OrderedDict()

    @property
    def id(self) -> bytes:
        """By which a journal knows its keys file."""
        return b"" if self.file is None else self.file.ring.id

    @property
    def can_open(self) -> bool:
        """Whether the host's key is here."""
        return self._master is not None

    def standing(self) -> Standing | None:
        """Which key the keys are wrapped with, and how many there are; None if there is no keys file."""
        if self.file is None:
            return None
        here, gone = self.file.count()
        return Standing(self.file.ring.source, here, gone)

    # -------------------------------------------------------------- using

    def seal(self, run_id: str, *, new: bool = False) -> Seal | Withheld | None:
        """The run's key, why it cannot be used, or None: it has none. new: make one if it has none."""
        with self._lock:
            if run_id in self._ready:
                self._ready.move_to_end(run_id)
                return self._ready[run_id]
            fresh = self._fresh.get(run_id)
            if fresh is not None:
                return fresh[0]
            if new:
                return self._begin(run_id)
        return self._look_up(run_id)

    def opening(self, run_id: str, key: bytes) -> Seal | Withheld:
        """`events.Opener`."""
        try:
            found = self.seal(run_id)
        except ValueError:  # a damaged run id
            return "locked"
        del key  # the place that content is bound to has it: with another key it does not open
        return "locked" if found is None else found

    def remember(self, run_id: str, what: Withheld | None) -> None:
        """Keep ready what was found out about a run that has no key here."""
        with self._lock:
            self._keep(run_id, what)

    def _begin(self, run_id: str) -> RunSeal | None:
        if self._master is None or self._encryption is None:
            return None
        secret = os.urandom(KEY_BYTES)
        seal = RunSeal(os.urandom(KEY_ID_BYTES), self._encryption.cipher(secret))
        self._fresh[run_id] = seal, secret
        if len(self._fresh) > FRESH:
            self._fresh.popitem(last=False)
        return seal

    def _look_up(self, run_id: str) -> Seal | Withheld | None:
        if self.file is None:
            return None
        before = self._destroyed
        row = self.file.row(run_id)
        found: Seal | Withheld | None = None
        if row is not None and row.wrapped is None:
            found = "erased"
        elif row is not None and row.wrapped is not None:
            found = "locked" if self._master is None else self._unwrapped(run_id, row.key, row.wrapped, self._master)
        with self._lock:
            if before == self._destroyed:  # else it may just have been destroyed
                self._keep(run_id, found)
        return found

    def _unwrapped(self, run_id: str, key: bytes, wrapped: bytes, master: Cipher) -> RunSeal:
        assert self._encryption is not None
        try:
            secret = master.unseal(wrapped, _place(run_id_bytes(run_id), key))
        except ValueError as error:
            assert self.file is not None
            raise LogCorrupt(run_id, 0, f"its key in {self.file.path} was altered or moved") from error
        return RunSeal(key, self._encryption.cipher(secret))

    def _keep(self, run_id: str, found: Seal | Withheld | None) -> None:
        self._ready[run_id] = found
        if len(self._ready) > READY:
            self._ready.popitem(last=False)

    # -------------------------------------------------------------- storing

    def store(self, wanted: Sequence[tuple[str, bytes]]) -> None:
        """Make the keys (run id, key id) of new runs durable, before their first events are.

        Raises:
            JournalUnavailable: one cannot be stored; no event that it sealed may be.
        """
        rows: list[tuple[str, bytes, bytes]] = []
        for run_id, key in wanted:
            fresh = self._fresh.get(run_id)
            if fresh is None:
                self._check_stored(run_id, key)
            elif self._master is not None:
                rows.append((run_id, key, self._master.seal(fresh[1], _place(run_id_bytes(run_id), key))))
        if not rows:
            return
        assert isinstance(self.file, KeysFile)
        self.file.add(rows)
        with self._lock:
            for run_id, _, _ in rows:
                fresh = self._fresh.pop(run_id, None)
                if fresh is not None:
                    self._keep(run_id, fresh[0])
        for run_id, key, _ in rows:
            self._check_stored(run_id, key)

    def _check_stored(self, run_id: str, key: bytes) -> None:
        """A start that failed half-way and is tried again may have left a key: then that one is the run's."""
        row = None if self.file is None else self.file.row(run_id)
        if row is None or row.key != key:
            with self._lock:
                self._fresh.pop(run_id, None)
                self._ready.pop(run_id, None)
            if row is not None:
                self._look_up(run_id)  # at hand for the next try
            raise JournalUnavailable(f"run {run_id}: the key that it was begun with is not stored")

    def forget(self, run_id: str) -> None:
        """A run was not started after all."""
        with self._lock:
            self._fresh.pop(run_id, None)

    # -------------------------------------------------------------- erasing, changing the host's key

    def destroy(self, run_ids: Sequence[str], at_us: int) -> None:
        """Destroy the keys of these runs, on the disk and here.

        Raises:
            JournalUnavailable: not all of it could be done; repeat it.
        """
        try:
            self._owned().destroy(run_ids, at_us)
        finally:
            with self._lock:
                self._destroyed += 1
                for run_id in run_ids:
                    self._ready.pop(run_id, None)
                    self._fresh.pop(run_id, None)

    def begin_erasure(self, run_ids: Iterable[str], by: str, reason: str, at_us: int) -> None:
        """Note durably what is about to be erased."""
        self._owned().begin_erasure(run_ids, by, reason, at_us)

    def finish_erasure(self, run_ids: Iterable[str]) -> None:
        """It is done."""
        self._owned().finish_erasure(run_ids)

    def unfinished(self) -> list[Unfinished]:
        """Erasures that were begun and not finished."""
        return self.file.unfinished() if isinstance(self.file, KeysFile) else []

    def rotate(self, encryption: Encryption) -> int:
        """Wrap everything anew: a new master, wrapped by `encryption.source`. Returns how many keys were wrapped.

        Raises:
            KeyRefused: the journal was opened without its key, or the new source refused.
        """
        file, old = self._owned(), self._master
        if old is None:
            raise KeyRefused(f"{file.path}: its present key is needed to change it")
        secret = os.urandom(KEY_BYTES)
        new = encryption.cipher(secret)
        wrapped = _wrapped(encryption, secret)
        keys = file.every()
        rewrapped = [(new.seal(old.unseal(key, _place(run, name)), _place(run, name)), run) for run, name, key in keys]
        file.replace_master(_name(encryption), wrapped, rewrapped)
        self._master, self._encryption = new, encryption
        return len(rewrapped)

    def _owned(self) -> KeysFile:
        if not isinstance(self.file, KeysFile):
            raise JournalError("this journal has no keys here; nothing was changed")
        return self.file

    def close(self) -> None:
        """Let go of the file."""
        if self.file is not None:
            self.file.close()


def hosted_keyring(path: str, known: bytes | None, encryption: Encryption | None) -> Keyring | None:
    """The keyring of the journal `path`, for its host; None if it has none and is to have none.

    known: the id of the keys file that the journal has. Without it a keys file is made, if there is `encryption`.

    Raises:
        KeysMissing: the keys file is missing, or is that of another journal, and the journal is to be sealed.
        KeyRefused: the host's key does not open it.
        JournalUnreadable: it is damaged or cannot be made, and the journal is to be sealed.
    """
    exists = os.path.lexists(path + keys_file.ENDING)
    if encryption is None and not exists:
        return Keyring(None, None) if known is not None else None
    if encryption is not None and known is None and not exists:
        master = _wrapped(encryption, os.urandom(KEY_BYTES))
        keys_file.create(path, Ring(os.urandom(16), _name(encryption), master))
    try:
        file = KeysFile(path)
    except JournalUnreadable as error:
        if encryption is not None:
            raise
        log.error("sealed runs stay locked: %s", error)
        return Keyring(None, None)
    try:
        if known is None or file.ring.id == known:
            return Keyring(file, encryption)
        missing = KeysMissing(path, f"{file.path} holds the keys of another journal")
        if encryption is not None:
            raise missing
        log.error("sealed runs stay locked: %s", missing)
    except BaseException:
        file.close()
        raise
    file.close()
    return Keyring(None, None)


def outside_keyring(path: str, encryption: Encryption | None) -> Keyring:
    """The keyring of a journal that is read from outside.

    Raises:
        KeyRefused: the host's key does not open it.
        JournalUnreadable: it is damaged.
    """
    if not os.path.lexists(path + keys_file.ENDING):
        return Keyring(None, encryption)
    try:
        return Keyring(KeysReader(path), encryption)
    except (JournalUnreadable, JournalUnavailable):
        if encryption is not None:
            raise
        return Keyring(None, None)


def _master(file: KeysFile | KeysReader, encryption: Encryption) -> Cipher:
    ring = file.ring
    try:
        secret = encryption.source.unwrap(ring.master)
        if not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
            raise ValueError(f"it unwraps to something that is no key of {KEY_BYTES} bytes")
        return encryption.cipher(secret)
    except Exception as error:
        given = _name(encryption)
        named = f" (it was wrapped with {ring.source!r}, given is {given!r})" if ring.source != given else ""
        raise KeyRefused(f"the host's key does not open {file.path}{named}: {error}; nothing was changed") from error


def _wrapped(encryption: Encryption, secret: bytes) -> bytes:
    try:
        wrapped = encryption.source.wrap(secret)
        if not isinstance(wrapped, bytes) or secret in wrapped or encryption.source.unwrap(wrapped) != secret:
            raise ValueError("what it wraps it does not unwrap")
        return wrapped
    except Exception as error:
        raise KeyRefused(f"the host's key cannot wrap a key: {error}; nothing was changed") from error


def _name(encryption: Encryption) -> str:
    name: object = getattr(encryption.source, "key_id", "")
    return name if isinstance(name, str) else repr(name)


def _place(run_id: bytes, key: bytes) -> bytes:
    return b"executus: the key of a run" + run_id + key
