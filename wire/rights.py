"""Who may ask what: four roles, each with all that the one before it may."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Role: TypeAlias = Literal["viewer", "steerer", "owner", "operator"]
"""viewer: reads. steerer: also advises, sends messages, answers what waits for approval. owner: also starts, stops and
gives more, of its own caller's runs and up to their caps. operator: everything."""

ROLES: Final[tuple[Role, ...]] = ("viewer", "steerer", "owner", "operator")


def may(role: Role, needs: Role) -> bool:
    """Whether `role` is enough where `needs` is the least."""
    return ROLES.index(role) >= ROLES.index(needs)
