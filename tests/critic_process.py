"""A critic in a process of its own: `python critic_process.py JOURNAL KIND NAME [FILE]`. Says "serving", and
"asked STEP" for each review."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executus import Continue, Extend, Judged, Kill, Raise, Steer, Usage, attach
from executus.projections.trace import Trace


def hold(file: str) -> None:
    """Wait for `file`."""
    while not Path(file).exists():
        time.sleep(0.01)


def boom() -> Any:
    raise ValueError("boom \ud800")


def held(answer: Any, file: str) -> Any:
    hold(file)
    return answer


KINDS: dict[str, Callable[[str], Any]] = {
    "silent": lambda file: Continue(),
    "observe": lambda file: Continue("I see.", {"seen": [1, 2.5, None]}),
    "steer": lambda file: Steer("Be brief.", {"rule": "brevity"}),
    "extend": lambda file: Extend(30, "it is at work"),
    "raise": lambda file: Raise(5, "it is near"),
    "kill": lambda file: Kill("enough", {"rule": "cost"}),
    "judged": lambda file: Judged(Continue("fine"), Usage(input=7, output=3, cost_usd=0.25), "small"),
    "boom": lambda file: boom(),
    "nonsense": lambda file: "go on",
    "huge": lambda file: Continue("x" * 60_000),
    "hold": lambda file: held(Steer("Be brief."), file),
    "hang": lambda file: time.sleep(3600),
}


class Told:
    """A plain critic that says when it is asked."""

    def __init__(self, kind: str, file: str) -> None:
        self._kind, self._file = kind, file

    def review(self, trace: Trace, now: float) -> Any:
        """See `Critic`."""
        assert trace.info.run_id
        assert now >= 0
        print("asked", trace.state.step, flush=True)
        return KINDS[self._kind](self._file)


class AsyncTold(Told):
    """The same, async; on one loop for as long as it serves."""

    loop: asyncio.AbstractEventLoop | None = None

    async def review(self, trace: Trace, now: float) -> Any:
        """See `Critic`."""
        assert self.loop in (None, asyncio.get_running_loop())
        self.loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        return super().review(trace, now)


async def serve_async(path: str, critic: Any, name: str) -> None:
    """Serve on this loop until a line comes in."""
    async with attach(path, host=True, timeout=20) as host:
        print("serving", flush=True)
        serving = asyncio.create_task(host.serve_critic_async(critic, name=name))
        await asyncio.to_thread(sys.stdin.readline)
        serving.cancel()
        await asyncio.wait([serving])
        print("cancelled", serving.cancelled(), flush=True)


def main(path: str, kind: str, name: str, file: str = "") -> None:
    """Serve until a line comes in, or there is nobody to send one."""
    kind, _, way = kind.partition("-")
    if way == "on-loop":
        asyncio.run(serve_async(path, AsyncTold(kind, file), name))
        return
    until = threading.Event()

    def stop() -> None:
        sys.stdin.readline()
        until.set()

    with attach(path, host=True, timeout=20) as host:
        print("serving", flush=True)
        threading.Thread(target=stop, daemon=True).start()
        host.serve_critic((AsyncTold if way == "async" else Told)(kind, file), name=name, until=until)
    print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
