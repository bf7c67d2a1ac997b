"""What callers spent, by their runs' facts."""

from __future__ import annotations

import pytest
from any_spending import DAY_US, HOUR_US, MINUTE_US, START_US, logs
from hypothesis import given, settings
from hypothesis import strategies as st
from run_facts import FactRun

from executus.events import (
    ApprovalDenied,
    ApprovalRequested,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    Event,
    FamilyAwaited,
    InputAwaited,
    InputReceived,
    NoteLogged,
    RunBegun,
    RunForked,
    StepStarted,
    ToolFinished,
    ToolStarted,
    Usage,
)
from executus.projections import ledger as ledger_module
from executus.projections.ledger import Account, Ledger, cost_usd, recount
from executus.projections.rolling import NOTHING, SLACK, Rolling, Spent, nano

FEWER = settings(max_examples=40)


def truth(runs: list[FactRun], caller: str) -> Spent:
    theirs = [run for run in runs if run.caller == caller]
    return Spent(
        sum(run.tokens for run in theirs),
        round(sum(run.usd for run in theirs) * 10**9),
        sum(run.worked_ms for run in theirs),
        sum(run.tools for run in theirs),
    )


@FEWER
@given(logs())
def test_what_is_spent_is_what_the_runs_did_in_any_interleaving(made: tuple[list[FactRun], list[Event]]) -> None:
    runs, log = made
    ledger = recount(log)
    for caller in ("alice", "bob"):
        assert ledger.account(caller).total == truth(runs, caller)


@FEWER
@given(logs(), st.randoms(use_true_random=False))
def test_an_event_told_again_changes_nothing(made: tuple[list[FactRun], list[Event]], chance) -> None:
    _, log = made
    ledger = Ledger()
    for index, event in enumerate(log):
        ledger.apply(event)
        for again in chance.sample(log[: index + 1], min(index + 1, 3)):
            ledger.apply(again)
    assert ledger == recount(log)


@FEWER
@given(logs())
def test_counted_caller_by_caller_or_all_at_once_is_the_same(made: tuple[list[FactRun], list[Event]]) -> None:
    runs, log = made
    whole = recount(log).standing()
    for caller in {run.caller for run in runs}:
        theirs = {run.run_id for run in runs if run.caller == caller}
        alone = recount(event for event in log if event.run_id in theirs).standing()
        assert alone["accounts"].get(caller) == whole["accounts"].get(caller)


@FEWER
@given(logs(), st.integers(0, 40 * DAY_US))
def test_a_window_is_never_shorter_than_its_name_and_at_most_one_bucket_longer(
    made: tuple[list[FactRun], list[Event]], later_us: int
) -> None:
    _, log = made
    ledger = Ledger()
    charges: list[tuple[int, int]] = []
    for event in log:
        before = ledger.account("alice").total.tokens
        ledger.apply(event)
        charges.append((event.at_us, ledger.account("alice").total.tokens - before))
    for now_us in (log[-1].at_us, log[-1].at_us + later_us):
        for window, length, bucket in (
            ("hour", HOUR_US, MINUTE_US),
            ("day", DAY_US, 15 * MINUTE_US),
            ("month", 30 * DAY_US, HOUR_US),
        ):
            least = sum(tokens for at_us, tokens in charges if at_us > now_us - length)
            most = sum(tokens for at_us, tokens in charges if at_us >= now_us - length - bucket)
            spent = ledger.account("alice").spent(window, now_us).tokens  # type: ignore[arg-type]
            assert least <= spent <= most, window


@FEWER
@given(logs())
def test_held_back_is_what_calls_under_way_declared(made: tuple[list[FactRun], list[Event]]) -> None:
    _, log = made
    ledger = Ledger()
    open_calls: dict[str, int] = {}
    for event in log:
        ledger.apply(event)
        if event.tag == "step-started":
            open_calls[event.run_id] = event.fact.reserved_tokens  # type: ignore[union-attr]
        elif event.tag in ("step-completed", "step-failed", "run-finished"):
            open_calls.pop(event.run_id, None)
        held = sum(ledger.account(caller).reserved().tokens for caller in ("alice", "bob"))
        assert held == sum(open_calls.values())


@FEWER
@given(logs())
def test_a_family_is_forgotten_when_its_last_run_is_over(made: tuple[list[FactRun], list[Event]]) -> None:
    runs, log = made
    for run in runs:
        if not run.over:
            log.append(run.finish())
    ledger = recount(log)
    for one in ledger.standing()["accounts"].values():
        assert one["runs"] == {}
        assert one["reserved"] == {}
    assert ledger.standing()["runs"] == {}


