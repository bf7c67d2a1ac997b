"""A model that answers from a script: for tests, demos, simulations and replays; it needs no key and no network."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import msgspec

from ...errors import ModelRefused
from ...events import Image, Text, Thinking, ToolCall, Usage
from ...ports import Delta, ModelRequest, Reply

PIECE_CHARACTERS = 24
"""Characters of one streamed piece."""

Answer: TypeAlias = (
    "str | Reply | Text | Thinking | ToolCall | Exception | Attempts | Sequence[str | Text | Thinking | ToolCall]"
)
"""What a script may say: text, one part, several parts of one reply, a whole `Reply`, or an exception to raise."""

AnswerFunction: TypeAlias = "Callable[[ModelRequest], Answer | Awaitable[Answer]]"


class Attempts:
    """An answer that differs by attempt: the n-th attempt of the step gets the n-th, the last one is kept."""

    __slots__ = ("answers",)

    def __init__(self, answers: Sequence[Reply | Exception]) -> None:
        self.answers = tuple(answers)

    def __repr__(self) -> str:
        return f"attempts{self.answers!r}"


def say(text: str, *calls: ToolCall, thinking: str = "", usage: Usage | None = None) -> Reply:
    """A reply that says `text`, after `thinking` and before `calls`. Without `usage` it counts nothing."""
    parts = (*((Thinking(thinking),) if thinking else ()), *((Text(text),) if text else ()), *calls)
    return Reply(parts, usage or Usage(), "tool_calls" if calls else "stop")


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A call of the tool `name`; its id is filled in when it is said. Several in one list are one reply.

    Raises:
        TypeError: an argument has no JSON form.
    """
    return ToolCall("", name, msgspec.json.encode(arguments).decode())


def attempts(*answers: Answer) -> Attempts:
    """One step's answers by attempt, such as `attempts(ModelUnavailable("busy"), "hello")`; the last is kept.

    Raises:
        TypeError, ValueError: no answers, or one that is none of `Answer`.
    """
    if not answers:
        raise ValueError("attempts: expected at least one answer")
    settled = [_settle(answer, "attempts", estimate=False) for answer in answers]
    if any(isinstance(answer, Attempts) for answer in settled):
        raise TypeError("attempts: expected replies and exceptions, got attempts inside attempts")
    return Attempts(cast("list[Reply | Exception]", settled))


class ScriptedModel:
    """Answers from `replies`: a sequence with one answer a step, or a function of the request.

    The k-th step of every run gets the k-th answer, whatever other runs do, so one instance serves many runs at once
    and a retried or resumed step hears the same answer again. A function may be async; a plain one runs on the
    runtime's loop and must be quick. Answers given without `Usage` count an estimate: one token for four characters.
    With `delay_s` each reply takes that many seconds. Deltas are streamed if somebody watches.

    Raises:
        TypeError: an answer is none of `Answer`.
    """

    def __init__(
        self, replies: Sequence[Answer] | AnswerFunction, name: str = "scripted", delay_s: float = 0.0
    ) -> None:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"ScriptedModel, name: expected a non-empty string, got {name!r}")
        if not delay_s >= 0:
            raise ValueError(f"ScriptedModel, delay_s: expected seconds ≥ 0, got {delay_s!r}")
        self._name = name
        self._delay_s = delay_s
        self._answer: AnswerFunction | None = None
        self._script: tuple[_Settled, ...] = ()
        if callable(replies):
            self._answer = replies
        elif isinstance(replies, (str, bytes, Mapping)) or not isinstance(replies, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"ScriptedModel, replies: expected a list of answers or a function, got {replies!r}")
        else:
            self._script = tuple(_settle(reply, f"ScriptedModel, reply {n}") for n, reply in enumerate(replies, 1))

    @property
    def name(self) -> str:
        """What is recorded as the run's model."""
        return self._name

    async def reply(self, request: ModelRequest) -> Reply:
        """The script's answer to the step `request.step`, counted from 1.

        Raises:
            ModelRefused: the script has no answer for this step.
            Exception: the script says so.
            TypeError: the script's function returned something else than an answer.
        """
        settled = await self._settled(request)
        if isinstance(settled, Attempts):
            settled = settled.answers[min(max(request.attempt, 1), len(settled.answers)) - 1]
        if isinstance(settled, Exception):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            raise settled.with_traceback(None)  # one instance raised often must not collect tracebacks
        if isinstance(settled, _Estimated):
            usage = Usage(estimated_tokens(request.messages), _tokens(_size(settled.reply.parts)))
            settled = msgspec.structs.replace(settled.reply, usage=usage)
        reply = _with_ids(settled, request.step, self._name)
        if request.on_delta is not None:
            await _stream(reply, request, request.on_delta, self._delay_s)
        elif self._delay_s:
            await asyncio.sleep(self._delay_s)
        return reply

    async def _settled(self, request: ModelRequest) -> _Settled:
        if self._answer is not None:
            said = self._answer(request)
            if inspect.isawaitable(said):
                said = await said
            return cast("_Settled", _settle(said, f"ScriptedModel {self._name!r}, answer to step {request.step}"))
        index = max(request.step, 1) - 1
        if index >= len(self._script):
            raise ModelRefused(
                f"the script of {self._name!r} has {len(self._script)} replies and step {index + 1} asks for another; "
                "add one, or let an earlier reply call no tool"
            )
        return self._script[index]


