"""A seeded world without threads: scheduler, clock, disk that fails, models and tools that dawdle, hang and lie.

The actors in it are the real ones. Same seed, same world.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from executus.actors.calls import Loaded
from executus.actors.mailbox import Mailbox
from executus.actors.run.messages import (
    AcceptModelFailure,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ToolPlan,
)
from executus.errors import JournalError, JournalUnavailable, RequestRepeated, UnknownRun
from executus.events import GENESIS, Event, NoteLogged, Text, ToolCall, Usage, idempotency_key
from executus.events.codec import Stored, decode_event, encode_event
from executus.journal.rules import Head, advance_head, refusal
from executus.ports import Agent, Append, ModelRequest, Reply, ToolContext
from executus.projections import Checkpoint, OpenCall, fold


class HostCrash(BaseException):
    """The process is gone, in the middle of whatever it was doing."""


# ------------------------------------------------------------------ time and turns


class SimTimer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


@dataclass
class Personality:
    """How unkind this seed is; drawn once, so that seeds differ in kind and not only in detail."""

    runs: int
    commit_fails: float
    crash: float
    longest_wait_s: float
    """How long a message may wait while the clock goes on: in half of the worlds the actors' thread is slow, in the
    others it may be stuck for minutes, so that deadlines pass unseen."""
    closes: float
    rival: float
    load_fails: float
    model_fails: float
    model_hangs: float
    tool_hangs: float
    tool_fails: float
    twice: float
    orders: float
    poison: float

    @classmethod
    def drawn(cls, rng: random.Random) -> Personality:
        def often(limit: float) -> float:
            return rng.random() * limit if rng.random() < 0.5 else 0.0

        return cls(
            runs=rng.randint(1, 4),
            commit_fails=often(0.25),
            crash=often(0.2),
            longest_wait_s=1.0 if rng.random() < 0.5 else float("inf"),
            closes=often(0.2),
            rival=often(0.15),
            load_fails=often(0.3),
            model_fails=often(0.3),
            model_hangs=often(0.1),
            tool_hangs=often(0.15),
            tool_fails=often(0.3),
            twice=often(0.3),
            orders=often(0.9),
            poison=often(0.05),
        )


class SimScheduler:
    """`Scheduler`: one thread, random turns, virtual time. Dies with its host; the clock goes on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready: list[Mailbox] = []
        self.timers: list[tuple[float, int, SimTimer]] = []
        self._numbers = 0

    def schedule(self, mailbox: Mailbox) -> None:
        self.ready.append(mailbox)

    def lend(self) -> None:
        pass

    def awake(self) -> float:
        return self.world.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> SimTimer:
        timer = SimTimer(call)
        self._numbers += 1
        heapq.heappush(self.timers, (self.world.now + max(0.0, seconds), self._numbers, timer))
        return timer

    def step(self) -> bool:
        """Do one thing: a slice of a random mailbox, or the next timer. False if there is nothing to do."""
        rng = self.world.rng
        while self.timers and self.timers[0][2].call is None:
            heapq.heappop(self.timers)
        soon = bool(self.timers) and self.timers[0][0] < self.world.now + self.world.personality.longest_wait_s
        if self.ready and (not soon or rng.random() < 0.9):
            index = rng.randrange(len(self.ready))
            mailbox = self.ready[index]
            self.ready[index] = self.ready[-1]
            self.ready.pop()
            mailbox.run_slice(1 if rng.random() < 0.7 else 4)
            return True
        if self.timers:
            due, _, timer = heapq.heappop(self.timers)
            assert timer.call is not None
            self.world.now = max(self.world.now, due)
            timer.call()
            return True
        return bool(self.ready)


class SimClock:
    def __init__(self, world: World) -> None:
        self.world = world

    def monotonic(self) -> float:
        return self.world.now

    def wall_us(self) -> int:
        return int((1_700_000_000 + self.world.now + self.world.wall_skew) * 1e6)


class SimIds:
    def __init__(self, world: World) -> None:
        self.world = world

    def run_id(self) -> str:
        return f"{self.world.rng.getrandbits(32):08x}-0000-7000-8000-{self.world.rng.getrandbits(48):012x}"

    def jitter(self) -> float:
        return self.world.rng.random()


# ------------------------------------------------------------------ the disk, and a journal on it


@dataclass
class Disk:
    """What survives a crash."""

    rows: list[tuple[str, int, str, bytes]] = field(default_factory=list)
    logs: dict[str, list[int]] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    epoch: int = 0

    def store(self, stored: Stored) -> int:
        event = stored.event
        self.rows.append((event.run_id, event.version, event.tag, stored.state))
        self.logs.setdefault(event.run_id, []).append(len(self.rows) - 1)
        if stored.blob is not None:
            self.blobs[stored.blob[0]] = stored.blob[1]
        return len(self.rows)

    def events(self, run_id: str) -> list[Event]:
        return [
            decode_event(run_id, version, tag, state, position=index + 1, blob=self.blobs.get)
            for index in self.logs.get(run_id, ())
            for _, version, tag, state in (self.rows[index],)
        ]


