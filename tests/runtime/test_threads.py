"""Threads, processes and signals around a runtime."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate, Gate, everywhere

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.adapters.tools.process import _BOOTSTRAP
from executus.errors import ForkedProcess, RuntimeClosed, WouldDeadlock
from executus.journal import verify_run


def agent_with(act: Any) -> list[Agent]:
    agent = Agent("a", model=ScriptedModel([[call(act.spec.name)], "done"]), tools=[act])
    return [agent, Agent("b", model=ScriptedModel(["inner"]))]


def told(run: Any) -> str:
    """What the run's only tool call was answered with."""
    assert run.result(DEADLINE_S).status == "ok"
    return str(run.transcript()[-2].parts[0].text)


@pytest.mark.parametrize("blocking", ["start", "result", "steer", "cancel", "send", "end", "note", "log_error"])
def test_a_blocking_call_on_the_runtimes_own_loop_is_refused_and_names_the_other_form(
    opened: Any, blocking: str
) -> None:
    @tool
    async def act() -> str:
        run = await runtime.start_async("b", "x", interactive=True)
        calls = {"start": lambda: runtime.start("b", "x"), "result": lambda: run.result(1)}
        calls |= {name: lambda name=name: getattr(run, name)("x") for name in ("steer", "send", "end", "note")}
        calls |= {"cancel": lambda: run.cancel(), "log_error": lambda: run.log_error("x")}
        with pytest.raises(WouldDeadlock) as refused:
            calls[blocking]()
        await run.cancel_async()
        return str(refused.value)

    runtime = opened(None, agent_with(act))
    assert f"await {blocking}_async() there" in told(runtime.start("a", "x"))


def test_a_tool_may_start_a_run_and_wait_for_it(opened: Any) -> None:
    @tool
    async def act() -> str:
        return (await (await runtime.start_async("b", "x"))).output

    @tool
    def act_on_a_thread() -> str:
        return str(runtime.start("b", "x").result(DEADLINE_S).output)

    runtime = opened(None, agent_with(act))
    assert told(runtime.start("a", "x")) == "inner"
    runtime = opened(None, agent_with(act_on_a_thread))
    assert told(runtime.start("a", "x")) == "inner"


def test_closing_on_a_thread_of_the_runtime_only_begins_it(opened: Any) -> None:
    closed: list[bool] = []
    gate = Gate()

    @tool
    async def act() -> str:
        closed.append(runtime.close())
        gate.entered.set()
        return "closed"

    runtime = opened(None, agent_with(act))
    run = runtime.start("a", "x")
    with pytest.raises(RuntimeClosed):
        run.result(DEADLINE_S)
    gate.wait_entered()
    assert runtime.close(DEADLINE_S) is True
    assert closed == [False]


def test_closing_from_many_threads_closes_once_and_tells_all(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [Agent("b", model=ScriptedModel(["x"]))])
    runtime.start("b", "x")
    assert everywhere(8, lambda number: runtime.close(DEADLINE_S)) == [True] * 8
    opened(tmp_path / "runs.db")


def test_a_close_that_cannot_let_go_says_so_and_ends_all_the_same(opened: Any) -> None:
    gate = Gate()

    @tool
    async def act() -> str:
        gate.pass_through()  # stops the loop
        return ""

    runtime = opened(None, agent_with(act))
    runtime.start("a", "x")
    gate.wait_entered()
    assert runtime.close(0) is False
    gate.open()


