"""Clients give orders without pause while their host is killed (SIGKILL) at random and opened again, many times.

Each order has a word of its own that the log shows: a steer in its text, an extension in its reason, an approval in who
gave it, a start in its input and request id, a kill in its reason. Checked in the end: what was answered as done is in
the log exactly once; nothing is there twice; what was refused, or not given (HostUnreachable), is not there; no request
id has two runs; and the order book has everything that was done as done, and nothing under way.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wire_hosts import PATIENCE_S, Child, Nursery, Pipe, born, home, report, serve  # beside this file

from executus import Runtime, attach
from executus.errors import ControlRefused, ExecutusError, HostUnreachable, MessageRefused, OutcomeUnknown
from executus.events import ApprovalGranted, CallerSteered, DeadlineExtended, Event, RunFinished, RunStarted
from executus.journal import read_journal
from executus.journal.order_book import SqliteOrderBook, read_orders
from executus.wire.attached import Attached, RemoteRun

THREADS: Final = 3
"""Of each client: each gives one order after the other."""

WITHOUT_BOOK: Final = "no-book"
"""A planted bug: the host does not keep orders, and so carries out what it is given again."""


def plant(bug: str) -> None:
    """Make the mistake `bug` in this process."""
    if bug == WITHOUT_BOOK:
        SqliteOrderBook.take = lambda book, order: None  # type: ignore[method-assign, assignment]
        SqliteOrderBook.find = lambda book, order: None  # type: ignore[method-assign]


def bad_host(pipe: Pipe, path: str, bug: str, *runs: str) -> None:
    """A host with a mistake."""
    plant(bug)
    serve(pipe, path, *runs)


# ------------------------------------------------------------------ clients


class Notes:
    """What a client was answered, a line each: kind, word, outcome, seconds."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def give(self, kind: str, word: str, order: Callable[[], Any]) -> Any:
        """Give the order, and note what became of it; what it returned, or None."""
        began = time.monotonic()
        found = None
        try:
            found = order()
            outcome = "done"
        except (MessageRefused, ControlRefused) as error:
            outcome = "refused"
            if getattr(error, "kind", "") == "too-many":
                time.sleep(0.05)
        except HostUnreachable:
            outcome = "unreachable"
        except OutcomeUnknown:
            outcome = "unknown"
        except (ExecutusError, TimeoutError) as error:
            outcome = f"unknown-{type(error).__name__}"
        os.write(self._file, f"{kind} {word} {outcome} {time.monotonic() - began:.3f}\n".encode())
        return found if outcome == "done" else None


def client(pipe: Pipe, path: str, name: str, timeout: str, out: str) -> None:
    """Give orders until told to stop."""
    attached: Attached | None = None
    while attached is None:
        try:
            attached = attach(path, host=True, timeout=PATIENCE_S)
        except (ExecutusError, ValueError):
            time.sleep(0.05)
    held, notes, stop = attached, Notes(out), threading.Event()
    timeout_s = float(timeout)

    def order(what: str, run: RemoteRun, word: str) -> None:
        ways: dict[str, Callable[[], None]] = {
            "steer": lambda: run.steer(word, timeout=timeout_s),
            "extend": lambda: run.extend(1.0, reason=word, timeout=timeout_s),
            "approve": lambda: run.approve(by=word, timeout=timeout_s),
            "kill": lambda: run.kill(word, timeout=timeout_s),
        }
        notes.give(what, word, ways[what])

    def work(number: int) -> None:
        rng = random.Random(f"{name} {number}")
        run = asker = None
        count = 0

        def word() -> str:
            nonlocal count
            count += 1
            return f"w{name}x{number}x{count}x"

        def started(agent: str) -> Any:
            one = word()
            for _ in range(5):  # the same request until it is answered
                found = notes.give(
                    "start",
                    one,
                    lambda: held.start(agent, one, request_id=one, timeout=timeout_s),
                )
                if found is not None or stop.is_set():
                    return found
            return None

        while not stop.is_set():
            if run is None or asker is None:
                run, asker = started("patient"), started("asker")
                continue
            what = rng.choices(("steer", "extend", "approve", "kill", "start"), (4, 3, 3, 1, 1))[0]
            if what == "start":
                other = started("patient")
                if other is not None:
                    order("kill", other, word())
            else:
                order(what, asker if what == "approve" else run, word())
                run = None if what == "kill" else run

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    pipe.tell("ready")
    pipe.hear(1e6)
    stop.set()
    for thread in threads:
        thread.join()
    held.close()
    pipe.tell("done")


ROLES: Final = {"serve": serve, "bad-host": bad_host, "client": client}

# ------------------------------------------------------------------ what is in the log


def words_of(event: Event) -> tuple[str, str]:
    """(kind, word) of the order that an event shows, or ("", "")."""
    match event.fact:
        case CallerSteered(text=text):
            return "steer", text
        case DeadlineExtended(reason=reason):
            return "extend", reason
        case ApprovalGranted(by=by):
            return "approve", by.partition(":")[2]
        case RunStarted(input=input):
            return "start", getattr(input[0], "text", "") if input else ""
        case RunFinished(reason=reason) if event.fact.status == "killed":
            return "kill", reason
        case _:
            return "", ""


