"""A palette of the agents and skills that this process registered, by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, TypeVar

from ...ports import Agent, Skill

Allow: TypeAlias = Callable[[str, Literal["agent", "skill"], str], bool]
"""`allow(caller_id, kind, name)`: whether this caller may use it."""

E = TypeVar("E", Agent, Skill)


class RegisteredPalette:
    """Agents and skills by name; thread-safe.

    allow: decides per caller, on every look-up, on the thread that asks; None allows everybody. To a caller that may
    not use a name, the name does not exist. What `allow` raises goes to whoever looked the name up.

    Raises:
        TypeError: something that is neither an Agent nor a Skill.
        ValueError: two agents, or two skills, of one name.
    """

    def __init__(
        self, agents: Iterable[Agent] = (), skills: Iterable[Skill] = (), *, allow: Allow | None = None
    ) -> None:
        self._allow = allow
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}
        self._skills: dict[str, Skill] = {}
        for agent in agents:
            self._add(agent, Agent, self._agents)
        for skill in skills:
            self._add(skill, Skill, self._skills)

    def add(self, entry: Agent | Skill) -> None:
        """Register one more; the next look-up finds it.

        Raises:
            TypeError: neither an Agent nor a Skill.
            ValueError: there is already one of this kind and name.
        """
        if isinstance(entry, Skill):
            self._add(entry, Skill, self._skills)
        else:
            self._add(entry, Agent, self._agents)

    def agent(self, caller_id: str, name: str) -> Agent | None:
        """The agent of that name, if there is one and the caller may use it."""
        found = self._agents.get(name)
        return found if found is not None and self._allowed(caller_id, "agent", name) else None

    def skill(self, caller_id: str, name: str) -> Skill | None:
        """The skill of that name, if there is one and the caller may use it."""
        found = self._skills.get(name)
        return found if found is not None and self._allowed(caller_id, "skill", name) else None

    def agents(self) -> tuple[Agent, ...]:
        """Every agent, by name, whoever may use it."""
        with self._lock:
            return tuple(self._agents[name] for name in sorted(self._agents))

    def skills(self) -> tuple[Skill, ...]:
        """Every skill, by name, whoever may use it."""
        with self._lock:
            return tuple(self._skills[name] for name in sorted(self._skills))

    def _add(self, entry: E, kind: type[E], entries: dict[str, E]) -> None:
        if not isinstance(entry, kind):
            raise TypeError(f"RegisteredPalette: expected an {Agent.__name__} or a {Skill.__name__}, got {entry!r}")
        with self._lock:
            if entries.setdefault(entry.name, entry) is not entry:
                raise ValueError(f"RegisteredPalette: two {kind.__name__.lower()}s are named {entry.name!r}")

    def _allowed(self, caller_id: str, kind: Literal["agent", "skill"], name: str) -> bool:
        if self._allow is None:
            return True
        answer = self._allow(caller_id, kind, name)
        if not isinstance(answer, bool):  # an `async def` would answer with a coroutine, which counts as true
            raise TypeError(f"RegisteredPalette, allow: expected a plain function that returns a bool, got {answer!r}")
        return answer
