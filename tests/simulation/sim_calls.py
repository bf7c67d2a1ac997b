"""What the simulated world answers: models, tools, palettes and critics that dawdle, hang, fail and lie."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sim_deliveries import deliver
from sim_journal import SimJournal
from sim_purses import MOST_CALL
from sim_secrets import spoken
from sim_world import SimClock, SimIds, SimScheduler, SimTimer, World

from executus.actors.calls import Loaded
from executus.actors.delegating import ChildOrder
from executus.actors.pooled import Cancellable, Waiting
from executus.actors.reusing import Recordings
from executus.actors.run.messages import (
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApprovalPlan,
    ChildPlan,
    ToolPlan,
)
from executus.actors.verdicts import Reviewed, judgement
from executus.errors import Deposed, JournalError, JournalUnavailable, UnknownRun
from executus.events import ToolCall, Usage
from executus.ports import (
    Agent,
    Continue,
    Extend,
    Judged,
    Kill,
    ModelRequest,
    Phase,
    Raise,
    Reply,
    Steer,
    ToolContext,
)
from executus.projections import OpenCall, PlanCalls
from executus.projections.trace import Trace

TOOLS = {"look": "pure", "put": "idempotent", "pay": "never_retry", "wire": "reconcilable"}
ASKING = {"sign": ("never_retry", "deny"), "stamp": ("idempotent", "grant"), "vow": ("never_retry", None)}
"""Tools that need a yes: effect, and what silence means (None: it waits for ever)."""


TIMEOUT_S = 120.0
"""What every run has that is nobody's child."""


def _agent(name: str, **given: Any) -> Agent:
    given = {"timeout_s": TIMEOUT_S, "max_call_tokens": MOST_CALL, **given}
    return Agent(name, model="sim:model", instructions="be brief", **given)


AGENTS = {
    agent.name: agent
    for agent in (
        _agent("sim"),
        _agent("boss", agents=("mid", "leaf", "staged"), skills=("note",), max_steps=8),
        _agent("mid", agents=("leaf",), skills=("note",), max_steps=5),
        _agent("leaf", max_steps=4, timeout_s=60.0),
        _agent(
            "staged",
            max_steps=12,
            phases=(Phase("plan", max_steps=4), Phase("act", timeout_s=80.0), Phase("check", max_tool_calls=2)),
        ),
    )
}
"""Three levels: boss, mid, leaf."""
NOTE = _agent("note", kind="skill", max_steps=3)


class SimCritic:
    """Who watches a run. What it says is up to the world."""

    def __init__(self, world: World, run_id: str) -> None:
        fate = random.Random(f"{world.seed}: critic of {run_id}")
        self.name = f"critic {fate.randint(1, 99)}"
        self.every_s: Any = fate.choice((None, 4.0, 15.0))
        self.every_steps: Any = fate.choice((None, 1, 2))
        self.timeout_s = fate.choice((0.5, 5.0))
        if fate.random() < 0.05:
            self.every_steps = "now and then"

    def review(self, trace: Trace, now: float) -> Any:
        raise NotImplementedError("the world answers for it")