def test_starts_that_race_with_a_close_are_stored_or_refused(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    agents = [Agent("b", model=ScriptedModel(["x"]))]
    runtime = opened(path, agents)
    begun = threading.Event()

    def host(number: int) -> list[str]:
        if number == 0:
            assert begun.wait(DEADLINE_S)
            assert runtime.close(DEADLINE_S)
            return []
        ids: list[str] = []
        while True:
            try:
                ids.append(runtime.start("b", "x").id)
            except RuntimeClosed:
                return ids
            begun.set()

    admitted = [run_id for ids in everywhere(6, host) for run_id in ids]
    again = opened(path, agents)
    assert {row.run_id for row in again.runs()} >= set(admitted)
    assert all(again.run(run_id).result(DEADLINE_S).status == "ok" for run_id in admitted)


def test_threads_of_tools_that_hang_are_replaced_up_to_a_bound(opened: Any) -> None:
    gate = Gate()

    @tool(timeout_s=0.02, effect="pure")
    def hang() -> str:
        gate.pass_through()
        return ""

    runtime = opened(None, agent_with(hang), tool_threads=2)
    runs = [runtime.start("a", "x") for _ in range(2)]
    assert all(run.result(DEADLINE_S).status == "ok" for run in runs)
    before = threading.active_count()
    more = [runtime.start("a", "x") for _ in range(6)]
    assert all(run.result(DEADLINE_S).status == "ok" for run in more)
    assert threading.active_count() <= before + 2
    gate.open()


def test_a_thread_of_asyncios_executor_keeps_neither_a_close_nor_the_interpreter_waiting(opened: Any) -> None:
    gate = Gate()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        gate.pass_through()

    @tool
    async def act() -> str:
        await asyncio.to_thread(hang)
        return ""

    runtime = opened(None, agent_with(act))
    runtime.start("a", "x")
    gate.wait_entered()
    assert runtime.close(DEADLINE_S) is True
    assert [thread.daemon for thread in threads] == [True]
    gate.open()


# ------------------------------------------------------------------ processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer Pythons warn of forking beside threads; so do we
@pytest.mark.parametrize("stored", [True, False])
def test_a_forked_child_is_refused_exits_cleanly_and_leaves_the_parent_unhurt(
    opened: Any, tmp_path: Path, stored: bool
) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "done"

    path = tmp_path / "runs.db" if stored else None
    runtime: Runtime = opened(path, [Agent("a", model=ScriptedModel(answer))])
    run = runtime.start("a", "x")
    gate.wait_entered()
    child = os.fork()
    if not child:
        code = 0
        for number, attempt in enumerate(
            (
                lambda: runtime.start("a", "x"),
                lambda: runtime.runs(),
                lambda: run.result(1),
                lambda: asyncio.run(run.result_async(1)),
                lambda: run.steer("x"),
                lambda: run.state(),
                lambda: run.events(),
            ),
            1,
        ):
            try:
                attempt()
                code = code or number
            except ForkedProcess:
                pass
            except BaseException:
                code = code or 100 + number
        if runtime.close() is not True:
            code = code or 50
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"
    assert runtime.start("a", "x").result(DEADLINE_S).status == "ok"
    assert verify_run(runtime.journal, run.id) == []


CHILD = """
import os, sys, threading
from executus import Agent, Runtime, ScriptedModel
runtime = Runtime(sys.argv[1], [Agent("a", model=ScriptedModel(["x"]))])
run = runtime.start("a", "x", interactive=True)
child = os.fork()
if child:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    run.end() if run.status == "waiting" else None
    sys.exit(code)
print("child", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_runs_to_its_end_winds_the_interpreter_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD, str(tmp_path / "runs.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n", "")


@pytest.mark.skipif(os.name != "posix", reason="passes a socket on")
@pytest.mark.parametrize("part", [0, 0.1, 0.9, 1.0, 1.1])
def test_a_tools_process_whose_host_dies_before_it_said_what_to_do_ends_in_silence(part: float) -> None:
    first, second = pickle.dumps((sys.path, sys.argv)), pickle.dumps(b"x" * 10_000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOTSTRAP, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        theirs.close()
        ours.sendall((first + second)[: round(len(first) * part)])
    assert child.communicate(timeout=60)[1] == ""
    assert child.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_close_in_a_signals_handler_ends_in_time_whatever_it_interrupts(opened: Any) -> None:
    before = signal.getsignal(signal.SIGALRM)
    try:
        for delay in (0.001, 0.003, 0.006, 0.01, 0.02):
            runtime = opened(None, [Agent("b", model=ScriptedModel(["x"]))])
            closed: list[bool] = []

            def stop(number: int, frame: Any, runtime: Runtime = runtime, closed: list[bool] = closed) -> None:
                closed.append(runtime.close(2))

            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, delay)
            with pytest.raises(RuntimeClosed):
                while True:
                    runtime.start("b", "x")
            assert len(closed) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
