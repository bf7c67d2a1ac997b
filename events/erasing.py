"""What stays of a fact when its content is erased: the skeleton, which folds like the whole.

Kept are kinds, ids, names of tools, agents and phases, who gave an order, statuses, limits, times, counts, tokens and
cost. Every text that a person, a model or a tool wrote becomes a tombstone, empty text stays empty, bytes and JSON
become empty. So a log of skeletons goes through the same states and has the same totals. A name that a model or
a stranger may have made up is kept only if it looks like one.
"""

from __future__ import annotations

from typing import Final, TypeVar, assert_never, cast

from msgspec.structs import replace

from .envelope import Event
from .erasure import ContentErased
from .facts import (
    ErrorLogged,
    Fact,
    NoteLogged,
    Opaque,
    ReconcileStarted,
    RunFinished,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
)
from .family import (
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    FamilyAwaited,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    RunBegun,
    RunForked,
)
from .files import ArtifactStored, Delivered, DeliveryAttempted, DeliveryFailed, InputStaged
from .people import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    CallerSteered,
    CancelRequested,
    InputAwaited,
    InputReceived,
)
from .supervision import (
    BudgetExceeded,
    BudgetNoticed,
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    HostSlept,
    SoftTimeoutReached,
)
from .values import Edit, Image, InputPart, Message, Part, ReplyPart, Text, Thinking, ToolCall, ToolResult

TOMBSTONE: Final = "[erased]"
"""Stands where text was."""

MOST_OF_A_NAME: Final = 64
"""Characters of a name that may stay."""

AnyPart = TypeVar("AnyPart", InputPart, ReplyPart, Part)


def erased(fact: Fact) -> Fact:
    """The skeleton of `fact`: of the same kind, without content. Of a skeleton it is the same skeleton."""
    # The four facts of every step first, by exact type: a class pattern that misses a Struct costs 0.2 µs.
    if type(fact) is StepStarted:
        return fact
    if type(fact) is StepCompleted:
        return replace(fact, reply=_parts(fact.reply))
    if type(fact) is ToolStarted:
        name = _name(fact.name)
        return fact if name is fact.name else replace(fact, name=name)
    if type(fact) is ToolFinished:
        return replace(fact, result=_gone(fact.result))
    match fact:
        case (
            StepStarted()
            | ReconcileStarted()
            | ToolReconciled()
            | CriticReviewed()
            | SoftTimeoutReached()
            | HostSlept()
            | BudgetNoticed()
            | BudgetExceeded()
            | InputAwaited()
            | ApprovalAwaited()
            | FamilyAwaited()
            | ChildWaited()
            | ChildWentOn()
            | RunBegun()
            | ApprovalGranted()
            | ApprovalExpired()
            | DeliveryAttempted()
            | ContentErased()
        ):
            return fact
        case RunStarted():
            phases = tuple([replace(one, instructions=_gone(one.instructions)) for one in fact.agent.phases])
            agent = replace(fact.agent, instructions=_gone(fact.agent.instructions), phases=phases)
            return replace(fact, info=replace(fact.info, inputs={}), agent=agent, input=_parts(fact.input))
        case RunFinished():
            stats = replace(fact.stats, output=_gone(fact.stats.output), error=_gone(fact.stats.error))
            return replace(fact, stats=stats, reason=_gone(fact.reason))
        case (
            RunResumed()
            | ToolOutcomeUnknown()
            | CancelRequested()
            | ApprovalDenied()
            | DeadlineExtended()
            | CeilingRaised()
            | CriticLost()
            | OutputRefused()
        ):
            return replace(fact, reason=_gone(fact.reason))
        case ToolRefused():
            return replace(fact, name=_name(fact.name), reason=_gone(fact.reason))
        case StepFailed() | DeliveryFailed():
            return replace(fact, error=_gone(fact.error))
        case NoteLogged():
            return NoteLogged(type=_name(fact.type))
        case ErrorLogged():
            return ErrorLogged(message=_gone(fact.message))
        case CallerSteered():
            return replace(fact, text=_gone(fact.text))
        case InputReceived():
            return replace(fact, input=_parts(fact.input))
        case ApprovalRequested():
            return replace(fact, name=_name(fact.name), question=_gone(fact.question))
        case CriticObserved() | CriticSteered():
            return replace(fact, text=_gone(fact.text), evidence={})
        case CriticKilled():
            return replace(fact, reason=_gone(fact.reason), evidence={})
        case ChildStarted():
            return replace(fact, name=_name(fact.name))
        case ChildFinished() | PhaseFinished():
            return replace(fact, output=_gone(fact.output))
        case PhaseStarted():
            return replace(fact, instructions=_gone(fact.instructions), input=_parts(fact.input))
        case RunForked():
            return _forked(fact)
        case InputStaged():
            return replace(fact, name=_gone(fact.name), media_type=_name(fact.media_type), sha256="")
        case ArtifactStored():  # of a sealed run, its address is that of sealed bytes, and needed to find them
            return replace(fact, name=_gone(fact.name), media_type=_name(fact.media_type))
        case Delivered():
            return replace(fact, receipt=_gone(fact.receipt))
        case Opaque():
            return Opaque(tag=fact.tag, schema=fact.schema, payload=b"\x80")
        case _:
            assert_never(fact)


