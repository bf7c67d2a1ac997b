"""A critic in a process of its own: it advises one run, is killed, and the next run goes on without it.

    python examples/critic_outside.py

The host listens, so that other processes of the same user find it by its journal's path; the critic is one of them.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from executus import Agent, Continue, OutsideCritic, Runtime, ScriptedModel, Steer, attach, tool
from executus.adapters.models.scripted import call
from executus.ports import Verdict
from executus.projections.trace import Trace


class Tutor:
    """Lives in the critic's process, and may be slow, large or broken there."""

    name = "tutor"

    def review(self, trace: Trace, now: float) -> Verdict:
        """Judge by what the run did; `now` is its own clock, in awake seconds."""
        advised = any(act.kind == "critic-steered" for act in trace.acts)
        return Continue() if advised or trace.state.step < 3 else Steer("You have seen enough: come to an end.")


def serve(path: str) -> None:
    """The critic's process: find the host, and be its critic until it is gone."""
    with attach(path, host=True, timeout=30) as host:
        print("critic: serving", flush=True)
        host.serve_critic(Tutor())


@tool(effect="pure")
def look(number: int) -> str:
    """Look out of the window."""
    time.sleep(0.25)
    return f"Nothing new, the {number}th time."


def answer(request: Any) -> Any:
    """Stands in for a model that only stops when it is told to."""
    heard = [part.text for message in request.messages for part in message.parts if hasattr(part, "text")]
    return "All is quiet." if any("come to an end" in text for text in heard) else call("look", number=request.step)


def main(data: Path) -> None:
    """The host's process."""
    path = data / "runs.db"
    clerk = Agent("clerk", model=ScriptedModel(answer), tools=[look], max_steps=20, timeout_s=60)
    tutor = OutsideCritic("tutor", every_steps=1, timeout_s=10, wait_s=1)
    with Runtime(path, [clerk], critic=tutor, listen="ipc") as rt:
        critic = subprocess.Popen([sys.executable, __file__, "serve", str(path)], stdout=subprocess.PIPE, text=True)
        assert critic.stdout is not None
        with critic.stdout:
            print(critic.stdout.readline().strip(), flush=True)
            for number in (1, 2):
                run = rt.start("clerk", "Look out of the window.")
                for event in run.events():
                    if event.tag in ("critic-steered", "critic-lost", "run-finished"):
                        print(f"run {number}: {event.tag} by {getattr(event.fact, 'by', '')}", flush=True)
                result = run.result()
                print(f"run {number}: {result.status} after {result.stats.steps} steps: {result.output}", flush=True)
                critic.kill()
                critic.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
