"""What must be true of runs that start runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim_oracles_waiting import judge_waiting
from sim_purses import MOST_CALL

from executus.errors import RunQuarantined
from executus.events import (
    ChildFinished,
    ChildStarted,
    CriticReviewed,
    Event,
    RunFinished,
    RunStarted,
    StepStarted,
    Totals,
)

if TYPE_CHECKING:
    from sim_host import Host
    from sim_world import World

STOPS = ("killed", "cancelled", "timeout", "budget_exceeded")
STEPS_AFTER = 2
"""Steps that a child may begin between its parent's end and hearing of it; twice as many if the journal fails, since
then its parent does not know for a while that it has ended."""
CALLS_AT_ONCE = 3
"""Tool calls in one reply of this world."""


def judge_family(world: World, host: Host) -> list[str]:
    """The promises that parents and children broke."""
    logs = {run_id: world.disk.events(run_id) for run_id in world.disk.logs}
    problems: list[str] = []
    for run_id, events in logs.items():
        started: Any = events[0].fact
        if isinstance(started, RunStarted) and started.info.parent_run_id:
            problems += judge_child(world, host, events, started, logs.get(started.info.parent_run_id, []))
        problems += judge_parent(world, run_id, logs)
        problems += judge_waiting(world, run_id, logs)
    return problems


def is_aside(host: Host, run_id: str) -> bool:
    """Whether the run is visibly quarantined."""
    address = host.directory.get(run_id)
    return address is not None and isinstance(address.end, RunQuarantined)


def is_kept_waiting(world: World, host: Host, run_id: str) -> bool:
    """Whether an unfinished run above it is visibly quarantined: nobody takes its children up before it goes on."""
    started: Any = world.disk.events(run_id)[0].fact
    parent: str = started.info.parent_run_id
    if not parent or world.disk.heads[parent].over:
        return False
    return is_aside(host, parent) or is_kept_waiting(world, host, parent)


def end_of(events: list[Event]) -> Event | None:
    return next((event for event in events if isinstance(event.fact, RunFinished)), None)


def judge_child(world: World, host: Host, events: list[Event], started: RunStarted, parent: list[Event]) -> list[str]:
    """A child was announced, is who it should be, and does not outlive its parent."""
    info = started.info
    births = [event for event in parent if isinstance(event.fact, ChildStarted) and event.fact.run_id == info.run_id]
    if len(births) != 1:
        return [f"family: a child has {len(births)} births in its parent's log"]
    problems: list[str] = []
    birth: Any = births[0].fact
    above: Any = parent[0].fact
    root = above.info.root_run_id or above.info.run_id
    if (info.root_run_id, info.depth, info.caller_id) != (root, above.info.depth + 1, above.info.caller_id):
        problems.append("family: a child does not know its place")
    if started.limits != birth.limits or started.budgeted != above.budgeted:
        problems.append("family: a child has other limits than its parent gave it")
    if births[0].position > events[0].position:
        problems.append("family: a child began before its parent said so")
    end, parents_end = end_of(events), end_of(parent)
    if end is None:
        if parents_end is not None and not is_aside(host, info.run_id):
            problems.append("family: a child outlived its parent")
        return problems
    last: Any = end.fact
    if last.by == "parent":
        wanted = "cancelled"
        if parents_end is not None and status_of(parents_end) in STOPS:
            wanted = status_of(parents_end)
        # One that nobody could carry on, or that its parent had given up, is cancelled, whatever the parent does later;
        # so is one whose parent's log could not be read when it was looked up how that ended.
        told = [event for event in parent if isinstance(event.fact, ChildFinished) and event.fact.run_id == info.run_id]
        given_up = any(event.position < end.position for event in told)
        stranded = world.governance.palette_fails > 0 or given_up or world.is_bent(info.parent_run_id)
        if last.status != wanted and not (stranded and last.status == "cancelled"):
            problems.append(f"family: a child ended {last.status} with its parent, which wanted {wanted}")
    if parents_end is not None:
        fails = world.personality.commit_fails or world.personality.load_fails
        after = [event for event in events if event.position > parents_end.position]
        steps = len({event.fact.step for event in after if isinstance(event.fact, StepStarted)})  # not attempts
        if steps > STEPS_AFTER * (2 if fails else 1):
            problems.append("family: a child worked on after its parent's end")
        if after == events and steps > 1 and last.by in ("model", "ceiling", "limits"):
            problems.append("family: a child that was born after its parent's end was let live")
    return problems


def judge_parent(world: World, run_id: str, logs: dict[str, list[Event]]) -> list[str]:
    """What a parent says of its children is what their logs say, and together they stay within its limits."""
    events = logs[run_id]
    problems: list[str] = []
    born: dict[str, Any] = {}
    over: set[str] = set()
    for event in events:
        fact = event.fact
        if isinstance(fact, ChildStarted):
            born[fact.call] = fact
        elif isinstance(fact, ChildFinished):
            if fact.call in over or fact.call not in born or born[fact.call].run_id != fact.run_id:
                problems.append("family: a child ended twice, or was never born")
            over.add(fact.call)
            problems += judge_news(world, event, fact, logs.get(fact.run_id, []))
    end = end_of(events)
    if end is None:
        return problems
    family = Totals()
    for event in events:
        if isinstance(event.fact, ChildFinished):
            family = family.plus(event.fact.spent)
    if end.fact.family != family:  # type: ignore[union-attr]
        problems.append("P7: what a run's children spent is not the sum of what they spent")
    if status_of(end) == "ok" and over != set(born):
        problems.append("family: a run ended well and a child was not done")
    return problems + judge_limits(world, run_id, logs)


def status_of(end: Event) -> str:
    return end.fact.stats.status  # type: ignore[union-attr]


def judge_news(world: World, news: Event, fact: ChildFinished, child: list[Event]) -> list[str]:
    """`ChildFinished` against the child's own log."""
    end = end_of(child)
    if end is None:
        if fact.status != "error" or fact.spent != Totals():
            return ["family: a child is told over that is not"]
        return [] if not child or fact.run_id in world.hurt else ["family: a child was given up that could go on"]
    if fact.run_id in world.hurt and fact.status == "error" and fact.spent == Totals():
        return []  # it had been set aside
    if end.position > news.position:
        return ["family: a child is told over before it was"]
    spent, status = spent_by(child), status_of(end)
    if (fact.status, fact.spent.tokens, fact.spent.tool_calls) != (status, spent.tokens, spent.tool_calls):
        return [f"family: a child spent {spent} and its parent counts {fact.spent}"]
    return []


