"""A critic that has been told by one bad run what to look for: a tool that refuses again with the same words.

executus backtest --critic tutorial_critic:Refused
"""

from __future__ import annotations

from collections import Counter

from executus import Continue, Kill, Steer
from executus.ports import Verdict
from executus.projections.trace import Trace


class Refused:
    """Steers a run that a tool refuses for the second time with the same words, and kills it at the third.

    People speak in between, so that `StuckCritic` begins anew each time; this one does not.
    """

    name = "refused"
    every_steps = 1

    def __init__(self, steer: int = 2, kill: int = 3) -> None:
        self.steer, self.kill = steer, kill

    def review(self, trace: Trace, now: float) -> Verdict:
        """Judge by the words that came most often."""
        calls = [call for step in trace.steps for call in step.calls if call.outcome == "error"]
        heard = Counter((call.name, call.result) for call in calls)
        [((tool, words), times)] = heard.most_common(1) or [(("", ""), 0)]
        if times >= self.kill:
            return Kill(f"{tool} refused {times} times: {words}")
        if times >= self.steer and not any(act.kind == "critic-steered" for act in trace.acts):
            return Steer(f"{tool} has refused {times} times with the same words: {words}. Do not try it a third time.")
        return Continue()
