"""Time travel in one long run: opening it, any point of it, the neighbours of a point; diff, blame and search.

The log is that of one run of 100,000 events: 25,000 steps with one tool call, 1,000 characters of reply and of result.
Opening reads and folds the whole log, once. Points are random; each is a point that was not looked at before, and its
neighbour is one version further, now and then beyond what was read for the point.
Targets: any point in 20 ms and a neighbour in 1 ms, each in 99 of 100 cases.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

from measure import Figure, median_of, memory_bytes, options, percentile, report, scratch, text

from executus.errors import JournalError
from executus.events import (
    GENESIS,
    Fact,
    Limits,
    RunFinished,
    RunStats,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
)
from executus.events.codec import Stored, encode_event
from executus.journal import OutsideReader, open_journal, read_journal
from executus.testing import SPEC_RUN_ID, run_started
from executus.travel import Recording, blame, diff, search, state_at

POINTS = 2_000


BATCH = 2_000
"""Events in one append."""


class Sent:
    """An append that can be waited for."""

    request_key = ""

    def __init__(self, expected: int, stored: list[Stored]) -> None:
        self.run_id, self.expected, self.stored = SPEC_RUN_ID, expected, stored
        self.answer: Queue[JournalError | None] = Queue()

    def done(self, error: JournalError | None) -> None:
        """Told once how it went."""
        self.answer.put(error)


def facts(steps: int) -> Iterator[Fact]:
    """A run of so many steps, four facts each."""
    yield run_started("Go.", limits=Limits(max_steps=steps + 1))
    for step in range(1, steps + 1):
        call = ToolCall(f"call_{step}", "lookup", f'{{"q": "{step}"}}')
        yield StepStarted(step=step, model="instant")
        yield StepCompleted(step=step, reply=(Text(text(1, step)), call), usage=Usage(1000, 300), stop="tool_calls")
        yield ToolStarted(call=f"{step}.0", name="lookup", effect="pure")
        yield ToolFinished(call=f"{step}.0", result=text(2, step))
    yield StepStarted(step=steps + 1, model="instant")
    yield StepCompleted(step=steps + 1, reply=(Text("done"),), usage=Usage(1000, 1))
    yield RunFinished(stats=RunStats(status="ok", output="done", steps=steps + 1), by="model")


def write_run(path: Path, steps: int) -> str:
    """Store that run; returns its id."""
    journal = open_journal(path)
    previous, version = GENESIS, 0
    stored: list[Stored] = []

    def send() -> None:
        sent = Sent(version - len(stored), list(stored))
        journal.append(sent)
        error = sent.answer.get()
        if error is not None:
            raise error
        stored.clear()

    for fact in facts(steps):
        version += 1
        one = encode_event(
            fact,
            run_id=SPEC_RUN_ID,
            version=version,
            previous=previous,
            at_us=version,
            elapsed_ms=version,
            cause="",
            epoch=journal.epoch,
        )
        previous = one.event.hash
        stored.append(one)
        if len(stored) == BATCH:
            send()
    send()
    journal.close()
    return SPEC_RUN_ID


def timed(task: Callable[[], Any]) -> float:
    """Milliseconds that `task` takes."""
    start = time.perf_counter()
    task()
    return (time.perf_counter() - start) * 1000


def seeks(recording: Recording, points: int, chosen: random.Random) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of so many random points, of the version after each, and of walking on from there."""
    far: list[float] = []
    near: list[float] = []
    walked: list[float] = []
    for _ in range(points):
        version = chosen.randrange(1, recording.head)
        far.append(timed(lambda version=version: recording.at(version)))
        near.append(timed(lambda version=version: recording.at(version + 1)))
    version = chosen.randrange(1, max(2, recording.head - points))
    recording.at(version)
    for _ in range(min(points, recording.head - version)):
        version += 1
        walked.append(timed(lambda version=version: recording.at(version)))
    return far, near, walked


def found(journal: OutsideReader, head: int, what: dict[str, Any]) -> float:
    """Events a second that a search goes through."""
    return head / timed(lambda: sum(1 for _ in search(journal, **what))) * 1000


def main() -> None:
    given = options(__doc__, rounds=3)
    steps, points = (250, 100) if given.quick else (25_000, POINTS)
    chosen = random.Random(5)
    opening: list[float] = []
    kept: list[int] = []
    far: list[float] = []
    near: list[float] = []
    walked: list[float] = []
    once: list[float] = []
    diffs: list[float] = []
    blames: list[float] = []
    texts: list[float] = []
    errors: list[float] = []
    with scratch(given.folder) as place:
        run_id = write_run(place / "runs.db", steps)
        journal = read_journal(place / "runs.db")
        head = journal.head()
        before = memory_bytes()
        for _ in range(given.rounds):
            recording = Recording(journal, run_id)
            opening.append(timed(lambda recording=recording: recording.at(recording.head)))
            kept.append(memory_bytes() - before)
            for all_of, some in zip((far, near, walked), seeks(recording, points, chosen), strict=True):
                all_of += some
            for version in (head // 3, 2 * head // 3):
                diffs.append(timed(lambda seen=recording, m=version: diff(seen, run_id, m, m + 4).patch))
            del recording
            once.append(timed(lambda: state_at(journal, run_id, head // 2)))
            blames.append(timed(lambda: blame(journal, run_id, "status")))
            texts.append(found(journal, head, {"text": "nowhere to be found"}))
            errors.append(found(journal, head, {"errors": True}))
        journal.close()
    figures = [
        median_of(f"open a run of {head:,} events", "ms", opening),
        Figure("  memory that it keeps", kept[0] / 1e6, "MB"),
        Figure("  any point of it, p50", statistics.median(far), "ms"),
        Figure("  any point of it, p99", percentile(far, 0.99), "ms", bound=20.0),
        Figure("  its neighbour, p99", percentile(near, 0.99), "ms", bound=1.0),
        Figure("  step by step, p99", percentile(walked, 0.99), "ms", bound=1.0),
        Figure("  step by step, the slowest", max(walked), "ms"),
        median_of("  diff of one step", "ms", diffs),
        median_of("state in the middle, without opening", "ms", once),
        median_of("blame of one field", "ms", blames),
        median_of("search for a text", "events/s", texts),
        median_of("search for errors", "events/s", errors),
    ]
    report("seek", figures, given)


if __name__ == "__main__":
    main()
