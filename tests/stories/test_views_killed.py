"""A host is killed while its stored views lag behind; what the next one has is what a rebuild gives."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from view_support import SaidView, built, rows_of

from executus import Agent, Allowance, Runtime
from executus.adapters.models.scripted import ScriptedModel
from executus.errors import JournalError
from executus.journal import read_journal
from executus.journal.views.building import check
from executus.journal.views.builtin import builtin_views
from executus.journal.views.definition import defined
from executus.journal.views.feed import Pages
from executus.journal.views.file import views_path
from executus.projections.ledger import recount
from executus.wiring import everything

HOST = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[2])
from executus import Agent, Allowance, Reply, Runtime, Text, Usage, tool
from executus.events import ToolCall
from view_support import SaidView

class Slow(SaidView):
    def apply(self, event, rows):
        time.sleep(0.0005)
        super().apply(event, rows)

class Spender:
    name = "provider:spender"
    async def reply(self, request):
        await asyncio.sleep(0.001)
        usage = Usage(input=60, output=40, cost_usd=0.25)
        if request.step > 4:
            return Reply((Text("done"),), usage)
        return Reply((Text("looking"), ToolCall(f"c{request.step}", "look", "{}")), usage, "tool_calls")

@tool(effect="pure")
async def look() -> str:
    "Look."
    return "seen"

async def main():
    agent = Agent("spender", model=Spender(), tools=[look], max_call_tokens=200)
    with Runtime(sys.argv[1], [agent], budget=[Allowance(window="total", tokens=10**12)], views=[Slow()]) as rt:
        async def caller(name):
            while True:
                run = await rt.start_async("spender", "go", caller=name)
                await run.result_async()
                print("done", flush=True)
        await asyncio.gather(*(caller(f"caller {number % 3}") for number in range(12)))

asyncio.run(main())
"""


def life(path: Path, runs: int) -> None:
    """A host that is killed when so many runs are over."""
    command = [sys.executable, "-c", HOST, str(path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        for _ in range(runs):
            assert host.stdout.readline() == "done\n"
        host.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("seed", range(3))
def test_after_kills_the_views_are_those_of_a_rebuild(seed: int, tmp_path: Path) -> None:
    path, chance = tmp_path / "runs.db", random.Random(seed)
    definitions = [*builtin_views(), defined(SaidView())]
    for _ in range(4):
        life(path, chance.randrange(1, 60))
        for definition in chance.sample(definitions, 2):  # as it lies there, behind or not, its rows fit its position
            journal = read_journal(path)
            try:
                found = check(views_path(str(path)), definition, Pages(journal.scan), lambda position: None)
                assert found.difference == ""
            except JournalError as error:  # killed before it was first built
                if "is not stored" not in str(error) and Path(f"{path}.views").exists():
                    raise
            finally:
                journal.close()
    agent = Agent("spender", model=ScriptedModel(["done"] * 1000))
    budget = [Allowance(window="total", tokens=10**12)]
    with Runtime(path, [agent], resume=False, budget=budget, views=[SaidView()]) as runtime:
        log = list(everything(runtime.journal))
        for caller in ("caller 0", "caller 1", "caller 2"):
            assert runtime.spending(caller) == recount(log).account(caller).standing()
        assert runtime.views is not None
        assert runtime.views.wait(timeout=60)
        for definition in definitions:
            assert rows_of(Path(f"{path}.views"), definition) == built(definition, log)
