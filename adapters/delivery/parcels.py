"""What a receiver outside this process is told about a parcel, as plain JSON values."""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import DeliveryRefused, FileRefused
from ...events import ArtifactStored
from ...ports import ArtifactStore, Parcel

FORMAT = "executus-parcel/1"


def described(parcel: Parcel) -> dict[str, Any]:
    """Everything but the output and the artifacts. The same for every attempt, so the attempt's number is not there."""
    return {
        "format": FORMAT,
        "key": parcel.key,
        "run_id": parcel.info.run_id,
        "status": parcel.status,
        "error": parcel.error,
        "info": msgspec.to_builtins(parcel.info),
        "stats": msgspec.to_builtins(parcel.stats),
    }


def described_artifact(artifact: ArtifactStored, sha256: str) -> dict[str, Any]:
    """An artifact without its bytes. sha256: of its content, which is not its address if the run is sealed."""
    return {
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size": artifact.size,
        "sha256": sha256,
    }


def content_of(artifact: ArtifactStored, artifacts: ArtifactStore) -> bytes:
    """The artifact's bytes.

    Raises:
        DeliveryRefused: they are lost or damaged, which no further attempt changes.
    """
    try:
        return artifacts.get(artifact.sha256)
    except FileRefused as error:
        raise DeliveryRefused(f"artifact {artifact.name!a} cannot be delivered: {error}") from error
