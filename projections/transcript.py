"""The conversation, as the next model call needs it.

Providers want every tool call answered, in order, before anybody else speaks. So results wait until the last one
of the step is there, and what people said meanwhile waits until the next step begins.
"""

from __future__ import annotations

import msgspec

from ..events import (
    CallerSteered,
    Fact,
    InputReceived,
    Message,
    RunFinished,
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
        case CallerSteered():
            heard = Message("user", (Text(fact.text),))
            return Transcript(transcript.messages, transcript.asked, transcript.answers, (*transcript.heard, heard))
        case InputReceived():
            heard = Message(fact.role, fact.input)
            return Transcript(transcript.messages, transcript.asked, transcript.answers, (*transcript.heard, heard))
        case RunStarted():
            messages = transcript.messages
            if fact.agent.instructions:
                messages = messages.plus((Message("system", (Text(fact.agent.instructions),)),))
            if fact.input:  # a recording may begin with the assistant
                messages = messages.plus((Message("user", fact.input),))
            return Transcript(messages)
        case _:
            return transcript


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
