"""A seeded world without threads: its scheduler, its clock, how unkind it is, and what an observer saw of it.

The actors in it are the real ones. Same seed, same world.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sim_disk import Disk
from sim_moods import FAULTS, Governance, Hazards, Personality
from sim_purses import Purses

from executus.actors.mailbox import Mailbox
from executus.actors.recovering import has_survived
from executus.actors.reusing import Recordings
from executus.errors import JournalError
from executus.events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ChildStarted,
    Event,
    RunFinished,
    Text,
    ToolCall,
    Usage,
    idempotency_key,
)
from executus.journal.rules import Head, refusal
from executus.ports import QUARANTINE_AFTER, Agent, Append, Journal, ModelRequest, Recovery, Reply, ToolContext
from executus.projections import OpenCall
from executus.projections.outbox import Outbox
from executus.recovery import survey


class HostCrash(BaseException):
    """The process is gone, in the middle of whatever it was doing."""


# ------------------------------------------------------------------ time and turns


class SimTimer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class SimScheduler:
    """`Scheduler`: one thread, random turns, virtual time. Dies with its host; the clock goes on.

    Timers are due in awake time, which stands still while the machine sleeps, and while its host stands still: `slept`
    has the seconds of the latter.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready: list[Mailbox] = []
        self.timers: list[tuple[float, int, SimTimer]] = []
        self._numbers = 0
        self.slept = 0.0

    def schedule(self, mailbox: Mailbox) -> None:
        self.ready.append(mailbox)

    def lend(self) -> None:
        pass

    def awake(self) -> float:
        return self.world.awake() - self.slept

    def call_later(self, seconds: float, call: Callable[[], None]) -> SimTimer:
        timer = SimTimer(call)
        self._numbers += 1
        heapq.heappush(self.timers, (self.awake() + max(0.0, seconds), self._numbers, timer))
        return timer

    @property
    def idle(self) -> bool:
        """Whether nothing is there to do, now or ever."""
        return not self.ready and all(timer.call is None for _, _, timer in self.timers)

    @property
    def soon(self) -> bool:
        """Whether there is something to do within a second."""
        due = min((due for due, _, timer in self.timers if timer.call is not None), default=float("inf"))
        return bool(self.ready) or due < self.awake() + 1.0

    def step(self) -> bool:
        """Do one thing: a slice of a random mailbox, or the next timer. False if there is nothing to do."""
        rng = self.world.rng
        while self.timers and self.timers[0][2].call is None:
            heapq.heappop(self.timers)
        soon = bool(self.timers) and self.timers[0][0] < self.awake() + self.world.personality.longest_wait_s
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
            self.world.now = max(self.world.now, due + self.world.slept + self.slept)
            timer.call()
            return True
        return bool(self.ready)


class SimClock:
    def __init__(self, world: World) -> None:
        self.world = world

    def monotonic(self) -> float:
        return self.world.awake()

    def wall_us(self) -> int:
        return int((1_700_000_000 + self.world.now + self.world.wall_skew) * 1e6)


class SimIds:
    def __init__(self, world: World) -> None:
        self.world = world

    def run_id(self) -> str:
        return f"{self.world.rng.getrandbits(32):08x}-0000-7000-8000-{self.world.rng.getrandbits(48):012x}"

    def jitter(self) -> float:
        return self.world.rng.random()


# ------------------------------------------------------------------ the world


class Bugs:
    """Nothing planted. A planted bug overrides one of these, or the classes that the host is made of."""

    run_actor: type | None = None
    supervisor: type | None = None
    recoverer: type | None = None
    desk: type | None = None
    courier: type | None = None
    recordings: type = Recordings
    asks_all_the_same: bool = False
    """Whether a model is asked for what is answered from a recording."""
    keys_first: bool = True
    """Whether a run's key is on the disk before its first event is."""

    def refusal(self, append: Append, head: Head) -> JournalError | None:
        return refusal(append, head)

    def stop_taking(self, calls: Any) -> None:
        calls.stop_taking()

    def owns(self, mine: int, found: int) -> bool:
        """Whether the epoch that the disk has lets a host append."""
        return mine == found

    def held(self, doubtful: bool) -> bool:
        """Whether a host takes it for sure that the journal is still its own."""
        return not doubtful

    def found(self, stored: list[Event]) -> list[Event]:
        """What a journal tells of what a failed commit has stored."""
        return stored

    def remembered(self, events: list[Event]) -> list[Event]:
        """What whoever forks a run knows of it."""
        return events

    def survey(self, journal: Journal, agents: dict[str, Agent]) -> Any:
        return survey(journal, agents, {})


