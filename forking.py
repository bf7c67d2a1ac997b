"""Forks: a new run that goes on from any event of another, live or over, and waits until it is told to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec import structs

from .actors.address import Address
from .actors.outputs import misfit
from .actors.run.asking import Asked
from .actors.run.intake import WORDS
from .actors.run.messages import BeginRun, StartRun
from .actors.supervisor import Admit
from .admission import Planned, changed_limits, in_tier, run_id_of
from .errors import ContentWithheld, JournalError, MessageRefused, UnknownRun
from .events import AgentPrint, Event, Message, Opaque, RunForked, RunStarted, Text
from .events.clean import clean_text
from .handles import Run
from .journal import MemoryJournal
from .overriding import agent_for, as_started, checked, edits_of, overridden, overridden_print
from .ports import NOBODY, Agent, Model, Overrides, Reply
from .projections.editing import edited, with_instructions
from .projections.forking import Inherited, inherited
from .redaction.raised import masks_errors
from .starting import Starts

if TYPE_CHECKING:
    from .runtime import Runtime

Reuses = Literal["never", "recorded"]


def source_events(call: str, source: str, events: Sequence[Event], at: int | None) -> Sequence[Event]:
    """The events of `source` up to version `at`, if a run can go on from there.

    Raises:
        UnknownRun, MessageRefused, ValueError: see `Forks.fork`.
    """
    if not events or not isinstance(events[0].fact, RunStarted):
        raise UnknownRun(source)
    withheld = next((event.content for event in events if event.content in ("locked", "erased")), None)
    if withheld is not None:
        raise MessageRefused(source, call, str(ContentWithheld(source, withheld)))
    if at is not None and (type(at) is not int or not 1 <= at <= len(events)):
        raise ValueError(f"{call}, at: expected a version from 1 to {len(events)} of run {source}, got {at!r}")
    if any(isinstance(event.fact, Opaque) for event in events[:at]):
        raise MessageRefused(source, call, "its log holds facts of a newer executus; upgrade to go on from it")
    return events[:at]


def fork_of(
    source: str,
    events: Sequence[Event],
    at: int | None,
    agents: Mapping[str, Agent],
    tiers: Mapping[str, str | Model],
    run_id: str,
    now_us: int,
    *,
    overrides: Overrides | None = None,
    caller: str | None = None,
    request_id: str = "",
    begin: BeginRun | None = None,
    reuse: Reuses = "never",
    deliver: bool = False,
    elsewhere: bool = False,
) -> tuple[Admit, Inherited]:
    """The order to start a run that goes on from event `at` of `source`, whose log is `events`, and what it inherits.

    Raises:
        UnknownRun, UnknownAgent, MessageRefused, TypeError, ValueError: see `Forks.fork`.
    """
    given = checked(overrides)
    events = source_events("fork", source, events, at)
    started = events[0].fact
    assert isinstance(started, RunStarted)
    found = agent_for(started.agent.name, given, agents, elsewhere)
    agent, printed = _agent(found, started, given, tiers)
    try:
        what = inherited(source, events, given.results)
        forked = _instructed(edited(what.forked, given.messages), given, printed)
    except ValueError as error:
        raise ValueError(f"fork, {error}") from error
    if forked.phase and forked.phase not in {phase.name for phase in printed.phases}:
        raise ValueError(f"fork, agent: the run is in phase {forked.phase!r}, which {printed.name!r} does not have")
    forked = _refitted(forked, agent)
    if given.messages and not forked.heard and all(message.role == "system" for message in forked.messages):
        raise ValueError("fork, messages: nothing is left to ask the model; add a Say")
    limits = changed_limits("fork", what.state.limits, given.limits)
    info = structs.replace(
        started.info,
        run_id=run_id,
        caller_id=started.info.caller_id if caller is None else _line("caller", caller),
        request_id=_line("request_id", request_id),
        parent_run_id="",
        root_run_id="",
        depth=0,
        model_tier=started.info.model_tier if found is None and given.model is None else agent.tier,
        started_at_us=now_us,
        max_iterations=limits.max_steps,
    )
    fresh = structs.replace(
        started, info=info, agent=printed, limits=limits, imported_from="", budgeted=False, deliver=deliver
    )
    edits = edits_of(given, started.agent, printed, what.state.limits, limits)
    forked = structs.replace(forked, reuse=reuse, edits=edits)
    order = Admit(Address(info, agent), fresh, Asked(StartRun(started=fresh, forked=forked, begin=begin)))
    return order, structs.replace(what, forked=forked)


def _agent(
    found: Agent | None, started: RunStarted, overrides: Overrides, tiers: Mapping[str, str | Model]
) -> tuple[Agent, AgentPrint]:
    if found is None:
        return Agent(started.agent.name, model=NOBODY), overridden_print(started.agent, overrides)
    tier = started.info.model_tier
    same = overrides.agent is None and overrides.model is None
    found = in_tier(found, tier if same and tier != found.tier else "", tiers)
    if overrides.agent is not None:
        return overridden(found, overrides)
    return overridden(as_started(found, started.agent), overrides, started.agent.overridden)


def _instructed(forked: RunForked, overrides: Overrides, printed: AgentPrint) -> RunForked:
    wanted = overrides.instructions is not None or overrides.agent is not None
    return with_instructions(forked, printed.instructions) if wanted and not printed.phases else forked


def _refitted(forked: RunForked, agent: Agent) -> RunForked:
    """Last words that do not fit the schema asked for are none: the model is told, as it would have been."""
    wanted = agent.in_phase(forked.phase).output
    if forked.said not in ("stop", "other") or wanted is None:
        return forked
    parts: Any = forked.messages[-1].parts
    reason = misfit(Reply(parts), wanted)
    if reason is None:
        return forked
    return structs.replace(forked, said=None, heard=(Message("user", (Text(clean_text(reason, WORDS)),)),))


def _line(label: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"fork, {label}: expected a string, got {text!r}")
    if label == "caller" and "\n" in text:
        raise ValueError("fork, caller: expected one line")
    return clean_text(text, WORDS)


@masks_errors(lambda runtime: runtime._vault.redactor)
class Forks(Starts):
    """The part of a runtime that forks; see `Runtime`."""

    def fork(
        self,
        run: Run | str,
        at: int | None = None,
        *,
        overrides: Overrides | None = None,
        start: bool = False,
        by: str = "",
        reuse: Reuses = "never",
        caller: str | None = None,
        request_id: str = "",
        deliver: bool = False,
        elsewhere: bool = False,
        timeout: float | None = 60.0,
    ) -> Run:
        """A new run that goes on from where `run`, live or over, stood after its event `at`; by default, the newest.

        It inherits conversation, totals, phase and outputs, and never an effect: calls that were asked for and not
        started are its own to make, `pure` ones that were under way are made again, the model is told of any other that
        its outcome is unknown, of children that they are cancelled, and people are asked anew. The source is not
        touched. It waits, at no cost and through restarts, until `Run.begin`.

        overrides: what is to be different. start: begin at once, by whom `by` names. reuse: "recorded" answers model
        calls from the source's log while they would be shown the same; that costs nothing. caller: by default the
        source's. request_id: the same twice is the same fork. deliver: its output goes to the runtime's delivery.
        elsewhere: its agent need not be in this runtime; another host begins it. timeout: seconds to wait for the
        journal.

        Raises:
            UnknownRun, UnknownAgent: there is no such run, or no such agent in this runtime.
            MessageRefused: its content is sealed without its key, or erased, or it has facts of a newer version.
            ValueError: there is no event `at`, or an override that cannot be made, with why.
            TypeError, BudgetSpent, Overloaded, DiskFull, RuntimeClosed, JournalUnavailable, TimeoutError: as `start`.
        """
        self.may_block("fork")
        options: dict[str, Any] = {"overrides": overrides, "caller": caller, "request_id": request_id, "reuse": reuse}
        options |= {"deliver": deliver, "elsewhere": elsewhere, "begin": _beginning(start, by)}
        return self._start(self._gated(self._forking(run, at, options)), timeout)

    async def fork_async(
        self,
        run: Run | str,
        at: int | None = None,
        *,
        overrides: Overrides | None = None,
        start: bool = False,
        by: str = "",
        reuse: Reuses = "never",
        caller: str | None = None,
        request_id: str = "",
        deliver: bool = False,
        elsewhere: bool = False,
        timeout: float | None = 60.0,
    ) -> Run:
        """`fork` for event loops."""
        options: dict[str, Any] = {"overrides": overrides, "caller": caller, "request_id": request_id, "reuse": reuse}
        options |= {"deliver": deliver, "elsewhere": elsewhere, "begin": _beginning(start, by)}
        plan = await asyncio.to_thread(self._forking, run, at, options)
        return await self._start_async(self._gated(plan), timeout)

    def forks(self, run: Run | str) -> list[Run]:
        """The runs that go on from `run`, forked or resumed, in the order they started. Looks at the tag of every event
        of a stored journal, and reads two events of each run that goes on from another.
        """
        self._check_open()
        source = run_id_of("forks", run)
        found: list[tuple[int, str]] = []
        if isinstance(self._stored, MemoryJournal):
            candidates = [row.run_id for row in self.journal.runs()]
        else:
            candidates = self._stored.tagged("run-forked")
        for run_id in candidates:
            try:
                first, second = [*self.journal.read(run_id, limit=2), None, None][:2]
            except JournalError:  # a log that cannot be read hides nothing but itself
                continue
            if second is not None and isinstance(second.fact, RunForked) and second.fact.source == source:
                found.append((first.position if first is not None else 0, run_id))
        return [Run(cast("Runtime", self), run_id) for _, run_id in sorted(found)]

    def _forking(self, run: Run | str, at: int | None, options: dict[str, Any]) -> Planned:
        self._check_open()
        if options["reuse"] not in ("never", "recorded"):
            raise ValueError(f"fork, reuse: expected 'never' or 'recorded', got {options['reuse']!r}")
        if options["begin"] is not None and options["elsewhere"]:
            raise ValueError("fork: what another host is to begin cannot be started here")
        source = run_id_of("fork", run)
        options["deliver"] = bool(options["deliver"]) and self._ports.delivery is not None
        now_us = self._clock.wall_us()
        first = at if type(at) is int and at > 0 else None
        order, _ = fork_of(
            source,
            self.journal.read(source, limit=first),
            at,
            self._agents,
            self._ports.tiers,
            self._ids.run_id(),
            now_us,
            **options,
        )
        if self._beside.is_aside(source):  # what it carries on is not to be stored
            return self._choosing(Planned(order), self._beside.is_recorded(source), False)
        return self._choosing(Planned(order))


def _beginning(start: object, by: object) -> BeginRun | None:
    if not isinstance(start, bool) or not isinstance(by, str):
        raise TypeError(f"fork, start and by: expected True or False, and a string, got {start!r} and {by!r}")
    return BeginRun(by=clean_text(by, WORDS)) if start else None
