"""Attaches to a host again and again, and has hosts succeed each other: nothing may be left over, nothing be lost.

Cycles: one client process attaches to one host, asks, follows a few events and closes, a thousand times; descriptors
and threads of both must be as before, and what their memory grows by is said. Successions: a host is closed, killed, or
stopped (SIGSTOP) past its lease, and another process opens its journal; a follower and a handle of a run, held by one
client all the time, must go on with the new one, the follower with every event once; a stopped host that wakes up and
closes must leave its successor's card alone; and whoever attaches anew finds the successor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from measure import memory_bytes, thread_count  # beside this file
from wire_hosts import PATIENCE_S, Child, Nursery, Pipe, agents, born, home, report

from executus import Runtime, attach
from executus.errors import Deposed, ExecutusError, JournalInUse
from executus.journal import lease, read_journal
from executus.wire import places

LEASE_S: Final = 0.5
SPARE: Final = 3
"""Threads and descriptors that may differ: one may just be beginning or ending."""

# ------------------------------------------------------------------ processes


def measured() -> dict[str, int]:
    """Of this process."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return {"descriptors": descriptors, "threads": thread_count(), "memory": memory_bytes()}


def serve(pipe: Pipe, path: str) -> None:
    """A host that waits until it can have the journal, says what it measures when it is asked, and ends when told, or
    when it is deposed.
    """
    lease.LEASE_S = LEASE_S
    while True:
        try:
            runtime = Runtime(path, agents(), listen="ipc")
            break
        except JournalInUse:
            time.sleep(0.01)
    for name in ("pacer", "patient"):
        try:
            runtime.start(name, "go", request_id=name)
        except ExecutusError:  # it is deposed already
            break
    pipe.tell("ready")
    while runtime.deposed is None:
        word = pipe.hear(0.05)
        if word == "measure":
            pipe.tell(json.dumps(measured()))
        elif word == "close":
            break
    runtime.close()
    pipe.tell("closed")


