"""What it costs a host to be followed, and whether followers have everything: 100 runs append as fast as they can.

Rounds take turns: a host that does not listen; one that listens, with nobody there (a); one with three followers, each
in a process of its own: a fast one, one that is stopped and woken (SIGSTOP, SIGCONT) at random, and one that closes and
attaches anew at random, each time after the last position it has (b); the same with followers that give way to others
(nice 19); and one with three processes that use as much of the processor and do not connect (c), for followers share
the host's cores. Durations are of appends, from the order to the commit. Afterwards each follower must have exactly the
events of the journal, in order. Then, at a quiet pace, a follower alone, and questions and orders one after the other.
Target: p99 of (b) ≤ 1.05 × that of (a). Exits with 1 if a follower missed or repeated anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agents import agent  # beside this file
from measure import conditions, percentile
from wire_hosts import PATIENCE_S, Child, Nursery, Pipe, agents, born, home, report

import executus.journal.sqlite as sqlite_module
import executus.journal.writer as writer_module
from executus import Runtime, attach
from executus.errors import ExecutusError
from executus.events import Event
from executus.journal import read_journal
from executus.wire.answering import Desk
from executus.wire.feed import Feed

KINDS: Final = ("fast", "stopped", "reconnecting")
SETTINGS: Final = ("closed", "alone", "followed", "nice", "spun")

# ------------------------------------------------------------------ the host


class Watch:
    """Notes in a host how long each append takes, when batches became durable, and what the wire's threads use."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.batches: list[tuple[int, float]] = []
        self.feed_s = self.control_s = 0.0
        self.questions = 0
        self._sent: dict[int, float] = {}
        self._durable = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """From now on, in this process."""
        append, acknowledge = sqlite_module.SqliteJournal.append, writer_module.acknowledge
        run, answer = Feed._run, Desk.answer

        def timed_append(journal: Any, one: Any) -> None:
            self._sent[id(one)] = time.perf_counter()
            append(journal, one)

        def timed_acknowledge(one: Any, error: Any) -> None:
            now = time.perf_counter()
            self._durable = self._durable or time.monotonic()
            sent = self._sent.pop(id(one), None)
            if sent is not None:
                self.took.append((now - sent) * 1000)
            acknowledge(one, error)

        def timed_run(feed: Feed) -> None:
            run(feed)
            self.feed_s = time.thread_time()

        def timed_answer(desk: Desk, frame: bytes, peer: Any) -> bytes:
            began = time.thread_time()
            reply = answer(desk, frame, peer)
            with self._lock:
                self.control_s += time.thread_time() - began
                self.questions += 1
            return reply

        sqlite_module.SqliteJournal.append = timed_append  # type: ignore[method-assign]
        writer_module.acknowledge = timed_acknowledge
        Feed._run, Desk.answer = timed_run, timed_answer  # type: ignore[method-assign]

    def told(self, events: Sequence[Event]) -> None:
        """A follower of the journal in its own process."""
        self.batches.append((events[-1].position, self._durable))
        self._durable = 0.0


def serve(pipe: Pipe, path: str, listen: str, runs: str, steps: str) -> None:
    """A host: opens, works when it is told to, says what it measured, stays until it is told to end."""
    watch = Watch()
    watch.begin()
    with Runtime(path, [agent(int(steps)), *agents()], listen="ipc" if listen == "yes" else None) as runtime:
        runtime.journal.follow(watch.told)
        pipe.tell("ready")
        pipe.hear(600)
        if runs == "0":  # at a quiet pace
            for number in range(3):
                runtime.start("pacer", f"go {number}")
            runtime.start("patient", "go")
            pipe.tell("working")
            pipe.hear(600)
            for row in runtime.runs(unfinished=True):
                runtime.run(row.run_id).kill()
            pipe.tell(json.dumps({"batches": watch.batches}))
        else:
            watch.took.clear()
            began, cpu = time.perf_counter(), time.process_time()
            several = [runtime.start("bench", f"go {number}", timeout=None) for number in range(int(runs))]
            for run in several:
                run.result(timeout=600)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            figures = {"seconds": seconds, "cpu_s": cpu, "p50": percentile(watch.took, 0.5)}
            figures |= {"p99": percentile(watch.took, 0.99), "appends": len(watch.took)}
            pipe.tell(json.dumps(figures))
        pipe.hear(600)
    pipe.tell(
        json.dumps(
            {
                "feed_s": watch.feed_s,
                "control_s": watch.control_s,
                "questions": watch.questions,
                "batches": watch.batches,
            }
        )
    )


