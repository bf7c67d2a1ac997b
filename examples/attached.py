"""A host in one process, and an operator in another, who follows its runs, advises one and stops another.

python examples/attached.py
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from executus import Agent, Grant, Listen, Runtime, ScriptedModel, attach, attach_async, tool
from executus.adapters.models.scripted import call
from executus.errors import ControlRefused, MessageRefused


@tool(effect="pure")
def look(number: int) -> str:
    """Look out of the window."""
    time.sleep(0.1)
    return f"Nothing new, the {number}th time."


def answer(request: Any) -> Any:
    """Stands in for a model that only stops when it is told to."""
    heard = [part.text for message in request.messages for part in message.parts if hasattr(part, "text")]
    return "All is quiet." if any("come to an end" in text for text in heard) else call("look", number=request.step)


def host(path: str, token: str) -> None:
    """The host's process: runs agents until a line comes in."""
    clerk = Agent("clerk", model=ScriptedModel(answer), tools=[look], max_steps=1000, timeout_s=600)
    dashboard = Grant("dashboard", "viewer", token=token)
    with Runtime(path, [clerk], listen=Listen("ipc", grants=[dashboard])) as rt:
        print(rt.listens_at, flush=True)
        sys.stdin.readline()


def operate(path: Path) -> None:
    """Start a run there, advise it, and wait for its end."""
    with attach(path) as host:
        run = host.start("clerk", "Look out of the window.", caller="alice", request_id="morning")
        for event in run.events():  # durable facts, live
            if event.tag == "tool-finished":
                run.steer("Please come to an end.", by="bob")
                break
        result = run.result(timeout=60)
        print(result.status, result.output, result.by)
        try:
            run.steer("One more thing.")
        except MessageRefused as refused:
            print(refused.why)


async def operate_async(path: Path) -> None:
    """The same on an event loop; this one is stopped."""
    async with await attach_async(path) as host:
        run = await host.start_async("clerk", "Look out of the window.", caller="carol")
        async for event in run.events():
            if event.tag == "tool-finished":
                await run.kill_async("it costs too much", by="bob")
        result = await run.result_async(timeout=60)
        print(result.status, result.by, result.reason)


def watch(path: Path, token: str) -> None:
    """What a dashboard may do: see everything, and touch nothing."""
    with attach(path, token=token) as host:
        with host.follow(caller="alice", since=0, timeout=30) as events:
            for event in events:
                if event.tag in ("caller-steered", "run-finished"):
                    print(event.tag, event.fact.by)
                if event.tag == "run-finished":
                    break
        try:
            host.run(event.run_id).kill()
        except ControlRefused as refused:
            print(refused)


def main(data: Path) -> None:
    """Start the host, and be three others."""
    path, token = data / "runs.db", Grant("dashboard").token
    command = [sys.executable, __file__, "host", str(path), token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        print(child.stdout.readline().strip().partition("://")[0], flush=True)
        operate(path)
        asyncio.run(operate_async(path))
        watch(path, token)
        child.communicate("\n")
    with attach(path) as gone:
        print(gone.live, len(gone.runs()), [order.ask for order in gone.orders() if order.fate == "done"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["host"]:
        host(sys.argv[2], sys.argv[3])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