def spent_by(events: list[Event]) -> Totals:
    """What a run and its children spent, by its log."""
    end = end_of(events)
    assert end is not None
    stats = end.fact.stats  # type: ignore[union-attr]
    total = Totals(steps=stats.steps, tool_calls=stats.tool_calls, tokens=stats.input_tokens + stats.output_tokens)
    for event in events:
        if isinstance(event.fact, ChildFinished):
            total = total.plus(event.fact.spent)
    return total


def judge_limits(world: World, run_id: str, logs: dict[str, list[Event]]) -> list[str]:
    """What a family spends is within the limits of each run in it, but for what was under way when that was reached."""
    limits = world.disk.folded(run_id).state.limits
    if limits.max_tokens is None and limits.max_tool_calls is None:
        return []
    members = [run_id]
    for member in members:  # grows
        facts = [event.fact for event in logs.get(member, ())]
        members += [fact.run_id for fact in facts if isinstance(fact, ChildStarted) and fact.run_id in logs]
    tokens = calls = slack = 0
    for member in members:
        if end_of(logs[member]) is None:
            return []  # set aside
        stats = end_of(logs[member]).fact.stats  # type: ignore[union-attr]
        tokens += stats.input_tokens + stats.output_tokens
        calls += stats.tool_calls
        for event in logs[member]:
            if isinstance(event.fact, CriticReviewed):
                slack += event.fact.usage.input + event.fact.usage.output
    problems: list[str] = []
    if limits.max_tokens is not None and tokens > limits.max_tokens + MOST_CALL * len(members) + slack:
        problems.append(f"limits: a family used {tokens} tokens of {limits.max_tokens}")
    if limits.max_tool_calls is not None and calls > limits.max_tool_calls + CALLS_AT_ONCE * len(members):
        problems.append(f"limits: a family used {calls} tool calls of {limits.max_tool_calls}")
    return problems
