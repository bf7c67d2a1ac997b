"""Where a run stands: the state its decisions are made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

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
    EffectClass,
    ErrorLogged,
    Fact,
    FamilyAwaited,
    HostSlept,
    InputAwaited,
    InputPart,
    InputReceived,
    InputStaged,
    Limits,
    Measure,
    NoteLogged,
    OnExpiry,
    Opaque,
    OutputRefused,
    Part,
    PhaseFinished,
    PhasePrint,
    PhaseStarted,
    ReconcileStarted,
    RunBegun,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    RunStats,
    SoftTimeoutReached,
    Status,
    StepCompleted,
    StepFailed,
    StepStarted,
    StopReason,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
    Totals,
)

Doing: TypeAlias = Literal["new", "model", "backoff", "tools", "waiting", "over"]
"""new: nothing happened. model: a model call is owed. backoff: it failed and is tried again later. tools: results are
owed, or, when none is, the next step. waiting: for a person's message or approval, to be begun, or for children that
all do. over: finished."""


NOT_BEGUN = "forked, not begun"
"""Why a fork waits."""

REMEMBERED = 1_000
"""Artifacts of calls under way, at most: by these a repeated one is known."""


class OpenCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call that was started and has no outcome yet. asked: how often the tool was asked what became of it after
    a crash. asking: it is being asked now, so that the call must not be run.
    """

    call: str
    name: str
    effect: EffectClass
    arguments: str
    asked: int = 0
    asking: bool = False


class OpenChild(msgspec.Struct, frozen=True, gc=False):
    """A call that is a run of its own and not yet over. limits: what it was given of this run's. waits: for a person,
    with everything that is under way of it.
    """

    call: str
    name: str
    run_id: str
    kind: Literal["agent", "skill"]
    arguments: str
    limits: Limits
    waits: bool = False


class PendingApproval(msgspec.Struct, frozen=True, gc=False):
    """A call that waits for a person's yes. expires_at_us: wall clock, None for never."""

    call: str
    name: str
    effect: EffectClass
    arguments: str
    expires_at_us: int | None
    default: OnExpiry
    question: str


class Governed(msgspec.Struct, frozen=True, gc=False):
    """The part of a run's state that changes seldom: its place in a family, its phases, what supervision did.

    Times are on the run's own clock, waiting not counted. deadline_ms: the hard one. cap_steps, cap_ms: how far the
    critic may raise and extend. noticed: the notices given, such as "steps:0.8". phase_index: -1 without phases.
    phase_from, phase_from_ms: what was spent, and the time, when the phase began. family: spent by finished children.
    carried: spent by the run this one goes on from. kept: what calls that are not over have stored. input: kept for
    phases. killed: by the critic, or whom it names.

    Of a fork. paused: it waits to be begun. unplanned: calls of the newest reply that it is to make, before anybody has
    looked at them. said: why the model stopped, if nothing has come of its last words yet. reuses: the run whose
    replies may answer its model calls, as long as it is shown the same.
    """

    root: str = ""
    parent: str = ""
    depth: int = 0
    budgeted: bool = False
    deliver: bool = False
    deadline_ms: int | None = None
    cap_steps: int = 0
    cap_ms: int | None = None
    soft_reached: bool = False
    noticed: tuple[str, ...] = ()
    phases: tuple[PhasePrint, ...] = ()
    phase_index: int = -1
    phase_from: Totals = Totals()
    phase_from_ms: int = 0
    outputs: tuple[tuple[str, str], ...] = ()
    input: tuple[InputPart, ...] = ()
    children: tuple[OpenChild, ...] = ()
    family: Totals = Totals()
    carried: Totals = Totals()
    approvals: tuple[PendingApproval, ...] = ()
    kept: tuple[ArtifactStored, ...] = ()
    exceeded: Measure | None = None
    paused: bool = False
    unplanned: tuple[str, ...] = ()
    said: StopReason | None = None
    reuses: str = ""


