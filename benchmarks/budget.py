"""What a budget holds under concurrency and kills: 50 runs of one caller that want more than their caller may spend.

The budget is 60 % of what the runs would use. A model that notes every call in a file of its own plays the provider.
Reported: what was spent beyond the budget, by the facts and by the provider's notes; and the drift between the live
ledger and a recount of the log. With kills the host is killed (SIGKILL) at random moments and started again: a call
that was answered just before a kill is on the provider's bill and in no log, which no host can prevent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from executus import Agent, Allowance, BudgetSpent, Reply, Runtime, Text, Usage, tool
from executus.events import StepCompleted, ToolCall
from executus.journal import read_journal
from executus.ports import ModelRequest
from executus.projections.ledger import recount
from executus.wiring import everything

RUNS = 50
STEPS = 10
MOST = 1_000
"""Tokens a call uses at most; it uses 400 to 1,000, by a rule that depends on run and step alone."""
DEMAND = RUNS * (STEPS + 1) * 700
LIMIT = round(0.6 * DEMAND)

DECLARED = {"true maximum": MOST, "estimate": None, "half of the truth": MOST // 2}


def used(run_id: str, step: int) -> int:
    """Tokens of a call: 400 to 1,000."""
    return 400 + random.Random(f"{run_id[-4:]}{step}").randrange(601)


class Provider:
    """Answers after a moment and notes what it bills."""

    name = "provider:bench"

    def __init__(self, bill: Path) -> None:
        self._bill = os.open(bill, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def reply(self, request: ModelRequest) -> Reply:
        """Bill, then answer."""
        await asyncio.sleep(random.random() * 0.02)
        tokens = used(request.run_id, request.step)
        os.write(self._bill, f"{request.run_id} {request.step} {request.attempt} {tokens}\n".encode())
        usage = Usage(input=tokens // 2, output=tokens - tokens // 2)
        if request.step > STEPS:
            return Reply((Text("done"),), usage)
        return Reply((ToolCall(f"c{request.step}", "look", "{}"),), usage, "tool_calls")


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


def host(folder: Path, declared: int | None) -> dict[str, Any]:
    """One life of the host: start what is missing, wait for all, and compare the ledger with a recount."""
    agent = Agent(
        "spender", model=Provider(folder / "bill"), tools=[look], max_call_tokens=declared, max_steps=STEPS + 2
    )
    with Runtime(folder / "runs.db", [agent], budget=[Allowance(window="total", tokens=LIMIT)]) as runtime:

        async def all_of_them() -> list[str]:
            async def one(number: int) -> str:
                try:
                    run = await runtime.start_async("spender", "go", caller="alice", request_id=f"r{number}")
                except BudgetSpent:
                    return "refused"
                return (await run).status

            return await asyncio.gather(*(one(number) for number in range(RUNS)))

        statuses = asyncio.run(all_of_them())
        again = recount(everything(runtime.journal)).account("alice").standing()
        live = runtime.spending("alice")
        until = time.monotonic() + 5.0
        while live != again and time.monotonic() < until:  # the newest events are told to the ledger after the runs
            time.sleep(0.01)
            live = runtime.spending("alice")
    drift = abs(live["total"].tokens - again["total"].tokens) + len(live["reserved"])
    return {
        "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
        "drift": drift if live != again or drift else 0,
        "equal": live == again,
    }


def boot(folder: Path, declared: int | None, life_s: float | None) -> dict[str, Any] | None:
    """A host in a process of its own; killed after `life_s`."""
    order = [sys.executable, __file__, "--host", str(folder), "--declared", str(declared or 0)]
    process = subprocess.Popen(order, stdout=subprocess.PIPE, text=True)
    try:
        said, _ = process.communicate(timeout=life_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode != 0:
        raise RuntimeError(f"the host failed with {process.returncode}")
    return json.loads(said)  # type: ignore[no-any-return]


def measure(name: str, kills: int) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        done = 0
        for _ in range(kills):
            if boot(folder, DECLARED[name], 0.35 + random.random() * 0.5) is None:
                done += 1
        outcome = boot(folder, DECLARED[name], None)
        assert outcome is not None
        journal = read_journal(folder / "runs.db")
        facts = [event.fact for event in everything(journal)]  # type: ignore[arg-type]
        spent = sum(fact.usage.input + fact.usage.output for fact in facts if isinstance(fact, StepCompleted))
        bill = sum(int(line.split()[3]) for line in (folder / "bill").read_text().splitlines())
    return {
        "declared": name,
        "kills": done,
        "limit": LIMIT,
        "spent": spent,
        "over": max(0, spent - LIMIT),
        "billed": bill,
        "billed over": max(0, bill - LIMIT),
        "drift": outcome["drift"] if outcome["equal"] else f"{outcome['drift']}, unequal",
        "ends": outcome["statuses"],
    }


def main() -> int:
    """Print the table, or with --json the rows."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=10, help="kills in each row that has them")
    options.add_argument("--json", action="store_true")
    options.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--declared", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.host is not None:
        print(json.dumps(host(given.host, given.declared or None)))
        return 0
    began = time.monotonic()
    rows = [measure(name, kills) for name in DECLARED for kills in (0, given.kills)]
    if given.json:
        print(json.dumps(rows))
        return 0
    table = Table(title=f"{RUNS} runs of one caller, budget {LIMIT:,} of {DEMAND:,} tokens, at most {MOST:,} a call")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{cell:,}" if type(cell) is int else str(cell) for cell in row.values()))
    Console(width=140).print(table)
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
