"""What must be true of the log of a run that is supervised, limited, works in phases or asks people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from executus.events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    BudgetExceeded,
    BudgetNoticed,
    CancelRequested,
    CeilingRaised,
    ChildWentOn,
    CriticKilled,
    DeadlineExtended,
    Event,
    InputReceived,
    PhaseFinished,
    PhaseStarted,
    RunBegun,
    RunFinished,
    RunForked,
    RunStarted,
    SoftTimeoutReached,
    StepStarted,
    ToolRefused,
    ToolStarted,
)

if TYPE_CHECKING:
    from sim_world import World

SOON_S = 30.0
"""How long the start of a run may take to be stored after its clock has begun."""
LATE_MS = 60_000
"""How late a deadline may be in a world whose actors are never stuck: a failing journal pauses a run."""


def judge_governed(world: World, events: Sequence[Event], end: int) -> list[str]:
    """The promises that the run broke; its `RunFinished` is in place `end`, counted from 1."""
    facts = [event.fact for event in events[:end]]
    problems = judge_supervision(facts)
    problems += judge_approvals(world, events[:end])
    problems += judge_phases(facts)
    problems += judge_end(facts)
    last = events[end - 1]
    due_ms = last_deadline_ms(facts)
    if due_ms is None or world.personality.longest_wait_s > 1 or last.run_id in world.hurt:
        return problems
    if last.elapsed_ms - waited_ms(events[:end]) > due_ms + LATE_MS:
        problems.append("P5: a run outlived its deadline")
    worked_s = world.times[last.position - 1] - world.times[events[0].position - 1]
    if facts[-1].by == "deadline" and not facts[0].agent.phases and worked_s < due_ms / 1000 - SOON_S:
        problems.append(f"P13: a run was ended after {worked_s:.0f} s, its deadline is {due_ms / 1000:.0f} s")
    return problems


def last_deadline_ms(facts: Sequence[Any]) -> int | None:
    """On the run's own clock, waiting for people not counted."""
    timeout_s = facts[0].limits.timeout_s
    due_ms = None if timeout_s is None else round(timeout_s * 1000)
    for fact in facts:
        if isinstance(fact, DeadlineExtended):
            due_ms = fact.until_ms
    return due_ms


def waited_ms(events: Sequence[Event]) -> int:
    """For how long the run stood still for people; an end while it does closes the last wait."""
    waited, since = 0, None
    for event in events:
        fact: Any = event.fact
        since = getattr(fact, "since_ms", since)
        if isinstance(fact, RunForked) and fact.paused:
            since = 0
        if isinstance(fact, (ApprovalGranted, ApprovalDenied, ApprovalExpired, ChildWentOn, InputReceived, RunBegun)):
            waited, since = waited + fact.waited_ms, None
        elif isinstance(fact, RunFinished) and since is not None:
            waited += event.elapsed_ms - since
    return waited


def judge_supervision(facts: Sequence[Any]) -> list[str]:
    """Caps hold whatever a critic wants; what is told once is told once."""
    problems: list[str] = []
    started: RunStarted = facts[0]
    limits = started.limits
    steps, cap_steps = limits.max_steps, limits.raise_steps_to or 2 * limits.max_steps
    due_ms = last_deadline_ms(facts[:1])
    cap_ms = due_ms if due_ms is None else 2 * due_ms
    if limits.extend_to_s is not None:
        cap_ms = round(limits.extend_to_s * 1000)
    forked = forked_of(facts)
    turn_from = 0
    if forked is not None and forked.turn_from >= 0:
        turn_from = forked.turn_from
    elif forked is not None and started.interactive:
        turn_from = forked.totals.steps
    told: Counter[str] = Counter()
    for fact in facts:
        critic = getattr(fact, "by", "").startswith("critic")
        match fact:
            case DeadlineExtended():
                if due_ms is None or fact.until_ms <= due_ms:
                    problems.append("critic: an extension took time away")
                if critic and cap_ms is not None and fact.until_ms > cap_ms:
                    problems.append(f"critic: extended to {fact.until_ms} ms, its cap is {cap_ms}")
                due_ms = fact.until_ms
            case CeilingRaised():
                if fact.new <= fact.old:
                    problems.append("critic: raising lowered a limit")
                if critic and (fact.limit != "steps" or fact.new > cap_steps):
                    problems.append(f"critic: raised {fact.limit} to {fact.new}, its cap is {cap_steps} steps")
                if fact.limit == "steps":
                    steps = round(fact.new)
            case StepStarted():
                if fact.step - turn_from > steps:
                    problems.append(f"limits: step {fact.step} began, {steps} are allowed")
            case InputReceived():
                turn_from = fact_step(facts, fact)
            case BudgetNoticed():
                told[f"{fact.phase} {fact.measure} {fact.fraction}"] += 1
            case SoftTimeoutReached():
                told["soft timeout"] += 1
            case _:
                pass
    problems += [f"notices: {key} was told {count} times" for key, count in told.items() if count > 1]
    return problems


