"""Folders held open, and files in them: no link is followed, and what is published is whole and on disk.

A file is named relative to the descriptor of its folder, never by a longer path: whoever swaps a folder for a link
meanwhile gains nothing. Linux and macOS.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import sys
from collections.abc import Generator
from pathlib import Path

from ...errors import FileRefused

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe must not hold us up
_IS_NO_FOLDER = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENOENT})
_NO_LOCKS_HERE = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF, errno.EINVAL})


@contextlib.contextmanager
def opened_root(path: Path, *, private: bool) -> Generator[int]:
    """The descriptor of a folder that the host named; it is made, with mode 0700, if it is missing.

    private: it must be ours, and closed to everybody else.

    Raises:
        ValueError: it is a link or no folder, or `private` and open to others; says what was expected.
        OSError: it cannot be made or opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
        sync_folder_at(path.parent)
    try:
        folder = os.open(path, _FOLDER)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ValueError(f"root {path}: expected a folder, not a link or a file") from None
        raise
    try:
        seen = os.fstat(folder)
        if private and (seen.st_uid != os.geteuid() or seen.st_mode & 0o077):
            raise ValueError(f"root {path}: expected a folder of this user, closed to others (chmod 700)")
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def opened_folder(parent: int, name: str, *, create: bool = False) -> Generator[int]:
    """The descriptor of the private folder `name` in `parent`; with `create` it is made if it is missing.

    Raises:
        FileNotFoundError: there is none.
        FileRefused: something else has this name: a link, a file, somebody else's folder.
    """
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        sync(parent)
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _IS_NO_FOLDER and (create or error.errno != errno.ENOENT):
            raise FileRefused(f"{name}: its folder was replaced by something else") from None
        raise
    try:
        seen = os.fstat(folder)
        if seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
            raise FileRefused(f"{name}: its folder belongs to others, or is open to them")
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def held(folder: int, *, shared: bool = False) -> Generator[None]:
    """Alone with this folder, or with others who share it, among all threads and processes that ask the same way."""
    with contextlib.ExitStack() as stack:
        if _locked(folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            stack.callback(fcntl.flock, folder, fcntl.LOCK_UN)
        yield


@contextlib.contextmanager
def held_if_idle(folder: int) -> Generator[bool]:
    """Whether we are alone with this folder; never waits."""
    with contextlib.ExitStack() as stack:
        alone = False
        with contextlib.suppress(BlockingIOError):
            alone = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if alone:
            stack.callback(fcntl.flock, folder, fcntl.LOCK_UN)
        yield alone


def _locked(folder: int, how: int) -> bool:
    """False where the file system has no such locks, as some network shares: leftovers then stay."""
    try:
        fcntl.flock(folder, how)
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise
    return True


def names_in(folder: int) -> list[str]:
    """What is in a folder, in no order."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def temporary_name() -> str:
    """A new name for something unfinished, hidden from listings; after a crash it is left over."""
    return f".tmp-{secrets.token_hex(8)}"


def is_temporary(name: str) -> bool:
    """Whether `temporary_name` could have made this."""
    return _TEMPORARY.fullmatch(name) is not None


def write_new(folder: int, name: str, content: bytes) -> None:
    """Make a file and put its bytes on disk; its name is safe after `sync(folder)`. Nothing is left if that fails.

    Raises:
        FileExistsError: the name is taken.
    """
    file = os.open(name, _NEW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb", buffering=0) as out:
            left = memoryview(content)
            while left:
                left = left[out.write(left) :]
            sync(file)
    except BaseException:
        remove(folder, name)
        raise


def publish(folder: int, name: str, content: bytes) -> None:
    """Write a file under a temporary name and rename it: nobody ever sees a part of it. Replaces what had the name."""
    temporary = temporary_name()
    write_new(folder, temporary, content)
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        remove(folder, temporary)
        raise
    sync(folder)


def read_plain(folder: int, name: str) -> bytes:
    """The content of a regular file that has no second name.

    Raises:
        FileNotFoundError: there is none.
        FileRefused: it is a link, a pipe, a device, a folder, or has another name elsewhere.
    """
    try:
        file = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileRefused(f"{name}: not a regular file") from None
        raise
    try:
        seen = os.fstat(file)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:
            raise FileRefused(f"{name}: not a regular file with one name")
        with os.fdopen(file, "rb", buffering=0, closefd=False) as source:
            return source.read()
    finally:
        os.close(file)


def remove(folder: int, name: str) -> None:
    """Remove a file, if it is there and the system lets us."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


def sync_folder_at(path: Path) -> None:
    """Put the names in a folder on disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(folder)
    finally:
        os.close(folder)


def sync(descriptor: int) -> None:
    """Put a file's bytes, or the names in a folder, on disk; on macOS through the drive's own cache too."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)
    else:
        os.fsync(descriptor)
