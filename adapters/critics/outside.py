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
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from ...errors import ExecutusError
from ...events import Usage
from ...events.clean import clean_json
from ...ports import Continue, Extend, Judged, Kill, Raise, Review, Steer, Verdict
from ...projections.trace import Trace

GONE_AFTER_S: Final = 8.0
"""Nobody has asked for a review for so long: there is no such process now."""


class CriticGone(ExecutusError):
    """No process provides this critic now."""


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


class OutsideCritic:
    """Stands in a host for a critic in another process, which serves it with `Attached.serve_critic(name, critic)`.

    name: by which it is known, and who the facts say gave the order. every_s, every_steps, timeout_s: when it is asked,
    and how long it has; see `Critic`. Give it to `Runtime(critic=...)`, which then has to `listen`.

    Raises:
        ValueError: a name that cannot be.
    """

    def __init__(
        self,
        name: str,
        *,
        every_s: float | None = None,
        every_steps: int | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 64:
            raise ValueError(f"OutsideCritic, name: expected 1 to 64 characters, got {name!r}")
        self.name = name
        self.every_s, self.every_steps, self.timeout_s = every_s, every_steps, timeout_s
        self._wake = threading.Condition(threading.Lock())
        self._queue: deque[str] = deque()
        self._pending: dict[str, _Pending] = {}
        self._asked_at = 0.0
        self._asking = 0

    async def review(self, trace: Trace, now: float) -> Review:
        """See `Critic`.

        Raises:
            CriticGone: no process provides this critic now, or it has failed.
        """
        if not self._is_served():
            raise CriticGone(f"no process serves the critic {self.name!r} now")
        loop = asyncio.get_running_loop()
        wanted = Wanted(uuid.uuid4().hex, trace_json(trace), now, self.timeout_s)
        pending = _Pending(wanted, loop, loop.create_future())
        with self._wake:
            self._pending[wanted.id] = pending
            self._queue.append(wanted.id)
            self._wake.notify()
        try:
            while True:
                done, _ = await asyncio.wait([pending.answer], timeout=1.0)
                if done:
                    return pending.answer.result()
                if not self._is_served():
                    raise CriticGone(f"the process that serves the critic {self.name!r} is gone")
        finally:
            with self._wake:
                self._pending.pop(wanted.id, None)

    def _is_served(self) -> bool:
        with self._wake:
            return self._asking > 0 or (self._asked_at > 0 and time.monotonic() - self._asked_at < GONE_AFTER_S)

    # -------------------------------------------------------------- for the wire, on any thread

    def take(self, wait_s: float) -> Wanted | None:
        """The next review that is wanted, or None when none is within `wait_s` seconds. Blocks."""
        until = time.monotonic() + wait_s
        with self._wake:
            self._asking += 1
            try:
                while True:
                    while self._queue:
                        pending = self._pending.get(self._queue.popleft())
                        if pending is not None:
                            return pending.wanted
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    self._wake.wait(left)
            finally:
                self._asking -= 1
                self._asked_at = time.monotonic()

    def give(self, id: str, verdict: str) -> bool:
        """The verdict of a review, as JSON; False if nobody waits for it any more.

        Raises:
            ValueError: it is no verdict.
        """
        return self._settle(id, review_of(verdict))

    def fail(self, id: str, why: str) -> bool:
        """The critic has failed at a review; False if nobody waits for it any more."""
        return self._settle(id, CriticGone(f"the critic {self.name!r} failed: {why}"))

    def _settle(self, id: str, answer: Review | Exception) -> bool:
        with self._wake:
            self._asked_at = time.monotonic()
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


# ------------------------------------------------------------------ as JSON


class _Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    verdict: Literal["continue", "steer", "extend", "raise", "kill"]
    text: str = ""
    reason: str = ""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
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
        TypeError: it is no verdict.
    """
    usage, model = None, ""
    if isinstance(review, Judged):
        usage, model, review = review.usage, review.model, review.verdict
    spoken: _Spoken
    match review:
        case Continue():
            spoken = _Spoken("continue", text=review.text, evidence=review.evidence, usage=usage, model=model)
        case Steer():
            spoken = _Spoken("steer", text=review.text, evidence=review.evidence, usage=usage, model=model)
        case Extend():
            spoken = _Spoken("extend", seconds=review.seconds, reason=review.reason, usage=usage, model=model)
        case Raise():
            spoken = _Spoken("raise", steps=review.steps, reason=review.reason, usage=usage, model=model)
        case Kill():
            spoken = _Spoken("kill", reason=review.reason, evidence=review.evidence, usage=usage, model=model)
        case _:
            raise TypeError(f"a critic answers Continue, Steer, Extend, Raise, Kill or Judged; this one: {review!r}")
    return msgspec.json.encode(spoken).decode()


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
