"""Ends hosts that listen and clients that are attached, in every way there is, from every state, and looks how it goes.

States of a client: idle, following, asking without end, serving a critic, in the middle of async code, with several
hosts attached, with a runtime of its own, its host gone, its host stopped, looking for a host that is gone. States of a
host: nobody attached, clients that follow and give orders, one with a critic in another process. Ways: the end of main
without a close, sys.exit, os._exit, an exception, Ctrl-C, a SIGTERM whose handler raises SystemExit, and close.
Each must end within five seconds, with the code of its way, and say nothing on standard error but the traceback of what
it raised itself.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from wire_hosts import PATIENCE_S, Child, Nursery, Pipe, agents, born, home, host, report, serve  # beside this file

from executus import Continue, Runtime, attach
from executus.adapters.critics.outside import OutsideCritic
from executus.errors import ExecutusError
from executus.wire.attached import Attached

WITHIN_S: Final = 5.0
LEAVES: Final = {
    "end": 0,
    "sys-exit": 3,
    "os-exit": 4,
    "exception": 1,
    "sigint": -signal.SIGINT,
    "sigterm": 7,
    "close": 0,
}
"""Way of leaving -> exit code; a negative one is the signal that ended it."""
MAY_BE_SAID: Final = {"exception": "RuntimeError: its own mistake", "sigint": "KeyboardInterrupt"}


def leave(way: str, close: Callable[[], object]) -> None:
    """End this process; what "end" and "close" leave is main's return."""
    if way == "sys-exit":
        sys.exit(3)
    if way == "os-exit":
        os._exit(4)
    if way == "exception":
        raise RuntimeError("its own mistake")
    if way in ("sigint", "sigterm"):
        os.kill(os.getpid(), signal.SIGINT if way == "sigint" else signal.SIGTERM)
        while True:
            time.sleep(0.01)
    if way == "close":
        close()
    return


async def leave_async(way: str, close: Callable[[], object]) -> None:
    """As `leave`, where a Ctrl-C cancels the main task."""
    if way == "sigint":
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    leave(way, close)


def aside(what: Callable[[], object]) -> None:
    """On a thread of its own, until whatever it uses is closed."""

    def go() -> None:
        with suppress(ExecutusError):
            what()

    threading.Thread(target=go, daemon=True).start()


def for_ever(what: Callable[[], object]) -> Callable[[], object]:
    """Again and again; while the host is gone too."""

    def go() -> object:
        while True:
            try:
                what()
            except ExecutusError:
                time.sleep(0.01)

    return go


def follow(attached: Attached) -> None:
    """Read all its events."""
    for _ in attached.follow():
        pass


class Patient:
    """A critic with nothing to say."""

    name = "critic"

    def review(self, trace: Any, now: float) -> Continue:
        """Go on."""
        return Continue()


# ------------------------------------------------------------------ clients


class Client:
    """What a client does. path: of its host's journal. say: tells the driver that the state is reached, and waits until
    it says to leave.
    """

    def __init__(self, path: Path, way: str, say: Callable[[], None]) -> None:
        self.path, self.way, self.say = path, way, say
        self.held: list[Attached] = []

    def attached(self) -> Attached:
        """One more; never dropped."""
        found = attach(self.path, host=True, timeout=PATIENCE_S)
        self.held.append(found)
        return found

    def _go(self) -> None:
        self.say()
        leave(self.way, lambda: [one.close() for one in self.held])

    def idle(self) -> None:
        """It has asked before, and does not now."""
        self.attached().runs()
        self._go()

    def following(self) -> None:
        """A daemon thread follows."""
        one = self.attached()
        aside(lambda: follow(one))
        next(one.follow())
        self._go()

    def asking(self) -> None:
        """Daemon threads ask without end, and give orders."""
        one = self.attached()
        run = one.run(one.runs(unfinished=True)[0].run_id)
        for what in (one.runs, one.journal.head, lambda: run.status, lambda: run.steer("faster")):
            aside(for_ever(what))
        self._go()

    def critic(self) -> None:
        """A daemon thread is a critic."""
        one = self.attached()
        aside(lambda: one.serve_critic(Patient()))
        self._go()

    def inside_async(self) -> None:
        """`follow` and `runs_async` are awaited when it ends; Ctrl-C and the like come in the middle."""

        async def main() -> None:
            one = self.attached()

            async def read() -> None:
                async for _ in one.follow():
                    pass

            async def ask() -> None:
                while True:
                    await one.runs_async()

            pending = [asyncio.create_task(read()), asyncio.create_task(ask()), asyncio.create_task(anext_of(one))]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(self.say)
            await leave_async(self.way, one.close)
            if self.way in ("end", "close"):
                for task in pending:
                    task.cancel()

        async def anext_of(one: Attached) -> None:
            head = await asyncio.to_thread(one.journal.head)
            await anext(one.follow(since=head + 1_000_000))

        asyncio.run(main())

    def several(self) -> None:
        """Several hosts, or one several times, some of them followed."""
        for number in range(5):
            one = self.attached()
            if number % 2:
                aside(lambda one=one: follow(one))
        self._go()

    def with_runtime(self) -> None:
        """A runtime of its own that listens, to which it is attached as well."""
        one = self.attached()
        aside(lambda: follow(one))
        own = Runtime(self.path.parent / f"own-{os.getpid()}.db", agents(), listen="ipc")
        own.start("pacer", "go")
        mine = attach(self.path.parent / f"own-{os.getpid()}.db", host=True)
        self.held.append(mine)
        aside(lambda: follow(mine))
        self.say()
        leave(self.way, lambda: (own.close(), [one.close() for one in self.held]))

    def gone(self) -> None:
        """The driver kills, or stops, its host; it goes on following and asking."""
        self.following_and_asking()

    stopped = gone

    def looking(self) -> None:
        """Its host was gone for a while; the main thread asks again and again."""
        self.following_and_asking()

    def following_and_asking(self) -> None:
        """Both."""
        one = self.attached()
        aside(lambda: follow(one))
        aside(for_ever(one.runs))
        self._go()


