"""What tests of sealed journals share: keys, sealed journals, and a look at the bytes on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from executus.adapters.keys.sources import HostKey, encryption_of
from executus.ports import Encryption

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def encryption(key: bytes = KEY) -> Encryption:
    """How a test's journal is sealed."""
    return encryption_of(HostKey(key))


def files_under(folder: Path) -> list[Path]:
    """Every file in a folder but SQLite's index of a log, which holds numbers and its locks."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))


def files_with(folder: Path, phrases: Iterable[bytes | str]) -> list[tuple[str, str]]:
    """(file, phrase) for each phrase that stands in a file's bytes or its name."""
    wanted = [phrase if isinstance(phrase, bytes) else phrase.encode() for phrase in phrases]
    found: list[tuple[str, str]] = []
    for path in files_under(folder):
        content = path.read_bytes()
        found += [
            (path.relative_to(folder).as_posix(), phrase.decode(errors="replace"))
            for phrase in wanted
            if phrase in content or phrase in path.relative_to(folder).as_posix().encode()
        ]
    return found
