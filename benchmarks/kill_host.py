"""A host made to be killed: live runs on one journal, callers that note acknowledgements, tools that note executions.

It is forked by `kill_loop.py`. Notes are lines appended with one write each, so that a SIGKILL leaves whole ones.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import executus.wiring
from executus import Agent, ModelRequest, Run, Runtime, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError, MessageRefused
from executus.events import InputAwaited, RunFinished, Text

STEPS = 6
"""Model calls of a run that nobody speaks to."""

REQUESTS_AGAIN = 8
"""Requests that a caller makes again after a reboot, not knowing whether they were heard."""


class Notes:
    """An append-only file of lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def line(self, *words: object) -> None:
        """Write one line, at once."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


# ------------------------------------------------------------------ the agent


def reply(request: ModelRequest) -> Any:
    """What the model says depends on the step alone: tools of every class, then a last word."""
    if request.step % STEPS == 0 or _spoken_to(request):
        return "That is all."
    effects = ("pure", "idempotent", "once")
    chosen = [effects[(request.step + offset) % 3] for offset in range(1 + request.step % 3)]
    calls = [
        call(f"{effect}_{kind}", number=request.step)
        for effect, kind in zip(chosen, ("async", "thread", "async"), strict=False)
    ]
    return ["Working.", *calls]


def _spoken_to(request: ModelRequest) -> bool:
    last = request.messages[-1]
    return last.role == "user" and isinstance(last.parts[0], Text) and last.parts[0].text.startswith("word-")


class Hesitant(ScriptedModel):
    """Takes up to 20 ms to answer."""

    async def reply(self, request: ModelRequest) -> Any:
        """See `Model`."""
        await asyncio.sleep(random.random() * 0.02)
        return await super().reply(request)


def make_agent(effects: Notes, epoch: list[int]) -> Agent:
    """An agent whose tools write a line for each execution: effect class, idempotency key, epoch of the host."""

    def noted(effect: Any, kind: str) -> Any:
        name = f"{'once' if effect == 'never_retry' else effect}_{kind}"

        if kind == "async":

            @tool(effect=effect, name=name)
            async def act(number: int, context: ToolContext) -> str:
                effects.line(effect, context.key, epoch[0])
                await asyncio.sleep(random.random() * 0.01)
                return "x" * 200

            return act

        @tool(effect=effect, name=name)
        def act_in_thread(number: int, context: ToolContext) -> str:
            effects.line(effect, context.key, epoch[0])
            time.sleep(random.random() * 0.01)
            return "y" * 200

        return act_in_thread

    tools = [noted(effect, kind) for effect in ("pure", "idempotent", "never_retry") for kind in ("async", "thread")]
    return Agent("worker", model=Hesitant(reply), tools=tools, max_steps=100)


# ------------------------------------------------------------------ the callers


class Callers:
    """Threads that start runs, advise them and talk to those that wait; each notes what was acknowledged to it."""

    def __init__(self, runtime: Runtime, acks: Notes, runs: int, first_request: int) -> None:
        self.runtime = runtime
        self.acks = acks
        self.runs = runs
        self.next_request = first_request
        self.live: dict[str, Run] = {}
        self.room = threading.Semaphore(0)
        self.waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def begin(self, *, drain: bool) -> None:
        """Start every thread."""
        after = max(0, self.runtime.journal.head() - 300)  # some that were seen before: they must be the same
        events = self.runtime.events(after=after)
        for row in self.runtime.runs(unfinished=True):
            self.live[row.run_id] = self.runtime.run(row.run_id)
        for _ in range(0 if drain else self.runs - len(self.live)):
            self.room.release()
        recovered = list(self.live.values())
        jobs = [lambda: self.listen(events, drain), lambda: self.talk(recovered)]
        for job in jobs + ([] if drain else [self.start, self.start, self.advise]):
            threading.Thread(target=job, daemon=True).start()

    def listen(self, events: Any, drain: bool) -> None:
        """Note every event."""
        for event in events:
            self.acks.line("event", event.run_id, event.version, event.hash.hex())
            if isinstance(event.fact, RunFinished):
                if self.live.pop(event.run_id, None) is not None and not drain:
                    self.room.release()
            elif isinstance(event.fact, InputAwaited):
                self.waiting.put(event.run_id)

    def start(self) -> None:
        """Keep `runs` runs alive; begin with requests that may have been made before."""
        while True:
            self.room.acquire()
            request, self.next_request = self.next_request, self.next_request + 1
            run = self.runtime.start("worker", f"job {request}", request_id=f"r{request}", interactive=request % 4 == 0)
            self.acks.line("start", run.id, f"r{request}")
            self.live[run.id] = run

    def advise(self) -> None:
        """Steer whatever is there."""
        for token in _tokens("advice"):
            run = random.choice(list(self.live.values()) or [None])
            if run is not None:
                with _refusals():
                    run.steer(token, by="caller")
                    self.acks.line("word", run.id, token)
            time.sleep(0.003)

    def talk(self, recovered: list[Run]) -> None:
        """Answer runs that wait: one more word, or the end of it."""
        for run in recovered:
            if run.status == "waiting":
                self.waiting.put(run.id)
        for token in _tokens("word"):
            run = self.runtime.run(self.waiting.get())
            with _refusals():
                if random.random() < 0.5:
                    run.send(token, by="person")
                    self.acks.line("word", run.id, token)
                else:
                    run.end(by="person")
                    self.acks.line("end", run.id)


def _tokens(word: str) -> Iterator[str]:
    number = 0
    while True:
        yield f"{word}-{os.getpid()}-{number}"
        number += 1


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except MessageRefused:
        pass


def host(folder: Path, runs: int, *, drain: bool, plant: str, first_request: int) -> None:
    """Open the journal in `folder` and work until killed; with `drain` until every run is over."""
    if plant:
        import kill_bugs  # beside this file

        kill_bugs.plant(plant)
    acks, effects = Notes(folder / "acks"), Notes(folder / "effects")
    epoch = [0]
    opened = executus.wiring.open_journal

    def open_and_note(path: Any) -> Any:  # tools run again before the constructor returns, and note the epoch
        journal = opened(path)
        epoch[0] = journal.epoch
        return journal

    executus.wiring.open_journal = open_and_note
    runtime = Runtime(folder / "runs.db", [make_agent(effects, epoch)])
    callers = Callers(runtime, acks, runs, first_request)
    try:
        callers.begin(drain=drain)
        if not drain:
            threading.Event().wait()
        for row in runtime.runs(unfinished=True):
            runtime.run(row.run_id).result(timeout=120)
    except ExecutusError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(3)
    os._exit(0 if runtime.close() else 4)
