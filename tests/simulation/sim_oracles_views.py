"""At rest every stored view equals a rebuild, and a ledger taken up from one equals a recount (P7)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from view_support import built, moved, rows_of

from executus.events import Event
from executus.journal.views.building import TemporaryViews
from executus.journal.views.builtin import audit_view, budget_view, outbox_view
from executus.journal.views.store import ViewStore
from executus.journal.views.tables import BufferedRows
from executus.projections.audit import RunRow
from executus.projections.ledger import recount
from executus.projections.outbox import outbox
from executus.projections.outgoing import stored_outbox
from executus.projections.overview import overview
from executus.projections.spending import stored_ledgers

if TYPE_CHECKING:
    from sim_world import World

EVERY = 8
"""One world in so many has its views judged: SQLite costs more than the world."""


def judge_views(world: World) -> list[str]:
    """The views of this episode's log, cut into random transactions with a crash after each."""
    if world.seed % EVERY:
        return []
    try:
        return _judged(world)
    except Exception as error:  # a log that planted mistakes have broken
        return [f"P9: the stored views cannot bear this log: {error!r}"]


def _judged(world: World) -> list[str]:
    log = world.disk.decoded
    chance = random.Random(world.seed)
    problems: list[str] = []
    for definition in (audit_view(), budget_view(), outbox_view()):
        file = TemporaryViews()
        file.open()
        sizes = [chance.randrange(1, 60) for _ in range(chance.randrange(12))]
        moved(ViewStore(file), definition, log, sizes)
        if rows_of(file.connection, definition) != built(definition, log):
            problems.append(f"P7: the view {definition.name} depends on how events were cut into transactions")
        rows = BufferedRows(definition.tables, "", file.ask)
        if definition.name == "audit":
            problems += _judge_runs(rows, log)
        elif definition.name == "budget":
            accounts = {caller: ledger.standing()["accounts"].get(caller) for caller, ledger, _ in stored_ledgers(rows)}
            want = recount(log).standing()["accounts"]
            if {caller: one for caller, one in accounts.items() if one is not None} != want:
                problems.append("P7: the stored budgets are not what a recount gives")
        elif stored_outbox(rows) != outbox(log):
            problems.append("P7: the stored outbox is not what the log gives")
        file.close()
    return problems


def _judge_runs(rows: BufferedRows, log: Sequence[Event]) -> list[str]:
    by_run: dict[str, list[Event]] = {}
    for event in log:
        by_run.setdefault(event.run_id, []).append(event)
    problems: list[str] = []
    for run_id, events in by_run.items():
        row, folded = rows.of(RunRow).get(run_id), overview(events)
        state = folded.state
        if row is None:
            problems.append("P7: a run is not in the audit")
            continue
        told = (row.status, row.steps + row.steps_before, row.tool_calls, row.tokens_in, row.tokens_out, row.events)
        want = (
            folded.status,
            state.step,
            state.tool_calls,
            state.input_tokens,
            state.output_tokens,
            folded.version,
        )
        if told != want:
            problems.append(f"P7: the audit tells of a run {told}, its fold says {want}")
    return problems
