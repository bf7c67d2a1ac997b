"""What a run gives its children of what it has left, and what the family may spend together."""

from __future__ import annotations

from typing import Any

import pytest
from family_support import answers, ask, born, boss, ended, look, refusals
from runtime_support import DEADLINE_S, AsyncGate, facts

from executus import Agent, Delegate, ScriptedModel, Usage
from executus.adapters.models.scripted import call, say
from executus.testing import VirtualClock


def spender(name: str = "helper", **options: Any) -> Agent:
    """Looks again and again; each step takes 100 tokens and an eighth of a dollar."""
    usage = Usage(90, 10, cost_usd=0.125)
    model = ScriptedModel(lambda request: say(f"step {request.step}", call("look", at=request.step), usage=usage))
    return Agent(name, model=model, tools=[look], **options)


def paid_boss(*calls: Any, **options: Any) -> Agent:
    """Asks for these in one reply that takes 100 tokens and an eighth of a dollar."""
    usage = Usage(90, 10, cost_usd=0.125)
    replies = [say("Asking.", *calls, usage=usage), say("done", usage=usage)]
    return Agent("boss", model=ScriptedModel(replies), agents=["helper"], tools=[look], **options)


def test_children_are_only_so_deep_and_the_model_is_told_why(opened: Any) -> None:
    below = boss(ask("helper"), name="helper")
    run = opened(None, [boss(ask(), max_depth=2), below]).start("boss", "go")
    assert run.result(DEADLINE_S).status == "ok"
    (first,) = run.children()
    (second,) = first.children()
    assert [one.limits.max_depth for one in (*born(run), *born(first))] == [1, 0]
    assert refusals(second) == ["no deeper children are allowed here"]
    assert second.children() == []


def test_without_depth_there_are_no_children(opened: Any) -> None:
    run = opened(None, [boss(ask(), max_depth=0), spender()]).start("boss", "go")
    assert run.result(DEADLINE_S).status == "ok"
    assert refusals(run) == ["no deeper children are allowed here"]


@pytest.mark.parametrize(
    ("limits", "field", "shares"),
    [
        ({"max_tokens": 1_100}, "max_tokens", [500, 500]),
        ({"max_cost_usd": 1.375}, "max_cost_usd", [0.625, 0.625]),
        ({"max_tool_calls": 10}, "max_tool_calls", [4, 4]),
    ],
)
def test_parallel_children_share_evenly_what_is_left(
    opened: Any, limits: dict[str, Any], field: str, shares: list[float]
) -> None:
    run = opened(None, [paid_boss(ask(), ask(), **limits), spender()]).start("boss", "go")
    run.result(DEADLINE_S)
    assert [getattr(one.limits, field) for one in born(run)] == pytest.approx(shares)
    assert [one.status for one in ended(run)] == ["budget_exceeded", "budget_exceeded"]


@pytest.mark.parametrize("parallel", [1, 2, 3, 5])
@pytest.mark.parametrize("beside", [0, 2])
def test_a_family_never_makes_more_tool_calls_than_its_root_may(opened: Any, parallel: int, beside: int) -> None:
    calls = [ask() for _ in range(parallel)] + [call("look", at=n) for n in range(beside)]
    run = opened(None, [paid_boss(*calls, max_tool_calls=16), spender()]).start("boss", "go")
    result = run.result(DEADLINE_S)
    children = [child.result(DEADLINE_S).stats.tool_calls for child in run.children()]
    assert len(children) == parallel
    assert result.stats.tool_calls == parallel + beside
    assert sum(children) + result.stats.tool_calls <= 16
    assert max(children) - 1 <= min(children) > 0


@pytest.mark.parametrize(
    ("limits", "spent"), [({"max_tokens": 1_000}, 1_000), ({"max_cost_usd": 1.25}, 1_000), ({"max_tool_calls": 9}, 900)]
)
def test_what_children_spend_counts_for_the_whole_family(opened: Any, limits: dict[str, Any], spent: int) -> None:
    """The child takes all that is left, so the parent ends at its limit and not with an answer."""
    run = opened(None, [paid_boss(ask(), **limits), spender()]).start("boss", "go")
    result = run.result(DEADLINE_S)
    (child,) = run.children()
    assert (result.status, result.by, result.stats.steps) == ("budget_exceeded", "limits", 1)
    assert child.result(DEADLINE_S).status == "budget_exceeded"
    finish: Any = facts(run)[-1]
    assert 100 + finish.family.tokens == spent
    assert answers(run)[0].text.endswith(child.result().output)


def test_a_child_gets_no_more_than_its_delegate_says(opened: Any) -> None:
    delegate = Delegate("helper", max_tool_calls=2, max_tokens=5_000)
    agent = Agent("boss", model=ScriptedModel([[ask()], "done"]), agents=[delegate], max_tokens=2_000)
    run = opened(None, [agent, spender()]).start("boss", "go")
    assert run.result(DEADLINE_S).status == "ok"
    (one,) = born(run)
    assert one.limits.max_tool_calls == 2
    assert 0 < (one.limits.max_tokens or 0) <= 2_000
    assert ended(run)[0].spent.tool_calls == 2


def test_a_child_is_refused_when_nothing_is_left_for_it(opened: Any) -> None:
    agent = Agent("boss", model=ScriptedModel([say("", ask(), usage=Usage(600, 0))]), agents=["helper"], max_tokens=500)
    run = opened(None, [agent, spender()]).start("boss", "go")
    assert run.result(DEADLINE_S).status == "budget_exceeded"
    assert refusals(run) == ["this run has no tokens left for a child"]
    assert run.children() == []


def test_a_child_has_the_time_that_its_parent_has_left(opened: Any) -> None:
    clock, gate = VirtualClock(), AsyncGate()

    async def answer(request: Any) -> Any:
        if request.step == 1:
            await gate.pass_through()
            return [ask(), ask()]
        return "done"

    boss_agent = Agent("boss", model=ScriptedModel(answer), agents=["helper"], timeout_s=100.0)
    helper = Agent("helper", model=ScriptedModel(["hi"]), timeout_s=3600.0)
    run = opened(None, [boss_agent, helper], clock=clock).start("boss", "go")
    gate.wait_entered()
    clock.advance(40)
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"
    assert [one.limits.timeout_s for one in born(run)] == [60.0, 60.0]


def test_the_limits_of_a_child_are_those_in_its_own_log(opened: Any) -> None:
    run = opened(None, [paid_boss(ask(), max_tokens=600, max_tool_calls=5), spender()]).start("boss", "go")
    run.result(DEADLINE_S)
    (child,) = run.children()
    first: Any = facts(child)[0]
    (one,) = born(run)
    assert first.limits == one.limits
    assert (one.limits.max_tokens, one.limits.max_tool_calls) == (500, 4)