def judge(path: Path, told: list[list[str]]) -> tuple[list[str], dict[str, Any]]:
    """What is wrong, and figures."""
    seen: Counter[tuple[str, str]] = Counter()
    reader = read_journal(path)
    try:
        at = 0
        while page := reader.scan(at, 5000):
            seen.update(found for event in page if (found := words_of(event))[0])
            at = page[-1].position
    finally:
        reader.close()
    problems = [
        f"{kind} {word} is in the log {count} times" for (kind, word), count in seen.items() if count > 1 and word
    ]
    answers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, word, outcome, _ in told:
        answers[kind, word].append(outcome)
    for (kind, word), outcomes in answers.items():
        count = seen[kind, word]
        if "done" in outcomes and count != 1:
            problems.append(f"{kind} {word} was done, and is in the log {count} times")
        elif set(outcomes) <= {"refused", "unreachable"} and count:
            problems.append(f"{kind} {word} was answered with {set(outcomes)}, and is in the log")
    seen_words = {word for _, word in seen}
    unknown = [word for (_, word), outcomes in answers.items() if outcomes[-1].startswith("unknown")]
    kept = Counter(row.fate for row in read_orders(path, limit=10**7))
    if kept["under way"]:
        problems.append(f"{kept['under way']} orders are under way in the book")
    return problems, {
        "answers": dict(sorted(Counter(outcome for _, _, outcome, _ in told).items())),
        "orders": dict(sorted(Counter(kind for kind, *_ in told).items())),
        "of_unknown_in_the_log": sum(word in seen_words for word in unknown),
        "in_the_book": dict(sorted(kept.items())),
        "requests_with_a_run": sum(kind == "start" and word.startswith("w") for kind, word in seen),
    }


# ------------------------------------------------------------------ the driver


def opened(nursery: Nursery, path: Path, bug: str) -> Child:
    """The next host."""
    made = nursery.begin("bad-host", str(path), bug, "pacer") if bug else nursery.begin("serve", str(path), "pacer")
    if made.hear() != "ready":
        made.end()
        raise RuntimeError(f"a host did not open: {made.said[-4000:]}")
    return made


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns the figures."""
    rng, problems = random.Random(options.seed), list[str]()
    path = folder / "runs.db"
    nursery = Nursery(__file__, folder)
    host = opened(nursery, path, options.plant)
    outs = [folder / f"client-{number}.txt" for number in range(options.clients)]
    clients = [
        nursery.begin("client", str(path), str(number), str(options.timeout), str(out))
        for number, out in enumerate(outs)
    ]
    began = time.monotonic()
    for one in clients:
        one.hear()
    for count in range(options.kills):
        time.sleep(rng.uniform(0.05, options.window))
        host.end()
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0.0, 1.0))  # clients notice that nobody is there
        host = opened(nursery, path, options.plant)
        if sys.stderr.isatty():
            print(f"\r{count + 1} of {options.kills} kills", end="", file=sys.stderr)
    seconds = time.monotonic() - began
    for one in clients:
        one.tell("stop")
    for number, one in enumerate(clients):
        if one.hear(PATIENCE_S + 2 * options.timeout) != "done" or not one.ended() or one.code:
            problems.append(f"client {number} did not end: {one.code}, {one.said[-3000:]}")
            one.end()
    host.end()
    nursery.close()
    Runtime(path, resume=False).close()  # settles what the last kill left
    told = [line.split() for out in outs for line in out.read_text().splitlines()]
    took = sorted(float(one[3]) for one in told if one[2] == "done")
    lost = sorted(float(one[3]) for one in told if one[2].startswith("unknown"))
    SqliteOrderBook(path).close()  # what the last host had under way is unknown from now on
    found, figures = judge(path, told)
    problems += found
    return {
        "kills": options.kills,
        "clients": options.clients,
        "threads_each": THREADS,
        "seed": options.seed,
        **figures,
        "done_p50_ms": round(1000 * statistics.median(took), 1) if took else None,
        "done_max_s": took[-1] if took else None,
        "unknown_p50_s": statistics.median(lost) if lost else None,
        "unknown_max_s": lost[-1] if lost else None,
        "seconds": round(seconds, 1),
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
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=3, help="processes that give orders (default 3)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds that each order has (default 10)")
    parser.add_argument("--window", type=float, default=0.8, help="longest life of a host, seconds (default 0.8)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--dir", type=Path, default=None, help="where to put the journal (default: a temporary folder)")
    parser.add_argument("--plant", choices=(WITHOUT_BOOK,), default="", help="a bug to be found")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.kills, options.clients) < 1 or min(options.timeout, options.window) <= 0.05:
        parser.error("--kills, --clients: expected whole numbers ≥ 1; --timeout, --window: seconds > 0.05")
    with home(options.dir) as folder:
        figures = run(folder, options)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
