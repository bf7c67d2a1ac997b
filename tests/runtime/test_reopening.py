"""What a journal holds when a runtime is opened on it again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from runtime_support import DEADLINE_S, AsyncGate, Gate, all_ok, facts, tags, wait_for

from executus import Agent, Image, Runtime, ScriptedModel, Text, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.errors import LogCorrupt, MessageRefused, RuntimeClosed
from executus.events import RunResumed, ToolOutcomeUnknown
from executus.journal import verify_run

BIG = "0123456789abcdef" * 20_000


class Interrupted:
    """An agent whose first tool call hangs until its host is gone, and is quick in the next one."""

    def __init__(self, effect: Any = "pure", *, kind: str = "async") -> None:
        self.keys: list[str] = []
        self.gate, self.later = Gate(), AsyncGate()

        if kind == "async":

            @tool(effect=effect)
            async def act(context: ToolContext) -> str:
                self.keys.append(context.key)
                if len(self.keys) == 1:
                    await self.later.pass_through()
                return "acted"
        else:

            @tool(effect=effect)
            def act(context: ToolContext) -> str:  # type: ignore[misc]
                self.keys.append(context.key)
                if len(self.keys) == 1:
                    self.gate.pass_through()
                return "acted"

        self.agent = Agent("a", model=ScriptedModel([["Acting.", call("act")], "done"]), tools=[act])
        self.kind = kind

    def wait_entered(self) -> None:
        (self.later if self.kind == "async" else self.gate).wait_entered()


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize(("effect", "times"), [("pure", 2), ("idempotent", 2), ("never_retry", 1)])
def test_a_run_resumes_and_an_interrupted_tool_runs_again_only_if_that_is_safe(
    opened: Any, tmp_path: Path, effect: Any, times: int, kind: str
) -> None:
    story = Interrupted(effect, kind=kind)
    runtime = opened(tmp_path / "runs.db", [story.agent])
    run = runtime.start("a", "x")
    story.wait_entered()
    runtime.close()
    story.gate.open()
    again = opened(tmp_path / "runs.db", [story.agent]).run(run.id)
    assert again.result(DEADLINE_S).output == "done"
    assert story.keys == [f"{run.id}:1.0"] * times
    assert sum(isinstance(fact, ToolOutcomeUnknown) for fact in facts(again)) == 2 - times
    assert sum(isinstance(fact, RunResumed) for fact in facts(again)) == 1
    assert verify_run(again._runtime.journal, run.id) == []


def test_closing_while_runs_live_tells_whoever_waits_and_stores_no_end(opened: Any, tmp_path: Path) -> None:
    story = Interrupted()
    runtime = opened(tmp_path / "runs.db", [story.agent])
    run = runtime.start("a", "x")
    story.wait_entered()
    said: list[Any] = []

    def wait() -> None:
        try:
            run.result()
        except RuntimeClosed as closed:
            said.append(closed)

    async def wait_async() -> None:
        try:
            await run.result_async()
        except RuntimeClosed as closed:
            said.append(closed)

    waiting = [threading.Thread(target=wait), threading.Thread(target=lambda: asyncio.run(wait_async()))]
    for thread in waiting:
        thread.start()
    assert runtime.close() is True
    for thread in waiting:
        thread.join(DEADLINE_S)
    assert [type(one) for one in said] == [RuntimeClosed, RuntimeClosed]
    assert story.later.cancelled.is_set()
    again = opened(tmp_path / "runs.db", [story.agent])
    assert again.run(run.id).result(DEADLINE_S).status == "ok"


def test_an_interrupted_model_call_is_asked_again_and_does_not_count_as_a_failure(opened: Any, tmp_path: Path) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        if request.attempt == 1:
            await gate.pass_through()
        return f"attempt {request.attempt}"

    agent = Agent("a", model=ScriptedModel(answer), max_attempts=1)
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x")
    gate.wait_entered()
    runtime.close()

    async def host() -> str:
        async with Runtime(tmp_path / "runs.db", [agent]) as later:
            return (await later.run(run.id)).output

    assert asyncio.run(host()) == "attempt 2"


def test_a_run_that_waits_for_a_person_still_waits_after_reopening(opened: Any, tmp_path: Path) -> None:
    agent = Agent("a", model=ScriptedModel(["Hello.", "Bye."]))
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x", interactive=True)
    wait_for(run, "input-awaited")
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert again.status == "waiting"
    again.send("go on")
    wait_for(again, "input-awaited", 2)
    again.end()
    assert again.result(DEADLINE_S).output == "Bye."


def test_a_run_of_a_missing_agent_waits_with_the_reason_until_a_host_has_it(opened: Any, tmp_path: Path) -> None:
    story = Interrupted()
    runtime = opened(tmp_path / "runs.db", [story.agent])
    run = runtime.start("a", "x")
    story.wait_entered()
    runtime.close()
    without = opened(tmp_path / "runs.db", [])
    waiting = without.run(run.id)
    assert waiting.status == "waiting"
    assert waiting.reason == "no agent named 'a' is registered in this host: Runtime(agents=[…])"
    assert [(one.id, why) for one, why in without.suspended()] == [(run.id, waiting.reason)]
    for refused in (lambda: waiting.steer("x"), lambda: waiting.result(1), lambda: without.retry(waiting)):
        with pytest.raises(MessageRefused, match="no agent named 'a' is registered"):
            refused()
    without.close()
    unasked = opened(tmp_path / "runs.db", [story.agent], resume=False)
    assert unasked.run(run.id).status == "suspended"
    unasked.close()
    assert opened(tmp_path / "runs.db", [story.agent]).run(run.id).result(DEADLINE_S).status == "ok"


def test_a_tool_that_no_longer_exists_is_told_to_the_model(opened: Any, tmp_path: Path) -> None:
    story = Interrupted()
    runtime = opened(tmp_path / "runs.db", [story.agent])
    run = runtime.start("a", "x")
    story.wait_entered()
    runtime.close()
    again = opened(tmp_path / "runs.db", [Agent("a", model=story.agent.model)]).run(run.id)
    assert again.result(DEADLINE_S).output == "done"
    assert again.transcript()[-2].parts[0].text == "the tool act no longer exists"


def test_payloads_of_every_size_are_the_same_after_reopening(opened: Any, tmp_path: Path) -> None:
    @tool(effect="pure")
    def fetch(size: int) -> str:
        return BIG[:size]

    sizes = [65_535, 65_536, 65_537, 300_000]
    model = ScriptedModel([[BIG, *(call("fetch", size=size) for size in sizes)], BIG])
    agent = Agent("a", model=model, tools=[fetch])
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", [Text(BIG), Image("image/png", data=BIG.encode())])
    run.result(DEADLINE_S)
    before = (run.transcript(), run.result(), facts(run))
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert (again.transcript(), again.result(), facts(again)) == before
    assert [len(message.parts[0].text) for message in again.transcript() if message.role == "tool"] == sizes


def test_results_of_finished_runs_are_there_after_reopening(opened: Any, tmp_path: Path) -> None:
    agent = Agent("a", model=ScriptedModel(["done"]))
    runtime = opened(tmp_path / "runs.db", [agent])
    runs = [runtime.start("a", "x") for _ in range(5)]
    assert all_ok(runs)
    runtime.close()
    again = opened(tmp_path / "runs.db", [])
    assert [again.run(run.id).result(DEADLINE_S).output for run in runs] == ["done"] * 5
    assert [event.tag for event in again.run(runs[0].id).events()] == tags(again.run(runs[0].id))
    assert again.live_runs == 0


# ------------------------------------------------------------------ damage


def spoil(path: Path, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql, values).rowcount > 0
    connection.close()


MINE = "originator_id = ? AND originator_version = ?"


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "sql",
    [
        f"UPDATE stored_events SET state = x'00' WHERE {MINE}",
        f"UPDATE stored_events SET state = 'text' WHERE {MINE}",
        f"UPDATE stored_events SET topic = 'tool-finished' WHERE {MINE}",
        f"DELETE FROM stored_events WHERE {MINE}",
    ],
)
def test_a_run_whose_log_was_tampered_with_is_set_aside_and_the_others_go_on(
    opened: Any, tmp_path: Path, sql: str, version: int
) -> None:
    agent = Agent("a", model=ScriptedModel(["Hello.", "Bye."]))
    runtime = opened(tmp_path / "runs.db", [agent])
    runs = [runtime.start("a", "x", interactive=True) for _ in range(3)]
    for run in runs:
        wait_for(run, "input-awaited")
    runtime.close()
    spoil(tmp_path / "runs.db", sql, UUID(runs[1].id).bytes, version)
    again = opened(tmp_path / "runs.db", [agent])
    for run in (runs[0], runs[2]):
        well = again.run(run.id)
        well.send("go on")
        wait_for(well, "input-awaited", 2)
        well.end()
        assert well.result(DEADLINE_S).output == "Bye."
    assert verify_run(again.journal, runs[1].id) != []
    with pytest.raises(Exception) as refusal:
        again.run(runs[1].id).result(DEADLINE_S)
    assert type(refusal.value).__name__ in ("LogCorrupt", "RunQuarantined")
    assert again.run(runs[1].id).status == "quarantined"
    assert again.start("a", "new").result(DEADLINE_S).status == "ok"


def test_a_run_with_facts_of_a_newer_version_is_set_aside_and_left_as_it_is(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executus.actors.run import actor
    from executus.events import Opaque
    from executus.events.codec import encode_event

    agent = Agent("a", model=ScriptedModel(["Hello.", "Bye."]))
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x", interactive=True)
    wait_for(run, "input-awaited")

    def from_the_future(fact: Any, **envelope: Any) -> Any:
        return encode_event(Opaque(tag="run-dreamt", schema=1, payload=b"\x80"), **envelope)

    monkeypatch.setattr(actor, "encode_event", from_the_future)
    run.note("anything")
    monkeypatch.undo()
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent])
    wait_until(lambda: again.run(run.id).status == "quarantined", again)
    assert tags(again.run(run.id))[-1] == "run-dreamt"
    assert again.start("a", "x").result(DEADLINE_S).status == "ok"


def wait_until(holds: Callable[[], bool], runtime: Runtime) -> None:
    """A run that is set aside has no event that says so: let other runs live meanwhile."""
    for _ in range(500):
        if holds():
            return
        runtime.start("a", "x").result(DEADLINE_S)
    raise AssertionError("it never held")


def test_a_damaged_log_is_named_when_it_is_read(opened: Any, tmp_path: Path) -> None:
    agent = Agent("a", model=ScriptedModel(["Hello."]))
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    runtime.close()
    spoil(tmp_path / "runs.db", f"UPDATE stored_events SET state = x'00' WHERE {MINE}", UUID(run.id).bytes, 2)
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    for read in (again.state, again.transcript, again.result):
        with pytest.raises(LogCorrupt, match=f"run {run.id}, version 2: step-started does not decode"):
            read()