class RunState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a run's facts. Times are on the run's own clock, in milliseconds."""

    doing: Doing = "new"
    run_id: str = ""
    agent: str = ""
    caller: str = ""
    limits: Limits = Limits()
    interactive: bool = False
    dry_run: bool = False
    read_only: bool = False
    """The log holds a fact of a newer version."""

    step: int = 0
    turn_from: int = 0
    """The step after which a person last spoke: the ceiling counts from there."""
    attempt: int = 0
    failures: int = 0
    """Attempts of this step that count against `limits.max_attempts`."""
    retry_at_ms: int = 0
    asked: tuple[ToolCall, ...] = ()
    open_calls: tuple[OpenCall, ...] = ()
    heard: int = 0
    """Messages of people that no step has read yet."""
    waiting_since_ms: int = 0
    waited_ms: int = 0
    """Time spent waiting for people, in children too, which the deadline does not count."""

    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cost_usd: float = 0.0
    context_tokens: int = 0
    """Tokens of the newest model call: the next one begins with as many."""
    output: str = ""
    """The newest text of the model: the output so far, also of a run that is stopped."""

    status: Status | None = None
    by: str = ""
    reason: str = ""
    error: str = ""
    runtime_ms: int = 0
    governed: Governed = Governed()

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.doing == "over"

    @property
    def phase(self) -> str:
        """The name of the phase the run is in, empty without phases."""
        governed = self.governed
        return governed.phases[governed.phase_index].name if governed.phase_index >= 0 else ""

    @property
    def between_steps(self) -> bool:
        """Whether nothing is under way and the next step has not begun: it waits for its budget."""
        governed = self.governed
        under_way = self.open_calls or governed.children or governed.approvals or governed.unplanned
        return self.doing == "tools" and not under_way

    @property
    def awaits_message(self) -> bool:
        """Whether it waits for a person's next message, and not for an approval, a child or its beginning."""
        governed = self.governed
        return self.doing == "waiting" and not (governed.approvals or governed.children or governed.paused)


def evolve(state: RunState, fact: Fact) -> RunState:
    """Return the state after `fact`. Refuses nothing, reads nothing but its arguments."""
    # The four facts of every step first, by exact type: a class pattern that misses a Struct costs 0.2 µs.
    if type(fact) is StepStarted:
        failures = state.failures if fact.step == state.step else 0
        return replace(state, doing="model", step=fact.step, attempt=fact.attempt, failures=failures, heard=0)
    if type(fact) is StepCompleted:
        return _completed(state, fact)
    if type(fact) is ToolStarted:
        call = OpenCall(fact.call, fact.name, fact.effect, _arguments(state, fact.call))
        if state.governed.unplanned:
            state = _planned(state, fact.call)
        return replace(state, doing="tools", open_calls=(*state.open_calls, call), tool_calls=state.tool_calls + 1)
    if type(fact) is ToolFinished:
        return _closed(state, fact.call)
    match fact:
        case ToolOutcomeUnknown():
            return _closed(state, fact.call)
        case ToolRefused():
            return _planned(state, fact.call)
        case ReconcileStarted() | ToolReconciled():
            asking = type(fact) is ReconcileStarted
            calls = [
                replace(one, asked=fact.attempt, asking=asking) if one.call == fact.call else one
                for one in state.open_calls
            ]
            return replace(state, open_calls=tuple(calls))
        case StepFailed():
            if fact.retry_at_ms is None:
                return replace(state, doing="tools", error=fact.error)
            counted = state.failures + (fact.kind != "interrupted")
            return replace(state, doing="backoff", retry_at_ms=fact.retry_at_ms, failures=counted, error=fact.error)
        case CallerSteered() | CriticSteered() | OutputRefused():
            return replace(state, heard=state.heard + 1)
        case InputAwaited() | ApprovalAwaited() | FamilyAwaited():
            return replace(state, doing="waiting", waiting_since_ms=fact.since_ms)
        case InputReceived():
            return replace(
                state,
                doing="tools" if state.awaits_message else state.doing,
                heard=state.heard + 1,
                waited_ms=state.waited_ms + fact.waited_ms,
                turn_from=state.step,
            )
        case RunStarted():
            return _started(fact)
        case RunFinished():
            return replace(
                state,
                doing="over",
                open_calls=(),
                status=fact.stats.status,
                by=fact.by,
                reason=fact.reason,
                error=fact.stats.error,
                output=fact.stats.output,
                runtime_ms=round(fact.stats.runtime_s * 1000),
                governed=replace(state.governed, children=(), approvals=(), kept=(), paused=False, unplanned=()),
            )
        case ApprovalGranted() | ApprovalDenied() | ApprovalExpired():
            doing: Doing = "tools" if state.doing == "waiting" else state.doing
            left = tuple([one for one in state.governed.approvals if one.call != fact.call])
            governed = replace(state.governed, approvals=left)
            return replace(state, doing=doing, waited_ms=state.waited_ms + fact.waited_ms, governed=governed)
        case ChildFinished():
            governed = state.governed
            left_children = tuple([one for one in governed.children if one.call != fact.call])
            family = governed.family.plus(fact.spent)
            return replace(state, governed=replace(governed, children=left_children, family=family))
        case ChildStarted():
            state = _planned(state, fact.call)
            child = OpenChild(fact.call, fact.name, fact.run_id, fact.kind, _arguments(state, fact.call), fact.limits)
            governed = replace(state.governed, children=(*state.governed.children, child))
            return replace(state, doing="tools", tool_calls=state.tool_calls + 1, governed=governed)
        case ChildWaited():
            return replace(state, governed=_waits(state.governed, fact.call, True))
        case ChildWentOn():
            doing = "tools" if state.doing == "waiting" else state.doing
            governed = _waits(state.governed, fact.call, False)
            return replace(state, doing=doing, waited_ms=state.waited_ms + fact.waited_ms, governed=governed)
        case CriticReviewed():
            usage = fact.usage
            return replace(
                state,
                input_tokens=state.input_tokens + usage.input,
                output_tokens=state.output_tokens + usage.output,
                thinking_tokens=state.thinking_tokens + usage.thinking,
                cost_usd=state.cost_usd + (usage.cost_usd or 0.0),
            )
        case CeilingRaised():
            return _raised(state, fact)
        case PhaseStarted():
            governed = replace(
                state.governed, phase_index=fact.index, phase_from=spent(state), phase_from_ms=fact.at_ms
            )
            return replace(state, doing="tools", asked=(), governed=governed)
        case RunForked():
            return _forked(state, fact)
        case RunBegun():
            governed = replace(state.governed, paused=False, said=None)
            return replace(state, doing="tools", waited_ms=state.waited_ms + fact.waited_ms, governed=governed)
        case ArtifactStored():
            if all(call.call != fact.call for call in state.open_calls):
                return state
            kept = (*state.governed.kept, fact)[-REMEMBERED:]
            return replace(state, governed=replace(state.governed, kept=kept))
        case Opaque():
            return replace(state, read_only=True)
        case (
            ApprovalRequested()
            | SoftTimeoutReached()
            | DeadlineExtended()
            | BudgetNoticed()
            | BudgetExceeded()
            | PhaseFinished()
        ):
            return replace(state, governed=_governed(state, fact))
        case (
            RunResumed()
            | CancelRequested()
            | NoteLogged()
            | ErrorLogged()
            | CriticObserved()
            | CriticKilled()
            | CriticLost()
            | HostSlept()
            | InputStaged()
            | DeliveryAttempted()
            | Delivered()
            | DeliveryFailed()
            | ContentErased()
        ):
            return state
        case _:
            assert_never(fact)