SEALED = 0.3
"""Worlds whose journal is sealed."""


class World:
    """Everything outside the host process, and what an observer saw of it."""

    def __init__(self, seed: int, bugs: Bugs | None = None) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.personality = Personality.drawn(self.rng)
        self.governance = Governance.drawn(seed)
        self.hazards = Hazards.drawn(seed)
        self.sealed = random.Random(f"{seed}: sealed").random() < SEALED
        self.bugs = bugs if bugs is not None else Bugs()
        self.disk = Disk(self.seen)
        self.host: Any = None
        self.supervisor: Any = None
        """The class of its hosts' supervisors."""
        self.now = 0.0
        self.slept = 0.0
        """How much of that the machine has slept."""
        self.wall_skew = 0.0
        self.kind = False
        self.crashing = False
        self.trace = hashlib.sha256()
        self.problems: list[str] = []
        self.executions: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        """What took effect of calls that can be asked about."""
        self.lone_deaths: Counter[str] = Counter()
        """How often a host died when it was taking up nobody but this run, since the run last survived that."""
        self.acked: list[tuple[str, int]] = []
        self.steers: list[tuple[str, str]] = []
        self.hung: set[str] = set()
        """Runs whose model or tool never answered, so that only the deadline ends them."""
        self.hurt: set[str] = set()
        """Runs that something was done to which may end in quarantine."""
        governance, prompt = self.governance, self.personality.longest_wait_s <= 1
        self.purses = Purses(governance.allowance, governance.window, governance.priced, self.hurt, prompt)
        self.approvals: dict[tuple[str, str], ApprovalRequested] = {}
        """Calls that wait for a person, as a person sees them: by durable facts."""
        self.times: list[float] = []
        """When each event became durable, by position, in awake time."""
        self.stood_still: list[tuple[float, float]] = []
        """When a host stood still without being taken over from, in awake time, and for how many seconds."""
        self.spoken: set[str] = set()
        """Who has said the secret."""
        self.births: list[str] = []
        """Runs that have just said that they start a child."""
        self.outbox = Outbox()
        self.taken: set[str] = set()
        """Keys of parcels that somebody has."""
        self.asked_again: set[str] = set()
        """Runs whose delivery somebody asked for."""
        self.faults: Counter[str] = Counter()
        """What went wrong, by name."""
        self.to_make: dict[str, tuple[str, ...]] = {}
        """Calls that forks have inherited, to be made."""
        self.modelled: set[tuple[str, int, int]] = set()
        """Runs, steps and attempts for which a model was really asked."""
        self.unread: set[tuple[str, int, int]] = set()
        """Those for which a recording could not be read."""
        self.reused: Counter[str] = Counter()
        """How many replies of a run were taken from a recording."""
        self.answers: set[tuple[str, str, str]] = set()
        """What a person said: run, call, "yes" or "no"."""

    def seen(self, event: Event) -> None:
        """It became durable."""
        self.times.append(self.awake())
        self.problems += self.purses.seen(event)
        self.outbox.apply(event)
        match event.fact:
            case ApprovalRequested() as asked:
                self.approvals[event.run_id, asked.call] = asked
            case ApprovalGranted() | ApprovalDenied() | ApprovalExpired() as answered:
                self.approvals.pop((event.run_id, answered.call), None)
            case ChildStarted():
                self.births.append(event.run_id)
            case RunFinished():
                for key in [key for key in self.approvals if key[0] == event.run_id]:
                    del self.approvals[key]
            case _:
                pass

    def is_killer(self, run_id: str) -> bool:
        """Whether the host dies whenever it takes this run up."""
        return random.Random(f"{self.seed}: killer {run_id}").random() < self.hazards.killers

    def is_bent(self, run_id: str) -> bool:
        """Whether the run's log does not fold."""
        return random.Random(f"{self.seed}: bent {run_id}").random() < self.hazards.bent

    def host_died(self) -> None:
        """Whatever the next host may conclude from it."""
        for one in self.disk.recoveries.values():
            if has_survived(self.disk.events(one.run_id)[max(0, one.version - 1) :]):
                self.lone_deaths.pop(one.run_id, None)
            elif one.standing == "trying" and one.company == 1:
                self.lone_deaths[one.run_id] += 1
                if self.lone_deaths[one.run_id] >= QUARANTINE_AFTER:
                    self.hurt.add(one.run_id)  # guilty, or as unlucky as the guilty are

    def recoveries_kept(self, kept: Sequence[Recovery], dropped: Sequence[str]) -> None:
        """Something about attempts is on the disk."""
        for run_id in dropped:
            self.lone_deaths.pop(run_id, None)

    def awake(self) -> float:
        """The clock of a machine that has not slept."""
        return self.now - self.slept

    def sleep(self, seconds: float) -> None:
        """The machine sleeps; only the wall clock goes on."""
        self.now += seconds
        self.slept += seconds

    def faulty(self) -> bool:
        """Whether faults still happen; later they stop, and everything must come to an end."""
        return not self.kind

    def note(self, fault: str) -> None:
        """Something went wrong, as it should now and then; `fault` is one of `FAULTS`."""
        assert fault in FAULTS, f"a fault without a name in FAULTS: {fault}"
        self.faults[fault] += 1

    def strikes(self, fault: str, chance: float) -> bool:
        """Whether `fault` happens now."""
        if self.kind or not chance or self.rng.random() >= chance:
            return False
        self.note(fault)
        return True

    def rushed(self) -> bool:
        """Whether a timer goes off early, just now."""
        return self.governance.orders > 0 and self.strikes("timer early", self.governance.orders / 2)

    def maybe_crash(self, where: str) -> None:
        """Perhaps the process ends `where` it is."""
        if self.strikes(f"crash {where}", self.personality.crash):
            self.crashing = True  # an actor contains whatever is raised in it, this too
            raise HostCrash

    def script(self, agent: Agent, request: ModelRequest) -> Reply:
        """What the model says: a function of run and step alone, so that a repeated call gets the same answer."""
        fate = random.Random(f"{request.run_id}:{request.step}")
        usage = Usage(fate.randint(1, 9), fate.randint(1, 9), fate.randint(0, 3))
        if fate.random() < 0.3:
            return Reply((Text(f"done at {request.step}"),), usage)
        names = [fate.choice(["look", "put", "pay", "pay", "nonsense"]) for _ in range(fate.randint(1, 3))]
        governance = self.governance
        for index in range(len(names) if governance.any else 0):
            if agent.delegates and fate.random() < governance.delegates:
                names[index] = fate.choice([*agent.delegates])
            elif fate.random() < governance.asks:
                names[index] = fate.choice(["sign", "stamp", "vow"])
        wired = random.Random(f"{request.run_id}:{request.step}: wires")
        names = ["wire" if wired.random() < self.hazards.wires else name for name in names]
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
        """A tool takes effect now: the disk must hold the intent, a yes if one was asked for, and no outcome (P4)."""
        facts = [event for event in self.disk.events(context.run_id) if getattr(event.fact, "call", None) == call.call]
        tags = [event.tag for event in facts]
        if "tool-started" not in tags:
            self.problems.append(f"P4: {call.call} was executed before its intent was durable")
        if "tool-finished" in tags or "tool-outcome-unknown" in tags:
            self.problems.append(f"P4: {call.call} was executed after its outcome was stored")
        if context.key != idempotency_key(context.run_id, call.call):
            self.problems.append(f"P4: {call.call} got another idempotency key")
        if "approval-requested" in tags:
            default = next(event.fact.default for event in facts if isinstance(event.fact, ApprovalRequested))
            if "approval-granted" not in tags and not ("approval-expired" in tags and default == "grant"):
                self.problems.append(f"approvals: {call.call} was executed and nobody said yes")
        if "reconcile-started" in tags:
            about = [event.tag for event in facts if event.tag in ("reconcile-started", "tool-reconciled")]
            if about[-1] == "reconcile-started":
                self.problems.append(f"P4: {call.call} was executed while it was asked about")
        self.executions[context.key] += 1
        if self.executions[context.key] > 1 and call.effect == "never_retry":
            self.problems.append(f"P4: {call.call} must never be retried and was executed twice")

    def took_effect(self, key: str) -> None:
        """A call that can be asked about does what it does: once (P4)."""
        self.effects[key] += 1
        if self.effects[key] > 1:
            self.problems.append(f"P4: {key} had happened and was executed again")
