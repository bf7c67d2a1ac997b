"""The port to the palette: where the agents and skills that an agent may call come from."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from .agents import Agent, Skill


@runtime_checkable
class Palette(Protocol):
    """Resolves names for a caller. Either method may be `async def`; None means that there is none for this caller."""

    def agent(self, caller_id: str, name: str) -> Agent | Awaitable[Agent | None] | None:
        """The agent of that name."""
        ...

    def skill(self, caller_id: str, name: str) -> Skill | Awaitable[Skill | None] | None:
        """The skill of that name."""
        ...
