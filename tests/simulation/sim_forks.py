"""Runs that go on from others, over or not: who starts them, and what must be true of them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sim_calls import AGENTS
from sim_reuse import judge_reuse
from sim_world import SimClock, SimIds

from executus.actors.run.asking import Asked
from executus.actors.run.messages import BeginRun
from executus.actors.supervisor import Admit
from executus.admission import gated
from executus.events import (
    ApprovalRequested,
    ChildStarted,
    Event,
    PhaseStarted,
    RunBegun,
    RunFinished,
    RunForked,
    StepCompleted,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
    Totals,
)
from executus.forking import fork_of
from executus.ports import Overrides
from executus.projections import fold
from executus.projections.editing import DropFrom, Say
from executus.resuming import going_on

if TYPE_CHECKING:
    from sim_client import Client
    from sim_host import Host
    from sim_world import World

MOST = 3
"""Forks in one world."""
MORE_STEPS = 3


def go_on(client: Client, host: Host) -> None:
    """Go on from a run that is over, any: a child, a refused one, one that itself goes on from another."""
    world = client.world
    over = [run_id for run_id, head in world.disk.heads.items() if head.over]
    if not over or client.forks >= MOST:
        return
    source = world.rng.choice(over)
    events = world.disk.events(source)
    started: Any = events[0].fact
    if started.agent.name not in AGENTS:
        return
    client.forks += 1
    spent = world.disk.folded(source).state
    limits = {"max_steps": spent.step + MORE_STEPS, "max_tokens": None, "max_tool_calls": None}
    now_us = SimClock(world).wall_us()
    order = going_on(source, events, AGENTS, {}, SimIds(world).run_id(), now_us, "and then?", limits)
    if host.budgets is not None:
        order = gated(order, host.budgets, now_us)
    hand_over(client, host, order)


def fork_off(client: Client, host: Host) -> bool:
    """Fork any run at any of its events, with anything made different; False if not now."""
    world, fate = client.world, client.forking
    if not world.faulty() or fate.random() >= world.governance.forked / 8 or client.forks >= MOST:
        return False
    source = fate.choice([*world.disk.heads] or [""])
    events = world.bugs.remembered(world.disk.events(source)) if source else []
    started: Any = events[0].fact if events else None
    if started is None or started.agent.name not in AGENTS:
        return False
    client.forks += 1
    at = fate.randint(1, len(events))
    limits = {"max_steps": world.disk.folded(source).state.step + MORE_STEPS, "max_tokens": None}
    overrides = Overrides(limits=limits | {"max_tool_calls": None})
    shown = len(fold(events[:at]).transcript.messages)
    if fate.random() < 0.3:
        overrides = replace(overrides, messages=[Say("and then?")])
    elif fate.random() < 0.3 and shown:
        overrides = replace(overrides, messages=[DropFrom(fate.randrange(shown)), Say("anew")])
    elif fate.random() < 0.3:
        calls = [event.fact.call for event in events[:at] if isinstance(event.fact, ToolStarted)]
        overrides = replace(overrides, results={fate.choice(calls): "given"} if calls else {})
    start = BeginRun(by="client") if fate.random() < 0.3 else None
    reuse: Literal["never", "recorded"] = "never"
    if random.Random(f"{world.seed}: reuse of {client.forks}").random() < 0.6:
        reuse = "recorded"
    now_us = SimClock(world).wall_us()
    run_id = SimIds(world).run_id()
    try:
        order, found = fork_of(
            source, events, at, AGENTS, {}, run_id, now_us, overrides=overrides, begin=start, reuse=reuse
        )
    except ValueError:
        return False  # it cannot be edited like that
    if host.budgets is not None:
        order = gated(order, host.budgets, now_us)
    client.forked[run_id] = (host, order.asked)
    hand_over(client, host, order)
    world.to_make[run_id] = found.to_make
    return True


def hand_over(client: Client, host: Host, order: Admit) -> None:
    """Hand the order over; nobody asks again."""
    world, run_id = client.world, order.started.info.run_id
    if order.started.interactive:
        client.chats.append(run_id)

    def told(ack: Any) -> None:
        if ack.exception() is None:
            world.acked.append((run_id, ack.result()))

    order.asked.ack.add_done_callback(told)
    client.asked.append((host, order.asked))
    host.supervisor.actor_ref.tell(order)


def begin(client: Client, host: Host) -> bool:
    """Begin a fork that waits, some time; in the end all of them."""
    world, fate = client.world, client.forking
    if not world.kind and fate.random() > 0.1:
        return False
    run_id = fate.choice([*client.forked])
    address = host.directory.get(run_id)
    aside = address is not None and address.end is not None
    where, asked = client.forked[run_id]
    if where is host and not asked.ack.done():
        return False  # it may still be let in
    if world.kind and (aside or run_id not in world.disk.heads or not is_paused(world, run_id)):
        del client.forked[run_id]  # it is begun, over, set aside, or never was
    elif address is not None:
        client.order(host, address, Asked(BeginRun(by="client")))
        return True
    return False


def is_paused(world: World, run_id: str) -> bool:
    head = world.disk.heads[run_id]
    return not head.over and bool(head.version) and world.disk.folded(run_id).state.governed.paused


def forked_of(events: list[Event]) -> RunForked | None:
    """What the run goes on from."""
    return next((event.fact for event in events[:2] if isinstance(event.fact, RunForked)), None)


def judge_fork(world: World, run_id: str) -> list[str]:
    """A run that goes on from another begins where that one ended, with all it had spent."""
    forked = forked_of(world.disk.events(run_id))
    if forked is None:
        return []
    source = world.disk.events(forked.source)
    if forked.paused:
        return judge_paused(world, run_id, forked, source) + judge_reuse(world, run_id, forked, source)
    end: Any = next((event.fact for event in source if isinstance(event.fact, RunFinished)), None)
    if end is None:
        return ["forks: a run goes on from one that was not over"]
    if forked.version > len(source) or source[forked.version - 1].hash != forked.hash:
        return ["forks: a run goes on from what its source never was"]
    before = forked_of(source)
    stats = end.stats
    spent = Totals(
        steps=stats.steps, tool_calls=stats.tool_calls, tokens=stats.input_tokens + stats.output_tokens
    ).plus(before.totals if before is not None else Totals())
    family = end.family
    want = (spent.steps, spent.tool_calls + family.tool_calls, spent.tokens + family.tokens)
    totals = forked.totals
    if (totals.steps, totals.tool_calls, totals.tokens) != want:
        return [f"forks: a run carries {totals} of a source that has spent {want}"]
    return []


WORK = (StepStarted, StepCompleted, ToolStarted, ToolRefused, ApprovalRequested, ChildStarted, PhaseStarted)


def judge_paused(world: World, run_id: str, forked: RunForked, source: list[Event]) -> list[str]:
    """A fork does nothing before it is begun; of what it has inherited it makes only what was never begun, or pure."""
    problems: list[str] = []
    if forked.version > len(source) or source[forked.version - 1].hash != forked.hash:
        problems.append("forks: a fork goes on from what its source never was")
    inherited = [event.fact for event in source[: forked.version]]
    started = {fact.call: fact.effect for fact in inherited if isinstance(fact, ToolStarted)}
    born = {fact.call for fact in inherited if isinstance(fact, ChildStarted)}
    over = {fact.call for fact in inherited if isinstance(fact, (ToolFinished, ToolOutcomeUnknown, ToolRefused))}
    begun = False
    for event in world.disk.events(run_id)[2:]:
        fact: Any = event.fact
        if isinstance(fact, RunBegun):
            if begun:
                problems.append("forks: a fork was begun twice")
            if fact.waited_ms != event.elapsed_ms:
                problems.append("P13: the time for which a fork waited to be begun counts")
            begun = True
        elif isinstance(fact, WORK) and not begun:
            problems.append(f"forks: a fork that nobody has begun has {event.tag}")
        if isinstance(fact, (ToolStarted, ChildStarted, ApprovalRequested)):
            if int(fact.call.partition(".")[0]) > forked.totals.steps:
                continue
            if fact.call in over or fact.call in born or started.get(fact.call, "pure") != "pure":
                problems.append(f"P4: a fork made call {fact.call}, which its source had made")
            elif fact.call not in world.to_make.get(run_id, ()):
                problems.append(f"forks: a fork made call {fact.call}, which it had not inherited")
    return problems
