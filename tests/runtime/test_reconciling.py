"""A host dies while a tool runs that can be asked afterwards what became of it (P4)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from process_tools import ledger, pay_from_process
from runtime_support import DEADLINE_S, AsyncGate, facts, tags

from executus import (
    Agent,
    CannotTell,
    DidNotHappen,
    Happened,
    Runtime,
    ScriptedModel,
    Secret,
    ToolContext,
    secret,
    tool,
)
from executus.adapters.models.scripted import call
from executus.events import ReconcileStarted, ToolFinished, ToolOutcomeUnknown, ToolReconciled
from executus.journal import verify_run
from executus.ports import ToolSpec


class Bank:
    """A payment that hangs in the first host. `said`: what it answers when it is asked, or how it fails to."""

    def __init__(self, *said: Any, kind: str = "async", timeout_s: float = 20.0) -> None:
        self.said = list(said)
        self.paid: list[str] = []
        self.asked: list[tuple[str, int]] = []
        self.gate, self.asking = AsyncGate(), AsyncGate()

        def answer(cents: int, context: ToolContext) -> Any:
            self.asked.append((context.key, cents))
            found = self.said.pop(0)
            if isinstance(found, BaseException):
                raise found
            return found

        async def answer_later(context: ToolContext, cents: int) -> Any:
            found = answer(cents, context)
            return await found if isinstance(found, Awaitable) else found

        @tool(
            effect="reconcilable",
            reconcile=answer if kind == "plain" else answer_later,
            reconcile_timeout_s=timeout_s,
        )
        async def pay(cents: int, context: ToolContext) -> str:
            self.paid.append(context.key)
            if len(self.paid) == 1:
                await self.gate.pass_through()
            return "paid now"

        self.agent = Agent("a", model=ScriptedModel([["Paying.", call("pay", cents=7)], "done"]), tools=[pay])


def interrupted(opened: Any, path: Path, agent: Agent, gate: AsyncGate) -> str:
    runtime = opened(path, [agent])
    run = runtime.start("a", "x")
    gate.wait_entered()
    runtime.close()
    return run.id


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    ("said", "result", "times"),
    [
        (Happened("paid before"), "paid before", 1),
        (Happened("no money", is_error=True), "no money", 1),
        (DidNotHappen(), "paid now", 2),
        (CannotTell("it is Sunday"), "pay cannot tell what became of it: it is Sunday", 1),
        (ConnectionError("no line"), "failed when it was asked what became of it: ConnectionError: no line", 1),
        (None, "answered NoneType; expected Happened, DidNotHappen or CannotTell", 1),
        (SystemExit(3), "failed when it was asked", 1),
    ],
)
def test_a_tool_is_asked_what_became_of_its_call(
    opened: Any, tmp_path: Path, said: Any, result: str, times: int, kind: str
) -> None:
    bank = Bank(said, kind=kind)
    run_id = interrupted(opened, tmp_path / "runs.db", bank.agent, bank.gate)
    run = opened(tmp_path / "runs.db", [bank.agent]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    assert bank.paid == [f"{run_id}:1.0"] * times
    assert bank.asked == [(f"{run_id}:1.0", 7)]
    told = run.transcript()[-2].parts[0]
    assert result in told.text
    known = isinstance(said, (Happened, DidNotHappen))
    answers = [fact for fact in facts(run) if isinstance(fact, ToolReconciled)]
    assert answers == ([ToolReconciled(call="1.0", attempt=1, happened=isinstance(said, Happened))] if known else [])
    assert sum(isinstance(fact, ToolOutcomeUnknown) for fact in facts(run)) == (not known)
    assert verify_run(run._runtime.journal, run_id) == []


def test_a_crash_while_a_tool_is_asked_asks_again(opened: Any, tmp_path: Path) -> None:
    bank = Bank()
    bank.said = [bank.asking.pass_through(), Happened("paid before")]
    run_id = interrupted(opened, tmp_path / "runs.db", bank.agent, bank.gate)
    second = opened(tmp_path / "runs.db", [bank.agent])
    bank.asking.wait_entered()
    second.close()
    run = opened(tmp_path / "runs.db", [bank.agent]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    assert len(bank.asked) == 2
    assert len(bank.paid) == 1
    assert [fact for fact in facts(run) if isinstance(fact, ReconcileStarted)] == [
        ReconcileStarted(call="1.0", attempt=1)
    ]


def test_a_tool_that_does_not_answer_in_time_is_not_waited_for(opened: Any, tmp_path: Path) -> None:
    bank = Bank(timeout_s=0.05)
    bank.said = [bank.asking.pass_through()]
    run_id = interrupted(opened, tmp_path / "runs.db", bank.agent, bank.gate)
    run = opened(tmp_path / "runs.db", [bank.agent]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    [unknown] = [fact for fact in facts(run) if isinstance(fact, ToolOutcomeUnknown)]
    assert "pay did not say within 0.05 s what became of it" in unknown.reason
    assert bank.asking.cancelled.wait(DEADLINE_S)


def test_a_tool_that_cannot_be_asked_any_more_has_an_unknown_outcome(opened: Any, tmp_path: Path) -> None:
    bank = Bank()
    run_id = interrupted(opened, tmp_path / "runs.db", bank.agent, bank.gate)

    class Pay:
        spec = ToolSpec("pay", "", {"type": "object"})
        effect = "reconcilable"
        mode = "async"
        timeout_s = None

        def check(self, arguments: str) -> str | None:
            return None

        async def call(self, arguments: str, context: ToolContext) -> str:
            raise AssertionError("never again")

    other = Agent("a", model=bank.agent.model, tools=[Pay()])
    run = opened(tmp_path / "runs.db", [other]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    assert "pay cannot be asked what became of it" in run.transcript()[-2].parts[0].text


def test_a_tool_that_is_gone_has_an_unknown_outcome(opened: Any, tmp_path: Path) -> None:
    bank = Bank()
    run_id = interrupted(opened, tmp_path / "runs.db", bank.agent, bank.gate)
    run = opened(tmp_path / "runs.db", [Agent("a", model=bank.agent.model)]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    assert "the tool pay no longer exists" in run.transcript()[-2].parts[0].text


HOST = """
import sys
from executus import Agent, Runtime, ScriptedModel
from executus.adapters.models.scripted import call
from process_tools import pay_from_process

