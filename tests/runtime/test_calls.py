"""The runner by itself: what it tells, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, Gate

from executus import Agent, ModelRequest, Reply, ScriptedModel, Text, ToolContext, Usage, tool
from executus.actors.dispatcher import Dispatcher
from executus.actors.runner import LOADING_THREADS, CallRunner
from executus.adapters.system import SystemClock, SystemIds
from executus.errors import Deposed, JournalError, JournalUnavailable
from executus.journal import MemoryJournal, open_journal
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


class Doubtful(MemoryJournal):
    """A journal whose host has just slept; `answers` are what looking for its owner comes to, in turn."""

    def __init__(self, answers: list[JournalError | None]) -> None:
        super().__init__()
        self.answers = [*answers]
        self.asked = Gate()

    @property
    def held(self) -> bool:
        return False

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        self.asked.pass_through()
        told(self.answers.pop(0))


KINDS = ["model", "async model", "tool", "async tool"]


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize(
    ("answers", "begins"),
    [
        ([None], True),
        ([JournalUnavailable("not now"), JournalUnavailable("not now"), None], True),
        ([Deposed(1, 2)], False),
    ],
)
def test_after_a_sleep_nothing_is_begun_before_the_journal_is_known_to_be_ours(
    what: str, answers: list[JournalError | None], begins: bool
) -> None:
    began: list[str] = []
    journal = Doubtful(answers)
    told: Queue[Any] = Queue()
    scheduler = Dispatcher(SystemClock())
    runner = CallRunner(journal, scheduler, SystemIds(), None, 1)  # type: ignore[arg-type]
    begin(runner, what, began, told.put)
    journal.asked.wait_entered()
    assert began == []
    journal.asked.open()
    assert told.get(timeout=DEADLINE_S) is not None
    assert began == ([what] if begins else [])
    assert runner.close(DEADLINE_S)
    assert scheduler.close(DEADLINE_S)


@pytest.mark.parametrize("what", KINDS)
def test_after_a_sleep_nothing_is_begun_by_a_host_that_closes_meanwhile(what: str) -> None:
    began: list[str] = []
    told: list[Any] = []
    journal = Doubtful([None])
    scheduler = Dispatcher(SystemClock())
    runner = CallRunner(journal, scheduler, SystemIds(), None, 1)  # type: ignore[arg-type]
    begin(runner, what, began, told.append)
    journal.asked.wait_entered()
    runner.stop_taking()
    journal.asked.open()
    assert journal.asked.left.wait(DEADLINE_S)
    catch_up(runner)
    assert runner.close(DEADLINE_S)
    assert scheduler.close(DEADLINE_S)
    assert (began, told) == ([], [])


def catch_up(runner: CallRunner) -> None:
    """Wait until every thread of the runner has done what it had to do."""
    both, done = threading.Barrier(LOADING_THREADS), threading.Semaphore(0)
    for _ in range(LOADING_THREADS):
        runner._loading.submit(lambda: both.wait(DEADLINE_S), lambda result, error: done.release())
    runner._threads.submit(lambda: None, lambda result, error: done.release())
    for _ in range(LOADING_THREADS + 1):
        assert done.acquire(timeout=DEADLINE_S)

    async def turns() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(turns(), runner.loop).result(DEADLINE_S)


def begin(runner: CallRunner, what: str, began: list[str], tell: Callable[[Any], Any]) -> None:
    """Begin a call of that kind, which adds itself to `began`."""

    class Answers:
        name = "answers"

        def reply(self, request: ModelRequest) -> Reply:
            began.append("model")
            return Reply((Text("x"),), Usage(1, 1, 0))

    class AnswersLater(Answers):
        async def reply(self, request: ModelRequest) -> Reply:  # type: ignore[override]
            began.append("async model")
            return Reply((Text("x"),), Usage(1, 1, 0))

    @tool(effect="pure", name="act")
    def act() -> str:
        began.append("tool")
        return "x"

    @tool(effect="pure", name="act")
    async def act_later() -> str:
        began.append("async tool")
        return "x"

    model: Any = AnswersLater() if what == "async model" else Answers()
    agent = Agent("a", model=model, tools=[act_later if what == "async tool" else act])
    if "model" in what:
        runner.model(agent, ModelRequest(messages=(), step=1), tell)
    else:
        runner.tool(agent, OpenCall("1.0", "act", "pure", "{}"), ToolContext("r", "1.0", "k"), tell)