def forked_of(facts: Sequence[Any]) -> RunForked | None:
    """What the run goes on from, if it goes on from another."""
    return next((fact for fact in facts[:2] if isinstance(fact, RunForked)), None)


def fact_step(facts: Sequence[Any], here: Any) -> int:
    """The newest step when `here` happened."""
    forked = forked_of(facts)
    newest = forked.totals.steps if forked is not None else 0
    for fact in facts:
        if fact is here:
            break
        if isinstance(fact, StepStarted):
            newest = fact.step
    return newest


def judge_approvals(world: World, events: Sequence[Event]) -> list[str]:
    """What was asked first starts only after a yes, or a silence that means yes; silence is never a no."""
    problems: list[str] = []
    asked: dict[str, ApprovalRequested] = {}
    answered: dict[str, Any] = {}
    for index, event in enumerate(events):
        fact: Any = event.fact
        run_id = event.run_id
        match fact:
            case ApprovalRequested():
                asked[fact.call] = fact
                if fact.call in answered:
                    problems.append(f"approvals: {fact.call} was asked for twice")
            case ApprovalGranted() | ApprovalDenied() | ApprovalExpired():
                request = asked.get(fact.call)
                if request is None or fact.call in answered:
                    problems.append(f"approvals: {fact.call} was answered twice, or never asked for")
                    continue
                answered[fact.call] = fact
                follows: Any = events[index + 1].fact if index + 1 < len(events) else None
                yes = isinstance(fact, ApprovalGranted)
                if isinstance(fact, ApprovalExpired):
                    yes = request.default == "grant"
                    early = not world.wall_skew and event.at_us < (request.expires_at_us or 0)
                    if request.expires_at_us is None or early:
                        problems.append(f"approvals: {fact.call} expired before its time")
                elif (run_id, fact.call, "yes" if yes else "no") not in world.answers:
                    problems.append(f"approvals: {event.tag} for {fact.call}, and nobody said so")
                if not isinstance(follows, ToolStarted if yes else ToolRefused) or follows.call != fact.call:
                    problems.append(f"approvals: after {event.tag} of {fact.call} came something else")
            case ToolStarted() if fact.call in asked and fact.call not in answered:
                problems.append(f"approvals: {fact.call} started before anybody answered")
            case _:
                pass
    return problems


def judge_phases(facts: Sequence[Any]) -> list[str]:
    """Phases come in order, none twice, and a run that ends well went through all."""
    names = [phase.name for phase in facts[0].agent.phases]
    begun = [fact.phase for fact in facts if isinstance(fact, PhaseStarted)]
    done = [fact.phase for fact in facts if isinstance(fact, PhaseFinished)]
    forked = forked_of(facts)
    if forked is not None:  # its source has been through these
        before = [name for name, _ in forked.outputs]
        begun = [*before, *([forked.phase] if forked.phase and forked.phase not in before else ()), *begun]
        done = [*before, *done]
    problems: list[str] = []
    if begun != names[: len(begun)] or done != names[: len(done)] or not len(done) <= len(begun) <= len(done) + 1:
        problems.append(f"phases: began {begun}, finished {done}, of {names}")
    if facts[-1].status == "ok" and done != names:
        problems.append(f"phases: ended well after {done} of {names}")
    return problems


def judge_end(facts: Sequence[Any]) -> list[str]:
    """Who ended the run, and how, fit together (R6)."""
    end: RunFinished = facts[-1]
    before: Any = facts[-2] if len(facts) > 1 else None
    if end.by == "parent":
        return []
    wanted: dict[str, Any] = {"killed": CriticKilled, "cancelled": CancelRequested, "budget_exceeded": BudgetExceeded}
    kind = wanted.get(end.status)
    problems: list[str] = []
    if kind is not None and not isinstance(before, kind):
        problems.append(f"P5: {end.status} by {end.by} came after {type(before).__name__}")
    if end.status != "killed" and isinstance(before, CriticKilled):
        problems.append(f"P5: a kill ended with status {end.status}")
    if end.status == "killed" and (end.by, end.reason) != (before.by, before.reason):
        problems.append("P5: a killed run does not say who killed it")
    if (end.status == "timeout") != (end.by == "deadline"):
        problems.append(f"P5: status {end.status} by {end.by}")
    return problems
