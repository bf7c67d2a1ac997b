"""A host, and one who follows it, in processes of their own. Arguments: "host" or "follow", the
journal's path, and the point at an order where the host dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from executus import Agent, Runtime, ScriptedModel, attach, tool
from executus.adapters.models.scripted import call
from executus.journal.order_book import SqliteOrderBook


@tool(effect="pure")
def look(number: int) -> str:
    """Look."""
    time.sleep(0.02)
    return str(number)


def answer(request: Any) -> Any:
    """Go on until somebody says enough."""
    heard = [part.text for message in request.messages for part in message.parts if hasattr(part, "text")]
    return "Enough." if any("enough" in text for text in heard) else call("look", number=request.step)


def dies(call: Any, *, after: bool) -> Any:
    """`call`, with the end of this process before or after it."""

    def dying(*args: Any, **options: Any) -> Any:
        found = call(*args, **options) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return found

    return dying


def plant(point: str) -> None:
    """Have this process die at a point of the next order that it takes."""
    method, _, when = point.partition(" ")
    setattr(SqliteOrderBook, method, dies(getattr(SqliteOrderBook, method), after=when == "after"))


def host(path: str, point: str = "") -> None:
    """Be the host until a line comes in; then, with a point, until it is reached."""
    agent = Agent("watch", model=ScriptedModel(answer), tools=[look], max_steps=1_000_000, timeout_s=600)
    with Runtime(path, [agent], listen="ipc"):
        print("listening", flush=True)
        sys.stdin.readline()
        if point:
            plant(point)
            print("planted", flush=True)
            sys.stdin.readline()


def follow(path: str) -> None:
    """Follow everything until Ctrl-C."""
    with attach(path, host=True, timeout=20) as attached:
        try:
            for event in attached.follow():
                print("heard", event.position, flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)


if __name__ == "__main__":
    {"host": host, "follow": follow}[sys.argv[1]](*sys.argv[2:])
