"""Several critics as one."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import OrderedDict
from functools import partial
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from ...events import Usage
from ...events.clean import clean_json
from ...ports import Continue, Critic, Extend, Judged, Kill, Raise, Review, Steer, Verdict
from ...projections.trace import Trace
from .aside import Aside

log = logging.getLogger("executus.critics")

TIMEOUT_S = 60.0
"""For a member that does not say how long its review may take."""
RUNS = 4_096
"""Runs whose last reviews are remembered."""
EARLY = 0.95
"""A member is due at this fraction of its `every_s`: a timer that fires a moment early must not cost a whole round."""


TRIES = 3
"""A member that fails is asked again at the next review, so often in a row; then at its own time."""
MOST = 60_000
"""Bytes of one verdict as JSON."""


class _Asked(msgspec.Struct, frozen=True):
    """When a member was last asked about a run, and how often in a row it has failed."""

    step: int = 0
    now: float = 0.0
    soft: bool = False
    failures: int = 0


class _Bill(msgspec.Struct):
    """What a `Judged` must hold besides its verdict."""

    usage: Usage = Usage()
    model: str = ""


class Critics:
    """Asks every member that is due, at once, and gives the most severe verdict.

    Kill, then Steer, then Raise and Extend, then Continue with text, then Continue; the earlier member wins a tie. A
    member that was overruled is asked again at the next review, so that time it wants to give is not lost. Usages are
    added up. Evidence names the member (`critic`).

    `every_s`, `every_steps`: the shortest of the members'. Each member is asked on its own cadence, counted from the
    run's start, and at the soft timeout; a host that takes a run up again may ask one a little early. `timeout_s`: a
    second more than the longest of the members', each of which is held to its own.

    A member that raises, hangs or answers nonsense does not silence the others: that is logged, and raised only when
    every member failed when it was last asked. It is asked again at the next review, three times in a row at most.
    Plain members run on threads of this critic's own.

    Raises:
        TypeError, ValueError: no members, or one that is no critic.
    """

    def __init__(self, *members: Critic, name: str = "critics") -> None:
        if not members:
            raise ValueError("Critics: expected at least one critic")
        for member in members:
            if not isinstance(member, Critic):
                raise TypeError(f"Critics: expected critics, got {member!r}")
        self.name = name
        self._members = members
        self._seconds = [_setting(member, "every_s") for member in members]
        self._steps = [_setting(member, "every_steps") for member in members]
        self._timeouts = [_setting(member, "timeout_s") or TIMEOUT_S for member in members]
        seconds = [one for one in self._seconds if one is not None]
        steps = [one for one in self._steps if one is not None]
        self.every_s: float | None = min(seconds) if seconds else None
        self.every_steps: int | None = int(min(steps)) if steps else None
        self.timeout_s: float = max(self._timeouts) + 1.0
        self._asides = [Aside() for _ in members]
        self._asked: OrderedDict[str, tuple[_Asked, ...]] = OrderedDict()
        self._lock = threading.Lock()

    async def review(self, trace: Trace, now: float) -> Review:
        """The members' verdict.

        Raises:
            Exception: the failure of a member, if every member failed when it was last asked.
        """
        run_id = trace.info.run_id
        before = self._remembered(run_id, now)
        due = [index for index in range(len(self._members)) if self._due(index, before[index], trace, now)]
        answers = await asyncio.gather(*(self._ask(index, trace, now) for index in due))
        after = list(before)
        verdicts: list[tuple[int, Verdict]] = []
        failures: list[BaseException] = []
        judged: list[Judged] = []
        for index, answer in zip(due, answers, strict=True):
            after[index] = _Asked(trace.state.step, now, trace.soft_timeout_at_ms is not None)
            if isinstance(answer, BaseException):
                log.warning("critic %s failed: %s: %s", _name(self._members[index]), type(answer).__name__, answer)
                failures.append(answer)
                times = before[index].failures + 1
                after[index] = replace(after[index] if times % TRIES == 0 else before[index], failures=times)
            elif isinstance(answer, Judged):
                judged.append(answer)
                verdicts.append((index, answer.verdict))
            else:
                verdicts.append((index, answer))
        winner, verdict = max(verdicts, key=lambda one: (severity(one[1]), -one[0]), default=(-1, Continue()))
        for index, overruled in verdicts:
            if index != winner and severity(overruled) > 0:
                after[index] = replace(before[index], failures=0)
        self._remember(run_id, tuple(after))
        if failures and all(one.failures for one in after):
            raise failures[0]
        if winner >= 0:
            verdict = _signed(verdict, _name(self._members[winner]))
        return _added_up(verdict, judged) if judged else verdict

    def _due(self, index: int, asked: _Asked, trace: Trace, now: float) -> bool:
        every_s, every_steps = self._seconds[index], self._steps[index]
        return (
            (trace.soft_timeout_at_ms is not None and not asked.soft)
            or (every_steps is not None and trace.state.step - asked.step >= every_steps)
            or (every_s is not None and now - asked.now >= every_s * EARLY)
        )

    async def _ask(self, index: int, trace: Trace, now: float) -> Verdict | Judged | BaseException:
        """A member's answer, or how it failed."""
        member = self._members[index]
        try:
            async with asyncio.timeout(self._timeouts[index]):
                if inspect.iscoroutinefunction(member.review):
                    answer: Any = await member.review(trace, now)
                else:
                    answer = await self._asides[index].run(partial(member.review, trace, now))
                    if inspect.isawaitable(answer):
                        answer = await answer
            _check(answer)
            return cast("Verdict | Judged", answer)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return error
        except BaseException as error:  # SystemExit from a member is its failure, not the loop's end
            return error

    def _remembered(self, run_id: str, now: float) -> tuple[_Asked, ...]:
        with self._lock:
            asked = self._asked.get(run_id)
        if asked is None or any(one.now > now for one in asked):  # the same run is told again from an earlier point
            return (_Asked(),) * len(self._members)
        return asked

    def _remember(self, run_id: str, asked: tuple[_Asked, ...]) -> None:
        with self._lock:
            self._asked[run_id] = asked
            self._asked.move_to_end(run_id)
            while len(self._asked) > RUNS:
                self._asked.popitem(last=False)


