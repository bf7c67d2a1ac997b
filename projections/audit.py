"""The tables of the audit trail: who asked for what, what was done, what it cost, who stepped in, how it ended.

Times `*_us` are wall clock, microseconds since 1970 UTC. Texts are cut at `MOST_TEXT` characters, names and ids at
`MOST_NAME`; the log has them whole. `call` and `step` are as in facts. A column that may be NULL is not yet known.
"""

from __future__ import annotations

from typing import Final

from .rows import Row, Table

MOST_TEXT: Final = 500
MOST_NAME: Final = 200


class RunRow(Row):
    """A run. status: as in `projections.overview`. doing: what it does now, "" when over. root_run_id: the top of its
    family, itself for that. steps to cost_usd: its own, without children. family_*: spent by its children, at its end.
    erased_*: when and by whom what was said in it was erased.
    events: length of its log. unreadable: events of it that are damaged or of a newer version.
    """

    run_id: str
    name: str = ""
    agent: str = ""
    kind: str = "agent"
    model: str = ""
    tier: str = ""
    fingerprint: str = ""
    subject: str = ""
    caller: str = ""
    channel: str = ""
    guild: str = ""
    request_id: str = ""
    parent_run_id: str = ""
    root_run_id: str = ""
    depth: int = 0
    status: str = "new"
    doing: str = ""
    ended_by: str = ""
    reason: str = ""
    error: str = ""
    output: str = ""
    started_us: int = 0
    changed_us: int = 0
    finished_us: int | None = None
    runtime_s: float = 0.0
    waited_s: float = 0.0
    steps: int = 0
    tool_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thinking: int = 0
    cost_usd: float = 0.0
    family_tool_calls: int = 0
    family_tokens: int = 0
    family_cost_usd: float = 0.0
    max_steps: int = 0
    deadline_s: float | None = None
    interactive: int = 0
    dry_run: int = 0
    budgeted: int = 0
    deliver: int = 0
    imported_from: str = ""
    forked_from: str = ""
    forked_version: int | None = None
    steps_before: int = 0
    phase: str = ""
    resumed: int = 0
    approvals_open: int = 0
    children_open: int = 0
    host_slept_s: float = 0.0
    erased_us: int | None = None
    erased_by: str = ""
    unreadable: int = 0
    events: int = 0


class StepRow(Row):
    """A model call of a run with its attempts. status: "running", "done" or "failed" (perhaps to be tried again).
    recorded: 1 if the reply was taken from the recording of the run that this one was forked from, which costs nothing.
    """

    run_id: str
    step: int
    status: str = "running"
    phase: str = ""
    attempts: int = 1
    model: str = ""
    answered: str = ""
    started_us: int = 0
    finished_us: int | None = None
    took_ms: int = 0
    recorded: int = 0
    stop: str = ""
    tool_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thinking: int = 0
    tokens_cache_read: int = 0
    tokens_cache_write: int = 0
    cost_usd: float | None = None
    reserved_tokens: int = 0
    reserved_usd: float = 0.0
    error: str = ""


class ToolRow(Row):
    """A tool call, or a child run that a call became. outcome: "running", "waiting" (a child, for a person), "ok",
    "error", "refused", "unknown", or a child's end status. result_chars: length of what it answered. error: how it
    failed, or why it was refused. asked: how often the tool was asked what became of it, after a host had died.
    """

    run_id: str
    call: str
    name: str = ""
    kind: str = "tool"
    effect: str = ""
    outcome: str = "running"
    started_us: int = 0
    finished_us: int | None = None
    took_ms: int = 0
    result_chars: int = 0
    error: str = ""
    child_run_id: str = ""
    asked: int = 0