def _forked(fact: RunForked) -> RunForked:
    return replace(
        fact,
        messages=tuple([Message(one.role, _parts(one.parts)) for one in fact.messages]),
        heard=tuple([Message(one.role, _parts(one.parts)) for one in fact.heard]),
        answers=tuple([None if one is None else _result(one) for one in fact.answers]),
        outputs=tuple([(phase, _gone(output)) for phase, output in fact.outputs]),
        output=_gone(fact.output),
        edits=tuple(
            [Edit(what=_name(one.what), before=_gone(one.before), after=_gone(one.after)) for one in fact.edits]
        ),
    )


def at_rest(event: Event) -> Event:
    """`event` as it may be written to another file, such as a stored view: of a sealed run, with its skeleton only.

    It is the same whether the reader had the key or not.
    """
    return event if event.content == "clear" else replace(event, fact=erased(event.fact))


def _gone(text: str) -> str:
    return TOMBSTONE if text else ""


def _name(name: str) -> str:
    """The name, if it looks like one: short, of letters, digits and a few signs. Else it may be anything."""
    if not name.isascii() or len(name) > MOST_OF_A_NAME:
        return TOMBSTONE
    if not name or name.isidentifier() or name.translate(_SIGNS).isalnum():
        return name
    return TOMBSTONE


_SIGNS: Final = str.maketrans("", "", "_-.:/+")


def _parts(parts: tuple[AnyPart, ...]) -> tuple[AnyPart, ...]:
    """As many parts of the same kinds. What the texts say together becomes one tombstone."""
    left: list[AnyPart] = []
    tombstone = TOMBSTONE
    for part in parts:
        if type(part) is Text:
            if part.text:
                left.append(cast("AnyPart", Text(tombstone)))
                tombstone = ""
            else:
                left.append(part)
        else:
            left.append(_part(part))  # type: ignore[arg-type]
    return tuple(left)


def _result(part: ToolResult) -> ToolResult:
    return ToolResult(_name(part.id), _name(part.name), _gone(part.text), part.is_error)


def _part(part: Image | Thinking | ToolCall | ToolResult) -> Image | Thinking | ToolCall | ToolResult:
    match part:
        case Image():
            data = None if part.data is None else b""
            return Image(_name(part.media_type), data=data, url=None if part.url is None else _gone(part.url))
        case Thinking():
            return Thinking(_gone(part.text), provider=None if part.provider is None else _name(part.provider))
        case ToolCall():
            return ToolCall(_name(part.id), _name(part.name))
        case ToolResult():
            return _result(part)
        case _:
            assert_never(part)