def _governed(
    state: RunState,
    fact: ApprovalRequested | SoftTimeoutReached | DeadlineExtended | BudgetNoticed | BudgetExceeded | PhaseFinished,
) -> Governed:
    governed = state.governed
    match fact:
        case ApprovalRequested():
            pending = PendingApproval(
                fact.call,
                fact.name,
                fact.effect,
                _arguments(state, fact.call),
                fact.expires_at_us,
                fact.default,
                fact.question,
            )
            unplanned = tuple([call for call in governed.unplanned if call != fact.call])
            return replace(governed, approvals=(*governed.approvals, pending), unplanned=unplanned)
        case SoftTimeoutReached():
            return replace(governed, soft_reached=True)
        case DeadlineExtended():
            return replace(governed, deadline_ms=fact.until_ms)
        case BudgetNoticed():
            return replace(governed, noticed=(*governed.noticed, notice_key(fact)))
        case BudgetExceeded():
            return replace(governed, exceeded=fact.measure)
        case PhaseFinished():
            return replace(governed, outputs=(*governed.outputs, (fact.phase, fact.output)))
        case _:
            assert_never(fact)


def _waits(governed: Governed, call: str, waits: bool) -> Governed:
    children = [replace(one, waits=waits) if one.call == call else one for one in governed.children]
    return replace(governed, children=tuple(children))


def notice_key(fact: BudgetNoticed) -> str:
    """By which a notice is known to have been given."""
    key = f"{fact.measure}:{fact.fraction:g}"
    return f"{fact.phase}/{key}" if fact.phase else key


def _started(fact: RunStarted) -> RunState:
    info, limits = fact.info, fact.limits
    timeout_ms = None if limits.timeout_s is None else round(limits.timeout_s * 1000)
    cap_ms = None if timeout_ms is None else 2 * timeout_ms
    if limits.extend_to_s is not None:
        cap_ms = round(limits.extend_to_s * 1000)
    governed = Governed(
        root=info.root_run_id,
        parent=info.parent_run_id,
        depth=info.depth,
        budgeted=fact.budgeted,
        deliver=fact.deliver,
        deadline_ms=timeout_ms,
        cap_steps=limits.raise_steps_to or 2 * limits.max_steps,
        cap_ms=cap_ms,
        phases=fact.agent.phases,
        input=fact.input if fact.agent.phases else (),
    )
    return RunState(
        doing="tools",
        run_id=info.run_id,
        agent=fact.agent.name,
        caller=info.caller_id,
        limits=limits,
        interactive=fact.interactive,
        dry_run=fact.dry_run,
        governed=governed,
    )


def _planned(state: RunState, call: str) -> RunState:
    governed = state.governed
    if call not in governed.unplanned:
        return state
    return replace(
        state, governed=replace(governed, unplanned=tuple([one for one in governed.unplanned if one != call]))
    )


