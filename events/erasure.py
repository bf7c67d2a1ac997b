"""The fact that a run's content was erased."""

from __future__ import annotations

from typing import final

from .shape import FactStruct


@final
class ContentErased(FactStruct, frozen=True):
    """Everything that people, models and tools said in this run is gone for ever; numbers, names and times stay.

    Allowed after the end, and stored in the clear: `by` and `reason` stay too.
    """

    by: str = ""
    reason: str = ""
