"""What the tests of families share: agents that hand their work to one another, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime_support import DEADLINE_S, AsyncGate, facts, wait_for

from executus import Agent, Delegate, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.events import ChildFinished, ChildStarted, RunStarted, ToolRefused, ToolResult


@tool(effect="pure")
def look(at: int) -> str:
    """Look."""
    return f"saw {at}"


@tool(effect="pure")
def taste(at: int) -> str:
    """Taste."""
    return f"tasted {at}"


def boss(*calls: Any, agents: Sequence[str | Delegate] = ("helper",), name: str = "boss", **options: Any) -> Agent:
    """Makes these calls in one reply, then says "done"."""
    answers: list[Any] = [["Asking.", *calls], "done"] if calls else ["done"]
    return Agent(name, model=ScriptedModel(answers), agents=agents, **options)


def ask(name: str = "helper", prompt: str = "do it") -> Any:
    """A call of an agent."""
    return call(f"agent__{name}", prompt=prompt)


def child_of(run: Run, index: int = 0) -> Run:
    """The run's child, as soon as it is there."""
    wait_for(run, "child-started", index + 1)
    child = run.children()[index]
    runtime = run._runtime
    with runtime.events() as events:
        while runtime.journal.run(child.id) is None:
            assert events.take(DEADLINE_S)
    return child


def begun(run: Run) -> RunStarted:
    """The run's first fact."""
    fact = facts(run)[0]
    assert isinstance(fact, RunStarted)
    return fact


def born(run: Run) -> list[ChildStarted]:
    """What the parent's log says of its children's starts."""
    return [fact for fact in facts(run) if isinstance(fact, ChildStarted)]


def ended(run: Run) -> list[ChildFinished]:
    """What the parent's log says of its children's ends."""
    return [fact for fact in facts(run) if isinstance(fact, ChildFinished)]


def refusals(run: Run) -> list[str]:
    """Why calls of the run were refused."""
    return [fact.reason for fact in facts(run) if isinstance(fact, ToolRefused)]


def answers(run: Run) -> list[ToolResult]:
    """What the model was told its calls led to, in their order."""
    parts = [part for message in run.transcript() for part in message.parts]
    return [part for part in parts if isinstance(part, ToolResult)]


class Line:
    """Three levels, each handing its work down; the last holds at a gate."""

    def __init__(self, **options: Any) -> None:
        self.gate = AsyncGate()

        @tool(effect="pure")
        async def hold() -> str:
            await self.gate.pass_through()
            return "held"

        bottom = Agent("bottom", model=ScriptedModel([["Bottom.", call("hold")], "bottom's words"]), tools=[hold])
        middle = boss(ask("bottom"), name="middle", agents=["bottom"])
        top = boss(ask("middle"), name="top", agents=["middle"], **options)
        self.agents = [top, middle, bottom]

    def start(self, runtime: Runtime, **options: Any) -> tuple[Run, Run, Run]:
        """The three runs, the last of them at the gate."""
        top = runtime.start("top", "go", **options)
        self.gate.wait_entered()
        (middle,) = top.children()
        (bottom,) = middle.children()
        return top, middle, bottom
