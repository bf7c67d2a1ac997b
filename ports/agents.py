"""What a host asks to be run: agents, their phases, and skills."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import msgspec

from ..events import EffectClass, Limits
from .models import Model
from .supervision import Critic
from .tools import Tool, ToolMode

DELEGATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,57}")
"""What providers take after "agent__" and "skill__"."""

MOST = 1 << 53
"""Whole numbers stay below this, so that every reader of a log can hold them."""


NOBODY = "none:none"
"""The model of an agent that is not in this host: it is never asked anything."""


def is_seconds(value: object) -> bool:
    """Whether `value` may be stored as a time limit: a plain int or float above 0 (no bool, no Decimal), or None."""
    return value is None or (type(value) in (int, float) and value > 0)  # type: ignore[operator]


class Progress(msgspec.Struct, frozen=True):
    """News of a child run for whoever delegated to it. emoji: a picture for chat hosts, as the reference kernel has."""

    run_id: str
    event: str
    emoji: str = ""


@dataclass(frozen=True, kw_only=True)
class Delegate:
    """An agent or a skill that an agent may call, with what this agent wants to be different.

    tier: instead of the one it was made for. prefix: text put before every prompt. tools: names of the only tools it
    keeps, None for all. max_steps, timeout_s, max_tool_calls, max_tokens, max_cost_usd: of each child run, never more
    than what the parent has left. on_progress: told what the child does; on the runtime's threads, never blocking.
    """

    name: str = field(kw_only=False)
    tier: str = ""
    prefix: str = ""
    tools: Sequence[str] | None = None
    max_steps: int | None = None
    timeout_s: float | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    on_progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            TypeError, ValueError: with what was expected.
        """
        _named("Delegate", self.name)
        if isinstance(self.tools, str):
            raise TypeError(f"Delegate {self.name!r}, tools: expected a sequence of names, got {self.tools!r}")
        _limits(f"Delegate {self.name!r}", self)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of an agent that works in parts, each with a conversation of its own.

    model, tools: None takes the agent's. output: a type that the phase's last words, as JSON, must fit (anything that
    msgspec decodes); the model is told what did not fit and tries again. Limits are the phase's own, within the run's.
    """

    name: str = field(kw_only=False)
    instructions: str = ""
    model: str | Model | None = None
    tier: str = ""
    tools: Sequence[Tool] | None = None
    output: Any = None
    max_steps: int | None = None
    timeout_s: float | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            TypeError, ValueError: with what was expected.
        """
        _named("Phase", self.name)
        what = f"Phase {self.name!r}"
        if not isinstance(self.instructions, str) or not isinstance(self.tier, str):
            raise TypeError(f"{what}, instructions and tier: expected strings")
        if self.model is not None and not isinstance(self.model, (str, Model)):
            raise TypeError(f"{what}, model: expected 'provider:name', a Model or None, got {self.model!r}")
        _limits(what, self)
        _tools(what, self.tools or ())


