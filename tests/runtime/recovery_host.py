"""A host whose tools may kill it: run by tests as `python recovery_host.py JOURNAL [start|go] KILLERS`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from executus import Agent, Runtime, ScriptedModel, ToolContext, tool
from executus.actors import recoverer, recovering
from executus.adapters.models.scripted import call

recovering.PAUSES_S = (0.0, 0.02, 0.05)
recoverer.SURVIVED_S = 0.2
recoverer.LOOK_S = 0.02


def say(*words: str) -> None:
    """One line, whole."""
    os.write(1, (" ".join(words) + "\n").encode())


@tool(effect="pure")
async def act(name: str, context: ToolContext) -> str:
    """In the first host it never returns; in the others it does, or takes the host with it."""
    import asyncio

    if MODE == "start":
        say("acting", name)
        await asyncio.sleep(3600)
    if name in KILLERS:
        os._exit(9)
    return "acted"


def reply(request: Any) -> Any:
    return "done" if request.step > 1 else [call("act", name=request.messages[-1].parts[0].text)]


if __name__ == "__main__":
    PATH, MODE, KILLERS = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
    rt = Runtime(PATH, [Agent("a", model=ScriptedModel(reply), tools=[act])])
    if MODE == "start":
        for number in range(int(sys.argv[4])):
            say("run", rt.start("a", f"run{number}").id)
        time.sleep(3600)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        left = [row.run_id for row in rt.runs(unfinished=True) if rt.run(row.run_id).status != "quarantined"]
        if not left and not rt._recoverer.survived:
            break
        time.sleep(0.01)
    rt.close()
    os._exit(0)
