"""The ledger and the outbox as tables: the same as a recount, however events were cut, and to go on from."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from any_spending import logs
from hypothesis import given, settings
from hypothesis import strategies as st
from view_support import built, log_of, moved, rows_of, scan_of
from view_support import logs as lives

from executus.events import (
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    Event,
    Fact,
    RunFinished,
    RunStats,
    Usage,
)
from executus.journal.views.advancing import advance
from executus.journal.views.building import TemporaryViews
from executus.journal.views.builtin import budget_view, outbox_view, purse_view
from executus.journal.views.definition import Definition
from executus.journal.views.store import ViewStore
from executus.journal.views.tables import BufferedRows
from executus.projections import spending
from executus.projections.ledger import recount
from executus.projections.outbox import Outbox, outbox
from executus.projections.outgoing import stored_outbox
from executus.projections.spending import stored_ledgers
from executus.testing import run_started

SOME = settings(max_examples=50, deadline=None)
SIZES = st.lists(st.integers(1, 9), max_size=12)


def positioned(log: list[Event]) -> list[Event]:
    """With hashes, by which stored views know a journal again."""

    return [msgspec.structs.replace(event, hash=event.position.to_bytes(32)) for event in log]


def kept(definition: Definition, log: list[Event], sizes: list[int]) -> tuple[TemporaryViews, BufferedRows]:
    file = TemporaryViews()
    file.open()
    moved(ViewStore(file), definition, log, sizes)
    return file, BufferedRows(definition.tables, "", file.ask)


def standing(ledgers: Any) -> dict[str, Any]:
    """Many ledgers as one."""
    whole: dict[str, Any] = {"accounts": {}, "runs": {}}
    for _, ledger, runs in ledgers:
        one = ledger.standing()
        assert sorted(one["runs"]) == sorted(runs)
        whole["accounts"] |= one["accounts"]
        whole["runs"] |= one["runs"]
    return whole


@SOME
@given(st.one_of(logs().map(lambda made: made[1]), lives()), SIZES)
def test_the_tables_hold_what_a_recount_gives(log: list[Event], sizes: list[int]) -> None:
    log = positioned(log)
    file, rows = kept(budget_view(), log, sizes)
    assert rows_of(file.connection, budget_view()) == built(budget_view(), log)
    assert standing(stored_ledgers(rows)) == recount(log).standing()
    file.close()


@SOME
@given(logs().map(lambda made: made[1]), st.integers(0, 60), st.integers(0, 10**9))
def test_a_ledger_that_was_taken_up_goes_on_as_if_it_had_seen_everything(
    log: list[Event], cut: int, later_us: int
) -> None:
    log = positioned(log)
    file, rows = kept(budget_view(), log[:cut], [])
    ledgers = {caller: ledger for caller, ledger, _ in stored_ledgers(rows)}
    whole = recount(log[:cut])
    for caller, ledger in ledgers.items():
        mine, want = ledger.account(caller), whole.account(caller)
        now_us = (log[cut - 1].at_us if 0 < cut <= len(log) else 0) + later_us
        for window in ("hour", "day", "month", "total"):
            assert mine.spent(window, now_us) == want.spent(window, now_us)
            assert mine.leaving(window, now_us) == want.leaving(window, now_us)
        assert mine.reserved() == want.reserved()
        for event in log[cut:]:
            ledger.apply(event)
        assert ledger.standing()["accounts"].get(caller) == recount(log).standing()["accounts"].get(caller)
    file.close()


@SOME
@given(logs().map(lambda made: made[1]), SIZES)
def test_a_host_s_own_prices_are_kept_apart(log: list[Event], sizes: list[int]) -> None:
    def price(model: str, usage: Usage) -> float | None:
        return (usage.input + 3 * usage.output) / 1000 if model.startswith("openai") else None

    log = positioned(log)
    file, rows = kept(purse_view(price, "mine 1"), log, sizes)
    assert standing(stored_ledgers(rows, price)) == recount(log, price).standing()
    file.close()
    assert purse_view(price, "mine 1").shape != purse_view(price, "mine 2").shape
    assert {table.name for table in purse_view(price, "").tables}.isdisjoint(
        table.name for table in budget_view().tables
    )


def test_accounts_that_were_put_aside_are_taken_up_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(spending, "MOST_ACCOUNTS", 1)
    from run_facts import FactRun

    runs = [FactRun(f"caller {number}") for number in range(5)]
    log: list[Event] = []
    for turn in range(4):
        for run in runs:
            run.at_us = 1_800_000_000_000_000 + turn * 60_000_000 * 40
            run.begin_step(100)
            run.complete_step(Usage(input=10, output=turn))

    for number, event in enumerate(itertools.chain(*zip(*(run.events for run in runs), strict=True)), 1):
        log.append(msgspec.structs.replace(event, position=number, hash=number.to_bytes(32)))
    file = TemporaryViews()
    file.open()
    store = ViewStore(file)
    view = store.begin(budget_view())
    for start in range(0, len(log), 7):
        advance(store, [view], [log[start : start + 7]])
    store.swap(view)
    rows = BufferedRows(budget_view().tables, "", file.ask)
    assert standing(stored_ledgers(rows)) == recount(log).standing()
    file.close()


# ------------------------------------------------------------------ the outbox

END = RunFinished(stats=RunStats(status="ok"), by="model")


@st.composite
def deliveries(draw: st.DrawFn) -> list[Event]:
    """Runs that end, and attempts to deliver what they said, also anew after the end of all attempts."""
    runs: list[list[Fact]] = []
    for _ in range(draw(st.integers(1, 4))):
        facts: list[Fact] = [msgspec.structs.replace(run_started("Go."), deliver=draw(st.booleans()))]
        if draw(st.integers(0, 4)):
            facts.append(END)
            for attempt in range(1, draw(st.integers(1, 5))):
                facts.append(DeliveryAttempted(attempt=attempt, key="k"))
                outcome = draw(
                    st.sampled_from(
                        [
                            Delivered(attempt=attempt),
                            DeliveryFailed(attempt=attempt, error="no", retry_at_us=attempt),
                            DeliveryFailed(attempt=attempt, error="no"),
                            None,
                        ]
                    )
                )
                if outcome is not None:
                    facts.append(outcome)
        runs.append(facts)
    return log_of(runs, draw(st.lists(st.integers(0, 9), max_size=30)))


@SOME
@given(deliveries(), SIZES)
def test_the_outbox_is_kept_and_taken_up_in_its_order(log: list[Event], sizes: list[int]) -> None:
    file, rows = kept(outbox_view(), log, sizes)
    found, want = stored_outbox(rows), outbox(log)
    assert found == want
    assert list(found.owed()) == list(want.owed())
    file.close()


@SOME
@given(deliveries(), st.integers(0, 30))
def test_an_outbox_that_was_taken_up_goes_on_as_if_it_had_seen_everything(log: list[Event], cut: int) -> None:
    file, rows = kept(outbox_view(), log[:cut], [])
    found: Outbox = stored_outbox(rows)
    for event in log[cut:]:
        found.apply(event)
    assert found == outbox(log)
    assert list(found.owed()) == list(outbox(log).owed())
    file.close()


def test_a_log_is_scanned_as_a_journal_is() -> None:
    log = log_of([[run_started("Go."), END]], [])
    assert [event.position for event in scan_of(log)(1, 5)] == [2]
