"""What each fact changes in the audit trail's tables. See `audit` for the tables, `rows` for what keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

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
    Event,
    FamilyAwaited,
    HostSlept,
    InputAwaited,
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
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
    Usage,
)
from .audit import (
    MOST_NAME,
    MOST_TEXT,
    TABLES,
    ApprovalRow,
    CriticRow,
    DeliveryRow,
    ErrorRow,
    FileRow,
    LimitRow,
    NoteRow,
    OrderRow,
    PhaseRow,
    RunRow,
    StepRow,
    ToolRow,
)
from .rows import Rows, added, head

Telling: TypeAlias = Callable[[RunRow, Event, Any], None]


class AuditView:
    """The audit trail as a view: a name, a version of its meaning, its tables, and how events change them."""

    name = "audit"
    version = 2
    tables = TABLES

    def fold(self, rows: Rows) -> Callable[[Sequence[Event]], None]:
        """What applies events, in order, to `rows`."""
        return Auditor(rows).apply


class Auditor:
    """Applies events to the tables. It remembers nothing beside them."""

    def __init__(self, rows: Rows) -> None:
        self._runs = rows.of(RunRow)
        self._steps = rows.of(StepRow)
        self._tools = rows.of(ToolRow)
        self._approvals = rows.of(ApprovalRow)
        self._limits = rows.of(LimitRow)
        self._critic = rows.of(CriticRow)
        self._orders = rows.of(OrderRow)
        self._notes = rows.of(NoteRow)
        self._errors = rows.of(ErrorRow)
        self._deliveries = rows.of(DeliveryRow)
        self._phases = rows.of(PhaseRow)
        self._files = rows.of(FileRow)
        self._tell: dict[type[Any], Telling] = {
            RunStarted: self._run_started,
            RunResumed: self._run_resumed,
            RunFinished: self._run_finished,
            StepStarted: self._step_started,
            StepCompleted: self._step_completed,
            StepFailed: self._step_failed,
            ToolStarted: self._tool_started,
            ToolRefused: self._tool_refused,
            ToolFinished: self._tool_finished,
            ToolOutcomeUnknown: self._outcome_unknown,
            ReconcileStarted: self._reconcile_started,
            ToolReconciled: self._reconciled,
            CallerSteered: self._caller_steered,
            InputAwaited: self._awaits,
            InputReceived: self._input_received,
            CancelRequested: self._cancel_requested,
            ApprovalRequested: self._approval_requested,
            ApprovalAwaited: self._awaits,
            ApprovalGranted: self._approval_granted,
            ApprovalDenied: self._approval_denied,
            ApprovalExpired: self._approval_expired,
            SoftTimeoutReached: self._soft_timeout_reached,
            CriticObserved: self._critic_spoke,
            CriticSteered: self._critic_spoke,
            DeadlineExtended: self._deadline_extended,
            CeilingRaised: self._ceiling_raised,
            CriticKilled: self._critic_killed,
            CriticReviewed: self._critic_reviewed,
            CriticLost: self._critic_lost,
            HostSlept: self._host_slept,
            BudgetNoticed: self._budget_noticed,
            BudgetExceeded: self._budget_exceeded,
            ChildStarted: self._child_started,
            ChildFinished: self._child_finished,
            ChildWaited: self._child_waited,
            ChildWentOn: self._child_went_on,
            FamilyAwaited: self._awaits,
            PhaseStarted: self._phase_started,
            PhaseFinished: self._phase_finished,
            OutputRefused: self._output_refused,
            RunForked: self._run_forked,
            RunBegun: self._run_begun,
            InputStaged: self._input_staged,
            ArtifactStored: self._artifact_stored,
            DeliveryAttempted: self._delivery_attempted,
            Delivered: self._delivered,
            DeliveryFailed: self._delivery_failed,
            NoteLogged: self._note_logged,
            ErrorLogged: self._error_logged,
            ContentErased: self._content_erased,
        }
        """Every fact; what is not here is unreadable."""

    def apply(self, events: Sequence[Event]) -> None:
        """Apply `events`, each once, in order of position."""
        tell, change = self._tell, self._runs.change
        for event in events:
            fact = event.fact
            run = change(event.run_id)
            if type(fact) is Opaque:
                run.unreadable += 1
                continue
            run.events = event.version
            run.changed_us = event.at_us
            if run.finished_us is None:
                run.runtime_s = event.elapsed_ms / 1000
            tell[type(fact)](run, event, fact)

    # -------------------------------------------------------------- life

    def _run_started(self, run: RunRow, event: Event, fact: RunStarted) -> None:
        info, agent, limits = fact.info, fact.agent, fact.limits
        run.name, run.agent, run.kind = name(info.name), name(agent.name), agent.kind
        run.model, run.tier, run.fingerprint = name(agent.model), name(info.model_tier), name(agent.fingerprint)
        run.subject, run.caller = name(info.subject_id), name(info.caller_id)
        run.channel, run.guild = name(info.channel_id), name(info.guild_id)
        run.request_id, run.parent_run_id = name(info.request_id), name(info.parent_run_id)
        run.root_run_id, run.depth = name(info.root_run_id or event.run_id), info.depth
        run.status, run.doing, run.started_us = "running", "tools", event.at_us
        run.max_steps, run.deadline_s = limits.max_steps, limits.timeout_s
        run.interactive, run.dry_run = int(fact.interactive), int(fact.dry_run)
        run.budgeted, run.deliver = int(fact.budgeted), int(fact.deliver)
        run.imported_from = name(fact.imported_from)

    def _run_forked(self, run: RunRow, event: Event, fact: RunForked) -> None:
        run.forked_from, run.forked_version = name(fact.source), fact.version
        run.steps_before = fact.totals.steps
        run.output, run.phase = text(fact.output), name(fact.phase)

        if fact.paused:
            run.status, run.doing = "waiting", "waiting"

    def _run_begun(self, run: RunRow, event: Event, fact: RunBegun) -> None:
        self._goes_on(run, fact.waited_ms)

    def _run_resumed(self, run: RunRow, event: Event, fact: RunResumed) -> None:
        run.resumed += 1

    def _run_finished(self, run: RunRow, event: Event, fact: RunFinished) -> None:
        stats, family = fact.stats, fact.family
        run.children_open = 0
        if run.approvals_open:
            run.approvals_open = 0
            for one in list(self._approvals.all(event.run_id)):
                if one.outcome == "pending":
                    self._approvals.change(event.run_id, one.call).outcome = "moot"
        run.status, run.doing, run.finished_us = stats.status, "", event.at_us
        run.ended_by, run.reason = name(fact.by), text(fact.reason)
        run.error, run.output = text(stats.error), text(stats.output)
        run.runtime_s = stats.runtime_s
        run.family_tool_calls, run.family_tokens = family.tool_calls, family.tokens
        run.family_cost_usd = family.cost_usd

    # -------------------------------------------------------------- steps

    def _step_started(self, run: RunRow, event: Event, fact: StepStarted) -> None:
        run.steps, run.doing = fact.step - run.steps_before, "model"
        if fact.attempt == 1:
            step = StepRow(event.run_id, fact.step)
            self._steps.put(step)
        else:
            step = self._steps.change(event.run_id, fact.step)
            step.status, step.attempts = "running", fact.attempt
        step.model, step.phase = (name(fact.model) if fact.model else run.model), run.phase
        step.reserved_tokens, step.reserved_usd = fact.reserved_tokens, fact.reserved_usd
        if not step.started_us:
            step.started_us = event.at_us

    def _step_completed(self, run: RunRow, event: Event, fact: StepCompleted) -> None:
        usage = fact.usage
        self._charge(run, usage)
        said = ""
        calls = 0
        for part in fact.reply:
            if type(part) is Text:
                said += part.text
            elif type(part) is ToolCall:
                calls += 1
        if said:
            run.output = said if len(said) <= MOST_TEXT else text(said)
        run.doing, run.error = "tools", ""
        step = self._steps.change(event.run_id, fact.step)
        step.status, step.answered, step.stop = "done", name(fact.model), fact.stop
        step.finished_us, step.took_ms, step.tool_calls = event.at_us, fact.took_ms, calls
        step.recorded = int(fact.recorded)
        step.tokens_in, step.tokens_out, step.tokens_thinking = usage.input, usage.output, usage.thinking
        step.tokens_cache_read, step.tokens_cache_write = usage.cache_read, usage.cache_write
        step.cost_usd, step.error = usage.cost_usd, ""

    def _step_failed(self, run: RunRow, event: Event, fact: StepFailed) -> None:
        run.doing, run.error = ("tools" if fact.retry_at_ms is None else "backoff"), text(fact.error)
        step = self._steps.change(event.run_id, fact.step)
        step.status, step.attempts, step.error = "failed", fact.attempt, text(fact.error)
        step.finished_us = event.at_us
        self._wrong(event, f"step {fact.step}, attempt {fact.attempt}", fact.error)

    def _charge(self, run: RunRow, usage: Usage) -> None:
        run.tokens_in = added(run.tokens_in, usage.input)
        run.tokens_out = added(run.tokens_out, usage.output)
        run.tokens_thinking = added(run.tokens_thinking, usage.thinking)
        if usage.cost_usd and 0 < usage.cost_usd < math.inf:
            run.cost_usd += usage.cost_usd

    # -------------------------------------------------------------- tools

    def _tool_started(self, run: RunRow, event: Event, fact: ToolStarted) -> None:
        run.doing, run.tool_calls = "tools", run.tool_calls + 1
        self._tools.put(ToolRow(event.run_id, fact.call, name(fact.name), "tool", fact.effect, "running", event.at_us))

    def _tool_refused(self, run: RunRow, event: Event, fact: ToolRefused) -> None:
        tool = ToolRow(event.run_id, fact.call, name(fact.name), outcome="refused", started_us=event.at_us)
        tool.finished_us, tool.error = event.at_us, text(fact.reason)
        self._tools.put(tool)

    def _tool_finished(self, run: RunRow, event: Event, fact: ToolFinished) -> None:
        tool = self._tools.change(event.run_id, fact.call)
        tool.finished_us, tool.took_ms, tool.result_chars = event.at_us, fact.took_ms, len(fact.result)
        if fact.is_error:
            tool.outcome, tool.error = "error", text(fact.result)
            self._wrong(event, fact.call, fact.result)
        else:
            tool.outcome = "ok"

    def _outcome_unknown(self, run: RunRow, event: Event, fact: ToolOutcomeUnknown) -> None:
        tool = self._tools.change(event.run_id, fact.call)
        tool.outcome, tool.finished_us, tool.error = "unknown", event.at_us, text(fact.reason)
        self._wrong(event, fact.call, fact.reason)

    def _reconcile_started(self, run: RunRow, event: Event, fact: ReconcileStarted) -> None:
        self._tools.change(event.run_id, fact.call).asked = fact.attempt

    def _reconciled(self, run: RunRow, event: Event, fact: ToolReconciled) -> None:
        """What it said shows in what follows: its result, or that it runs."""

    def _child_started(self, run: RunRow, event: Event, fact: ChildStarted) -> None:
        run.children_open += 1
        run.doing, run.tool_calls = "tools", run.tool_calls + 1
        tool = ToolRow(event.run_id, fact.call, name(fact.name), fact.kind, started_us=event.at_us)
        tool.child_run_id = name(fact.run_id)
        self._tools.put(tool)

    def _child_finished(self, run: RunRow, event: Event, fact: ChildFinished) -> None:
        tool = self._tools.change(event.run_id, fact.call)
        if run.children_open and tool.finished_us is None:
            run.children_open -= 1
        tool.outcome, tool.finished_us, tool.result_chars = fact.status, event.at_us, len(fact.output)
        tool.took_ms = max(0, event.at_us - tool.started_us) // 1000

    def _child_waited(self, run: RunRow, event: Event, fact: ChildWaited) -> None:
        self._tools.change(event.run_id, fact.call).outcome = "waiting"

    def _child_went_on(self, run: RunRow, event: Event, fact: ChildWentOn) -> None:
        self._goes_on(run, fact.waited_ms)
        self._tools.change(event.run_id, fact.call).outcome = "running"

    # -------------------------------------------------------------- people

    def _caller_steered(self, run: RunRow, event: Event, fact: CallerSteered) -> None:
        self._order(event, "steer", fact.by, fact.text)

    def _input_received(self, run: RunRow, event: Event, fact: InputReceived) -> None:
        if run.status == "waiting" and not run.approvals_open and not run.children_open:
            run.status, run.doing = "running", "tools"
        run.waited_s += fact.waited_ms / 1000
        said = "".join([part.text for part in fact.input if type(part) is Text])
        self._order(event, "send", fact.by, said)

    def _cancel_requested(self, run: RunRow, event: Event, fact: CancelRequested) -> None:
        self._order(event, "cancel", fact.by, fact.reason)

    def _awaits(self, run: RunRow, event: Event, fact: InputAwaited | ApprovalAwaited | FamilyAwaited) -> None:
        run.status, run.doing = "waiting", "waiting"

    def _order(self, event: Event, what: str, by: str, said: str) -> None:
        self._orders.put(OrderRow(event.run_id, event.version, event.at_us, what, name(by), text(said)))

    def _approval_requested(self, run: RunRow, event: Event, fact: ApprovalRequested) -> None:
        run.approvals_open += 1
        row = ApprovalRow(event.run_id, fact.call, name(fact.name), fact.effect, text(fact.question), event.at_us)
        row.expires_us, row.on_expiry = fact.expires_at_us, fact.default
        self._approvals.put(row)

    def _approval_granted(self, run: RunRow, event: Event, fact: ApprovalGranted) -> None:
        self._answered(run, event, fact, "granted", fact.by, "")

    def _approval_denied(self, run: RunRow, event: Event, fact: ApprovalDenied) -> None:
        self._answered(run, event, fact, "denied", fact.by, fact.reason)

    def _approval_expired(self, run: RunRow, event: Event, fact: ApprovalExpired) -> None:
        self._answered(run, event, fact, "expired", "", "")

    def _answered(self, run: RunRow, event: Event, fact: Any, outcome: str, by: str, reason: str) -> None:
        self._goes_on(run, fact.waited_ms)
        row = self._approvals.change(event.run_id, fact.call)
        if row.outcome == "pending" and run.approvals_open:
            run.approvals_open -= 1
        row.outcome, row.answered_by, row.reason = outcome, name(by), text(reason)
        row.answered_us, row.waited_ms = event.at_us, fact.waited_ms

    @staticmethod
    def _goes_on(run: RunRow, waited_ms: int) -> None:
        if run.status == "waiting":
            run.status, run.doing = "running", "tools"
        run.waited_s += waited_ms / 1000

    # -------------------------------------------------------------- supervision

    def _soft_timeout_reached(self, run: RunRow, event: Event, fact: SoftTimeoutReached) -> None:
        row = self._limit(event, "seconds")
        row.spent = fact.at_ms / 1000

    def _deadline_extended(self, run: RunRow, event: Event, fact: DeadlineExtended) -> None:
        row = self._limit(event, "seconds")
        row.was, row.became = run.deadline_s, fact.until_ms / 1000
        row.done_by, row.reason = name(fact.by), text(fact.reason)
        run.deadline_s = row.became

    def _ceiling_raised(self, run: RunRow, event: Event, fact: CeilingRaised) -> None:
        row = self._limit(event, fact.limit)
        row.was, row.became = fact.old, fact.new
        row.done_by, row.reason = name(fact.by), text(fact.reason)
        if fact.limit == "steps":
            run.max_steps = round(fact.new)

    def _budget_noticed(self, run: RunRow, event: Event, fact: BudgetNoticed) -> None:
        row = self._limit(event, fact.measure)
        row.was = row.became = fact.limit
        row.spent, row.reason = fact.spent, f"{fact.fraction:.0%} used"
        if fact.phase:
            row.scope = name(f"phase {fact.phase}")

    def _budget_exceeded(self, run: RunRow, event: Event, fact: BudgetExceeded) -> None:
        row = self._limit(event, fact.measure)
        row.was = row.became = fact.limit
        row.spent, row.scope, row.budget_window = fact.spent, name(fact.scope), name(fact.window)

    def _limit(self, event: Event, measure: str) -> LimitRow:
        row = LimitRow(event.run_id, event.version, event.at_us, event.tag, measure)
        self._limits.put(row)
        return row

    def _critic_spoke(self, run: RunRow, event: Event, fact: CriticObserved | CriticSteered) -> None:
        act = "observed" if type(fact) is CriticObserved else "steered"
        self._acted(event, act, fact.by, fact.text).evidence = as_json(fact.evidence)

    def _critic_killed(self, run: RunRow, event: Event, fact: CriticKilled) -> None:
        self._acted(event, "killed", fact.by, fact.reason).evidence = as_json(fact.evidence)

    def _critic_reviewed(self, run: RunRow, event: Event, fact: CriticReviewed) -> None:
        self._charge(run, fact.usage)
        row = self._acted(event, "reviewed", fact.by, "")
        row.model, row.cost_usd = name(fact.model), fact.usage.cost_usd
        row.tokens = fact.usage.input + fact.usage.output

    def _critic_lost(self, run: RunRow, event: Event, fact: CriticLost) -> None:
        self._acted(event, "lost", fact.by, fact.reason)
        self._wrong(event, "", fact.reason)

    def _acted(self, event: Event, act: str, by: str, said: str) -> CriticRow:
        row = CriticRow(event.run_id, event.version, event.at_us, act, name(by), text(said))
        self._critic.put(row)
        return row

    # -------------------------------------------------------------- phases, files, output, host

    def _phase_started(self, run: RunRow, event: Event, fact: PhaseStarted) -> None:
        run.doing, run.phase = "tools", name(fact.phase)
        self._phases.put(PhaseRow(event.run_id, name(fact.phase), fact.index, event.at_us))

    def _phase_finished(self, run: RunRow, event: Event, fact: PhaseFinished) -> None:
        row = self._phases.change(event.run_id, name(fact.phase))
        row.finished_us, row.output_chars = event.at_us, len(fact.output)

    def _output_refused(self, run: RunRow, event: Event, fact: OutputRefused) -> None:
        self._wrong(event, "", fact.reason)

    def _input_staged(self, run: RunRow, event: Event, fact: InputStaged) -> None:
        self._file(event, "input", fact)

    def _artifact_stored(self, run: RunRow, event: Event, fact: ArtifactStored) -> None:
        self._file(event, "artifact", fact).call = fact.call

    def _file(self, event: Event, kind: str, fact: InputStaged | ArtifactStored) -> FileRow:
        row = FileRow(event.run_id, event.version, event.at_us, kind, name(fact.name), name(fact.media_type))
        row.bytes, row.sha256 = fact.size, name(fact.sha256)
        self._files.put(row)
        return row

    def _delivery_attempted(self, run: RunRow, event: Event, fact: DeliveryAttempted) -> None:
        self._deliveries.put(DeliveryRow(event.run_id, fact.attempt, event.at_us))

    def _delivered(self, run: RunRow, event: Event, fact: Delivered) -> None:
        row = self._deliveries.change(event.run_id, fact.attempt)
        row.outcome, row.finished_us, row.receipt = "delivered", event.at_us, text(fact.receipt)

    def _delivery_failed(self, run: RunRow, event: Event, fact: DeliveryFailed) -> None:
        row = self._deliveries.change(event.run_id, fact.attempt)
        row.outcome = "dead" if fact.retry_at_us is None else "failed"
        row.finished_us, row.error, row.retry_us = event.at_us, text(fact.error), fact.retry_at_us
        self._wrong(event, f"attempt {fact.attempt}", fact.error)

    def _host_slept(self, run: RunRow, event: Event, fact: HostSlept) -> None:
        if 0 < fact.slept_s < math.inf:
            run.host_slept_s += fact.slept_s

    def _note_logged(self, run: RunRow, event: Event, fact: NoteLogged) -> None:
        self._notes.put(NoteRow(event.run_id, event.version, event.at_us, name(fact.type), as_json(fact.payload)))

    def _error_logged(self, run: RunRow, event: Event, fact: ErrorLogged) -> None:
        self._wrong(event, "", fact.message)

    def _content_erased(self, run: RunRow, event: Event, fact: ContentErased) -> None:
        run.erased_us, run.erased_by = event.at_us, name(fact.by)

    def _wrong(self, event: Event, place: str, said: str) -> None:
        self._errors.put(ErrorRow(event.run_id, event.version, event.at_us, event.tag, place, text(said)))


def name(given: str) -> str:
    """A name or an id, cut."""
    return given if len(given) <= MOST_NAME else head(given, MOST_NAME)


def text(given: str) -> str:
    """A text, cut."""
    return given if len(given) <= MOST_TEXT else head(given, MOST_TEXT)


def as_json(value: dict[str, Any]) -> str:
    """A value as JSON, cut; "" for nothing."""
    if not value:
        return ""
    try:
        return text(msgspec.json.encode(value).decode())
    except Exception:  # what a damaged or foreign log holds need not be JSON
        return "(not shown: it is no JSON)"
