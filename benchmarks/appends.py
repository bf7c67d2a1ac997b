"""Appends to the journal: how long one takes until it is durable, alone and with others, and what slow readers cost.

An append is one note of 1,000 characters, whose log is written by nobody else. Alone, each is waited for before the
next, beside bare commits of as much made in the calling thread (a sync is what such a commit mostly is). Of 50 runs,
each has one append under way. The slow readers are a subscription that nobody reads and one that is read at 200 events
a second; rounds without and with them take turns, and afterwards both must hand out every event.
Targets: one run p50 ≤ the bare commit + 0.3 ms; 50 runs ≥ 5,000 events/s with p99 ≤ 3 × the bare commit; slow readers
change p99 by ≤ 5 %.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

import floor
from measure import against_floor, median_of, options, percentile, report, scratch, text

from executus.errors import JournalError
from executus.events import GENESIS, Event, Fact, Limits, NoteLogged, RunInfo, RunStarted
from executus.events.codec import Stored, encode_event
from executus.events.values import AgentPrint
from executus.journal import SqliteJournal
from executus.journal.subscription import Subscription

RUNS = 50
PATIENCE_S = 60.0


class Run:
    """A run that appends one note after the other; the `Append` that is under way."""

    def __init__(self, journal: SqliteJournal, number: int, done: SimpleQueue[Run]) -> None:
        self.run_id = str(UUID(int=number + 1))
        self.expected = 0
        self.stored: list[Stored] = []
        self.request_key = ""
        self.error: JournalError | None = None
        self.took: list[float] = []
        self._journal, self._number, self._done = journal, number, done
        self._hash = GENESIS
        self._sent = 0.0

    def begin(self) -> None:
        """Append the first event."""
        info = RunInfo(run_id=self.run_id, name="bench")
        agent = AgentPrint(name="bench", model="none", instructions="", tools=(), fingerprint="")
        self._append(RunStarted(info=info, agent=agent, limits=Limits(), input=()))

    def note(self) -> None:
        """Append the next note."""
        self._append(NoteLogged(type="bench", payload={"text": text(self._number, self.expected)}))

    def _append(self, fact: Fact) -> None:
        one = encode_event(
            fact,
            run_id=self.run_id,
            version=self.expected + 1,
            previous=self._hash,
            at_us=time.time_ns() // 1000,
            elapsed_ms=0,
            cause="",
            epoch=self._journal.epoch,
        )
        self.stored = [one]
        self._sent = time.perf_counter()
        self._journal.append(self)

    def done(self, error: JournalError | None) -> None:
        """It is durable."""
        self.took.append((time.perf_counter() - self._sent) * 1000)
        self.error = error
        self.expected += 1
        self._hash = self.stored[-1].event.hash
        self._done.put(self)


def appended(journal: SqliteJournal, runs: int, notes: int) -> tuple[list[float], float]:
    """Milliseconds of each append of `runs` runs with `notes` notes each, and seconds of them all."""
    done: SimpleQueue[Run] = SimpleQueue()
    first = journal.head()
    several = [Run(journal, first + number, done) for number in range(runs)]
    for run in several:
        run.begin()
    began = time.perf_counter()
    left = runs * (notes + 1)
    while left:
        run = done.get(timeout=PATIENCE_S)
        if run.error is not None:
            raise run.error
        left -= 1
        if run.expected <= notes:
            run.note()
    seconds = time.perf_counter() - began
    return [one for run in several for one in run.took[1:]], seconds


def alone(folder: Path, notes: int) -> float:
    """p50 of one run's appends."""
    with scratch(folder) as place:
        journal = SqliteJournal(place / "runs.db")
        took, _ = appended(journal, 1, notes)
        journal.close(PATIENCE_S)
    return percentile(took, 0.5)


def bare(folder: Path, commits: int) -> float:
    """p50 of a bare commit."""
    with scratch(folder) as place:
        connection = floor.connect(place / "floor.db")
        took: list[float] = []
        for number in range(commits):
            row = (1, number, floor.encode(floor.returned(1, number)))
            start = time.perf_counter()
            connection.execute(floor.INSERT, row)
            took.append((time.perf_counter() - start) * 1000)
        connection.close()
    return percentile(took, 0.5)


class SlowReader:
    """Reads a subscription at `a_second` events a second, 0 for none, until it may hurry to the end."""

    def __init__(self, subscription: Subscription, a_second: float) -> None:
        self.got: list[Event] = []
        self._subscription, self._a_second = subscription, a_second
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if not self._a_second:
            self._hurry.wait()
        for event in self._subscription:
            self.got.append(event)
            if not self._hurry.is_set():
                self._hurry.wait(1 / self._a_second)

    def caught_up(self, head: int) -> list[Event]:
        """All it got, when it has everything up to `head`."""
        self._hurry.set()
        until = time.monotonic() + PATIENCE_S
        while (not self.got or self.got[-1].position < head) and time.monotonic() < until:
            time.sleep(0.01)
        self._subscription.close()
        self._thread.join(PATIENCE_S)
        return self.got


def together(folder: Path, notes: int, *, readers: bool) -> tuple[float, float]:
    """Events a second, and p99, of 50 runs.

    Raises:
        RuntimeError: a slow reader did not get every event.
    """
    with scratch(folder) as place:
        journal = SqliteJournal(place / "runs.db")
        slow = [SlowReader(Subscription(journal), pace) for pace in ((0, 200) if readers else ())]
        took, seconds = appended(journal, RUNS, notes)
        head = journal.head()
        expected = list(range(1, head + 1))
        for one in slow:
            if [event.position for event in one.caught_up(head)] != expected:
                raise RuntimeError("a slow reader did not get every event")
        journal.close(PATIENCE_S)
    return len(took) / seconds, percentile(took, 0.99)


def main() -> None:
    given = options(__doc__)
    notes = 20 if given.quick else 200
    commits: list[float] = []
    over: list[float] = []
    pace: list[float] = []
    late: list[tuple[float, float]] = []
    slowed: list[tuple[float, float]] = []
    together(given.folder, 3, readers=False)  # imports and first calls stay outside
    for _ in range(given.rounds):
        before, mine, after = bare(given.folder, notes), alone(given.folder, notes), bare(given.folder, notes)
        commit = (before + after) / 2
        commits.append(commit)
        over.append(mine - commit)
        free = together(given.folder, notes, readers=False)
        watched = together(given.folder, notes, readers=True)
        again = together(given.folder, notes, readers=False)
        pace += (free[0], again[0])
        late.append((free[1], commit))
        slowed.append((watched[1], (free[1] + again[1]) / 2))
    report(
        "appends",
        [
            median_of("a bare commit, p50", "ms", commits),
            median_of("one run, p50, over that", "ms", over, bound=0.3),
            median_of(f"{RUNS} runs", "events/s", pace, bound=5_000, at_least=True),
            against_floor(f"{RUNS} runs, p99", "ms", late, bound=3.0),
            against_floor(f"{RUNS} runs with slow readers, p99", "ms", slowed, bound=1.05),
        ],
        given,
    )


if __name__ == "__main__":
    main()
