"""Runs that go on from runs that are over: who starts them, and what must be true of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim_calls import AGENTS
from sim_world import SimClock, SimIds

from executus.admission import gated
from executus.events import Event, RunFinished, RunForked, Totals
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
    run_id = order.started.info.run_id
    if order.started.interactive:
        client.chats.append(run_id)

    def told(ack: Any) -> None:
        if ack.exception() is None:
            world.acked.append((run_id, ack.result()))

    order.asked.ack.add_done_callback(told)
    client.asked.append((host, order.asked))
    host.supervisor.actor_ref.tell(order)


def forked_of(events: list[Event]) -> RunForked | None:
    """What the run goes on from."""
    return next((event.fact for event in events[:2] if isinstance(event.fact, RunForked)), None)


def judge_fork(world: World, run_id: str) -> list[str]:
    """A run that goes on from another begins where that one ended, with all it had spent."""
    forked = forked_of(world.disk.events(run_id))
    if forked is None:
        return []
    source = world.disk.events(forked.source)
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