agent = Agent("a", model=ScriptedModel([[call("pay_from_process", book=sys.argv[2], hang=True)], "done"]),
              tools=[pay_from_process])
rt = Runtime(sys.argv[1], [agent])
print(rt.start("a", "x").id, flush=True)
rt.runs()
import threading
threading.Event().wait()
"""


@pytest.mark.parametrize("wrote", [True, False])
def test_a_tool_in_a_child_process_is_asked_in_one(opened: Any, tmp_path: Path, wrote: bool) -> None:
    book = tmp_path / "book"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path / "runs.db"), str(book)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert host.stdout is not None
    run_id = host.stdout.readline().strip()
    asyncio.run(until(lambda: bool(ledger(book))))
    host.kill()
    host.wait()
    host.stdout.close()
    if not wrote:
        book.unlink()
    agent = Agent(
        "a",
        model=ScriptedModel([[call("pay_from_process", book=str(book), hang=False)], "done"]),
        tools=[pay_from_process],
    )
    # The arguments are those of the log: a call that is made again finds the book gone, and does not hang.
    run = opened(tmp_path / "runs.db", [agent]).run(run_id)
    assert run.result(DEADLINE_S).output == "done"
    lines = ledger(book)
    assert len(lines) == 1, "executed once, or again because it had not happened"
    [done] = [fact for fact in facts(run) if isinstance(fact, ToolFinished)]
    assert done.result == ("found in the book" if wrote else "written again")
    assert "tool-reconciled" in tags(run)
    assert lines[0].split()[1] != str(host.pid)


async def until(holds: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


def test_what_is_asked_gets_its_secrets_and_says_none(opened: Any, tmp_path: Path) -> None:
    value = "correct-horse-battery"
    gate = AsyncGate()

    async def look(cents: int, context: ToolContext, token: Secret = secret("bank")) -> Happened:
        assert context.secrets["bank"] == token
        return Happened(f"{cents} with {token.reveal()}")

    @tool(effect="reconcilable", reconcile=look)
    async def pay(cents: int) -> str:
        await gate.pass_through()
        return "paid now"

    assert pay.secrets == ("bank",)
    agent = Agent("a", model=ScriptedModel([[call("pay", cents=7)], "done"]), tools=[pay])
    path = tmp_path / "runs.db"
    runtime = opened(path, [agent], secrets={"bank": value})
    run = runtime.start("a", "x")
    gate.wait_entered()
    runtime.close()
    with pytest.raises(ValueError, match="needs the secret 'bank'"):
        Runtime(path, [agent])
    again = opened(path, [agent], secrets={"bank": value}).run(run.id)
    assert again.result(DEADLINE_S).status == "ok"
    assert [fact.result for fact in facts(again) if isinstance(fact, ToolFinished)] == ["7 with [secret:bank]"]
    assert value not in repr(facts(again))
