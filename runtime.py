"""The runtime a host embeds: the only place where ports meet adapters. It decides nothing."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from .actors.address import Address
from .actors.budget_desk import BudgetDesk
from .actors.deliveries import Courier
from .actors.desk import RunDesk
from .actors.dispatcher import Dispatcher
from .actors.observers import Observers
from .actors.recoverer import Recoverer, Retry, StopTakingUp, Surveyed, why_child_waits
from .actors.recovering import Survey
from .actors.run.actor import RunActor
from .actors.run.asking import Asked
from .actors.run.surroundings import Surroundings
from .actors.runner import CallRunner
from .actors.supervisor import CloseDown, HostWoke, Supervisor
from .adapters.files.names import checked_name
from .adapters.signing import Signing
from .adapters.system import SystemClock, SystemIds
from .admission import (
    FOR_EVER_S,
    agents_by_name,
    at_least_one,
    checked_models,
    page_of,
    run_id_of,
)
from .errors import (
    Deposed,
    ForkedProcess,
    JournalError,
    JournalUnavailable,
    MessageRefused,
    ModelRefused,
    RuntimeClosed,
    UnknownRun,
    WouldDeadlock,
)
from .events import RunFinished, RunInfo
from .forking import Forks
from .handles import Result, Run, wait
from .journal import BesideJournal, Compacted, Router, Subscription, compact, terms
from .journal.views import StoredViews
from .ports import (
    Agent,
    Allowance,
    ArtifactStore,
    Budget,
    Clock,
    Critic,
    Delivery,
    Desk,
    FileStager,
    Ids,
    Journal,
    KeySource,
    Model,
    Palette,
    Prices,
    RunSummary,
    Skill,
    View,
    is_seconds,
)
from .projections import Checkpoint, PendingApproval, ended
from .recovery import survey
from .redaction import MASKS, Mask, Redactor, Secret
from .redaction.logs import watch_logs
from .redaction.raised import masks_errors
from .redaction.vault import Vault
from .sealing import Erases
from .wiring import (
    Choices,
    LazyArtifacts,
    RunReserver,
    anchors_beside,
    check_needs,
    checked_ports,
    checked_views,
    count_again,
    opened,
    outbox_so_far,
    sealed_ports,
    signer_of,
    terms_of,
    views_beside,
    wire_of,
)

if TYPE_CHECKING:
    from .wire.host import HostWire
    from .wire.terms import Listen

log = logging.getLogger("executus.runtime")


UNANSWERED = "the runtime was closed before this was known to be stored"

LET_GO_S = 10.0
"""Seconds that a deposed runtime gives its calls and threads to end."""

EXIT_S = 3.0
"""Seconds in which runtimes that nobody closed are closed when the interpreter exits."""

_open: set[Runtime] = set()


def _close_all() -> None:
    until = time.monotonic() + EXIT_S
    for runtime in list(_open):
        runtime.close(max(0.0, until - time.monotonic()))


atexit.register(_close_all)


@masks_errors(lambda runtime: runtime.redactor)
class Runtime(Forks, Erases):
    """Runs agents, each run an actor on one event log.

    path: the journal's file; without one everything stays in memory and is bounded (the last 1,000 finished runs are
    kept). agents: what can be started by name. models: models by the names agents use; other names are
    "provider:model". resume: take up the unfinished runs of these agents at opening. max_live_runs: runs at once.
    tool_threads: threads for tools and models that block.

    Every port is optional. skills: what agents may call as `skill__NAME`. palette: where delegates come from, instead
    of `agents` and `skills`. tiers: models by tier. critic: who watches runs, or a function that chooses by `RunInfo`
    (None: nobody). budget: what callers may spend, a `Budget` or allowances that hold for each caller. prices: what
    model calls cost. delivery: where output goes. files: where attachments are kept; without it they are ignored.
    artifacts: where what runs make is kept; by default beside the journal. sleep_after_s: a run that has waited so long
    for a person gives up its actor until it is answered. views: tables of your own that are kept of what happens, in
    the file `PATH.views` beside those that every stored journal has; None keeps none at all. signing: signs for what
    the journal holds, in the file `PATH.heads`, so that nobody can change it unseen.

    record, durable: choose by `RunInfo`, for a run and its children. One that is not durable lives in memory beside the
    journal: it is seen by its `Run` only and gone with the process. One that is not recorded leaves nothing but its
    result when it is over, and is not delivered. degrade: a journal that cannot be opened is no error; runs then live
    in memory, and each that is started says so in its log. encryption: the host's key, as 32 bytes, `KeyFile(path)` or
    another `KeySource`: what is said in new runs is sealed on the disk, and can be erased (`erase`). min_free_mb: with
    less left on the journal's disk no new run is started, and with a quarter of it runs pause until there is more; None
    is 64, or a twentieth of a small disk. listen: let other processes follow and steer these runs (`executus.attach`):
    "ipc" for the user's own, or `Listen(...)` for other addresses and grants.

    secrets: values by name, given to tools that ask for them (`secret`) and masked wherever they would be stored, shown
    or logged. redact: what else is masked: "shapes" (what looks like a key), "names" (what stands under `password` and
    the like).

    Thread-safe, for sync and async hosts, several in a process. Use it as a context manager, or `close` it.

    Raises:
        JournalInUse, JournalUnreadable, JournalTooNew: the file cannot be opened; nothing in it was changed.
        KeyRefused, KeysMissing: the key does not fit, or the file of the runs' keys is missing; the same.
        ExtraMissing: encryption needs the extra `encryption`.
        DiskFull: there is no room to begin.
        ListenRefused: it cannot listen there.
        TypeError, ValueError: a wrong argument, with what was expected.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        agents: Sequence[Agent] = (),
        *,
        models: Mapping[str, Model] | None = None,
        tiers: Mapping[str, str | Model] | None = None,
        skills: Sequence[Skill] = (),
        palette: Palette | None = None,
        critic: Critic | Callable[[RunInfo], Critic | None] | None = None,
        budget: Budget | Sequence[Allowance] | None = None,
        prices: Prices | None = None,
        delivery: Delivery | None = None,
        files: FileStager | None = None,
        artifacts: ArtifactStore | None = None,
        views: Sequence[View] | None = (),
        signing: Signing | None = None,
        record: Callable[[RunInfo], bool] | None = None,
        durable: Callable[[RunInfo], bool] | None = None,
        degrade: bool = False,
        encryption: bytes | KeySource | None = None,
        secrets: Mapping[str, str | Secret] | None = None,
        redact: Collection[Mask] = MASKS,
        resume: bool = True,
        max_live_runs: int = 20_000,
        tool_threads: int = 32,
        sleep_after_s: float = 60.0,
        min_free_mb: float | None = None,
        listen: str | Listen | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._vault = Vault(secrets, redact)
        watch_logs(self._vault)
        self._agents = agents_by_name(agents)
        self._given_models = checked_models(models)
        self._ports = checked_ports(
            path,
            agents,
            skills,
            palette=palette,
            tiers=tiers,
            critic=critic,
            budget=budget,
            prices=prices,
            delivery=delivery,
            files=files,
            artifacts=artifacts,
        )
        checked_views(views)
        signer = signer_of(signing, path)
        terms = terms_of(listen, critic, agents)
        check_needs(agents, skills, self._vault)
        if not is_seconds(cast("Any", sleep_after_s) or -1):
            raise ValueError(f"Runtime, sleep_after_s: expected seconds > 0, got {sleep_after_s!r}")
        if min_free_mb is not None and min_free_mb != 0 and not is_seconds(cast("Any", min_free_mb)):
            raise ValueError(f"Runtime, min_free_mb: expected megabytes ≥ 0 or None, got {min_free_mb!r}")
        self._max_live_runs = at_least_one("Runtime, max_live_runs", max_live_runs)
        threads = at_least_one("Runtime, tool_threads", tool_threads)
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._ids: Ids = ids if ids is not None else SystemIds()
        self._closed = False
        self._deposed: Deposed | None = None
        self._closing = threading.Lock()
        self._is_down = False
        self._down = threading.Lock()  # held until it is down; a bare lock can be waited on in a signal's handler
        self._down.acquire()
        self._let_go = False
        self._admitting = threading.Lock()
        self._unanswered: set[Asked] = set()
        self._nobody_answers = False
        self._pid = os.getpid()
        self._courier: Courier | None = None
        self._wire: HostWire | None = None
        self._choices = Choices(record, durable)
        self._stored, self._degraded = opened(path, degrade, encryption, min_free_mb)
        if self._degraded and artifacts is None:  # what lies there belongs to whoever has the journal
            self._ports = replace(self._ports, artifacts=LazyArtifacts(None))
        self._beside = BesideJournal(self._stored)
        self.journal: Journal = self._beside
        self._keeps = (self._ports.artifacts, self._ports.files)
        self._ports = sealed_ports(self._ports, self._stored, self._beside)
        self._router = Router(self.journal)
        self._stored_router = Router(self._stored)
        self._scheduler = Dispatcher(self._clock, lambda slept_s: self._tell_supervisor(HostWoke(slept_s)))
        ports = self._ports
        self._calls = CallRunner(
            self.journal,
            self._scheduler,
            self._ids,
            self._model,
            threads,
            wall_us=self._clock.wall_us,
            palette=ports.palette,
            tiers=ports.tiers,
            prices=ports.prices,
            vault=self._vault,
        )
        self._budgets: BudgetDesk | None = None
        if ports.budget is not None:
            self._budgets = BudgetDesk(self._scheduler, self._clock, ports.budget, ports.prices)
        self._observers = Observers()
        self.journal.follow(self._observers)
        self._directory: dict[str, Address] = {}
        self._around = Surroundings(
            self.journal,
            self._calls,
            self._scheduler,
            self._clock,
            self._ids,
            self._tell_supervisor,
            budget=None if self._budgets is None else RunReserver(self._budgets, ports.prices, ports.tiers),
            critic_of=ports.critic_of,
            observers=self._observers,
            desk=self._desk,
            sleep_after_s=sleep_after_s,
            vault=self._vault,
            tell_recoverer=lambda message: self._recoverer.tell(message),
        )
        self._recoverer = Recoverer.spawn(self._around, self._directory, self._survey)
        self._supervisor = Supervisor.spawn(self._around, self._directory)
        _open.add(self)
        if self._budgets is not None:
            count_again(self._budgets, self._stored, views is not None, ports)
            self.journal.follow(self._budgets)
        if ports.delivery is not None:
            begin = outbox_so_far(self._stored, views is not None)
            self._courier = Courier(self._around, ports.delivery, ports.artifacts, begin=begin)
        self.views: StoredViews | None = views_beside(self._stored, views, ports)
        """The stored views, to be asked how they stand and waited for; their tables are for any SQLite program."""
        self._anchors = anchors_beside(self._stored, signer, signing, self._clock.wall_us)
        if resume and path is not None:
            try:
                self._recover()
            except BaseException:
                self.close()
                raise
        self._finish_erasures()
        if self._courier is not None:
            self._courier.start()
        if terms is not None:
            try:
                self._wire = wire_of(terms, self, self._stored, self._agents, self._clock.wall_us)
                atexit.unregister(_close_all)  # the sockets' library finishes itself at the exit: be before it
                atexit.register(_close_all)
            except BaseException:
                self.close()
                raise
        self._stored.when_stopped(self._journal_stopped)

    # -------------------------------------------------------------- opening

    def _recover(self) -> None:
        """Begin to take up the unfinished runs of known agents. What cannot be read now is read later."""
        try:
            found: Survey | Exception = self._survey(self.journal)
        except JournalUnavailable as error:
            found = error
        self._recoverer.actor_ref.ask(Surveyed(found), block=False).get()

    def _survey(self, journal: Journal, only: str = "") -> Survey:
        return survey(journal, self._agents, self._ports.tiers, only)

    # -------------------------------------------------------------- looking

    def run(self, run_id: str) -> Run:
        """A run of this journal, live or not.

        Raises:
            UnknownRun: there is none with this id.
        """
        self._check_open()
        run_id = run_id_of("run", run_id)
        if run_id not in self._directory and self.journal.run(run_id) is None and self._beside.end_of(run_id) is None:
            raise UnknownRun(run_id)
        return Run(self, run_id)

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """The journal's runs in the order they started; `after` is the first position of the last one seen."""
        self._check_open()
        page_of("runs", after, limit)
        return self.journal.runs(unfinished=unfinished, after=after, limit=limit)

    def events(self, after: int = 0) -> Subscription:
        """All durable facts of all runs with position > `after`, live, for `for` and `async for`; ends at close.

        Use it as a context manager, or close it, when you stop reading: one that is only dropped is followed, and keeps
        up to 1,024 events, until the runtime closes.
        """
        self._check_open()
        return Subscription(self._stored, after=after, router=self._stored_router)

    @property
    def live_runs(self) -> int:
        """Runs this runtime has at work, or waiting."""
        return len(self._directory)

    @property
    def listening(self) -> str:
        """Where other processes reach this runtime, for `executus.attach`; "" if it does not listen."""
        return "" if self._wire is None else self._wire.control

    @property
    def no_room(self) -> str:
        """Why the runs of this runtime pause: the disk is full, or nearly. "" when there is room."""
        return self._stored.short("")

    def artifact(self, sha256: str) -> bytes:
        """The bytes of an artifact of any run, by its address.

        Raises:
            FileRefused: there is none, or it is damaged.
        """
        self._check_open()
        return self._ports.artifacts.get(sha256)

    def spending(self, caller: str, timeout: float | None = 60.0) -> dict[str, Any]:
        """What a caller has spent and holds back: "total", "hour", "day", "month" (by bucket), "runs" and "reserved".
        It equals that of `projections.ledger.recount` over the log. Empty without a budget.

        Raises:
            RuntimeClosed, TimeoutError.
        """
        self.may_block("spending")
        self._check_open()
        caller = self.redactor.identifier(caller)  # as the log has it
        if self._budgets is None:
            return {}
        shown: dict[str, Any] = wait(self._budgets.standing(caller), timeout, "the ledger is not yet told")
        account: dict[str, Any] = shown["accounts"].get(caller, {})
        return account

    def add_secret(self, name: str, value: str | Secret) -> None:
        """Register one more secret, or another value for a name: tools get the new one, both are masked from now on.
        What is in the log already stays as it is.

        Raises:
            TypeError, ValueError: a name or a value that cannot be, with what was expected.
        """
        self._vault.add(name, value)

    @property
    def redactor(self) -> Redactor:
        """What masks secrets here, as of now."""
        return self._vault.redactor

    @property
    def listens_at(self) -> str:
        """The address at which other processes reach this runtime, for `attach`; "" if it does not listen."""
        return "" if self._wire is None else self._wire.control

    def redeliver(self, run: Run | str, timeout: float | None = 60.0) -> None:
        """Deliver a run's output now: what waits for its next attempt, and anew what was given up.

        Raises:
            MessageRefused: it is not over, was not to be delivered, or is delivered; or this runtime has no delivery.
            UnknownRun, Overloaded, RuntimeClosed, TimeoutError.
        """
        self.may_block("redeliver")
        self._check_open()
        run_id = run_id_of("redeliver", run)
        if self._courier is None:
            raise MessageRefused(run_id, "redeliver", "this runtime has no delivery: Runtime(delivery=...)")
        wait(self._courier.redeliver(run_id), timeout, "the attempt is not yet stored")

    def waiting(self) -> list[tuple[Run, PendingApproval]]:
        """Every call of a live run that waits for a person's approval. Reads each live run's log."""
        self._check_open()
        found: list[tuple[Run, PendingApproval]] = []
        for run_id in list(self._directory):
            with suppress(JournalError, UnknownRun):
                found += [(Run(self, run_id), one) for one in self.journal.load(run_id).state.governed.approvals]
        return found

    # -------------------------------------------------------------- what is not taken up

    def suspended(self) -> list[tuple[Run, str]]:
        """The unfinished runs that this runtime does not take up, or has set aside, each with the reason."""
        self._check_open()
        reasons = dict(self._recoverer.waiting)
        reasons |= {child: why for child in list(self._recoverer.children) if (why := self.why_waiting(child))}
        return [(Run(self, run_id), why) for run_id, why in reasons.items()]

    def retry(self, run: Run | str, timeout: float | None = 60.0) -> None:
        """Take up a run that was quarantined, or that was not taken up: what was held against it is forgotten. Returns
        when that is durable.

        Raises:
            MessageRefused: it is at work, or over, or cannot be taken up, and why.
            UnknownRun, Overloaded, JournalUnavailable, RuntimeClosed, TimeoutError.
        """
        self.may_block("retry")
        self._check_open()
        asking: Future[int] = Future()
        self._recoverer.actor_ref.tell(Retry(run if isinstance(run, str) else run.id, asking))
        wait(asking, timeout, "the run is not yet taken up")

    # -------------------------------------------------------------- the archive

    def compact(
        self,
        older_than_s: float = 7_776_000.0,
        *,
        caller: str | None = None,
        statuses: Sequence[str] = (),
        keep: int = 0,
    ) -> Compacted:
        """Move finished runs out of the journal to its archive; what moves is as for `executus compact`. Blocks while
        it does; runs go on meanwhile.

        Raises:
            JournalError: the journal is in memory, or could not be compacted; nothing was lost.
            RuntimeClosed, WouldDeadlock; TypeError, ValueError: a wrong argument.
        """
        self.may_block("compact")
        self._check_open()
        now_us = self._clock.wall_us()
        return compact(self._stored, terms(now_us, older_than_s, caller, statuses, keep), at_us=now_us)

    # -------------------------------------------------------------- closing

    @property
    def deposed(self) -> Deposed | None:
        """Why this runtime closed itself: another host took its journal over. None as long as nobody did."""
        return self._deposed

    def _journal_stopped(self, error: JournalError) -> None:
        """Told by the journal. Deposed, there is nothing left to do here but to let go: the runs are another host's."""
        if not isinstance(error, Deposed):
            return
        self._deposed = error
        self._closed = True
        self._calls.stop_taking()
        log.critical("this runtime closes itself: %s", error)
        threading.Thread(target=self._close, args=(LET_GO_S,), name="executus-closing", daemon=True).start()

    def close(self, timeout: float = 10.0) -> bool:
        """Stop within `timeout` + 1 seconds, whatever tools and models do (P12); True if everything let go.

        Unfinished runs of a stored journal stay as they are and resume when it is opened again; whoever waits for one
        gets `RuntimeClosed`. Calling it again waits for the first call. On a thread of the runtime's own it only
        begins, and returns False. At the interpreter's exit it is called for every runtime that is still open.
        """
        if not isinstance(timeout, (int, float)) or not timeout >= 0:
            raise ValueError(f"close, timeout: expected seconds ≥ 0, got {timeout!r}")
        if os.getpid() != self._pid:
            return True
        timeout = min(float(timeout), FOR_EVER_S)
        self._closed = True
        if not self._is_down:
            # On a thread of its own: a signal's handler may be calling while the code it interrupted holds a lock.
            thread = threading.Thread(target=self._close, args=(timeout,), name="executus-closing", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting and starts no threads
                self._close(timeout)
            if self._owns(threading.current_thread()):
                return False
            if self._down.acquire(timeout=timeout + 0.5):
                self._down.release()
        return self._is_down and self._let_go

    def _close(self, timeout: float) -> None:
        if not self._closing.acquire(blocking=False):
            return
        until = time.monotonic() + timeout
        try:
            if self._wire is not None:
                self._wire.stop_taking()
            self._calls.stop_taking()
            self._recoverer.tell(StopTakingUp())
            stopped = self._supervisor.actor_ref.ask(CloseDown(self._deposed), block=False)
            try:
                stopped.get(timeout=max(0.1, timeout / 2))
            except Exception:
                log.warning("the actors are busy; closing without them")
            if self._courier is not None:
                self._courier.close()
            self._router.close()
            self._stored_router.close()
            let_go = self._calls.close(max(0.1, min(1.0, until - time.monotonic())))
            if self.views is not None:
                self.views.finish(max(0.0, min(2.0, (until - time.monotonic()) / 2)))
            # The actors outlive the journal, so that whoever waits for something queued learns that it was stored.
            let_go = self.journal.close(max(0.1, until - time.monotonic())) and let_go
            if self.views is not None:
                let_go = self.views.close(max(0.1, min(1.0, until - time.monotonic()))) and let_go
            if self._anchors is not None:
                let_go = self._anchors.close(max(0.1, min(2.0, until - time.monotonic()))) and let_go
            self._let_go = self._scheduler.close(max(0.1, min(1.0, until - time.monotonic()))) and let_go
            self._nobody_answers = True
            for asked in list(self._unanswered):
                asked.refuse(self._deposed or RuntimeClosed(UNANSWERED))
            if self._wire is not None:
                self._let_go = self._wire.close(max(0.1, min(1.0, until - time.monotonic()))) and self._let_go
        except Exception:
            log.exception("closing the runtime failed")
        finally:
            _open.discard(self)
            self._is_down = True
            self._down.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # -------------------------------------------------------------- what handles need

    def address(self, run_id: str) -> Address | None:
        """Where a live run is reached."""
        return self._directory.get(run_id)

    def tell(self, run_id: str, asked: Asked) -> Future[int]:
        """Give a live run an order; the future resolves when what it led to is durable."""
        self._check_open()
        address = self._directory.get(run_id)
        if address is None:
            asked.refuse(MessageRefused(run_id, type(asked.message).__name__, self._why_not_live(run_id)))
        else:
            address.tell(asked)
        return asked.ack

    @contextmanager
    def asking(self, asked: Asked) -> Generator[Asked]:
        """While this is open, `asked` gets an answer even if the runtime closes first."""
        self._unanswered.add(asked)
        if self._nobody_answers:  # it was closed between the caller's check and here
            asked.refuse(self._deposed or RuntimeClosed(UNANSWERED))
        try:
            yield asked
        finally:
            self._unanswered.discard(asked)

    def load(self, run_id: str) -> Checkpoint:
        """The fold of a run's durable facts."""
        self._check_open()
        return self.journal.load(run_id)

    def finished(self, run_id: str) -> Future[RunFinished]:
        """Resolves with the run's end."""
        if os.getpid() != self._pid:
            raise ForkedProcess("this runtime")
        address = self._directory.get(run_id)
        if address is not None:
            return address.finished()
        self._check_open()
        future: Future[RunFinished] = Future()
        end = self._end(run_id)
        if end is not None:
            future.set_result(end)
        else:
            future.set_exception(MessageRefused(run_id, "result", self._why_not_live(run_id)))
        return future

    def _end(self, run_id: str) -> RunFinished | None:
        try:
            return ended(self.journal.load(run_id).state)
        except UnknownRun:
            end = self._beside.end_of(run_id)
            if end is None:
                raise
            return end

    def subscribe(self, run_id: str, after: int) -> Subscription:
        """The run's events."""
        self._check_open()
        return Subscription(self.journal, run_id=run_id, after=after, router=self._router)

    def may_block(self, call: str) -> None:
        """Refuse to block a thread of the runtime's own.

        Raises:
            WouldDeadlock, RuntimeClosed, ForkedProcess.
        """
        if os.getpid() != self._pid:
            raise ForkedProcess("this runtime")
        if self._owns(threading.current_thread()):
            raise WouldDeadlock(call)

    def _owns(self, thread: threading.Thread) -> bool:
        return self._calls.owns(thread) or self._scheduler.owns(thread)

    def why_waiting(self, run_id: str) -> str:
        """Why an unfinished run is not at work; "" if it is, or nobody knows."""
        recoverer = self._recoverer
        return recoverer.waiting.get(run_id) or why_child_waits(run_id, recoverer.children, recoverer.waiting)

    def _why_not_live(self, run_id: str) -> str:
        end = self._end(run_id)
        if end is not None:
            return f"it is over, with status {end.status}"
        return self.why_waiting(run_id) or "this runtime has not taken it up"

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcess("this runtime")
        if self._deposed is not None:
            raise copy(self._deposed)  # each raise adds to an exception's traceback
        if self._closed:
            raise RuntimeClosed("this runtime is closed; open a new one")

    def _tell_supervisor(self, message: Any) -> None:
        self._supervisor.actor_ref.tell(message)

    def _desk(self, actor: RunActor, call: str) -> Desk:
        return RunDesk(actor, call, self._ports.files, self._ports.artifacts, checked_name)

    def _model(self, name: str) -> Model:
        tier = name.removeprefix("tier:")
        if tier != name:
            if tier not in self._ports.tiers:
                raise ModelRefused(
                    f"no tier {tier!r}; Runtime(tiers=...) has: {', '.join(self._ports.tiers) or 'none'}"
                )
            model = self._ports.tiers[tier]
            if not isinstance(model, str):
                return model
            name = model
        given = self._given_models.get(name)
        if given is not None:
            return given
        from .adapters.models.providers import resolve_model  # imports a provider's library: seconds, and only if used

        return resolve_model(name)


__all__ = ["Result", "Run", "Runtime"]