def test_a_family_spends_together_in_the_window_of_the_run() -> None:
    parent = FactRun()
    child = FactRun(root=parent.run_id)
    other = FactRun()
    for run, tokens in ((parent, 100), (child, 20), (other, 3)):
        run.begin_step()
        run.complete_step(Usage(input=tokens))
    ledger = recount([*parent.events, *child.events, *other.events])
    account = ledger.account("alice")
    assert account.spent("run", 0, parent.run_id).tokens == 120
    assert account.spent("run", 0, other.run_id).tokens == 3
    assert account.spent("total", 0).tokens == 123


def test_days_of_waiting_for_a_person_are_not_runtime_whatever_is_logged_meanwhile() -> None:
    run = FactRun()
    run.begin_step()
    run.work(1500)
    run.complete_step(Usage())
    run.ask_approval(3 * 86_400_000)
    run.ask_input(2 * 86_400_000)
    run.work(500)
    run.begin_step()
    assert recount(run.events).account("alice").total.runtime_ms == 2000


def test_a_run_that_is_ended_while_it_waits_is_not_charged_for_the_wait() -> None:
    run = FactRun()
    run.work(700)
    run.add(InputAwaited(since_ms=run.elapsed_ms))
    run.elapsed_ms += 86_400_000
    run.finish()
    assert recount(run.events).account("alice").total.runtime_ms == 700


def test_while_one_call_runs_another_ones_approval_is_no_standing_still() -> None:
    run = FactRun()
    run.add(ApprovalRequested(call="1.0", name="buy"))
    run.add(ToolStarted(call="1.1", name="look"))
    run.work(400)
    run.add(ToolFinished(call="1.1", result="seen"))
    run.elapsed_ms += 9000
    run.add(ApprovalDenied(call="1.0"))
    run.work(30)
    run.add(NoteLogged(type="host"))
    assert recount(run.events).account("alice").total.runtime_ms == 430


def test_a_second_in_which_a_child_works_is_the_childs_alone() -> None:
    parent = FactRun()
    child = FactRun(root=parent.run_id)
    parent.work(400)
    parent.add(ChildStarted(call="1.0", name="helper", run_id=child.run_id))
    child.work(3000)
    child.finish()
    parent.elapsed_ms += 3000
    parent.add(NoteLogged(type="host"))
    parent.elapsed_ms += 100
    parent.add(ChildFinished(call="1.0", run_id=child.run_id, status="ok"))
    parent.work(30)
    parent.finish()
    assert recount([*parent.events, *child.events]).account("alice").total.runtime_ms == 3430


def test_a_run_works_on_while_a_child_does_if_a_call_of_its_own_runs() -> None:
    run = FactRun()
    run.add(ChildStarted(call="1.0", name="helper", run_id="x"))
    run.add(ToolStarted(call="1.1", name="look"))
    run.work(500)
    run.add(ToolFinished(call="1.1", result="seen"))
    run.elapsed_ms += 7000
    run.add(ChildFinished(call="1.0", run_id="x", status="ok"))
    assert recount(run.events).account("alice").total.runtime_ms == 500


def test_days_in_which_a_child_waits_for_a_person_are_charged_to_nobody() -> None:
    parent = FactRun()
    child = FactRun(root=parent.run_id)
    parent.add(ChildStarted(call="1.0", name="helper", run_id=child.run_id))
    parent.add(ChildWaited(call="1.0", run_id=child.run_id))
    parent.add(FamilyAwaited(since_ms=parent.elapsed_ms))
    child.ask_approval(3 * 86_400_000)
    parent.elapsed_ms += 3 * 86_400_000
    parent.add(ChildWentOn(call="1.0", run_id=child.run_id, waited_ms=3 * 86_400_000))
    child.work(20)
    child.finish()
    parent.elapsed_ms += 20
    parent.add(ChildFinished(call="1.0", run_id=child.run_id, status="ok"))
    assert recount([*parent.events, *child.events]).account("alice").total.runtime_ms == 20


def test_days_in_which_a_fork_waits_to_be_begun_are_charged_to_nobody() -> None:
    fork = FactRun()
    fork.add(RunForked(source="x", version=3, paused=True))
    fork.elapsed_ms += 86_400_000
    fork.add(NoteLogged(type="still here"))
    assert recount(fork.events).account("alice").total.runtime_ms == 0
    fork.elapsed_ms += 86_400_000
    fork.add(RunBegun(waited_ms=2 * 86_400_000))
    fork.work(20)
    fork.begin_step()
    assert recount(fork.events).account("alice").total.runtime_ms == 20
    resumed = FactRun()
    resumed.add(RunForked(source="x", version=3))
    resumed.work(30)
    resumed.finish()
    assert recount(resumed.events).account("alice").total.runtime_ms == 30


