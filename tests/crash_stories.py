"""Hosts that die at one point of a run: `python crash_stories.py FOLDER STORY POINT`, and how their successors go on.

A point is `before TAG` or `after TAG` (the commit that holds the first fact with that tag), the same with ` of child`,
`before keeping` and `after keeping` (what precedes attempts to take runs up), or `in WHERE`, said by what runs there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from executus import (
    Agent,
    Allowance,
    Delegate,
    DidNotHappen,
    Extend,
    Happened,
    Kill,
    Phase,
    Runtime,
    ScriptedModel,
    Steer,
    ToolContext,
    tool,
)
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.models.scripted import call
from executus.adapters.tools.files import save_artifact
from executus.errors import ExecutusError
from executus.events import RunStarted
from executus.ports import ApprovalTerms

DEATH = 9
REQUEST = "the request"


class Place:
    """A folder in which hosts leave notes: what ran, and what was acknowledged. point: where this host dies."""

    def __init__(self, folder: Path, point: str = "") -> None:
        self.folder, self.point = folder, point
        self.book = folder / "book"

    def note(self, *words: object) -> None:
        """One line, at once."""
        line = os.open(self.folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(line, (" ".join(map(str, words)) + "\n").encode())
        os.close(line)

    def here(self, where: str) -> None:
        """Die if this is the point."""
        if self.point == f"in {where}":
            os._exit(DEATH)

    def notes(self, kind: str) -> list[list[str]]:
        """The words of every note of that kind."""
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == kind]


# ------------------------------------------------------------------ what the hosts are made of


class Model(ScriptedModel):
    """Notes each call."""

    def __init__(self, place: Place, name: str, script: Any) -> None:
        super().__init__(script, name=name)
        self._place = place

    async def reply(self, request: Any) -> Any:
        """See `Model`."""
        self._place.note("model", self.name, request.step, request.attempt)
        self._place.here(f"model {request.step}")
        answer = await super().reply(request)
        self._place.here(f"model {request.step}, done")
        return answer


def acting(place: Place, effect: Any) -> Any:
    """A tool of that class that writes one line in a book."""

    def look_up(context: ToolContext) -> Happened | DidNotHappen:
        place.note("asked", context.key)
        place.here("reconcile")
        found = place.book.exists() and context.key in place.book.read_text()
        return Happened("found in the book") if found else DidNotHappen()

    @tool(effect=effect, reconcile=look_up if effect == "reconcilable" else None)
    async def act(context: ToolContext) -> str:
        place.here("tool")
        with place.book.open("a") as book:
            book.write(f"{context.key}\n")
        place.note("act", context.key)
        place.here("tool, done")
        return "acted"

    return act


class Steerer:
    """A critic that gives one verdict after the first step."""

    name = "critic"
    every_steps = 1

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict

    def review(self, trace: Any, now: float) -> Any:
        """See `Critic`."""
        kinds = {act.kind for act in trace.acts}
        return self.verdict if trace.state.step == 1 and not kinds else None


def agents(place: Place, story: str) -> tuple[list[Agent], dict[str, Any]]:
    """The agents of a story, the first being the one that is started, and what else its runtime is given."""
    done = "done"
    more: dict[str, Any] = {}

    def agent(name: str, script: Any, **rest: Any) -> Agent:
        return Agent(name, model=Model(place, name, script), **rest)

    match story:
        case "pure" | "idempotent" | "never_retry" | "reconcilable":
            return [agent("a", [[call("act")], done], tools=[acting(place, story)])], more
        case "child":
            child = agent("child", [[call("act")], "child done"], tools=[acting(place, "idempotent")])
            parent = agent("a", [[call("agent__child", prompt="go")], done], agents=[Delegate("child")])
            return [parent, child], more
        case "approval":
            asks = acting(place, "idempotent")

            @tool(effect="idempotent", approval=ApprovalTerms(question="Shall I?"))
            async def act(context: ToolContext) -> str:
                answer: Any = asks.call("{}", context)
                return str(await answer)

            return [agent("a", [[call("act")], done], tools=[act])], more
        case "phases":
            phases = [Phase("plan"), Phase("write")]
            return [agent("a", ["planned", done], phases=phases)], more
        case "steered" | "extended" | "killed":
            verdict = {"steered": Steer("be brief"), "extended": Extend(60, "slow"), "killed": Kill("loops")}[story]
            act = acting(place, "idempotent")
            script = [[call("act")], [call("act")], done]
            return [agent("a", script, tools=[act], critic=Steerer(verdict), soft_timeout_s=100, timeout_s=600)], more
        case "budget":
            more["budget"] = [Allowance(window="total", tokens=1_000)]
            return [agent("a", [[call("act")], done], tools=[acting(place, "idempotent")], max_call_tokens=100)], more
        case "spent":
            more["budget"] = [Allowance(window="total", tokens=101)]
            script = [[call("act")], [call("act")], done]
            return [agent("a", script, tools=[acting(place, "idempotent")], max_call_tokens=100)], more
        case "talk" | "asleep":
            more["sleep_after_s"] = 0.01 if story == "asleep" else 60.0
            return [agent("a", ["Hello.", done])], more
        case "delivery":

            def take(parcel: Any, artifacts: Any) -> str:
                place.here("delivery")
                place.note("delivered", parcel.key, parcel.attempt)
                place.here("delivery, done")
                return "taken"

            more["delivery"] = CallbackDelivery(take)
            return [agent("a", [done])], more
        case "artifact":
            script = [[call("save_artifact", name="r.txt", text="hello")], done]
            return [agent("a", script, tools=[save_artifact])], more
        case _:
            raise ValueError(story)


def opened(place: Place, story: str) -> Runtime:
    """A runtime on the folder's journal."""
    made, more = agents(place, story)
    return Runtime(place.folder / "runs.db", made, **more)