class SimJournal:
    """The part of `Journal` that actors use, on a disk, with faults. Appends wait for a commit, as in the real one."""

    def __init__(self, world: World, scheduler: SimScheduler) -> None:
        self.world, self.scheduler, self.disk = world, scheduler, world.disk
        self.disk.epoch += 1
        self.epoch = self.disk.epoch
        self.waiting: list[Append] = []

    def append(self, append: Append) -> None:
        if not self.waiting:
            self.scheduler.call_later(self.world.rng.random() * 0.01, self.commit)
        self.waiting.append(append)

    def commit(self) -> None:
        """One transaction for all that wait."""
        world, who = self.world, self.world.personality
        batch, self.waiting = self.waiting, []
        world.maybe_crash(who.crash)
        fails = world.faulty() and world.rng.random() < who.commit_fails
        stores = not fails or world.rng.random() < 0.5
        outcomes: list[tuple[Append, JournalError | None]] = []
        for append in batch:
            outcomes.append((append, self.store(append) if stores else None))
        world.maybe_crash(who.crash)
        for append, error in outcomes:
            if fails:
                error = JournalUnavailable("the commit failed; what was stored is unknown")
            append.done(error)

    def store(self, append: Append) -> JournalError | None:
        disk, rng = self.disk, self.world.rng
        head = disk.heads.setdefault(append.run_id, Head())
        if self.world.faulty() and head.version and not head.over and rng.random() < self.world.personality.rival:
            self.rival(append.run_id, head)
        if append.request_key and append.request_key in disk.requests:
            return RequestRepeated("", disk.requests[append.request_key])
        refused = self.world.bugs.refusal(append, head)
        if refused is not None:
            return refused
        position = 0
        for stored in append.stored:
            position = disk.store(stored)
        if append.request_key:
            disk.requests[append.request_key] = append.run_id
        advance_head(head, append, position)
        return None

    def rival(self, run_id: str, head: Head) -> None:
        """Somebody else appends to the run first."""
        self.world.hurt.add(run_id)
        note = encode_event(
            NoteLogged(type="rival"),
            run_id=run_id,
            version=head.version + 1,
            previous=head.hash,
            at_us=0,
            elapsed_ms=0,
            cause="rival",
            epoch=self.epoch,
        )
        head.position = self.disk.store(note)
        head.version, head.hash = note.event.version, note.event.hash

    def read(self, run_id: str, after: int = 0) -> list[Event]:
        if not self.disk.logs.get(run_id):
            raise UnknownRun(run_id)
        return [event for event in self.disk.events(run_id) if event.version > after]

    def load(self, run_id: str) -> Checkpoint:
        return fold(self.read(run_id))


# ------------------------------------------------------------------ models and tools


TOOLS = {"look": "pure", "put": "idempotent", "pay": "never_retry"}


class SimCalls:
    """`Calls`: answers come late, twice, as errors, or never. Dies with its host; effects it had stay done."""

    def __init__(self, world: World, journal: SimJournal, scheduler: SimScheduler) -> None:
        self.world, self.journal, self.scheduler = world, journal, scheduler
        self.closed = False

    def stop_taking(self) -> None:
        """The host is closing: begin nothing any more."""
        self.closed = True

    def model(self, agent: Agent, request: ModelRequest, reply: Callable[[Any], None]) -> SimTimer:
        world, who = self.world, self.world.personality
        if self.closed:
            return SimTimer(lambda: None)
        world.check_shown(request)
        if world.faulty() and world.rng.random() < who.model_hangs:
            world.hung.add(request.run_id)
            return SimTimer(lambda: None)
        key = {"step": request.step, "attempt": request.attempt}
        if world.faulty() and world.rng.random() < who.model_fails:
            message: Any = AcceptModelFailure(**key, error="overloaded", jitter=world.rng.random())
        else:
            answer = world.script(request)
            plans = tuple(_plan(part) for part in answer.parts if isinstance(part, ToolCall))
            message = AcceptReply(**key, reply=answer, plans=plans)
        return self.answer(message, reply)

    def tool(self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[Any], None]) -> SimTimer:
        world, who = self.world, self.world.personality
        if self.closed:
            return SimTimer(lambda: None)
        world.executed(call, context)
        world.maybe_crash(who.crash)
        if world.faulty() and world.rng.random() < who.tool_hangs:
            world.hung.add(context.run_id)
            return SimTimer(lambda: None)
        kind = world.rng.random()
        if world.faulty() and kind < who.tool_fails / 2:
            return self.answer(AcceptUnknown(call=call.call, reason="it was given up"), reply)
        failed = world.faulty() and kind < who.tool_fails
        message = AcceptResult(call=call.call, text=f"result of {context.key}", is_error=failed)
        return self.answer(message, reply)

    def load(self, run_id: str, versions: tuple[int, ...], reply: Callable[[Loaded], None]) -> None:
        def read() -> None:
            if self.world.faulty() and self.world.rng.random() < self.world.personality.load_fails:
                reply(Loaded(run_id=run_id, error=JournalUnavailable("cannot read now")))
                return
            try:
                checkpoint = self.journal.load(run_id)
                found = {event.version: event.hash for event in self.journal.read(run_id) if event.version in versions}
            except JournalError as error:
                reply(Loaded(run_id=run_id, error=error))
            except UnknownRun as error:
                reply(Loaded(run_id=run_id, error=error))
            else:
                reply(Loaded(run_id=run_id, checkpoint=checkpoint, hashes=found))

        self.scheduler.call_later(self.world.rng.random() * 0.02, read)

    def answer(self, message: Any, reply: Callable[[Any], None]) -> SimTimer:
        delay = self.world.rng.expovariate(1.0)
        timer = self.scheduler.call_later(delay, lambda: reply(message))
        if self.world.rng.random() < self.world.personality.twice:
            self.scheduler.call_later(delay + self.world.rng.random() * 3, lambda: reply(message))
        return timer


