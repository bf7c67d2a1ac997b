"""Files of recorded chat-completions conversations, and the facts of the runs they were.

Accepted: an array of conversations, one conversation, a bare array of messages, or JSON Lines of any of these. A
conversation is an object with `messages` (and perhaps `id`, `model`, `tools`), or an array of messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, cast

import msgspec

from ..errors import ImportRefused
from ..events import (
    AgentPrint,
    Fact,
    InputAwaited,
    InputPart,
    InputReceived,
    Limits,
    Message,
    ReplyPart,
    RunFinished,
    RunInfo,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolResult,
    ToolStarted,
)
from ..events.clean import clean_json, clean_text
from ..projections import RunState, evolve, stats
from .chat import NotAChatMessage, from_chat

SPACE = " \t\r\n"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation of a file.

    place: how to name it to people ("conversation 3 (airline-3-0)"). index: from 1. digest: SHA-256 over its id and
    messages, and over which results are errors by their prefix, if any are. end: characters of the file read so far.
    more: its other fields.
    """

    source: str
    place: str
    index: int
    id: str
    messages: tuple[Message, ...]
    model: str
    tools: tuple[str, ...]
    more: dict[str, Any]
    digest: str
    end: int


def read_recordings(text: str, source: str, error_prefix: str = "") -> Iterator[Recording]:
    """Yield the conversations of a file with content `text`, in order, each checked. `source` names the file.

    error_prefix: what the texts of tools' errors begin with in this file, such as "Error: "; a result that begins with
    it is an error. Empty: only results that are marked as errors are (see `from_chat`).

    Raises:
        ImportRefused: at the first thing that is wrong, naming the place; what came before has been yielded.
    """
    index, line, counted = 0, 1, 0
    for start, end, value in _values(text, source):
        index += 1
        line, counted = line + text.count("\n", counted, start), start
        yield _recording(value, source, index, end, line, error_prefix)
    if index == 0:
        raise ImportRefused(source, "line 1", "it holds no conversation")


def facts_of(recording: Recording, run_id: str, started_at_us: int, caller: str = "") -> list[Fact]:
    """The facts of a run that was `recording`; their transcript is its messages. caller: who takes it in.

    Results of one step come in the order of its calls. Calls that the recording ends before answering have no
    outcome; if only some have one, the others are recorded as unknown.

    Raises:
        ImportRefused: messages that cannot follow each other, naming the place.
    """
    return _Retelling(recording, caller).facts(run_id, started_at_us)


# ------------------------------------------------------------------ the file


