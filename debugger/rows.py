"""A run as a row of a list, for the page."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import JournalError, UnknownRun
from ..events import RunInfo
from ..ports import Journal, RunSummary
from ..projections.overview import Overview, evolve_overview
from ..projections.run import RunState
from .shaping import cut


def run_row(journal: Journal, summary: RunSummary) -> dict[str, Any]:
    """What the page says of a run in one row; of one that cannot be read, why."""
    run_id = summary.run_id
    row, problem = Overview(info=RunInfo(run_id=run_id, name="")), ""
    try:
        [first] = journal.read(run_id, 0, 1)
        [last] = journal.read(run_id, summary.version - 1, 1)
        row = evolve_overview(row, first)
        row = msgspec.structs.replace(
            row,
            state=journal.load(run_id).state,
            version=last.version,
            changed_at_us=last.at_us,
            elapsed_ms=last.elapsed_ms,
        )
    except (JournalError, UnknownRun, ValueError) as error:
        problem = str(error)
    state: RunState = row.state
    return {
        "run": run_id,
        "name": cut(row.info.name, 200),
        "agent": row.agent,
        "model": row.model,
        "caller": row.info.caller_id,
        "parent": row.info.parent_run_id,
        "status": "unreadable" if problem else row.status,
        "doing": row.doing,
        "steps": state.step,
        "tool_calls": state.tool_calls,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
        "cost_usd": state.cost_usd,
        "says": cut(problem or state.error or state.reason or state.output, 200),
        "by": state.by,
        "events": summary.version,
        "first_position": summary.first_position,
        "started_at_us": row.started_at_us,
        "changed_at_us": row.changed_at_us,
        "elapsed_ms": row.elapsed_ms,
        "imported_from": row.imported_from,
    }
