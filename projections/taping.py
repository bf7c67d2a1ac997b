"""A recorded run as a tape: what its model was shown and said, what its tools were asked and answered, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..events import (
    AgentPrint,
    BudgetNoticed,
    CallerSteered,
    ChildFinished,
    CriticSteered,
    Event,
    Image,
    InputPart,
    InputReceived,
    Limits,
    Message,
    OutputRefused,
    PhaseStarted,
    ReplyPart,
    RunFinished,
    RunForked,
    RunStarted,
    StepCompleted,
    StepStarted,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolResult,
    Usage,
)
from .trace import Outcome
from .transcript import Transcript, evolve_transcript


class TapeStep(msgspec.Struct, frozen=True, kw_only=True):
    """A model call. conversation, shown: it was shown so many messages of that one of the tape's conversations."""

    step: int
    conversation: int
    shown: int
    reply: tuple[ReplyPart, ...]
    usage: Usage = Usage()
    stop: StopReason = "stop"
    model: str = ""
    phase: str = ""


class TapeCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call and what the model was told about it; a child run is one too. call: "STEP.INDEX"."""

    call: str
    name: str
    arguments: str
    result: str
    outcome: Outcome = "ok"


class Tape(msgspec.Struct, frozen=True, kw_only=True):
    """What a test needs of a run. conversations: one, or one for each phase. asides: messages in them, by conversation,
    that came from supervision or from people beside the work, which a test need not repeat. said: what people said
    after the start.
    """

    format: int = 1
    run_id: str
    name: str
    agent: AgentPrint
    limits: Limits
    input: tuple[InputPart, ...]
    interactive: bool = False
    imported: bool = False
    conversations: tuple[tuple[Message, ...], ...] = ()
    asides: tuple[tuple[int, ...], ...] = ()
    steps: tuple[TapeStep, ...] = ()
    calls: tuple[TapeCall, ...] = ()
    said: tuple[tuple[InputPart, ...], ...] = ()
    status: str = ""
    output: str = ""


def tape_of(events: Iterable[Event]) -> Tape:
    """The tape of a run's log.

    Raises:
        ValueError: the log does not begin with a start, or what was said in it is locked or erased.
    """
    taping = _Taping()
    for event in events:
        if event.content in ("locked", "erased"):
            raise ValueError(f"run {event.run_id}: what was said in it is {event.content}")
        taping.take(event)
    return taping.tape()


class _Taping:
    """Folds a log into a tape."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.transcript = Transcript()
        self.phase = ""
        self.conversations: list[tuple[Message, ...]] = []
        self.asides: list[tuple[int, ...]] = []
        self.beside: list[int] = []
        self.heard: list[bool] = []
        self.shown = 0
        self.steps: list[TapeStep] = []
        self.calls: list[TapeCall] = []
        self.said: list[tuple[InputPart, ...]] = []

    def take(self, event: Event) -> None:
        """One event more."""
        fact = event.fact
        match fact:
            case RunStarted():
                self.started = fact
            case RunFinished():
                self.finished = fact
                self.reads()
            case StepStarted():
                self.reads()
            case PhaseStarted():
                self.phase = fact.phase
                self.turn_over()
            case RunForked():
                self.turn_over()
            case CriticSteered() | CallerSteered() | BudgetNoticed():
                self.heard.append(True)
            case OutputRefused():
                self.heard.append(False)
            case InputReceived():
                self.heard.append(False)
                self.said.append(fact.input)
            case ToolFinished():
                self.closes(fact.call, fact.result, "error" if fact.is_error else "ok")
            case ToolRefused():
                self.closes(fact.call, fact.reason, "refused")
            case ToolOutcomeUnknown():
                self.closes(fact.call, fact.reason, "error")
            case StepCompleted():
                self.steps.append(
                    TapeStep(
                        step=fact.step,
                        conversation=len(self.conversations),
                        shown=self.shown,
                        reply=fact.reply,
                        usage=fact.usage,
                        stop=fact.stop,
                        model=fact.model,
                        phase=self.phase,
                    )
                )
            case _:
                pass
        self.transcript = evolve_transcript(self.transcript, fact)
        if isinstance(fact, StepStarted):
            self.shown = len(self.transcript.messages)
        if isinstance(fact, ChildFinished):
            index = int(fact.call.rpartition(".")[2])
            answer = self.transcript.answers[index] if index < len(self.transcript.answers) else None
            if answer is not None:
                self.closes(fact.call, answer.text, "error" if answer.is_error else "ok")

    def reads(self) -> None:
        """What was heard meanwhile becomes part of the conversation."""
        first = len(self.transcript.messages)
        self.beside += [first + index for index, aside in enumerate(self.heard) if aside]
        self.heard.clear()

    def turn_over(self) -> None:
        """Another conversation begins, if this one was shown to anybody."""
        if self.steps:
            self.conversations.append(tuple(self.transcript.messages))
            self.asides.append(tuple(self.beside))
        self.beside.clear()

    def closes(self, call: str, result: str, outcome: Outcome) -> None:
        """A call has an outcome."""
        index = int(call.rpartition(".")[2])
        asked = self.transcript.asked
        if index < len(asked):
            one = asked[index]
            self.calls.append(
                TapeCall(call=call, name=one.name, arguments=one.arguments, result=result, outcome=outcome)
            )

    def tape(self) -> Tape:
        """What was folded."""
        started = self.started
        if started is None:
            raise ValueError("the log does not begin with the start of a run")
        return Tape(
            run_id=started.info.run_id,
            name=started.info.name,
            agent=started.agent,
            limits=started.limits,
            input=started.input,
            interactive=started.interactive,
            imported=bool(started.imported_from),
            conversations=(*self.conversations, tuple(self.transcript.messages)),
            asides=(*self.asides, tuple(self.beside)),
            steps=tuple(self.steps),
            calls=tuple(self.calls),
            said=tuple(self.said),
            status="" if self.finished is None else self.finished.status,
            output="" if self.finished is None else self.finished.stats.output,
        )


def shown_at(tape: Tape, step: TapeStep) -> tuple[tuple[Message, ...], frozenset[int]]:
    """The messages that the model was shown at a step, and which of them are asides."""
    messages = tape.conversations[step.conversation][: step.shown]
    return messages, frozenset(tape.asides[step.conversation])


def same_messages(expected: Sequence[Message], asides: frozenset[int], came: Sequence[Message]) -> bool:
    """Whether `came` is what was expected; asides may be missing. How an error's text ends does not matter."""
    place = 0
    for index, message in enumerate(expected):
        if place < len(came) and _plain(came[place]) == _plain(message):
            place += 1
        elif index not in asides:
            return False
    return place == len(came)


def _plain(message: Message) -> Message:
    parts = tuple(
        [
            ToolResult(part.id, part.name, part.text.rstrip(": "), True)
            if isinstance(part, ToolResult) and part.is_error
            else part
            for part in message.parts
        ]
    )
    return Message(message.role, parts)


def lines_of(messages: Iterable[Message]) -> list[str]:
    """Messages as lines, to be compared by a person."""
    lines: list[str] = []
    for message in messages:
        for part in message.parts:
            match part:
                case Text():
                    text = part.text
                case Thinking():
                    text = f"(thinking) {part.text}"
                case ToolCall():
                    text = f"calls {part.name}({part.arguments})"
                case ToolResult():
                    text = f"{part.name} {'failed' if part.is_error else 'answered'}: {part.text}"
                case Image():
                    text = f"(image, {part.media_type})"
            lines += [f"{message.role}: {line}" for line in text.split("\n")]
    return lines
