"""What a host may order a run to do. Every order returns when what it led to is durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..actors.run.asking import Asked, UrgentAsked
from ..actors.run.messages import (
    ApproveCall,
    BeginRun,
    CancelRun,
    DenyCall,
    EndRun,
    ExtendRun,
    KillRun,
    LogError,
    LogNote,
    RaiseCeiling,
    RunMessage,
    SendInput,
    SteerRun,
)
from ..errors import MessageRefused
from ..events import InputPart, Measure, RunFinished
from ..ports import MOST, NOBODY
from ..redaction.raised import masks_errors
from .parts import as_parts
from .waiting import wait, wait_async

if TYPE_CHECKING:
    from ..projections import RunState
    from ..runtime import Runtime


@masks_errors(lambda run: run._runtime.redactor)
class Orders:
    """Orders to one run. Each has an `_async` form for event loops. All raise `MessageRefused` when the run cannot take
    the order, `RuntimeClosed` when the runtime closed first (it may be durable then), and `TimeoutError` if it took
    longer than `timeout` seconds.
    """

    id: str
    _runtime: Runtime

    if TYPE_CHECKING:

        def state(self) -> RunState:
            """Where the run stands."""
            ...

    def begin(self, *, by: str = "", timeout: float | None = 60.0) -> None:
        """Begin a fork, which waits for this; one that has begun stays as it is."""
        self._order("begin", self._beginning(by), timeout)

    async def begin_async(self, *, by: str = "", timeout: float | None = 60.0) -> None:
        """`begin` for event loops."""
        await self._order_async(self._beginning(by), timeout)

    def _beginning(self, by: str) -> BeginRun:
        address = self._runtime.address(self.id)
        if address is not None and address.agent.model == NOBODY:
            why = f"its agent {address.agent.name!r} is not in this runtime; begin it in a host that has it"
            raise MessageRefused(self.id, "begin", why)
        return BeginRun(by=_text("begin, by", by))

    def steer(self, text: str, *, by: str = "", timeout: float | None = 60.0) -> None:
        """Give advice that the model reads at its next step."""
        self._order("steer", SteerRun(text=_text("steer", text), by=_text("steer, by", by)), timeout)

    async def steer_async(self, text: str, *, by: str = "", timeout: float | None = 60.0) -> None:
        """`steer` for event loops."""
        await self._order_async(SteerRun(text=_text("steer", text), by=_text("steer, by", by)), timeout)

    def send(self, message: str | Sequence[InputPart], *, by: str = "", timeout: float | None = 60.0) -> None:
        """Give an interactive run the person's next message; while it is busy the message waits for the next step."""
        self._order("send", SendInput(input=as_parts("send", message), by=_text("send, by", by)), timeout)

    async def send_async(
        self, message: str | Sequence[InputPart], *, by: str = "", timeout: float | None = 60.0
    ) -> None:
        """`send` for event loops."""
        await self._order_async(SendInput(input=as_parts("send", message), by=_text("send, by", by)), timeout)

    def end(self, message: str | Sequence[InputPart] = (), *, by: str = "", timeout: float | None = 60.0) -> None:
        """End an interactive run that waits, with status "ok"; `message`: last words that nobody answers."""
        self._order("end", _ending(message, by), timeout)

    async def end_async(
        self, message: str | Sequence[InputPart] = (), *, by: str = "", timeout: float | None = 60.0
    ) -> None:
        """`end` for event loops."""
        await self._order_async(_ending(message, by), timeout)

    def cancel(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """Stop the run with status "cancelled"; what it has said is kept. A run that is over stays as it is."""
        message = _cancelling(reason, by)
        try:
            if not self._over():
                self._order("cancel", message, timeout, UrgentAsked)
        except MessageRefused:
            if not self._over():  # else it has ended meanwhile
                raise

    async def cancel_async(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """`cancel` for event loops."""
        message = _cancelling(reason, by)
        try:
            if not self._over():
                await self._order_async(message, timeout, UrgentAsked)
        except MessageRefused:
            if not self._over():
                raise

    def note(self, type: str, payload: Mapping[str, Any] | None = None, *, timeout: float | None = 60.0) -> None:
        """Write an entry of the host's own into the log of a live run."""
        self._order("note", _note(type, payload), timeout)

    async def note_async(
        self, type: str, payload: Mapping[str, Any] | None = None, *, timeout: float | None = 60.0
    ) -> None:
        """`note` for event loops."""
        await self._order_async(_note(type, payload), timeout)

    def log_error(self, message: str, *, timeout: float | None = 60.0) -> None:
        """Write an error of the host's own into the log of a live run."""
        self._order("log_error", LogError(message=_text("log_error", message)), timeout)

    async def log_error_async(self, message: str, *, timeout: float | None = 60.0) -> None:
        """`log_error` for event loops."""
        await self._order_async(LogError(message=_text("log_error", message)), timeout)

    # -------------------------------------------------------------- supervision

    def extend(self, seconds: float, *, by: str = "", reason: str = "", timeout: float | None = 60.0) -> None:
        """Move the hard deadline `seconds` further; the critic's cap does not bind the host."""
        self._order("extend", _extending(seconds, by, reason), timeout)

    async def extend_async(
        self, seconds: float, *, by: str = "", reason: str = "", timeout: float | None = 60.0
    ) -> None:
        """`extend` for event loops."""
        await self._order_async(_extending(seconds, by, reason), timeout)

    def raise_ceiling(
        self, more: float, limit: Measure = "steps", *, by: str = "", reason: str = "", timeout: float | None = 60.0
    ) -> None:
        """Raise a limit by `more`: "steps", "tool_calls", "tokens" or "cost_usd"; for "seconds" see `extend`."""
        self._order("raise_ceiling", _raising(more, limit, by, reason), timeout)

    async def raise_ceiling_async(
        self, more: float, limit: Measure = "steps", *, by: str = "", reason: str = "", timeout: float | None = 60.0
    ) -> None:
        """`raise_ceiling` for event loops."""
        await self._order_async(_raising(more, limit, by, reason), timeout)

    def kill(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """End the run with status "killed"; what it has said is kept. A run that is over stays as it is."""
        message = KillRun(reason=_text("kill, reason", reason), by=_text("kill, by", by))
        try:
            if not self._over():
                self._order("kill", message, timeout, UrgentAsked)
        except MessageRefused:
            if not self._over():  # else it has ended meanwhile
                raise

    async def kill_async(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """`kill` for event loops."""
        message = KillRun(reason=_text("kill, reason", reason), by=_text("kill, by", by))
        try:
            if not self._over():
                await self._order_async(message, timeout, UrgentAsked)
        except MessageRefused:
            if not self._over():
                raise

    # -------------------------------------------------------------- approvals

    def approve(self, call: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """Say yes to a call that waits for approval (`Run.approvals`); without `call`, to the only one."""
        self._order("approve", ApproveCall(call=self._one_call("approve", call), by=_text("approve, by", by)), timeout)

    async def approve_async(self, call: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """`approve` for event loops."""
        call = self._one_call("approve", call)
        await self._order_async(ApproveCall(call=call, by=_text("approve, by", by)), timeout)

    def deny(self, call: str = "", *, reason: str = "", by: str = "", timeout: float | None = 60.0) -> None:
        """Say no to a call that waits for approval; the model is told `reason`."""
        self._order("deny", self._denying(call, reason, by), timeout)

    async def deny_async(self, call: str = "", *, reason: str = "", by: str = "", timeout: float | None = 60.0) -> None:
        """`deny` for event loops."""
        await self._order_async(self._denying(call, reason, by), timeout)

    def _denying(self, call: str, reason: str, by: str) -> DenyCall:
        call = self._one_call("deny", call)
        return DenyCall(call=call, by=_text("deny, by", by), reason=_text("deny, reason", reason))

    def _one_call(self, order: str, call: str) -> str:
        if _text(order, call):
            return call
        waiting = [one.call for one in self.state().governed.approvals]
        if len(waiting) != 1:
            which = ", ".join(waiting) or "none"
            raise MessageRefused(self.id, order, f"name the call; waiting for approval: {which}")
        return waiting[0]

    # -------------------------------------------------------------- sending them

    def _over(self) -> bool:
        address = self._runtime.address(self.id)
        if address is not None:
            return isinstance(address.end, RunFinished)
        return self.state().over

    def _order(self, call: str, message: RunMessage, timeout: float | None, kind: type[Asked] = Asked) -> None:
        self._runtime.may_block(call)
        with self._runtime.asking(kind(message, run_id=self.id)) as asked:
            wait(self._runtime.tell(self.id, asked), timeout, f"run {self.id} has not taken it yet")

    async def _order_async(self, message: RunMessage, timeout: float | None, kind: type[Asked] = Asked) -> None:
        with self._runtime.asking(kind(message, run_id=self.id)) as asked:
            await wait_async(self._runtime.tell(self.id, asked), timeout, f"run {self.id} has not taken it yet")


def _text(call: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{call}: expected a string, got {text!r}")
    return text


def _ending(message: str | Sequence[InputPart], by: str) -> EndRun:
    return EndRun(input=as_parts("end", message) if message else (), by=_text("end, by", by))


def _cancelling(reason: str, by: str) -> CancelRun:
    return CancelRun(by=_text("cancel, by", by), reason=_text("cancel, reason", reason))


def _note(type: str, payload: Mapping[str, Any] | None) -> LogNote:
    if payload is not None and not isinstance(payload, Mapping):
        raise TypeError(f"note, payload: expected a mapping, got {payload!r}")
    return LogNote(type=_text("note, type", type), payload=dict(payload or {}))


def _extending(seconds: object, by: str, reason: str) -> ExtendRun:
    if type(seconds) not in (int, float) or not 0 < seconds < 1e9:  # type: ignore[operator]
        raise ValueError(f"extend: expected seconds > 0, got {seconds!r}")
    return ExtendRun(seconds=float(seconds), by=_text("extend, by", by), reason=_text("extend, reason", reason))  # type: ignore[arg-type]


def _raising(more: object, limit: str, by: str, reason: str) -> RaiseCeiling:
    if limit not in RAISED:
        raise ValueError(f"raise_ceiling, limit: expected one of {', '.join(RAISED)}, got {limit!r}")
    whole = limit != "cost_usd"
    if type(more) not in ((int,) if whole else (int, float)) or not 0 < more < MOST:  # type: ignore[operator]
        what = "a whole number" if whole else "dollars"
        raise ValueError(f"raise_ceiling: expected {what} > 0, got {more!r}")
    by, reason = _text("raise_ceiling, by", by), _text("raise_ceiling, reason", reason)
    return RaiseCeiling(limit=limit, more=more, by=by, reason=reason)  # type: ignore[arg-type]


RAISED = ("steps", "tool_calls", "tokens", "cost_usd")
