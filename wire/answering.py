"""What a host answers, on any thread: each frame passes the gate, is kept if it is an order, and carried out.

An order is kept before it is carried out, and what became of it after. So one that is given twice is carried out once,
also when the host was lost between the two, and whoever lost the answer can ask for it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ..errors import (
    BudgetSpent,
    ControlRefused,
    Deposed,
    ExecutusError,
    JournalError,
    MessageRefused,
    Overloaded,
    RuntimeClosed,
    UnknownAgent,
    UnknownRun,
)
from ..events import Event, RunStarted
from ..ports import Journal, LiveHost
from ..ports.orders import Fate, KeptOrder, OrderBook
from .critics import Critics
from .frames import WireEvent, on_the_wire, size_of
from .gate import Gate, Turned
from .listeners import Peer
from .ordering import checked, give
from .requests import (
    PAGE_BYTES,
    PAGE_EVENTS,
    READS,
    URGENT,
    VERSION,
    AnyReply,
    AnyRequest,
    Done,
    FindRun,
    Found,
    GiveReview,
    Head,
    Hello,
    Kind,
    ListOrders,
    ListRuns,
    NextReview,
    Number,
    Order,
    Orders,
    Outcome,
    Page,
    ReadAll,
    ReadRun,
    Refused,
    Rows,
    RunOrder,
    Session,
    Standing,
    Stands,
    Start,
    Unheard,
    Welcome,
    Who,
)
from .terms import Grant

log = logging.getLogger("executus.wire")

ORDERS_AT_ONCE: Final = 8
"""Orders under way at most; kills and cancels are not counted."""

READS_AT_ONCE: Final = 4
"""Questions under way at most: more would only wait for each other, and orders for them."""

MOST_TOLD: Final = 2000
"""Characters of a reason that are told and kept."""

CALLERS_KEPT: Final = 50_000
"""Runs whose caller is remembered."""

encode_reply = msgspec.msgpack.Encoder().encode


class Desk:
    """Answers frames for one opening of a host.

    host: the runtime. journal: what it stores. agents: names of what can be started. mask: masks secrets in texts.
    wall_us: the wall clock, for what is kept. steady_us: the clock of the windows of requests, which never jumps.
    program: the version of executus.
    """

    def __init__(
        self,
        host: LiveHost,
        journal: Journal,
        book: OrderBook,
        gate: Gate,
        critics: Critics,
        *,
        boot: str,
        agents: Sequence[str],
        mask: Callable[[str], str],
        wall_us: Callable[[], int],
        steady_us: Callable[[], int],
        program: str,
    ) -> None:
        self._host, self._journal, self._book, self._gate, self._critics = host, journal, book, gate, critics
        self._boot, self._agents, self._program = boot, tuple(agents), program
        self._mask, self._wall_us, self._steady_us = mask, wall_us, steady_us
        self._entering = threading.Lock()
        self._under_way = threading.Semaphore(ORDERS_AT_ONCE)
        self._looking = threading.Semaphore(READS_AT_ONCE)
        self._owners = threading.Lock()
        self._callers: OrderedDict[str, str] = OrderedDict()
        self.closing = False
        """Whether nothing more is begun; what is under way is still answered."""

    def answer(self, frame: bytes, peer: Peer) -> bytes:
        """The answer to one frame, whatever it is. Never raises."""
        try:
            reply = self._answer(frame, peer)
        except Exception:
            log.exception("answering a request failed")
            reply = Refused(kind="failed", why="the host failed to answer; its log says why")
        return encode_reply(reply)

    def _answer(self, frame: bytes, peer: Peer) -> AnyReply:
        with self._entering:
            admitted = self._gate.admit(frame, peer.key, self._steady_us())
        grant, request = admitted.grant, admitted.request
        if isinstance(admitted, Turned):
            refused = msgspec.structs.replace(admitted.reply, why=self._mask(admitted.reply.why)[:MOST_TOLD])
            return self._refused(self._kept(request, grant, peer), refused)
        assert request is not None
        if self.closing:
            refused = Refused(kind="closing", why="this host is closing; its runs go on when it is opened again")
            if isinstance(request, Order):
                self._refused(self._kept(request, grant, peer), refused)
            return refused
        if grant is None:
            return self._welcome()
        try:
            if isinstance(request, Order):
                return self._ordered(request, grant, peer)
            if isinstance(request, READS) and not isinstance(request, Outcome):  # which costs one look at an index
                return self._looked(request, grant, peer)
            return self._read(request, grant, peer)
        except Exception as error:
            refused = refusal_of(error, self._mask)
            if isinstance(request, Order):
                return refused
            return self._refused(self._kept(request, grant, peer), refused)

    def _welcome(self) -> Welcome:
        return Welcome(version=VERSION, boot=self._boot, now_us=self._steady_us(), program=self._program)

    def _looked(self, request: AnyRequest, grant: Grant, peer: Peer) -> AnyReply:
        if not self._looking.acquire(blocking=False):
            return Refused(kind="busy", why=f"{READS_AT_ONCE} questions are under way; ask again")
        try:
            return self._read(request, grant, peer)
        finally:
            self._looking.release()

    # -------------------------------------------------------------- reading

    def _read(self, request: AnyRequest, grant: Grant, peer: Peer) -> AnyReply:
        journal = self._journal
        match request:
            case Hello():
                return self._welcome()
            case Who():
                agents = self._agents if grant.role in ("owner", "operator") else ()
                live = self._host.live_runs if not grant.caller else 0
                return Session(grant=grant.name, role=grant.role, caller=grant.caller, agents=agents, live_runs=live)
            case Head():
                return Number(value=journal.head())
            case ListRuns():
                rows = journal.runs(unfinished=request.unfinished, after=request.after, limit=request.limit)
                further = rows[-1].first_position if len(rows) == request.limit else 0
                return Rows(runs=tuple([row for row in rows if self._sees(grant, row.run_id)]), next=further)
            case FindRun():
                row = journal.run(request.run) if self._sees(grant, request.run) else None
                return Found(run=row)
            case ReadRun():
                self._must_see(grant, request.run)
                events = journal.read(request.run, request.after, min(request.limit, PAGE_EVENTS))
                return self._page(events, request.after, min(request.limit, PAGE_EVENTS), grant, by_version=True)
            case ReadAll():
                limit = min(request.limit, PAGE_EVENTS)
                return self._page(journal.scan(request.after, limit), request.after, limit, grant, by_version=False)
            case Standing():
                self._must_see(grant, request.run)
                run = self._host.run(request.run)
                return Stands(status=run.status, reason=self._mask(run.reason))
            case Outcome():
                return self._fate(request.id, grant)
            case ListOrders():
                return Orders(orders=tuple(self._book.rows(request.after, request.limit)))
            case NextReview():
                return self._critics.next(request.critic, request.wait_s, peer.number)
            case GiveReview():
                return self._critics.given(request)
            case _:
                raise ControlRefused("malformed", "this is no request that can be answered")

    def _page(self, events: Sequence[Event], after: int, limit: int, grant: Grant, *, by_version: bool) -> Page:
        """As many of `events` as a page holds; whoever may not see one is told of its place only."""
        sent: list[WireEvent] = []
        size, at = 0, after
        for event in events:
            if not by_version and not self._sees(grant, event.run_id):
                at = event.position
                continue
            one = on_the_wire(event)
            size += size_of(one)
            if sent and size > PAGE_BYTES:
                return Page(events=tuple(sent), at=at, more=True)
            sent.append(one)
            at = event.version if by_version else event.position
        return Page(events=tuple(sent), at=at, more=len(events) == limit)

    # -------------------------------------------------------------- whose runs

    def _sees(self, grant: Grant, run_id: str) -> bool:
        return not grant.caller or self._caller(run_id) == grant.caller

    def _must_see(self, grant: Grant, run_id: str) -> None:
        """Somebody else's run is unknown.

        Raises:
            UnknownRun: there is none, or it is another caller's.
        """
        if not self._sees(grant, run_id):
            raise UnknownRun(run_id)

    def _caller(self, run_id: str) -> str | None:
        """Whose it is, by its first event; None if there is no such run."""
        with self._entering:
            known = self._callers.get(run_id)
        if known is not None:
            return known
        try:
            fact = self._journal.read(run_id, limit=1)[0].fact
        except (JournalError, UnknownRun, IndexError):
            return None
        if not isinstance(fact, RunStarted):
            return None
        with self._entering:
            self._callers[run_id] = fact.info.caller_id
            if len(self._callers) > CALLERS_KEPT:
                self._callers.popitem(last=False)
        return fact.info.caller_id

    # -------------------------------------------------------------- orders

    def _ordered(self, order: Order, grant: Grant, peer: Peer) -> AnyReply:
        kept = self._kept(order, grant, peer)
        known = self._book.find(order.id)
        if known is not None and not order.check:
            return self._taken_before(known, kept, grant)
        urgent = isinstance(order, URGENT)
        if not urgent and not self._under_way.acquire(blocking=False):
            busy = Refused(kind="busy", why=f"{ORDERS_AT_ONCE} orders are under way; ask again")
            return self._refused(kept, busy)
        try:
            return self._carried_out(order, grant, kept)
        finally:
            if not urgent:
                self._under_way.release()

    def _carried_out(self, order: Order, grant: Grant, kept: KeptOrder) -> AnyReply:
        try:
            order = checked(order, grant)
            if isinstance(order, RunOrder):
                self._must_see(grant, order.run)
            elif isinstance(order, Start) and order.agent not in self._agents:
                raise UnknownAgent(order.agent, self._agents)
        except Exception as error:
            return self._refused(kept, refusal_of(error, self._mask))
        if order.check:
            try:
                return give(self._host, order, grant, self._owners)
            except Exception as error:
                return self._refused(kept, refusal_of(error, self._mask))
        known = self._book.take(kept)
        if known is not None:
            return self._taken_before(known, kept, grant)
        try:
            done = give(self._host, order, grant, self._owners)
        except Exception as error:
            refused = refusal_of(error, self._mask)
            fate: Fate = "unknown" if refused.kind in ("not-yet", "closing", "unknown") else "refused"
            self._book.settle(order.id, "failed" if refused.kind == "failed" else fate, **_of(refused))
            return refused
        self._book.settle(order.id, "done", told=done.told, run=done.run)
        return done

    def _refused(self, kept: KeptOrder, refused: Refused) -> Refused:
        """Keep a refusal, without the order's id: given again, it is looked at again."""
        self._book.refuse(msgspec.structs.replace(kept, id="", fate="refused", **_of(refused)))
        return refused

    def _taken_before(self, known: KeptOrder, kept: KeptOrder, grant: Grant) -> AnyReply:
        """The answer to an order whose id was taken before: its outcome, if it is the same order of the same grant."""
        refused: Refused | None = None
        if known.grant != grant.name:
            refused = Refused(kind="forbidden", why="this order is another grant's")
        elif known.ask != kept.ask or (kept.run and known.run != kept.run):
            refused = Refused(kind="refused", why="another order was given with this id")
        return self._told(known) if refused is None else self._refused(kept, refused)

    def _fate(self, id: str, grant: Grant) -> AnyReply:
        known = self._book.find(id)
        return Unheard() if known is None or known.grant != grant.name else self._told(known)

    def _told(self, known: KeptOrder) -> AnyReply:
        """What became of an order that was taken before."""
        if known.fate == "done":
            return Done(run=known.run, told=known.told)
        if known.fate == "under way":
            return Refused(kind="not-yet", why="it is still being carried out", run=known.run)
        if known.fate == "unknown":
            why = known.told or "the host was lost while it carried this out"
            return Refused(kind="unknown", why=why, run=known.run)
        return Refused(kind=msgspec.convert(known.kind or "refused", Kind), why=known.told, run=known.run)

    def _kept(self, request: AnyRequest | Order | None, grant: Grant | None, peer: Peer) -> KeptOrder:
        order = request if isinstance(request, Order) else None
        return KeptOrder(
            id="" if order is None else order.id,
            at_us=self._wall_us(),
            grant="" if grant is None else grant.name,
            role="" if grant is None else grant.role,
            by="" if order is None else self._mask(order.by),
            peer=peer.said,
            ask="" if request is None else str(type(request).__struct_config__.tag),
            run=self._mask(getattr(request, "run", "")),
        )