@dataclass(frozen=True, kw_only=True)
class Agent:
    """What to run: a model, instructions, tools and limits.

    name: how `Runtime.start` finds it. model: "provider:name", a name from `Runtime(models=…)`, or a `Model`; None
    takes the model of `tier` from `Runtime(tiers=…)`. agents, skills: names, or `Delegate`s, that it may call as tools
    `agent__NAME` and `skill__NAME`. phases: parts it works in, one after the other. output: a type that its last words
    must fit, as for a phase. critic: who watches its runs, instead of the runtime's.

    max_steps: model calls at most. timeout_s: awake seconds at most, None for no limit. max_attempts: model calls for
    one step before its error is final. model_timeout_s: seconds for one model call. soft_timeout_s: seconds after which
    the critic looks. max_tool_calls, max_tokens (input and output), max_cost_usd: at most, children included, None for
    no limit. max_depth: levels of children. raise_steps_to, extend_to_s: how far a critic may go, None for twice the
    limit. notice_at: fractions of a limit at which the model is told. max_call_tokens: the most that one model call
    uses, which a caller's budget reserves; None is an estimate. settings: passed to the model.
    """

    name: str = field(kw_only=False)
    model: str | Model | None = None
    instructions: str = ""
    description: str = ""
    tools: Sequence[Tool] = ()
    agents: Sequence[str | Delegate] = ()
    skills: Sequence[str | Delegate] = ()
    phases: Sequence[Phase] = ()
    output: Any = None
    critic: Critic | None = None
    max_steps: int = 50
    timeout_s: float | None = 3600.0
    max_attempts: int = 4
    model_timeout_s: float | None = 600.0
    soft_timeout_s: float | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_depth: int = 3
    raise_steps_to: int | None = None
    extend_to_s: float | None = None
    notice_at: tuple[float, ...] = (0.8, 0.95)
    max_call_tokens: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tier: str = ""
    kind: Literal["agent", "skill"] = "agent"

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            TypeError, ValueError: with what was expected.
        """
        _named("Agent", self.name)
        what = f"Agent {self.name!r}"
        words = {"instructions": self.instructions, "description": self.description, "tier": self.tier}
        for label, word in words.items():
            if not isinstance(word, str):
                raise TypeError(f"{what}, {label}: expected a string, got {word!r}")
        if self.model is None:
            if not self.tier:
                raise TypeError(f"{what}: expected a model, or a tier of Runtime(tiers=…)")
        elif not isinstance(self.model, (str, Model)):
            raise TypeError(f"{what}, model: expected 'provider:name' or a Model, got {self.model!r}")
        _limits(what, self)
        for label, seconds in (("model_timeout_s", self.model_timeout_s), ("extend_to_s", self.extend_to_s)):
            if not is_seconds(seconds):
                raise ValueError(f"{what}, {label}: expected seconds > 0 or None, got {seconds!r}")
        if type(self.max_depth) is not int or not 0 <= self.max_depth <= 100:
            raise ValueError(f"{what}, max_depth: expected a whole number from 0 to 100, got {self.max_depth!r}")
        for fraction in self.notice_at:
            if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
                raise ValueError(f"{what}, notice_at: expected fractions between 0 and 1, got {fraction!r}")
        try:
            "".join((self.name, self.tier, self.model_name)).encode()
        except (TypeError, UnicodeEncodeError) as error:
            sentence = f"{what}: expected name, tier and the model's name as text without lone surrogates"
            raise ValueError(sentence) from error
        seen = _tools(what, self.tools)
        for kind, entries in (("agent", self.agents), ("skill", self.skills)):
            if isinstance(entries, str):
                raise TypeError(f"{what}, {kind}s: expected a sequence of names, got {entries!r}")
            for entry in entries:
                if not isinstance(entry, (str, Delegate)):
                    raise TypeError(f"{what}, {kind}s: expected names or Delegate objects, got {entry!r}")
                called = entry if isinstance(entry, str) else entry.name
                if not DELEGATE_NAME.fullmatch(called):
                    wanted = "1 to 57 of A-Z a-z 0-9 _ -, as providers take them"
                    raise ValueError(f"{what}, {kind}s: expected a name of {wanted}, got {called!r}")
                name = f"{kind}__{called}"
                if name in seen:
                    raise ValueError(f"{what}: two tools are named {name!r}")
                seen.add(name)
        phases = [phase.name for phase in self.phases]
        if len(set(phases)) != len(phases):
            raise ValueError(f"{what}, phases: two phases have the same name")

    @property
    def model_name(self) -> str:
        """The model's name as recorded; for an agent that has only a tier, "tier:NAME"."""
        if self.model is None:
            return f"tier:{self.tier}"
        return self.model if isinstance(self.model, str) else self.model.name

    @property
    def model_key(self) -> str | Model:
        """What the runtime looks the model up by: the model itself, its name, or "tier:NAME"."""
        return self.model if self.model is not None else f"tier:{self.tier}"

    def in_phase(self, name: str) -> Agent:
        """The agent as it works in the phase `name`: with that phase's model, tools and output. Itself without one."""
        if not name:
            return self
        return self._in_phases.get(name, self)

    @cached_property
    def _in_phases(self) -> dict[str, Agent]:
        found: dict[str, Agent] = {}
        for phase in self.phases:
            other = phase.model is not None or bool(phase.tier)
            found[phase.name] = replace(
                self,
                model=phase.model if other else self.model,
                tier=phase.tier if other else self.tier,
                tools=self.tools if phase.tools is None else phase.tools,
                output=phase.output,
                phases=(),
            )
        return found

    @property
    def delegates(self) -> dict[str, tuple[Literal["agent", "skill"], Delegate]]:
        """What it may call, by the name of the tool."""
        found: dict[str, tuple[Literal["agent", "skill"], Delegate]] = {}
        kinds: tuple[tuple[Literal["agent", "skill"], Sequence[str | Delegate]], ...]
        kinds = (("agent", self.agents), ("skill", self.skills))
        for kind, entries in kinds:
            for entry in entries:
                delegate = entry if isinstance(entry, Delegate) else Delegate(entry)
                found[f"{kind}__{delegate.name}"] = (kind, delegate)
        return found

    def limits(self) -> Limits:
        """The limits of a run of this agent, as the log has them."""
        return Limits(
            max_steps=self.max_steps,
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            soft_timeout_s=self.soft_timeout_s,
            max_tool_calls=self.max_tool_calls,
            max_tokens=self.max_tokens,
            max_cost_usd=self.max_cost_usd,
            max_depth=self.max_depth,
            raise_steps_to=self.raise_steps_to,
            extend_to_s=self.extend_to_s,
            notice_at=tuple(self.notice_at),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) over model, instructions, settings, every tool's name, schema and effect, and
        the names of what it delegates to and of its phases, where it has any.
        """
        tools = sorted(
            (tool.spec.name, tool.effect, msgspec.json.encode(tool.spec.schema, order="sorted")) for tool in self.tools
        )
        settings = sorted((key, repr(value)) for key, value in self.settings.items())
        what: tuple[Any, ...] = (self.model_name, self.instructions, tools, settings)
        if self.phases or self.agents or self.skills:
            phases = [(phase.name, phase.instructions, phase.tier) for phase in self.phases]
            what = (*what, phases, sorted(self.delegates))
        return hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A way of doing one thing, called with structured inputs: instructions for a model of the caller's choice.

    inputs: JSON Schema of its inputs, an object. model or tier: who carries it out; without either, the caller's model.
    source: where it was read from, for people.
    """

    name: str = field(kw_only=False)
    description: str = ""
    instructions: str = ""
    inputs: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"request": {"type": "string"}}}
    )
    model: str | Model | None = None
    tier: str = ""
    tools: Sequence[Tool] = ()
    max_steps: int = 20
    timeout_s: float | None = 600.0
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            TypeError, ValueError: with what was expected.
        """
        _named("Skill", self.name)
        what = f"Skill {self.name!r}"
        for label, word in (("description", self.description), ("instructions", self.instructions)):
            if not isinstance(word, str):
                raise TypeError(f"{what}, {label}: expected a string, got {word!r}")
        if not isinstance(self.inputs, Mapping) or self.inputs.get("type") != "object":
            raise ValueError(f"{what}, inputs: expected a JSON Schema with type 'object', got {self.inputs!r}")
        _limits(what, self)
        _tools(what, self.tools)


def _named(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} name: expected a non-empty string, got {name!r}")


def _limits(what: str, limited: Any) -> None:
    """Check every limit that `limited` has."""
    for label in ("max_steps", "max_attempts", "max_tool_calls", "max_tokens", "max_call_tokens", "raise_steps_to"):
        number = getattr(limited, label, None)
        needed = label in ("max_steps", "max_attempts") and isinstance(limited, (Agent, Skill))
        if (number is None and not needed) or (type(number) is int and 1 <= number < MOST):
            continue
        if hasattr(limited, label):
            raise ValueError(f"{what}, {label}: expected a whole number ≥ 1, got {number!r}")
    for label in ("timeout_s", "soft_timeout_s"):
        seconds = getattr(limited, label, None)
        if not is_seconds(seconds):
            raise ValueError(f"{what}, {label}: expected seconds > 0 or None, got {seconds!r}")
    cost = getattr(limited, "max_cost_usd", None)
    if cost is not None and not (type(cost) in (int, float) and cost > 0):
        raise ValueError(f"{what}, max_cost_usd: expected dollars > 0 or None, got {cost!r}")


def _tools(what: str, tools: Sequence[Tool]) -> set[str]:
    """Check tools; their names are returned."""
    seen: set[str] = set()
    for one in tools:
        if not isinstance(one, Tool):
            raise TypeError(f"{what}, tools: expected @tool functions or Tool objects, got {one!r}")
        if one.effect not in get_args(EffectClass) or one.mode not in get_args(ToolMode):
            known = f"effect {' | '.join(get_args(EffectClass))} and mode {' | '.join(get_args(ToolMode))}"
            raise ValueError(f"{what}, tool {one.spec.name!r}: expected {known}, got {one!r}")
        if one.spec.name in seen:
            raise ValueError(f"{what}, tools: two tools are named {one.spec.name!r}")
        seen.add(one.spec.name)
    return seen
