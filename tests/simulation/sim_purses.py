"""What each caller has spent and holds back, counted from durable facts in the plainest way there is (P8)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from executus.events import (
    BudgetExceeded,
    CriticReviewed,
    Event,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepFailed,
    Usage,
)
from executus.events import StepStarted as Started
from executus.ports import Allowance
from executus.projections.ledger import SpendWindow

MOST_CALL = 18
"""Tokens that a model call of this world takes at most: what its agents declare."""
TOKEN_USD = 0.001
"""What each of them costs, where callers' allowances are of dollars."""
HOUR_US = 3_600_000_000
LONGER_US = 8_200_000_000
"""An hour may be counted as a minute more, and the machine may sleep twice between a refusal and its fact."""


class SimPrices:
    """`ports.Prices`."""

    version = "of this world"

    def cost_usd(self, model: str, usage: Usage) -> float:
        """Dollars."""
        return (usage.input + usage.output) * TOKEN_USD


@dataclass(frozen=True)
class Entry:
    """Tokens that were used at a moment of the wall clock. review: by a critic's review."""

    at_us: int
    root: str
    tokens: int
    review: bool = False


class Purses:
    """calls: model calls that a caller may pay in `window`; 0 for no budgets. hurt: runs that may be set aside, whose
    reservations then hold nobody up. prompt: whether a grant is soon in the log.
    """

    def __init__(self, calls: int, window: SpendWindow, priced: bool, hurt: set[str], prompt: bool) -> None:
        self.limit = calls * MOST_CALL
        self.window, self.priced, self.hurt, self.prompt = window, priced, hurt, prompt
        self.payers: dict[str, str] = {}
        self.roots: dict[str, str] = {}
        self.budgeted: set[str] = set()
        self.spent: Counter[str] = Counter()
        self.entries: defaultdict[str, list[Entry]] = defaultdict(list)
        self.open: defaultdict[str, dict[tuple[str, int, int], int]] = defaultdict(dict)

    @property
    def allowance(self) -> Allowance:
        """What each caller is allowed."""
        if self.priced:
            return Allowance(window=self.window, cost_usd=round(self.limit * TOKEN_USD, 6))
        return Allowance(window=self.window, tokens=self.limit)

    def seen(self, event: Event) -> list[str]:
        """Count `event`; returns what is wrong."""
        run, fact = event.run_id, event.fact
        if isinstance(fact, RunStarted):
            self.payers[run] = fact.info.caller_id
            self.roots[run] = fact.info.root_run_id or run
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
                if round(fact.reserved_usd / TOKEN_USD) != (MOST_CALL if self.priced else 0):
                    return [f"P8: a call began with ${fact.reserved_usd} reserved"]
            case StepCompleted():
                self.spend(event, fact.usage)
                for key in [key for key in held if key[:2] == (run, fact.step)]:
                    del held[key]
            case StepFailed():
                held.pop((run, fact.step, fact.attempt), None)
            case CriticReviewed():
                self.spend(event, fact.usage, review=True)
            case RunFinished():
                for key in [key for key in held if key[0] == run]:
                    del held[key]
            case BudgetExceeded(scope="caller") if self.prompt:
                return self.judge_refusal(event, payer)
            case _:
                return []
        return self.judge(event, payer)

    def spend(self, event: Event, usage: Usage, review: bool = False) -> None:
        """Count what was used."""
        payer, tokens = self.payers[event.run_id], usage.input + usage.output
        self.spent[payer] += tokens
        self.entries[payer].append(Entry(event.at_us, self.roots[event.run_id], tokens, review))

    def counts(self, event: Event, longer_us: int = 0) -> Callable[[Entry], bool]:
        """Which entries count in the window as of `event`."""
        root = self.roots[event.run_id]
        if self.window == "run":
            return lambda one: one.root == root
        if self.window == "hour":
            return lambda one: one.at_us > event.at_us - HOUR_US - longer_us
        return lambda one: True

    def judge_refusal(self, event: Event, payer: str) -> list[str]:
        """Nobody is refused who has room."""
        counts = self.counts(event, LONGER_US)
        spent = sum(one.tokens for one in self.entries[payer] if counts(one))
        if spent + MOST_CALL <= self.limit:
            return [f"P8: refused though there was room: {spent} of {self.limit} spent"]
        return []

    def judge(self, event: Event, payer: str) -> list[str]:
        """Whether all that is spent or held back fits; reviews, for which nothing is held back, may pass a limit."""
        counts, root = self.counts(event), self.roots[event.run_id]
        counted = [one for one in self.entries[payer] if counts(one)]
        spent = sum(one.tokens for one in counted)
        reviews = sum(one.tokens for one in counted if one.review)
        open_now = sum(
            tokens
            for (run, _, _), tokens in self.open[payer].items()
            if run not in self.hurt and (self.window != "run" or self.roots[run] == root)
        )
        if spent + open_now <= self.limit + reviews:
            return []
        return [f"P8: {spent} spent and {open_now} held back of {self.limit}"]
