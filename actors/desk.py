"""What a tool may ask of its run while it works."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import FileRefused, JournalError
from ..events import ArtifactStored, RunForked, Seal, Withheld
from ..events.clean import clean_text
from ..events.sealing import sealed_file
from ..ports import ArtifactStore, FileStager, Journal
from ..projections import self_status
from .run.messages import StoreArtifact

if TYPE_CHECKING:
    from .run.actor import RunActor

NAME = 255
"""Characters kept of an artifact's name."""


class RunDesk:
    """`ports.Desk` for one tool call. Thread-safe: it reads what the run's actor last decided, and tells it things.

    check: returns a file name as it may be kept, or raises `FileRefused`.
    """

    def __init__(
        self,
        actor: RunActor,
        call: str,
        files: FileStager | None,
        artifacts: ArtifactStore,
        check: Callable[[str], str],
    ) -> None:
        self._actor, self._call, self._files, self._artifacts, self._check = actor, call, files, artifacts, check

    def status(self) -> dict[str, Any]:
        """See `ports.Desk.status`."""
        return self_status(self._actor.state, self._actor.now_ms())

    def open_file(self, file_id: str) -> bytes:
        """See `ports.Desk.open_file`."""
        if self._files is None:
            raise FileRefused("this host keeps no attachments: Runtime(files=...)")
        run_id = self._actor.address.run_id
        try:
            return self._files.open(run_id, file_id)
        except FileRefused:
            for source in sources(self._actor.around.journal, run_id):
                with suppress(FileRefused):
                    return self._files.open(source, file_id)
            raise

    def keep(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> str:
        """See `ports.Desk.keep`."""
        if isinstance(name, str):
            name = self._actor.around.vault.redactor.file_name(name)
        seal = self._actor.around.journal.seal(self._actor.address.run_id, files=True)
        stored = kept(
            self._artifacts, self._check(name), content, media_type, self._call, self._actor.address.run_id, seal
        )
        self._actor.address.tell(StoreArtifact(artifact=stored))
        return stored.sha256


def sources(journal: Journal, run_id: str) -> Iterator[str]:
    """The run that this one goes on from, the one that that one does, and so on: their attachments are its too."""
    with suppress(JournalError):
        while (second := journal.read(run_id, after=1, limit=1)) and isinstance(second[0].fact, RunForked):
            run_id = second[0].fact.source
            yield run_id


def kept(
    store: ArtifactStore,
    name: object,
    content: object,
    media_type: object,
    call: str = "",
    run_id: str = "",
    seal: Seal | Withheld | None = None,
) -> ArtifactStored:
    """Store a file's bytes, sealed with the run's key if it has one; returns the fact that says so.

    Raises:
        FileRefused: too large, or the store failed.
        TypeError, ValueError: a wrong argument, with what was expected.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"artifact, name: expected a non-empty string, got {name!r}")
    if not isinstance(content, bytes):
        raise TypeError(f"artifact, content: expected bytes, got {type(content).__name__}")
    if not isinstance(media_type, str):
        raise TypeError(f"artifact, media_type: expected a string, got {media_type!r}")
    size = len(content)
    if isinstance(seal, str):
        raise FileRefused(f"run {run_id}: its content is {seal}")
    if seal is not None:
        content = sealed_file(content, run_id, seal)
    address = store.put(content)
    if address != hashlib.sha256(content).hexdigest():
        raise FileRefused(f"the artifact store answered {address!r}, which is not the content's SHA-256")
    return ArtifactStored(
        sha256=address,
        name=clean_text(name, NAME),
        media_type=clean_text(media_type, NAME),
        size=size,
        call=call,
    )
