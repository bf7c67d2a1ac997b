"""What a host holds in its hands: a run, and the result of one."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from .actors.run.actor import Asked, UrgentAsked
from .actors.run.messages import CancelRun, EndRun, LogError, LogNote, RunMessage, SendInput, SteerRun
from .errors import LogCorrupt, MessageRefused, RunQuarantined, UnknownFact
from .events import Image, InputPart, Message, RunFinished, RunStats, Status, Text
from .projections import Checkpoint, RunState

if TYPE_CHECKING:
    from collections.abc import Generator

    from .journal import Subscription
    from .runtime import Runtime

RunStatus: TypeAlias = Status | Literal["running", "waiting", "quarantined", "suspended"]
"""How a run stands. waiting: for a person's message. quarantined: set aside, as it failed repeatedly or its
log cannot be read. suspended: its log is unfinished and no runtime has it at work."""


LOOK_UP_S = 0.5
"""How long the main thread waits at a time: a signal that arrives just before it begins to wait, Ctrl-C for one, is
only noticed when it looks up."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: with which status, by whom and why; `output` is the model's last text, partial if stopped."""

    run_id: str
    status: Status
    output: str
    error: str
    by: str
    reason: str
    stats: RunStats

    @classmethod
    def of(cls, run_id: str, end: RunFinished) -> Result:
        """The result that `end` records."""
        stats = end.stats
        return cls(
            run_id=run_id,
            status=stats.status,
            output=stats.output,
            error=stats.error,
            by=end.by,
            reason=end.reason,
            stats=stats,
        )


def as_parts(what: str, value: str | Sequence[InputPart]) -> tuple[InputPart, ...]:
    """Text, or text and images, as parts.

    Raises:
        TypeError, ValueError: with what was expected.
    """
    if isinstance(value, str):
        return (Text(value),)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Sequence):
        raise TypeError(f"{what}: expected a string or a sequence of Text and Image, got {value!r}")
    return tuple(_part(what, part) for part in value)


def _part(what: str, part: object) -> InputPart:
    if isinstance(part, str):
        return Text(part)
    try:
        good = msgspec.convert(msgspec.to_builtins(part, builtin_types=(bytes,)), InputPart)
    except Exception as error:
        raise TypeError(f"{what}: expected str, Text or Image parts, got {part!r} ({error})") from error
    if isinstance(good, Image) and (good.data is None) == (good.url is None):
        raise ValueError(f"{what}: expected an Image with either data or url, got {good!r}")
    return good  # type: ignore[no-any-return]


class Run:
    """A run of a runtime, live or finished. Thread-safe; every order returns when what it led to is durable.

    Each order has an `_async` form for event loops. All raise `MessageRefused` when the run cannot take the order,
    `RuntimeClosed` when the runtime closed first (it may be durable then), and `TimeoutError` if it took longer than
    `timeout` seconds.
    """

    def __init__(self, runtime: Runtime, run_id: str) -> None:
        self._runtime = runtime
        self.id = run_id

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    # -------------------------------------------------------------- looking

    @property
    def status(self) -> RunStatus:
        """How the run stands, from what is durable."""
        address = self._runtime.address(self.id)
        if address is not None and isinstance(address.end, RunFinished):
            return address.end.status
        if address is not None and isinstance(address.end, RunQuarantined):
            return "quarantined"
        try:
            state = self.state()
        except (LogCorrupt, UnknownFact):
            return "quarantined"
        if state.status is not None:
            return state.status
        if address is None or address.end is not None:
            return "suspended"
        return "waiting" if state.phase == "waiting" else "running"

    def checkpoint(self) -> Checkpoint:
        """The fold of the run's durable facts: state, transcript and version."""
        return self._runtime.load(self.id)

    def state(self) -> RunState:
        """Where the run stands, folded from its durable facts."""
        return self.checkpoint().state

    def transcript(self) -> list[Message]:
        """The conversation as the model has seen, or will next see it."""
        return list(self.checkpoint().transcript.messages)

    def events(self, after: int = 0) -> Subscription:
        """The run's durable facts with version > `after`, live, for `for` and `async for`; ends after the run's end."""
        return self._runtime.subscribe(self.id, after)

    # -------------------------------------------------------------- the result

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end of the run.

        Raises:
            TimeoutError: it goes on after `timeout` seconds; nothing happened to it.
            RunQuarantined, RuntimeClosed: it will not end in this runtime.
        """
        self._runtime.may_block("result")
        future = self._runtime.finished(self.id)
        try:
            return Result.of(self.id, wait(future, timeout, f"run {self.id} goes on"))
        finally:
            future.cancel()

    async def result_async(self, timeout: float | None = None) -> Result:
        """`result` for event loops; cancelling it leaves the run alone."""
        future = self._runtime.finished(self.id)
        try:
            return Result.of(self.id, await wait_async(future, timeout, f"run {self.id} goes on"))
        finally:
            future.cancel()

    def __await__(self) -> Generator[Any, None, Result]:
        return self.result_async().__await__()

    # -------------------------------------------------------------- orders

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


def wait(future: Future[Any], timeout: float | None, what: str) -> Any:
    """The future's result, or `TimeoutError` saying `what` after so many seconds.

    It waits on a bare lock: a Ctrl-C in the middle of a condition's wait can leave the condition broken.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    longest = LOOK_UP_S if threading.current_thread() is threading.main_thread() else threading.TIMEOUT_MAX
    bell = threading.Lock()
    bell.acquire()
    future.add_done_callback(lambda _: bell.release())
    while not bell.acquire(timeout=min(longest, max(0.0, until - time.monotonic()))):
        if future.done():
            break
        if time.monotonic() >= until:
            raise TimeoutError(f"{what} after {timeout:g} s")
    return future.result()


async def wait_async(future: Future[Any], timeout: float | None, what: str) -> Any:
    """`wait` for event loops; cancelling it leaves the future alone."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(_seen)
    try:
        return await asyncio.wait_for(asyncio.shield(waiting), timeout)
    except TimeoutError:
        if waiting.done():
            raise
        raise TimeoutError(f"{what} after {timeout:g} s") from None


def _seen(future: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone: asyncio would complain that nobody looked at the error."""
    if not future.cancelled():
        future.exception()
