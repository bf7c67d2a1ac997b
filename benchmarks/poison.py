"""Boots hosts on journals with poisoned rows: boot completes, the healthy runs finish, nothing in a row is ever code.

Every kind of fact is poisoned in every way (`poison_rows.py`): bits flipped, cut short, nested deep, text for bytes,
another tag, values of other types, huge numbers, a blob that is not there, the index at odds with the log, events of
other runs, snapshots of rubbish. Hundreds of such runs stand in one journal with ten healthy ones, and a host with
everything in it (critic, budget, delivery) opens it. Each healthy run must end ok. Each poisoned one must be over,
waiting, at work, suspended or quarantined, and say so when asked; nothing may be imported, compiled, executed, started,
or opened outside the folder of the journal; no thread may die; close must keep its time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from types import CodeType
from typing import Any, get_args

from poison_rows import INDEX, ROWS, SOUND, Poisoned, lives

from executus import Agent, Allowance, Continue, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError
from executus.handles import RunStatus
from executus.journal import verify_run
from executus.journal.snapshots import shape

HEALTHY = 10
GIVE_UP_S = 60.0
MOST_SHOWN = 20
FORBIDDEN = frozenset(
    {"import", "exec", "compile", "os.system", "subprocess.Popen", "open", "os.posix_spawn", "os.exec", "os.fork"}
    | {"pickle.find_class", "marshal.loads", "socket.connect", "ctypes.dlopen"}
)


# ------------------------------------------------------------------ the host


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


class Calm:
    """A critic that lets everything go on."""

    name = "calm"
    every_steps = 1

    def review(self, trace: Any, now: float) -> Continue:
        """See `Critic`."""
        return Continue()


class Taken:
    """A delivery that takes everything."""

    def deliver(self, parcel: Any, artifacts: Any) -> str:
        """See `Delivery`."""
        return "taken"


def _opened(path: Path, *, resume: bool = True) -> Runtime:
    def answer(request: Any) -> Any:
        return [call("look")] if request.step == 1 else "done"

    agents = [Agent(name, model=ScriptedModel(answer), tools=[look]) for name in ("healthy", "victim")]
    return Runtime(
        path,
        agents,
        critic=Calm(),
        budget=[Allowance(window="total", tokens=10**9)],
        delivery=Taken(),
        resume=resume,
        sleep_after_s=0.2,
    )


class Watch(logging.Handler):
    """Sees what must not happen: forbidden acts, dead threads, and what is logged as critical.

    What a host does that opens a sound journal is learned first: it imports late, and reads type hints and sources of
    its own. Only what it did not do then is forbidden.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.CRITICAL)
        self._folder = str(folder)
        self._known: set[tuple[Any, ...]] = set()
        self.learning = True
        self.on = True
        self.acts: list[str] = []
        self.deaths: list[str] = []
        self.critical: list[str] = []
        threading.excepthook = lambda death: self.deaths.append(f"{death.thread}: {death.exc_value!r}")
        logging.getLogger("executus").addHandler(self)
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if not self.on or event not in FORBIDDEN:
            return
        if event == "open" and self._folder in str(arguments[0]):
            return
        act = (event, *map(_shown, arguments))
        if self.learning:
            self._known.add(act)
        elif act not in self._known:
            self.acts.append(str(act)[:300])

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.critical.append(record.getMessage()[:300])


def _shown(argument: Any) -> str:
    """An argument of an audit event, without addresses."""
    if isinstance(argument, CodeType):
        return f"{argument.co_filename} {argument.co_names} {argument.co_consts} {argument.co_code!r}"
    return str(argument)


def _warm(path: Path) -> None:
    """Everything that a sound journal needs, so that what is loaded at first use is loaded."""
    with _opened(path) as runtime:
        runtime.start("healthy", "go").result(GIVE_UP_S)
        runtime.start("victim", "go", interactive=True)
        _settle(runtime)
        for row in runtime.runs():
            with suppress(ExecutusError):
                runtime.run(row.run_id).status  # noqa: B018
            verify_run(runtime.journal, row.run_id)


def boot(folder: Path) -> dict[str, Any]:
    """Open the poisoned journal in `folder`, and look what becomes of it."""
    logging.getLogger("executus").setLevel(logging.CRITICAL)
    told = json.loads((folder / "runs.db.told.json").read_text())
    watch = Watch(folder)
    shape()  # reads the sources of the folds
    for name in ("warm.db", "warm.db", "warmer.db"):
        _warm(folder / name)
    watch.learning = False
    problems: list[str] = []
    began = time.monotonic()
    runtime = _opened(folder / "runs.db")
    boot_s = time.monotonic() - began
    for run_id in told["healthy"]:
        try:
            status = runtime.run(run_id).result(GIVE_UP_S).status
            if status != "ok":
                problems.append(f"a healthy run ended {status}")
        except Exception as error:
            problems.append(f"a healthy run did not end: {type(error).__name__}: {error}")
    healthy_s = time.monotonic() - began
    _settle(runtime)
    statuses: Counter[str] = Counter()
    for run_id, what in told["poisoned"].items():
        try:
            status = runtime.run(run_id).status
            if status not in {word for kind in get_args(RunStatus) for word in get_args(kind) or (kind,)}:
                problems.append(f"{what}: its status is {status!r}")
        except ExecutusError as error:
            status = type(error).__name__
        except Exception as error:
            status = "nonsense"
            problems.append(f"{what}: asking for its status raised {type(error).__name__}: {error}")
        statuses[status] += 1
        with suppress(ExecutusError):
            verify_run(runtime.journal, run_id)
    fresh = runtime.start("healthy", "go").result(GIVE_UP_S).status
    if fresh != "ok":
        problems.append(f"a new run ended {fresh}")
    began = time.monotonic()
    if not runtime.close(10.0) or time.monotonic() - began > 11:
        problems.append(f"close took {time.monotonic() - began:.1f} s")
    watch.on = False
    problems += [f"forbidden: {act}" for act in watch.acts]
    problems += [f"a thread died: {death}" for death in watch.deaths]
    return {
        "boot_s": boot_s,
        "healthy_s": healthy_s,
        "statuses": statuses,
        "critical": watch.critical,
        "problems": problems,
    }


