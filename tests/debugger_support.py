"""What the tests of the debugger share: journals to look at, and a server that a browser can reach."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from executus import Agent, Run, Runtime, ScriptedModel, ToolContext, tool
from executus.cli.program import executus
from executus.testing import call

DEADLINE_S = 30.0

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
"""What a model may say; a page must show it and not obey it."""

CONVERSATIONS: list[dict[str, Any]] = [
    {
        "id": "refund",
        "messages": [
            {"role": "system", "content": "You help travellers. Be brief."},
            {"role": "user", "content": f"My flight was cancelled, I want a refund. {HOSTILE}"},
            {
                "role": "assistant",
                "content": "Let me look at your booking.",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "find_booking", "arguments": '{"id": "X7"}'}},
                    {"id": "b", "type": "function", "function": {"name": "policy", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "name": "find_booking", "content": '{"id": "X7", "fare": "basic"}'},
            {"role": "tool", "tool_call_id": "b", "name": "policy", "content": "Cancelled flights are refunded."},
            {"role": "assistant", "content": f"You get your money back. {HOSTILE}"},
            {"role": "user", "content": "Thank you. And the hotel?"},
            {"role": "assistant", "content": "Hotels are not ours to refund."},
        ],
    },
    {
        "id": "refund again",
        "messages": [
            {"role": "system", "content": "You help travellers. Be brief."},
            {"role": "user", "content": f"My flight was cancelled, I want a refund. {HOSTILE}"},
            {"role": "assistant", "content": "No."},
        ],
    },
]


def long_conversation(rounds: int) -> dict[str, Any]:
    """A conversation whose run has 4 * `rounds` events, and a few more."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Read every page."}]
    for number in range(rounds):
        name = "read_page" if number % 7 else "look_up"
        arguments = json.dumps({"page": number})
        asked = {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": f"Page {number}.", "tool_calls": [asked]})
        said = f"This is what stands on page {number}, and the needle." if number == 4321 else f"Words of {number}."
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "name": name, "content": said})
    return {"id": "long", "messages": [*messages, {"role": "assistant", "content": "All is read."}]}


def import_into(db: Path, conversations: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """Import by the command of that name; the run of each conversation by its id."""
    file = folder / "conversations.json"
    file.write_text(json.dumps(conversations))
    done = CliRunner().invoke(executus, ["import", str(file), "--db", str(db), "--json"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["id"]: line["run"] for line in lines if line["type"] == "conversation"}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Governed:
    """A run of a live host that has been through a lot and waits at its third step until `open`."""

    def __init__(self, db: Path | None) -> None:
        self.entered = threading.Event()
        self._gate = threading.Event()

        @tool
        async def fail(why: str, context: ToolContext) -> str:
            """Fail, when the other call has its result: tests know the versions."""
            read = self.runtime.journal.read
            while all(event.tag != "tool-finished" for event in await asyncio.to_thread(read, context.run_id)):
                await asyncio.sleep(0.005)
            raise RuntimeError(why)

        async def answer(request: Any) -> Any:
            if request.step == 1:
                return ["Adding.", call("add", a=1, b=2), call("fail", why="no such thing")]
            if request.step == 2:
                return ["Asking the helper.", call("agent__helper", prompt="What is it?")]
            self.entered.set()
            while not self._gate.is_set():
                await asyncio.sleep(0.01)
            return f"Step {request.step}." if request.step > 5 else [f"Step {request.step}.", call("add", a=1, b=2)]

        agents = [
            Agent(
                "clerk", model=ScriptedModel(answer), tools=[add, fail], agents=["helper"], max_steps=10, timeout_s=600
            ),
            Agent("helper", model=ScriptedModel(["It is three."])),
        ]
        self.runtime = Runtime(db, agents)
        self.run: Run = self.runtime.start("clerk", "What is one and two?", caller="alice", name="adding up")
        assert self.entered.wait(DEADLINE_S)

    def trouble(self) -> None:
        """What supervision and people do."""
        self.run.steer("Mind the tool that fails.", by="bob")
        self.run.extend(60, by="alice", reason="nearly there")
        self.run.raise_ceiling(5, by="alice", reason="one more page")
        self.run.note("checked", {"by": "hand"})

    def open(self) -> None:
        """Let it go on to its end."""
        self._gate.set()
        self.run.result(DEADLINE_S)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application on loopback, on a thread; its address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