def test_what_a_fact_says_was_waited_is_not_charged_though_no_fact_says_since_when() -> None:
    for waited in (
        InputReceived(input=(), waited_ms=8000),
        ApprovalDenied(call="1.0", waited_ms=8000),
        ChildWentOn(call="1.0", run_id="x", waited_ms=8000),
    ):
        run = FactRun()
        run.elapsed_ms += 9000
        run.add(waited)
        assert recount(run.events).account("alice").total.runtime_ms == 1000


def test_a_message_that_comes_while_an_approval_is_awaited_ends_no_wait() -> None:
    run = FactRun()
    run.add(ApprovalRequested(call="1.0", name="buy"))
    run.add(InputReceived(input=()))
    run.elapsed_ms += 86_400_000
    run.add(ApprovalDenied(call="1.0", waited_ms=86_400_000))
    assert recount(run.events).account("alice").total.runtime_ms == 0


def test_a_child_is_a_tool_call_of_its_parent_and_counted_once() -> None:
    run = FactRun()
    run.add(ChildStarted(call="1.0", name="helper", run_id="x"))
    assert recount(run.events).account("alice").total.tool_calls == 1
    run.add(ToolStarted(call="1.0", name="helper"))
    assert recount(run.events).account("alice").total.tool_calls == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=60))
def test_a_sum_remembered_between_two_questions_is_the_sum_counted_anew(moves: list[tuple[bool, int]]) -> None:
    rolling = Rolling(1, 3)
    for adds, second in moves:
        if adds:
            rolling.add(second * 1_000_000, Spent(1))
        else:
            anew = sum(amount.tokens for at, amount in rolling.buckets.items() if at >= second - 3)
            assert rolling.sum(second * 1_000_000).tokens == anew


def test_a_bucket_that_makes_place_for_a_newer_one_leaves_the_remembered_sum_too() -> None:
    rolling = Rolling(1, 3)
    for second in range(100):
        rolling.add(second * 1_000_000, Spent(1))
        assert rolling.sum(5_000_000).tokens == sum(at >= 2 for at in rolling.buckets)


def test_every_end_of_a_call_gives_back_what_was_held_for_it() -> None:
    run = FactRun()
    run.begin_step(tokens=500, usd=0.25)
    ledger = recount(run.events)
    assert ledger.account("alice").reserved() == Spent(500, nano(0.25))
    assert ledger.account("alice").reserved("run", run.run_id).tokens == 500
    run.fail_step(tokens=300)
    ledger = recount(run.events)
    assert ledger.account("alice").reserved() == Spent(300)
    run.complete_step(Usage(input=1))
    assert recount(run.events).account("alice").reserved() == NOTHING
    run.begin_step(tokens=10)
    run.finish()
    assert recount(run.events).account("alice").reserved() == NOTHING


def test_a_recount_with_other_prices_tells_the_same_calls_anew() -> None:
    run = FactRun(model="openai:gpt-5-mini")
    run.begin_step()
    run.complete_step(Usage(input=1000, output=10, cost_usd=0.5))
    assert recount(run.events).account("alice").total.cost_usd == 0.5
    dear = recount(run.events, lambda model, usage: usage.input * 0.01)
    assert dear.account("alice").total.cost_usd == pytest.approx(10.0)
    assert dear != recount(run.events)


def test_the_model_that_answered_is_priced_and_else_the_one_that_was_asked() -> None:
    asked: list[str] = []

    def price(model: str, usage: Usage) -> float | None:
        asked.append(model)
        return {"openai:gpt-5-mini": 2.0, "openai:gpt-5-mini-2025-08-07": 1.0}.get(model)

    usage = Usage(cost_usd=9.0)
    assert cost_usd(price, "openai:gpt-5-mini", "gpt-5-mini-2025-08-07", usage) == 1.0
    assert asked == ["openai:gpt-5-mini-2025-08-07"]
    assert cost_usd(price, "openai:gpt-5-mini", "gpt-5-mini-2099", usage) == 2.0
    assert cost_usd(price, "openai:gpt-5-mini", "", usage) == 2.0
    assert cost_usd(price, "scripted", "", usage) == 9.0
    assert cost_usd(None, "openai:gpt-5-mini", "", Usage()) is None


