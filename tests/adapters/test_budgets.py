"""Budgets said in code."""

from __future__ import annotations

from typing import Any

import pytest

from executus.adapters.budgets import FixedBudget, PerCaller
from executus.ports import Allowance, Budget

HOUR, DAY = Allowance(window="hour", tokens=10), Allowance(window="day", cost_usd=1.5)


def test_a_fixed_budget_is_the_same_for_everybody() -> None:
    budget = FixedBudget(HOUR, DAY)
    assert isinstance(budget, Budget)
    assert tuple(budget.allowances("alice")) == tuple(budget.allowances("bob")) == (HOUR, DAY)
    assert tuple(FixedBudget().allowances("alice")) == ()


def test_a_budget_by_caller_has_a_rule_for_everybody_else() -> None:
    budget = PerCaller({"alice": [HOUR], "root": []}, otherwise=[DAY])
    assert isinstance(budget, Budget)
    assert [tuple(budget.allowances(who)) for who in ("alice", "root", "bob")] == [(HOUR,), (), (DAY,)]
    assert tuple(PerCaller({"alice": [HOUR]}).allowances("bob")) == ()


def test_what_is_changed_in_the_hosts_own_list_later_changes_nothing_here() -> None:
    mine = [HOUR]
    budget = PerCaller({"alice": mine})
    mine.clear()
    assert tuple(budget.allowances("alice")) == (HOUR,)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (100, "expected Allowance, got 100"),
        (Allowance(window="week", tokens=1), "window: expected one of run, hour, day, month, total, got 'week'"),  # type: ignore[arg-type]
        (Allowance(tokens=-1), "tokens: expected a finite number of 0 or more, got -1"),
        (Allowance(tokens=True), "tokens: expected a number, got True"),
        (Allowance(tool_calls=2.5), "tool_calls: expected a number, got 2.5"),  # type: ignore[arg-type]
        (Allowance(cost_usd=float("nan")), "cost_usd: expected a finite number of 0 or more, got nan"),
        (Allowance(runtime_s=float("inf")), "runtime_s: expected a finite number of 0 or more, got inf"),
        (Allowance(cost_usd="5"), "cost_usd: expected a number, got '5'"),  # type: ignore[arg-type]
    ],
)
def test_an_allowance_that_makes_no_sense_is_refused_when_it_is_given(given: Any, sentence: str) -> None:
    for make in (
        lambda: FixedBudget(given),
        lambda: PerCaller({"a": [given]}),
        lambda: PerCaller({}, otherwise=[given]),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            make()
        assert sentence in str(raised.value)
