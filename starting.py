"""How runs begin: new ones, and ones that go on after an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from msgspec import structs

from .actors.address import Address
from .actors.budget_desk import BudgetDesk
from .actors.run.asking import Asked, request_key_of
from .actors.run.messages import StartRun
from .actors.runner import CallRunner
from .actors.supervisor import Admit
from .admission import AS_AGENT, Planned, gated, is_refused, planned, run_id_of, stage, unstage, without_secrets
from .errors import BudgetSpent, Overloaded, RequestRepeated
from .events import InputPart
from .handles import Run, wait, wait_async
from .journal import BesideJournal, MemoryJournal, SqliteJournal
from .ports import Agent, Clock, Delta, Ids, InputFile, Journal
from .redaction.raised import masks_errors
from .redaction.vault import Vault
from .resuming import going_on
from .wiring import Choices, Ports, run_on, run_on_loop, why_spent

if TYPE_CHECKING:
    from .runtime import Runtime

NOT_ADMITTED = "the run still waits to be admitted"


@masks_errors(lambda runtime: runtime._vault.redactor)
class Starts:
    """The part of a runtime that starts runs; see `Runtime`."""

    journal: Journal
    _agents: Mapping[str, Agent]
    _ports: Ports
    _vault: Vault
    _choices: Choices
    _beside: BesideJournal
    _stored: MemoryJournal | SqliteJournal
    _degraded: tuple[str, ...]
    _budgets: BudgetDesk | None
    _calls: CallRunner
    _clock: Clock
    _ids: Ids
    _directory: dict[str, Address]
    _admitting: threading.Lock
    _max_live_runs: int

    if TYPE_CHECKING:

        def may_block(self, call: str) -> None:
            """See `Runtime`."""
            ...

        def asking(self, asked: Asked) -> AbstractContextManager[Asked]:
            """See `Runtime`."""
            ...

        def _check_open(self) -> None: ...

        def _tell_supervisor(self, message: Any) -> None: ...

    def start(
        self,
        agent: str,
        input: str | Sequence[InputPart],
        *,
        caller: str = "",
        request_id: str = "",
        name: str = "",
        subject: str = "",
        channel: str = "",
        guild: str = "",
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[InputFile] = (),
        interactive: bool = False,
        dry_run: bool = False,
        deliver: bool = True,
        record: bool | None = None,
        durable: bool | None = None,
        tier: str = "",
        max_steps: int | None = None,
        timeout_s: float | None = AS_AGENT,
        limits: Mapping[str, Any] | None = None,
        on_delta: Callable[[Delta], None] | None = None,
        timeout: float | None = 60.0,
    ) -> Run:
        """Start a run; returns when its `RunStarted` is durable (P3).

        agent: the name of an agent of this runtime. input: text, or `Text` and `Image` parts. caller: who asks;
        request ids are theirs: the same `request_id` twice is the same run. files: attachments; images go to the model,
        others to the file stager, without one they are ignored. interactive: after a reply without tool calls the run
        waits for `Run.send` or `Run.end`. dry_run: tools are not executed. deliver: False keeps the output from the
        runtime's delivery. record, durable: instead of what the runtime chooses. tier: instead of the agent's model.
        max_steps, timeout_s, limits (by the names of `events.Limits`): instead of the agent's. on_delta: shown
        pieces of replies while they are made, on the runtime's loop; never stored. timeout: seconds to wait for the
        journal.

        Raises:
            UnknownAgent, BudgetSpent, FileRefused, Overloaded, RuntimeClosed, JournalUnavailable, TimeoutError.
            DiskFull: there is too little room on the journal's disk for a new run.
            TypeError, ValueError: a wrong argument, with what was expected.
        """
        self.may_block("start")
        options = dict(locals())
        del options["self"], options["timeout"]
        plan = self._gated(self._plan(options))
        if plan.files:
            plan.order = run_on(self._calls.loop, stage(plan, self._ports.files, self._vault.redactor), timeout)
        return self._start(plan, timeout)

    async def start_async(
        self,
        agent: str,
        input: str | Sequence[InputPart],
        *,
        caller: str = "",
        request_id: str = "",
        name: str = "",
        subject: str = "",
        channel: str = "",
        guild: str = "",
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[InputFile] = (),
        interactive: bool = False,
        dry_run: bool = False,
        deliver: bool = True,
        record: bool | None = None,
        durable: bool | None = None,
        tier: str = "",
        max_steps: int | None = None,
        timeout_s: float | None = AS_AGENT,
        limits: Mapping[str, Any] | None = None,
        on_delta: Callable[[Delta], None] | None = None,
        timeout: float | None = 60.0,
    ) -> Run:
        """`start` for event loops."""
        options = dict(locals())
        del options["self"], options["timeout"]
        plan = self._gated(self._plan(options))
        if plan.files:
            staging = run_on_loop(self._calls.loop, stage(plan, self._ports.files, self._vault.redactor))
            try:
                plan.order = await wait_async(staging, timeout, "the attachments are not yet stored")
            finally:
                staging.cancel()
        return await self._start_async(plan, timeout)

    def resume(
        self,
        run: Run | str,
        input: str | Sequence[InputPart] = (),
        *,
        limits: Mapping[str, Any] | None = None,
        timeout: float | None = 60.0,
    ) -> Run:
        """Go on after the end of a run, as a new run that carries the old one's conversation, finished phases, tallies
        and notices; results are inherited, no tool is run again. limits, by the names of `events.Limits`: instead of
        the old ones; those but time count what the old run spent. input: what a person says first; needed after "ok".

        Raises:
            UnknownRun, UnknownAgent: there is no such run or its agent is not in this runtime.
            MessageRefused: it is not over, or ended "ok" and nothing more was said.
            TypeError, ValueError, BudgetSpent, Overloaded, RuntimeClosed, JournalUnavailable, TimeoutError: as `start`.
        """
        self.may_block("resume")
        return self._start(self._gated(self._resuming(run, input, limits)), timeout)

    async def resume_async(
        self,
        run: Run | str,
        input: str | Sequence[InputPart] = (),
        *,
        limits: Mapping[str, Any] | None = None,
        timeout: float | None = 60.0,
    ) -> Run:
        """`resume` for event loops."""
        plan = await asyncio.to_thread(self._resuming, run, input, limits)
        return await self._start_async(self._gated(plan), timeout)

    def _resuming(self, run: Run | str, input: str | Sequence[InputPart], limits: Mapping[str, Any] | None) -> Planned:
        self._check_open()
        source = run_id_of("resume", run)
        events = self.journal.read(source)
        order = going_on(
            source, events, self._agents, self._ports.tiers, self._ids.run_id(), self._clock.wall_us(), input, limits
        )
        if self._beside.is_aside(source):  # what it carries on is not to be stored
            return self._choosing(Planned(order), self._beside.is_recorded(source), False)
        return self._choosing(Planned(order))

    def _plan(self, options: dict[str, Any]) -> Planned:
        self._check_open()
        options["deliver"] = options["deliver"] and self._ports.delivery is not None
        chosen = {label: options.pop(label) for label in ("record", "durable")}
        tiers, run_id = self._ports.tiers, self._ids.run_id()
        plan = planned(self._agents, tiers, run_id, self._clock.wall_us(), **options)
        if self._ports.files is None:
            plan.files = ()
        return self._choosing(plan, **chosen)

    def _choosing(self, plan: Planned, record: bool | None = None, durable: bool | None = None) -> Planned:
        """Note where the run is kept, and in its log what is wrong with that."""
        order = plan.order = without_secrets(plan.order, self._vault.redactor)
        started, start = order.started, order.asked.message
        assert isinstance(start, StartRun)
        plan.recorded, plan.durable = self._choices.of(started.info, record, durable)
        if not plan.recorded or self._degraded:
            # What is not recorded is gone before it could be read for a delivery.
            started = structs.replace(started, deliver=started.deliver and plan.recorded)
            start = structs.replace(start, started=started, errors=self._degraded)
            plan.order = Admit(order.address, started, Asked(start))
        return plan

    def _gated(self, plan: Planned) -> Planned:
        """The same run, to be recorded as refused if the caller's budget has nothing left. Then, and if the request was
        made before, no attachment is staged.
        """
        if self._budgets is None and not plan.files:
            return plan
        info = plan.order.started.info
        key = request_key_of(info.caller_id, info.request_id)
        if key and self.journal.find_request(key) is not None:
            plan.files = ()  # it was let in before, and is the same run
        elif self._budgets is not None:
            plan.order = gated(plan.order, self._budgets, self._clock.wall_us())
            if is_refused(plan.order):
                plan.files = ()
        return plan

    def _start(self, plan: Planned, timeout: float | None) -> Run:
        try:
            with self.asking(plan.order.asked) as asked:
                self._admit(plan)
                wait(asked.ack, timeout, NOT_ADMITTED)
        except (RequestRepeated, Overloaded) as error:
            unstage(plan, self._ports.files)
            if isinstance(error, RequestRepeated):
                return Run(cast("Runtime", self), error.run_id)
            raise
        return self._begun(plan.order)

    async def _start_async(self, plan: Planned, timeout: float | None) -> Run:
        try:
            with self.asking(plan.order.asked) as asked:
                self._admit(plan)
                await wait_async(asked.ack, timeout, NOT_ADMITTED)
        except (RequestRepeated, Overloaded) as error:
            await asyncio.to_thread(unstage, plan, self._ports.files)
            if isinstance(error, RequestRepeated):
                return Run(cast("Runtime", self), error.run_id)
            raise
        return self._begun(plan.order)

    def _begun(self, order: Admit) -> Run:
        start = order.asked.message
        if isinstance(start, StartRun) and start.refused is not None:
            raise BudgetSpent(order.started.info.caller_id, why_spent(start.refused), order.address.run_id)
        return Run(cast("Runtime", self), order.address.run_id)

    def _admit(self, plan: Planned) -> None:
        """Hand the order over, if there is room; a request that was made before needs none."""
        order = plan.order
        no_room = self._stored.no_room() if plan.recorded and plan.durable else None
        with self._admitting:
            full = len(self._directory) >= self._max_live_runs
            if not full and no_room is None:
                self._directory[order.address.run_id] = order.address
        if full or no_room is not None:
            info = order.started.info
            key = request_key_of(info.caller_id, info.request_id)
            repeated = self.journal.find_request(key) if key else None
            if repeated is not None:
                raise RequestRepeated(info.request_id, repeated)
            if no_room is not None:
                raise no_room
            raise Overloaded("live runs", self._max_live_runs, "Runtime(max_live_runs=…)")
        if not (plan.recorded and plan.durable):
            self._beside.keep_aside(order.address.run_id, recorded=plan.recorded)
        self._tell_supervisor(order)