def _forked(state: RunState, fact: RunForked) -> RunState:
    """What the source had is counted by limits, not by statistics; time begins anew."""
    names = [phase.name for phase in state.governed.phases]
    step = fact.totals.steps
    asked = calls_of(fact.messages[-1].parts) if fact.answers and fact.messages else ()
    governed = replace(
        state.governed,
        carried=fact.totals,
        noticed=fact.noticed,
        outputs=fact.outputs,
        phase_index=names.index(fact.phase) if fact.phase in names else -1,
        phase_from=fact.totals if fact.phase_from is None else fact.phase_from,
        paused=fact.paused,
        unplanned=tuple(
            [f"{step}.{index}" for index, _ in enumerate(asked) if fact.answers[index : index + 1] == (None,)]
        ),
        said=fact.said,
        reuses=fact.source if fact.reuse == "recorded" else "",
    )
    turn_from = step if state.interactive else 0
    return replace(
        state,
        doing="waiting" if fact.paused else "tools",
        step=step,
        turn_from=turn_from if fact.turn_from < 0 else fact.turn_from,
        asked=asked,
        output=fact.output,
        governed=governed,
    )


def calls_of(parts: Iterable[Part]) -> tuple[ToolCall, ...]:
    """The tool calls of a reply."""
    return tuple([part for part in parts if type(part) is ToolCall])


def _completed(state: RunState, fact: StepCompleted) -> RunState:
    asked = tuple([part for part in fact.reply if type(part) is ToolCall])
    if state.governed.reuses and not fact.recorded:
        state = replace(state, governed=replace(state.governed, reuses=""))
    text = "".join([part.text for part in fact.reply if type(part) is Text])
    usage = fact.usage
    return replace(
        state,
        doing="tools",
        asked=asked,
        failures=0,
        error="",
        output=text or state.output,
        input_tokens=state.input_tokens + usage.input,
        output_tokens=state.output_tokens + usage.output,
        thinking_tokens=state.thinking_tokens + usage.thinking,
        cost_usd=state.cost_usd + (usage.cost_usd or 0.0),
        context_tokens=usage.input + usage.output,
    )


def _raised(state: RunState, fact: CeilingRaised) -> RunState:
    limits = state.limits
    match fact.limit:
        case "steps":
            limits = replace(limits, max_steps=round(fact.new))
        case "tool_calls":
            limits = replace(limits, max_tool_calls=round(fact.new))
        case "tokens":
            limits = replace(limits, max_tokens=round(fact.new))
        case "cost_usd":
            limits = replace(limits, max_cost_usd=fact.new)
        case "seconds":  # said by `DeadlineExtended`
            return state
        case _:
            assert_never(fact.limit)
    return replace(state, limits=limits)


def _arguments(state: RunState, call: str) -> str:
    return state.asked[int(call.rpartition(".")[2])].arguments


def _closed(state: RunState, call: str) -> RunState:
    left = tuple([one for one in state.open_calls if one.call != call])
    governed = state.governed
    if governed.kept:
        governed = replace(governed, kept=tuple([one for one in governed.kept if one.call != call]))
    return replace(state, open_calls=left, governed=governed)


def own(state: RunState) -> Totals:
    """What the run itself has spent, without children and without what it carries from a source."""
    return Totals(
        steps=state.step - state.governed.carried.steps,
        tool_calls=state.tool_calls,
        tokens=state.input_tokens + state.output_tokens,
        cost_usd=state.cost_usd,
    )


def spent(state: RunState) -> Totals:
    """What counts against the run's limits: its own, its children's, and what it carries from a source. Steps are the
    run's alone.
    """
    governed = state.governed
    total = own(state).plus(governed.carried)
    family = governed.family
    return Totals(
        steps=total.steps,
        tool_calls=total.tool_calls + family.tool_calls,
        tokens=total.tokens + family.tokens,
        cost_usd=total.cost_usd + family.cost_usd,
    )


def stats(state: RunState, status: Status, error: str, runtime_ms: int) -> RunStats:
    """The roll-up of `state` as `RunFinished` carries it: of this run alone, without its children."""
    return RunStats(
        status=status,
        output=state.output,
        error=error,
        steps=state.step - state.governed.carried.steps,
        tool_calls=state.tool_calls,
        runtime_s=runtime_ms / 1000,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        thinking_tokens=state.thinking_tokens,
        cost_usd=state.cost_usd,
    )


def ended(state: RunState) -> RunFinished | None:
    """The run's end as its log has it, or None while it goes on."""
    if state.status is None:
        return None
    total = stats(state, state.status, state.error, state.runtime_ms)
    return RunFinished(stats=total, by=state.by, reason=state.reason, family=state.governed.family)
