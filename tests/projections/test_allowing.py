"""Whether there is room for one more call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_facts import FactRun

from executus.events import StepStarted, Usage
from executus.ports import Allowance
from executus.projections.allowing import Granted, Refused, Wait, Want, exhausted, moves_us, room
from executus.projections.ledger import Account, Held, Ledger, recount
from executus.projections.rolling import Spent

MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
NOW_US = 1_800_000_000_000_000


def spent_by_alice(tokens: int = 0, reserved: int = 0, usd: float = 0.0, tools: int = 0, ms: int = 0) -> Account:
    done, under_way = FactRun(), FactRun()
    done.at_us = under_way.at_us = NOW_US
    done.begin_step()
    done.complete_step(Usage(input=tokens, cost_usd=usd))
    for _ in range(tools):
        done.use_tool(0)
    done.work(ms)
    done.finish()
    under_way.begin_step(tokens=reserved)
    return recount([*done.events, *under_way.events]).account("alice")


def a_call(tokens: int = 0, usd: float = 0.0, *, estimated: bool = False, run: str = "r") -> Want:
    return Want(run_id=run, step=3, attempt=2, tokens=tokens, usd=usd, estimated=estimated)


def test_a_maximum_fits_or_waits_for_what_others_hold_or_is_refused() -> None:
    account = spent_by_alice(tokens=500, reserved=300)
    hour = [Allowance(window="hour", tokens=1000)]
    assert room(account, hour, a_call(200), NOW_US) == Granted(run_id="r", step=3, attempt=2, tokens=200, usd=0.0)
    assert room(account, hour, a_call(201), NOW_US) == Wait("hour")
    assert room(account, hour, a_call(500), NOW_US) == Wait("hour")
    verdict = room(account, hour, a_call(501), NOW_US)
    assert isinstance(verdict, Refused)
    assert (verdict.measure, verdict.limit, verdict.spent, verdict.window) == ("tokens", 1000, 500, "hour")
    assert (verdict.run_id, verdict.step, verdict.attempt) == ("r", 3, 2)


def test_an_estimate_gets_in_while_anything_is_left_and_holds_all_of_it_back() -> None:
    hour = [Allowance(window="hour", tokens=1000)]
    assert room(spent_by_alice(tokens=999), hour, a_call(5000, estimated=True), NOW_US) == Granted(
        run_id="r", step=3, attempt=2, tokens=5000, usd=0.0
    )
    assert room(spent_by_alice(tokens=900, reserved=100), hour, a_call(1, estimated=True), NOW_US) == Wait("hour")
    assert isinstance(room(spent_by_alice(tokens=1000), hour, a_call(1, estimated=True), NOW_US), Refused)


def test_what_was_granted_and_is_not_in_the_log_yet_is_held_back_too() -> None:
    granted = Held()
    granted.add(("other", 1, 1), "other", Spent(900))
    hour = [Allowance(window="hour", tokens=1000)]
    assert room(Account(), hour, a_call(101), NOW_US, granted) == Wait("hour")
    assert isinstance(room(Account(), hour, a_call(100), NOW_US, granted), Granted)
    per_run = [Allowance(window="run", tokens=1000)]
    assert isinstance(room(Account(), per_run, a_call(101), NOW_US, granted), Granted)


def test_every_measure_can_refuse() -> None:
    account = spent_by_alice(tokens=10, usd=0.5, tools=3, ms=2500)
    for allowance, measure, limit, spent in (
        (Allowance(tokens=10), "tokens", 10, 10),
        (Allowance(cost_usd=0.5), "cost_usd", 0.5, 0.5),
        (Allowance(tool_calls=2), "tool_calls", 2, 3),
        (Allowance(runtime_s=2.5), "seconds", 2.5, 2.5),
    ):
        verdict = room(account, [Allowance(window="total", tokens=10**9), allowance], a_call(1), NOW_US)
        assert isinstance(verdict, Refused)
        assert (verdict.measure, verdict.limit, verdict.spent) == (measure, limit, spent)


def test_without_allowances_everything_fits() -> None:
    assert isinstance(room(spent_by_alice(tokens=10**9), [], a_call(10**9), NOW_US), Granted)


def test_to_wait_for_the_whole_caller_goes_before_waiting_for_ones_own_family() -> None:
    run = FactRun()
    run.begin_step(tokens=100)
    account = recount(run.events).account("alice")
    family = Allowance(window="run", tokens=100)
    assert room(account, [family], a_call(1, run=run.run_id), NOW_US) == Wait("run")
    assert room(account, [family, Allowance(tokens=100)], a_call(1, run=run.run_id), NOW_US) == Wait("day")
    assert room(account, [Allowance(tokens=100), family], a_call(1, run=run.run_id), NOW_US) == Wait("day")


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (
            Refused(measure="tokens", limit=1000, spent=1200, window="hour", want=5),
            "the allowance of 1,000 tokens within an hour is spent (1,200 tokens)",
        ),
        (
            Refused(measure="tokens", limit=1000, spent=0, window="day", want=5000),
            "a call that may take 5,000 tokens is more than the whole allowance of 1,000 tokens within a day",
        ),
        (
            Refused(measure="cost_usd", limit=0.5, spent=0.4, window="month", want=0.25),
            "a call that may take $0.25 does not fit: $0.40 of the allowance of $0.50 within 30 days are spent",
        ),
        (Refused(failure="the host's budget failed: no"), "the host's budget failed: no"),
    ],
)
def test_a_refusal_says_why_with_its_numbers(refused: Refused, sentence: str) -> None:
    assert refused.why == sentence


def test_what_is_used_up_says_until_when() -> None:
    ledger = Ledger()
    for minute in range(3):
        run = FactRun()
        run.at_us = NOW_US + minute * MINUTE_US
        run.begin_step()
        run.complete_step(Usage(input=100))
        for event in run.events:
            ledger.apply(event)
    account, now_us = ledger.account("alice"), NOW_US + 3 * MINUTE_US
    ((refused, until_us),) = exhausted(account, [Allowance(window="hour", tokens=200)], now_us)
    assert (refused.measure, refused.limit, refused.spent, refused.window) == ("tokens", 200, 300, "hour")
    assert until_us is not None
    for at_us, is_room in ((until_us - 1, False), (until_us, True)):
        verdict = room(account, [Allowance(window="hour", tokens=200)], a_call(1), at_us)
        assert isinstance(verdict, Granted) is is_room
    ((_, never),) = exhausted(account, [Allowance(window="total", tokens=200)], now_us)
    assert never is None
    assert exhausted(account, [Allowance(window="hour", tokens=301), Allowance(window="run", tokens=1)], now_us) == []
    ((nothing, for_ever),) = exhausted(Account(), [Allowance(window="run", tokens=0)], now_us)
    assert (nothing.limit, for_ever) == (0, None)


def test_the_next_moment_at_which_a_window_moves_is_known() -> None:
    account = spent_by_alice(tokens=5)
    moves = moves_us(account, [Allowance(window="hour"), Allowance(window="day")], NOW_US)
    assert moves is not None
    assert account.spent("hour", moves - 1).tokens == 5
    assert account.spent("hour", moves).tokens == 0
    assert moves_us(account, [Allowance(window="total", tokens=1)], NOW_US) is None


def under_load(calls: list[tuple[int, int, bool]], limit: int, *, estimated: bool) -> int:
    """Ask for every call (declared, actual), settle an old one now and then; return what was spent in the end."""
    account, ledger = Account(), Ledger()
    account = ledger.account("alice")
    allowances = [Allowance(window="total", tokens=limit)]
    under_way: list[tuple[FactRun, int]] = []

    def settle() -> None:
        run, actual = under_way.pop(0)
        run.complete_step(Usage(input=actual))
        ledger.apply(run.events[-1])

    for declared, actual, settle_first in calls:
        run = FactRun()
        ledger.apply(run.events[0])
        if settle_first and under_way:
            settle()
        want = Want(run_id=run.run_id, step=1, tokens=declared, estimated=estimated)
        while isinstance(verdict := room(account, allowances, want, NOW_US), Wait):
            settle()
        if isinstance(verdict, Granted):
            run.step = 1
            ledger.apply(run.add(StepStarted(step=1, reserved_tokens=verdict.tokens)))
            under_way.append((run, actual))
    while under_way:
        settle()
    return account.total.tokens


calls = st.lists(
    st.integers(0, 50).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most), st.booleans())), max_size=30
)


@given(calls, st.integers(0, 300))
def test_true_maxima_never_pass_the_limit(calls: list[tuple[int, int, bool]], limit: int) -> None:
    assert under_load(calls, limit, estimated=False) <= limit


@given(calls, st.integers(1, 300))
def test_estimates_pass_the_limit_by_less_than_one_call(calls: list[tuple[int, int, bool]], limit: int) -> None:
    largest = max([declared for declared, _, _ in calls], default=0)
    assert under_load(calls, limit, estimated=True) < limit + max(1, largest)


@given(calls, st.integers(1, 300))
def test_whoever_waits_waits_for_somebody(calls: list[tuple[int, int, bool]], limit: int) -> None:
    """`under_load` settles a call while it has to wait: it would fail if there were none."""
    under_load(calls, limit, estimated=False)
    under_load(calls, limit, estimated=True)
