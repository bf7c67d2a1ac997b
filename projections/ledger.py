"""What every caller spent and holds back, folded from the facts of their runs. Nothing else is a budget's truth.

A ledger is a function of the events, in order, and of the price function: a recount from the log gives an equal one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from ..events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ChildFinished,
    ChildStarted,
    ChildWentOn,
    CriticReviewed,
    Event,
    InputAwaited,
    InputReceived,
    RunBegun,
    RunFinished,
    RunForked,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolStarted,
    Usage,
)
from .rolling import NOTHING, Rolling, Spent, nano

Price: TypeAlias = Callable[[str, Usage], float | None]
"""Dollars for the usage of a model ("provider:name"), None if it is not known. Pure, and must not raise."""

SpendWindow: TypeAlias = Literal["run", "hour", "day", "month", "total"]
Key: TypeAlias = tuple[str, int, int]
"""A model call: run id, step, attempt."""

ENDED_KEPT_US = 31 * 24 * 3600 * 1_000_000
"""How long after its end a run is remembered, so that its events, told again, do not count again."""
MOST_ENDED = 50_000
"""Of one caller; of more the oldest are forgotten, so that a month of many runs fits in memory."""


class Held:
    """Amounts held back for model calls under way, by call, with their sums over all and over each family."""

    __slots__ = ("_calls", "_roots", "total")

    def __init__(self) -> None:
        self._calls: dict[str, dict[tuple[int, int], tuple[str, Spent]]] = {}
        self._roots: dict[str, Spent] = {}
        self.total = NOTHING

    def add(self, key: Key, root: str, amount: Spent) -> None:
        """Hold `amount` for the call; it replaces what was held for it before."""
        self.remove(key)
        self._calls.setdefault(key[0], {})[key[1:]] = (root, amount)
        self._roots[root] = self._roots.get(root, NOTHING).plus(amount)
        self.total = self.total.plus(amount)

    def remove(self, key: Key) -> None:
        """Let go of what is held for the call, if anything is."""
        calls = self._calls.get(key[0])
        root, amount = calls.pop(key[1:], ("", None)) if calls is not None else ("", None)
        if amount is None:
            return
        if not calls:
            del self._calls[key[0]]
        self.total = self.total.minus(amount)
        left = self._roots[root].minus(amount)
        if left == NOTHING:
            del self._roots[root]
        else:
            self._roots[root] = left

    def get(self, key: Key) -> Spent | None:
        """What is held for the call."""
        found = self._calls.get(key[0], {}).get(key[1:])
        return None if found is None else found[1]

    def of_run(self, run_id: str) -> list[Key]:
        """The run's calls for which something is held."""
        return [(run_id, step, attempt) for step, attempt in self._calls.get(run_id, ())]

    def of_family(self, root: str) -> Spent:
        """The sum over the runs of one family."""
        return self._roots.get(root, NOTHING)

    def standing(self) -> dict[Key, Spent]:
        """What is held for every call, as plain data."""
        return {(run, *call): one[1] for run, calls in self._calls.items() for call, one in calls.items()}


class Account:
    """One caller's spending. Read it on the thread that applies events; it changes with them."""

    __slots__ = ("families", "held", "total", "windows")

    def __init__(self) -> None:
        self.total = NOTHING
        self.windows: dict[SpendWindow, Rolling] = {
            "hour": Rolling(60, 60),
            "day": Rolling(15 * 60, 96),
            "month": Rolling(3600, 720),
        }
        self.families: dict[str, tuple[int, Spent]] = {}
        """By root: how many runs of it are not over, and what was spent."""
        self.held = Held()
        """Reservations whose `StepStarted` is in the log."""

    def spent(self, window: SpendWindow, now_us: int, run: str = "") -> Spent:
        """What was spent in `window` as of the wall clock `now_us`; for "run", by the family whose root is `run`.

        The hour is counted in minutes, the day in quarters of an hour, the month (30 days) in hours: a window may be
        longer than its name says by one of these, never shorter.
        """
        rolling = self._rolling(window)
        if rolling is not None:
            return rolling.sum(now_us)
        return self.total if window == "total" else self.families.get(run, (0, NOTHING))[1]

    def reserved(self, window: SpendWindow = "total", run: str = "") -> Spent:
        """What is held back; for "run", by the family whose root is `run`."""
        return self.held.of_family(run) if window == "run" else self.held.total

    def leaving(self, window: SpendWindow, now_us: int) -> list[tuple[int, Spent]]:
        """When (wall clock, microseconds) which amounts leave the window, the first first."""
        rolling = self._rolling(window)
        return [] if rolling is None else rolling.leaving(now_us)

    def _rolling(self, window: SpendWindow) -> Rolling | None:
        return self.windows.get(window)

    # -------------------------------------------------------------- for the ledger

    def charge(self, root: str, at_us: int, amount: Spent) -> None:
        """Count `amount` in every window."""
        self.total = self.total.plus(amount)
        for rolling in self.windows.values():
            rolling.add(at_us, amount)
        live, spent = self.families.get(root, (0, NOTHING))
        self.families[root] = (live, spent.plus(amount))

    def run_began(self, root: str) -> None:
        """One more run of this family is alive."""
        live, spent = self.families.get(root, (0, NOTHING))
        self.families[root] = (live + 1, spent)

    def run_ended(self, root: str) -> None:
        """One less; nobody asks what a family spent whose last run is over."""
        live, spent = self.families.get(root, (1, NOTHING))
        if live > 1:
            self.families[root] = (live - 1, spent)
        else:
            self.families.pop(root, None)

    def standing(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "total": self.total,
            **{window: dict(rolling.buckets) for window, rolling in self.windows.items()},
            "runs": dict(self.families),
            "reserved": self.held.standing(),
        }