class SimCalls:
    """`Calls`: answers come late, twice, as errors, or never. Dies with its host; effects it had stay done."""

    def __init__(self, world: World, journal: SimJournal, scheduler: SimScheduler) -> None:
        self.world, self.journal, self.scheduler = world, journal, scheduler
        self.recordings: Recordings = world.bugs.recordings(journal)
        self.closed = False

    def stop_taking(self) -> None:
        """The host is closing: begin nothing any more."""
        self.closed = True

    def begin(self, act: Callable[[], SimTimer]) -> Cancellable:
        """Touch the world, if the journal is known to be this host's; else look first."""
        waiting = Waiting()

        def told(error: JournalError | None) -> None:
            if self.closed or waiting._cancelled:
                return
            if error is None:
                waiting.carry(act())
            elif not isinstance(error, Deposed):
                self.scheduler.call_later(0.1, lambda: self.journal.confirm(told))

        if self.closed:
            return SimTimer(lambda: None)
        if not self.journal.held:
            self.journal.confirm(told)
            return waiting
        return act()

    def touch(self) -> None:
        """The world is touched now."""
        if self.journal.epoch != self.world.disk.epoch:
            self.world.problems.append("P6: a host that was taken over from touched the world")

    # -------------------------------------------------------------- models and tools

    def model(self, agent: Agent, request: ModelRequest, reply: Callable[[Any], None], reuses: str = "") -> Cancellable:
        return self.begin(lambda: self.ask(agent, request, reply, reuses))

    def recorded(self, agent: Agent, request: ModelRequest, source: str) -> Reply | None:
        """What the run that is reused was answered; None also if its log cannot be read now."""
        world = self.world
        if world.strikes("load fails", world.personality.load_fails / 4):
            world.unread.add((request.run_id, request.step, request.attempt))
            return None
        return self.recordings.find(source, agent, request)

    def ask(self, agent: Agent, request: ModelRequest, reply: Callable[[Any], None], reuses: str) -> SimTimer:
        world, who = self.world, self.world.personality
        self.touch()
        world.check_shown(request)
        recorded = self.recorded(agent, request, reuses) if reuses else None
        if recorded is None or world.bugs.asks_all_the_same:
            world.modelled.add((request.run_id, request.step, request.attempt))
        if recorded is not None:
            plans = tuple(self.plan_of(agent, part) for part in recorded.parts if isinstance(part, ToolCall))
            given = AcceptReply(step=request.step, attempt=request.attempt, reply=recorded, plans=plans, recorded=True)
            return self.answer(given, reply)
        if world.strikes("model hangs", who.model_hangs):
            world.hung.add(request.run_id)
            return SimTimer(lambda: None)
        key = {"step": request.step, "attempt": request.attempt}
        if world.strikes("model fails", who.model_fails):
            error = spoken(world, f"model {request.run_id} {key}", "overloaded")
            message: Any = AcceptModelFailure(**key, error=error, jitter=world.rng.random())
        else:
            answer = world.script(agent, request)
            plans = tuple(self.plan_of(agent, part) for part in answer.parts if isinstance(part, ToolCall))
            message = AcceptReply(**key, reply=answer, plans=plans)
        return self.answer(message, reply)

    def plan(self, agent: Agent, owed: PlanCalls, caller_id: str, reply: Callable[[AcceptPlans], None]) -> SimTimer:
        if self.closed:
            return SimTimer(lambda: None)
        plans = tuple(self.plan_of(agent, asked) for asked in owed.asked)
        return self.answer(AcceptPlans(step=owed.step, plans=plans), reply)

    def plan_of(self, agent: Agent, asked: ToolCall) -> ToolPlan:
        """What is known about a call before it is started."""
        if asked.name in TOOLS:
            return ToolPlan(TOOLS[asked.name])  # type: ignore[arg-type]
        if asked.name in ASKING:
            effect, default = ASKING[asked.name]
            now_us = SimClock(self.world).wall_us()
            expires_us = None if default is None else now_us + round(self.world.rng.uniform(1, 60) * 1e6)
            return ToolPlan(effect, approval=ApprovalPlan(expires_us, default or "deny"))  # type: ignore[arg-type]
        if asked.name in agent.delegates:
            child, (kind, _) = resolved(asked.name), agent.delegates[asked.name]
            return ToolPlan(child=ChildPlan(SimIds(self.world).run_id(), kind, child.limits()))
        return ToolPlan(refusal=f"there is no tool named {asked.name!r}")

    def tool(self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[Any], None]) -> Cancellable:
        return self.begin(lambda: self.act(call, context, reply))

    def act(self, call: OpenCall, context: ToolContext, reply: Callable[[Any], None]) -> SimTimer:
        world, who = self.world, self.world.personality
        self.touch()
        world.executed(call, context)
        world.maybe_crash("in a tool")
        if world.strikes("tool hangs", who.tool_hangs):
            world.hung.add(context.run_id)
            return SimTimer(lambda: None)
        if call.effect == "reconcilable":
            return self.wire(call, context, reply)
        kind = world.rng.random()
        if world.faulty() and kind < who.tool_fails / 2:
            world.note("tool given up")
            return self.answer(
                AcceptUnknown(call=call.call, reason=spoken(world, f"clock {context.key}", "it was given up")), reply
            )
        failed = world.faulty() and kind < who.tool_fails
        if failed:
            world.note("tool fails")
        message = AcceptResult(
            call=call.call, text=spoken(world, f"tool {context.key}", f"result of {context.key}"), is_error=failed
        )
        return self.answer(message, reply)

    def wire(self, call: OpenCall, context: ToolContext, reply: Callable[[Any], None]) -> SimTimer:
        """A call that takes effect some time after it began, if the host lives so long, and answers after that."""
        fate = random.Random(f"{self.world.rng.getrandbits(32)}: wire")
        message = AcceptResult(call=call.call, text=f"result of {context.key}")

        def act() -> None:
            if self.journal.epoch != self.world.disk.epoch:
                return  # whoever acts on it looks at the epoch (`ToolContext.epoch`): another host took over
            self.world.took_effect(context.key)
            self.world.maybe_crash("in a tool")
            timer.call = None
            self.scheduler.call_later(fate.expovariate(2.0), lambda: reply(message))

        timer = self.scheduler.call_later(fate.expovariate(2.0), act)
        return timer

    def reconcile(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptReconciled], None]
    ) -> SimTimer:
        """What became of such a call: the truth, or nothing."""
        world = self.world
        if self.closed:
            return SimTimer(lambda: None)
        world.maybe_crash("in a tool")
        happened = world.effects[context.key] > 0
        fate = random.Random(f"{context.key}: asked {call.asked}")
        unknown = "nobody knows" if world.faulty() and fate.random() < world.hazards.dumb else None
        text = spoken(world, f"asked {context.key}", f"result of {context.key}") if happened else ""
        message = AcceptReconciled(call=call.call, attempt=call.asked, happened=happened, text=text, unknown=unknown)
        return self.answer(message, reply)

    def child(
        self, agent: Agent, name: str, arguments: str, caller_id: str, reply: Callable[[ChildOrder | str], None]
    ) -> SimTimer:
        world = self.world
        if self.closed:
            return SimTimer(lambda: None)
        world.maybe_crash("at a birth")
        if world.strikes("palette fails", world.governance.palette_fails):
            return self.answer(
                spoken(world, f"palette {self.scheduler.awake()}", f"{name} cannot be resolved now"), reply
            )
        _, delegate = agent.delegates[name]
        return self.answer(ChildOrder(resolved(name), delegate, "do your part"), reply)

    # -------------------------------------------------------------- logs

    def load(self, run_id: str, versions: tuple[int, ...], reply: Callable[[Loaded], None]) -> None:
        def read() -> None:
            if self.world.strikes("load fails", self.world.personality.load_fails):
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

    def look_up(self, read: Callable[[Any], Any], reply: Callable[[Any], None]) -> None:
        def found() -> None:
            if self.world.strikes("look-up fails", self.world.personality.load_fails):
                reply(JournalUnavailable("cannot read now"))
                return
            try:
                answer = read(self.journal)
            except (JournalError, UnknownRun) as error:
                answer = error
            reply(answer)

        self.scheduler.call_later(self.world.rng.random() * 0.02, found)

    # -------------------------------------------------------------- critics

    def review(
        self, critic: Any, by: str, trace: Trace, now: float, timeout_s: float, reply: Callable[[Any], None]
    ) -> SimTimer:
        world, rng = self.world, self.world.rng
        if self.closed:
            return SimTimer(lambda: None)
        hostile = rng.random() < world.governance.hostile
        kind = rng.choice(("raises", "hangs", "late", "twice", "nonsense")) if hostile else "sound"
        if hostile:
            world.note(f"critic {kind}")
        try:
            verdict = self.nonsense() if kind == "nonsense" else self.verdict(trace)
            if kind == "raises":
                raise RuntimeError("no idea")
            reviewed = Reviewed(judgement(verdict, by))
        except Exception as error:
            reviewed = Reviewed(error=f"{type(error).__name__}: {error}")
        delay = min(rng.expovariate(2.0), timeout_s)
        if kind in ("hangs", "late"):
            timer = self.scheduler.call_later(timeout_s, lambda: reply(Reviewed(error="no verdict in time")))
            if kind == "late":
                self.scheduler.call_later(timeout_s + delay, lambda: reply(reviewed))
            return timer
        if kind == "twice":
            self.scheduler.call_later(delay + rng.random() * 3, lambda: reply(reviewed))
        return self.scheduler.call_later(delay, lambda: reply(reviewed))

    def verdict(self, trace: Trace) -> Any:
        rng = self.world.rng
        kind = rng.random()
        verdict: Any = Continue()
        if kind < 0.1:
            verdict = Continue(spoken(self.world, f"critic {trace.info.run_id} {trace.state.step}", "slow"))
        elif kind < 0.3:
            verdict = Steer(f"hint {rng.getrandbits(32)}")
        elif kind < 0.5:
            verdict = Extend(rng.choice((1.0, 30.0, 1e6)), "it works")
        elif kind < 0.65:
            verdict = Raise(rng.choice((1, 3, 1000)), "it works")
        elif kind < 0.72:
            verdict = Kill(
                spoken(self.world, f"critic {trace.info.run_id}", "it loops"),
                {"step": trace.state.step, spoken(self.world, f"evidence {trace.info.run_id}", "why"): ["x"]},
            )
        return Judged(verdict, Usage(rng.randint(0, 3), rng.randint(0, 3)), "sim:critic") if kind > 0.6 else verdict

    def nonsense(self) -> Any:
        return self.world.rng.choice((None, "kill", Steer(" "), Extend(float("nan")), Raise(-1), Kill, Judged("x")))  # type: ignore[arg-type]

    def deliver(
        self, delivery: Any, parcel: Any, store: Any, timeout_s: float, reply: Callable[[Any], None]
    ) -> Cancellable:
        def hand() -> SimTimer:
            self.touch()
            return deliver(self.world.host, parcel, timeout_s, reply)

        return self.begin(hand)

    def answer(self, message: Any, reply: Callable[[Any], None]) -> SimTimer:
        delay = self.world.rng.expovariate(1.0)
        timer = self.scheduler.call_later(delay, lambda: reply(message))
        if self.world.rng.random() < self.world.personality.twice:
            self.world.note("answer twice")
            self.scheduler.call_later(delay + self.world.rng.random() * 3, lambda: reply(message))
        return timer


def resolved(name: str) -> Agent:
    """The agent behind `agent__NAME` or `skill__NAME`."""
    kind, _, name = name.partition("__")
    return NOTE if kind == "skill" else AGENTS[name]
