"""Rules that notice a run which goes in circles or hangs, and a ladder of what is done about it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, TypeAlias

from ...ports import Continue, Kill, Steer, Verdict
from ...projections.trace import Act, Trace
from .circles import Circle, Thresholds, circles

Rung: TypeAlias = Literal["observe", "steer", "kill"]
RUNGS: tuple[Rung, ...] = ("observe", "steer", "kill")

_RUNG_OF = {"critic-observed": 0, "critic-steered": 1, "critic-killed": 2}
_SHOWN = 8
"""Calls named in the evidence of one act."""
_HEAD = 200
"""Characters of arguments in the evidence."""


class StuckCritic:
    """Notices by rules that a run is stuck; observes it, then steers, then kills, a rung further only while it lasts.

    What counts is a call's name, its arguments as JSON, and the hash of its result: polling that brings new output is
    progress. A step's calls are compared together, since calls made at once are no loop. Only what happened since the
    newest message of a person, or the start of the phase, counts, and of that the newest 80 steps: more than that turns
    a rule off. Rules, by the name that the evidence gives them:

    - "repeat": the same calls with the same results in `repeats` steps in a row.
    - "cycle": 2 to `longest_cycle` steps that come again and again with the same results, `cycles` times.
    - "nothing new": `stale` steps in a row in which every call and its result was seen before: longer, ragged circles.
    - "same error": a tool fails `same_errors` steps in a row with the same text, whatever its arguments.
    - "errors": `errors` steps in a row in which everything failed, or was refused as output.
    - "same text": the same words without a tool call, `texts` times in a row; also no words at all.
    - "silence": tools run and nothing was heard for `silence_s` awake seconds. Children have critics of their own and
      do not count; a slow model call has its own time limit.

    Defaults. OpenHands' stuck detector calls a conversation stuck after 4 equal actions with equal observations, 3
    equal failing ones, 3 equal monologues, and 6 steps of A-B-A-B; these are our `repeats`, `same_errors`, `texts` and
    (times 2) `cycles`, but where it ends the conversation, we only take the first rung. `longest_cycle` 5, `stale` 12
    (twice the shortest cycle it must not overtake) and `errors` 8 are our judgement. `silence_s` 600 is the runtime's
    own limit for one model call: killed is a run silent for three times that, half of the default deadline.

    The ladder. "observe" is a `Continue` with text; "steer" follows one step later; "kill" needs `grace_steps` steps
    that the model took after it could read the advice. For silence each rung comes `silence_s` after the one before.
    It is remembered in the run's log alone: an act counts if its evidence names this critic, the rule and where the
    condition began, so that a run which recovers and gets stuck again is met by the first rung. `at_most`: the highest
    rung taken. `except_tools`: names of tools such as "sleep" whose calls are neither repetition nor progress.

    Raises:
        TypeError, ValueError: a setting that cannot be meant, with what was expected.
    """

    every_steps = 1
    every_s = 30.0

    def __init__(
        self,
        *,
        repeats: int = 4,
        cycles: int = 3,
        longest_cycle: int = 5,
        stale: int = 12,
        same_errors: int = 3,
        errors: int = 8,
        texts: int = 3,
        silence_s: float | None = 600.0,
        grace_steps: int = 3,
        at_most: Rung = "kill",
        except_tools: Collection[str] = (),
        name: str = "stuck",
    ) -> None:
        counts = {"repeats": repeats, "cycles": cycles, "longest_cycle": longest_cycle, "stale": stale}
        counts |= {"same_errors": same_errors, "errors": errors, "texts": texts}
        for label, count in counts.items():
            if type(count) is not int or count < 2:
                raise ValueError(f"StuckCritic, {label}: expected a whole number ≥ 2, got {count!r}")
        if type(grace_steps) is not int or grace_steps < 1:
            raise ValueError(f"StuckCritic, grace_steps: expected a whole number ≥ 1, got {grace_steps!r}")
        if silence_s is not None and (type(silence_s) not in (int, float) or not silence_s > 0):
            raise ValueError(f"StuckCritic, silence_s: expected seconds > 0 or None, got {silence_s!r}")
        if at_most not in RUNGS:
            raise ValueError(f"StuckCritic, at_most: expected one of {', '.join(RUNGS)}, got {at_most!r}")
        if isinstance(except_tools, str):
            raise TypeError(f"StuckCritic, except_tools: expected a collection of names, got {except_tools!r}")
        if not isinstance(name, str) or not name:
            raise ValueError(f"StuckCritic, name: expected a non-empty string, got {name!r}")
        self.name = name
        self._thresholds = Thresholds(**counts)
        self._silence_s = silence_s
        self._grace_steps = grace_steps
        self._highest = RUNGS.index(at_most)
        self._except_tools = frozenset(except_tools)

    def review(self, trace: Trace, now: float) -> Verdict:
        """The next rung for the worst condition that the run is in, or `Continue()`. A function of its arguments."""
        if trace.state.over:
            return Continue()
        verdicts: list[Verdict] = []
        if silent := self._silence(trace, now):
            verdicts.append(silent)
        if trace.steps:
            found = circles(trace, self._thresholds, self._except_tools)
            verdicts.extend(verdict for circle in found if (verdict := self._circle(trace, circle)))
        return max(verdicts, key=_severity, default=Continue())

    def _circle(self, trace: Trace, circle: Circle) -> Verdict | None:
        """The next rung for a circle, or None if it has to wait for more steps."""
        past = self._past(trace, circle.rule, circle.since, circle.cut)
        rung = len(past)
        if past:
            # An act's step is the newest one begun when it was written down: every later one has read it.
            needed = 1 if rung == 1 else self._grace_steps
            if circle.last < past[-1].step + needed:
                return None
        evidence: dict[str, Any] = {
            "count": circle.count,
            "steps": [circle.since, circle.last],
            "calls": [
                {"name": call.name, "arguments": call.arguments[:_HEAD], "result": call.result_hash}
                for call in circle.calls[:_SHOWN]
            ],
        }
        return self._rung(rung, circle.rule, circle.since, circle.says, circle.advice, evidence)

    def _silence(self, trace: Trace, now: float) -> Verdict | None:
        """The next rung for a run whose tools say nothing, or None."""
        if self._silence_s is None:
            return None
        running = [call for call in trace.running if not call.child]
        quiet_s = now - trace.active_ms / 1000
        if not running or quiet_s < self._silence_s:
            return None
        past = self._past(trace, "silence", trace.active_ms)
        if past and now - past[-1].at_ms / 1000 < self._silence_s:
            return None
        named = ", ".join(dict.fromkeys(call.name for call in running[:_SHOWN]))
        minutes = f"{quiet_s / 60:.0f} minutes" if quiet_s >= 120 else f"{quiet_s:.0f} seconds"
        evidence: dict[str, Any] = {
            "count": len(running),
            "quiet_s": round(quiet_s, 3),
            "calls": [
                {"call": call.call, "name": call.name, "arguments": call.arguments[:_HEAD]} for call in running[:_SHOWN]
            ],
        }
        advice = f"{named} ran for {minutes} without a sign of life. Consider a shorter way, or smaller pieces of work."
        return self._rung(
            len(past),
            "silence",
            trace.active_ms,
            f"nothing was heard for {minutes} while {named} runs",
            advice,
            evidence,
        )

    def _rung(
        self, rung: int, rule: str, since: int, says: str, advice: str, evidence: dict[str, Any]
    ) -> Verdict | None:
        if rung > self._highest:
            return None
        evidence = {"critic": self.name, "rule": rule, "since": since, "rung": RUNGS[rung], **evidence}
        if rung == 0:
            return Continue(says, evidence)
        if rung == 1:
            return Steer(advice, evidence)
        return Kill(f"stuck, also after advice: {says}", evidence)

    def _past(self, trace: Trace, rule: str, since: int, cut: bool = False) -> list[Act]:
        """What was done about this condition, the newest act of each rung, by rung; none skipped.

        cut: where it began is no longer seen, so that an act about an earlier beginning is about the same.
        """
        by_rung: dict[int, Act] = {}
        for act in trace.acts:
            told = act.evidence
            mine = told.get("critic") == self.name and told.get("rule") == rule
            began: object = told.get("since")
            same = type(began) is int and (began == since or (cut and began < since))
            if mine and same and act.kind in _RUNG_OF:
                by_rung[_RUNG_OF[act.kind]] = act
        highest = max(by_rung, default=-1)
        return [by_rung.get(rung, by_rung[highest]) for rung in range(highest + 1)]


def _severity(verdict: Verdict) -> int:
    return 2 if isinstance(verdict, Kill) else 1 if isinstance(verdict, Steer) else 0
