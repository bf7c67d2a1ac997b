"""What of an erased run is still stored: looked for in what is on the disk, not in what anybody remembers."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from ..errors import JournalError
from ..events import ContentErased, Opaque, erased
from ..events.codec import decode_event, sealed_blob
from .keys_file import KeysFile
from .sqlite import SqliteJournal

SHOWN = 40
"""Characters of a phrase that are shown where it was found."""


def remains(journal: SqliteJournal, run_ids: Sequence[str]) -> list[str]:
    """What speaks against these runs being erased, a sentence each; nothing if they are.

    Checked are: no key of theirs is in the keys file, every stored event is a skeleton or sealed, and no blob and no
    snapshot of theirs is there.

    Raises:
        JournalUnavailable: the journal cannot be read now.
    """
    problems: list[str] = []
    file = None if journal.keyring is None else journal.keyring.file
    for run_id in run_ids:
        row = None if file is None else file.row(run_id)
        if row is None:
            problems.append(f"run {run_id}: the keys file has no line for it, so that its key may be elsewhere")
        elif row.wrapped is not None:
            problems.append(f"run {run_id}: its key is there")
        problems += [f"run {run_id}: {problem}" for problem in _in_the_log(journal, run_id)]
        if journal.has_snapshot(run_id):
            problems.append(f"run {run_id}: a snapshot is there")
    return problems


def _in_the_log(journal: SqliteJournal, run_id: str) -> Iterator[str]:
    said = False
    for version, position, tag, state in journal.rows(run_id):
        try:
            if isinstance(state, str):
                raise JournalError("text is stored where bytes belong")
            _, blob = sealed_blob(state)
            event = decode_event(run_id, version, tag, state, position=position, blob=lambda _: None)
        except (JournalError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            yield f"version {version} cannot be read: {error}"
            continue
        fact = event.fact
        said = said or isinstance(fact, ContentErased)
        if not isinstance(fact, Opaque) and erased(fact) != fact:
            yield f"version {version}: {tag} has content in the clear"
        if blob is not None and journal.blob(run_id, blob) is not None:
            yield f"version {version}: its blob {blob.hex()} is there"
    if not said:
        yield "its log does not say that it was erased"


def phrases_found(journal: SqliteJournal, phrases: Iterable[str], more: Iterable[Path] = ()) -> list[str]:
    """Where `phrases` stand in the bytes of the journal's files, whatever their form: a sentence each.

    Looked at are the database, its write-ahead log, everything beside it whose name begins with its own, and the files
    and folders in `more`.
    """
    wanted = [(phrase, phrase.encode()) for phrase in phrases if phrase]
    found: list[str] = []
    for path in _files(journal, more):
        name = os.fsencode(path)
        with _content(journal, path) as content:
            for phrase, needle in wanted:
                if needle in name or (content is not None and content.find(needle) >= 0):
                    found.append(f"{path}: {phrase[:SHOWN]!r} is there")
    return found


def _files(journal: SqliteJournal, more: Iterable[Path]) -> Iterator[Path]:
    own = Path(journal.path)
    for top in (*sorted(own.parent.glob(f"{own.name}*")), *more):
        if top.is_dir():
            yield from (path for path in sorted(top.rglob("*")) if path.is_file())
        elif top.is_file() and not top.name.endswith("-shm"):  # closing that would drop SQLite's locks
            yield top


class _Mapped:
    """A file's bytes. The files that SQLite has locks on are looked at through descriptors that stay open."""

    def __init__(self, descriptor: int, close: bool) -> None:
        self._descriptor, self._close = descriptor, close
        self._map: mmap.mmap | None = None

    def __enter__(self) -> mmap.mmap | None:
        if os.fstat(self._descriptor).st_size:
            self._map = mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ)
        return self._map

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()
        if self._close:
            os.close(self._descriptor)


def _content(journal: SqliteJournal, path: Path) -> _Mapped:
    held = {journal.path: journal.guard}
    file = None if journal.keyring is None else journal.keyring.file
    if isinstance(file, KeysFile):
        held[file.path] = file.guard
    descriptor = held.get(str(path), -1)
    if descriptor >= 0:
        return _Mapped(descriptor, False)
    return _Mapped(os.open(path, os.O_RDONLY | os.O_CLOEXEC), True)