def refusal_of(error: Exception, mask: Callable[[str], str]) -> Refused:
    """What a client is told of an error of the host's. What nobody foresaw is logged, and not told."""
    why = mask(str(error))[:MOST_TOLD]
    match error:
        case UnknownRun():
            return Refused(kind="unknown-run", why=why, run=error.run_id)
        case UnknownAgent():
            return Refused(kind="unknown-agent", why=why, names=(error.name, *error.known))
        case MessageRefused():
            return Refused(kind="refused", why=mask(error.why)[:MOST_TOLD], run=error.run_id)
        case BudgetSpent():
            return Refused(
                kind="budget-spent", why=mask(error.why)[:MOST_TOLD], run=error.run_id, names=(error.caller,)
            )
        case ControlRefused():
            return Refused(kind=msgspec.convert(error.kind, Kind), why=why)
        case Overloaded():
            return Refused(kind="busy", why=why)
        case RuntimeClosed() | Deposed():
            return Refused(kind="closing", why=why)
        case TimeoutError():
            return Refused(kind="not-yet", why=why or "it is not yet durable")
        case ExecutusError():
            return Refused(kind="failed", why=why)
        case ValueError() | TypeError():
            return Refused(kind="invalid", why=why)
        case _:
            log.error("a request failed", exc_info=error)
            return Refused(kind="failed", why=f"the host failed ({type(error).__name__}); its log says why")


def _of(refused: Refused) -> dict[str, str]:
    return {"kind": refused.kind, "told": refused.why}
