"""A critic that lives in another process: it takes traces from the host and gives verdicts back, over the wire.

When that process is gone nobody answers, so a review fails; after the third failure in a row the critic is lost, which
is a fact, and the run goes on under its hard limits.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from ...errors import ExecutusError
from ...events import Usage
from ...events.clean import clean_json
from ...ports import Continue, Extend, Judged, Kill, Raise, Review, Steer, Verdict
from ...ports.verdicts import MOST, checked_review
from ...projections.trace import Trace

QUIET_S: Final = 3.0
"""A process that serves asks all the time: one that is connected and has asked for nothing for so long has stopped."""
LOOK_S: Final = 0.25
"""How often a review that waits looks whether anybody serves."""
VERDICT_BYTES: Final = 48_000
"""Of a verdict as JSON: with what is around it, it has to fit a request."""


class CriticGone(ExecutusError):
    """No process provides this critic now, or it failed at a review."""


@dataclass(frozen=True)
class Wanted:
    """A review that is wanted. trace: JSON. now: as for `Critic.review`. timeout_s: seconds that it has."""

    id: str
    trace: str
    now: float
    timeout_s: float


@dataclass
class _Pending:
    wanted: Wanted
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Review] = field(repr=False)


@dataclass
class _Server:
    """A connection that asks for reviews. waiting: how many times now. heard: when it last did something.
    reviews: those that it took and has not answered.
    """

    waiting: int = 0
    heard: float = 0.0
    reviews: set[str] = field(default_factory=set[str])


class OutsideCritic:
    """Stands in a host for a critic in another process, which serves it with `Attached.serve_critic(critic)`.

    Several processes may serve one name; each review goes to one of them, and to another one if that is gone before it
    has answered. name: by which they know it, and who the facts say gave the order. every_s, every_steps, timeout_s:
    when it is asked, and how long it has, in seconds; see `Critic`. wait_s: while no process serves it, because it is
    being started or is gone, reviews wait for one for so many seconds in all; then each fails at once, until one serves
    again. Give it to `Runtime(critic=...)` or an agent, in a runtime that listens; one that is chosen by a function, or
    is a member of several, has to be named in `Listen(critics=[...])` too.

    Raises:
        ValueError: a name, or a time, that cannot be.
    """

    def __init__(
        self,
        name: str,
        *,
        every_s: float | None = None,
        every_steps: int | None = None,
        timeout_s: float = 30.0,
        wait_s: float = 5.0,
    ) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 64:
            raise ValueError(f"OutsideCritic, name: expected 1 to 64 characters, got {name!r}")
        if type(wait_s) not in (int, float) or not 0 <= wait_s < 1e9:
            raise ValueError(f"OutsideCritic, wait_s: expected seconds ≥ 0, got {wait_s!r}")
        self.name = name
        self.every_s, self.every_steps, self.timeout_s = every_s, every_steps, timeout_s
        self.wait_s = float(wait_s)
        self.offered = False
        """Whether a host lets other processes serve it."""
        self._wake = threading.Condition(threading.Lock())
        self._queue: deque[str] = deque()
        self._pending: dict[str, _Pending] = {}
        self._servers: dict[int, _Server] = {}
        self._alone_since: float | None = None

    async def review(self, trace: Trace, now: float) -> Review:
        """See `Critic`.

        Raises:
            CriticGone: no process provides this critic now, or it has failed.
        """
        if not self.offered:
            raise CriticGone(f"no process may serve the critic {self.name!r}: name it in Listen(critics=[...])")
        loop = asyncio.get_running_loop()
        wanted = Wanted(uuid.uuid4().hex, trace_json(trace), now, self.timeout_s)
        pending = _Pending(wanted, loop, loop.create_future())
        with self._wake:
            self._pending[wanted.id] = pending
            self._queue.append(wanted.id)
            self._wake.notify_all()
        try:
            while not pending.answer.done():
                self._must_be_served()
                await asyncio.wait([pending.answer], timeout=LOOK_S)
            return pending.answer.result()
        finally:
            with self._wake:
                self._pending.pop(wanted.id, None)
                self._is_let_go(wanted.id)

    def _must_be_served(self) -> None:
        """Reviews have waited long enough for a process, all in all.

        Raises:
            CriticGone: so it is.
        """
        now = time.monotonic()
        with self._wake:
            if any(one.waiting or one.reviews or now - one.heard < QUIET_S for one in self._servers.values()):
                self._alone_since = None
                return
            if self._alone_since is None:
                self._alone_since = now
            alone_s = now - self._alone_since
        if alone_s >= self.wait_s:
            raise CriticGone(f"no process serves the critic {self.name!r}")

    # -------------------------------------------------------------- for the wire, on any thread

    def take(self, wait_s: float, server: int = 0, is_there: Callable[[], bool] = lambda: True) -> Wanted | None:
        """The next review that is wanted, or None when none is within `wait_s` seconds. Blocks.

        server: the connection that asks. is_there: whether it is still there; `left` is told after it is not.
        """
        until = time.monotonic() + wait_s
        with self._wake:
            asking = self._servers.setdefault(server, _Server())
            asking.waiting += 1
            if is_there():
                self._alone_since = None
            try:
                while is_there():
                    while self._queue:
                        pending = self._pending.get(self._queue.popleft())
                        if pending is not None:
                            asking.reviews.add(pending.wanted.id)
                            return pending.wanted
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    self._wake.wait(left)
                return None
            finally:
                asking.waiting -= 1
                asking.heard = time.monotonic()
                if not is_there() and self._servers.get(server) is asking:
                    del self._servers[server]

    def left(self, server: int) -> None:
        """This connection is gone: what it took and did not answer is wanted again."""
        with self._wake:
            gone = self._servers.pop(server, None)
            if gone is None:
                return
            self._queue.extendleft(one for one in gone.reviews if one in self._pending)
            self._wake.notify_all()

    def give(self, id: str, verdict: str) -> bool:
        """The verdict of a review, as JSON; False if nobody waits for it any more. What is no verdict is a failure.

        Raises:
            ValueError: it is no verdict.
        """
        try:
            review = review_of(verdict)
        except ValueError as error:
            self.fail(id, f"this is no verdict: {error}")
            raise
        return self._settle(id, review)

    def fail(self, id: str, why: str) -> bool:
        """The critic has failed at a review; False if nobody waits for it any more."""
        return self._settle(id, CriticGone(f"the critic {self.name!r} failed: {why}"))

    def _settle(self, id: str, answer: Review | Exception) -> bool:
        with self._wake:
            self._is_let_go(id)
            pending = self._pending.pop(id, None)
        if pending is None:
            return False

        def settle() -> None:
            if pending.answer.done():
                return
            if isinstance(answer, Exception):
                pending.answer.set_exception(answer)
            else:
                pending.answer.set_result(answer)

        try:
            pending.loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the host is closing
            return False
        return True

    def _is_let_go(self, id: str) -> None:
        for server in self._servers.values():
            if id in server.reviews:
                server.reviews.discard(id)
                server.heard = time.monotonic()


# ------------------------------------------------------------------ as JSON


class _Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    verdict: Literal["continue", "steer", "extend", "raise", "kill"]
    text: str = ""
    reason: str = ""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST)] = 0.0
    steps: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 0
    evidence: dict[str, Any] = {}
    usage: Usage | None = None
    model: str = ""


_decode_trace = msgspec.json.Decoder(Trace).decode
_decode_spoken = msgspec.json.Decoder(_Spoken).decode


def trace_json(trace: Trace) -> str:
    """A trace, as it travels."""
    return msgspec.json.encode(trace).decode()


def trace_of(text: str) -> Trace:
    """The trace that travelled.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decode_trace(text)
    except Exception as error:
        raise ValueError(str(error)) from error


