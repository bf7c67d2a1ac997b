"""The values that facts are made of: messages and their parts, tool calls, usage, limits, who and what a run is.

All are frozen msgspec structs without behaviour. Text in them has passed `events.clean`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final

import msgspec

EffectClass: TypeAlias = Literal["pure", "idempotent", "reconcilable", "never_retry"]
"""What running a tool twice means. `pure`: nothing; `idempotent`: nothing, with the same key; `reconcilable`:
ask the tool what happened (`ports.Reconciles`); `never_retry`: unknown, so never."""

Status: TypeAlias = Literal["ok", "error", "timeout", "killed", "cancelled", "budget_exceeded", "dry_run"]
"""How a run ended (promise P5)."""

StopReason: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter", "refusal", "other"]
"""Why the model stopped, normalised over providers."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Settings shared by every value: frozen, map encoding, defaults left out. Values are trees, which the garbage
    collector need not visit.
    """


# ------------------------------------------------------------------ what a message is made of


@final
class Text(Value, tag="text", frozen=True):
    """Plain text."""

    text: str


@final
class Thinking(Value, tag="thinking", frozen=True):
    """A model's reasoning, kept verbatim: providers refuse the next call when it or its signature is altered."""

    text: str
    signature: str | None = None
    id: str | None = None
    provider: str | None = None
    extra: dict[str, Any] | None = None


class Image(Value, tag="image", frozen=True):
    """An image: its bytes, or a URL the provider fetches itself. Exactly one of `data` and `url` is given."""

    media_type: str
    data: bytes | None = None
    url: str | None = None


@final
class ToolCall(Value, tag="tool-call", frozen=True):
    """The model asks for a tool. `id` is the provider's; `arguments` is its JSON text, verbatim and perhaps invalid."""

    id: str
    name: str
    arguments: str = "{}"


class ToolResult(Value, tag="tool-result", frozen=True):
    """What a tool answered to the call with the provider's id `id`."""

    id: str
    name: str
    text: str
    is_error: bool = False


InputPart: TypeAlias = Text | Image
ReplyPart: TypeAlias = Text | Thinking | ToolCall
Part: TypeAlias = Text | Image | Thinking | ToolCall | ToolResult
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class Message(Value, frozen=True):
    """One message of a transcript, as the next model call needs it."""

    role: Role
    parts: tuple[Part, ...]


class Usage(Value, frozen=True):
    """Tokens of one model call as the provider counted them; `output` includes `thinking`. `cost_usd` if known."""

    input: int = 0
    output: int = 0
    thinking: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_usd: float | None = None


# ------------------------------------------------------------------ what a run is


class RunInfo(Value, frozen=True, kw_only=True):
    """Who asked for what: the attribution that audit, budget and critic need. Ids of the host are opaque text."""

    run_id: str
    name: str
    subject_id: str = ""
    caller_id: str = ""
    channel_id: str = ""
    guild_id: str = ""
    parent_run_id: str = ""
    model_tier: str = ""
    inputs: dict[str, Any] = {}
    request_id: str = ""
    root_run_id: str = ""
    """The run at the top of the family, empty for that run itself; its caller pays for all."""
    depth: int = 0
    """How many ancestors the run has."""
    started_at_us: int = 0
    """Wall clock, microseconds since 1970 UTC."""
    max_iterations: int = 0


class Totals(Value, frozen=True, kw_only=True):
    """What was spent, as limits count it. tokens: input and output together."""

    steps: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def plus(self, other: Totals) -> Totals:
        """The sum of both."""
        return Totals(
            steps=self.steps + other.steps,
            tool_calls=self.tool_calls + other.tool_calls,
            tokens=self.tokens + other.tokens,
            cost_usd=self.cost_usd + other.cost_usd,
        )

    def minus(self, other: Totals) -> Totals:
        """What was spent since `other`."""
        return Totals(
            steps=self.steps - other.steps,
            tool_calls=self.tool_calls - other.tool_calls,
            tokens=self.tokens - other.tokens,
            cost_usd=self.cost_usd - other.cost_usd,
        )


class Limits(Value, frozen=True, kw_only=True):
    """Where a run ends by itself; None is no limit. Counts of a run include its children, except steps.

    timeout_s: awake seconds, without the time spent waiting for a person. max_tokens: input and output together.
    """

    max_steps: int = 50
    timeout_s: float | None = 3600.0
    max_attempts: int = 4
    """Model calls for one step before its error is final."""
    soft_timeout_s: float | None = None
    """After so many seconds of work the critic looks at the run."""
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_depth: int = 3
    """Levels of children below this run."""
    raise_steps_to: int | None = None
    """How far the critic may raise `max_steps`; None: to twice what the run started with."""
    extend_to_s: float | None = None
    """How far the critic may extend `timeout_s`; None: to twice what the run started with."""
    notice_at: tuple[float, ...] = (0.8, 0.95)
    """Fractions of a limit at which the model is told."""


class PhasePrint(Value, frozen=True, kw_only=True):
    """What a phase of an agent was when the run started. limits: its own, within the run's; None is the run's."""

    name: str
    instructions: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    max_steps: int | None = None
    timeout_s: float | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None


class AgentPrint(Value, frozen=True, kw_only=True):
    """What the agent was when the run started; `fingerprint` tells whether it has changed since."""

    name: str
    model: str
    instructions: str = ""
    tools: tuple[str, ...] = ()
    fingerprint: str = ""
    phases: tuple[PhasePrint, ...] = ()
    kind: Literal["agent", "skill"] = "agent"
    overridden: tuple[str, ...] = ()
    """What of it is another than the agent's of that name, for this run alone: "model", "tools"."""


class Edit(Value, frozen=True, kw_only=True):
    """Something that was made different in a fork. what: such as "model", "limits.max_steps", "messages.3" or
    "results.2.0". before, after: as text, the head of it; empty if there was, or is, none.
    """

    what: str
    before: str = ""
    after: str = ""


class RunStats(Value, frozen=True, kw_only=True):
    """The roll-up of a run; the one in `RunFinished` equals the fold of the run's events."""

    status: Status
    output: str = ""
    error: str = ""
    steps: int = 0
    tool_calls: int = 0
    runtime_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cost_usd: float = 0.0
