"""Budgets through the public API: nothing is spent beyond them, whoever spends, whenever the host stops (P8)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, facts

from executus import Agent, Allowance, BudgetSpent, Reply, Text, Usage, tool
from executus.adapters.prices import FixedPrices
from executus.events import BudgetExceeded, RunFinished, StepCompleted, StepStarted, ToolCall
from executus.journal import read_journal
from executus.ports import ModelRequest
from executus.projections.ledger import recount
from executus.wiring import everything

CALL = 1_000
"""Tokens of a call at most."""
RUNS, STEPS = 50, 4


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


class Spends:
    """Uses `share` of what a call may take; says `steps` times that it wants to look, then that it is done."""

    name = "provider:spends"

    def __init__(self, steps: int = STEPS, share: float = 0.9, wait_s: float = 0.0) -> None:
        self.steps, self.tokens, self.wait_s = steps, round(CALL * share), wait_s

    async def reply(self, request: ModelRequest) -> Reply:
        await asyncio.sleep(self.wait_s)
        usage = Usage(input=self.tokens // 2, output=self.tokens - self.tokens // 2)
        if request.step > self.steps:
            return Reply((Text("done"),), usage)
        return Reply((ToolCall(f"c{request.step}", "look", "{}"),), usage, "tool_calls")


def spender(name: str = "spender", *, declared: int | None = CALL, **model: Any) -> Agent:
    return Agent(name, model=Spends(**model), tools=[look], max_call_tokens=declared)


def spent(events: Any) -> int:
    usages = [event.fact.usage for event in events if isinstance(event.fact, StepCompleted)]
    return sum(usage.input + usage.output for usage in usages)


async def many(runtime: Any, agent: str = "spender", runs: int = RUNS) -> list[str]:
    async def one() -> str:
        try:
            return str((await (await runtime.start_async(agent, "go", caller="alice"))).status)
        except BudgetSpent:
            return "budget_exceeded"

    return await asyncio.gather(*(one() for _ in range(runs)))


@pytest.mark.parametrize(("declared", "over"), [(CALL, 0), (None, CALL)])
def test_fifty_runs_that_want_too_much_spend_what_they_may(opened: Any, declared: int | None, over: int) -> None:
    limit = round(0.6 * RUNS * (STEPS + 1) * 900)
    runtime = opened(None, [spender(declared=declared)], budget=[Allowance(window="total", tokens=limit)])
    ends = asyncio.run(many(runtime))
    events = list(everything(runtime.journal))
    assert limit - RUNS * CALL <= spent(events) <= limit + over
    assert "budget_exceeded" in ends
    assert runtime.spending("alice")["total"].tokens == spent(events)
    assert recount(events).account("alice").total.tokens == spent(events)


HOST = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from test_budgets import many, spender
from executus import Allowance, Runtime
with Runtime(sys.argv[1], [spender(wait_s=0.01)], budget=[Allowance(window="total", tokens=60_000)]) as runtime:
    print("open", flush=True)
    asyncio.run(many(runtime, runs=40))
    print("through", flush=True)
"""


