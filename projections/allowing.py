"""Whether a caller's allowances have room for one more model call: a pure question about an account.

What holds (P8), as long as no call takes more than it declared:

- Declared maxima: a call is let in only if everything spent, everything held back and its maximum fit together. Spend
  never passes the limit.
- Estimates (`Want.estimated`): a call is let in while everything spent and held back leaves any room at all, and its
  whole estimate is held back then. Spend passes the limit by less than one call.

Calls that take more than they declared add what they took too much: one call's excess for each call let in and not yet
counted. A call that declares nothing holds nothing back. Tool calls and running time are not declared: they are looked
at before each model call, so that they pass the limit by at most what the calls under way bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from .ledger import Account, Held, Key, SpendWindow
from .rolling import BudgetMeasure, Spent, nano

MEASURES: Final[tuple[BudgetMeasure, ...]] = ("tokens", "cost_usd", "seconds", "tool_calls")
REPLY_TOKENS: Final = 4_096
"""Output tokens expected of a model call whose agent declares no maximum."""
_WORDS: Final[dict[str, str]] = {
    "run": "for one run with its children",
    "hour": "within an hour",
    "day": "within a day",
    "month": "within 30 days",
    "total": "in all",
}


class Ceiling(Protocol):
    """What an allowance says (`ports.Allowance`); None is no limit."""

    @property
    def window(self) -> SpendWindow:
        """Over which time."""
        ...

    @property
    def tokens(self) -> int | None:
        """Input and output together."""
        ...

    @property
    def cost_usd(self) -> float | None:
        """Dollars."""
        ...

    @property
    def runtime_s(self) -> float | None:
        """Seconds of running."""
        ...

    @property
    def tool_calls(self) -> int | None:
        """Tools started."""
        ...


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that asks for room. tokens, usd: the most it may take, or with `estimated` what it likely takes.

    root_run_id: the root of the run's family, empty for the root itself.
    """

    run_id: str
    root_run_id: str = ""
    step: int = 0
    attempt: int = 1
    tokens: int = 0
    usd: float = 0.0
    estimated: bool = False

    @property
    def key(self) -> Key:
        """Which call it is; one call is held back for once."""
        return self.run_id, self.step, self.attempt

    @property
    def root(self) -> str:
        """The family that the "run" window counts."""
        return self.root_run_id or self.run_id

    @property
    def amount(self) -> Spent:
        """What is held back for it."""
        return Spent(max(0, self.tokens), nano(self.usd))


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The call may be made; `tokens` and `usd` are held back for it and go into its `StepStarted`."""

    run_id: str
    step: int
    attempt: int
    tokens: int
    usd: float


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """There is no room, and what others hold back could not make any. limit, spent, want: in units of `measure`.

    failure: why nobody could tell, empty if the numbers are the reason.
    """

    run_id: str = ""
    step: int = 0
    attempt: int = 0
    measure: BudgetMeasure = "tokens"
    limit: float = 0.0
    spent: float = 0.0
    window: SpendWindow = "total"
    want: float = 0.0
    failure: str = ""

    @property
    def why(self) -> str:
        """A sentence for people."""
        if self.failure:
            return self.failure
        limit = f"{_amount(self.measure, self.limit)} {_WORDS[self.window]}"
        if self.spent >= self.limit:
            return f"the allowance of {limit} is spent ({_amount(self.measure, self.spent)})"
        want = f"a call that may take {_amount(self.measure, self.want)}"
        if self.want > self.limit:
            return f"{want} is more than the whole allowance of {limit}"
        return f"{want} does not fit: {_amount(self.measure, self.spent)} of the allowance of {limit} are spent"


class Wait(msgspec.Struct, frozen=True):
    """Only what other calls hold back is in the way. window: "run" if it is the own family's alone."""

    window: SpendWindow


Verdict: TypeAlias = Granted | Wait | Refused


