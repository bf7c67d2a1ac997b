"""What executus needs from the world, as Protocols. Every one is optional; adapters do not inherit from them.

Also here: what crosses those ports (`ModelRequest`, `Reply`, `ToolContext`, `RunSummary`) and `Agent`, what a host
asks to be run. Nothing here names a library of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import msgspec

from .errors import JournalError
from .events import EffectClass, Event, Message, ReplyPart, StopReason, Usage
from .events.codec import Stored
from .projections import Checkpoint

# ------------------------------------------------------------------ models


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model sees it. schema: JSON Schema of its arguments, an object."""

    name: str
    description: str
    schema: dict[str, Any]


class Delta(msgspec.Struct, frozen=True):
    """A piece of a reply while it is made; shown, never stored. step, attempt: which call it belongs to."""

    kind: Literal["text", "thinking", "arguments"]
    text: str
    step: int = 0
    attempt: int = 0


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A model's whole answer. parts: in the order the model gave them. stop: normalised over providers."""

    parts: tuple[ReplyPart, ...]
    usage: Usage = Usage()
    stop: StopReason = "stop"
    model: str = ""
    response_id: str = ""


class ModelRequest(msgspec.Struct, frozen=True):
    """One model call. messages: the transcript. settings: the agent's, passed through. on_delta: where pieces go, if
    anybody watches.
    """

    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    settings: Mapping[str, Any] = {}
    run_id: str = ""
    step: int = 0
    attempt: int = 1
    on_delta: Callable[[Delta], None] | None = None


@runtime_checkable
class Model(Protocol):
    """Answers one request. `reply` may be `async def` (runs on the runtime's loop, cancelled by cancelling its task)
    or a plain function (runs on the runtime's threads).

    It raises `ModelUnavailable` for what may pass (the run tries again) and `ModelRefused` for what will not;
    connection errors and timeouts of the standard library count as unavailable, anything else as refused. It does not
    retry by itself.
    """

    @property
    def name(self) -> str:
        """Shown and recorded, e.g. "openai:gpt-5-mini"."""
        ...

    def reply(self, request: ModelRequest) -> Reply | Awaitable[Reply]:
        """Return the model's answer to `request`."""
        ...


# ------------------------------------------------------------------ tools


class ToolContext(msgspec.Struct, frozen=True):
    """What a tool is told about its call. key: the idempotency key, the same for every attempt of this call."""

    run_id: str
    call: str
    key: str
    caller_id: str = ""


ToolMode: TypeAlias = Literal["async", "thread", "process"]
"""Where a tool runs: on the runtime's event loop, on its bounded threads, or in a child process that can be killed."""


@runtime_checkable
class Tool(Protocol):
    """Something a model may ask for."""

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        ...

    @property
    def effect(self) -> EffectClass:
        """What running it twice means; decides what happens to a call that a crash interrupted."""
        ...

    @property
    def mode(self) -> ToolMode:
        """Where it runs."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds until a call is given up, or None for the run's own deadline only."""
        ...

    def check(self, arguments: str) -> str | None:
        """Return None if `arguments` (JSON text) fit, else one sentence that tells the model what was expected."""
        ...

    def call(self, arguments: str, context: ToolContext) -> str | Awaitable[str]:
        """Run it; return the text for the model. An exception is told to the model as an error."""
        ...


# ------------------------------------------------------------------ agents

MOST = 1 << 53
"""Whole numbers stay below this, so that every reader of a log can hold them."""


