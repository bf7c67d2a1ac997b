"""executus in the peer harness: one run is one `Runtime.start`, found again by its request id.

It lies beside the harness's `workload.py` (see README.md) and takes model, tool and metrics from there.
api async: coroutine model and tool on the runtime's loop. api sync: plain functions on the runtime's threads.
Every fact is durable (synchronous=FULL) before the next call starts; there is no weaker setting to compare.
"""

# ruff: noqa: D102
from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from workload import Peer, amodel, atool, main, model, tool

import executus
from executus import Agent, Runtime, Text
from executus.events import ToolCall
from executus.journal import read_journal
from executus.ports import ModelRequest, Reply
from executus.projections import fold

DONE = Reply((Text("done"),))


def _where(request: ModelRequest) -> tuple[int, int, int]:
    """(run, its number of steps, this step from 0), from the input "RUN STEPS"."""
    part = request.messages[0].parts[0]
    assert isinstance(part, Text)
    run, _, steps = part.text.partition(" ")
    return int(run), int(steps), request.step - 1


def _as_reply(answer: dict) -> Reply:
    call = answer["tool_call"]
    return Reply(
        (Text(answer["text"]), ToolCall(call["id"], call["name"], json.dumps(call["args"]))), stop="tool_calls"
    )


class AsyncModel:
    """The harness's coroutine model; the reply after the last step ends the run without asking it."""

    name = "peerbench-async"

    async def reply(self, request: ModelRequest) -> Reply:
        """Answer as the harness does."""
        run, steps, step = _where(request)
        return _as_reply(await amodel(run, step)) if step < steps else DONE


class SyncModel:
    """The harness's plain model."""

    name = "peerbench-sync"

    def reply(self, request: ModelRequest) -> Reply:
        """Answer as the harness does."""
        run, steps, step = _where(request)
        return _as_reply(model(run, step)) if step < steps else DONE


def _place(q: str) -> tuple[int, int]:
    run, _, step = q[1:].partition("-")
    return int(run), int(step)


@executus.tool(effect="idempotent", name="lookup")
async def alookup(q: str) -> str:
    """Look something up."""
    return await atool(*_place(q), q)


@executus.tool(effect="idempotent", name="lookup")
def lookup(q: str) -> str:
    """Look something up."""
    return tool(*_place(q), q)


AGENTS = [
    Agent("async", model=AsyncModel(), tools=[alookup], max_steps=1_000_000),
    Agent("sync", model=SyncModel(), tools=[lookup], max_steps=1_000_000),
]


class Executus(Peer):  # the methods are described in the harness
    """See the module."""

    name = "executus"
    packages = ("executus", "eventsourcing", "msgspec", "pykka")

    def setup(self):
        if self.sync == "normal":
            raise SystemExit("executus: --sync normal: expected full; there is no weaker setting")
        self.path = Path(self.d) / "runs.db"

    async def asetup(self):
        self.runtime = Runtime(self.path, AGENTS)

    async def aclose(self):
        await asyncio.to_thread(self.runtime.close)

    def pragmas(self):
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return {"journal_mode": connection.execute("pragma journal_mode").fetchone()[0]}

    async def arun(self, run: int, n: int):
        begun = await self.runtime.start_async("async", f"{run} {n}", request_id=f"run-{run}")
        result = await begun.result_async()
        assert result.status == "ok", result

    def run_sync(self, run: int, n: int):
        result = self.runtime.start("sync", f"{run} {n}", request_id=f"run-{run}").result()
        assert result.status == "ok", result

    async def aresume_all(self, runs: int, n: int):
        await self.asetup()  # takes up what is unfinished by itself; the same request id finds the same run
        await self.arun_many(range(runs), n)

    def find(self, run: int) -> str:
        """The id of a run that this directory holds."""
        return self.runtime.start("async", f"{run} 0", request_id=f"run-{run}").id

    async def aseek(self, run: int, k: int):
        with closing(read_journal(self.path)) as journal:
            events = journal.read(self.find(run), limit=1 + 4 * k)
        return len(fold(events).transcript.messages)

    async def ahistory(self, run: int):
        with closing(read_journal(self.path)) as journal:
            return len(journal.read(self.find(run)))


main(Executus)