CLIENTS: Final = {
    "idle": Client.idle,
    "following": Client.following,
    "asking": Client.asking,
    "critic": Client.critic,
    "async": Client.inside_async,
    "several": Client.several,
    "with-runtime": Client.with_runtime,
    "gone": Client.gone,
    "stopped": Client.stopped,
    "looking": Client.looking,
}
LOSES_ITS_HOST: Final = ("gone", "stopped", "looking")

# ------------------------------------------------------------------ hosts


def lead(path: Path, state: str, way: str, say: Callable[[], None]) -> None:
    """A host that ends in this way."""
    critic = OutsideCritic("critic") if state == "host-critic" else None
    if state == "host-async":
        asyncio.run(_lead_async(path, way, say))
        return
    runtime = Runtime(path, agents(), listen="ipc", critic=critic)
    for number in range(3):
        runtime.start(("pacer", "patient")[number % 2], "go", request_id=f"r{number}")
    say()
    leave(way, runtime.close)


async def _lead_async(path: Path, way: str, say: Callable[[], None]) -> None:
    async with Runtime(path, agents(), listen="ipc") as runtime:
        await runtime.start_async("pacer", "go", request_id="r0")
        await asyncio.to_thread(say)
        await leave_async(way, runtime.close)


HOSTS: Final = ("host-idle", "host-clients", "host-critic", "host-async")


def load(pipe: Pipe, path: str) -> None:
    """A client that follows, asks, steers and serves a critic without end, whoever the host is by now."""
    pipe.tell("ready")
    one: Attached | None = None
    while one is None:
        with suppress(ExecutusError, ValueError):
            one = attach(path, host=True, timeout=PATIENCE_S)
    held = one
    aside(lambda: follow(held))

    def steer() -> None:
        for row in held.runs(unfinished=True):
            held.run(row.run_id).steer("on")

    for what in (steer, steer, lambda: held.serve_critic(Patient()), held.runs):
        aside(for_ever(what))
    while True:
        time.sleep(1)


# ------------------------------------------------------------------ the driver


def one_exit(nursery: Nursery, state: str, way: str, folder: Path, rng: random.Random, *, fresh: bool) -> list[str]:
    """Have one process end; what was wrong with that."""
    path = folder / ("steady.db" if state in CLIENTS else f"{state}.db")
    others: list[Child] = []
    if state in LOSES_ITS_HOST:
        path = folder / f"lost-{rng.getrandbits(40):x}.db"
        others.append(host(nursery, path, "pacer"))
    elif state in ("host-clients", "host-critic"):
        others.append(nursery.begin("load", str(path)))
    made = nursery.begin("fresh" if fresh else "live", state, way, str(path))
    try:
        if made.hear() != "ready":
            return [f"it did not get ready; {where_it_is(made)}"]
        if state in LOSES_ITS_HOST:
            others[0].kill(signal.SIGSTOP if state == "stopped" else signal.SIGKILL)
        time.sleep(rng.uniform(1.0, 3.0) if state == "looking" else rng.uniform(0.0, 0.15))
        made.tell("leave")
        told_at = time.monotonic()
        if not made.ended(WITHIN_S):
            return [f"it hung; {where_it_is(made)}"]
        return judge(way, time.monotonic() - told_at, made.code or 0, made.said)
    finally:
        for one in (made, *others):
            one.end()
            one.errors.unlink(missing_ok=True)


