"""Small rules of their own: more time for a run that works."""

from __future__ import annotations

from ...ports import Continue, Extend, Verdict
from ...projections.trace import Trace


class ExtendWhileBusy:
    """Gives a run that works more time: slow is not hung.

    Once when it has reached its soft timeout, and again whenever less than half of `seconds` is left before its hard
    deadline, it is given `seconds` more, up to the run's own cap. A run works if it did something within the last
    `quiet_s` seconds, or a child of it runs, which has limits and a critic of its own. The default `quiet_s`, 600, is
    the runtime's own limit for one model call, the longest thing that it lets be silent.

    Raises:
        ValueError: a setting that is no number of seconds above 0.
    """

    every_s = 30.0

    def __init__(self, seconds: float = 600.0, *, quiet_s: float = 600.0, name: str = "extend-while-busy") -> None:
        for label, value in (("seconds", seconds), ("quiet_s", quiet_s)):
            if type(value) not in (int, float) or not value > 0:
                raise ValueError(f"ExtendWhileBusy, {label}: expected seconds > 0, got {value!r}")
        self.name = name
        self._seconds, self._quiet_s = seconds, quiet_s

    def review(self, trace: Trace, now: float) -> Verdict:
        """`Extend`, or `Continue()`. A function of its arguments."""
        state = trace.state
        due, cap = state.governed.deadline_ms, state.governed.cap_ms
        if due is None or state.over or state.doing == "waiting" or (cap is not None and due >= cap):
            return Continue()
        quiet_s = max(0.0, now - trace.active_ms / 1000)
        if quiet_s > self._quiet_s and not any(call.child for call in trace.running):
            return Continue()
        soft = trace.soft_timeout_at_ms
        first = soft is not None and not any(
            act.kind == "deadline-extended" and act.at_ms >= soft for act in trace.acts
        )
        left_s = (due + state.waited_ms) / 1000 - now
        if not first and left_s > self._seconds / 2:
            return Continue()
        return Extend(self._seconds, f"it works: the last sign of life came {quiet_s:.0f} s ago")
