"""Facts as lines for people: what the command line prints, and what a history shows of a moment."""

from __future__ import annotations

from typing import assert_never

import msgspec

from ..events import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ArtifactStored,
    BudgetExceeded,
    BudgetNoticed,
    CallerSteered,
    CancelRequested,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    ContentErased,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    ErrorLogged,
    Fact,
    FamilyAwaited,
    HostSlept,
    Image,
    InputAwaited,
    InputPart,
    InputReceived,
    InputStaged,
    NoteLogged,
    Opaque,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    ReconcileStarted,
    RunBegun,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    SoftTimeoutReached,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    Thinking,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
)
from .line import Line, span
from .telling_governed import approval_line, child_line, family_line, file_line, supervision_line


def tell(fact: Fact) -> list[Line]:
    """What `fact` says, in order; nothing for facts that only announce what the next one tells."""
    match fact:
        case RunStarted():
            lines = [Line("user", _text(fact.input), "said")] if fact.input else []
            if fact.agent.instructions:
                lines.insert(0, Line("system", fact.agent.instructions, "said"))
            return lines
        case StepCompleted():
            return _reply(fact)
        case ToolFinished():
            took = f"  ({span(fact.took_ms / 1000)})" if fact.took_ms else ""
            return [Line(f"  {fact.call}", fact.result + took, "wrong" if fact.is_error else "result")]
        case ToolRefused():
            return [Line(f"  {fact.call}", f"not started: {fact.reason}", "wrong")]
        case ToolReconciled():
            said = "it had taken effect" if fact.happened else "it had not taken effect, and is run again"
            return [Line(f"  {fact.call}", f"asked what became of it: {said}", "host")]
        case ToolOutcomeUnknown():
            return [Line(f"  {fact.call}", f"outcome unknown: {fact.reason}", "wrong")]
        case StepFailed():
            again = "no answer, tried again" if fact.retry_at_ms is not None else "no answer"
            return [Line(f"step {fact.step}", f"{again}: {fact.error}", "wrong")]
        case StepStarted() | ToolStarted() | ReconcileStarted() | DeliveryAttempted():
            return []
        case InputAwaited() | ApprovalAwaited() | FamilyAwaited():
            return []
        case InputReceived():
            return [Line(fact.by or fact.role, _text(fact.input), "said")]
        case CallerSteered():
            return [Line(f"steered by {fact.by}" if fact.by else "steered", fact.text, "said")]
        case CancelRequested():
            return [Line("cancel", f"asked by {fact.by or 'the caller'}{_because(fact.reason)}", "host")]
        case RunResumed():
            return [Line("resumed", fact.reason, "host")]
        case NoteLogged():
            return [Line(f"note {fact.type}", msgspec.json.encode(fact.payload).decode(), "host")]
        case ErrorLogged():
            return [Line("error", fact.message, "wrong")]
        case ContentErased():
            return [Line("erased", f"its content, by {fact.by or 'the host'}{_because(fact.reason)}", "end")]
        case RunFinished():
            return [Line("end", f"{fact.status}, by {fact.by}{_because(fact.reason)}", "end")]
        case ApprovalRequested() | ApprovalGranted() | ApprovalDenied() | ApprovalExpired():
            return [approval_line(fact)]
        case ChildStarted() | ChildFinished() | ChildWaited() | ChildWentOn():
            return [child_line(fact)]
        case PhaseStarted() | PhaseFinished() | OutputRefused() | RunForked() | RunBegun():
            return [family_line(fact)]
        case InputStaged() | ArtifactStored() | Delivered() | DeliveryFailed():
            return [file_line(fact)]
        case (
            SoftTimeoutReached()
            | CriticObserved()
            | CriticSteered()
            | DeadlineExtended()
            | CeilingRaised()
            | CriticKilled()
            | CriticReviewed()
            | CriticLost()
            | HostSlept()
            | BudgetNoticed()
            | BudgetExceeded()
        ):
            return [supervision_line(fact)]
        case Opaque():
            return [Line(fact.tag, "a fact of a newer executus; upgrade to read it", "host")]
        case _:
            assert_never(fact)


def announce(fact: Fact) -> str:
    """What a fact without lines announces, for `tail`, which has one line for every event."""
    match fact:
        case StepStarted():
            return f"step {fact.step}, attempt {fact.attempt}" if fact.attempt > 1 else f"step {fact.step}"
        case ToolStarted():
            return f"{fact.call} {fact.name}"
        case ReconcileStarted():
            return f"{fact.call}, asked what became of it"
        case InputAwaited():
            return "waits for a person's message"
        case ApprovalAwaited():
            return "waits for an approval"
        case FamilyAwaited():
            return "waits for its children, which wait for people"
        case DeliveryAttempted():
            return f"delivery, attempt {fact.attempt}"
        case _:
            return ""


def _reply(fact: StepCompleted) -> list[Line]:
    lines: list[Line] = []
    label = f"step {fact.step}"
    calls = 0
    for part in fact.reply:
        match part:
            case Text():
                lines.append(Line(label, part.text, "said"))
            case Thinking():
                lines.append(Line(label, f"(thinks) {part.text}", "said"))
            case _:
                lines.append(Line(f"  {fact.step}.{calls}", f"{part.name} {part.arguments}", "call"))
                calls += 1
    if not lines or lines[0].kind == "call":
        lines.insert(0, Line(label, "" if lines else "(says nothing)", "said"))
    return lines


def _text(parts: tuple[InputPart, ...]) -> str:
    return "\n".join(f"[image {_image(part)}]" if isinstance(part, Image) else part.text for part in parts)


def _image(image: Image) -> str:
    return image.url if image.url is not None else f"{image.media_type}, {len(image.data or b''):,} bytes"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
