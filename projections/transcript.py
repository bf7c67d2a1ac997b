"""The conversation, as the next model call needs it.

Providers want every tool call answered, in order, before anybody else speaks. So results wait until the last one
of the step is there, and what people said meanwhile waits until the next step begins.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..events import (
    BudgetNoticed,
    CallerSteered,
    ChildFinished,
    CriticSteered,
    Fact,
    Image,
    InputPart,
    InputReceived,
    Message,
    OutputRefused,
    PhaseStarted,
    RunFinished,
    RunForked,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolResult,
    ToolStarted,
)
from .grown import Grown
from .run import calls_of


class Transcript(msgspec.Struct, frozen=True, gc=False):
    """messages: what the model has been, or will next be, shown. asked: calls of the last reply, in its order.
    answers: results so far, one slot a call. heard: what people said since the last step began.
    """

    messages: Grown[Message] = Grown()
    asked: tuple[ToolCall, ...] = ()
    answers: tuple[ToolResult | None, ...] = ()
    heard: tuple[Message, ...] = ()


def evolve_transcript(transcript: Transcript, fact: Fact) -> Transcript:
    """Return the transcript after `fact`."""
    # The four facts of every step first, by exact type: a class pattern that misses a Struct costs 0.2 µs.
    if type(fact) is StepStarted:
        return _heard(transcript) if transcript.heard else transcript
    if type(fact) is StepCompleted:
        asked = tuple([part for part in fact.reply if type(part) is ToolCall])
        messages = transcript.messages.plus((Message("assistant", fact.reply),))
        return Transcript(messages, asked, (None,) * len(asked), transcript.heard)
    if type(fact) is ToolStarted:
        return transcript
    if type(fact) is ToolFinished:
        return _answered(transcript, fact.call, fact.result, fact.is_error)
    match fact:
        case ToolRefused() | ToolOutcomeUnknown():
            return _answered(transcript, fact.call, fact.reason, True)
        case RunFinished():
            return _heard(transcript) if transcript.heard else transcript
        case CallerSteered() | CriticSteered():
            return _hears(transcript, fact.text)
        case BudgetNoticed():
            return _hears(transcript, notice_text(fact))
        case OutputRefused():
            return _hears(transcript, fact.reason)
        case ChildFinished():
            text = fact.output if fact.status == "ok" else f"It ended with status {fact.status}. {fact.output}".strip()
            return _answered(transcript, fact.call, text, fact.status not in ("ok", "dry_run"))
        case PhaseStarted():
            return Transcript(Grown[Message]().plus(_opening(fact.instructions, fact.input)), heard=transcript.heard)
        case RunForked():
            asked = calls_of(fact.messages[-1].parts) if fact.answers and fact.messages else ()
            return Transcript(Grown[Message]().plus(fact.messages), asked, fact.answers, fact.heard)
        case InputReceived():
            heard = Message(fact.role, fact.input)
            return Transcript(transcript.messages, transcript.asked, transcript.answers, (*transcript.heard, heard))
        case RunStarted():
            return Transcript(transcript.messages.plus(_opening(fact.agent.instructions, fact.input)))
        case _:
            return transcript


def _opening(instructions: str, given: tuple[InputPart, ...]) -> list[Message]:
    messages: list[Message] = []
    if instructions:
        messages.append(Message("system", (Text(instructions),)))
    if given:  # a recording may begin with the assistant
        messages.append(Message("user", given))
    return messages


UNITS = {"steps": "steps", "tool_calls": "tool calls", "tokens": "tokens", "cost_usd": "dollars", "seconds": "seconds"}


def notice_text(notice: BudgetNoticed) -> str:
    """What the model is told when a fraction of a limit is used up."""
    whose = f"phase {notice.phase}" if notice.phase else "this run"
    unit = UNITS[notice.measure]
    return (
        f"Notice: {whose} has used {notice.spent:.6g} of {notice.limit:.6g} {unit} "
        f"({notice.spent / notice.limit:.0%}). Finish within what is left."
    )


def _hears(transcript: Transcript, text: str) -> Transcript:
    heard = Message("user", (Text(text),))
    return Transcript(transcript.messages, transcript.asked, transcript.answers, (*transcript.heard, heard))


def _heard(transcript: Transcript) -> Transcript:
    """What people said meanwhile is read now."""
    return Transcript(transcript.messages.plus(transcript.heard), transcript.asked, transcript.answers)


def _answered(transcript: Transcript, call: str, text: str, is_error: bool) -> Transcript:
    asked, messages = transcript.asked, transcript.messages
    index = int(call.rpartition(".")[2])
    if index >= len(asked):
        return transcript
    answer = ToolResult(asked[index].id, asked[index].name, text, is_error)
    if len(asked) == 1:
        return Transcript(messages.plus((Message("tool", (answer,)),)), asked, (answer,), transcript.heard)
    answers = (*transcript.answers[:index], answer, *transcript.answers[index + 1 :])
    given = [result for result in answers if result is not None]
    if len(given) == len(answers):
        messages = messages.plus([Message("tool", (result,)) for result in given])
    return Transcript(messages, asked, answers, transcript.heard)


def estimated_tokens(messages: Iterable[Message]) -> int:
    """About how many tokens a conversation has that no provider has counted yet: a quarter of its bytes of text, the
    usual rule of thumb, and 1,000 for an image.
    """
    size = 0
    for message in messages:
        for part in message.parts:
            if isinstance(part, Image):
                size += 4_000
            elif isinstance(part, ToolCall):
                size += len(part.name) + len(part.arguments)
            else:
                size += len(part.text)
    return size // 4 + 1
