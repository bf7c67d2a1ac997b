"""The files of a journal: created private, owned by one host, and watched while they are open.

SQLite's locks on Unix belong to the process: when anybody in it opens and closes the database file, they are gone,
and the next program to close the database deletes the write-ahead log under us. Every commit after that is lost. So
the database is held by a second lock, one of an open file description, which no such close can drop.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import struct
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import JournalInUse, JournalTooNew, JournalUnavailable, JournalUnreadable
from .layout import APPLICATION_ID, LAYOUT

log = logging.getLogger("executus.journal")

SHARED_FIRST: Final = 0x40000002
SHARED_SIZE: Final = 510
"""The bytes that an SQLite connection holds a shared lock on while it is open in WAL mode."""

INDEX_IN_USE: Final = 128
"""The byte of the log's index that every connection which uses it holds a shared lock on."""

MAGIC: Final = b"SQLite format 3\x00"

_kept: dict[tuple[int, int], int] = {}
"""Descriptors of databases that are not ours, by device and inode: closing one would drop the locks that somebody
else in this process may have on it."""


def resolve(path: str | os.PathLike[str]) -> str:
    """The one real path of a journal, so that two names of it meet at one lock.

    Raises:
        ValueError: an empty path, or SQLite's name for a database in memory.
    """
    name = str(os.fspath(path))
    if not name or name == ":memory:" or "\x00" in name:
        raise ValueError(f"journal path: expected the path of a file (None keeps the journal in memory), got {name!r}")
    return os.path.realpath(Path(name).expanduser())


def make_directory(path: str) -> None:
    """Create the missing directories above `path`, for us alone, and make their names durable."""
    missing: list[Path] = []
    directory = Path(path).parent
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir(mode=0o700)
            sync_directory(str(one.parent))


def sync_directory(directory: str) -> None:
    """Make the names in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_private(path: str) -> None:
    """Create an empty file that only its owner may touch, whatever the umask; it must not exist."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


class Header(NamedTuple):
    """What the first bytes of a file say: a journal, or nothing yet. wal: it is in write-ahead mode."""

    descriptor: int
    empty: bool
    wal: bool


def read_header(path: str) -> Header:
    """Open a database file and judge its first 100 bytes.

    The caller keeps the descriptor until the last SQLite connection of this process to the file is closed.

    Raises:
        JournalUnreadable, JournalTooNew: it is no journal of ours. Nothing was changed.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise JournalUnreadable(path, f"it is {'a directory' if Path(path).is_dir() else 'no regular file'}")
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        header = os.pread(descriptor, 100, 0)
    except OSError as error:
        raise JournalUnreadable(path, error.strerror or str(error)) from error
    if not header:
        return Header(descriptor, True, False)
    if len(header) < 100 or not header.startswith(MAGIC):
        os.close(descriptor)
        raise JournalUnreadable(path, "it is not an SQLite database")
    layout, application = struct.unpack(">i", header[60:64])[0], struct.unpack(">i", header[68:72])[0]
    if application == APPLICATION_ID and 1 <= layout <= LAYOUT:
        return Header(descriptor, False, header[18:20] == b"\x02\x02")
    keep(descriptor)
    if application != APPLICATION_ID:
        raise JournalUnreadable(path, "it is an SQLite database of another program")
    if layout > LAYOUT:
        raise JournalTooNew(path, layout, LAYOUT)
    raise JournalUnreadable(path, f"its layout {layout} never existed")


def keep(descriptor: int) -> None:
    """Hold on to a descriptor of a database that somebody else in this process may have open; one a file."""
    found = os.fstat(descriptor)
    _kept.setdefault((found.st_dev, found.st_ino), descriptor)


def hold_shared_range(descriptor: int, path: str) -> None:
    """Lock what SQLite locks, through an open file description of our own: see the top of this module.

    Raises:
        JournalUnreadable: another program holds the whole file.
    """
    if not sys.platform.startswith("linux"):
        log.warning("%s: no lock of an open file description here; no tool in this process may open that file", path)
        return
    try:
        _lock_for_reading(descriptor, SHARED_FIRST, SHARED_SIZE)
    except OSError as error:
        raise JournalUnreadable(path, "another program holds the whole file locked") from error


def hold_index(path: str) -> int:
    """The same for the index of the write-ahead log: whoever finds nobody at it makes it anew, under us.

    To be called when a connection has read through it, so that it is not one that a crash left behind. Returns the
    descriptor, to be kept like the other, or -1 where this is not possible.
    """
    if not sys.platform.startswith("linux"):
        return -1
    try:
        descriptor = os.open(path + "-shm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        _lock_for_reading(descriptor, INDEX_IN_USE, 1)
    except OSError as error:
        log.warning("%s: the index of the write-ahead log is not guarded: %s", path, error)
    return descriptor


def _lock_for_reading(descriptor: int, first: int, size: int) -> None:
    wanted = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, first, size, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)


class HostLock:
    """The mark of the one host: `flock` on a file beside the journal. It ends with the process, however that ends."""

    def __init__(self, path: str) -> None:
        self.path = path + ".lock"
        self._journal = path
        self._descriptor = -1
        self.inode = 0
        """Of the lock file that is held."""

    def take(self, *, create: bool) -> bool:
        """Take the lock. Without `create` a missing lock file is left missing, and the answer is False.

        Raises:
            JournalInUse: another host has it.
            JournalUnreadable: the lock file cannot be opened or created.
        """
        if self._descriptor >= 0:
            return True
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            if not create:
                return False
            raise JournalUnreadable(self._journal, f"{self.path} cannot be created: no such directory") from None
        except OSError as error:
            raise JournalUnreadable(self._journal, f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise JournalInUse(self._journal, owner or "another process") from error
        except OSError as error:
            os.close(descriptor)
            raise JournalUnreadable(self._journal, f"{self.path} cannot be locked: {error.strerror}") from error
        os.fchmod(descriptor, 0o600)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # a full disk: these are words for people
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} since {since}\n".encode(), 0)
        self._descriptor, self.inode = descriptor, os.fstat(descriptor).st_ino
        return True

    def holds(self) -> bool:
        """Whether the lock that we hold keeps others out: there are file systems on which it does not."""
        try:
            other = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.fstat(other).st_ino == self.inode
        except OSError:
            return False
        finally:
            os.close(other)
        return False

    def release(self) -> None:
        """Let go. The file stays: removing it would let two hosts lock two files of one name."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptor and change nothing, so that the child holds no journal."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class FileWatch:
    """Remembers which files the write connection has open, and tells when their names mean other files."""

    def __init__(self, path: str) -> None:
        self._paths = (path, path + "-wal")
        self._inodes = [os.stat(one).st_ino for one in self._paths]  # noqa: PTH116 - on the hot path

    def check(self) -> int:
        """Return the size of the write-ahead log in bytes.

        Raises:
            JournalUnavailable: the database or its log was deleted or replaced; what is written now would be lost.
        """
        size = 0
        for path, inode in zip(self._paths, self._inodes, strict=True):
            try:
                found = os.stat(path)  # noqa: PTH116 - on the hot path
            except FileNotFoundError:
                raise JournalUnavailable(
                    f"{path} was deleted while in use: nothing more is stored; restart the host"
                ) from None
            if found.st_ino != inode:
                raise JournalUnavailable(f"{path} was replaced while in use: nothing more is stored; restart the host")
            size = found.st_size
        return size