# ------------------------------------------------------------------ followers


def follow(pipe: Pipe, kind: str, path: str, seed: str, nice: str, out: str) -> None:
    """A follower: writes down what it has, until it has everything up to the position that it is told."""
    os.nice(int(nice))
    rng = random.Random(int(seed))
    had: list[Event] = []
    came: list[tuple[int, float]] = []
    until: int | None = None
    attachments = 0
    while until is None or not had or had[-1].position < until:
        with attach(path, host=True, timeout=PATIENCE_S) as attached:
            attachments += 1
            with attached.follow(since=had[-1].position if had else 0) as events:
                if attachments == 1:
                    pipe.tell("ready")
                leave = time.monotonic() + rng.uniform(0.05, 0.6) if kind == "reconnecting" else float("inf")
                while time.monotonic() < leave and (until is None or not had or had[-1].position < until):
                    try:
                        for event in events.within(time.monotonic() + 0.05):
                            had.append(event)
                            came.append((event.position, time.monotonic()))
                            if time.monotonic() > leave or event.position == until:
                                break
                    except TimeoutError:
                        pass
                    if until is None and (word := pipe.hear(0.0)):
                        until = int(word)
    lines = [f"{one.position} {one.run_id} {one.version} {one.hash.hex()}" for one in had]
    Path(out).write_text("\n".join(lines))
    Path(out + ".came").write_text(json.dumps(came))
    pipe.tell(json.dumps({"cpu_s": time.process_time(), "attachments": attachments}))


def spin(pipe: Pipe, share: str) -> None:
    """Use this share of a core, and nothing else, until it is told to end."""
    pipe.tell("ready")
    used, began = time.process_time(), time.monotonic()
    while not pipe.hear(0.0):
        if time.process_time() - used < float(share) * (time.monotonic() - began):
            sum(range(20_000))
        else:
            time.sleep(0.001)
    pipe.tell("done")


class Naps:
    """Stops and wakes a process at random."""

    def __init__(self, child: Child, rng: random.Random) -> None:
        self.count = 0
        self._child, self._rng = child, rng
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        while not self._stop.wait(self._rng.uniform(0.05, 0.5)):
            self._child.kill(signal.SIGSTOP)
            self.count += 1
            self._stop.wait(self._rng.uniform(0.2, 1.5))
            self._child.kill(signal.SIGCONT)

    def end(self) -> None:
        """Leave it awake."""
        self._stop.set()
        self._thread.join()


# ------------------------------------------------------------------ the driver


