"""Artifacts beside a journal that nobody hosts here, for reading only."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import FileRefused


class Artifacts:
    """The folder of artifacts that a host keeps beside its journal; makes and mends nothing. folder: None has none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, sha256: str) -> bytes:
        """The content, by its address of 64 hexadecimal digits.

        Raises:
            FileRefused: there is none, it is damaged, or it is sealed, which only a host can open.
        """
        path = None if self._folder is None else self._folder / sha256
        if path is None or not path.is_file() or path.is_symlink():
            raise FileRefused(f"there is no artifact {sha256[:16]}… here")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FileRefused(f"the artifact {sha256[:16]}… is damaged, or sealed: ask the host that made it")
        return content
