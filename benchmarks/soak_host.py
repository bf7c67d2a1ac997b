"""A host under load for a virtual day: agents of every kind, and a clock that jumps."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from executus import Agent, Allowance, ApprovalTerms, Continue, ModelUnavailable, Runtime, ScriptedModel, Steer, tool
from executus.actors import runner
from executus.adapters.budgets import PerCaller
from executus.adapters.models.scripted import call, say
from executus.errors import BudgetSpent, MessageRefused, UnknownRun
from executus.events import Usage
from executus.journal import beside
from executus.journal.views import tables
from executus.ports import ToolContext
from executus.projections import ledger
from executus.testing import VirtualClock

CALLERS = tuple(f"caller-{number}" for number in range(20))
POOR = CALLERS[-1]
"""Whose hour is short: some of its runs wait, or are refused."""

KEPT_BESIDE = 20
"""Finished runs remembered that live beside the journal; so few that the limit is reached in the first hour."""

SMALL_CACHE = "PRAGMA cache_size = -256"
KEPT_ROWS = 200
"""Rows of a table that a stored view remembers."""
KEPT_ENDED = 20
"""Ended runs of a caller that its budget remembers."""

KINDS = (
    "quick",
    "quick",
    "quick",
    "family",
    "asker",
    "talker",
    "stuck",
    "patient",
    "flaky",
    "watched",
    "maker",
    "beside",
)


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


@tool(effect="idempotent")
def touch() -> str:
    """Work on a thread."""
    return "touched"


@tool(effect="idempotent")
def keep(context: ToolContext) -> str:
    """Keep an artifact: the same one for every run of a kind, so that the folder does not grow with the runs."""
    assert context.desk is not None
    return context.desk.keep("note.txt", b"kept" * 100, "text/plain")


@tool(approval=ApprovalTerms(expires_s=1800.0, default="deny", question="Shall it?"))
async def ask_first() -> str:
    """Do what somebody said yes to."""
    return "done as you said"


@tool(effect="pure", timeout_s=60.0)
async def never() -> str:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()
    return ""


class Fickle:
    """A critic that looks every minute of a run's time; one of ten of its runs it fails, until it is lost."""

    name = "fickle"
    every_s = 60.0
    every_steps = 2

    async def review(self, trace: Any, now: float) -> Any:
        """See `Critic`."""
        if random.random() < 0.1:
            raise RuntimeError("no idea")
        return Steer("Be brief.") if random.random() < 0.1 else Continue()


class Post:
    """A delivery that fails a quarter of the time; then it is tried again, minutes later."""

    async def deliver(self, parcel: Any, artifacts: Any) -> str:
        """See `Delivery`."""
        if random.random() < 0.25:
            raise ConnectionError("nobody answers")
        return "taken"


USED = Usage(200, 50)


