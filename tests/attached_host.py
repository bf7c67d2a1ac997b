"""A host, and one who follows it, in processes of their own. Arguments: "host" or "follow", and
the journal's path."""

from __future__ import annotations

import sys
import time
from typing import Any

from executus import Agent, Runtime, ScriptedModel, attach, tool
from executus.adapters.models.scripted import call


@tool(effect="pure")
def look(number: int) -> str:
    """Look."""
    time.sleep(0.02)
    return str(number)


def answer(request: Any) -> Any:
    """Go on until somebody says enough."""
    heard = [part.text for message in request.messages for part in message.parts if hasattr(part, "text")]
    return "Enough." if any("enough" in text for text in heard) else call("look", number=request.step)


def host(path: str) -> None:
    """Be the host until a line comes in."""
    agent = Agent("watch", model=ScriptedModel(answer), tools=[look], max_steps=1_000_000, timeout_s=600)
    with Runtime(path, [agent], listen="ipc"):
        print("listening", flush=True)
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
    {"host": host, "follow": follow}[sys.argv[1]](sys.argv[2])
