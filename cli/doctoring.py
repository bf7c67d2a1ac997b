"""`executus doctor`: what does not go on by itself, why, and whose move it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from ..errors import JournalError, JournalInUse
from ..events import (
    ApprovalAwaited,
    ApprovalRequested,
    DeliveryFailed,
    Event,
    InputAwaited,
    RunFinished,
    RunForked,
    ToolOutcomeUnknown,
)
from ..journal import OutsideReader
from ..ports import RunSummary
from ..projections import NOT_BEGUN
from ..projections.outbox import Sending, evolve_sending
from ..projections.overview import Overview, overview
from .opening import find_run, hosted, owning, reading
from .program import OK, PROBLEM, Failure
from .shapes import iso, print_json
from .standing import Standings
from .words import age, coloured, harmless, many, one_line

Kind = Literal[
    "unreadable",
    "quarantined",
    "orphaned",
    "waiting",
    "forked",
    "approval",
    "input",
    "suspended",
    "unknown-outcome",
    "dead-letter",
]

HEADINGS: Final[dict[Kind, tuple[str, str, bool]]] = {
    "unreadable": (
        "Logs that cannot be read",
        "see `executus verify RUN`; restore the journal from a backup",
        True,
    ),
    "quarantined": (
        "Quarantined: taking them up failed",
        "see `executus show RUN`, remove the cause, then `executus doctor --retry RUN`, or Runtime.retry in a host",
        True,
    ),
    "orphaned": ("Orphaned: their parent is over or gone", "the next host that opens the journal ends them", False),
    "waiting": (
        "Waiting for what this or the last host does not have",
        "open the journal with a host that has it; a child goes on with its parent",
        True,
    ),
    "forked": (
        "Forked, not begun",
        "`executus begin RUN`, or Run.begin in a host that has its agent, or cancel it; nothing is wrong",
        False,
    ),
    "approval": (
        "Waiting for somebody's yes or no",
        "answer with `executus approve RUN` or `deny`, or Run.approve or Run.deny in the host",
        True,
    ),
    "input": (
        "Waiting for a person's message",
        "`executus send RUN TEXT`, or Run.send or Run.end in the host; nothing is wrong",
        False,
    ),
    "suspended": ("Suspended: no host runs them", "open the journal with a Runtime that has their agents", True),
    "unknown-outcome": (
        "Tool calls whose outcome nobody knows",
        "look where the tool acts whether it took effect; the model was told that it is unknown",
        True,
    ),
    "dead-letter": (
        "Outputs whose delivery was given up",
        "remove the cause, then Runtime.redeliver(run) in a host with the delivery",
        True,
    ),
}
"""kind -> what it is, what to do, and whether that needs a person."""


class Finding(msgspec.Struct, frozen=True):
    """Something that does not go on by itself. since_us: wall clock."""

    kind: Kind
    run_id: str
    agent: str
    since_us: int
    why: str


def examine(db: Path, *, days: float, as_json: bool) -> int:
    """Print what was found; returns the exit code."""
    with reading(db) as journal:
        standings = Standings(journal, hosted(journal))
        found = [*_unfinished(journal, standings), *_ended(journal, time.time() - days * 86_400)]
    needs = any(HEADINGS[one.kind][2] for one in found)
    if as_json:
        for one in found:
            print_json(_shape(one))
        print_json({"type": "summary", "findings": len(found), "needs_a_person": needs, "hosted": standings.alive})
    else:
        _print(found, standings.alive)
    return PROBLEM if needs else OK


def _shape(one: Finding) -> dict[str, Any]:
    _, advice, person = HEADINGS[one.kind]
    return {
        "type": "finding",
        "kind": one.kind,
        "run": one.run_id,
        "agent": one.agent,
        "since": iso(one.since_us),
        "why": one.why,
        "do": advice,
        "needs_a_person": person,
    }


def _print(found: list[Finding], alive: bool) -> None:
    now = time.time()
    for kind, (title, advice, person) in HEADINGS.items():
        these = [one for one in found if one.kind == kind]
        if not these:
            continue
        click.echo(click.style(f"{title} ({len(these)})", bold=True))
        for one in these:
            since = f"{age(now - one.since_us / 1e6)} ago" if one.since_us else "?"
            line = f"  {one.run_id}  {since:>9}  {one_line(one.agent)}"
            click.echo(f"{harmless(line)}{f': {one_line(one.why)}' if one.why else ''}")
        click.echo(f"  {coloured('quarantined' if person else 'ok', '→')} {advice}\n")
    host = "a host has the journal open" if alive else "no host has the journal open"
    click.echo(f"{many(len(found), 'finding')}; {host}" if found else f"nothing is stuck; {host}")


# ------------------------------------------------------------------ finding


def _unfinished(journal: OutsideReader, standings: Standings) -> Iterator[Finding]:
    for summary in journal.runs(unfinished=True):
        try:
            log = journal.read(summary.run_id)
        except JournalError as error:
            yield Finding("unreadable", summary.run_id, "", 0, str(error))
            continue
        row = overview(log)
        status, why = standings.of(row)
        known = standings.recoveries.get(row.run_id)
        since_us = row.changed_at_us if known is None or not known.at_us else known.at_us
        if status == "quarantined":
            yield Finding("quarantined", row.run_id, row.agent, since_us, why)
        elif _is_orphan(journal, row):
            yield Finding(
                "orphaned", row.run_id, row.agent, row.changed_at_us, f"its parent is {row.info.parent_run_id}"
            )
        elif status == "waiting" and why == NOT_BEGUN:
            yield Finding("forked", row.run_id, row.agent, row.changed_at_us, _forked_from(log))
        elif status == "waiting" and why:
            yield Finding("waiting", row.run_id, row.agent, since_us, why)
        elif status == "suspended":
            yield Finding("suspended", row.run_id, row.agent, row.changed_at_us, row.doing)
        yield from _people(row, log)
        yield from _unknown(row.run_id, row.agent, log, 0.0)


def _forked_from(log: list[Event]) -> str:
    fork = next((event.fact for event in log[:3] if isinstance(event.fact, RunForked)), None)
    return NOT_BEGUN if fork is None else f"from {fork.source}, version {fork.version}"


def _is_orphan(journal: OutsideReader, row: Overview) -> bool:
    parent = row.info.parent_run_id
    if not parent:
        return False
    above: RunSummary | None = journal.run(parent)
    return above is None or above.over


def _people(row: Overview, log: list[Event]) -> Iterator[Finding]:
    asked = {event.fact.call: event.at_us for event in log if isinstance(event.fact, ApprovalRequested)}
    for one in row.state.governed.approvals:
        why = f"{one.name} ({one.call}): {one.question}" if one.question else f"{one.name} ({one.call})"
        yield Finding("approval", row.run_id, row.agent, asked.get(one.call, row.changed_at_us), why)
    state = row.state
    if state.doing == "waiting" and not (state.governed.approvals or state.governed.paused):
        since = [event.at_us for event in log if isinstance(event.fact, (InputAwaited, ApprovalAwaited))]
        yield Finding("input", row.run_id, row.agent, since[-1] if since else row.changed_at_us, "")


def _unknown(run_id: str, agent: str, log: list[Event], after_s: float) -> Iterator[Finding]:
    for event in log:
        if isinstance(event.fact, ToolOutcomeUnknown) and event.at_us >= after_s * 1e6:
            yield Finding("unknown-outcome", run_id, agent, event.at_us, f"{event.fact.call}: {event.fact.reason}")


def _ended(journal: OutsideReader, after_s: float) -> Iterator[Finding]:
    """Of runs that are over: calls with an unknown outcome, and outputs that were given up."""
    for run_id in sorted({*journal.tagged("tool-outcome-unknown"), *journal.tagged("delivery-failed")}):
        row = journal.run(run_id)
        if row is None or not row.over:
            continue
        try:
            log = journal.read(run_id)
        except JournalError as error:
            yield Finding("unreadable", run_id, "", 0, str(error))
            continue
        agent = overview(log[:1]).agent
        yield from _unknown(run_id, agent, log, after_s)
        sending = Sending()
        for event in log:
            sending = evolve_sending(sending, event.fact)
        if sending.settled == "dead" and log[-1].at_us >= after_s * 1e6:
            failures = [event.fact.error for event in log if isinstance(event.fact, DeliveryFailed)]
            why = f"given up after {sending.attempts} attempts: {failures[-1]}"
            ended = next(event.at_us for event in log if isinstance(event.fact, RunFinished))
            yield Finding("dead-letter", run_id, agent, ended, why)


# ------------------------------------------------------------------ repairing


def retry_runs(db: Path, wanted: tuple[str, ...], *, as_json: bool) -> None:
    """Forget what is held against runs."""
    with reading(db) as journal:
        runs = [find_run(journal, digits) for digits in wanted]
        known = {one.run_id: one for one in journal.recoveries()}
    for run_id in runs:
        if run_id not in known:
            raise Failure(f"nothing is held against run {run_id}; see `executus doctor`")
    try:
        with owning(db) as owned:
            told: list[JournalError | None] = []
            done = threading.Event()

            def forgotten(error: JournalError | None) -> None:
                told.append(error)
                done.set()

            owned.keep_recoveries([], runs, forgotten)
            done.wait()
            if told[0] is not None:
                raise told[0]
    except JournalInUse as error:
        raise Failure(f"{error}; a live host takes a run up again by Runtime.retry(run)") from error
    for run_id in runs:
        if as_json:
            print_json({"type": "retried", "run": run_id})
        else:
            click.echo(f"run {run_id} is taken up by the next host that opens the journal")