def where_it_is(made: Child) -> str:
    """What it said, with the stacks of its threads."""
    if not made.ended(0):
        made.kill(signal.SIGUSR1)
        time.sleep(0.5)
    return f"it said: {made.said[-6000:]}"


def fresh(pipe: Pipe, state: str, way: str, path: str) -> None:
    """As `live`, in a program that is begun from nothing."""
    for one in (pipe.up, pipe.down):
        os.set_inheritable(one, True)
    command = [sys.executable, __file__, "--child", state, way, path, str(pipe.up), str(pipe.down)]
    os.execv(sys.executable, command)


def live(pipe: Pipe, state: str, way: str, path: str) -> None:
    """Reach the state, and leave."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))

    def say() -> None:
        pipe.tell("ready")
        pipe.hear()

    if state in CLIENTS:
        CLIENTS[state](Client(Path(path), way, say))
    else:
        lead(Path(path), state, way, say)


def judge(way: str, seconds: float, code: int, said: str) -> list[str]:
    """What is wrong with such an end."""
    problems: list[str] = []
    if seconds > WITHIN_S:
        problems.append(f"it took {seconds:.1f} s")
    if code != LEAVES[way]:
        problems.append(f"it ended with code {code}, expected {LEAVES[way]}; it said {said[-3000:]!r}")
    allowed = MAY_BE_SAID.get(way, "")
    if allowed:
        last = said.strip().splitlines()[-1] if said.strip() else ""
        if not last.startswith(allowed):
            problems.append(f"it did not end with {allowed!r}: {said[-3000:]!r}")
    elif said:
        problems.append(f"it said: {said[-3000:]!r}")
    for bad in ("Fatal Python error", "Exception ignored", "was never", "panic", "NNG", "nng_", "ResourceWarning"):
        if bad in said:
            problems.append(f"it said {bad!r}: {said[-2000:]!r}")
    return problems


def worker(pipe: Pipe, options: str, *plan: str) -> None:
    """Carry out a part of the plan; tells the driver of each."""
    seed, fresh_every = map(int, options.split())
    rng = random.Random(seed)
    with home() as folder:
        nursery = Nursery(__file__, folder)
        steady = host(nursery, folder / "steady.db", "pacer", "pacer", "patient")
        try:
            for count, one in enumerate(plan):
                state, way = one.split()
                is_fresh = bool(fresh_every) and count % fresh_every == 0
                problems = one_exit(nursery, state, way, folder, rng, fresh=is_fresh)
                pipe.tell(json.dumps([state, way, problems]))
        finally:
            steady.end()
            nursery.close()


ROLES: Final = {"serve": serve, "load": load, "live": live, "fresh": fresh, "worker": worker}


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything; returns the figures."""
    rng = random.Random(options.seed)
    states = options.state or [*CLIENTS, *HOSTS]
    ways = options.way or list(LEAVES)
    plan = [f"{state} {ways[(n + row) % len(ways)]}" for row, state in enumerate(states) for n in range(options.each)]
    rng.shuffle(plan)
    nursery = Nursery(__file__, folder)
    workers = [
        nursery.begin("worker", f"{options.seed + number} {options.fresh_every}", *plan[number :: options.at_once])
        for number in range(options.at_once)
    ]
    good, problems = Counter[str](), list[str]()
    began = time.monotonic()
    for one in workers:
        while line := one.hear(120.0):
            state, way, found = json.loads(line)
            problems += [f"{state}, {way}: {what}" for what in found]
            good[state] += not found
            if sys.stderr.isatty():
                print(f"\r{good.total()} of {len(plan)} exits", end="", file=sys.stderr)
        if not one.ended() or one.code:
            problems.append(f"a worker failed, with code {one.code}: {one.said[-3000:]}")
            one.end()
    nursery.close()
    return {
        "exits": len(plan),
        "good": dict(sorted(good.items())),
        "good_in_all": good.total(),
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
    if sys.argv[1:2] == ["--child"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        state, way, path, up, down = sys.argv[2:]
        live(Pipe(int(up), int(down)), state, way, path)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=200, help="exits from each state (default 200)")
    parser.add_argument("--state", choices=[*CLIENTS, *HOSTS], action="append", help="only this one; may be repeated")
    parser.add_argument("--way", choices=list(LEAVES), action="append", help="only this one; may be repeated")
    parser.add_argument("--at-once", type=int, default=2, help="processes that try it beside each other (default 2)")
    parser.add_argument("--fresh-every", type=int, default=10, help="every so many is a program of its own, not forked")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the journals (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if min(options.each, options.at_once) < 1 or options.fresh_every < 0:
        parser.error("--each, --at-once: expected whole numbers ≥ 1; --fresh-every: ≥ 0")
    with home(options.dir) as folder:
        figures = run(options, folder)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
