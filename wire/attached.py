"""A host, held from another process: its runs, its feed, and orders to it. Without a host, its file to read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from ..errors import ExecutusError, HostUnreachable, UnknownRun
from ..events import InputPart
from ..journal import OutsideReader, Router, Subscription, read_journal
from ..journal.order_book import read_orders
from ..ports import Encryption, KeySource, RunSummary
from ..ports.orders import KeptOrder
from . import places
from .following import Following
from .line import Line
from .remote import RemoteJournal
from .remote_run import TIMEOUT_S, RemoteRun, order_of, text_of
from .requests import (
    Done,
    ListOrders,
    Order,
    Orders,
    Session,
    Start,
    Who,
)
from .sockets import check_fork, is_left_behind
from .terms import ClientTls

T = TypeVar("T")


class Attached:
    """What `attach` returns. Thread-safe; use it as a context manager, or `close` it.

    live: whether a host answers. Without one the journal's file is read, and orders raise `HostUnreachable`.
    journal: what reads, the reading half of `ports.Journal`. session: who the grant makes you; None without a host.

    Every call has an `_async` twin for event loops.
    """

    def __init__(self, target: str, line: Line | None, reader: OutsideReader | None, again: Callable[[], Line]) -> None:
        self.target = target
        self._line = line
        self._again = again
        self._meeting = threading.Lock()
        self.session: Session | None = None if line is None else line.ask(Who(), Session)
        self.journal: RemoteJournal | OutsideReader
        if line is not None:
            assert self.session is not None
            remote = RemoteJournal(line, content=not self.session.caller)
            self.journal = remote
            self._router = Router(remote)
            remote.lagged = self._router.reread
        else:
            assert reader is not None
            self.journal = reader
            self._router = Router(reader)

    def __repr__(self) -> str:
        return f"<Attached to {self.target}{'' if self.live else ', without a host'}>"

    @property
    def live(self) -> bool:
        """Whether a host answered when this was made."""
        return self._line is not None

    @property
    def connected(self) -> bool:
        """Whether the host was heard within the last seconds; only known while something is followed."""
        return isinstance(self.journal, RemoteJournal) and self.journal.connected

    def close(self) -> None:
        """Let go: whoever follows comes to an end. May be repeated."""
        if is_left_behind():
            return
        self._router.close()
        self.journal.close()
        with self._meeting:
            line = self._line
        if line is not None:
            line.close()

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

    # -------------------------------------------------------------- looking

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """Rows of the index, in the order runs started; `after` is the first position of the last one seen."""
        return self.journal.runs(unfinished=unfinished, after=after, limit=limit)

    async def runs_async(
        self, *, unfinished: bool = False, after: int = 0, limit: int | None = None
    ) -> list[RunSummary]:
        """`runs` for event loops."""
        return await asyncio.to_thread(self.runs, unfinished=unfinished, after=after, limit=limit)

    def run(self, run_id: str) -> RemoteRun:
        """One run.

        Raises:
            UnknownRun: there is none with this id that you may see.
        """
        if not isinstance(run_id, str) or self.journal.run(run_id) is None:
            raise UnknownRun(str(run_id))
        return RemoteRun(self, run_id)

    async def run_async(self, run_id: str) -> RemoteRun:
        """`run` for event loops."""
        return await asyncio.to_thread(self.run, run_id)

    def follow(
        self, run: str | None = None, *, caller: str | None = None, since: int = 0, timeout: float | None = None
    ) -> Following:
        """Durable events, live, for `for` and `async for`: nothing is missed or told twice, also when the host is
        opened anew meanwhile.

        run: of one run, with version > `since`, to its end. Without: of all runs, or of one `caller`'s, with position >
        `since`, until it or this is closed. timeout: seconds to wait for the next event before `TimeoutError`.

        Raises:
            UnknownRun: there is no such run that you may see.
        """
        check_fork()
        subscription = Subscription(self.journal, run_id=run, after=since, router=self._router, timeout=timeout)
        return Following(subscription, self.journal, caller)

    def orders(self, after: int = 0, limit: int = 1000) -> list[KeptOrder]:
        """What was kept of orders, taken and refused, oldest first, with numbers > `after`; without a host from its
        file.

        Raises:
            ControlRefused: the grant is no operator's.
        """
        line = self.line_now()
        if line is None and isinstance(self.journal, OutsideReader):
            return read_orders(self.journal.path, after, limit)
        return list(self._host().ask(ListOrders(after=after, limit=limit), Orders).orders)

    async def orders_async(self, after: int = 0, limit: int = 1000) -> list[KeptOrder]:
        """`orders` for event loops."""
        return await asyncio.to_thread(self.orders, after, limit)

    # -------------------------------------------------------------- orders

    def start(
        self,
        agent: str,
        input: str | Sequence[InputPart],
        *,
        caller: str = "",
        request_id: str = "",
        name: str = "",
        subject: str = "",
        interactive: bool = False,
        dry_run: bool = False,
        max_steps: int | None = None,
        by: str = "",
        timeout: float | None = TIMEOUT_S,
    ) -> RemoteRun:
        """Start a run of an agent of the host; as `Runtime.start`, with text for input.

        Raises:
            UnknownAgent, BudgetSpent, ControlRefused, HostUnreachable, OutcomeUnknown, TimeoutError, ValueError.
        """
        order = order_of(
            Start,
            by=by,
            agent=agent,
            input=text_of(input),
            caller=caller,
            request_id=request_id,
            name=name,
            subject=subject,
            interactive=interactive,
            dry_run=dry_run,
            max_steps=max_steps,
        )
        return RemoteRun(self, self.give(order, timeout).run)

    async def start_async(self, agent: str, input: str | Sequence[InputPart], **options: Any) -> RemoteRun:
        """`start` for event loops, with the same options."""
        return await asyncio.to_thread(lambda: self.start(agent, input, **options))

    def give(self, order: Order, timeout: float | None = TIMEOUT_S) -> Done:
        """Give an order of `wire.requests`; returns when it is durable, or, with `order.check`, whether it could be.

        Raises:
            HostUnreachable: no host answers; the order was not given.
            OutcomeUnknown: the host was lost while it carried the order out. Others: what the host says against it.
        """
        return self._host().order(order, 3600.0 if timeout is None else timeout)

    async def give_async(self, order: Order, timeout: float | None = TIMEOUT_S) -> Done:
        """`give` for event loops."""
        return await asyncio.to_thread(self.give, order, timeout)

    def _host(self) -> Line:
        check_fork()
        with self._meeting:
            if self._line is None:
                self._line = self._again()
            return self._line

    def live_line(self) -> Line | None:
        """The line to the host, if there was one when this was made."""
        return self._line if isinstance(self.journal, RemoteJournal) else None

    def line_now(self) -> Line | None:
        """The line to the host that is there now; None if none answers."""
        if self._line is None and places.is_put_up(self.target):
            with suppress(HostUnreachable):
                return self._host()
        return self._line

    # -------------------------------------------------------------- critics

    def serve_critic(self, critic: Any, *, name: str = "", until: threading.Event | None = None) -> None:
        """Be the critic of this name for the host, a review at a time, until `until` is set or this is closed; see
        `OutsideCritic`. Blocks; while the host is gone it waits for the next one. For several reviews at once, call
        it on several threads, or in several processes. A critic that raises has failed at that review, and goes on.

        name: as the host names it; without it the critic's own.

        Raises:
            ControlRefused: the host wants no critic of this name, or the grant is no operator's.
            HostUnreachable: no host answers. TypeError: the critic has no `review`.
        """
        from .serving import serve

        serve(self._host(), critic, name or _name_of(critic), until or threading.Event())

    async def serve_critic_async(self, critic: Any, *, name: str = "", until: threading.Event | None = None) -> None:
        """`serve_critic` for event loops; it ends too when it is cancelled. An async critic is asked on this loop."""
        from .serving import serve_async

        until = until or threading.Event()
        try:
            await serve_async(await asyncio.to_thread(self._host), critic, name or _name_of(critic), until)
        finally:
            until.set()


def _name_of(critic: object) -> str:
    name = getattr(critic, "name", "")
    return name if isinstance(name, str) and name else "critic"


def attach(
    target: str | os.PathLike[str],
    *,
    token: str = "",
    tls: ClientTls | None = None,
    encryption: bytes | KeySource | Encryption | None = None,
    host: bool = False,
    timeout: float = 5.0,
) -> Attached:
    """Hold a host of another process: the one that has the journal at path `target` open, or the one at the address
    `target` ("ipc:///PATH", "tls+tcp://HOST:PORT").

    token: of a grant; without one the operator's, if the host listens in this user's private directory, and otherwise
    the environment's EXECUTUS_TOKEN. tls: for a network. encryption: as for `Runtime`, to open sealed runs where the
    file is read. host: whether a host must answer; without it a journal that nobody has open for others is read from
    its file. timeout: seconds that a host has to answer, or to come.

    Raises:
        HostUnreachable: no host answers. JournalUnreadable, JournalTooNew: there is none, and the file is no journal.
        ControlRefused: the token is wrong. ValueError: no such address, or a token is missing.
    """
    text = os.fspath(target)

    def meet() -> Line:
        return Line(text, token=token, tls=tls, timeout=timeout)

    is_address = text.startswith(("ipc://", "tls+tcp://", "tcp://"))
    if is_address or host or places.is_put_up(text):
        try:
            return _attached(text, meet)
        except HostUnreachable:
            if is_address or host:
                raise
    return Attached(text, None, read_journal(text, encryption=_encryption(encryption)), meet)


def _encryption(given: bytes | KeySource | Encryption | None) -> Encryption | None:
    if given is None:
        return None
    from ..adapters.keys.sources import encryption_of  # imports a library, and only if it is used

    return encryption_of(given, "attach, encryption")


def _attached(text: str, meet: Callable[[], Line]) -> Attached:
    line = meet()
    try:
        return Attached(text, line, None, meet)
    except BaseException:
        line.close()
        raise


async def attach_async(target: str | os.PathLike[str], **options: Any) -> Attached:
    """`attach` for event loops, with the same options."""
    return await asyncio.to_thread(lambda: attach(target, **options))


class HostSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A host that has put up a card. answers: whether it does. why: if not."""

    card: places.Card
    answers: bool
    why: str = ""
    live_runs: int = 0


def hosts(timeout: float = 1.0) -> list[HostSeen]:
    """The hosts of this user on this machine that listen, or did when they ended without a word."""
    found: list[HostSeen] = []
    for room, card in places.all_cards():
        token = places.token_in(room)
        if not token:
            found.append(HostSeen(card=card, answers=False, why="it lets in only who has a token of its own"))
            continue
        try:
            line = Line(card.control, token=token, timeout=timeout)
        except (ExecutusError, ValueError) as error:
            found.append(HostSeen(card=card, answers=False, why=str(error)))
            continue
        try:
            session = line.ask(Who(), Session, timeout)
            found.append(HostSeen(card=card, answers=True, live_runs=session.live_runs))
        except ExecutusError as error:
            found.append(HostSeen(card=card, answers=False, why=str(error)))
        finally:
            line.close()
    return found


__all__ = ["Attached", "HostSeen", "RemoteRun", "attach", "attach_async", "hosts", "order_of"]