def _plan(asked: ToolCall) -> ToolPlan:
    effect = TOOLS.get(asked.name)
    if effect is None:
        return ToolPlan(refusal=f"there is no tool named {asked.name!r}")
    return ToolPlan(effect)  # type: ignore[arg-type]


class Bugs:
    """Nothing planted. A planted bug overrides one of these, or the classes that the host is made of."""

    run_actor: type | None = None
    supervisor: type | None = None

    def refusal(self, append: Append, head: Head) -> JournalError | None:
        return refusal(append, head)

    def stop_taking(self, calls: SimCalls) -> None:
        calls.stop_taking()


@dataclass
class Asked:
    """What a client asked for and was told."""

    request: str
    run_id: str = ""
    acked_version: int = 0


class World:
    """Everything outside the host process, and what an observer saw of it."""

    def __init__(self, seed: int, bugs: Bugs | None = None) -> None:
        self.rng = random.Random(seed)
        self.personality = Personality.drawn(self.rng)
        self.bugs = bugs if bugs is not None else Bugs()
        self.disk = Disk()
        self.host: Any = None
        self.now = 0.0
        self.wall_skew = 0.0
        self.kind = False
        self.crashing = False
        self.trace = hashlib.sha256()
        self.problems: list[str] = []
        self.executions: Counter[str] = Counter()
        self.acked: list[tuple[str, int]] = []
        self.steers: list[tuple[str, str]] = []
        self.hung: set[str] = set()
        """Runs whose model or tool never answered, so that only the deadline ends them."""
        self.hurt: set[str] = set()
        """Runs that something was done to which may end in quarantine."""

    def faulty(self) -> bool:
        """Whether faults still happen; later they stop, and everything must come to an end."""
        return not self.kind

    def maybe_crash(self, chance: float) -> None:
        if self.faulty() and self.rng.random() < chance:
            self.crashing = True  # an actor contains whatever is raised in it, this too
            raise HostCrash

    def script(self, request: ModelRequest) -> Reply:
        """What the model says: a function of run and step alone, so that a repeated call gets the same answer."""
        fate = random.Random(f"{request.run_id}:{request.step}")
        usage = Usage(fate.randint(1, 9), fate.randint(1, 9), fate.randint(0, 3))
        if fate.random() < 0.3:
            return Reply((Text(f"done at {request.step}"),), usage)
        names = [fate.choice(["look", "put", "pay", "pay", "nonsense"]) for _ in range(fate.randint(1, 3))]
        calls = tuple(ToolCall(f"c{index}", name) for index, name in enumerate(names))
        return Reply((Text(f"calling at {request.step}"), *calls), usage, "tool_calls")

    def check_shown(self, request: ModelRequest) -> None:
        """A provider refuses a transcript whose calls are not all answered, at once and in order."""
        due: list[str] = []
        for message in request.messages:
            if message.role == "tool":
                (result,) = message.parts
                if not due or due.pop(0) != result.id:  # type: ignore[union-attr]
                    self.problems.append("P2: a model was shown an answer out of place")
            elif due:
                self.problems.append("P2: a model was shown a call without its answer")
                due = []
            if message.role == "assistant":
                due = [part.id for part in message.parts if isinstance(part, ToolCall)]

    def executed(self, call: OpenCall, context: ToolContext) -> None:
        """A tool takes effect now: the disk must hold the intent, and no outcome (P4)."""
        facts = [event for event in self.disk.events(context.run_id) if getattr(event.fact, "call", None) == call.call]
        tags = [event.tag for event in facts]
        if "tool-started" not in tags:
            self.problems.append(f"P4: {call.call} was executed before its intent was durable")
        if "tool-finished" in tags or "tool-outcome-unknown" in tags:
            self.problems.append(f"P4: {call.call} was executed after its outcome was stored")
        if context.key != idempotency_key(context.run_id, call.call):
            self.problems.append(f"P4: {call.call} got another idempotency key")
        self.executions[context.key] += 1
        if self.executions[context.key] > 1 and call.effect == "never_retry":
            self.problems.append(f"P4: {call.call} must never be retried and was executed twice")


__all__: Sequence[str] = [
    "GENESIS",
    "Bugs",
    "Disk",
    "HostCrash",
    "SimCalls",
    "SimClock",
    "SimIds",
    "SimJournal",
    "World",
]
