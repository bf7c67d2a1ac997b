"""Which unfinished runs of a journal a host takes up, and as what."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from .actors.address import Address
from .admission import in_tier
from .errors import ContentWithheld, JournalError
from .events import RunStarted
from .ports import Agent, Journal, Model

log = logging.getLogger("executus.runtime")


def recoverable(journal: Journal, agents: Mapping[str, Agent], tiers: Mapping[str, str | Model]) -> Iterator[Address]:
    """Where each unfinished run is to live.

    Left out: runs whose agent is not here, which stay suspended; children that their parent waits for, which it takes
    up; and logs whose beginning is damaged (P9).
    """
    for row in journal.runs(unfinished=True):
        try:
            first = journal.read(row.run_id, limit=1)
        except JournalError as error:
            log.error("run %s is set aside: %s", row.run_id, error)
            continue
        if first and first[0].content in ("locked", "erased"):
            log.error("run %s stays suspended: %s", row.run_id, ContentWithheld(row.run_id, first[0].content))
            continue
        fact = first[0].fact if first else None
        if isinstance(fact, RunStarted):
            address = _orphan(journal, fact) if fact.info.parent_run_id else _root(fact, agents, tiers)
            if address is not None:
                yield address


def _root(started: RunStarted, agents: Mapping[str, Agent], tiers: Mapping[str, str | Model]) -> Address | None:
    info = started.info
    agent = agents.get(started.agent.name)
    if agent is None:
        log.info("run %s stays suspended: no agent of its name is given", info.run_id)
        return None
    try:
        return Address(info, in_tier(agent, info.model_tier if info.model_tier != agent.tier else "", tiers))
    except ValueError as error:
        log.error("run %s stays suspended: %s", info.run_id, error)
        return None


def _orphan(journal: Journal, started: RunStarted) -> Address | None:
    """A child whose parent has ended, is gone, or no longer waits for it: it may only end."""
    info = started.info
    address = Address(info, Agent(started.agent.name or "orphan", model="none:none"))  # it is never asked anything
    address.orphaned = "cancelled"
    parent = journal.run(info.parent_run_id)
    if parent is None:
        return address
    try:
        state = journal.load(info.parent_run_id).state
    except JournalError:
        return address if parent.over else None
    if any(child.run_id == info.run_id for child in state.governed.children):
        return None
    address.orphaned = state.status or "cancelled"
    return address