def test_a_review_is_not_priced_as_if_the_runs_own_model_had_made_it() -> None:
    run = FactRun(model="openai:gpt-5")
    run.review(Usage(input=100, cost_usd=0.125))
    total = recount(run.events, lambda model, usage: 50.0 if model == "openai:gpt-5" else None).account("alice").total
    assert (total.tokens, total.cost_usd) == (100, 0.125)


def test_a_step_with_a_model_of_its_own_is_priced_as_that() -> None:
    run = FactRun(model="cheap")
    run.add(StepStarted(step=1, model="dear"))
    run.step = 1
    run.complete_step(Usage(input=1))
    priced = recount(run.events, lambda model, usage: {"cheap": 1.0, "dear": 8.0}[model])
    assert priced.account("alice").total.cost_usd == 8.0


def test_prices_that_are_no_money_count_nothing() -> None:
    for nonsense in (float("nan"), float("inf"), -3.0):
        run = FactRun()
        run.begin_step()
        run.complete_step(Usage(input=1))
        assert recount(run.events, lambda model, usage, usd=nonsense: usd).account("alice").total == Spent(1)


def test_a_record_taken_in_from_elsewhere_costs_nobody_anything() -> None:
    run = FactRun(imported_from="chat.json")
    run.begin_step(tokens=4)
    run.complete_step(Usage(input=1000))
    assert recount(run.events) == Ledger()


def test_a_run_told_again_after_its_end_counts_once() -> None:
    run = FactRun()
    run.begin_step()
    run.complete_step(Usage(input=1000))
    run.finish()
    assert recount([*run.events, *run.events]).account("alice").total.tokens == 1000


def spend(ledger: Ledger, at_us: int, tokens: int = 1) -> None:
    run = FactRun()
    run.at_us = at_us
    run.begin_step()
    run.complete_step(Usage(input=tokens))
    run.finish()
    for event in run.events:
        ledger.apply(event)


def test_a_clock_that_was_far_ahead_neither_empties_nor_blocks_the_windows() -> None:
    ledger = Ledger()
    account = ledger.account("alice")
    spend(ledger, START_US, 5)
    spend(ledger, START_US + 50 * 365 * DAY_US, 7)
    spend(ledger, START_US + 1, 11)
    assert account.spent("hour", START_US + 2).tokens == 23, "what the clock says comes later counts too"
    for minute in range(100):
        spend(ledger, START_US + HOUR_US + minute * MINUTE_US)
    assert account.spent("hour", START_US + HOUR_US + 100 * MINUTE_US).tokens == 60, "and not for ever"


def test_what_a_caller_spends_over_years_takes_bounded_memory() -> None:
    ledger = Ledger()
    account = ledger.account("alice")
    for day in range(800):
        for hour in (3, 9):
            spend(ledger, START_US + day * DAY_US + hour * HOUR_US)
    standing = account.standing()
    for name, most in (("hour", 60), ("day", 96), ("month", 720)):
        assert len(standing[name]) <= most + SLACK
    assert standing["runs"] == {}
    assert len(ledger._ended) <= 2 * 32
    now_us = START_US + 799 * DAY_US + 9 * HOUR_US
    assert [account.spent(window, now_us).tokens for window in ("hour", "day", "month", "total")] == [1, 3, 61, 1600]


def test_sums_are_exact_however_many_small_amounts_are_added() -> None:
    run = FactRun()
    for _ in range(1000):
        run.begin_step()
        run.complete_step(Usage(cost_usd=0.1))
    assert recount(run.events).account("alice").total.cost_usd == 100.0


def test_an_unknown_caller_has_an_empty_account() -> None:
    assert Ledger().account("nobody").standing() == Account().standing()


@pytest.mark.parametrize("claimed", [1e308, 1e12, 1.7e300])
def test_a_log_may_claim_any_cost_and_still_be_counted(claimed: float) -> None:
    run = FactRun("alice")
    run.begin_step(5, claimed)
    run.complete_step(Usage(input=1, cost_usd=claimed))
    spent = recount(run.events).account("alice")
    assert spent.total == Spent(1, nano(claimed), spent.total.runtime_ms)
    assert nano(claimed) == nano(1e12) > nano(1e9)


def test_of_many_runs_that_ended_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_ENDED", 3)
    runs = [FactRun("alice") for _ in range(5)]
    for run in runs:
        run.finish()
    ledger = recount([event for run in runs for event in run.events])
    assert [ledger.is_over(run.run_id) for run in runs] == [False, False, True, True, True]