class Sitting:
    """Rounds of one sitting. share: of a core that each follower used in the rounds so far."""

    def __init__(self, nursery: Nursery, folder: Path, options: argparse.Namespace) -> None:
        self.nursery, self.folder, self.options = nursery, folder, options
        self.rng = random.Random(options.seed)
        self.problems: list[str] = []
        self.figures: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
        self.late: list[float] = []
        self.naps = self.attachments = self.events = 0
        self._share = 0.3
        self._count = 0

    def round(self, setting: str) -> None:
        """One host in this setting."""
        path = self._path()
        listen = "no" if setting == "closed" else "yes"
        host = self.nursery.begin("serve", str(path), listen, str(self.options.runs), str(self.options.steps))
        others: list[tuple[str, Child]] = []
        try:
            self._must(host.hear() == "ready", f"a host did not open: {host.said}")
            if setting in ("followed", "nice"):
                others = [(kind, self._follower(kind, path, setting == "nice")) for kind in KINDS]
            elif setting == "spun":
                others = [(kind, self.nursery.begin("spin", str(self._share))) for kind in KINDS]
            for kind, one in others:
                self._must(one.hear() == "ready", f"{setting}, {kind}: it did not begin: {one.said}")
            napping = Naps(others[1][1], self.rng) if setting in ("followed", "nice") else None
            host.tell("go")
            found = json.loads(host.hear(600))
            if napping is not None:
                napping.end()
                self.naps += napping.count
            used = self._judge(setting, path, others)
            host.tell("end")
            found |= json.loads(host.hear())
            self._must(
                host.ended() and host.code == 0 and not host.said, f"the host ended with {host.code}: {host.said}"
            )
            if setting == "followed":
                self.late += self._lateness(path, found["batches"])
                self._share = used / 3 / found["seconds"]
            self.figures[setting].append(found)
        finally:
            for one in (host, *(one for _, one in others)):
                one.end()

    def _path(self) -> Path:
        self._count += 1
        return self.folder / f"runs-{self._count}.db"

    def _must(self, held: bool, why: str) -> None:
        if not held:
            raise RuntimeError(why)

    def _follower(self, kind: str, path: Path, nice: bool) -> Child:
        seed = str(self.rng.getrandbits(32))
        return self.nursery.begin("follow", kind, str(path), seed, "19" if nice else "0", f"{path}.{kind}")

    def _judge(self, setting: str, path: Path, others: list[tuple[str, Child]]) -> float:
        """Compare what each has with the journal; the CPU-seconds of them all."""
        if setting not in ("followed", "nice"):
            for _, one in others:
                one.tell("end")
                one.hear()
            return 0.0
        reader = read_journal(path)
        try:
            stored: list[str] = []
            at = 0
            while page := reader.scan(at, 5000):
                stored += [f"{one.position} {one.run_id} {one.version} {one.hash.hex()}" for one in page]
                at = page[-1].position
        finally:
            reader.close()
        used = 0.0
        self.events += len(stored)
        for _, one in others:
            one.tell(str(at))
        for kind, one in others:
            said = one.hear(120)
            if not said:
                self.problems.append(f"{setting}, {kind}: it never had everything up to {at}: {one.said[-2000:]}")
                continue
            found = json.loads(said)
            used += found["cpu_s"]
            self.attachments += found["attachments"] if kind == "reconnecting" else 0
            had = Path(f"{path}.{kind}").read_text().splitlines()
            if had != stored:
                first = next((n for n, (a, b) in enumerate(zip(had, stored, strict=False)) if a != b), -1)
                why = f"{len(had)} of {len(stored)} events, the first other one at {first}"
                self.problems.append(f"{setting}, {kind}: it has {why}")
            if not one.ended() or one.code or one.said:
                self.problems.append(f"{setting}, {kind}: it ended with {one.code}: {one.said[-2000:]}")
        return used

    def _lateness(self, path: Path, batches: list[tuple[int, float]]) -> list[float]:
        """Milliseconds from the commit of each event until the fast follower had it."""
        waiting = deque(batches)
        late: list[float] = []
        for position, at in json.loads(Path(f"{path}.fast.came").read_text()):
            while waiting and waiting[0][0] < position:
                waiting.popleft()
            if waiting and waiting[0][1]:
                late.append((at - waiting[0][1]) * 1000)
        return late

    def quiet(self) -> dict[str, float]:
        """Lateness at a quiet pace, and round trips of control."""
        path = self._path()
        host = self.nursery.begin("serve", str(path), "yes", "0", "1")
        self._must(host.hear() == "ready", f"a host did not open: {host.said}")
        one = self._follower("fast", path, False)
        try:
            self._must(one.hear() == "ready", "a follower did not begin")
            host.tell("go")
            host.hear()
            time.sleep(1.0 if self.options.quick else 10.0)
            trips = self.nursery.begin("ask", str(path), "20" if self.options.quick else "400")
            found: dict[str, float] = json.loads(trips.hear(120) or trips.said)
            trips.ended()
            host.tell("stop")
            batches = json.loads(host.hear())["batches"]
            self._judge("nice", path, [("fast", one)])
            late = self._lateness(path, batches)
            host.tell("end")
            host.hear()
            host.ended()
            return found | {"late_p50_ms": percentile(late, 0.5), "late_p99_ms": percentile(late, 0.99)}
        finally:
            host.end()
            one.end()


