"""What a disk may hold after a power cut: files and folders replayed from a record of writes, up to any point.

A write, a cut to length, or a name is safe once a sync of its file or folder that began after it has ended. Of the rest
any part may have reached the disk: each sector of each write for itself, each name for itself. The record is made by
`write_recorder.c`.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

SECTOR = 512
HEAD = struct.Struct("<IcQqH")

OUTSIDE = frozenset({"acks", "effects", "deliveries"})
"""Files that stand for the world outside: what was said or done there no power cut takes back."""

MODELS = ("nothing", "part", "everything")
"""What becomes of writes that were not synced."""


@dataclass(frozen=True)
class Operation:
    """One record. number: its place among all."""

    number: int
    kind: str
    inode: int
    offset: int
    path: str
    data: bytes


def read_record(path: Path) -> list[Operation]:
    """Every operation in order.

    Raises:
        ValueError: something was done that the recorder cannot record; a crash image would not be what a disk has.
    """
    content = path.read_bytes()
    found: list[Operation] = []
    at = 0
    while at + HEAD.size <= len(content):
        size, kind, inode, offset, path_size = HEAD.unpack_from(content, at)
        start, end = at + HEAD.size, at + 4 + size
        name = content[start : start + path_size].decode()
        one = Operation(len(found), kind.decode(), inode, offset, name, content[start + path_size : end])
        if one.kind == "X":
            raise ValueError(f"{name}: {one.data.decode()} is not recorded")
        found.append(one)
        at = end
    return found


def drop_torn_end(path: Path) -> None:
    """A killed host may leave half of its last record: what the next one records would be read as the rest of it."""
    content = path.read_bytes()
    at = 0
    while at + 4 <= len(content) and (end := at + 4 + int.from_bytes(content[at : at + 4], "little")) <= len(content):
        at = end
    if at < len(content):
        os.truncate(path, at)


@dataclass
class File:
    """Bytes that are safe, and what was done to them since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def synced(self, before: int) -> None:
        """What was done before that operation is safe now."""
        while self.pending and self.pending[0].number < before:
            done = self.pending.pop(0)
            _apply(self.safe, done, range(len(done.data)))

    def content(self, model: str, rng: random.Random, *, whole: bool = False) -> bytes:
        """What a reader may find."""
        if not self.pending or (model == "nothing" and not whole):
            return bytes(self.safe)
        content = bytearray(self.safe)
        share = rng.random()  # some cuts lose nearly all, some nearly nothing
        for one in self.pending:
            if whole or model == "everything":
                _apply(content, one, range(len(one.data)))
            elif one.kind == "T":
                if rng.random() < share:
                    _apply(content, one, range(0))
            else:
                for piece in _sectors(one):
                    if rng.random() < share:
                        _apply(content, one, piece)
        return bytes(content)


def _sectors(one: Operation) -> Iterator[range]:
    """The pieces of a write that reach the disk each for itself."""
    at = 0
    while at < len(one.data):
        end = min(len(one.data), at + SECTOR - (one.offset + at) % SECTOR)
        yield range(at, end)
        at = end


def _apply(content: bytearray, one: Operation, piece: range) -> None:
    if one.kind == "T":
        del content[one.offset :]
        content.extend(bytes(one.offset - len(content)))
        return
    start = one.offset + piece.start
    if len(content) < start:
        content.extend(bytes(start - len(content)))
    content[start : start + len(piece)] = one.data[piece.start : piece.stop]


Entry: TypeAlias = "File | Folder"


@dataclass(frozen=True)
class Naming:
    """A name that came, went or changed. entry: what it names from then on, None for what went."""

    number: int
    gone: str
    name: str
    entry: Entry | None


