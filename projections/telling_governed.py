"""Facts of supervision, budgets, people, families, files and deliveries as lines for people."""

from __future__ import annotations

from typing import assert_never

from ..events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ArtifactStored,
    BudgetExceeded,
    BudgetNoticed,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Delivered,
    DeliveryFailed,
    HostSlept,
    InputStaged,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    RunBegun,
    RunForked,
    SoftTimeoutReached,
)
from .line import Line, span


def supervision_line(
    fact: SoftTimeoutReached
    | CriticObserved
    | CriticSteered
    | DeadlineExtended
    | CeilingRaised
    | CriticKilled
    | CriticReviewed
    | CriticLost
    | HostSlept
    | BudgetNoticed
    | BudgetExceeded,
) -> Line:
    """What supervision did, or which limit came near."""
    match fact:
        case SoftTimeoutReached():
            return Line("soft timeout", f"after {span(fact.at_ms / 1000)}", "host")
        case CriticObserved():
            return Line(f"observed by {fact.by}", fact.text, "host")
        case CriticSteered():
            return Line(f"steered by {fact.by}", fact.text, "said")
        case DeadlineExtended():
            until = f"until {span(fact.until_ms / 1000)}{_because(fact.reason)}"
            return Line(f"extended by {fact.by or 'the host'}", until, "host")
        case CeilingRaised():
            text = f"{fact.limit}: {fact.old:g} to {fact.new:g}{_because(fact.reason)}"
            return Line(f"raised by {fact.by or 'the host'}", text, "host")
        case CriticKilled():
            return Line(f"killed by {fact.by}", fact.reason, "wrong")
        case CriticReviewed():
            tokens = fact.usage.input + fact.usage.output
            return Line(f"reviewed by {fact.by}", f"{tokens} tokens of {fact.model or 'a model'}", "host")
        case CriticLost():
            return Line(f"{fact.by} lost", fact.reason, "wrong")
        case HostSlept():
            return Line("host slept", f"{span(fact.slept_s)}, which no deadline counts", "host")
        case BudgetNoticed():
            whose = f"phase {fact.phase}, " if fact.phase else ""
            return Line("notice", f"{whose}{fact.measure}: {fact.spent:.6g} of {fact.limit:.6g} used", "host")
        case BudgetExceeded():
            scope = f"{fact.scope}, {fact.window}" if fact.window else fact.scope
            return Line("exceeded", f"{fact.measure} ({scope}): {fact.spent:.6g} of {fact.limit:.6g}", "wrong")
        case _:
            assert_never(fact)


def approval_line(fact: ApprovalRequested | ApprovalGranted | ApprovalDenied | ApprovalExpired) -> Line:
    """A request for approval, and how it was answered."""
    match fact:
        case ApprovalRequested():
            asked = f": {fact.question}" if fact.question else ""
            return Line(f"  {fact.call}", f"{fact.name} waits for approval{asked}", "host")
        case ApprovalGranted():
            return Line(f"  {fact.call}", f"granted{_by(fact.by)}", "host")
        case ApprovalDenied():
            return Line(f"  {fact.call}", f"denied{_by(fact.by)}{_because(fact.reason)}", "wrong")
        case ApprovalExpired():
            return Line(f"  {fact.call}", "nobody answered in time", "wrong")
        case _:
            assert_never(fact)


def child_line(fact: ChildStarted | ChildFinished | ChildWaited | ChildWentOn) -> Line:
    """A child, and how it stands."""
    match fact:
        case ChildStarted():
            return Line(f"  {fact.call}", f"{fact.name} runs as {fact.run_id}", "call")
        case ChildFinished():
            return Line(f"  {fact.call}", f"{fact.status}: {fact.output}", "result" if fact.status == "ok" else "wrong")
        case ChildWaited():
            return Line(f"  {fact.call}", "waits for a person", "host")
        case ChildWentOn():
            return Line(f"  {fact.call}", "goes on", "host")
        case _:
            assert_never(fact)


def family_line(fact: PhaseStarted | PhaseFinished | OutputRefused | RunForked | RunBegun) -> Line:
    """Phases, and where a run comes from."""
    match fact:
        case PhaseStarted():
            return Line("phase", fact.phase, "host")
        case PhaseFinished():
            return Line("phase over", fact.phase, "host")
        case OutputRefused():
            return Line("refused", fact.reason, "wrong")
        case RunForked():
            edits = ", ".join([one.what for one in fact.edits])
            changed = f"; different: {edits}" if edits else ""
            return Line("goes on", f"from {fact.source}, version {fact.version}{changed}", "host")
        case RunBegun():
            return Line("begun", f"the fork was begun{_by(fact.by)}", "host")
        case _:
            assert_never(fact)


def file_line(fact: InputStaged | ArtifactStored | Delivered | DeliveryFailed) -> Line:
    """Files, and where the output went."""
    match fact:
        case InputStaged():
            return Line("attachment", f"{fact.name} ({fact.media_type}, {fact.size:,} bytes): {fact.file_id}", "host")
        case ArtifactStored():
            return Line("artifact", f"{fact.name} ({fact.media_type}, {fact.size:,} bytes): {fact.sha256}", "host")
        case Delivered():
            return Line("delivered", fact.receipt or f"at attempt {fact.attempt}", "host")
        case DeliveryFailed():
            last = "given up" if fact.retry_at_us is None else "tried again later"
            return Line("not delivered", f"attempt {fact.attempt}, {last}: {fact.error}", "wrong")
        case _:
            assert_never(fact)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _by(who: str) -> str:
    return f" by {who}" if who else ""