class ApprovalRow(Row):
    """A call that needed a person's yes. outcome: "pending", "granted", "denied", "expired", or "moot" when the run
    ended first. answered_by: who said yes or no.
    """

    run_id: str
    call: str
    name: str = ""
    effect: str = ""
    question: str = ""
    requested_us: int = 0
    expires_us: int | None = None
    on_expiry: str = ""
    outcome: str = "pending"
    answered_by: str = ""
    reason: str = ""
    answered_us: int | None = None
    waited_ms: int = 0


class LimitRow(Row):
    """A limit that was moved, came near or was reached. what: the tag of the fact. measure: what the limit counts.

    was, became: the limit before and after, in the measure's unit (seconds of the run's own clock for deadlines).
    spent: how much of it was used when that was said. scope: "run", "phase NAME" or "caller".
    """

    run_id: str
    version: int
    at_us: int = 0
    what: str = ""
    measure: str = ""
    was: float | None = None
    became: float | None = None
    spent: float | None = None
    done_by: str = ""
    reason: str = ""
    scope: str = "run"
    budget_window: str = ""


class CriticRow(Row):
    """An act of a critic, or in its name. act: "observed", "steered", "reviewed", "killed" or "lost"."""

    run_id: str
    version: int
    at_us: int = 0
    act: str = ""
    done_by: str = ""
    text: str = ""
    evidence: str = ""
    model: str = ""
    tokens: int = 0
    cost_usd: float | None = None


class OrderRow(Row):
    """What a person told the run. what: "steer", "send" or "cancel"."""

    run_id: str
    version: int
    at_us: int = 0
    what: str = ""
    given_by: str = ""
    text: str = ""


class NoteRow(Row):
    """A note of the host. kind: its type. payload: as JSON."""

    run_id: str
    version: int
    at_us: int = 0
    kind: str = ""
    payload: str = ""


class ErrorRow(Row):
    """Something that went wrong. what: the tag of the fact. place: the step, the call or the attempt, if any."""

    run_id: str
    version: int
    at_us: int = 0
    what: str = ""
    place: str = ""
    text: str = ""


class DeliveryRow(Row):
    """An attempt to deliver the output. outcome: "open", "delivered", "failed" (tried again at retry_us) or "dead"."""

    run_id: str
    attempt: int
    started_us: int = 0
    finished_us: int | None = None
    outcome: str = "open"
    receipt: str = ""
    error: str = ""
    retry_us: int | None = None


class PhaseRow(Row):
    """A phase of a run's work."""

    run_id: str
    phase: str
    place: int = 0
    started_us: int = 0
    finished_us: int | None = None
    output_chars: int = 0


class FileRow(Row):
    """A file: what was attached ("input") or what a tool made ("artifact"). bytes: its size."""

    run_id: str
    version: int
    at_us: int = 0
    kind: str = ""
    name: str = ""
    media_type: str = ""
    bytes: int = 0
    sha256: str = ""
    call: str = ""


TABLES: Final = (
    Table("runs", RunRow, indexes=(("started_us",), ("caller", "started_us"), ("agent", "started_us"), ("status",))),
    Table("steps", StepRow, key=("run_id", "step")),
    Table("tools", ToolRow, key=("run_id", "call"), indexes=(("name", "started_us"),)),
    Table("approvals", ApprovalRow, key=("run_id", "call"), indexes=(("outcome",),)),
    Table("limit_changes", LimitRow, key=("run_id", "version"), indexes=(("at_us",),)),
    Table("critic_acts", CriticRow, key=("run_id", "version"), indexes=(("at_us",),)),
    Table("orders", OrderRow, key=("run_id", "version"), indexes=(("at_us",),)),
    Table("notes", NoteRow, key=("run_id", "version"), indexes=(("at_us",),)),
    Table("errors", ErrorRow, key=("run_id", "version"), indexes=(("at_us",),)),
    Table("deliveries", DeliveryRow, key=("run_id", "attempt"), indexes=(("outcome",),)),
    Table("phases", PhaseRow, key=("run_id", "phase")),
    Table("files", FileRow, key=("run_id", "version"), indexes=(("sha256",),)),
)
