"""The agents of a host made to be killed: tools of every class, in every mode, children, approvals, artifacts.

Each tool writes a line for each execution before it acts: effect class, idempotency key, epoch of the host. Which agent
a request goes to depends on its number alone, and what a model says on the step alone, so that a resumed run hears
what it heard before.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from executus import (
    Agent,
    Continue,
    DidNotHappen,
    Happened,
    ModelRequest,
    ScriptedModel,
    Steer,
    ToolContext,
    Usage,
    tool,
)
from executus.adapters.keys.sources import encryption_of
from executus.adapters.models.scripted import call, say
from executus.adapters.signing import Signing
from executus.events import Text
from executus.ports import ArtifactStore, Parcel

STEPS = 6
"""Model calls of a worker that nobody speaks to."""

CLASSES = ("pure", "idempotent", "reconcilable", "never_retry")
CALLERS = ("alice", "bob")
AGENTS = ("worker", "worker", "worker", "crew", "worker", "asker", "worker", "maker")
"""Whom requests 0, 1, 2 … go to; every 32nd goes to one with tools in processes."""

EFFECTS = "EXECUTUS_KILL_EFFECTS"
"""Environment variable that names the file of executions: a tool in a process sees little else of its host."""


class Notes:
    """An append-only file of lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def line(self, *words: object) -> None:
        """Write one line, at once: one write each, so that a SIGKILL leaves whole ones."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


_effects: dict[str, Notes] = {}


def acted(effect: str, context: ToolContext) -> None:
    """Note that a tool is executed."""
    path = os.environ[EFFECTS]
    if path not in _effects:
        _effects[path] = Notes(Path(path))
    with _alone(path) as fences:
        if any(key == context.key and int(epoch) > context.epoch for key, epoch in map(str.split, fences.readlines())):
            raise RuntimeError("a later host has asked what became of this call, and was told that it did not happen")
        _effects[path].line(effect, context.key, context.epoch)


@contextmanager
def _alone(path: str) -> Iterator[TextIO]:
    """The file of fences beside `path`, for one at a time: which calls a host was told had not happened."""
    with Path(path + ".fences").open("a+") as fences:
        fcntl.flock(fences, fcntl.LOCK_EX)
        fences.seek(0)
        yield fences


# ------------------------------------------------------------------ tools


def what_became(context: ToolContext) -> Any:
    """Whether a call was executed, by the file of executions. Its host may only stand still: what did not happen must
    not happen any more, except by a host of this epoch or a later one.
    """
    with _alone(os.environ[EFFECTS]) as fences:
        noted = Path(os.environ[EFFECTS]).read_text().splitlines()
        if any(line.split()[1] == context.key for line in noted):
            return Happened("it happened")
        fences.write(f"{context.key} {context.epoch}\n")
    return DidNotHappen()


def _asked(effect: str) -> dict[str, Any]:
    """How a tool of this class is asked what became of a call."""
    return {"reconcile": what_became} if effect == "reconcilable" else {}


def _async_tool(effect: Any) -> Any:
    @tool(effect=effect, name=f"{effect}_async", **_asked(effect))
    async def act(number: int, context: ToolContext) -> str:
        """Act on the loop."""
        acted(effect, context)
        await asyncio.sleep(random.random() * 0.01)
        return "x" * 200

    return act


def _thread_tool(effect: Any) -> Any:
    @tool(effect=effect, name=f"{effect}_thread", **_asked(effect))
    def act(number: int, context: ToolContext) -> str:
        """Act on a thread."""
        acted(effect, context)
        time.sleep(random.random() * 0.01)
        return "y" * 200

    return act


@tool(effect="never_retry", mode="process")
def never_retry_process(number: int, context: ToolContext) -> str:
    """Act in a process."""
    acted("never_retry", context)
    time.sleep(random.random() * 0.05)
    return "z" * 200


@tool(effect="idempotent", mode="process")
def idempotent_process(number: int, context: ToolContext) -> str:
    """Act in a process, again if need be."""
    acted("idempotent", context)
    return "z" * 200


@tool(effect="never_retry", approval="Shall it?")
async def asked_for(number: int, context: ToolContext) -> str:
    """Act once somebody said yes."""
    acted("never_retry", context)
    await asyncio.sleep(random.random() * 0.01)
    return "done as you said"


@tool(effect="idempotent")
def make(number: int, context: ToolContext) -> str:
    """Keep two artifacts, one small and one of several pages."""
    acted("idempotent", context)
    assert context.desk is not None
    seed = hashlib.sha256(context.key.encode()).digest()
    return " ".join(context.desk.keep(f"{size}.bin", seed * size) for size in (8, 600))


# ------------------------------------------------------------------ models


class Hesitant(ScriptedModel):
    """Takes up to 20 ms to answer."""

    async def reply(self, request: ModelRequest) -> Any:
        """See `Model`."""
        await asyncio.sleep(random.random() * 0.02)
        return await super().reply(request)


def work(request: ModelRequest) -> Any:
    """Tools of every class, then a last word."""
    if request.step % STEPS == 0 or _spoken_to(request):
        return say("That is all.", usage=Usage(100, 20))
    chosen = [CLASSES[(request.step + offset) % 4] for offset in range(1 + request.step % 3)]
    calls = [
        call(f"{effect}_{kind}", number=request.step)
        for effect, kind in zip(chosen, ("async", "thread", "async"), strict=False)
    ]
    return say("Working.", *calls, usage=Usage(100, 20))


def _spoken_to(request: ModelRequest) -> bool:
    last = request.messages[-1]
    return last.role == "user" and isinstance(last.parts[0], Text) and last.parts[0].text.startswith("word-")


class Watcher:
    """A critic that looks often, advises now and then, and sometimes fails."""

    name = "watcher"
    every_s = 0.05
    every_steps = 2

    async def review(self, trace: Any, now: float) -> Any:
        """See `Critic`."""
        await asyncio.sleep(random.random() * 0.01)
        if random.random() < 0.1:
            raise RuntimeError("the critic's own mistake")
        return Steer("Be brief.") if random.random() < 0.2 else Continue()


class Receiver:
    """A delivery that notes every parcel it is handed, and refuses a third of them the first time."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def deliver(self, parcel: Parcel, artifacts: ArtifactStore) -> str:
        """See `Delivery`."""
        for artifact in parcel.artifacts:
            content = await asyncio.to_thread(artifacts.get, artifact.sha256)
            assert len(content) == artifact.size
        self._notes.line(parcel.info.run_id, parcel.key, parcel.attempt, parcel.status)
        await asyncio.sleep(random.random() * 0.01)
        if random.random() < 0.3:
            raise ConnectionError("nobody answers")
        return "taken"


