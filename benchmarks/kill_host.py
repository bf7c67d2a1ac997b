"""A host made to be killed: live runs on one journal, and callers that note what was acknowledged to them.

It is forked by `kill_loop.py`, and started under a recorder of writes by `power_cuts.py`. Its agents: `kill_agents.py`.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kill_agents  # beside this file
from kill_agents import CALLERS, Notes

from executus import Allowance, Run, Runtime
from executus.errors import ExecutusError, JournalError, MessageRefused, RuntimeClosed
from executus.events import ApprovalRequested, Delivered, InputAwaited, RunFinished, RunStarted
from executus.journal import checkpoints
from executus.projections.ledger import recount
from executus.wiring import everything

REQUESTS_AGAIN = 8
"""Requests that a caller makes again after a reboot, not knowing whether they were heard."""

LAST_WAIT_S = 120.0

WAL = "EXECUTUS_KILL_WAL"
"""Environment variable: bytes at which the write-ahead log is copied into the database, instead of the usual."""


class Callers:
    """Threads that start runs, advise them, talk to those that wait and say yes or no; each notes what was acknowledged
    to it.
    """

    def __init__(self, runtime: Runtime, acks: Notes, runs: int, first_request: int) -> None:
        self.runtime = runtime
        self.acks = acks
        self.runs = runs
        self.next_request = first_request
        self.live: dict[str, Run] = {}
        self.room = threading.Semaphore(0)
        self.talking: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.asking: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def begin(self, *, drain: bool) -> None:
        """Start every thread."""
        after = max(0, self.runtime.journal.head() - 300)  # some that were seen before: they must be the same
        events = self.runtime.events(after=after)
        for row in self.runtime.runs(unfinished=True):
            self.live[row.run_id] = self.runtime.run(row.run_id)
        for _ in range(0 if drain else self.runs - len(self.live)):
            self.room.release()
        recovered = list(self.live.values())
        jobs = [lambda: self.listen(events, drain), lambda: self.talk(recovered), self.answer]
        for job in jobs + ([] if drain else [self.start, self.start, self.advise]):
            threading.Thread(target=_until_closed, args=(job,), daemon=True).start()

    def listen(self, events: Any, drain: bool) -> None:
        """Note every event."""
        for event in events:
            self.acks.line("event", event.run_id, event.version, event.hash.hex())
            if isinstance(event.fact, RunFinished):
                if self.live.pop(event.run_id, None) is not None and not drain:
                    self.room.release()
            elif isinstance(event.fact, InputAwaited):
                self.talking.put(event.run_id)
            elif isinstance(event.fact, ApprovalRequested):
                self.asking.put((event.run_id, event.fact.call))

    def start(self) -> None:
        """Keep `runs` runs alive; begin with requests that may have been made before."""
        while True:
            self.room.acquire()
            request, self.next_request = self.next_request, self.next_request + 1
            agent = kill_agents.chosen(request)
            run = self.runtime.start(
                agent,
                f"job {request}",
                caller=CALLERS[request % 2],
                request_id=f"r{request}",
                interactive=agent == "worker" and request % 4 == 0,
            )
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
        """Answer runs that wait for a message: one more word, or the end of it."""
        for run in recovered:
            if run.state().doing == "waiting":
                self.talking.put(run.id)
        for token in _tokens("word"):
            run = self.runtime.run(self.talking.get())
            with _refusals():
                if random.random() < 0.5:
                    run.send(token, by="person")
                    self.acks.line("word", run.id, token)
                else:
                    run.end(by="person")
                    self.acks.line("end", run.id)

    def answer(self) -> None:
        """Say yes or no to calls that wait for it; often late, so that they wait over a kill."""
        for run, asked in self.runtime.waiting():
            self.asking.put((run.id, asked.call))
        while True:
            run_id, call = self.asking.get()
            time.sleep(random.choice((0.0, 0.0, 0.05, 0.2)))
            run = self.runtime.run(run_id)
            with _refusals():
                if random.random() < 0.7:
                    run.approve(call, by="person")
                    self.acks.line("granted", run_id, call)
                else:
                    run.deny(call, by="person", reason="no")
                    self.acks.line("denied", run_id, call)


def _until_closed(job: Callable[[], None]) -> None:
    with suppress(RuntimeClosed):
        job()


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


def opened(folder: Path, plant: str) -> Runtime:
    """A runtime on the journal in `folder`, with everything in it that can go wrong."""
    if plant:
        import kill_bugs  # beside this file

        kill_bugs.plant(plant)
    os.environ[kill_agents.EFFECTS] = str(folder / "effects")
    if wal_bytes := os.environ.get(WAL):
        checkpoints.WAL_BYTES = int(wal_bytes)  # type: ignore[misc]
    return Runtime(
        folder / "runs.db",
        kill_agents.agents(),
        critic=kill_agents.Watcher(),
        budget=[Allowance(window="total", tokens=10**12), Allowance(window="run", tokens=10**6)],
        delivery=kill_agents.Receiver(Notes(folder / "deliveries")),
        sleep_after_s=0.1,
        **kill_agents.sealed(),
    )


def host(folder: Path, runs: int, *, drain: bool, plant: str, first_request: int) -> None:
    """Open the journal in `folder` and work until killed; with `drain` until every run is over and delivered."""
    runtime: Runtime | None = None

    def stop(number: int, frame: object) -> None:  # SIGTERM, also in the middle of opening
        if runtime is not None:
            runtime.close(2.0)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell's background job ignores it
    logging.disable(logging.CRITICAL - 1)  # a critic that fails and a delivery that nobody takes are meant to be
    acks = Notes(folder / "acks")
    try:
        runtime = opened(folder, plant)
        callers = Callers(runtime, acks, runs, first_request)
        callers.begin(drain=drain)
        while not drain:
            time.sleep(0.2)
        code = drained(runtime)
    except ExecutusError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(3)
    os._exit(code if runtime.close() else 4)


def undelivered(runtime: Runtime) -> list[str]:
    """The runs whose output nobody has: what waits, and what was given up, as what a dozen hosts died in is."""
    wanted: dict[str, None] = {}
    for event in everything(runtime.journal):
        if isinstance(event.fact, RunStarted) and event.fact.deliver:
            wanted[event.run_id] = None
        elif isinstance(event.fact, Delivered):
            wanted.pop(event.run_id, None)
    return list(wanted)


def drained(runtime: Runtime) -> int:
    """Wait until nothing is left to do; 0, or 6 if the budget's ledger is not a recount of the log."""
    until = time.monotonic() + LAST_WAIT_S
    while rows := runtime.runs(unfinished=True):
        try:
            runtime.run(rows[0].run_id).result(timeout=max(0.1, until - time.monotonic()))
        except MessageRefused:  # a child that its parent has not taken up yet
            time.sleep(0.05)
        if time.monotonic() > until:
            raise JournalError(f"{len(rows)} runs do not end, among them {rows[0].run_id}")
    while owed := undelivered(runtime):
        for run_id in owed:
            with _refusals():
                runtime.redeliver(run_id)
        if time.monotonic() > until:
            raise JournalError(f"{len(owed)} runs are not delivered, among them {owed[0]}")
        time.sleep(0.05)
    again = recount(everything(runtime.journal)).standing()["accounts"]
    while (spent := {caller: runtime.spending(caller) for caller in CALLERS}) != {
        caller: again.get(caller, {}) for caller in CALLERS
    }:
        if time.monotonic() > until:
            os.write(2, f"spent, and recounted: {spent}\n{again}\n".encode())
            return 6
        time.sleep(0.05)
    return 0


def main() -> None:
    """`python kill_host.py FOLDER RUNS FIRST_REQUEST drain|work [BUG]`: a host in a process of its own."""
    folder, runs, first, how, *bug = sys.argv[1:]
    host(Path(folder), int(runs), drain=how == "drain", plant=bug[0] if bug else "", first_request=int(first))


if __name__ == "__main__":
    main()