def is_seconds(value: object) -> bool:
    """Whether `value` may be stored as a time limit: a plain int or float above 0 (no bool, no Decimal), or None."""
    return value is None or (type(value) in (int, float) and value > 0)  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class Agent:
    """What to run: a model, instructions, tools and limits.

    name: how `Runtime.start` finds it. model: "provider:name", a name from `Runtime(models=…)`, or a `Model`.
    max_steps: model calls at most. timeout_s: awake seconds at most, None for no limit. max_attempts: model calls for
    one step before its error is final. model_timeout_s: seconds for one model call. settings: passed to the model.
    """

    name: str = field(kw_only=False)
    model: str | Model
    instructions: str = ""
    tools: Sequence[Tool] = ()
    max_steps: int = 50
    timeout_s: float | None = 3600.0
    max_attempts: int = 4
    model_timeout_s: float | None = 600.0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tier: str = ""

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            TypeError, ValueError: with what was expected.
        """
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Agent name: expected a non-empty string, got {self.name!r}")
        for label, words in (("instructions", self.instructions), ("tier", self.tier)):
            if not isinstance(words, str):
                raise TypeError(f"Agent {self.name!r}, {label}: expected a string, got {words!r}")
        if not isinstance(self.model, (str, Model)):
            raise TypeError(f"Agent {self.name!r}, model: expected 'provider:name' or a Model, got {self.model!r}")
        for label, number in (("max_steps", self.max_steps), ("max_attempts", self.max_attempts)):
            if type(number) is not int or not 1 <= number < MOST:
                raise ValueError(f"Agent {self.name!r}, {label}: expected a whole number ≥ 1, got {number!r}")
        for label, seconds in (("timeout_s", self.timeout_s), ("model_timeout_s", self.model_timeout_s)):
            if not is_seconds(seconds):
                raise ValueError(f"Agent {self.name!r}, {label}: expected seconds > 0 or None, got {seconds!r}")
        try:
            "".join((self.name, self.tier, self.model_name)).encode()
        except (TypeError, UnicodeEncodeError) as error:
            what = f"Agent {self.name!r}: expected name, tier and the model's name as text without lone surrogates"
            raise ValueError(what) from error
        seen: set[str] = set()
        for one in self.tools:
            if not isinstance(one, Tool):
                raise TypeError(f"Agent {self.name!r}, tools: expected @tool functions or Tool objects, got {one!r}")
            if one.effect not in get_args(EffectClass) or one.mode not in get_args(ToolMode):
                known = f"effect {' | '.join(get_args(EffectClass))} and mode {' | '.join(get_args(ToolMode))}"
                raise ValueError(f"Agent {self.name!r}, tool {one.spec.name!r}: expected {known}, got {one!r}")
            if one.spec.name in seen:
                raise ValueError(f"Agent {self.name!r}, tools: two tools are named {one.spec.name!r}")
            seen.add(one.spec.name)

    @property
    def model_name(self) -> str:
        """The model's name as recorded."""
        return self.model if isinstance(self.model, str) else self.model.name

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) over model, instructions, settings and every tool's name, schema and effect."""
        tools = sorted(
            (tool.spec.name, tool.effect, msgspec.json.encode(tool.spec.schema, order="sorted")) for tool in self.tools
        )
        what = (
            self.model_name,
            self.instructions,
            tools,
            sorted((key, repr(value)) for key, value in self.settings.items()),
        )
        return hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()[:16]


# ------------------------------------------------------------------ journal


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run's row in the journal's index. version, position: of its newest event. over: a terminal fact is in."""

    run_id: str
    version: int
    first_position: int
    position: int
    over: bool
    hash: bytes


class Append(Protocol):
    """One append on its way: facts of one run, in order, that are stored together or not at all.

    expected: the run's version before it. stored: the encoded events, versions expected+1, expected+2, …
    request_key: on a run's first append, the caller-scoped key of promise P3, or "".
    `done` is called exactly once, on a thread of the journal, never under a lock: with None after the commit is
    durable (by then the events carry their positions), or with the error. After an error other than `JournalConflict`,
    `RequestRepeated` and `Deposed` it is unknown what was stored: read again.
    """

    run_id: str
    expected: int
    stored: Sequence[Stored]
    request_key: str

    def done(self, error: JournalError | None) -> None:
        """Told once how it went."""
        ...


class Follower(Protocol):
    """Told what was committed, after it was: batches in order of position. Must return at once and never raise."""

    def __call__(self, events: Sequence[Event], /) -> None:
        """Take note of `events`."""
        ...


class Journal(Protocol):
    """The event store. Thread-safe. Append-only: positions grow and are never reused; readers see what is durable."""

    @property
    def epoch(self) -> int:
        """The ownership under which this journal appends; one higher at every opening by an owner."""
        ...

    def append(self, append: Append) -> None:
        """Queue an append; returns at once.

        Raises:
            JournalUnavailable: the journal is closed; `done` is then not called.
            Overloaded: its queue is full; `done` is then not called.
        """
        ...

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """The run's events with version > `after`, in order; at most `limit`. `verify` checks the hash chain.

        Raises:
            UnknownRun: no such run.
            LogCorrupt: an event does not decode, is missing, or (with `verify`) the chain is broken.
        """
        ...

    def load(self, run_id: str) -> Checkpoint:
        """The fold of all the run's events, from the newest usable snapshot and the events after it.

        Raises:
            UnknownRun, LogCorrupt, UnknownFact: as `read`.
        """
        ...

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events of all runs with position > `after`, in order of position; at most `limit`. One whose bytes do not
        decode comes as `Opaque` with schema -1, so that a reader can go on past it.
        """
        ...

    def head(self) -> int:
        """The highest position, 0 when empty."""
        ...

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """Rows of the index by first position, ascending, with first position > `after`."""
        ...

    def run(self, run_id: str) -> RunSummary | None:
        """The row of one run, or None."""
        ...

    def find_request(self, request_key: str) -> str | None:
        """The run that a request key started, or None."""
        ...

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Tell `follower` of every commit from now on; returns the function that ends it."""
        ...

    def close(self, timeout: float = 10.0) -> bool:
        """Store what is queued, then let go. Returns False if that took longer than `timeout` seconds."""
        ...


# ------------------------------------------------------------------ system


class Clock(Protocol):
    """Time. In tests it is a `VirtualClock`."""

    def monotonic(self) -> float:
        """Awake seconds from an arbitrary start: stands still while the machine sleeps."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970 UTC, for people to read."""
        ...


class Ids(Protocol):
    """New run ids and random numbers; seeded in a simulation."""

    def run_id(self) -> str:
        """A new UUIDv7 as text."""
        ...

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        ...