SEALED = "EXECUTUS_KILL_SEALED"
"""Environment variable: if it is set, what is said in runs is sealed, and the log's heads are signed."""


def sealed() -> dict[str, Any]:
    """What a runtime is told to seal and to sign with."""
    if not os.environ.get(SEALED):
        return {}
    return {"encryption": hashlib.sha256(b"seal").digest(), "signing": Signing(hashlib.sha256(b"sign").digest())}


def reader_key() -> Any:
    """The same for a reader."""
    key = sealed().get("encryption")
    return None if key is None else encryption_of(key)


def chosen(request: int) -> str:
    """The agent that the request of this number goes to."""
    return "burner" if request % 32 == 9 else AGENTS[request % len(AGENTS)]


def agents() -> list[Agent]:
    """Everybody."""
    plain = [made(effect) for effect in CLASSES for made in (_async_tool, _thread_tool)]

    def scripted(*replies: Any) -> Hesitant:
        def answer(request: ModelRequest) -> Any:  # advice at the last step makes for one more
            calls = replies[request.step - 1] if request.step <= len(replies) else ()
            return say("Working." if calls else "That is all.", *calls, usage=Usage(100, 20))

        return Hesitant(answer)

    def several(names: Sequence[str]) -> list[Any]:
        return [call(name, number=1) for name in names]

    hand = call("agent__hand", prompt="help")
    return [
        Agent("worker", model=Hesitant(work), tools=plain, max_steps=100),
        Agent("hand", model=scripted(several(["pure_async", "never_retry_async"])), tools=plain),
        Agent(
            "crew", model=scripted([hand, hand, call("pure_thread", number=1)], [hand]), tools=plain, agents=["hand"]
        ),
        Agent(
            "asker",
            model=scripted(several(["asked_for", "idempotent_async"]), several(["asked_for"])),
            tools=[asked_for, *plain],
        ),
        Agent("maker", model=scripted(several(["make"]), several(["never_retry_thread"])), tools=[make, *plain]),
        Agent(
            "burner",
            model=scripted(several(["never_retry_process", "idempotent_process"])),
            tools=[never_retry_process, idempotent_process],
        ),
    ]
