"""The ports to files: attachments that come with a run, artifacts it makes, and where its output goes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

import msgspec

from ..events import ArtifactStored, RunInfo, RunStats, Status


class InputFile(msgspec.Struct, frozen=True):
    """An attachment of a run's input. Images go to the model; anything else to the host's `FileStager`."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


@runtime_checkable
class FileStager(Protocol):
    """Keeps attachments under the scope of their run. The bytes never enter the model's context.

    It may have a third method, `forget(run_id)`: called for a run that was not started after all, when some of its
    attachments were staged.
    """

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str | Awaitable[str]:
        """Store an attachment; returns its file id.

        Raises:
            FileRefused: a bad name, or too large; the run is not started.
        """
        ...

    def open(self, run_id: str, file_id: str) -> bytes:
        """The attachment's content.

        Raises:
            FileRefused: this run has no such file.
        """
        ...


@runtime_checkable
class ArtifactStore(Protocol):
    """Keeps what runs make, by the SHA-256 of the content."""

    def put(self, content: bytes) -> str:
        """Store; returns the address (SHA-256, hex) when it is safe. The same content twice is stored once."""
        ...

    def get(self, sha256: str) -> bytes:
        """The content.

        Raises:
            FileRefused: there is none, or it is damaged.
        """
        ...


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery is handed. key: the same for every attempt, so that a receiver can tell a repetition."""

    key: str
    info: RunInfo
    status: Status
    output: str
    error: str
    stats: RunStats
    artifacts: tuple[ArtifactStored, ...] = ()
    attempt: int = 1


@runtime_checkable
class Delivery(Protocol):
    """Takes a run's output somewhere. May be `async def`. It may be handed the same parcel again after a crash."""

    def deliver(self, parcel: Parcel, artifacts: ArtifactStore) -> str | Awaitable[str | None] | None:
        """Deliver; returns a receipt, if there is one.

        Raises:
            DeliveryRefused: it will never work; anything else is tried again later.
        """
        ...
