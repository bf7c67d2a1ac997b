"""Attachments and artifacts of sealed runs: their bytes are sealed with the run's key before a store sees them.

What is stored names the run and its key, so that it opens wherever it is found. The address of a sealed artifact is
that of its sealed bytes: it says nothing about the content, and no two runs share one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from ...errors import FileRefused
from ...events import Opener, Seal, Withheld
from ...events.sealing import key_of_file, opened_file, sealed_file
from ...ports import ArtifactStore
from .names import checked_media_type, checked_name, same_name_key
from .stager import DirectoryStager, MemoryStager


def opened(stored: bytes, opener: Opener, what: str) -> bytes:
    """The content of what was stored, sealed or not.

    Raises:
        FileRefused: its key is not here or destroyed, or it is damaged.
    """
    named = key_of_file(stored)
    if named is None:
        return stored
    seal = opener(*named)
    if seal == "erased":
        raise FileRefused(f"{what} was erased")
    if isinstance(seal, str):
        raise FileRefused(f"{what} is sealed, and its key is not here; open the journal with the host's key")
    try:
        return opened_file(stored, seal)
    except ValueError as error:
        raise FileRefused(f"{what} is damaged") from error


class OpenedArtifacts:
    """`ports.ArtifactStore` over another: opens what is sealed in it. What is put is stored as it is given."""

    def __init__(self, store: ArtifactStore, opener: Opener) -> None:
        self.store, self._opener = store, opener

    def put(self, content: bytes) -> str:
        """See `ports.ArtifactStore.put`."""
        return self.store.put(content)

    def get(self, sha256: str) -> bytes:
        """See `ports.ArtifactStore.get`."""
        return opened(self.store.get(sha256), self._opener, f"artifact {sha256}")


class SealedStager:
    """`ports.FileStager` over one of ours: names and bytes of attachments of sealed runs are sealed.

    seal: a run's key, made if it has none yet.
    """

    def __init__(
        self,
        stager: DirectoryStager | MemoryStager,
        seal: Callable[[str], Seal | Withheld | None],
        opener: Opener,
    ) -> None:
        self.stager, self._seal, self._opener = stager, seal, opener
        self._salt = secrets.token_bytes(32)

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        """See `ports.FileStager.stage`. The same file twice, or another of the same name, is refused."""
        seal = self._seal(run_id)
        if seal is None:
            return self.stager.stage(run_id, agent, name, media_type, content)
        if isinstance(seal, str):
            raise FileRefused(f"run {run_id}: its content is {seal}")
        # Not to be guessed, and the same for the same name: of two files of one name the second is refused.
        known = self._salt + run_id.encode() + same_name_key(checked_name(name)).encode()
        hidden = hashlib.blake2b(known, digest_size=16).hexdigest()
        checked_media_type(media_type)
        return self.stager.stage(run_id, agent, hidden, "application/octet-stream", sealed_file(content, run_id, seal))

    def open(self, run_id: str, file_id: str) -> bytes:
        """See `ports.FileStager.open`."""
        return opened(self.stager.open(run_id, file_id), self._opener, f"file {file_id}")

    def forget(self, run_id: str) -> None:
        """See `DirectoryStager.forget`."""
        self.stager.forget(run_id)
