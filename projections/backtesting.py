"""What a backtest found: a row for each run, the sums over all, as JSON and as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from ..events import RunInfo, RunStats, Status
from .metering import Spent

Kind: TypeAlias = Literal["observed", "steered", "extended", "raised", "killed"]
EndKind: TypeAlias = Literal["killed", "timeout", "ceiling", "budget", "refused", "parent"]
"""killed: by the critic. timeout, ceiling: at a limit that only the recorded critic had moved. budget: a model call
would have been refused. refused: the start. parent: with the run that it is a child of."""
Judgement: TypeAlias = Literal["good", "stuck", ""]
"""What a recorded run was; empty while it is not over."""


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Something the critic would have done. version: that its fact would have in the log so supervised. seen: the
    newest recorded version that it was shown. at_s: the run's own clock.
    """

    kind: Kind
    version: int
    seen: int
    step: int
    at_s: float
    text: str = ""
    evidence: dict[str, Any] = {}


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run would have ended before its recorded end. version: of the newest recorded event that would have
    been, 0 for none. at_s: the run's own clock.
    """

    kind: EndKind
    version: int
    step: int
    at_s: float
    why: str = ""
    by: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a recorded run ended, to be judged. reward: what the recording says of its worth, if it does: imported
    conversations may carry a number under `reward`, which is kept in `info.inputs`.
    """

    info: RunInfo
    status: Status
    stats: RunStats
    reward: float | None = None


Stuck: TypeAlias = Callable[[Ended], bool]
"""Whether a recorded run is one that a critic should have caught."""


def was_stuck(ended: Ended) -> bool:
    """The usual meaning: it did not end "ok" (or "dry_run"), or the recording gives it a reward of 0 or less."""
    return ended.status not in ("ok", "dry_run") or (ended.reward is not None and ended.reward <= 0)


def reward_of(info: RunInfo) -> float | None:
    """The reward that a recording carries, if it is a number."""
    reward: Any = info.inputs.get("reward")
    return float(reward) if type(reward) in (int, float) else None


class BacktestRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. was: good or stuck. status: how the recording ended, empty while it has not. ending: where it would have
    ended before; None: nothing would have cut it short. spent: what was recorded. saved: what of it would not have
    been. reviews, failures: how often the critic was asked, and failed. lost: why it would have been lost.
    """

    run_id: str
    name: str = ""
    agent: str = ""
    caller: str = ""
    parent: str = ""
    status: str = ""
    reward: float | None = None
    was: Judgement = ""
    events: int = 0
    deeds: tuple[Deed, ...] = ()
    ending: Ending | None = None
    spent: Spent = Spent()
    saved: Spent = Spent()
    reviews: int = 0
    failures: int = 0
    review_tokens: int = 0
    review_usd: float = 0.0
    lost: str = ""

    def did(self, kind: Kind) -> bool:
        """Whether the critic would have done this."""
        return any(deed.kind == kind for deed in self.deeds)

    @property
    def steers(self) -> list[str]:
        """The advice it would have heard, in order."""
        return [deed.text for deed in self.deeds if deed.kind == "steered"]

    @property
    def stopped(self) -> bool:
        """Whether critic or budget would have ended it, by itself and not with its parent."""
        return self.ending is not None and self.ending.kind != "parent"


class BacktestTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all runs. observed, steered, extended, raised, killed: runs in which the critic would have done so at
    least once. good_steered, stuck_steered: of these, which were what. stuck_caught: stuck runs that would have been
    stopped. stuck_missed: the others. good_killed: good runs that the critic would have ended. good_stopped: that the
    budget, or a limit, would have.
    """

    runs: int = 0
    events: int = 0
    good: int = 0
    stuck: int = 0
    unfinished: int = 0
    reviews: int = 0
    failures: int = 0
    lost: int = 0
    observed: int = 0
    steered: int = 0
    extended: int = 0
    raised: int = 0
    killed: int = 0
    good_steered: int = 0
    stuck_steered: int = 0
    good_killed: int = 0
    good_stopped: int = 0
    stuck_caught: int = 0
    stuck_missed: int = 0
    refused: int = 0
    over_budget: int = 0
    with_parent: int = 0
    review_tokens: int = 0
    review_usd: float = 0.0
    spent: Spent = Spent()
    saved: Spent = Spent()


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What a critic and a budget would have made of recorded runs. rows: by when the runs began. critic, budget: what
    was tried, in words. unreadable: runs left out, each with why.
    """

    critic: str = ""
    budget: str = ""
    rows: tuple[BacktestRun, ...] = ()
    totals: BacktestTotals = BacktestTotals()
    unreadable: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Everything as one JSON object."""
        return msgspec.json.encode(self).decode()

    def table(self) -> str:
        """The sums, and the runs in which something would have happened, for people."""
        lines = [*_padded(totals_cells(self), (1,))]
        rows = [row for row in self.rows if row.deeds or row.ending or row.lost]
        if rows:
            lines += ["", *_padded([HEADINGS, *map(cells, rows)], NUMBERS)]
        return "\n".join(lines)