def _values(text: str, source: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, conversation) of each conversation, parsed one by one so that a broken end costs only itself."""
    parser = _Parser(text, source)
    position = parser.skip(0)
    if position == len(text):
        raise ImportRefused(source, "line 1", "the file is empty")
    while position < len(text):
        if text[position] == "[":
            value, end = None, 0
            first = parser.skip(position + 1)
            if text[first : first + 1] == "{":
                value, end = parser.value(first)
            if isinstance(value, dict) and "role" in value and "messages" not in value:
                whole, end = parser.value(position)
                yield position, end, whole
            else:
                end = yield from parser.elements(position)
        else:
            value, end = parser.value(position)
            yield position, end, value
        position = parser.skip(end)


class _Parser:
    """JSON values at given places of a text; every failure names line and column."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.last = len(text.rstrip(SPACE))
        self.decode = JSONDecoder().raw_decode

    def skip(self, position: int) -> int:
        """The place of the next character that is not white space."""
        text = self.text
        while position < len(text) and text[position] in SPACE:
            position += 1
        return position

    def value(self, position: int) -> tuple[Any, int]:
        """The value at `position`, and where it ends."""
        try:
            return self.decode(self.text, position)
        except JSONDecodeError as error:
            if error.pos >= self.last or error.msg.startswith("Unterminated string"):
                raise self.refused(self.last, "the file ends in the middle of a conversation") from None
            raise self.refused(error.pos, f"not JSON: {error.msg[0].lower()}{error.msg[1:]}") from None
        except RecursionError:
            raise self.refused(position, "nested too deeply") from None
        except ValueError as error:  # a number with thousands of digits
            raise self.refused(position, f"not readable: {error}") from None

    def elements(self, position: int) -> Generator[tuple[int, int, Any], None, int]:
        """Yield the elements of the array at `position`; returns where it ends."""
        position = self.skip(position + 1)
        if self.text[position : position + 1] == "]":
            return position + 1
        while True:
            value, end = self.value(position)
            yield position, end, value
            position = self.skip(end)
            mark = self.text[position : position + 1]
            if mark == "]":
                return position + 1
            if mark != ",":
                why = f"expected ',' or ']', got {mark!r}" if mark else "the file ends before the closing ']'"
                raise self.refused(position, why)
            position = self.skip(position + 1)

    def refused(self, position: int, why: str) -> ImportRefused:
        """The error for `position`."""
        column = position - self.text.rfind("\n", 0, position)
        return ImportRefused(self.source, f"line {_line(self.text, position)}, column {column}", why)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _recording(value: Any, source: str, index: int, end: int, line: int, error_prefix: str) -> Recording:
    place = f"conversation {index}"
    fields = cast("dict[str, Any]", {"messages": value} if isinstance(value, list) else value)
    if not isinstance(value, (dict, list)) or not isinstance(fields.get("messages"), list):
        why = "expected an object with 'messages', or an array of messages"
        raise ImportRefused(source, f"{place} (line {line})", why)
    named = fields.get("id")
    name = clean_text(str(named), 200) if isinstance(named, (str, int)) else ""
    if name:
        place = f"{place} ({name})"
    raw = cast("list[Any]", fields["messages"])
    if not raw:
        raise ImportRefused(source, place, "it has no messages")
    messages: list[Message] = []
    by_prefix: list[int] = []
    for number, one in enumerate(raw, 1):
        try:
            message = from_chat(one)
        except NotAChatMessage as error:
            raise ImportRefused(source, f"{place}, message {number}", str(error)) from None
        if error_prefix and (failed := _failed(message, error_prefix)) is not message:
            message = failed
            by_prefix.append(number)
        messages.append(message)
    known_by: list[Any] = [name, raw, by_prefix] if by_prefix else [name, raw]
    model = fields.get("model")
    more = {key: kept for key, kept in fields.items() if key not in ("id", "messages", "model", "tools")}
    return Recording(
        source=source,
        place=place,
        index=index,
        id=name,
        messages=tuple(messages),
        model=clean_text(model) if isinstance(model, str) else "",
        tools=_tool_names(fields.get("tools"), messages),
        more=clean_json(more),
        digest=hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest(),
        end=end,
    )


def _failed(message: Message, error_prefix: str) -> Message:
    """`message` itself, or if it is a tool's result that begins with `error_prefix`, the same as an error."""
    match message.parts:
        case (ToolResult() as result,) if not result.is_error and result.text.startswith(error_prefix):
            return Message(message.role, (msgspec.structs.replace(result, is_error=True),))
        case _:
            return message


def _tool_names(offered: object, messages: list[Message]) -> tuple[str, ...]:
    names: list[str] = []
    for tool in cast("list[object]", offered) if isinstance(offered, list) else []:
        outer = cast("dict[str, object]", tool) if isinstance(tool, dict) else {}
        inner = outer.get("function", outer)
        name = cast("dict[str, object]", inner).get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            names.append(clean_text(name))
    called = [part.name for message in messages for part in message.parts if isinstance(part, ToolCall)]
    return tuple(dict.fromkeys(names + called))


# ------------------------------------------------------------------ the facts


