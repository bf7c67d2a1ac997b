"""Which unfinished runs of a journal a host takes up, and as what."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .actors.address import Address
from .actors.recovering import Survey, has_survived
from .admission import in_tier
from .errors import ContentWithheld, JournalError, JournalUnavailable, UnknownRun
from .events import RunStarted
from .overriding import as_started
from .ports import Agent, Journal, Model, Recovery, Unfinished

log = logging.getLogger("executus.recovery")

PAGE = 1_000
"""Unfinished runs read at once."""

SEEN = 50
"""Events after an attempt that are looked at: enough to see whether anything came of it."""

MOST_EVENTS = 1_000_000
"""A longer log is not read at opening: it would take minutes and more memory than a host may have."""


def survey(journal: Journal, agents: Mapping[str, Agent], tiers: Mapping[str, str | Model], only: str = "") -> Survey:
    """What is to be done about the unfinished runs of `journal`, newest first; of the run `only`, if it is named.

    Left alone are runs that nobody here can carry on, with the reason; children, whom their parents take up; and runs
    that this very host has started meanwhile.

    Raises:
        JournalUnavailable: it cannot be read now.
        UnknownRun: there is no such run.
    """
    addresses: list[tuple[int, Address]] = []
    waiting: dict[str, str] = {}
    children: dict[str, str] = {}
    versions: dict[str, int] = {}
    for one in _one(journal, only) if only else _all(journal):
        run_id = one.summary.run_id
        versions[run_id] = one.summary.version
        fact = None if one.first is None else one.first.fact
        if not isinstance(fact, RunStarted):
            waiting[run_id] = f"its log cannot be read: {one.problem or 'it does not begin with its start'}"
        elif fact.info.run_id != run_id:  # what a log says of itself is not believed
            waiting[run_id] = "its log begins with the start of another run"
        elif one.first is not None and one.first.epoch == journal.epoch and not only:
            continue
        elif one.first is not None and one.first.content in ("locked", "erased"):
            waiting[run_id] = str(ContentWithheld(run_id, one.first.content))
        elif one.summary.version > MOST_EVENTS:
            waiting[run_id] = f"its log has {one.summary.version:,} events, more than the {MOST_EVENTS:,} of a run"
        elif fact.info.parent_run_id:
            children[run_id] = fact.info.parent_run_id
        else:
            found = _root(fact, agents, tiers)
            if isinstance(found, Address):
                addresses.append((one.summary.position, found))
            else:
                waiting[run_id] = found
    if waiting:
        run_id, why = next(iter(waiting.items()))
        log.warning("%d unfinished runs are not taken up; the first, %s: %s", len(waiting), run_id, why)
    addresses.sort(key=lambda one: -one[0])
    return Survey([address for _, address in addresses], waiting, children, _known(journal), versions)


def _all(journal: Journal) -> list[Unfinished]:
    found: list[Unfinished] = []
    while True:
        page = journal.unfinished(found[-1].summary.first_position if found else 0, PAGE)
        found += page
        if len(page) < PAGE:
            return found


def _one(journal: Journal, run_id: str) -> list[Unfinished]:
    row = journal.run(run_id)
    if row is None:
        raise UnknownRun(run_id)
    if row.over:
        return []
    try:
        return [Unfinished(summary=row, first=journal.read(run_id, limit=1)[0])]
    except JournalUnavailable:
        raise
    except JournalError as error:
        return [Unfinished(summary=row, problem=error)]


def _known(journal: Journal) -> dict[str, Recovery]:
    """What is held against runs; of those that their logs acquit, nothing."""
    known: dict[str, Recovery] = {}
    for one in journal.recoveries():
        known[one.run_id] = Recovery(run_id=one.run_id, standing="waiting") if _is_acquitted(journal, one) else one
    return known


def _is_acquitted(journal: Journal, one: Recovery) -> bool:
    if not one.company or not one.version:
        return False
    try:
        return has_survived(journal.read(one.run_id, after=one.version - 1, limit=SEEN))
    except JournalUnavailable:
        raise
    except (JournalError, UnknownRun):
        return False


def _root(started: RunStarted, agents: Mapping[str, Agent], tiers: Mapping[str, str | Model]) -> Address | str:
    """Where the run is to live, or why it cannot."""
    info = started.info
    agent = agents.get(started.agent.name)
    if agent is None:
        return f"no agent named {started.agent.name!r} is registered in this host: Runtime(agents=[…])"
    try:
        agent = in_tier(agent, info.model_tier if info.model_tier != agent.tier else "", tiers)
        return Address(info, as_started(agent, started.agent))
    except ValueError as error:
        return str(error)