def totals_of(rows: Sequence[BacktestRun]) -> BacktestTotals:
    """The sums over `rows`."""
    spent = saved = Spent()
    for row in rows:
        spent, saved = spent.plus(row.spent), saved.plus(row.saved)

    def many(true: Callable[[BacktestRun], object]) -> int:
        return sum(bool(true(row)) for row in rows)

    return BacktestTotals(
        runs=len(rows),
        events=sum(row.events for row in rows),
        good=many(lambda row: row.was == "good"),
        stuck=many(lambda row: row.was == "stuck"),
        unfinished=many(lambda row: not row.was),
        reviews=sum(row.reviews for row in rows),
        failures=sum(row.failures for row in rows),
        lost=many(lambda row: row.lost),
        observed=many(lambda row: row.did("observed")),
        steered=many(lambda row: row.did("steered")),
        extended=many(lambda row: row.did("extended")),
        raised=many(lambda row: row.did("raised")),
        killed=many(lambda row: row.ending and row.ending.kind == "killed"),
        good_steered=many(lambda row: row.was == "good" and row.did("steered")),
        stuck_steered=many(lambda row: row.was == "stuck" and row.did("steered")),
        good_killed=many(lambda row: row.was == "good" and row.ending and row.ending.kind == "killed"),
        good_stopped=many(lambda row: row.was == "good" and row.stopped and not row.did("killed")),
        stuck_caught=many(lambda row: row.was == "stuck" and row.stopped),
        stuck_missed=many(lambda row: row.was == "stuck" and not row.ending),
        refused=many(lambda row: row.ending and row.ending.kind == "refused"),
        over_budget=many(lambda row: row.ending and row.ending.kind == "budget"),
        with_parent=many(lambda row: row.ending and row.ending.kind == "parent"),
        review_tokens=sum(row.review_tokens for row in rows),
        review_usd=sum(row.review_usd for row in rows),
        spent=spent,
        saved=saved,
    )


# ------------------------------------------------------------------ for people

HEADINGS = ["RUN", "WAS", "ENDED", "STEPS", "OBSERVED", "STEERED", "MORE", "END", "STEP", "TOKENS", "MINUTES", "WHY"]
"""TOKENS, MINUTES: saved. MORE: extensions and raises. STEP: at which it would have ended."""
NUMBERS = (3, 4, 5, 6, 8, 9, 10)
"""Columns of numbers."""


def cells(row: BacktestRun) -> list[str]:
    """A row for people."""
    ending = row.ending
    kinds = [deed.kind for deed in row.deeds]
    why = ending.why if ending else row.lost or (row.deeds[-1].text if row.deeds else "")
    return [
        row.run_id[-8:],
        row.was or "?",
        row.status or "not yet",
        str(row.spent.steps),
        str(kinds.count("observed")),
        str(kinds.count("steered")),
        str(kinds.count("extended") + kinds.count("raised")),
        ending.kind if ending else "",
        str(ending.step) if ending else "",
        f"{row.saved.tokens:,}" if ending else "",
        f"{row.saved.worked_s / 60:.1f}" if ending else "",
        " ".join(why.split()),
    ]


def totals_cells(found: Backtest) -> list[list[str]]:
    """The sums for people: what, how many, and more in words."""
    t = found.totals
    lines = [
        ["runs", f"{t.runs:,}", f"{t.good:,} good, {t.stuck:,} stuck, {t.unfinished:,} not over; {t.events:,} events"]
    ]
    if found.critic:
        asked = f"asked {t.reviews:,} times, failed {t.failures:,}; lost in {t.lost:,} runs"
        lines += [
            ["critic", "", f"{found.critic}: {asked}"],
            ["observed", f"{t.observed:,}", "runs"],
            ["steered", f"{t.steered:,}", f"runs: {t.good_steered:,} good, {t.stuck_steered:,} stuck"],
            ["given more", f"{t.extended + t.raised:,}", f"runs: time in {t.extended:,}, steps in {t.raised:,}"],
            ["killed", f"{t.killed:,}", f"runs: {t.good_killed:,} good, {t.killed - t.good_killed:,} others"],
        ]
    if found.budget:
        stopped = f"runs refused at their start, {t.over_budget:,} stopped later; {t.good_stopped:,} of them good"
        lines += [["budget", "", found.budget], ["refused", f"{t.refused:,}", stopped]]
    lines += [
        ["stuck caught", f"{t.stuck_caught:,}", f"of {t.stuck:,}; missed {t.stuck_missed:,}"],
        ["tokens saved", f"{t.saved.tokens:,}", f"of {t.spent.tokens:,}; {t.review_tokens:,} spent by reviews"],
        ["steps saved", f"{t.saved.steps:,}", f"of {t.spent.steps:,}"],
        ["minutes saved", f"{t.saved.worked_s / 60:,.1f}", f"of {t.spent.worked_s / 60:,.1f}"],
        ["dollars saved", f"{t.saved.cost_usd:,.4f}", f"of {t.spent.cost_usd:,.4f}; {t.review_usd:,.4f} by reviews"],
    ]
    if found.unreadable:
        lines.append(["left out", f"{len(found.unreadable):,}", f"runs, the first: {found.unreadable[0][1]}"])
    return lines


def _padded(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