def begin(place: Place, story: str, runtime: Runtime) -> Any:
    """Start the story's run, or find it again by its request."""
    return runtime.start("a", "go", request_id=REQUEST, interactive=story in ("talk", "asleep"))


def wait_for(run: Any, *tags: str) -> str:
    """Wait until one of these facts is durable, and say which."""
    for event in run.events():
        if event.tag in tags:
            return str(event.tag)
    raise AssertionError(f"{tags} never came")


def bring_to_an_end(place: Place, story: str, run: Any) -> Any:
    """What people do in this story, as far as it has not been done; returns the result."""
    if story == "approval":
        wait_for(run, "approval-requested", "run-finished")
        while run.approvals():
            run.approve(by="ada")
            place.note("ack", "approval")
    elif story in ("talk", "asleep"):
        wait_for(run, "input-awaited")
        heard = any(event.tag == "input-received" for event in run._runtime.journal.read(run.id))
        if not heard:  # whoever was not answered looks
            run.send("go on", by="ada")
            place.note("ack", "input")
        place.here("waiting")
        until_waiting(run)
        run.note("done with it", {"by": "ada"})
        run.end(by="ada")
    return run.result(timeout=20)


def until_waiting(run: Any) -> None:
    """The person's words are answered."""
    seen = 0
    for event in run.events():
        seen += event.tag == "step-completed"
        if event.tag == "input-awaited" and seen > 1:
            return


# ------------------------------------------------------------------ dying


def plant(place: Place) -> None:
    """Make this process end at its point."""
    from executus.journal import sqlite, writer

    when, _, what = place.point.partition(" ")
    if when not in ("before", "after"):
        return
    tag, _, whose = what.partition(" of ")
    store, keep = writer.store, sqlite.keep_recoveries
    children: set[str] = set()

    def is_mine(event: Any) -> bool:
        if isinstance(event.fact, RunStarted) and event.fact.info.parent_run_id:
            children.add(event.run_id)
        return event.tag == tag and (not whose or event.run_id in children)

    def dying_store(connection: Any, tenure: Any, batch: Any, *more: Any) -> Any:
        mine = [stored for append in batch for stored in append.stored if is_mine(stored.event)]
        if mine and when == "before":
            os._exit(DEATH)
        outcomes = store(connection, tenure, batch, *more)
        if mine:
            os._exit(DEATH)
        return outcomes

    def dying_keep(put: Any, kept: Any, dropped: Any, done: Any, sealed: Any) -> None:
        if not any(one.standing == "trying" for one in kept):
            keep(put, kept, dropped, done, sealed)
        elif when == "before":
            os._exit(DEATH)
        else:
            keep(put, kept, dropped, lambda error: os._exit(DEATH), sealed)

    if tag == "keeping":
        sqlite.keep_recoveries = dying_keep
    else:
        writer.store = dying_store


def host(folder: Path, story: str, point: str) -> None:
    """One boot that dies at `point`, or, if it never comes there, ends with 0."""
    place = Place(folder, point)
    plant(place)
    runtime = opened(place, story)
    place.here("boot")
    try:
        run = begin(place, story, runtime)
        place.note("ack-start", run.id)
        place.here("start, done")
        bring_to_an_end(place, story, run)
        if story == "delivery":
            wait_for(run, "run-finished")
            for event in runtime.events():
                if event.tag == "delivered":
                    break
    except ExecutusError as error:
        place.note("error", type(error).__name__)
    if point == "in close":
        runtime._calls.stop_taking = lambda: os._exit(DEATH)  # type: ignore[method-assign]
    runtime.close()
    os._exit(0)


if __name__ == "__main__":
    host(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
