"""A child that asks a person: its parent stands still with it, for days, asleep, and in the next host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from family_support import answers, ask, boss
from runtime_support import DEADLINE_S, AsyncGate, facts, tags, wait_for
from time_support import CANARY, Lull, let_pass

from executus import Agent, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import MessageRefused
from executus.events import ChildWentOn
from executus.journal import verify_run
from executus.testing import VirtualClock

DAY_S = 86_400.0


class Desk:
    """Somebody whose yes is needed before `pay` runs, three levels down or one."""

    def __init__(self) -> None:
        self.paid: list[int] = []

        @tool(approval=True)
        async def pay(amount: int) -> str:
            """Pay."""
            self.paid.append(amount)
            return f"paid {amount}"

        self.tool: Any = pay

    def agents(self, levels: int = 2, **options: Any) -> list[Agent]:
        """The last of them asks, the first has the options."""
        script: list[Any] = [["Asking.", call("pay", amount=3)], "helped"]
        chain = [Agent(f"level{levels}", model=ScriptedModel(script), tools=[self.tool])]
        for level in range(levels - 1, 0, -1):
            below = f"level{level + 1}"
            more = options if level == 1 else {}
            chain.insert(0, boss(ask(below), agents=[below], name=f"level{level}", **more))
        return chain


def chain_of(run: Run, levels: int) -> list[Run]:
    """The run and its descendants, when the first stands still for the last."""
    wait_for(run, "family-awaited")
    chain = [run]
    while len(chain) < levels:
        (child,) = chain[-1].children()
        chain.append(child)
    assert [one.status for one in chain] == ["waiting"] * levels
    return chain


def again(runtime: Runtime, run: Run) -> Run:
    """The same run in the next host, when it has been taken up there."""
    with runtime.events() as events:
        while runtime.address(run.id) is None:
            assert events.take(DEADLINE_S)
    return runtime.run(run.id)


def test_a_parent_waits_for_its_child_s_person_and_tells_whom(opened: Any) -> None:
    desk = Desk()
    runtime = opened(None, desk.agents())
    run, child = chain_of(runtime.start("level1", "go"), 2)
    assert [one.id for one, _ in runtime.waiting()] == [child.id]
    assert run.approvals() == ()
    with pytest.raises(MessageRefused, match="waiting for approval: none"):
        run.approve()
    child.approve()
    assert run.result(DEADLINE_S).status == "ok"
    assert (answers(run)[0].text, desk.paid) == ("helped", [3])
    told = [tag for tag in tags(run) if tag in ("child-waited", "family-awaited", "child-went-on", "child-finished")]
    assert told == ["child-waited", "family-awaited", "child-went-on", "child-finished"]


@pytest.mark.parametrize("levels", [2, 3])
def test_days_in_which_a_child_waits_for_a_person_are_on_nobody_s_clock(opened: Any, levels: int) -> None:
    clock, desk = VirtualClock(), Desk()
    runtime = opened(None, [*desk.agents(levels, timeout_s=60.0), CANARY], clock=clock)
    chain = chain_of(runtime.start("level1", "go"), levels)
    let_pass(runtime, clock, 3 * DAY_S)
    assert [one.status for one in chain] == ["waiting"] * levels
    chain[-1].approve()
    assert [one.result(DEADLINE_S).status for one in chain] == ["ok"] * levels
    (went_on,) = [fact for fact in facts(chain[0]) if isinstance(fact, ChildWentOn)]
    assert went_on.waited_ms >= 3 * DAY_S * 1000
    assert all(verify_run(runtime.journal, one.id) == [] for one in chain)


def test_a_family_that_waits_sleeps_and_wakes_from_its_youngest_up(opened: Any, lulled: Lull) -> None:
    clock, desk = VirtualClock(), Desk()
    runtime = opened(None, desk.agents(3, timeout_s=60.0), clock=clock, sleep_after_s=5.0)
    chain = chain_of(runtime.start("level1", "go"), 3)
    for one in chain:
        lulled(one, clock)
    assert all(runtime.address(one.id)._mailbox is None for one in chain)
    clock.advance(3 * DAY_S)
    chain[-1].approve()
    assert [one.result(DEADLINE_S).status for one in chain] == ["ok"] * 3
    assert all("run-resumed" not in tags(one) for one in chain)
    assert desk.paid == [3]


def test_when_the_child_goes_on_so_does_its_parent_s_clock(opened: Any) -> None:
    clock, gate = VirtualClock(), AsyncGate()

    @tool(approval=True)
    async def act() -> str:
        await gate.pass_through()
        return "acted"

    helper = Agent("helper", model=ScriptedModel([[call("act")], "done"]), tools=[act], timeout_s=None)
    runtime = opened(None, [boss(ask(), timeout_s=60.0), helper, CANARY], clock=clock)
    run, child = chain_of(runtime.start("boss", "go"), 2)
    let_pass(runtime, clock, DAY_S)
    child.approve()
    gate.wait_entered()
    wait_for(run, "child-went-on")
    let_pass(runtime, clock, 59)
    assert run.status == "running"
    clock.advance(2)
    assert (run.result(DEADLINE_S).status, child.result(DEADLINE_S).status) == ("timeout", "timeout")


def test_a_parent_whose_other_child_works_does_not_stand_still(opened: Any) -> None:
    clock, desk, gate = VirtualClock(), Desk(), AsyncGate()

    async def slow(request: Any) -> str:
        await gate.pass_through()
        return "worked"

    asking = desk.agents(1)[0]
    top = boss(ask("level1"), ask("worker"), agents=["level1", "worker"], timeout_s=60.0)
    runtime = opened(
        None, [top, asking, Agent("worker", model=ScriptedModel(slow), timeout_s=None), CANARY], clock=clock
    )
    run = runtime.start("boss", "go")
    wait_for(run, "child-waited")
    gate.wait_entered()
    assert run.status == "running"
    let_pass(runtime, clock, 59)
    clock.advance(2)
    assert run.result(DEADLINE_S).status == "timeout"
    assert "family-awaited" not in tags(run)


def test_a_family_that_waits_still_does_in_the_next_host_and_its_deadlines_too(opened: Any, tmp_path: Path) -> None:
    clock, desk = VirtualClock(), Desk()
    agents = desk.agents(3, timeout_s=60.0)
    runtime = opened(tmp_path / "runs.db", agents, clock=clock)
    chain = chain_of(runtime.start("level1", "go"), 3)
    clock.advance(DAY_S)
    runtime.close()
    later = opened(tmp_path / "runs.db", [*agents, CANARY], clock=clock)
    chain = [again(later, one) for one in chain]
    let_pass(later, clock, DAY_S)
    assert [one.status for one in chain] == ["waiting"] * 3
    chain[-1].approve()
    assert [one.result(DEADLINE_S).status for one in chain] == ["ok"] * 3
    assert desk.paid == [3]
    assert tags(chain[0]).count("family-awaited") == 1


def test_a_stop_reaches_a_family_that_sleeps(opened: Any, lulled: Lull) -> None:
    clock, desk = VirtualClock(), Desk()
    runtime = opened(None, desk.agents(3), clock=clock, sleep_after_s=5.0)
    chain = chain_of(runtime.start("level1", "go"), 3)
    for one in chain:
        lulled(one, clock)
    chain[0].kill("enough")
    assert [one.result(DEADLINE_S).status for one in chain] == ["killed"] * 3
    assert (desk.paid, chain[-1].result().output) == ([], "Asking.")


def test_a_child_that_is_cancelled_while_it_waits_answers_its_parent(opened: Any) -> None:
    runtime = opened(None, Desk().agents())
    run, child = chain_of(runtime.start("level1", "go"), 2)
    child.cancel("not now", by="alice")
    assert run.result(DEADLINE_S).status == "ok"
    assert "not now" in answers(run)[0].text
