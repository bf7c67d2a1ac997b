"""A host whose runs wait for one thing each. As a program, `python live_host.py JOURNAL WISH…`: it starts a run for
each wish, says that it is ready, and lives until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from executus import Agent, ApprovalTerms, Delegate, ModelUnavailable, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call, say

DEADLINE_S = 30.0
"""After this a test has failed; nothing here takes as long."""


@tool(effect="pure")
async def hold(what: str) -> str:
    """Hold something for a long time."""
    await asyncio.sleep(86_400)
    return f"held {what}"


@tool(effect="idempotent", approval=ApprovalTerms(expires_s=3600, question="May it?"))
async def publish(text: str) -> str:
    """Publish something, if somebody says yes."""
    return f"published {text}"


CALLS: dict[str, Any] = {
    "hold": call("hold", what="the line"),
    "publish": call("publish", text="the menu"),
    "delegate": call("agent__child", prompt="publish"),
}


def answer(request: Any) -> Any:
    """The first word of what it was told first is what it calls; whatever else it was told, it says."""
    told = [part.text for message in request.messages for part in message.parts if hasattr(part, "text")]
    if told[0] == "fail":
        raise ModelUnavailable("the provider is away", retry_after_s=3000)
    if request.step == 1 and told[0] in CALLS:
        return say("I do it.", CALLS[told[0]])
    return f"done, told {told[-1]}"


def agents() -> list[Agent]:
    """`desk`, and `child` that it hands things to."""
    child = Agent("child", model=ScriptedModel(answer), tools=[publish], description="Does it.")
    tools = [hold, publish]
    model = ScriptedModel(answer)
    return [Agent("desk", model=model, tools=tools, agents=[Delegate("child")], timeout_s=600, max_steps=10), child]


def waiting(run: Run, tag: str) -> str:
    """The run's id, when it has such a fact."""
    for event in run.events():
        if event.tag == tag:
            return run.id
    raise AssertionError(f"no {tag}")


def main() -> None:
    """Be the host."""
    with Runtime(sys.argv[1], agents(), listen="ipc") as runtime:
        for wish in sys.argv[2:]:
            runtime.start("desk", wish, caller="alice", name=wish)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
