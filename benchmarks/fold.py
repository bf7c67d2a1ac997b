"""Folding a run of 10,000 events from its log, beside reading and decoding the same facts with sqlite3 and msgspec.

The floor's table holds (run, version, tag, payload), and each payload is decoded into the same fact struct; it keeps no
envelope, checks nothing and folds nothing. `load` is measured on a read-only journal, which has no snapshot.
Target: at least half the floor's speed, so at most twice its time.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
from agents import agent, measure_drive
from measure import Figure, against_floor, options, report, scratch

from executus import Runtime
from executus.events.registry import FACTS
from executus.journal import read_journal

decoders = {tag: msgspec.msgpack.Decoder(struct).decode for tag, (struct, _) in FACTS.items()}


def write_run(path: Path, steps: int) -> str:
    """Store one run of `steps` steps, four facts each; returns its id."""
    with Runtime(path, [agent(steps)]) as runtime:
        measure_drive(runtime, 1, steps)
        return runtime.runs()[0].run_id


def write_floor(path: Path, source: Path, run_id: str) -> sqlite3.Connection:
    """The same facts in a plain table."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE facts"
        " (position INTEGER PRIMARY KEY, run TEXT, version INTEGER, tag TEXT, payload BLOB, UNIQUE (run, version))"
    )
    encode = msgspec.msgpack.Encoder().encode
    journal = read_journal(source)
    rows = [(run_id, event.version, event.tag, encode(event.fact)) for event in journal.read(run_id)]
    journal.close()
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO facts (run, version, tag, payload) VALUES (?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return connection


def main() -> None:
    given = options(__doc__)
    steps = 25 if given.quick else 2_500
    with scratch(given.folder) as place:
        run_id = write_run(place / "runs.db", steps)
        connection = write_floor(place / "floor.db", place / "runs.db", run_id)
        journal = read_journal(place / "runs.db")
        loads: list[tuple[float, float]] = []
        reads: list[tuple[float, float]] = []
        events = 0
        for turn in range(given.rounds + 1):
            start = time.perf_counter()
            rows = connection.execute(
                "SELECT tag, payload FROM facts WHERE run = ? ORDER BY version", (run_id,)
            ).fetchall()
            facts = [decoders[tag](payload) for tag, payload in rows]
            floor_ms = (time.perf_counter() - start) * 1000
            start = time.perf_counter()
            checkpoint = journal.load(run_id)
            load_ms = (time.perf_counter() - start) * 1000
            start = time.perf_counter()
            read = journal.read(run_id)
            read_ms = (time.perf_counter() - start) * 1000
            assert checkpoint.version == len(facts) == len(read)
            assert checkpoint.state.over
            events = len(facts)
            del rows, facts, read
            if turn:  # the first one warms the page cache
                loads.append((load_ms, floor_ms))
                reads.append((read_ms, floor_ms))
        journal.close()
        connection.close()
    figures: list[Figure] = [
        against_floor(f"fold of a run of {events:,} events", "ms", loads, bound=2.0),
        against_floor("  reading its events only", "ms", reads),
    ]
    report("fold", figures, given)


if __name__ == "__main__":
    main()
