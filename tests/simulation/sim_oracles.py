"""What must be true of every episode: the promises, as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim_calls import TIMEOUT_S
from sim_deliveries import judge_deliveries
from sim_forks import judge_fork
from sim_oracles_family import is_kept_waiting, judge_family
from sim_oracles_governed import judge_governed
from sim_oracles_views import judge_views
from sim_purses import SimPrices
from sim_seals import opening
from sim_secrets import judge_secrets

from executus.errors import LogCorrupt, RunQuarantined
from executus.events import (
    AFTER_THE_END,
    GENESIS,
    CallerSteered,
    ChildStarted,
    CriticSteered,
    RunFinished,
    StepCompleted,
    StepStarted,
    Text,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolStarted,
    erased,
)
from executus.events.codec import decode_event, verify_hash
from executus.projections import fold, stats
from executus.projections.ledger import recount
from executus.projections.rolling import NOTHING

if TYPE_CHECKING:
    from sim_client import Client
    from sim_host import Host
    from sim_world import World


def judge(world: World, client: Client, host: Host) -> list[str]:
    """The promises that this episode broke."""
    problems: list[str] = []
    for run_id in world.disk.logs:
        problems += judge_log(world, run_id)
        problems += judge_fork(world, run_id)
    for run_id, version in world.acked:
        log = world.disk.logs.get(run_id, [])
        if version > len(log):
            problems.append(f"P1: an acknowledged event is lost (version {version} of {len(log)})")
    for run_id, text in world.steers:
        facts = [event.fact for event in world.disk.events(run_id)]
        if sum(isinstance(fact, CallerSteered) and fact.text == text for fact in facts) != 1:
            problems.append("P3: acknowledged advice is not in the log exactly once")
    if any(where is host and not asked.ack.done() for where, asked in client.asked):
        problems.append("P3: an order was never answered")
    for wish in client.wishes:
        runs = {run_id for key, run_id in world.disk.requests.items() if key.endswith(f"\n{wish.request}")}
        if not wish.told:
            problems.append("P3: a start was never answered")
        elif runs != {wish.told} and not (wish.refused and not runs):
            problems.append("P3: one request made more or other runs than it was told")
    for run_id, head in world.disk.heads.items():
        if not head.version or head.over:
            continue
        address = host.directory.get(run_id)
        if address is not None and isinstance(address.end, RunQuarantined):
            if run_id not in world.hurt:
                problems.append("P9: a run was set aside for what happened to another")
            continue  # visibly quarantined
        if address is None and is_kept_waiting(world, host, run_id):
            continue
        problems.append("P5: a run neither ends nor is visibly set aside")
    mine = [position for position, epoch in enumerate(world.disk.by, 1) if epoch == host.journal.epoch]
    if host.journal.told != mine:
        problems.append("P10: followers were not told just what was stored, in order")
    problems += judge_seals(world)
    problems += judge_family(world, host)
    problems += judge_ledgers(world, host)
    problems += judge_views(world)
    problems += judge_deliveries(world, host)
    problems += judge_secrets(world)
    watched = set(host.observers._watched)
    if not watched <= set(host.directory):
        problems.append("C7: a run that is over is still watched")
    return problems


def judge_seals(world: World) -> list[str]:
    """In a sealed world nothing that is said is readable without a key, and everything with those on the disk (P15)."""
    if not world.sealed:
        return []
    disk, problems = world.disk, set[str]()
    for (run_id, version, tag, state), read in zip(disk.rows, disk.decoded, strict=True):
        bare = decode_event(run_id, version, tag, state, position=read.position, blob=disk.blobs.get).fact
        if erased(bare) != bare:
            problems.add(f"P15: {tag} is stored in the clear")
        whole = decode_event(
            run_id,
            version,
            tag,
            state,
            position=read.position,
            blob=disk.blobs.get,
            opener=lambda run, _key: opening(disk.keys, run),
        )
        if whole != read:
            problems.add(f"P15: {tag} cannot be opened with the keys that are on the disk")
    return sorted(problems)


def judge_ledgers(world: World, host: Host) -> list[str]:
    """At rest, every live ledger equals a recount (P7)."""
    if host.budgets is None:
        return []
    problems: list[str] = []
    for payer in sorted(set(world.purses.payers.values())):
        if any(world.purses.payers.get(run_id) == payer for run_id in host.directory):
            continue  # nothing is held back for a run that was set aside, whatever the log says
        shown = host.budgets.standing(payer)
        for _ in range(1_000):
            if shown.done():
                break
            host.scheduler.step()
        events = (event for event in world.disk.decoded if world.purses.payers.get(event.run_id) == payer)
        theirs = recount(events, SimPrices().cost_usd if world.purses.priced else None)
        if not shown.done() or shown.result() != theirs.standing():
            problems.append(f"P7: the budget of {payer} is not what a recount gives")
        if theirs.account(payer).spent("total", 0).tokens != world.purses.spent[payer]:
            problems.append(f"P8: the ledger of {payer} counts other tokens than were used")
        if theirs.account(payer).reserved() != NOTHING:
            problems.append(f"P8: something is held back for {payer} and nobody calls")
    return problems


def judge_log(world: World, run_id: str) -> list[str]:
    problems: list[str] = []
    events = world.disk.events(run_id)
    previous = GENESIS
    over = False
    for number, event in enumerate(events, 1):
        if event.version != number:
            problems.append(f"P2: version {event.version} stands in place {number}")
        state = world.disk.rows[event.position - 1][3]
        try:
            verify_hash(event, state, previous)
        except LogCorrupt:
            problems.append(f"P2: the chain is broken at {number}")
        previous = event.hash
        if over and event.tag not in AFTER_THE_END:
            problems.append(f"P2: {event.tag} after the end")
        over = over or isinstance(event.fact, RunFinished)
    problems += judge_steps([event.fact for event in events])
    ends = [event for event in events if isinstance(event.fact, RunFinished)]
    if ends:
        end = ends[0]
        before = fold(events[: end.version - 1])
        state = before.state
        want = stats(state, end.fact.stats.status, end.fact.stats.error, round(end.fact.stats.runtime_s * 1000))  # type: ignore[union-attr]
        if want != end.fact.stats:  # type: ignore[union-attr]
            problems.append("P7: the statistics of the end are not the fold of the events")
        started: Any = events[0].fact
        chat = started.interactive  # a long one may work for as long as the deadline
        family = started.info.parent_run_id or any(isinstance(event.fact, ChildStarted) for event in events)
        # A family waits for whoever of it hung, or asks a person. A child has what its parent had left of its time, and
        # so has a run that goes on from one.
        excused = chat or bool(family) or run_id in world.hung or world.personality.longest_wait_s > 1
        excused = excused or (started.budgeted and bool(world.hung or world.hurt)) or started.agent.phases
        excused = excused or started.limits.timeout_s < TIMEOUT_S
        if end.fact.stats.status == "timeout" and not excused:  # type: ignore[union-attr]
            problems.append("P5: only the deadline ended a run in which nothing hung")
        problems += judge_governed(world, events, events.index(end) + 1)
        if started.agent.phases:
            return problems  # each phase has a transcript of its own
        advice = (CallerSteered, CriticSteered)
        steered = [event.fact.text for event in events[: end.version] if isinstance(event.fact, advice)]
        said = [
            part.text
            for message in fold(events[end.version - 1 :], before).transcript.messages
            for part in message.parts
            if isinstance(part, Text)
        ]
        if any(said.count(text) != steered.count(text) for text in steered):
            problems.append("P3: advice did not reach the transcript")
    return problems


def judge_steps(facts: list[object]) -> list[str]:
    problems: list[str] = []
    begun: set[int] = set()
    completed: set[int] = set()
    calls: set[str] = set()
    closed: set[str] = set()
    for fact in facts:
        match fact:
            case StepStarted():
                begun.add(fact.step)
            case StepCompleted():
                if fact.step in completed:
                    problems.append(f"P4: step {fact.step} was completed twice")
                if fact.step not in begun:
                    problems.append(f"P4: step {fact.step} was completed without having started")
                completed.add(fact.step)
                text = fact.reply[0]
                if isinstance(text, Text) and not text.text.endswith(f" at {fact.step}"):
                    problems.append(f"P4: step {fact.step} was completed with the answer to another")
            case ToolStarted():
                if fact.call in calls:
                    problems.append(f"P4: call {fact.call} was started twice")
                calls.add(fact.call)
            case ToolFinished() | ToolOutcomeUnknown():
                if fact.call not in calls:
                    problems.append(f"P4: call {fact.call} has an outcome and no intent")
                if fact.call in closed:
                    problems.append(f"P4: call {fact.call} has two outcomes")
                closed.add(fact.call)
    return problems