def verdict_json(review: Review) -> str:
    """A critic's answer, as it travels.

    Raises:
        TypeError, ValueError: it is no verdict, or too large a one.
    """
    checked = checked_review(review)
    usage, model = (checked.usage, checked.model) if type(review) is Judged else (None, "")
    spoken: _Spoken
    match checked.verdict:
        case None:
            spoken = _Spoken("continue", usage=usage, model=model)
        case Continue(text=text, evidence=evidence):
            spoken = _Spoken("continue", text=text, evidence=evidence, usage=usage, model=model)
        case Steer(text=text, evidence=evidence):
            spoken = _Spoken("steer", text=text, evidence=evidence, usage=usage, model=model)
        case Extend(seconds=seconds, reason=reason):
            spoken = _Spoken("extend", seconds=seconds, reason=reason, usage=usage, model=model)
        case Raise(steps=steps, reason=reason):
            spoken = _Spoken("raise", steps=steps, reason=reason, usage=usage, model=model)
        case Kill(reason=reason, evidence=evidence):
            spoken = _Spoken("kill", reason=reason, evidence=evidence, usage=usage, model=model)
        case _:
            raise TypeError(f"a critic answers Continue, Steer, Extend, Raise, Kill or Judged; this one: {review!r}")
    encoded = msgspec.json.encode(spoken)
    if len(encoded) > VERDICT_BYTES:
        most = f"{VERDICT_BYTES:,} bytes as JSON, with its evidence"
        raise ValueError(f"a verdict that travels has at most {most}; got {len(encoded):,}")
    return encoded.decode()


def review_of(text: str) -> Review:
    """The answer that travelled.

    Raises:
        ValueError: it is none.
    """
    try:
        spoken = _decode_spoken(text)
        evidence = clean_json(spoken.evidence)
    except Exception as error:
        raise ValueError(str(error)[:200]) from error
    verdict: Verdict
    match spoken.verdict:
        case "continue":
            verdict = Continue(spoken.text, evidence)
        case "steer":
            verdict = Steer(spoken.text, evidence)
        case "extend":
            verdict = Extend(spoken.seconds, spoken.reason)
        case "raise":
            verdict = Raise(spoken.steps, spoken.reason)
        case "kill":
            verdict = Kill(spoken.reason, evidence)
    return verdict if spoken.usage is None else Judged(verdict, spoken.usage, spoken.model)
