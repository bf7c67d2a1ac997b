"""The circles that a run goes in, found in its trace: repeated calls, cycles, errors and words. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from ...projections.trace import Trace, TraceCall, TraceStep

Deed: TypeAlias = tuple[str, ...]
"""What makes one call, or one text, equal to another: name, arguments and result with its outcome, as hashes."""


LOOKBACK = 80
"""Newest steps looked at; a review costs a fraction of a millisecond at most."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """How often is too often; the words are those of `StuckCritic`."""

    repeats: int
    cycles: int
    longest_cycle: int
    stale: int
    same_errors: int
    errors: int
    texts: int


class Circle(msgspec.Struct, frozen=True):
    """A condition that holds at the newest complete step.

    since, last: the first and the last step of it. count: how often, in the rule's own unit. says: for people.
    advice: for the model. calls: those of one turn of the circle. cut: it may have begun before the steps looked at.
    """

    rule: str
    since: int
    last: int
    count: int
    says: str
    advice: str
    calls: tuple[TraceCall, ...] = ()
    cut: bool = False


class _Done(msgspec.Struct, frozen=True):
    """A complete step as far as circles are concerned."""

    step: TraceStep
    calls: tuple[TraceCall, ...]
    deeds: tuple[Deed, ...]

    @property
    def failed(self) -> bool:
        """Whether nothing in it worked."""
        if self.calls:
            return all(call.outcome not in ("", "ok") for call in self.calls)
        return bool(self.step.refused)


def circles(trace: Trace, thresholds: Thresholds, except_tools: Collection[str] = ()) -> list[Circle]:
    """Every circle that the run is in now. Calls of `except_tools` are looked through, as if never made."""
    done = _complete(trace, except_tools)
    if not done:
        return []
    found = (
        _turning(done, thresholds),
        _nothing_new(done, thresholds.stale),
        _same_error(done, thresholds.same_errors),
        _all_fails(done, thresholds.errors),
        _same_text(done, thresholds.texts),
    )
    first = done[0].step.step
    cut = trace.steps[-LOOKBACK:][0].step > trace.fresh_from + 1
    return [replace(circle, cut=cut and circle.since == first) for circle in found if circle is not None]


def _complete(trace: Trace, except_tools: Collection[str]) -> list[_Done]:
    """The steps that are over, since a person last spoke or the phase began."""
    done: list[_Done] = []
    for step in trace.steps[-LOOKBACK:]:
        if step.step <= trace.fresh_from:
            continue
        if any(call.ended_ms is None for call in step.calls):
            continue  # the newest one, under way; an older one belongs to a recording that breaks off
        calls = tuple([call for call in step.calls if call.name not in except_tools])
        if calls:
            deeds = [(call.name, call.arguments_hash, call.outcome, call.result_hash) for call in calls]
            done.append(_Done(step, calls, tuple(sorted(deeds))))
        elif not step.asked:
            done.append(_Done(step, (), (("", step.text_hash),)))
    return done


def _turning(done: Sequence[_Done], thresholds: Thresholds) -> Circle | None:
    """The shortest cycle of steps that the run is in."""
    if not done[-1].calls:
        return None
    for length in range(1, thresholds.longest_cycle + 1):
        first = len(done) - 1
        while first >= length and done[first].deeds == done[first - length].deeds:
            first -= 1
        first = max(0, first - length + 1)
        count = (len(done) - first) // length
        if count < (thresholds.repeats if length == 1 else thresholds.cycles):
            continue
        turn = done[-length:]
        if _turns_faster([one.deeds for one in turn]):
            continue  # a shorter cycle, which has not yet come often enough to count
        calls = tuple([call for one in turn for call in one.calls])
        named = _named(calls)
        if length == 1:
            says = f"{named} brought the same result {count} times in a row"
            advice = (
                f"You have called {named} with the same arguments {count} times in a row, and each time the result was "
                "the same. Once more will not change it. Try another way; if there is none, say what is missing and "
                "finish."
            )
            return _circle("repeat", done[first:], count, says, advice, calls)
        says = f"the same {length} steps ({named}) came {count} times with the same results"
        advice = (
            f"You go in a circle: the same {length} steps ({named}) came {count} times with the same results. Break "
            "out of it: try another way; if there is none, say what is missing and finish."
        )
        return _circle("cycle", done[first:], count, says, advice, calls)
    return None


def _turns_faster(turn: Sequence[tuple[Deed, ...]]) -> bool:
    """Whether the cycle is itself a shorter one, several times."""
    size = len(turn)
    return any(
        size % length == 0 and all(turn[place] == turn[place % length] for place in range(size))
        for length in range(1, size)
    )


def _nothing_new(done: Sequence[_Done], stale: int) -> Circle | None:
    """The steps at the end that only brought what was known."""
    seen: set[Deed] = set()
    count = 0
    for one in done:
        count = count + 1 if one.calls and seen.issuperset(one.deeds) else 0
        seen.update(one.deeds)
    if count < stale:
        return None
    tail = done[-count:]
    calls = tuple([call for one in tail for call in one.calls])
    named = _named(calls)
    says = f"{count} steps in a row ({named}) brought nothing that was not known"
    advice = (
        f"Your last {count} steps ({named}) only brought results that you already had. Use what you know: try another "
        "way, or say what is missing and finish."
    )
    return _circle("nothing new", tail, count, says, advice, calls)


def _same_error(done: Sequence[_Done], same_errors: int) -> Circle | None:
    """One tool that fails with one text, whatever it is given."""
    wanted = {(call.name, call.result_hash) for call in done[-1].calls} if done[-1].failed else set[tuple[str, str]]()
    if not wanted:
        return None
    for name, error in sorted(wanted):
        tail = _tail(done, partial(_fails_with, name, error))
        if len(tail) >= same_errors:
            calls = tuple([call for call in tail[-1].calls if call.name == name])
            says = f"{name} failed {len(tail)} times in a row with the same error"
            advice = (
                f"{name} has failed {len(tail)} times in a row with the same error. Read the error again: if other "
                "arguments cannot help, do without this tool, or say what is missing and finish."
            )
            return _circle("same error", tail, len(tail), says, advice, calls)
    return None


def _fails_with(name: str, error: str, one: _Done) -> bool:
    return one.failed and any(call.name == name and call.result_hash == error for call in one.calls)


def _all_fails(done: Sequence[_Done], errors: int) -> Circle | None:
    """The steps at the end in which nothing worked."""
    tail = _tail(done, lambda one: one.failed)
    if len(tail) < errors:
        return None
    calls = tuple([call for one in tail for call in one.calls])
    says = f"everything failed in {len(tail)} steps in a row"
    advice = (
        f"Nothing has worked in your last {len(tail)} steps. Stop and look at what the errors have in common; try "
        "another way, or say what is missing and finish."
    )
    return _circle("errors", tail, len(tail), says, advice, calls)


def _same_text(done: Sequence[_Done], texts: int) -> Circle | None:
    """The same words again and again, without a tool call."""
    last = done[-1]
    if last.calls:
        return None
    tail = _tail(done, lambda one: not one.calls and one.deeds == last.deeds)
    if len(tail) < texts:
        return None
    what = "the same words" if last.step.text.strip() else "no words and no tool call"
    says = f"{what}, {len(tail)} times in a row"
    advice = f"You have answered with {what} {len(tail)} times in a row. Say or do something else, or finish."
    return _circle("same text", tail, len(tail), says, advice, ())


def _tail(done: Sequence[_Done], holds: Callable[[_Done], bool]) -> Sequence[_Done]:
    """The longest end of `done` in which every step `holds`."""
    first = len(done)
    while first and holds(done[first - 1]):
        first -= 1
    return done[first:]


def _circle(
    rule: str, steps: Sequence[_Done], count: int, says: str, advice: str, calls: tuple[TraceCall, ...]
) -> Circle:
    return Circle(rule, steps[0].step.step, steps[-1].step.step, count, says, advice, calls)


def _named(calls: Sequence[TraceCall]) -> str:
    """The names of the tools, each once, at most five."""
    names = list(dict.fromkeys(call.name[:64] for call in calls))
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
