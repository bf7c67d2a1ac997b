"""The port to models, and what crosses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from ..events import Message, ReplyPart, StopReason, Usage


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
    caller_id: str = ""
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


class Prices(Protocol):
    """What model calls cost. A pure function of its arguments: budgets are told again by it when it changes."""

    @property
    def version(self) -> str:
        """Which table this is, such as a date. Two that price anything otherwise have two versions: what was counted by
        one is not counted again by the next of the same version.
        """
        ...

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Dollars for `usage` of `model` ("provider:name"), or None if the price is not known."""
        ...
