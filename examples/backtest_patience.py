"""A critic of your own, tried on what was recorded before it may touch anything: prints what it would have done.

python examples/backtest_patience.py runs.db
"""

from __future__ import annotations

import sys

from executus import Backtest, Continue, Kill, Steer, backtest
from executus.ports import Verdict
from executus.projections.trace import Trace


class Patience:
    """Steers a run that takes many steps without a person's word, and then kills it."""

    name = "patience"
    every_steps = 1

    def __init__(self, steps: int = 12, grace: int = 4) -> None:
        self.steps, self.grace = steps, grace

    def review(self, trace: Trace, now: float) -> Verdict:
        """Judge by steps alone."""
        taken = trace.state.step - trace.fresh_from
        if taken == self.steps:
            return Steer("You have looked long enough. Answer with what you have.")
        return Kill(f"{taken} steps without an answer") if taken >= self.steps + self.grace else Continue()


def try_on(path: str) -> Backtest:
    """What it would have made of every run in a journal."""
    return backtest(path, critic=Patience(steps=3, grace=2))


if __name__ == "__main__":
    print(try_on(sys.argv[1]).table())