def estimated_tokens(messages: Sequence[Any]) -> int:
    """Tokens of `messages`, estimated as characters / 4; an image counts nothing."""
    return _tokens(sum(_size(message.parts) for message in messages))


class _Estimated(msgspec.Struct, frozen=True):
    """A reply whose usage nobody gave."""

    reply: Reply


_Settled: TypeAlias = "Reply | _Estimated | Exception | Attempts"


def _settle(answer: Any, where: str, estimate: bool = True) -> Any:
    if isinstance(answer, (Reply, Exception, Attempts)):
        return answer
    if isinstance(answer, (str, Text, Thinking, ToolCall)):
        answer = (answer,)
    if not isinstance(answer, (list, tuple)):
        raise TypeError(f"{where}: expected text, call(…), a list of these, a Reply or an exception, got {answer!r}")
    said = cast("Sequence[Any]", answer)
    parts = tuple(Text(part) if isinstance(part, str) else part for part in said)
    for part in parts:
        if not isinstance(part, (Text, Thinking, ToolCall)):
            raise TypeError(f"{where}: expected text, say(…) or call(…) in a list, got {part!r}")
    calls = any(isinstance(part, ToolCall) for part in parts)
    reply = Reply(parts, stop="tool_calls" if calls else "stop")
    return _Estimated(reply) if estimate else reply


def _with_ids(reply: Reply, step: int, name: str) -> Reply:
    if any(isinstance(part, ToolCall) and not part.id for part in reply.parts):
        parts = tuple(
            msgspec.structs.replace(part, id=f"call_{step}_{index}")
            if isinstance(part, ToolCall) and not part.id
            else part
            for index, part in enumerate(reply.parts)
        )
        return msgspec.structs.replace(reply, parts=parts, model=reply.model or name)
    return reply if reply.model else msgspec.structs.replace(reply, model=name)


async def _stream(reply: Reply, request: ModelRequest, on_delta: Callable[[Delta], None], delay_s: float) -> None:
    deltas = list(_deltas(reply, request))
    for delta in deltas:
        if delay_s:
            await asyncio.sleep(delay_s / len(deltas))
        on_delta(delta)
    if delay_s and not deltas:
        await asyncio.sleep(delay_s)


def _deltas(reply: Reply, request: ModelRequest) -> Iterator[Delta]:
    for part in reply.parts:
        match part:
            case Text():
                kind, text = "text", part.text
            case Thinking():
                kind, text = "thinking", part.text
            case ToolCall():
                kind, text = "arguments", part.arguments
        for start in range(0, len(text), PIECE_CHARACTERS):
            yield Delta(cast("Any", kind), text[start : start + PIECE_CHARACTERS], request.step, request.attempt)


def _size(parts: Sequence[Any]) -> int:
    size = 0
    for part in parts:
        if isinstance(part, ToolCall):
            size += len(part.name) + len(part.arguments)
        elif not isinstance(part, Image):
            size += len(part.text)
    return size


def _tokens(characters: int) -> int:
    return (characters + 3) // 4
