"""What each caller has spent and holds back, counted from durable facts in the plainest way there is (P8)."""

from __future__ import annotations

from collections import Counter, defaultdict

from executus.events import BudgetExceeded, CriticReviewed, Event, RunFinished, RunStarted, StepCompleted, StepFailed
from executus.events import StepStarted as Started

MOST_CALL = 18
"""Tokens that a model call of this world takes at most: what its agents declare."""


class Purses:
    """calls: model calls that a caller may pay in all; 0 for no budgets. hurt: runs that may be set aside, whose
    reservations then hold nobody up.
    """

    def __init__(self, calls: int, hurt: set[str]) -> None:
        self.limit = calls * MOST_CALL
        self.hurt = hurt
        self.payers: dict[str, str] = {}
        self.budgeted: set[str] = set()
        self.spent: Counter[str] = Counter()
        self.reviews: Counter[str] = Counter()
        """Tokens of reviews, for which nothing is reserved: they may pass a limit."""
        self.open: defaultdict[str, dict[tuple[str, int, int], int]] = defaultdict(dict)

    def seen(self, event: Event) -> list[str]:
        """Count `event`; returns what is wrong."""
        run, fact = event.run_id, event.fact
        if isinstance(fact, RunStarted):
            self.payers[run] = fact.info.caller_id
            if fact.budgeted:
                self.budgeted.add(run)
        if not self.limit or run not in self.payers:
            return []
        payer = self.payers[run]
        held = self.open[payer]
        match fact:
            case Started():
                held[run, fact.step, fact.attempt] = fact.reserved_tokens
                if run not in self.budgeted:
                    return ["P8: a run of a caller with a budget is not paid by it"]
                if fact.reserved_tokens != MOST_CALL:
                    return [f"P8: a call began with {fact.reserved_tokens} tokens reserved"]
            case StepCompleted():
                self.spent[payer] += fact.usage.input + fact.usage.output
                for key in [key for key in held if key[:2] == (run, fact.step)]:
                    del held[key]
            case StepFailed():
                held.pop((run, fact.step, fact.attempt), None)
            case CriticReviewed():
                self.spent[payer] += fact.usage.input + fact.usage.output
                self.reviews[payer] += fact.usage.input + fact.usage.output
            case RunFinished():
                for key in [key for key in held if key[0] == run]:
                    del held[key]
            case BudgetExceeded(scope="caller") if self.spent[payer] + MOST_CALL <= self.limit:
                return [f"P8: refused though there was room: {self.spent[payer]} of {self.limit} spent"]
            case _:
                return []
        return self.judge(payer)

    def judge(self, payer: str) -> list[str]:
        """Whether all that is spent or held back fits."""
        open_now = sum(tokens for key, tokens in self.open[payer].items() if key[0] not in self.hurt)
        total = self.spent[payer] + open_now
        if total <= self.limit + self.reviews[payer]:
            return []
        return [f"P8: {self.spent[payer]} spent and {open_now} held back of {self.limit}"]
