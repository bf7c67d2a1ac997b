"""How long a kill of one process takes while another floods the host: with garbage, wrong tokens, questions, or
questions whose answers it never takes. Each flood comes from a process of its own, over eight connections, as fast as
it can.

Prints for each flood how many frames a second were sent, and the median and slowest of the kills.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS)]

from wire_frames import RawAsker, encode, frame, short_room, valid  # noqa: E402

from executus import Agent, Runtime, ScriptedModel, tool  # noqa: E402
from executus.adapters.models.scripted import call  # noqa: E402
from executus.wire import places  # noqa: E402
from executus.wire.attached import attach  # noqa: E402
from executus.wire.requests import ReadAll  # noqa: E402

FLOODS = ("none", "garbage", "wrong tokens", "questions", "never reads")
CONNECTIONS = 8


def flood(kind: str, control: str, boot: str, token: str) -> None:
    """Send until nobody wants to know any more; each connection says in the end how much it sent."""
    sent = [0] * CONNECTIONS

    def made() -> bytes:
        if kind == "garbage":
            return os.urandom(300)
        bad = kind == "wrong tokens"
        given = "operator." + "x" * 43 if bad else token
        return frame(encode(valid(ReadAll)), token=given, boot=boot, now_us=time.time_ns() // 1000)

    def one(number: int) -> None:
        while True:
            try:
                with RawAsker(control) as asker:
                    while True:
                        if kind == "never reads":
                            asker.send(made())
                        else:
                            asker.ask(made())
                        sent[number] += 1
            except (OSError, AssertionError):
                time.sleep(0.01)

    for number in range(CONNECTIONS):
        threading.Thread(target=one, args=(number,), daemon=True).start()
    sys.stdin.read()
    print(sum(sent), flush=True)
    os._exit(0)


@tool(approval=True)
def pay() -> str:
    """Pay."""
    return "paid"


def measured(kind: str, kills: int) -> dict[str, Any]:
    """The figures of one flood."""

    def answer(request: Any) -> Any:
        return [call("pay")] if request.step == 1 else "over"

    with short_room(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        agent = Agent("waiting", model=ScriptedModel(answer), tools=[pay])
        with Runtime(path, [agent], listen="ipc") as runtime, attach(path, host=True) as host:
            runs = [runtime.start("waiting", "x" * 2000, caller="a").id for _ in range(kills)]
            room = places.room_of(path)
            card = places.card_in(room)
            assert card is not None
            flooder = None
            if kind != "none":
                command = [sys.executable, __file__, "--flooder", kind, card.control, card.boot, places.token_in(room)]
                flooder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                time.sleep(2.0)
            begun, took = time.monotonic(), []
            for run in runs:
                at = time.monotonic()
                host.run(run).kill("enough")
                took.append((time.monotonic() - at) * 1e3)
                time.sleep(0.05)
            seconds = time.monotonic() - begun + 2.0
            sent = 0
            if flooder is not None:
                sent = int(flooder.communicate("")[0] or 0)
            return {
                "flood": kind,
                "frames_s": round(sent / seconds),
                "kill_ms_median": round(statistics.median(took), 1),
                "kill_ms_slowest": round(max(took), 1),
                "orders_kept": len(host.orders()),
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--flooder", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flooder:
        flood(*options.flooder)
        return 0
    for kind in FLOODS:
        found = measured(kind, options.kills)
        print(json.dumps(found) if options.json else "  ".join(f"{name}: {value}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
