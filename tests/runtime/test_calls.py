"""The runner by itself: what it tells, and what it keeps to itself."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate

from executus import Agent, ModelRequest, ScriptedModel, ToolContext, tool
from executus.actors.dispatcher import Dispatcher
from executus.actors.runner import CallRunner
from executus.adapters.system import SystemClock, SystemIds
from executus.journal import open_journal
from executus.projections import OpenCall


@pytest.mark.parametrize("what", ["model", "tool"])
def test_what_a_close_calls_off_has_no_outcome_so_that_the_next_host_does_it(what: str) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "x"

    @tool(effect="pure")
    async def act() -> str:
        await gate.pass_through()
        return "x"

    agent = Agent("a", model=ScriptedModel(answer), tools=[act])
    journal, scheduler = open_journal(None), Dispatcher(SystemClock())
    runner = CallRunner(journal, scheduler, SystemIds(), lambda name: agent.model, 1)  # type: ignore[arg-type, return-value]
    told: list[Any] = []
    if what == "model":
        runner.model(agent, ModelRequest(messages=[], step=1), told.append)
    else:
        runner.tool(agent, OpenCall("1.0", "act", "pure", "{}"), ToolContext("r", "1.0", "k"), told.append)
    gate.wait_entered()
    assert runner.close(DEADLINE_S) is True
    assert scheduler.close(DEADLINE_S) is True
    journal.close()
    assert gate.cancelled.is_set()
    assert told == []