def _settle(runtime: Runtime) -> None:
    """Wait until nothing is written any more, or for long enough: every poisoned run has had its chance."""
    until = time.monotonic() + 20.0
    head, since = -1, time.monotonic()
    while time.monotonic() < until:
        if runtime.journal.head() != head:
            head, since = runtime.journal.head(), time.monotonic()
        elif time.monotonic() - since > 0.5:
            return
        time.sleep(0.05)


# ------------------------------------------------------------------ many of them


def journals(options: argparse.Namespace, folder: Path) -> Any:
    """Make and boot one journal after the other."""
    rng = random.Random(options.seed)
    every = [(life, poison) for life in lives() for poison in (*ROWS, *INDEX)]
    rng.shuffle(every)
    wanted = islice(cycle(every), options.rows)
    number = 0
    while batch := list(islice(wanted, options.batch)):
        number += 1
        place = folder / str(number)
        place.mkdir()
        sound = Poisoned(place / "warm.db", rng.getrandbits(32))
        for life in lives():
            sound.add(life, SOUND)
        sound.close()
        poisoned = Poisoned(place / "runs.db", rng.getrandbits(32))
        for _ in range(HEALTHY // 2):
            poisoned.add_healthy(batch[0][0])
        for life, poison in batch:
            poisoned.add(life, poison)
        if number <= options.huge:
            poisoned.add(rng.choice(every)[0], "huge")
        for _ in range(HEALTHY // 2):
            poisoned.add_healthy(batch[0][0])
        poisoned.close()
        order = [sys.executable, __file__, "--boot", str(place)]
        done = subprocess.run(order, capture_output=True, text=True, check=False)
        try:
            seen = json.loads(done.stdout)
        except ValueError:
            seen = {"problems": [f"the host ended with {done.returncode}: {done.stderr[-2000:]}"]}
        if done.stderr:
            seen["problems"].append(f"it said: {done.stderr[-1000:]}")
        yield len(batch), seen
        for left in place.iterdir():
            if not (options.keep and seen["problems"]):
                left.unlink(missing_ok=True) if left.is_file() else None


def main() -> int:
    """Run it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="poisoned rows (default 10,000; long form 100,000)")
    parser.add_argument("--batch", type=int, default=500, help="of them in one journal (default 500)")
    parser.add_argument("--huge", type=int, default=1, help="journals with a row of 64 MB more (default 1)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of what is done to which row")
    parser.add_argument("--keep", type=Path, default=None, help="make the journals there, and keep those with problems")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--boot", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.boot is not None:
        print(json.dumps(boot(options.boot)))
        return 0
    if min(options.rows, options.batch) < 1:
        parser.error("--rows, --batch: expected whole numbers ≥ 1")
    statuses: Counter[str] = Counter()
    problems: list[str] = []
    critical: list[str] = []
    boots: list[float] = []
    rows = 0
    with tempfile.TemporaryDirectory(prefix="executus-poison-", ignore_cleanup_errors=True) as folder:
        for done, seen in journals(options, options.keep or Path(folder)):
            rows += done
            statuses.update(seen.get("statuses", {}))
            problems += seen["problems"]
            critical += seen.get("critical", [])
            boots.append(seen.get("boot_s", GIVE_UP_S))
            if sys.stderr.isatty():
                print(f"\r{rows} rows, {len(problems)} problems", end="", file=sys.stderr)
    figures = {
        "rows": rows,
        "kinds of fact": len({life.events[-1].tag for life in lives()}),
        "ways": len(ROWS) + len(INDEX),
        "seed": options.seed,
        "hosts": len(boots),
        "slowest_boot_s": round(max(boots), 2),
        "statuses": dict(statuses.most_common()),
        "critical": list(dict.fromkeys(critical))[:MOST_SHOWN],
        "violations": len(problems),
        "problems": list(dict.fromkeys(problems))[:MOST_SHOWN],
    }
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name not in ("problems", "critical"):
                print(f"{name.replace('_', ' '):16} {value}")
        for said in figures["critical"]:
            print(f"logged as critical: {said}")
        for problem in figures["problems"]:
            print(f"BROKEN: {problem}")
        print("a promise was broken" if problems else "no promise was broken")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