def severity(verdict: Verdict) -> int:
    """How much a verdict does to a run, from 0 for a bare `Continue` to 4 for `Kill`."""
    match verdict:
        case Kill():
            return 4
        case Steer():
            return 3
        case Extend() | Raise():
            return 2
        case Continue():
            return 1 if verdict.text else 0
        case _:
            return 0


def _check(answer: Any) -> None:
    """See that the runtime will take the answer: one it refuses would cost every member its verdict.

    Raises:
        TypeError, ValueError: it is no review, or something in it cannot be meant.
    """
    said: Any = getattr(answer, "verdict", None) if type(answer) is Judged else answer
    kind = type(cast("object", said))
    if kind not in (Continue, Steer, Extend, Raise, Kill):
        raise TypeError(f"expected a verdict, got {type(answer).__name__}")
    if kind in (Continue, Steer, Kill):
        said = replace(said, evidence=clean_json(said.evidence))
    plain = msgspec.json.encode(said)
    msgspec.json.decode(plain, type=kind)
    if len(plain) > MOST:
        raise ValueError(f"expected a verdict of at most {MOST} bytes, got {len(plain)}")
    if kind is Steer and not said.text.strip():
        raise ValueError("expected some advice, got no words")
    if (kind is Extend and not said.seconds > 0) or (kind is Raise and said.steps < 1):
        raise ValueError(f"expected something above 0, got {said}")
    if type(answer) is Judged:
        msgspec.json.decode(msgspec.json.encode(answer), type=_Bill)


def _signed(verdict: Verdict, name: str) -> Verdict:
    """The verdict with the member's name in its evidence, where it has any place for it."""
    if isinstance(verdict, (Kill, Steer)) or (isinstance(verdict, Continue) and verdict.text):
        return replace(verdict, evidence={"critic": name, **verdict.evidence})
    return verdict


def _added_up(verdict: Verdict, judged: list[Judged]) -> Judged:
    """The verdict with what all reviews spent; the cost is the part that is known."""
    total = judged[0].usage
    for one in judged[1:]:
        usage = one.usage
        costs = [cost for cost in (total.cost_usd, usage.cost_usd) if cost is not None]
        total = Usage(
            total.input + usage.input,
            total.output + usage.output,
            total.thinking + usage.thinking,
            total.cache_read + usage.cache_read,
            total.cache_write + usage.cache_write,
            sum(costs) if costs else None,
        )
    return Judged(verdict, total, "+".join(dict.fromkeys(one.model for one in judged if one.model)))


def _setting(member: Critic, label: str) -> float | None:
    """A number above 0 that the member has as an attribute, or None."""
    value: object = getattr(member, label, None)
    if value is None:
        return None
    if type(value) not in (int, float) or not cast("float", value) > 0:
        raise ValueError(f"Critics, {label} of {_name(member)}: expected a number > 0 or None, got {value!r}")
    return cast("float", value)


def _name(member: Critic) -> str:
    return str(getattr(member, "name", None) or type(member).__name__)
