"""A host for the fork of the tutorial: begins it, and prints what it said.

python examples/tutorial_host.py .executus/runs.db RUN            a stand-in for the model, offline
python examples/tutorial_host.py .executus/runs.db RUN MODEL      a real one, such as openai:gpt-5-mini
"""

from __future__ import annotations

import sys

from executus import Agent, ModelRequest, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import Answer, call
from executus.events import ToolResult


@tool(effect="never_retry")
def transfer_to_human_agents(summary: str) -> str:
    """Hand the customer over to a person, with a summary of what is wanted."""
    return "Transfer successful"


def careful(request: ModelRequest) -> Answer:
    """What we hope that a model does: it hands over when it reads that a part of the trip was flown."""
    [last] = request.messages[-1].parts[-1:]
    if isinstance(last, ToolResult) and "flown" in last.text:
        return [call("transfer_to_human_agents", summary="Wants ATL-LAS on May 21; XEWRD9 is partly flown.")]
    return "The first flights of your trip have been flown, so I have handed you over to a colleague."


def go_on(path: str, run_id: str, model: str | None = None) -> str:
    """Begin a fork that waits, let it answer the customer once, and end it; what it said."""
    agent = Agent("recorded", model=model or ScriptedModel(careful), tools=[transfer_to_human_agents])
    with Runtime(path, [agent]) as rt:
        run = rt.run(run_id)
        run.begin()
        for event in run.events():
            if event.tag == "input-awaited" and event.version > 1:
                run.end()
        return run.result().output


if __name__ == "__main__":
    print(go_on(*sys.argv[1:]))
