"""A run of a host, held from another process, and the orders to it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..errors import HostUnreachable, MessageRefused
from ..events import ChildStarted, InputPart, Measure, Message, RunFinished, Text
from ..journal import OutsideReader
from ..projections import PendingApproval, RunState
from ..projections.result import Result
from .following import Following
from .requests import (
    Approve,
    Begin,
    Cancel,
    Deny,
    Extend,
    Kill,
    Order,
    Raise,
    Send,
    Standing,
    Stands,
    Steer,
)

if TYPE_CHECKING:
    from .attached import Attached

TIMEOUT_S: Final = 30.0
STANDS_S: Final = 5.0
"""Seconds that a host has to say how a run stands: somebody waits to see it."""


class RemoteRun:
    """A run of a host, held from another process. Every order returns when what it led to is durable, and has an
    `_async` twin. by: who gives it, noted behind the name of the grant.

    All raise `MessageRefused` when the run cannot take the order, `ControlRefused` when the grant may not give it,
    `HostUnreachable` when no host answers, `OutcomeUnknown` when it was lost meanwhile, and `TimeoutError`.
    """

    def __init__(self, attached: Attached, run_id: str) -> None:
        self._attached = attached
        self.id = run_id

    def __repr__(self) -> str:
        return f"<RemoteRun {self.id}>"

    @property
    def status(self) -> str:
        """How it stands, as `Run.status`; without a host an unfinished run is "suspended"."""
        return self._stands().status

    @property
    def reason(self) -> str:
        """Why it is not at work, as `Run.reason`."""
        return self._stands().reason

    def _stands(self) -> Stands:
        line = self._attached.line_now()
        if line is not None:
            return line.ask(Standing(run=self.id), Stands, STANDS_S)
        state, journal = self.state(), self._attached.journal
        if state.status is not None:
            return Stands(status=state.status)
        for known in journal.recoveries():
            if known.run_id == self.id and known.quarantined:
                return Stands(status="quarantined", reason=known.why)
        if isinstance(journal, OutsideReader) and journal.standing() == "live":
            why = "its host does not listen: this is what its file says"
            return Stands(status="waiting" if state.doing == "waiting" else "running", reason=why)
        return Stands(status="suspended", reason="no host has its journal open")

    def state(self) -> RunState:
        """Where it stands, folded from its durable facts."""
        return self._attached.journal.load(self.id).state

    def transcript(self) -> list[Message]:
        """The conversation as the model has seen, or will next see it."""
        return list(self._attached.journal.load(self.id).transcript.messages)

    def approvals(self) -> tuple[PendingApproval, ...]:
        """The calls that wait for a person's approval."""
        return self.state().governed.approvals

    def children(self) -> list[RemoteRun]:
        """The runs that this one started and that came to be, in that order."""
        journal = self._attached.journal
        started = [event.fact.run_id for event in journal.read(self.id) if isinstance(event.fact, ChildStarted)]
        return [RemoteRun(self._attached, one) for one in started if journal.run(one) is not None]

    def events(self, after: int = 0) -> Following:
        """Its durable facts with version > `after`, live, to its end."""
        return self._attached.follow(self.id, since=after)

    def result(self, timeout: float | None = None) -> Result:
        """Wait for its end, through restarts of the host; as `Run.result`.

        Raises:
            TimeoutError: it goes on after `timeout` seconds; nothing happened to it.
            HostUnreachable: this was closed meanwhile.
        """
        return Result.of(self.id, self.wait(timeout))

    async def result_async(self, timeout: float | None = None) -> Result:
        """`result` for event loops."""
        return Result.of(self.id, await self.wait_async(timeout))

    def wait(self, timeout: float | None = None) -> RunFinished:
        """Wait for its end, and return its last fact.

        Raises:
            TimeoutError: it goes on after `timeout` seconds; nothing happened to it.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._attached.follow(self.id) as events:
            for event in events.within(until):
                if isinstance(event.fact, RunFinished):
                    return event.fact
        raise HostUnreachable(f"run {self.id} was not followed to its end: this was closed")

    async def wait_async(self, timeout: float | None = None) -> RunFinished:
        """`wait` for event loops."""
        async with asyncio.timeout(timeout), self._attached.follow(self.id) as events:
            async for event in events:
                if isinstance(event.fact, RunFinished):
                    return event.fact
        raise HostUnreachable(f"run {self.id} was not followed to its end: this was closed")

    def steer(self, text: str, *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Give advice that the model reads at its next step."""
        self._give(Steer, by, timeout, text=text)

    def send(self, message: str | Sequence[InputPart], *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Give an interactive run the person's next message."""
        self._give(Send, by, timeout, text=text_of(message))

    def begin(self, *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Begin a fork, which waits for this."""
        self._give(Begin, by, timeout)

    def extend(self, seconds: float, *, by: str = "", reason: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Move the hard deadline `seconds` further; an owner only up to the run's cap."""
        self._give(Extend, by, timeout, seconds=seconds, reason=reason)

    def raise_ceiling(
        self,
        more: float,
        limit: Measure = "steps",
        *,
        by: str = "",
        reason: str = "",
        timeout: float | None = TIMEOUT_S,
    ) -> None:
        """Raise a limit by `more`; an owner only steps, up to the run's cap."""
        self._give(Raise, by, timeout, more=more, limit=limit, reason=reason)

    def approve(self, call: str = "", *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Say yes to a call that waits for approval; without `call`, to the only one."""
        self._give(Approve, by, timeout, call=call)

    def deny(self, call: str = "", *, reason: str = "", by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """Say no to it."""
        self._give(Deny, by, timeout, call=call, reason=reason)

    def cancel(self, reason: str = "", *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """End it with status "cancelled"; one that is over stays as it is."""
        self._give(Cancel, by, timeout, reason=reason)

    def kill(self, reason: str = "", *, by: str = "", timeout: float | None = TIMEOUT_S) -> None:
        """End it with status "killed"; one that is over stays as it is."""
        self._give(Kill, by, timeout, reason=reason)

    async def steer_async(self, text: str, **options: Any) -> None:
        """`steer` for event loops."""
        await asyncio.to_thread(lambda: self.steer(text, **options))

    async def send_async(self, message: str | Sequence[InputPart], **options: Any) -> None:
        """`send` for event loops."""
        await asyncio.to_thread(lambda: self.send(message, **options))

    async def begin_async(self, **options: Any) -> None:
        """`begin` for event loops."""
        await asyncio.to_thread(lambda: self.begin(**options))

    async def extend_async(self, seconds: float, **options: Any) -> None:
        """`extend` for event loops."""
        await asyncio.to_thread(lambda: self.extend(seconds, **options))

    async def raise_ceiling_async(self, more: float, limit: Measure = "steps", **options: Any) -> None:
        """`raise_ceiling` for event loops."""
        await asyncio.to_thread(lambda: self.raise_ceiling(more, limit, **options))

    async def approve_async(self, call: str = "", **options: Any) -> None:
        """`approve` for event loops."""
        await asyncio.to_thread(lambda: self.approve(call, **options))

    async def deny_async(self, call: str = "", **options: Any) -> None:
        """`deny` for event loops."""
        await asyncio.to_thread(lambda: self.deny(call, **options))

    async def cancel_async(self, reason: str = "", **options: Any) -> None:
        """`cancel` for event loops."""
        await asyncio.to_thread(lambda: self.cancel(reason, **options))

    async def kill_async(self, reason: str = "", **options: Any) -> None:
        """`kill` for event loops."""
        await asyncio.to_thread(lambda: self.kill(reason, **options))

    def _give(self, kind: type[Order], by: str, timeout: float | None, **fields: Any) -> None:
        try:
            self._attached.give(order_of(kind, by=by, run=self.id, **fields), timeout)
        except MessageRefused as refused:
            raise MessageRefused(self.id, str(kind.__struct_config__.tag), refused.why) from None


def order_of(kind: type[Order], **fields: Any) -> Order:
    """An order with an id of its own, its fields checked as a host would.

    Raises:
        ValueError: a field that cannot be, with what was expected.
    """
    tag = str(kind.__struct_config__.tag)
    try:
        return msgspec.convert({"ask": tag, "id": uuid.uuid4().hex, **fields}, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{tag}: {error}") from None


def text_of(given: str | Sequence[InputPart]) -> str:
    """The text of what is given.

    Raises:
        ValueError: it is not only text.
    """
    if isinstance(given, str):
        return given
    if all(isinstance(part, Text) for part in given):
        return "\n".join(part.text for part in given if isinstance(part, Text))
    raise ValueError("only text can be sent to a host in another process")
