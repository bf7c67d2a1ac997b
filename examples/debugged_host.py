"""A service that shows its own runs: the debugger is mounted under /executus, with the buttons that act on live runs.

    pip install 'executus[debug]'
    python examples/debugged_host.py

Open the address that it prints. The run that it starts takes a minute: follow it, give it advice, or kill it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from executus import Agent, Runtime, ScriptedModel, tool
from executus.debugger import app as debugger
from executus.testing import call

PORT = 8400


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def answer(request: Any) -> Any:
    """Stands in for a model that thinks for a second."""
    await asyncio.sleep(1)
    return "That is all." if request.step > 60 else [f"Step {request.step}.", call("add", a=request.step, b=1)]


def service(rt: Runtime, token: str | None = None) -> Starlette:
    """The service's own pages, and the debugger beside them."""

    def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{rt.live_runs} runs at work\n")

    look = debugger(rt.journal, rt, token=token)
    made = Starlette(routes=[Route("/", hello), Mount("/executus", app=look)])
    made.state.debugger = f"/executus/#token={look.state.token}"
    return made


def main() -> None:
    """Serve on loopback until Ctrl-C."""
    with Runtime(None, [Agent("clerk", model=ScriptedModel(answer), tools=[add], max_steps=100, timeout_s=600)]) as rt:
        rt.start("clerk", "Add things up.")
        made = service(rt)
        print(f"http://127.0.0.1:{PORT}{made.state.debugger}")
        uvicorn.run(made, host="127.0.0.1", port=PORT, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
