"""The audit trail says of every life what the fold of the run says, whatever was cut into which transactions."""

from __future__ import annotations

from typing import Any

import pytest
from any_fact import any_fact
from hypothesis import given, settings
from hypothesis import strategies as st
from view_support import Said, SaidView, built, log_of, logs, moved, rows_of

from executus.events import FACTS, Event, Opaque
from executus.journal.views.building import TemporaryViews
from executus.journal.views.builtin import audit_view
from executus.journal.views.definition import defined
from executus.journal.views.store import ViewStore
from executus.projections.audit import TABLES, ErrorRow, RunRow
from executus.projections.auditing import Auditor
from executus.projections.overview import overview
from executus.projections.rows import Row, Table

SOME = settings(max_examples=60, deadline=None)


def table_of(kind: type[Row], rows: dict[str, list[tuple[Any, ...]]]) -> list[Any]:
    [name] = [table.name for table in TABLES if table.row is kind]
    return [kind(*(value for _, value in row)) for row in rows[name]]


@SOME
@given(logs())
def test_a_run_stands_in_the_audit_as_its_fold_says(log: list[Event]) -> None:
    rows = built(audit_view(), log)
    audited = {row.run_id: row for row in table_of(RunRow, rows)}
    for run_id in {event.run_id for event in log}:
        row, folded = audited[run_id], overview(event for event in log if event.run_id == run_id)
        state = folded.state
        assert row.status == folded.status
        assert row.doing == ("" if state.doing == "over" else state.doing)
        assert (row.ended_by, row.reason) == (state.by, state.reason)
        assert (row.steps, row.tool_calls) == (state.step, state.tool_calls)
        assert (row.tokens_in, row.tokens_out, row.tokens_thinking) == (
            state.input_tokens,
            state.output_tokens,
            state.thinking_tokens,
        )
        assert row.cost_usd == state.cost_usd
        assert row.output == state.output
        assert row.waited_s == pytest.approx(state.waited_ms / 1000)
        assert row.approvals_open == len(state.governed.approvals)
        assert row.children_open == len(state.governed.children)
        assert row.phase == (state.phase or row.phase)
        assert row.max_steps == state.limits.max_steps
        assert row.deadline_s == (None if state.governed.deadline_ms is None else state.governed.deadline_ms / 1000)
        assert row.error == (state.error if state.over or state.error else row.error)
        assert row.events == folded.version
        assert row.changed_us == folded.changed_at_us
        assert (row.finished_us is not None) == state.over
        assert row.caller == folded.info.caller_id


@SOME
@given(logs(), st.lists(st.integers(1, 9), max_size=12))
def test_rows_do_not_depend_on_how_events_are_cut_into_transactions(log: list[Event], sizes: list[int]) -> None:
    for definition in (audit_view(), defined(SaidView())):
        file = TemporaryViews()
        file.open()
        moved(ViewStore(file), definition, log, sizes)
        assert rows_of(file.connection, definition) == built(definition, log)
        file.close()


@SOME
@given(st.lists(any_fact, min_size=1, max_size=8), st.lists(st.integers(1, 3), max_size=5))
def test_no_fact_however_absurd_stops_the_audit(facts: list[Any], sizes: list[int]) -> None:
    log = log_of([facts], [])
    file = TemporaryViews()
    file.open()
    moved(ViewStore(file), audit_view(), log, sizes)
    file.close()


def test_every_fact_has_its_place_in_the_audit() -> None:
    class Nowhere:
        def of(self, row: type[Any]) -> Any:
            class Kept:
                change = get = put = remove = all = None

            return Kept()

    told = set(Auditor(Nowhere())._tell)  # type: ignore[arg-type]
    assert told == {struct for struct, _ in FACTS.values()}


def test_a_damaged_event_is_counted_and_the_rest_is_told() -> None:
    from executus.events import NoteLogged, RunFinished, RunStats
    from executus.testing import run_started

    damaged = Opaque(tag="step-started", schema=-1, payload=b"?")
    end = RunFinished(stats=RunStats(status="ok", output="done"), by="model")
    log = log_of([[run_started("Go."), damaged, end, NoteLogged(type="late", payload={"a": [1]})]], [])
    rows = built(audit_view(), log)
    [run] = table_of(RunRow, rows)
    assert (run.status, run.unreadable, run.events, run.output) == ("ok", 1, 4, "done")
    assert rows["notes"][0][-1] == ("str", '{"a":[1]}')
    assert table_of(ErrorRow, rows) == []


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Table("Said", Said), "expected a name of a-z"),
        (lambda: Table("said", Said, key=("nothing",)), "expected columns of run_id"),
        (lambda: Table("said", Said, key=("replies",)), "to be the first columns"),
        (lambda: Table("said", int), "expected a class of Row"),  # type: ignore[arg-type]
        (lambda: Table("said", Listed), "column 'values': expected str, int"),
        (lambda: Table("said", Bare), "expected a default for count"),
    ],
)
def test_a_table_that_cannot_be_kept_is_refused_with_what_was_expected(make: Any, expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=expected):
        make()


class Listed(Row):
    name: str
    values: list[int] = []


class Bare(Row):
    name: str
    count: int
