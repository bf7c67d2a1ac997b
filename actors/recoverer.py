"""Takes up the unfinished runs of a journal when a host opens it; `recovering` has the rules.

Nothing that fails here is dropped: while the journal cannot be read or written, everything is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, assert_never

import msgspec

from ..errors import JournalError, JournalUnavailable, MessageRefused, RunQuarantined, RuntimeClosed
from ..events import RunInfo, Status
from ..ports import NOBODY, QUARANTINE_AFTER, Agent, Journal, Recovery
from .address import Address
from .pooled import Cancellable, PooledActor
from .probation import Failed, LetGo, Probation, Resumed, Survived, TakenUp
from .recovering import (
    Group,
    Survey,
    after_a_failure,
    before_the_attempt,
    groups_of,
    is_suspect,
    put_off,
    why_quarantined,
)
from .run.surroundings import Recover, Surroundings, TakeUp

log = logging.getLogger("executus.recovery")

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 10.0
"""Pause before the journal is tried again; it doubles, up to the last."""

SURVIVED_S = 1.0
"""A run that was taken up has survived it after so many seconds, or sooner if something came of it."""

LOOK_S = 0.25
"""How often that is looked at, and what is known stored."""


class Surveyed(msgspec.Struct, frozen=True):
    """Report: what there is to take up, or why that cannot be read."""

    found: Survey | Exception


class Retry(msgspec.Struct, frozen=True):
    """Order: forget what is held against a run and take it up now. asking: resolves when it is forgotten durably."""

    run_id: str
    asking: Future[int]


class StopTakingUp(msgspec.Struct, frozen=True):
    """The runtime closes: what was not taken up is left to the next host, and nothing is held against it."""


class _Look(msgspec.Struct, frozen=True):
    """The pause is over: read the journal again."""


class _SurveyedOne(msgspec.Struct, frozen=True):
    order: Retry
    found: Survey | Exception


class _Kept(msgspec.Struct, frozen=True):
    """What precedes the attempts of a group is durable, or is not."""

    group: Group
    tried: tuple[Recovery, ...]
    error: JournalError | None


class _Begin(msgspec.Struct, frozen=True):
    """It is time for the next group."""


class _LookAround(msgspec.Struct, frozen=True):
    """It is time to look who has survived meanwhile."""


class _Bereft(msgspec.Struct, frozen=True):
    """How the parent of some children ended."""

    parent: str
    status: Status | Exception


Message = (
    Surveyed
    | Retry
    | StopTakingUp
    | TakeUp
    | TakenUp
    | Resumed
    | Survived
    | Failed
    | LetGo
    | _Look
    | _SurveyedOne
    | _Kept
    | _Begin
    | _LookAround
    | _Bereft
)


class Recoverer(PooledActor):
    """One a runtime; see the module. survey: reads what there is to take up; of one run only, if it is named.

    waiting: run -> why it is not taken up, for the runs of this journal that are not; others may read it.
    """

    urgent = PooledActor.urgent | {StopTakingUp}
    bounded = frozenset((Retry,))

    def __init__(
        self, around: Surroundings, directory: dict[str, Address], survey: Callable[[Journal, str], Survey]
    ) -> None:
        super().__init__(around.scheduler)
        self.around = around
        self.directory = directory
        self.survey = survey
        self.waiting: dict[str, str] = {}
        self.known: dict[str, Recovery] = {}
        """What is held against runs, by earlier hosts and this one, leaving out what is under way."""
        self.children: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.groups: list[Group] = []
        self.beginning: Group | None = None
        self.trying: dict[str, tuple[Recovery, float | None]] = {}
        """The attempts under way, and since when the run is taken up."""
        self.on_trial = False
        """They are suspects, and nobody else is to be taken up meanwhile."""
        self.survived: set[str] = set()
        self.pause_s = 0.0
        self.born = around.scheduler.awake()
        self.looking: Cancellable | None = None
        self.swept = False
        self.stopped = False

    def tell(self, message: Message) -> None:
        """Deliver `message` to this actor, from any thread."""
        if not self.actor_stopped.is_set():
            self.actor_ref.tell(message)

    def on_receive(self, message: Message) -> None:
        """Handle one order or report."""
        match message:
            case Surveyed():
                self.surveyed(message.found)
            case _Look():
                self.look()
            case Retry():
                self.retry(message)
            case _SurveyedOne():
                self.take_up_again(message.order, message.found)
            case _Kept():
                self.kept(message)
            case _Begin():
                self.begin_next()
            case TakeUp():
                if not self.stopped:
                    self.versions[message.address.run_id] = message.version
                    self.take_up((message.address,))
            case TakenUp():
                self.taken_up(message)
            case Resumed():
                self.resumed(message)
            case Survived():
                self.outlived((message.run_id,))
            case Failed():
                self.failed_attempt(message)
            case LetGo():
                self.let_go(message.run_id)
            case _LookAround():
                self.look_around()
            case _Bereft():
                self.bereft(message)
            case StopTakingUp():
                self.stop_taking_up()
            case _:
                assert_never(message)

    def failed(self, error: BaseException, message: Any) -> None:
        """A mistake of ours about one run must not leave the others lying."""
        log.critical("taking up runs failed on %s", type(message).__name__, exc_info=error)
        self.actor_stopped.clear()
        if isinstance(message, _Kept):
            self.begin_next()

    # -------------------------------------------------------------- what there is

    def look(self) -> None:
        """Have the journal read."""
        if not self.stopped:
            self.around.calls.look_up(
                lambda journal: self.survey(journal, ""), lambda found: self.tell(Surveyed(found))
            )

    def surveyed(self, found: Survey | Exception) -> None:
        """Begin, or look again after a pause."""
        if self.stopped or self.swept:
            return
        if isinstance(found, Exception):
            self.pause_s = min(max(self.pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
            log.warning("unfinished runs cannot be read: %s; again in %g s", found, self.pause_s)
            self.scheduler.call_later(self.pause_s, partial(self.tell, _Look()))
            return
        self.pause_s, self.swept = 0.0, True
        self.known.update(found.recoveries)
        self.children.update(found.children)
        self.versions.update(found.versions)
        self.waiting.update(found.waiting)
        self.take_up(found.addresses, {*found.waiting, *found.children}, first=True)

    def take_up(self, addresses: Iterable[Address], others: Iterable[str] = (), *, first: bool = False) -> None:
        """Queue runs by the rules, and begin if nothing else is under way. others: unfinished runs that are not."""
        if self.stopped:
            return
        fresh: list[Address] = []
        kept: list[Recovery] = []
        now_us = self.around.clock.wall_us()
        there = set(others)
        for address in addresses:
            there.add(address.run_id)
            self.children.pop(address.run_id, None)
            standing = self.directory.get(address.run_id)
            if standing is not None and standing is not address:
                continue  # it lives already
            known = self.known.get(address.run_id)
            if known is not None and known.attempts >= QUARANTINE_AFTER:
                kept += self.quarantine(address, known, now_us)
                continue
            self.directory[address.run_id] = address
            fresh.append(address)
        groups = groups_of(fresh, self.known, self.around.ids.jitter)
        self.groups.extend(groups)
        for group in groups:
            for address in group.addresses:
                known = self.known.get(address.run_id)
                if known is not None and is_suspect(known):
                    kept.append(put_off(known, now_us))
                    self.waiting[address.run_id] = kept[-1].why
        for run_id in others:
            why = self.waiting.get(run_id)
            known = self.known.get(run_id) or Recovery(run_id=run_id, standing="waiting")
            if why is not None and known.attempts < QUARANTINE_AFTER:
                kept.append(msgspec.structs.replace(known, standing="waiting", at_us=now_us, why=why))
            elif known.attempts >= QUARANTINE_AFTER and run_id in self.children:
                # Visible as that from now on: its parent may want it no more, and then nobody asks for it.
                kept += self.quarantine(_orphan(run_id, self.children.pop(run_id)), known, now_us)
            elif known.attempts >= QUARANTINE_AFTER:
                self.waiting[run_id] = why_quarantined(known).why
        gone = [run_id for run_id in self.known if first and run_id not in there]
        for run_id in gone:  # over, by now
            del self.known[run_id]
        if kept or gone:
            self.keep(kept, gone)
        if first:
            unfinished = {*self.directory, *self.waiting, *self.children}
            for parent in sorted(set(self.children.values()) - unfinished):
                self.ask_after(parent)
        self.begin_next()

    def quarantine(self, address: Address, known: Recovery, now_us: int) -> list[Recovery]:
        """Show the run as quarantined, and leave it alone."""
        why = why_quarantined(known)
        log.error("run %s stays quarantined: %s", address.run_id, why.why)
        address.finish(why)
        if self.around.budget is not None:
            self.around.budget.give_up(address.run_id)
        self.directory[address.run_id] = address
        self.waiting[address.run_id] = why.why
        if known.standing == "failed":
            return []
        self.known[address.run_id] = msgspec.structs.replace(known, standing="failed", company=0, at_us=now_us)
        return [self.known[address.run_id]]

    # -------------------------------------------------------------- one group after the other

    def begin_next(self) -> None:
        """Take up the next group. Suspects wait until everybody before them has survived and the host is old enough."""
        if self.stopped or self.beginning is not None:
            return
        self.on_trial = self.on_trial and bool(self.trying)
        if self.on_trial or not self.groups:
            return
        group = next((one for one in self.groups if not one.suspect), self.groups[0])
        if group.suspect:
            if self.trying:
                return
            left_s = group.after_s - (self.scheduler.awake() - self.born)
            if left_s > 0:
                self.scheduler.call_later(left_s + 0.001, partial(self.tell, _Begin()))
                return
        self.groups.remove(group)
        self.beginning, self.on_trial = group, group.suspect
        now_us = self.around.clock.wall_us()
        tried = tuple(before_the_attempt(group, self.known, self.versions, now_us, len(self.trying)))
        self.store(tried, (), lambda error: self.tell(_Kept(group, tried, error)))

    def kept(self, message: _Kept) -> None:
        """That it is tried is durable: try it."""
        group, self.beginning = message.group, None
        if self.stopped:
            return
        if message.error is not None:
            self.pause_s = min(max(self.pause_s * 2, FIRST_PAUSE_S), LAST_PAUSE_S)
            log.warning("runs cannot be taken up now: %s; again in %g s", message.error, self.pause_s)
            self.groups.insert(0, group)
            self.on_trial = False
            self.scheduler.call_later(self.pause_s, partial(self.tell, _Begin()))
            return
        self.pause_s = 0.0
        for address, tried in zip(group.addresses, message.tried, strict=True):
            if address.end is not None:  # set aside, or let go, meanwhile
                self.put_back([address.run_id])
                continue
            self.trying[address.run_id] = (tried, None)
            self.waiting.pop(address.run_id, None)
            address.probation = Probation(address.run_id, self.tell)
            self.around.tell_supervisor(Recover(address))
        self.look_again()
        self.begin_next()

    def resumed(self, report: Resumed) -> None:
        """The run is taken up, durably; it has not yet survived that."""
        tried = self.trying.get(report.run_id)
        if tried is not None:
            self.trying[report.run_id] = (tried[0], self.scheduler.awake())

    def outlived(self, run_ids: Iterable[str]) -> None:
        """These have survived: nothing is held against them any more."""
        for run_id in run_ids:
            if self.trying.pop(run_id, None) is not None or run_id in self.known:
                self.survived.add(run_id)
                self.known.pop(run_id, None)
        if self.survived:
            self.look_again()
        self.begin_next()

    def failed_attempt(self, report: Failed) -> None:
        """The run was set aside, while it was taken up or later."""
        run_id, before = report.run_id, self.known.get(report.run_id)
        tried, _ = self.trying.pop(run_id, (None, None))
        after = after_a_failure(before, tried, run_id, report.why, self.around.clock.wall_us())
        if not report.counts:
            after = msgspec.structs.replace(after, attempts=0 if before is None else before.attempts)
        self.known[run_id] = after
        self.survived.discard(run_id)
        self.waiting[run_id] = report.why
        self.children.update(report.resting)
        self.keep([after], [])
        self.begin_next()

    def let_go(self, run_id: str) -> None:
        """This host gave the attempt up for a reason that lies elsewhere: as if it had not been made."""
        tried, _ = self.trying.pop(run_id, (None, None))
        if tried is not None:
            self.put_back([run_id])
            self.begin_next()

    def put_back(self, run_ids: Iterable[str]) -> None:
        """Store what was known before the attempts."""
        kept = [self.known[run_id] for run_id in run_ids if run_id in self.known]
        self.keep(kept, [run_id for run_id in run_ids if run_id not in self.known])

    def look_again(self) -> None:
        """Look around after a moment."""
        if self.looking is None and not self.stopped:
            self.looking = self.scheduler.call_later(LOOK_S, partial(self.tell, _LookAround()))

    def look_around(self) -> None:
        """Whoever was taken up a while ago has survived; store who has."""
        self.looking = None
        if self.stopped:
            return
        now = self.scheduler.awake()
        self.outlived(
            [run_id for run_id, (_, since) in self.trying.items() if since is not None and now - since >= SURVIVED_S]
        )
        gone, self.survived = list(self.survived), set()
        if gone:
            self.keep([], gone)
        if self.trying:
            self.look_again()

    # -------------------------------------------------------------- orphans

    def taken_up(self, report: TakenUp) -> None:
        """A run is at work again and takes up its children itself; those that it wants no more may only end."""
        if not self.children:
            return
        mine = [child for child, parent in self.children.items() if parent == report.run_id]
        for child in mine:
            if child in report.children:
                del self.children[child]
        if any(child in self.children for child in mine):
            self.take_up_orphans(report.run_id, report.status or "cancelled")

    def ask_after(self, parent: str) -> None:
        """Find out how a parent ended whose children are unfinished."""
        if not self.stopped:
            self.around.calls.look_up(partial(_how_it_ended, parent), lambda found: self.tell(_Bereft(parent, found)))

    def bereft(self, report: _Bereft) -> None:
        """Take up the children as orphans, or ask again."""
        if isinstance(report.status, JournalUnavailable):
            self.scheduler.call_later(LAST_PAUSE_S / 10, partial(self.ask_after, report.parent))
        elif isinstance(report.status, Exception):  # nobody can know any more
            self.take_up_orphans(report.parent, "cancelled")
        else:
            self.take_up_orphans(report.parent, report.status)

    def take_up_orphans(self, parent: str, status: Status) -> None:
        """The unfinished children of a parent that is over, gone, or wants them no more: they may only end."""
        mine = [child for child, one in self.children.items() if one == parent]
        orphans: list[Address] = []
        for child in mine:
            del self.children[child]
            if child not in self.directory:
                address = _orphan(child, parent)
                address.orphaned = status
                orphans.append(address)
        if orphans:
            self.take_up(orphans)

    # -------------------------------------------------------------- by order

    def retry(self, order: Retry) -> None:
        """Read how the run stands."""
        if self.stopped:
            order.asking.set_exception(RuntimeClosed("the runtime is closing"))
            return
        address = self.directory.get(order.run_id)
        if address is not None and not isinstance(address.end, RunQuarantined):
            self.refuse(order, "it is at work" if address.end is None else "it is over")
            return
        self.around.calls.look_up(
            lambda journal: self.survey(journal, order.run_id), lambda found: self.tell(_SurveyedOne(order, found))
        )

    def take_up_again(self, order: Retry, found: Survey | Exception) -> None:
        """Nothing is held against it; take it up, or say why not."""
        run_id = order.run_id
        if isinstance(found, Exception):
            order.asking.set_exception(found)
            return
        why = found.waiting.get(run_id)
        parent = found.children.get(run_id)
        address = next(iter(found.addresses), None)
        if why is None and parent is not None:
            why = f"it is taken up by its parent {parent}; retry that"
        if why is not None or address is None:
            self.refuse(order, why or "it is over")
            return
        self.versions.update(found.versions)
        self.known.pop(run_id, None)
        self.waiting.pop(run_id, None)
        self.directory.pop(run_id, None)

        def forgotten(error: JournalError | None) -> None:
            if error is None:
                order.asking.set_result(0)
            else:
                order.asking.set_exception(error)

        self.store((), (run_id,), forgotten)
        self.take_up([address])

    def refuse(self, order: Retry, why: str) -> None:
        """It cannot be taken up."""
        order.asking.set_exception(MessageRefused(order.run_id, "retry", why))

    # -------------------------------------------------------------- storing

    def keep(self, kept: list[Recovery], dropped: list[str]) -> None:
        """Store what is known now. If that fails more is suspected than must be, and nothing is lost."""
        self.store(kept, dropped, _report)

    def store(
        self, kept: Iterable[Recovery], dropped: Iterable[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """Store it, and call `done` in any case."""
        try:
            self.around.journal.keep_recoveries(tuple(kept), tuple(dropped), done)
        except JournalError as error:
            done(error)

    def stop_taking_up(self) -> None:
        """What is under way was not the end of this host."""
        self.stopped = True
        beginning = () if self.beginning is None else self.beginning.addresses
        under_way = {*self.trying, *self.survived, *(address.run_id for address in beginning)}
        self.trying.clear()
        if under_way:
            self.put_back(under_way)


def _report(error: JournalError | None) -> None:
    if error is not None:
        log.warning("what is known about runs that are taken up cannot be stored now: %s", error)


def _how_it_ended(parent: str, journal: Journal) -> Status:
    row = journal.run(parent)
    if row is None or not row.over:
        return "cancelled"
    return journal.load(parent).state.status or "cancelled"


def _orphan(run_id: str, parent: str) -> Address:
    """Where a child is that nobody carries on: it is never asked anything."""
    return Address(RunInfo(run_id=run_id, name="orphan", parent_run_id=parent), Agent("orphan", model=NOBODY))


def why_child_waits(run_id: str, children: Mapping[str, str], waiting: Mapping[str, str]) -> str:
    """Why a child is not at work: its parent, or one above it, is not; "" if it is only about to be taken up."""
    seen: set[str] = set()
    parent = children.get(run_id)
    while parent is not None and parent not in seen:
        if parent in waiting:
            return f"it waits for its parent {parent}: {waiting[parent]}"
        seen.add(parent)
        parent = children.get(parent)
    return ""