def agents() -> list[Agent]:
    """One of each kind."""

    def steps(*calls: Any) -> ScriptedModel:
        def answer(request: Any) -> Any:
            if request.step <= len(calls):
                return say("Working.", *calls[request.step - 1], usage=USED)
            return say("Done.", usage=USED)

        return ScriptedModel(answer)

    async def silent(request: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    def flaky(request: Any) -> Any:
        if request.attempt < 3:
            raise ModelUnavailable("busy", retry_after_s=20.0)
        return say("At last.", usage=USED)

    tools = [look, touch, keep, ask_first, never]
    both = [call("look"), call("touch")]
    family = [call("agent__quick", prompt="go"), call("agent__stuck", prompt="go")]
    silence = {"model": ScriptedModel(silent), "model_timeout_s": None}
    two_hours: dict[str, Any] = {"tools": tools, "timeout_s": 7200.0}
    return [
        Agent("quick", model=steps(both, both), **two_hours),
        Agent("family", model=steps(family), agents=["quick", "stuck"], **two_hours),
        Agent("asker", model=steps([call("ask_first"), call("look")]), **two_hours),
        Agent("talker", model=steps(both), **two_hours),
        Agent("stuck", timeout_s=300.0, **silence),
        Agent("patient", model=steps([call("never"), call("look")]), **two_hours),
        Agent("flaky", model=ScriptedModel(flaky), **two_hours),
        Agent("watched", timeout_s=900.0, soft_timeout_s=120.0, critic=Fickle(), **silence),
        Agent("maker", model=steps([call("keep")]), **two_hours),
        Agent("beside", model=steps(both), **two_hours),
    ]


class SmallCache(sqlite3.Connection):
    """A connection that keeps few pages of its file in memory, whatever it is told."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection.execute`."""
        return super().execute(SMALL_CACHE if sql.startswith("PRAGMA cache_size") else sql, *parameters)


def small_caches() -> None:
    """SQLite's caches grow with the file up to 16 MB each, which would hide a leak for most of a day."""
    connect = sqlite3.connect

    def connected(*where: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*where, **options, factory=SmallCache)
        connection.execute(SMALL_CACHE)
        return connection

    sqlite3.connect = connected


class Host:
    """A runtime on a clock that jumps, and the people around it. seed: of who does what when."""

    def __init__(self, path: Path, seed: int) -> None:
        small_caches()
        beside.KEPT = KEPT_BESIDE  # type: ignore[misc]
        tables.MOST_KEPT = KEPT_ROWS  # type: ignore[misc]
        ledger.MOST_ENDED = KEPT_ENDED  # type: ignore[misc]
        runner.LOAD_S = 1e9  # a log is read in real time, and a jump of this clock is not the disk's fault
        logging.getLogger("executus").setLevel(logging.CRITICAL)  # critics and deliveries fail, as they are meant to
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        poor = [Allowance(window="hour", tokens=2000), Allowance(window="day", tokens=10_000)]
        budget = PerCaller({POOR: poor}, otherwise=[Allowance(window="day", tokens=10**9, runtime_s=1e9)])
        self.runtime = Runtime(
            path, agents(), clock=self.clock, budget=budget, delivery=Post(), sleep_after_s=60.0, resume=True
        )
        self.started = self.refused = 0
        self._kinds = self._endless()
        self._loop = asyncio.new_event_loop()

    def _endless(self) -> Iterator[str]:
        while True:
            yield from self.rng.sample(KINDS, len(KINDS))

    def start_one(self) -> None:
        """Start a run of the next kind, and do something with it that hosts do."""
        kind, rng, runtime = next(self._kinds), self.rng, self.runtime
        options: dict[str, Any] = {"caller": rng.choice(CALLERS), "request_id": f"r{self.started}"}
        if kind == "talker":
            options["interactive"] = True
        if kind == "beside":
            options |= rng.choice(({"durable": False}, {"record": False}))
        try:
            run = runtime.start(kind, "go", **options)
            self.started += 1
        except BudgetSpent:
            self.refused += 1
            return
        what = rng.random()
        if what < 0.2:  # somebody waits for a moment, and gives up
            with suppress(TimeoutError):
                run.result(timeout=0.0)
            with suppress(TimeoutError):
                self._loop.run_until_complete(run.result_async(timeout=0.0))
        elif what < 0.4:  # somebody follows, and leaves
            with suppress(UnknownRun), run.events() as events:  # one that leaves no record may be over
                events.poll()
        elif what < 0.5:
            with suppress(MessageRefused):
                run.steer("Hurry.", by="somebody")
        elif what < 0.55:
            run.cancel("no longer wanted", by="somebody")

    def answer_people(self) -> None:
        """Say yes, no or nothing to what waits; talk to who listens."""
        for run, asked in self.runtime.waiting():
            with suppress(MessageRefused):
                if self.rng.random() < 0.1:
                    run.approve(asked.call, by="somebody")
                elif self.rng.random() < 0.1:
                    run.deny(asked.call, by="somebody")
        for row in self.runtime.runs(unfinished=True):
            run = self.runtime.run(row.run_id)
            try:
                state = run.state()
            except UnknownRun:  # one that was not recorded has ended meanwhile
                continue
            if state.doing == "waiting" and state.interactive and not state.governed.approvals:
                with suppress(MessageRefused):
                    if self.rng.random() < 0.3:
                        run.end(by="somebody")
                    elif self.rng.random() < 0.3:
                        run.send("And?", by="somebody")

    def still_there(self) -> list[str]:
        """What is known of each run that has an address."""
        found: list[str] = []
        for run_id, address in list(self.runtime._directory.items()):
            try:
                state = self.runtime.run(run_id).state()
                stands = f"{state.doing} at step {state.step}, deadline {state.governed.deadline_ms}"
            except UnknownRun:
                stands = "no log"
            owed = ", ".join(address.running) or "nothing"
            found.append(f"{run_id} ({address.agent.name}): {stands}; under way: {owed}; end: {address.end!r}")
        return found

    def pass_time(self, seconds: float) -> None:
        """Let virtual time pass, and have the timers' thread look."""
        self.clock.advance(seconds)
        scheduler = self.runtime._scheduler
        with scheduler._timing:
            scheduler._timing.notify_all()

    def close(self) -> bool:
        """End it."""
        self._loop.close()
        return self.runtime.close()