@dataclass(eq=False)
class Folder:
    """Names that are safe, names as they are, and what was done since."""

    safe: dict[str, Entry] = field(default_factory=dict)
    live: dict[str, Entry] = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)

    def change(self, one: Naming) -> None:
        """Note a change of names."""
        _rename(self.live, one)
        self.pending.append(one)

    def synced(self, before: int) -> None:
        """What was done before that operation is safe now."""
        while self.pending and self.pending[0].number < before:
            _rename(self.safe, self.pending.pop(0))

    def names(self, model: str, rng: random.Random) -> dict[str, Entry]:
        """What a reader may find."""
        if model == "everything":
            return self.live
        names = dict(self.safe)
        if model == "part":
            for one in self.pending:
                if rng.random() < 0.5:
                    _rename(names, one)
        return names


def _rename(names: dict[str, Entry], one: Naming) -> None:
    if one.gone:
        names.pop(one.gone, None)
    if one.entry is not None:
        names[one.name] = one.entry


class Disk:
    """The folder as it is after the operations applied so far, and as a power cut may leave it."""

    def __init__(self) -> None:
        self.root = Folder()
        self._files: dict[int, File] = {}
        self._syncs: dict[int, int] = {}

    def apply(self, one: Operation) -> None:
        """Do the next operation."""
        match one.kind:
            case "W" | "T":
                self._files[one.inode].pending.append(one)
            case "B":
                self._syncs[one.inode] = one.number
            case "S":
                self._entry(one).synced(self._syncs[one.inode])
            case "C":
                made = self._files[one.inode] = File()
                self._name(one, one.path, made)
            case "D":
                self._name(one, one.path, Folder())
            case "U" | "K":
                folder, name = self._at(one.path)
                folder.change(Naming(one.number, name, "", None))
            case "R" | "L":
                self._rename(one)
            case _:
                raise ValueError(f"no such operation: {one.kind!r}")

    def _rename(self, one: Operation) -> None:
        folder, name = self._at(one.path)
        target, other = self._at(one.data.decode())
        entry, gone = folder.live[name], name if one.kind == "R" else ""
        if folder is target:
            folder.change(Naming(one.number, gone, other, entry))
            return
        target.change(Naming(one.number, "", other, entry))
        if gone:
            folder.change(Naming(one.number, gone, "", None))

    def _name(self, one: Operation, path: str, entry: Entry) -> None:
        folder, name = self._at(path)
        folder.change(Naming(one.number, "", name, entry))

    def _at(self, path: str) -> tuple[Folder, str]:
        folder = self.root
        *above, name = path.split("/")
        for one in above:
            inner = folder.live[one]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, name

    def _entry(self, one: Operation) -> Entry:
        if one.inode in self._files and not one.path.endswith("/"):
            folder, name = self._at(one.path) if one.path else (self.root, "")
            found = folder.live.get(name)
            if not isinstance(found, Folder):
                return self._files[one.inode]
        if not one.path:
            return self.root
        folder, name = self._at(one.path)
        return folder.live[name]

    # -------------------------------------------------------------- what is left

    def write_to(self, folder: Path, model: str, rng: random.Random) -> None:
        """Put down an image: one of the folders that a power cut at this moment may leave."""
        _write(self.root, folder, model, rng, top=True)

    def live_files(self) -> dict[str, bytes]:
        """Every file as a reader finds it while the power is on."""
        found: dict[str, bytes] = {}
        left: list[tuple[str, Entry]] = list(self.root.live.items())
        while left:
            path, entry = left.pop()
            if isinstance(entry, Folder):
                left += [(f"{path}/{name}", inner) for name, inner in entry.live.items()]
            else:
                found[path] = entry.content("everything", random.Random(0))
        return found


def _write(folder: Folder, to: Path, model: str, rng: random.Random, *, top: bool = False) -> None:
    names = dict(folder.names(model, rng))
    if top:
        names |= {name: entry for name, entry in folder.live.items() if name in OUTSIDE}
    to.mkdir(mode=0o700, exist_ok=True)
    for name, entry in names.items():
        if isinstance(entry, Folder):
            _write(entry, to / name, model, rng)
        elif name.endswith("-shm"):  # what it was mapped to is lost, or worse
            (to / name).write_bytes(rng.choice((b"", rng.randbytes(32768))))
        else:
            outside = top and name in OUTSIDE
            file = to / name
            file.write_bytes(entry.content(model, rng, whole=outside))
            file.chmod(0o600)
