"""A host of families, to be killed: `python family_host.py JOURNAL MARKS SEED NEW`; says "." for each commit,
and "done" at the end."""

from __future__ import annotations

import asyncio
import os
import random
import sys

from executus import Agent, Runtime, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call


def agents(marks: str) -> list[Agent]:
    """Three levels, seven runs a family; the lowest leave a mark for each time they act."""

    @tool(effect="never_retry")
    async def mark(context: ToolContext) -> str:
        file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{context.key}\n".encode())
        finally:
            os.close(file)
        await asyncio.sleep(0.005)
        return "marked"

    def ask(name: str) -> list[object]:
        return [call(f"agent__{name}", prompt=f"{name}, please") for _ in range(2)]

    low = Agent("low", model=ScriptedModel([[call("mark")], [call("mark")], "low"], delay_s=0.005), tools=[mark])
    middle = Agent("middle", model=ScriptedModel([ask("low"), "middle"], delay_s=0.005), agents=["low"])
    return [Agent("top", model=ScriptedModel([ask("middle"), "top"], delay_s=0.005), agents=["middle"]), middle, low]


def main(path: str, marks: str, seed: int, new: int) -> None:
    """Take up what is there, start `new` families, kill some of them, and wait until nothing is left."""
    chance = random.Random(seed)
    with Runtime(path, agents(marks)) as runtime:
        runtime.journal.follow(lambda events: print(".", flush=True))
        for _ in range(new):
            run = runtime.start("top", "go")
            if chance.random() < 0.4:
                seen = 0
                with runtime.events(after=runtime.journal.head()) as events:
                    while seen < chance.randrange(60) and run.status == "running":
                        seen += len(events.take(30))
                run.kill("enough", by="chance")
        while unfinished := runtime.journal.runs(unfinished=True):
            with runtime.events(after=max(row.position for row in unfinished)) as events:
                if runtime.journal.runs(unfinished=True) == unfinished:
                    events.take(30)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
