"""Files of skill folders, read without ever leaving the folder they must lie in, and the tool that reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...ports import Tool
from ..tools.functions import tool

MOST_LISTED = 100
"""Files that are named when a skill asks for one that is not there."""


def read_confined(inside: Path, path: Path, most_bytes: int) -> str:
    """The text of the file `path`, which must lie in the folder `inside` after every link is followed.

    inside: resolved. It never waits, as a pipe would make it.

    Raises:
        ValueError: it lies elsewhere, is no plain file, is larger than `most_bytes`, or is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        resolved = path.resolve()
    except RuntimeError as error:  # links in a circle, in Python 3.11 and 3.12
        raise ValueError(f"{path.name} is a link to itself") from error
    if not resolved.is_relative_to(inside):
        raise ValueError(f"{path.name} leads out of {inside}")
    # The last part is no link any more: O_NOFOLLOW refuses one that was put there since.
    number = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise ValueError(f"{path.name} is not a plain file")
        with open(number, "rb", closefd=False) as file:
            content = file.read(most_bytes + 1)
    finally:
        os.close(number)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} is larger than the {most_bytes} bytes that are read")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not text in UTF-8") from error


def has_more_files(folder: Path) -> bool:
    """Whether a skill's folder has something beside its SKILL.md for a model to read."""
    return next(_files(folder), None) is not None


def skill_file_tool(folder: Path, most_bytes: int) -> Tool:
    """The tool `read_skill_file`, which reads the text files of one skill's folder.

    folder: resolved. Hidden files, and what links lead to outside the folder, are not read.
    """

    def read_skill_file(path: str) -> str:
        """Read a text file of this skill, such as references/REFERENCE.md: `path` as the instructions name it."""
        asked = Path(path)
        if any(part.startswith(".") and part != ".." for part in asked.parts):
            raise ValueError(f"{path}: hidden files are not read")
        try:
            return read_confined(folder, folder / asked, most_bytes)
        except (FileNotFoundError, NotADirectoryError) as error:
            names = sorted(islice(_files(folder), MOST_LISTED))
            raise ValueError(f"no file {path} in this skill; it has: {', '.join(names) or 'none'}") from error

    return tool(read_skill_file, effect="pure")


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            found = (Path(place) / name).relative_to(folder).as_posix()
            if not name.startswith(".") and found != "SKILL.md":
                yield found