def cycle(pipe: Pipe, path: str, cycles: str) -> None:
    """Attach and close, again and again; says what it measured at the beginning, in the middle and at the end."""
    found: list[dict[str, int]] = []
    for number in range(int(cycles)):
        with attach(path, host=True, timeout=PATIENCE_S) as attached:
            rows = attached.runs()
            if number % 10 == 0:
                attached.run(rows[-1].run_id).steer("on")
            with attached.follow() as events:
                for event in events:
                    if event.position >= 5:
                        break
        if number in (int(cycles) // 5, int(cycles) // 2, int(cycles) - 1):
            time.sleep(0.5)
            found.append(measured())
            pipe.tell(json.dumps(found[-1]))
            pipe.hear()


def hold(pipe: Pipe, path: str, out: str) -> None:
    """Follow everything and hold a run, whoever the host is; at "settle" says what it has."""
    attached = attach(path, host=True, timeout=PATIENCE_S)
    run = attached.run(attached.runs(unfinished=True)[-1].run_id)
    had: list[int] = []
    following = attached.follow()

    def read() -> None:
        had.extend(event.position for event in following)

    reader = threading.Thread(target=read)
    reader.start()
    pipe.tell("ready")
    count = 0
    while (word := pipe.hear(600)) == "steer":
        count += 1
        status = run.status
        run.steer(f"word {count}", timeout=PATIENCE_S)
        pipe.tell(status)
    head = int(word)
    until = time.monotonic() + PATIENCE_S
    while (not had or had[-1] < head) and time.monotonic() < until:
        time.sleep(0.02)
    following.close()
    reader.join()
    attached.close()
    Path(out).write_text(json.dumps([position for position in had if position <= head]))
    pipe.tell("done")


ROLES: Final = {"serve": serve, "cycle": cycle, "hold": hold}

# ------------------------------------------------------------------ the driver


class Trouble(Exception):
    """Something that must not happen."""


def must(held: bool, why: str) -> None:
    if not held:
        raise Trouble(why)


def cycles(nursery: Nursery, folder: Path, count: int) -> tuple[list[str], dict[str, Any]]:
    """What is left over of so many attachments."""
    path = folder / "cycles.db"
    host = nursery.begin("serve", str(path))
    client = None
    problems: list[str] = []
    try:
        must(host.hear() == "ready", f"a host did not open: {host.said}")
        client = nursery.begin("cycle", str(path), str(count))
        found: dict[str, list[dict[str, int]]] = {"client": [], "host": []}
        for _ in range(3):
            line = client.hear(30 + count)
            must(bool(line), f"attaching failed: {client.said[-3000:]}")
            found["client"].append(json.loads(line))
            host.tell("measure")
            found["host"].append(json.loads(host.hear()))
            client.tell("go on")
        must(
            client.ended() and client.code == 0 and not client.said,
            f"the client ended with {client.code}: {client.said}",
        )
    finally:
        host.end()
        if client is not None:
            client.end()
    figures: dict[str, Any] = {"cycles": count}
    for who, (early, middle, late) in found.items():
        for what in ("descriptors", "threads"):
            figures[f"{who}_{what}"] = [early[what], middle[what], late[what]]
            if late[what] - early[what] > SPARE:
                problems.append(f"{who}: {late[what] - early[what]} {what} more after {count} attachments")
        figures[f"{who}_memory_mb"] = [round(one["memory"] / 1e6, 2) for one in (early, middle, late)]
        figures[f"{who}_bytes_a_cycle"] = round((late["memory"] - middle["memory"]) / max(1, count // 2))
    return problems, figures


def succession(nursery: Nursery, path: Path, way: str, first: Child) -> Child:
    """Have another host take over from `first`; the new one."""
    second = nursery.begin("serve", str(path))
    time.sleep(0.2)
    old = places.card_in(places.room_of(path))
    must(old is not None and old.pid == first.pid, "the card is not that of the host")
    if way == "closed":
        first.tell("close")
    elif way == "killed":
        first.kill()
    else:
        while True:
            first.kill(signal.SIGSTOP)
            path.with_name(path.name + ".lock").unlink(missing_ok=True)
            if second.hear(2 * LEASE_S + 1) == "ready":
                break
            first.kill(signal.SIGCONT)  # it stood still in the middle of a commit, with SQLite's own lock
            time.sleep(0.01)
    if way != "stopped":
        must(second.hear() == "ready", f"{way}: no host took over: {second.said[-2000:]}")
    if way == "stopped":
        card = places.card_in(places.room_of(path))
        must(card is not None and card.pid == second.pid, "the card of the stopped host was not replaced")
        first.kill(signal.SIGCONT)
    must(first.ended(), f"{way}: the old host did not end: {first.said[-2000:]}")
    card = places.card_in(places.room_of(path))
    must(card is not None and card.pid == second.pid, f"{way}: the old host's end took its successor's card down")
    return second


def successions(nursery: Nursery, folder: Path, count: int, rng: random.Random) -> tuple[list[str], dict[str, Any]]:
    """Hosts that succeed each other, with one client that stays."""
    path, out = folder / "heirs.db", folder / "had.json"
    problems: list[str] = []
    host = nursery.begin("serve", str(path))
    holder: Child | None = None
    took: list[float] = []
    ways = ("closed", "killed", "stopped")
    done = 0
    try:
        must(host.hear() == "ready", f"a host did not open: {host.said}")
        holder = nursery.begin("hold", str(path), str(out))
        must(holder.hear() == "ready", f"a client did not attach: {holder.said}")
        for number in range(count):
            time.sleep(rng.uniform(0.0, 0.3))
            host = succession(nursery, path, ways[number % 3], host)
            began = time.monotonic()
            holder.tell("steer")
            status = holder.hear(2 * PATIENCE_S)
            must(status != "", f"after {ways[number % 3]}: the handle of a run does not work: {holder.said[-3000:]}")
            took.append(time.monotonic() - began)
            with attach(path, host=True, timeout=PATIENCE_S) as anew:
                must(anew.journal.head() > 0, "a new client sees nothing")
            done += 1
        host.tell("close")
        must(host.hear() == "closed", "the last host did not close")
        must(host.ended() and host.code == 0, f"the last host ended with {host.code}")
        reader = read_journal(path)
        stored: list[int] = []
        words: list[str] = []
        while page := reader.scan(stored[-1] if stored else 0, 5000):
            stored += [event.position for event in page]
            words += [event.fact.text for event in page if event.tag == "caller-steered"]  # type: ignore[union-attr]
        reader.close()
        if words != [f"word {number + 1}" for number in range(count)]:
            problems.append(f"of {count} orders to the run that was held, the log has {words}")
        # The follower may not have heard the last words of a host that is gone: another one tells it.
        host = nursery.begin("serve", str(path))
        must(host.hear() == "ready", f"a host did not open: {host.said}")
        holder.tell(str(stored[-1]))
        must(holder.hear(2 * PATIENCE_S) == "done", f"the follower did not end: {holder.said[-3000:]}")
        had = json.loads(out.read_text())
        if had != stored:
            problems.append(f"the follower has {len(had)} of {len(stored)} events, {len(set(had))} different ones")
    except (Trouble, Deposed) as trouble:
        problems.append(str(trouble))
    finally:
        host.end()
        if holder is not None:
            holder.end()
    took.sort()
    figures = {"successions": done, "found_again_p50_s": round(took[len(took) // 2], 2) if took else None}
    return problems, figures | {"found_again_max_s": round(took[-1], 2) if took else None}


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    nursery = Nursery(__file__, folder)
    began = time.monotonic()
    try:
        problems, figures = successions(nursery, folder, options.successions, random.Random(options.seed))
        more, others = cycles(nursery, folder, options.cycles)
    except Trouble as trouble:
        more, others = [str(trouble)], {}
    finally:
        nursery.close()
    problems += more
    return {
        **figures,
        **others,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "violations": len(problems),
        "problems": problems[:20],
    }


def main() -> int:
    """Run it; 1 if a promise was broken."""
    found = born()
    if found is not None:
        pipe, (role, *words) = found
        ROLES[role](pipe, *words)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000, help="attachments of one client (default 1000)")
    parser.add_argument("--successions", type=int, default=60, help="hosts that others succeed (default 60)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the journals (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.cycles < 10 or options.successions < 1:
        parser.error("--cycles: expected a whole number ≥ 10; --successions: ≥ 1")
    with home(options.dir) as folder:
        figures = run(folder, options)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