def room(
    account: Account, allowances: Sequence[Ceiling], want: Want, now_us: int, granted: Held | None = None
) -> Verdict:
    """Whether `want` fits all `allowances`, as of the wall clock `now_us`; see the module for what that guarantees.

    granted: held back as well, but not yet in the log. Something already held for the same call is not asked for
    twice: do not ask again for it.
    """
    amount, wait = want.amount, None
    for allowance in allowances:
        window = allowance.window
        spent = account.spent(window, now_us, want.root)
        held = account.reserved(window, want.root)
        if granted is not None:
            held = held.plus(granted.of_family(want.root) if window == "run" else granted.total)
        for measure in MEASURES:
            limit = limit_units(allowance, measure)
            if limit is None:
                continue
            left, asked = limit - spent.units(measure), amount.units(measure)
            if left <= 0 or (asked > left and not want.estimated):
                return refused(want, allowance, measure, spent)
            free = left - held.units(measure)
            if free <= 0 or (asked > free and not want.estimated):
                wait = window if wait is None or wait == "run" else wait
    if wait is not None:
        return Wait(wait)
    return Granted(run_id=want.run_id, step=want.step, attempt=want.attempt, tokens=amount.tokens, usd=amount.cost_usd)


def exhausted(account: Account, allowances: Sequence[Ceiling], now_us: int) -> list[tuple[Refused, int | None]]:
    """The allowances of which nothing is left, and until when (wall clock, microseconds; None: for ever).

    Those for one run are left out: a new run has spent nothing. But one that allows nothing at all is among them.
    """
    found: list[tuple[Refused, int | None]] = []
    nobody = Want(run_id="")
    for allowance in allowances:
        spent = account.spent(allowance.window, now_us)
        for measure in MEASURES:
            limit = limit_units(allowance, measure)
            if limit is None or spent.units(measure) < limit:
                continue
            until, left = None, spent.units(measure)
            for leaves_us, amount in account.leaving(allowance.window, now_us) if limit else ():
                left -= amount.units(measure)
                if left < limit:
                    until = leaves_us
                    break
            found.append((refused(nobody, allowance, measure, spent), until))
    return found


def moves_us(account: Account, allowances: Sequence[Ceiling], now_us: int) -> int | None:
    """When (wall clock, microseconds) an amount next leaves a window of `allowances`; None if none will."""
    soonest = [account.leaving(allowance.window, now_us)[:1] for allowance in allowances]
    return min((first[0][0] for first in soonest if first), default=None)


def refused(want: Want, allowance: Ceiling, measure: BudgetMeasure, spent: Spent) -> Refused:
    """The answer to `want` when `spent` leaves no room in this measure of `allowance`."""
    limit = limit_units(allowance, measure) or 0
    return Refused(
        run_id=want.run_id,
        step=want.step,
        attempt=want.attempt,
        measure=measure,
        limit=_people(measure, limit),
        spent=_people(measure, spent.units(measure)),
        window=allowance.window,
        want=_people(measure, want.amount.units(measure)),
    )


def limit_units(allowance: Ceiling, measure: BudgetMeasure) -> int | None:
    """The limit in whole units (`Spent.units`), None if there is none."""
    match measure:
        case "tokens":
            return allowance.tokens
        case "cost_usd":
            return None if allowance.cost_usd is None else nano(allowance.cost_usd)
        case "seconds":
            return None if allowance.runtime_s is None else round(allowance.runtime_s * 1000)
        case "tool_calls":
            return allowance.tool_calls


def _people(measure: BudgetMeasure, units: int) -> float:
    match measure:
        case "cost_usd":
            return Spent(nano_usd=units).cost_usd
        case "seconds":
            return Spent(runtime_ms=units).runtime_s
        case _:
            return units


def _amount(measure: BudgetMeasure, value: float) -> str:
    match measure:
        case "cost_usd":
            whole, _, cents = f"{value:,.9f}".partition(".")
            return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"
        case "seconds":
            return f"{value:,.6g} s"
        case "tool_calls":
            return f"{value:,.0f} tool calls"
        case _:
            return f"{value:,.0f} tokens"
