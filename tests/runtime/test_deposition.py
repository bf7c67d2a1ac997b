"""A runtime whose journal another host took over: it lets go of everything, says so, and closes itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, Gate

from executus import Agent, Runtime, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.errors import Deposed, JournalInUse, RuntimeClosed
from executus.journal import lease, read_journal


def usurp(path: Path) -> None:
    """Another host takes over."""
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE owner SET epoch = epoch + 1, boot = \'{"id": "another"}\'')
    connection.close()


class Host:
    """A runtime whose tools and models wait until they are let through."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gate, self.async_gate = Gate(), AsyncGate()
        self.began: list[str] = []

        @tool(effect="never_retry")
        def in_thread() -> str:
            self.began.append("in_thread")
            self.gate.pass_through()
            return "too late"

        @tool(effect="never_retry")
        async def on_loop() -> str:
            self.began.append("on_loop")
            await self.async_gate.pass_through()
            return "too late"

        @tool(effect="never_retry")
        def later() -> str:
            self.began.append("later")
            return "done"

        tools = [in_thread, on_loop, later]

        def agent(name: str, *replies: Any) -> Agent:
            return Agent(name, model=ScriptedModel([*replies, "done"]), tools=tools)

        self.runtime = Runtime(
            path,
            [
                agent("threaded", call("in_thread")),
                agent("looped", call("on_loop")),
                agent("later", call("later")),
                agent("talker", "hello"),
            ],
            tool_threads=1,
        )

    def closed_by_itself(self) -> None:
        assert self.runtime._down.acquire(timeout=DEADLINE_S)
        self.runtime._down.release()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "runs.db")
    yield made
    made.gate.open()
    made.async_gate.open()
    made.runtime.close()


def test_everybody_who_waits_is_told_and_what_is_under_way_is_called_off(host: Host) -> None:
    runtime = host.runtime
    threaded, looped = runtime.start("threaded", "go"), runtime.start("looped", "go")
    talker = runtime.start("talker", "hi", interactive=True)  # it waits for a person, and has nothing to store
    host.gate.wait_entered()
    assert host.async_gate.entered.wait(DEADLINE_S)
    before = {run.id: len(runtime.journal.read(run.id)) for run in (threaded, looped)}
    events = runtime.events(after=runtime.journal.head())
    usurp(host.path)
    with pytest.raises(Deposed):
        talker.send("which cannot be stored")
    for run in (threaded, looped, talker):
        with pytest.raises(Deposed, match="another host took over"):
            run.result(DEADLINE_S)
    assert host.async_gate.cancelled.wait(DEADLINE_S)
    host.gate.open()  # what cannot be called off may end; what it says is not stored
    assert host.gate.left.wait(DEADLINE_S)
    host.closed_by_itself()
    assert list(events) == []
    reader = read_journal(host.path)
    assert {run_id: len(reader.read(run_id, verify=True)) for run_id in before} == before


def test_a_deposed_runtime_says_so_to_whoever_asks_for_more(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    runtime = host.runtime
    assert runtime.deposed is None
    usurp(host.path)
    with pytest.raises(Deposed):
        runtime.start("talker", "hi")
    host.closed_by_itself()
    assert isinstance(runtime.deposed, Deposed)
    for ask in (lambda: runtime.start("talker", "hi"), runtime.runs, runtime.events, lambda: runtime.run("x")):
        with pytest.raises(Deposed):
            ask()
    with pytest.raises(Deposed):
        asyncio.run(runtime.start_async("talker", "hi"))
    assert runtime.close() is True
    assert any("this runtime closes itself" in record.message for record in caplog.records)


def test_a_runtime_that_was_closed_first_is_just_closed(host: Host) -> None:
    assert host.runtime.close()
    usurp(host.path)
    with pytest.raises(RuntimeClosed):
        host.runtime.start("talker", "hi")
    assert host.runtime.deposed is None


def test_the_journal_can_be_taken_back(host: Host) -> None:
    usurp(host.path)
    with pytest.raises(Deposed):
        host.runtime.start("talker", "hi")
    host.closed_by_itself()
    with sqlite3.connect(host.path) as connection:  # the other host closes
        connection.execute("UPDATE owner SET lease_until_us = 0")
    connection.close()
    again = Host(host.path)
    assert again.runtime.start("talker", "hi").result(DEADLINE_S).output == "hello"
    assert again.runtime.close()


def test_what_waits_for_a_thread_is_not_begun_by_a_host_that_slept_and_was_deposed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = host.runtime
    first, second = runtime.start("threaded", "go"), runtime.start("later", "go")
    host.gate.wait_entered()
    for event in second.events():
        if event.tag == "tool-started":
            break
    skipped = lease.LEASE_S + 1  # its one thread is taken: the call is stored, and waits
    monkeypatch.setattr(lease, "since_boot", lambda real=lease.since_boot: real() + skipped)
    usurp(host.path)
    host.gate.open()
    for run in (first, second):
        with pytest.raises(Deposed):
            run.result(DEADLINE_S)
    host.closed_by_itself()
    assert host.began == ["in_thread"]


def test_a_host_that_slept_goes_on_when_nobody_took_over(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = host.runtime
    runtime.start("threaded", "go")
    host.gate.wait_entered()
    second = runtime.start("later", "go")
    for event in second.events():
        if event.tag == "tool-started":
            break
    skipped = lease.LEASE_S + 1
    monkeypatch.setattr(lease, "since_boot", lambda real=lease.since_boot: real() + skipped)
    host.gate.open()
    assert second.result(DEADLINE_S).status == "ok"
    assert host.began == ["in_thread", "later"]
    assert runtime.deposed is None


def test_a_host_that_is_awake_keeps_its_journal(host: Host) -> None:
    Path(str(host.path) + ".lock").unlink()
    with pytest.raises(JournalInUse, match="whose lease ends"):
        Runtime(host.path)
    assert host.runtime.start("talker", "hi").result(DEADLINE_S).output == "hello"


def test_a_tool_is_told_which_host_runs_it(tmp_path: Path) -> None:
    told: list[int] = []

    @tool(effect="idempotent")
    def fenced(context: ToolContext) -> str:
        told.append(context.epoch)
        return "done"

    agent = Agent("worker", model=ScriptedModel([call("fenced"), "done"] * 2), tools=[fenced])
    for _ in range(2):
        with Runtime(tmp_path / "runs.db", [agent]) as runtime:
            assert runtime.start("worker", "go").result(DEADLINE_S).status == "ok"
    assert told == [1, 2]
