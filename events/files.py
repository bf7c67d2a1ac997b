"""Facts of files and of where a run's output goes. Bytes are never in a fact: ids and hashes are."""

from __future__ import annotations

from typing import final

from .shape import FactStruct


@final
class InputStaged(FactStruct, frozen=True):
    """An attachment of the input was put where tools can open it by `file_id`; the model is told name, kind and id."""

    file_id: str
    name: str
    media_type: str
    size: int
    sha256: str


@final
class ArtifactStored(FactStruct, frozen=True):
    """The run made a file; `sha256` (hex) is its content's address. call: the tool call that made it, or empty."""

    sha256: str
    name: str
    media_type: str
    size: int
    call: str = ""


@final
class DeliveryAttempted(FactStruct, frozen=True):
    """The output is about to be handed to the host's delivery; `key` is the same at every attempt."""

    attempt: int
    key: str


@final
class Delivered(FactStruct, frozen=True):
    """The delivery took the output. receipt: what it said, such as a path or an id."""

    attempt: int
    receipt: str = ""


@final
class DeliveryFailed(FactStruct, frozen=True):
    """An attempt failed. With `retry_at_us` (wall clock) it is tried again then; without it never: a dead letter."""

    attempt: int
    error: str
    retry_at_us: int | None = None