class _Retelling:
    """Tells a conversation again as the facts that a live run would have left."""

    def __init__(self, recording: Recording, caller: str) -> None:
        self.recording = recording
        self.caller = caller
        self.told: list[Fact] = []
        self.step = 0
        self.asked: list[ToolCall] = []
        self.unanswered: dict[int, ToolCall] = {}

    def facts(self, run_id: str, started_at_us: int) -> list[Fact]:
        messages = self.recording.messages
        instructions, given, rest = _opening(messages)
        self.told = [self._started(run_id, started_at_us, instructions, given)]
        for number, message in enumerate(messages[rest:], rest + 1):
            if message.role == "assistant":
                self._unless_unanswered(number)
                answered = number < len(messages) and messages[number].role == "tool"
                self._replied(message, answered)
            elif message.role == "tool":
                self._answered(number, cast("ToolResult", message.parts[0]))
            else:
                self._unless_unanswered(number)
                self._heard(message)
        self._finished()
        return self.told

    def _started(self, run_id: str, at_us: int, instructions: str, given: tuple[InputPart, ...]) -> RunStarted:
        recording = self.recording
        steps = sum(message.role == "assistant" for message in recording.messages)
        info = RunInfo(
            run_id=run_id,
            name=recording.id or recording.place,
            caller_id=self.caller,
            inputs=recording.more,
            request_id=recording.digest,
            started_at_us=at_us,
            max_iterations=steps,
        )
        return RunStarted(
            info=info,
            agent=AgentPrint(name="recorded", model=recording.model, instructions=instructions, tools=recording.tools),
            limits=Limits(max_steps=max(1, steps), timeout_s=None, max_attempts=1),
            input=given,
            interactive=sum(message.role == "user" for message in recording.messages) > 1,
            imported_from=f"{clean_text(recording.source)}#{recording.index}",
        )

    def _replied(self, message: Message, answered: bool) -> None:
        self.step += 1
        self.asked = [part for part in message.parts if isinstance(part, ToolCall)]
        reply = cast("tuple[ReplyPart, ...]", message.parts)
        self.told += [
            StepStarted(step=self.step, model=self.recording.model),
            StepCompleted(
                step=self.step, reply=reply, stop="tool_calls" if self.asked else "stop", model=self.recording.model
            ),
        ]
        if answered:
            self.unanswered = dict(enumerate(self.asked))
            self.told += [
                ToolStarted(call=f"{self.step}.{index}", name=call.name) for index, call in enumerate(self.asked)
            ]
        else:
            self.unanswered = {}

    def _answered(self, number: int, result: ToolResult) -> None:
        index = next((index for index, call in self.unanswered.items() if call.id == result.id), None)
        if index is None:
            raise self._refused(number, f"it answers a tool call {result.id!r}, which the reply before it did not make")
        del self.unanswered[index]
        self.told.append(ToolFinished(call=f"{self.step}.{index}", result=result.text, is_error=result.is_error))

    def _heard(self, message: Message) -> None:
        if isinstance(self.told[-1], StepCompleted):
            self.told.append(InputAwaited(since_ms=0))
        given = cast("tuple[InputPart, ...]", message.parts)
        self.told.append(InputReceived(input=given, role="system" if message.role == "system" else "user"))

    def _unless_unanswered(self, number: int) -> None:
        last = self.told[-1]
        never = isinstance(last, StepCompleted) and self.asked
        if missing := (self.asked if never else list(self.unanswered.values())):
            raise self._refused(number, f"it comes before the tool call {missing[0].id!r} was answered")

    def _finished(self) -> None:
        answered_all = self.recording.messages[-1].role == "assistant" and not self.asked
        if len(self.unanswered) < len(self.asked):
            self.told += [
                ToolOutcomeUnknown(call=f"{self.step}.{index}", reason="the recording ends before its result")
                for index in self.unanswered
            ]
        state = RunState()
        for fact in self.told:
            state = evolve(state, fact)
        by, reason = ("model", "") if answered_all else ("import", "the recording ends here")
        self.told.append(RunFinished(stats=stats(state, "ok", "", 0), by=by, reason=reason))

    def _refused(self, number: int, why: str) -> ImportRefused:
        return ImportRefused(self.recording.source, f"{self.recording.place}, message {number}", why)


def _opening(messages: tuple[Message, ...]) -> tuple[str, tuple[InputPart, ...], int]:
    """(instructions, first input, number of messages they take): what `RunStarted` holds of the conversation."""
    taken = 0
    instructions = ""
    if messages[0].role == "system" and len(messages[0].parts) == 1 and isinstance(messages[0].parts[0], Text):
        instructions = messages[0].parts[0].text
        taken = 1 if instructions else 0
    if taken < len(messages) and messages[taken].role == "user":
        return instructions, cast("tuple[InputPart, ...]", messages[taken].parts), taken + 1
    return instructions, (), taken