class PayingRun:
    """What the ledger remembers of a run that is not over. model: its agent's, asked: that of its newest call."""

    __slots__ = (
        "approvals",
        "asked",
        "awaiting",
        "caller",
        "calls",
        "children",
        "elapsed_ms",
        "model",
        "root",
        "version",
    )

    def __init__(self, caller: str, root: str, model: str) -> None:
        self.caller, self.root = caller, root
        self.model = self.asked = model
        self.version = 0
        self.elapsed_ms = 0
        self.awaiting = False
        self.approvals: set[str] = set()
        self.calls: set[str] = set()
        self.children: set[str] = set()

    @property
    def still(self) -> bool:
        """It waits for people or for its children, and nothing of its own runs."""
        return self.awaiting or (bool(self.approvals or self.children) and not self.calls)


class Ledger:
    """Every caller's account, as of the events applied so far.

    What counts. Tokens and cost: at `StepCompleted` and `CriticReviewed`; the cost by `price` if that is given and
    knows the model, else as the provider said, else nothing. Tool calls: at `ToolStarted` and `ChildStarted`. Runtime:
    the growth of each run's own clock between its facts, but for the time in which nothing of its own runs, as it waits
    for people or for its children. Children are charged like any run, to their own caller, which is their root's: a
    second in which a child works counts once, and one in which it waits for a person not at all. A call whose answer
    was lost with its host counts nothing: the log does not know it. Runs that were only taken in from a record made
    elsewhere do not count.

    Not thread-safe. Memory: the windows' buckets of each caller, the runs that are not over, and, unless whoever
    applies events tells each once (`once`), the ids of those that ended in the last month, of at most `MOST_ENDED`.
    """

    def __init__(self, price: Price | None = None, *, once: bool = False) -> None:
        self._price = price
        self._once = once
        self._accounts: dict[str, Account] = {}
        self._runs: dict[str, PayingRun] = {}
        self._ended: dict[str, int] = {}

    def __eq__(self, other: object) -> bool:
        return self.standing() == other.standing() if isinstance(other, Ledger) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def account(self, caller: str) -> Account:
        """The caller's account; an empty one if nothing is known of it."""
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = self.new_account(caller)
        return account

    def new_account(self, caller: str) -> Account:
        """The account of a caller of whom nothing is known yet."""
        return Account()

    def run(self, run_id: str) -> PayingRun | None:
        """What is known of a run that is not over."""
        return self._runs.get(run_id)

    def restore(self, caller: str, account: Account) -> None:
        """Take up an account that was kept elsewhere."""
        self._accounts[caller] = account

    def restore_run(self, run_id: str, run: PayingRun) -> None:
        """Take up a run that was kept elsewhere; its account knows of it."""
        self._runs[run_id] = run

    def forget_accounts(self, most: int) -> None:
        """Forget all accounts if they are more than `most`: for whoever keeps them elsewhere."""
        if len(self._accounts) > most:
            self._accounts.clear()

    def caller(self, run_id: str) -> str | None:
        """Who pays for the run; None if it is over or unknown."""
        run = self._runs.get(run_id)
        return None if run is None else run.caller

    def is_over(self, run_id: str) -> bool:
        """Whether the run ended within the last month."""
        return run_id in self._ended

    def standing(self) -> dict[str, Any]:
        """Everything but caches, as plain data: equal for equal histories. Callers who spent nothing are left out."""
        empty = Account().standing()
        accounts = {caller: account.standing() for caller, account in self._accounts.items()}
        runs = {name: (run.caller, run.root, run.version, run.elapsed_ms) for name, run in self._runs.items()}
        return {"accounts": {caller: one for caller, one in accounts.items() if one != empty}, "runs": runs}

    def apply(self, event: Event) -> PayingRun | None:
        """Count `event`, once: one at or below the newest version seen of its run changes nothing. Returns the run that
        it was counted for.
        """
        fact = event.fact
        run = self._runs.get(event.run_id)
        if run is None:
            if type(fact) is RunStarted and not fact.imported_from and event.run_id not in self._ended:
                root = fact.info.root_run_id or event.run_id
                run = self._runs[event.run_id] = PayingRun(fact.info.caller_id, root, fact.agent.model)
                run.version, run.elapsed_ms = event.version, event.elapsed_ms
                self.account(run.caller).run_began(run.root)
            return run
        if event.version <= run.version:
            return None
        account = self.account(run.caller)
        amount = self._spent(run, event, account)
        if amount != NOTHING:
            account.charge(run.root, event.at_us, amount)
        run.version = event.version
        if type(fact) is RunFinished:
            self._end(event, run, account)
        return run

    def _spent(self, run: PayingRun, event: Event, account: Account) -> Spent:
        """What this event adds; also keeps the books of what is under way."""
        fact = event.fact
        growth_ms = 0 if run.still else event.elapsed_ms - run.elapsed_ms
        run.elapsed_ms = max(run.elapsed_ms, event.elapsed_ms)
        usage, asked, answered, calls = None, "", "", 0
        # The facts of every step first, by exact type: a class pattern that misses a Struct costs 0.2 µs.
        if type(fact) is StepStarted:
            run.asked = fact.model or run.model
            held = Spent(max(0, fact.reserved_tokens), nano(fact.reserved_usd))
            if held != NOTHING:
                account.held.add((event.run_id, fact.step, fact.attempt), run.root, held)
        elif type(fact) is StepCompleted:
            usage, asked, answered = fact.usage, run.asked, fact.model
            for key in account.held.of_run(event.run_id):
                if key[1] == fact.step:
                    account.held.remove(key)
        elif type(fact) is ToolStarted:
            calls = int(fact.call not in run.calls and fact.call not in run.children)
            run.calls.add(fact.call)
        elif type(fact) is ToolFinished or type(fact) is ToolOutcomeUnknown:
            run.calls.discard(fact.call)
        else:
            match fact:
                case StepFailed():
                    account.held.remove((event.run_id, fact.step, fact.attempt))
                case CriticReviewed():
                    usage, answered = fact.usage, fact.model
                case ChildStarted():
                    calls = int(fact.call not in run.children)
                    run.children.add(fact.call)
                case ChildFinished():
                    run.children.discard(fact.call)
                case ChildWentOn():
                    growth_ms -= fact.waited_ms
                case InputAwaited():
                    run.awaiting = True
                case RunForked():
                    run.awaiting = fact.paused
                case InputReceived() | RunBegun():
                    run.awaiting = False
                    growth_ms -= fact.waited_ms
                case ApprovalRequested():
                    run.approvals.add(fact.call)
                case ApprovalGranted() | ApprovalDenied() | ApprovalExpired():
                    run.approvals.discard(fact.call)
                    growth_ms -= fact.waited_ms
                case _:
                    pass
        growth_ms = max(0, growth_ms)
        if usage is None:
            return Spent(0, 0, growth_ms, calls)
        tokens = max(0, usage.input) + max(0, usage.output)
        return Spent(tokens, nano(cost_usd(self._price, asked, answered, usage)), growth_ms, calls)

    def _end(self, event: Event, run: PayingRun, account: Account) -> None:
        for key in account.held.of_run(event.run_id):
            account.held.remove(key)
        account.run_ended(run.root)
        del self._runs[event.run_id]
        if self._once:
            return
        self._ended[event.run_id] = event.at_us
        while True:
            oldest = next(iter(self._ended))
            if self._ended[oldest] > event.at_us - ENDED_KEPT_US and len(self._ended) <= MOST_ENDED:
                return
            del self._ended[oldest]


def cost_usd(price: Price | None, asked: str, answered: str, usage: Usage) -> float | None:
    """Dollars for `usage`: by `price` for the model that answered, else for the one that was asked, else as the
    provider said; None if nobody knows.

    Providers name themselves without "provider:" and with a date ("gpt-5-mini-2025-08-07"): the asked one's provider
    is put in front.
    """
    if price is not None:
        provider = asked.partition(":")[0] if ":" in asked else ""
        names = [f"{provider}:{answered}"] if answered and provider else []
        for name in dict.fromkeys((*names, answered, asked)):
            usd = price(name, usage) if name else None
            if usd is not None:
                return usd
    return usage.cost_usd


def recount(events: Iterable[Event], price: Price | None = None) -> Ledger:
    """A fresh ledger of `events`, in order of position."""
    ledger = Ledger(price)
    for event in events:
        ledger.apply(event)
    return ledger