def test_a_host_that_is_killed_again_and_again_overspends_nothing(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    for _ in range(4):
        order = [sys.executable, "-c", HOST, str(path), *places]
        host = subprocess.Popen(order, stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None
        assert host.stdout.readline() == "open\n"
        reader = read_journal(path)
        try:
            before = spent(everything(reader))  # type: ignore[arg-type]
            while spent(everything(reader)) < min(before + 8_000, 50_000) and host.poll() is None:  # type: ignore[arg-type]
                pass
        finally:
            reader.close()
        host.send_signal(signal.SIGKILL)
        host.communicate()
    runtime = opened(path, [spender()], budget=[Allowance(window="total", tokens=60_000)])
    for row in runtime.runs(unfinished=True):
        runtime.run(row.run_id).result(DEADLINE_S)
    events = list(everything(runtime.journal))
    assert 50_000 <= spent(events) <= 60_000
    assert recount(events).account("alice").standing()["reserved"] == {}


def test_a_refused_start_is_an_error_and_a_run_that_says_why(opened: Any) -> None:
    runtime = opened(None, [spender(declared=900, steps=0)], budget=[Allowance(window="day", tokens=900)])
    assert runtime.start("spender", "go", caller="alice").result(DEADLINE_S).status == "ok"
    runtime.spending("alice")  # the ledger is told of a run after whoever waits for it
    with pytest.raises(BudgetSpent, match="900 used") as refused:
        runtime.start("spender", "go", caller="alice", request_id="r1")
    run = runtime.run(refused.value.run_id)
    assert [type(fact) for fact in facts(run)][1:] == [BudgetExceeded, RunFinished]
    assert run.status == "budget_exceeded"
    assert runtime.start("spender", "go", caller="bob").result(DEADLINE_S).status == "ok"


def test_a_refused_request_may_be_made_again(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    first = opened(path, [spender(declared=900, steps=0)], budget=[Allowance(window="day", tokens=900)])
    first.start("spender", "go", caller="alice").result(DEADLINE_S)
    first.spending("alice")
    with pytest.raises(BudgetSpent):
        first.start("spender", "go", caller="alice", request_id="r1")
    first.close()
    runtime = opened(path, [spender(declared=900, steps=0)], budget=[Allowance(window="day", tokens=5_000)])
    run = runtime.start("spender", "go", caller="alice", request_id="r1")
    assert run.result(DEADLINE_S).status == "ok"
    assert runtime.start("spender", "go", caller="alice", request_id="r1").id == run.id


def test_a_child_spends_from_the_caller_of_its_root(opened: Any) -> None:
    class Delegates:
        name = "provider:delegates"

        async def reply(self, request: ModelRequest) -> Reply:
            if request.step == 1:
                call = ToolCall("c", "agent__spender", '{"prompt": "go"}')
                return Reply((call,), Usage(input=50, output=50), "tool_calls")
            return Reply((Text("done"),), Usage(input=50, output=50))

    boss = Agent("boss", model=Delegates(), agents=["spender"], max_call_tokens=100)
    runtime = opened(None, [boss, spender(steps=9)], budget=[Allowance(window="run", tokens=3_000)])
    run = runtime.start("boss", "go", caller="alice")
    run.result(DEADLINE_S)
    [child] = run.children()
    assert child.result(DEADLINE_S).status == "budget_exceeded"
    events = list(everything(runtime.journal))
    assert 2_000 < spent(events) <= 3_000
    assert recount(events).account("alice").total.tokens == spent(events)


def test_another_price_tells_the_spending_anew(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    budget = [Allowance(window="total", cost_usd=100.0)]
    first = opened(path, [spender(steps=0)], budget=budget, prices=FixedPrices({"provider:spends": (1_000, 1_000)}))
    run = first.start("spender", "go", caller="alice")
    assert run.result(DEADLINE_S).stats.cost_usd == pytest.approx(0.9)
    assert first.spending("alice")["total"].cost_usd == pytest.approx(0.9)
    first.close()
    runtime = opened(path, [spender(steps=0)], budget=budget, prices=FixedPrices({"provider:spends": (2_000, 2_000)}))
    assert runtime.spending("alice")["total"].cost_usd == pytest.approx(1.8)


@pytest.mark.parametrize("by_tier", [False, True])
def test_dollars_are_held_back_for_a_call_before_it_is_made(opened: Any, by_tier: bool) -> None:
    model = Spends(steps=9)
    where: dict[str, Any] = {"tier": "deep"} if by_tier else {"model": model}
    agent = Agent("spender", tools=[look], max_call_tokens=CALL, **where)
    prices = FixedPrices({"provider:spends": (1_000, 1_000)})
    budget = [Allowance(window="total", cost_usd=4.0)]
    runtime = opened(None, [agent], budget=budget, prices=prices, tiers={"deep": model})
    runs = [runtime.start("spender", "go", caller="alice") for _ in range(5)]
    for run in runs:
        run.result(DEADLINE_S)
    assert {fact.reserved_usd for run in runs for fact in facts(run) if isinstance(fact, StepStarted)} == {1.0}
    assert 3.0 < runtime.spending("alice")["total"].cost_usd <= 4.0
