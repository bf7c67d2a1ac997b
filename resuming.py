"""Going on from a run that is over: what its successor inherits, and what nobody can answer any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from .actors.address import Address
from .actors.printing import print_of
from .actors.run.asking import Asked
from .actors.run.intake import clean_input
from .actors.run.messages import StartRun
from .actors.supervisor import Admit
from .admission import changed_limits, in_tier
from .errors import ContentWithheld, MessageRefused, UnknownAgent, UnknownRun
from .events import Event, InputPart, Message, RunFinished, RunStarted
from .handles import as_parts
from .overriding import as_started
from .ports import Agent, Model
from .projections.carrying import carried


def going_on(
    source: str,
    events: Sequence[Event],
    agents: Mapping[str, Agent],
    tiers: Mapping[str, str | Model],
    run_id: str,
    now_us: int,
    input: str | Sequence[InputPart],
    limits: Mapping[str, Any] | None,
) -> Admit:
    """The order to start a run that goes on from `source`, whose log is `events`.

    Raises:
        UnknownRun, UnknownAgent, MessageRefused, TypeError, ValueError: see `Runtime.resume`.
    """
    if not events or not isinstance(events[0].fact, RunStarted):
        raise UnknownRun(source)
    started = events[0].fact
    withheld = next((event.content for event in events if event.content in ("locked", "erased")), None)
    if withheld is not None:
        raise MessageRefused(source, "resume", str(ContentWithheld(source, withheld)))
    end = next((event for event in events if isinstance(event.fact, RunFinished)), None)
    if end is None or not isinstance(end.fact, RunFinished):
        raise MessageRefused(source, "resume", "it is not over; it goes on by itself in a host that has its agent")
    said = clean_input(as_parts("resume, input", input)) if input else ()
    if end.fact.status == "ok" and not said:
        raise MessageRefused(source, "resume", 'it ended with status "ok"; say something to go on from there')
    agent = agents.get(started.agent.name)
    if agent is None:
        raise UnknownAgent(started.agent.name, tuple(agents))
    tier = started.info.model_tier
    agent = as_started(in_tier(agent, tier if tier != agent.tier else "", tiers), started.agent)
    before = events[: end.version - 1]
    forked, state = carried(source, before)
    if said:
        forked = structs.replace(forked, messages=(*forked.messages, Message("user", said)))
    info = structs.replace(
        started.info,
        run_id=run_id,
        request_id="",
        parent_run_id="",
        root_run_id="",
        depth=0,
        model_tier=agent.tier,
        started_at_us=now_us,
    )
    fresh = structs.replace(
        started,
        info=info,
        agent=structs.replace(print_of(agent), overridden=started.agent.overridden),
        limits=changed_limits("resume", state.limits, limits or {}),
        imported_from="",
        budgeted=False,
    )
    return Admit(Address(info, agent), fresh, Asked(StartRun(started=fresh, forked=forked)))
