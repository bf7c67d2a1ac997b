"""Where a host runs, and whether a host that is named in a journal is provably gone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

LINUX: Final = sys.platform.startswith("linux")

ONE_MACHINES_OWN: Final = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "tmpfs", "ramfs", "overlay", "vfat")
)
"""File systems that one machine at a time can have mounted."""

boots_here: set[str] = set()
"""Ids of openings of this process that have not ended."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """One opening of a journal by a host, with what helps others to prove that this host is gone. Empty: not known.

    id: no other opening has it. machine: this boot of the machine. namespace: in which its process number means
    something. began: when its process did. lock, file: inodes of the lock file that it holds and of the database.
    """

    id: str = ""
    machine: str = ""
    namespace: str = ""
    began: str = ""
    lock: int = 0
    file: int = 0


def this_boot(lock: int, file: int) -> Boot:
    """A new opening by this process."""
    return Boot(
        id=uuid4().hex,
        machine=_read("/proc/sys/kernel/random/boot_id") if LINUX else os.uname().nodename,
        namespace=_namespace(),
        began=_began(os.getpid()),
        lock=lock,
        file=file,
    )


def provably_gone(pid: int, there: Boot, here: Boot, path: str, *, locks_hold: bool) -> bool:
    """Whether the host `there`, which was process `pid`, cannot be writing the journal at `path` any more.

    here: of the caller. locks_hold: whether it holds the lock file, and that keeps others out.
    """
    if there.file and there.file != here.file:
        return True  # this file is a copy: what it says of its host is of another file
    if not there.machine or not here.machine:
        return False
    if there.machine != here.machine:  # another machine, or this one before it was switched off
        return _is_one_machines(path)
    if there.namespace == here.namespace:
        if pid == os.getpid() and _same(there.began, here.began):
            return there.id not in boots_here
        return not _runs(pid, there.began)
    return locks_hold and there.lock == here.lock  # in another container: it would hold the lock that we hold


def _runs(pid: int, began: str) -> bool:
    """Whether that process is there, and is not a later one of the same number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass  # somebody else's
    return _same(began, _began(pid))


def _same(one: str, other: str) -> bool:
    return not one or not other or one == other


def _began(pid: int) -> str:
    """When a process began, in ticks of its machine; "gone" of one that only waits to be buried."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return "gone" if fields[0] in "ZX" else fields[19]


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid") if LINUX else ""  # noqa: PTH115 - a name, not a path
    except OSError:
        return "unknown to " + str(os.getpid())


def _read(path: str) -> str:
    if not LINUX:
        return ""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _is_one_machines(path: str) -> bool:
    """Whether the file system of `path` is one that no other machine can have mounted."""
    best, kind = "", ""
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if len(fields) < 5 or "-" not in fields:
            continue
        point = fields[4].encode().decode("unicode_escape")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind in ONE_MACHINES_OWN