def ask(pipe: Pipe, path: str, times: str) -> None:
    """Round trips, one after the other: a question, a page of events, an order."""
    found: dict[str, float] = {}
    with attach(path, host=True) as attached:
        patient = attached.runs(unfinished=True)[-1]  # the one that was started last
        run = attached.run(patient.run_id)

        def measure(name: str, count: int, what: Any) -> None:
            took: list[float] = []
            for _ in range(count):
                began = time.perf_counter()
                try:
                    what()
                except ExecutusError:  # asked too often: it is not the pace that is measured
                    time.sleep(0.2)
                    continue
                took.append((time.perf_counter() - began) * 1000)
            found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = percentile(took, 0.5), percentile(took, 0.99)

        def off_main() -> None:
            measure("question", int(times), attached.journal.head)
            measure("page", int(times), lambda: attached.journal.scan(0, 100))
            measure("order", min(40, int(times)), lambda: run.steer("on"))

        thread = threading.Thread(target=off_main)
        thread.start()
        thread.join()
        measure("question_of_main", int(times), attached.journal.head)
    pipe.tell(json.dumps(found))


ROLES: Final = {"serve": serve, "follow": follow, "spin": spin, "ask": ask}


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    nursery = Nursery(__file__, folder)
    sitting = Sitting(nursery, folder, options)
    try:
        for number in range(options.rounds):
            for setting in SETTINGS:
                sitting.round(setting)
                if sys.stderr.isatty():
                    print(f"\r{number + 1} of {options.rounds} rounds, {setting}", end="", file=sys.stderr)
        quiet = sitting.quiet()
    finally:
        nursery.close()
    figures: dict[str, Any] = {}
    all_rounds, steps = sitting.figures, options.runs * options.steps
    for setting, found in all_rounds.items():
        figures[setting] = {
            name: round(statistics.median(one[name] for one in found), 3) for name in ("p50", "p99", "seconds")
        } | {"cpu_ms_a_step": round(statistics.median(one["cpu_s"] for one in found) * 1000 / steps, 4)}
        figures[setting] |= {
            f"{name}_ms_a_step": round(statistics.median(one[f"{name}_s"] for one in found) * 1000 / steps, 4)
            for name in ("feed", "control")
        } | {"questions": round(statistics.median(one["questions"] for one in found))}

    def ratios(name: str, setting: str, to: str) -> list[float]:
        return [
            round(one[name] / other[name], 3) for one, other in zip(all_rounds[setting], all_rounds[to], strict=True)
        ]

    for name in ("p50", "p99"):
        for setting, to in (
            ("alone", "closed"),
            ("followed", "alone"),
            ("nice", "alone"),
            ("spun", "alone"),
            ("followed", "spun"),
        ):
            each = ratios(name, setting, to)
            figures[f"{name}, {setting} / {to}"] = {"median": statistics.median(each), "each": each}
    return {
        **figures,
        "events": sitting.events,
        "stops": sitting.naps,
        "attachments": sitting.attachments,
        "late_p50_ms": round(percentile(sitting.late, 0.5), 2),
        "late_p99_ms": round(percentile(sitting.late, 0.99), 2),
        "quiet": {name: round(value, 3) for name, value in quiet.items()},
        "runs": options.runs,
        "steps": options.steps,
        "rounds": options.rounds,
        "seed": options.seed,
        "conditions": conditions(),
        "violations": len(sitting.problems),
        "problems": sitting.problems[:20],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    found = born()
    if found is not None:
        pipe, (role, *words) = found
        ROLES[role](pipe, *words)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="runs at once (default 100)")
    parser.add_argument("--steps", type=int, default=60, help="steps of each (default 60)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each setting (default 5)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the journals (default: a temporary folder)"
    )
    parser.add_argument("--quick", action="store_true", help="a short pause at the quiet pace: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.runs, options.steps, options.rounds) < 1:
        parser.error("--runs, --steps, --rounds: expected whole numbers ≥ 1")
    with home(options.dir) as folder:
        figures = run(folder, options)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
