"""The raw floors: the same durable steps with nothing but sqlite3 and msgspec, written as fast as we know how.

A step is two records, the model's reply (1,000 characters and a tool call) and the tool's result (1,000 characters),
each encoded with msgspec and awaited until its COMMIT returned, with WAL and synchronous=FULL. No envelope, no hash
chain, no index but (run, version), no other facts. Run alone, this script prints the floors themselves.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import msgspec
from measure import Figure, median_of, options, percentile, report, scratch, text

INSERT = "INSERT INTO records (run, version, state) VALUES (?, ?, ?)"
Row = tuple[int, int, bytes]


class Replied(msgspec.Struct, tag="r", frozen=True):
    """The model's reply."""

    text: str
    id: str
    name: str
    arguments: str


class Returned(msgspec.Struct, tag="t", frozen=True):
    """The tool's result."""

    id: str
    text: str


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Replied | Returned).decode


def replied(run: int, step: int) -> Replied:
    return Replied(text(run, step), f"call_{run}_{step}", "lookup", f'{{"q":"q{run}-{step}"}}')


def returned(run: int, step: int) -> Returned:
    return Returned(f"call_{run}_{step}", text(run + 1, step))


def connect(path: Path) -> sqlite3.Connection:
    """A new database with one table, durable like a journal."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    assert connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal"
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE records"
        " (position INTEGER PRIMARY KEY, run INTEGER, version INTEGER, state BLOB, UNIQUE (run, version))"
    )
    return connection


# ------------------------------------------------------------------ many runs


class GroupCommit:
    """Appends of all waiting tasks of one event loop share one transaction on one writer thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._busy = False
        self._batches: SimpleQueue[list[tuple[Row, asyncio.Future[None]]] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def append(self, row: Row) -> asyncio.Future[None]:
        """The future is done when `row` is durable."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((row, future))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            batch, self._waiting = self._waiting, []
            self._batches.put(batch)

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(INSERT, [row for row, _ in batch])
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._committed, batch)

    def _committed(self, batch: list[tuple[Row, asyncio.Future[None]]]) -> None:
        for _, future in batch:
            future.set_result(None)
        self._loop.call_soon(self._hand_over)  # after the tasks just woken had their turn

    def close(self) -> None:
        """Let the writer finish."""
        self._batches.put(None)
        self._writer.join()


@dataclass(frozen=True)
class Speed:
    """Durable steps per second, and CPU milliseconds a step in all threads of the process."""

    steps_s: float
    cpu_ms: float


class Meter:
    """Takes wall and CPU time from its making on."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def speed(self, steps: int) -> Speed:
        """The speed so far, at which `steps` steps were made."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Speed(steps / wall, cpu / steps * 1000)


def many_runs(folder: Path, runs: int, steps: int) -> Speed:
    """`runs` at once, `steps` each, group commit."""

    async def instant_model(run: int, step: int) -> Replied:
        return replied(run, step)

    async def instant_tool(run: int, step: int) -> Returned:
        return returned(run, step)

    async def one(group: GroupCommit, run: int) -> None:
        for step in range(steps):
            await group.append((run, 2 * step, encode(await instant_model(run, step))))
            await group.append((run, 2 * step + 1, encode(await instant_tool(run, step))))

    async def every(connection: sqlite3.Connection) -> Speed:
        group = GroupCommit(connection)
        meter = Meter()
        await asyncio.gather(*(one(group, run) for run in range(runs)))
        speed = meter.speed(runs * steps)
        group.close()
        return speed

    with scratch(folder) as place:
        connection = connect(place / "floor.db")
        try:
            return asyncio.run(every(connection))
        finally:
            connection.close()


# ------------------------------------------------------------------ one run


def one_run(folder: Path, steps: int) -> list[float]:
    """Milliseconds of each step of one run alone: two commits in the calling thread, nobody else to wait for."""
    with scratch(folder) as place:
        connection = connect(place / "floor.db")
        took = []
        for step in range(steps):
            start = time.perf_counter()
            connection.execute(INSERT, (1, 2 * step, encode(replied(1, step))))
            connection.execute(INSERT, (1, 2 * step + 1, encode(returned(1, step))))
            took.append((time.perf_counter() - start) * 1000)
        connection.close()
        return took


def one_run_through_threads(folder: Path, steps: int) -> list[float]:
    """The same, but the run lives on an event loop and the commits on a writer's thread: what any asynchronous host
    pays for handing over and back, twice a step.
    """

    async def every(connection: sqlite3.Connection) -> list[float]:
        group = GroupCommit(connection)
        took = []
        for step in range(steps):
            start = time.perf_counter()
            await group.append((1, 2 * step, encode(replied(1, step))))
            await group.append((1, 2 * step + 1, encode(returned(1, step))))
            took.append((time.perf_counter() - start) * 1000)
        group.close()
        return took

    with scratch(folder) as place:
        connection = connect(place / "floor.db")
        try:
            return asyncio.run(every(connection))
        finally:
            connection.close()


# ------------------------------------------------------------------ reading


def read_back(folder: Path, events: int) -> float:
    """Seconds to select and decode one run of `events` records."""
    with scratch(folder) as place:
        connection = connect(place / "floor.db")
        connection.execute("BEGIN")
        for step in range(events // 2):
            connection.execute(INSERT, (1, 2 * step, encode(replied(1, step))))
            connection.execute(INSERT, (1, 2 * step + 1, encode(returned(1, step))))
        connection.execute("COMMIT")
        start = time.perf_counter()
        rows = connection.execute("SELECT state FROM records WHERE run = 1 ORDER BY version").fetchall()
        decoded = [decode(state) for (state,) in rows]
        seconds = time.perf_counter() - start
        assert len(decoded) == events
        connection.close()
        return seconds


def main() -> None:
    given = options(__doc__)
    runs, steps, events = (10, 5, 100) if given.quick else (100, 50, 10_000)
    many = [many_runs(given.folder, runs, steps) for _ in range(given.rounds)]
    alone = [one_run(given.folder, steps * 4) for _ in range(given.rounds)]
    handed = [one_run_through_threads(given.folder, steps * 4) for _ in range(given.rounds)]
    read = [read_back(given.folder, events) for _ in range(given.rounds)]
    figures: list[Figure] = [
        median_of(f"{runs} runs, group commit", "steps/s", [speed.steps_s for speed in many]),
        median_of(f"{runs} runs, CPU a step", "ms", [speed.cpu_ms for speed in many]),
        median_of("one run, two commits, p50", "ms", [percentile(took, 0.5) for took in alone]),
        median_of("one run, two commits, p99", "ms", [percentile(took, 0.99) for took in alone]),
        median_of("  handed to a writer's thread, p50", "ms", [percentile(took, 0.5) for took in handed]),
        median_of(f"read and decode {events:,} records", "ms", [seconds * 1000 for seconds in read]),
    ]
    report("floor", figures, given)


if __name__ == "__main__":
    main()
