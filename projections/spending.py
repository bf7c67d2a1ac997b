"""What callers spent and hold back, as tables: the ledger, kept elsewhere. There is one fold of it, `ledger`.

The tables are the ledger's whole state: one that is taken up from them goes on as if it had seen all events itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from ..events import Event
from .ledger import Account, Ledger, PayingRun, Price
from .rolling import NOTHING, Spent
from .rows import Row, Rows, Table

MOST_ACCOUNTS: Final = 10_000
"""Accounts that are kept in memory from one transaction to the next; with more, all are read again when needed."""


class SpendingRow(Row):
    """What a caller spent in a span of time. span: "total", or the window that the bucket belongs to: "hour" has a
    bucket a minute, "day" one a quarter of an hour, "month" one an hour. from_us: when the bucket begins, wall clock; 0
    for the total. begun: the number of the bucket in its window, from 1. A window keeps its newest buckets, a few more
    than it needs.
    """

    caller: str
    span: str
    bucket: int
    from_us: int = 0
    begun: int = 0
    tokens: int = 0
    cost_nano_usd: int = 0
    runtime_ms: int = 0
    tool_calls: int = 0


class FamilyRow(Row):
    """What a family of runs spent, for as long as one of them is not over. live_runs: how many are not."""

    caller: str
    root_run_id: str
    live_runs: int = 0
    tokens: int = 0
    cost_nano_usd: int = 0
    runtime_ms: int = 0
    tool_calls: int = 0


class HeldRow(Row):
    """What is held back for a model call under way."""

    caller: str
    run_id: str
    step: int
    attempt: int
    root_run_id: str = ""
    tokens: int = 0
    cost_nano_usd: int = 0


class PayingRow(Row):
    """A run that is not over, as budgets see it. asked: the model of its newest call. awaiting: it waits for a message.
    approvals, calls, children: what is open of it, as JSON.
    """

    run_id: str
    caller: str = ""
    root_run_id: str = ""
    model: str = ""
    asked: str = ""
    version: int = 0
    elapsed_ms: int = 0
    awaiting: int = 0
    approvals: str = "[]"
    calls: str = "[]"
    children: str = "[]"


def spending_tables(prefix: str = "") -> tuple[Table, ...]:
    """The tables, their names after `prefix`."""
    return (
        Table(f"{prefix}spending", SpendingRow, key=("caller", "span", "bucket")),
        Table(f"{prefix}spending_families", FamilyRow, key=("caller", "root_run_id")),
        Table(f"{prefix}held_back", HeldRow, key=("caller", "run_id", "step", "attempt")),
        Table(f"{prefix}paying_runs", PayingRow),
    )


class SpendingView:
    """The ledger as a view. Without `price` it counts what the log says that calls cost, whoever builds it and when;
    with one it is priced by that, and is worth something to who has the same prices only.
    """

    version = 1

    def __init__(self, price: Price | None = None, *, name: str = "budget", prefix: str = "") -> None:
        self.name = name
        self.tables = spending_tables(prefix)
        self._price = price

    def fold(self, rows: Rows) -> Callable[[Sequence[Event]], None]:
        """What applies events to `rows`."""
        return _Spender(rows, self._price).apply


class StoredLedger(Ledger):
    """A ledger whose accounts are taken up from `rows` when they are needed, and its runs at once."""

    def __init__(self, rows: Rows, price: Price | None = None) -> None:
        super().__init__(price, once=True)
        self._rows = rows
        for row in rows.of(PayingRow).all():
            self.restore_run(row.run_id, _run_of(row))

    def new_account(self, caller: str) -> Account:
        """See `Ledger.new_account`."""
        account = _account_of(self._rows, caller)
        for rolling in account.windows.values():
            rolling.changed = set()
        return account


class _Spender:
    """Applies events to a ledger, and writes down what changed."""

    def __init__(self, rows: Rows, price: Price | None) -> None:
        self._ledger = StoredLedger(rows, price)
        self._spending = rows.of(SpendingRow)
        self._families = rows.of(FamilyRow)
        self._held = rows.of(HeldRow)
        self._runs = rows.of(PayingRow)
        self._calls: dict[str, set[tuple[int, int]]] = {}
        """By run, the calls for which something is held back in the rows."""
        for held in self._held.all():
            self._calls.setdefault(held.run_id, set()).add((held.step, held.attempt))

    def apply(self, events: Sequence[Event]) -> None:
        """Apply `events`, each once, in order of position."""
        ledger = self._ledger
        ledger.forget_accounts(MOST_ACCOUNTS)  # what they hold is in the rows by now
        changed: dict[str, PayingRun] = {}
        for event in events:
            run = ledger.apply(event)
            if run is not None:
                changed[event.run_id] = run
        callers: dict[str, set[str]] = {}
        for run_id, run in changed.items():
            callers.setdefault(run.caller, set()).add(run.root)
            self._write_run(run_id, run)
        for caller, roots in callers.items():
            self._write_account(caller, ledger.account(caller), roots)

    def _write_run(self, run_id: str, run: PayingRun) -> None:
        held = self._ledger.account(run.caller).held
        now = {key[1:]: held.get(key) or NOTHING for key in held.of_run(run_id)}
        before = self._calls.pop(run_id, set[tuple[int, int]]())
        for step, attempt in before.difference(now):
            self._held.remove(run.caller, run_id, step, attempt)
        for (step, attempt), amount in now.items():
            self._held.put(HeldRow(run.caller, run_id, step, attempt, run.root, amount.tokens, amount.nano_usd))
        if now:
            self._calls[run_id] = set(now)
        if self._ledger.run(run_id) is not run:
            self._runs.remove(run_id)
            return
        row = PayingRow(run_id, run.caller, run.root, run.model, run.asked, run.version, run.elapsed_ms)
        row.awaiting = int(run.awaiting)
        row.approvals, row.calls, row.children = _json(run.approvals), _json(run.calls), _json(run.children)
        self._runs.put(row)

    def _write_account(self, caller: str, account: Account, roots: set[str]) -> None:
        self._spending.put(_spending(caller, "total", 0, 0, 0, account.total))
        for window, rolling in account.windows.items():
            if not rolling.changed:
                continue
            first = rolling.begun - len(rolling.buckets) + 1
            for number, (bucket, amount) in enumerate(rolling.buckets.items(), first):
                if bucket in rolling.changed:
                    from_us = bucket * rolling.resolution_us
                    self._spending.put(_spending(caller, window, bucket, from_us, number, amount))
            for bucket in rolling.changed.difference(rolling.buckets):
                self._spending.remove(caller, window, bucket)
            rolling.changed.clear()
        for root in roots:
            found = account.families.get(root)
            if found is None:
                self._families.remove(caller, root)
            else:
                live, spent = found
                units = (spent.tokens, spent.nano_usd, spent.runtime_ms, spent.tool_calls)
                self._families.put(FamilyRow(caller, root, live, *units))


def _spending(caller: str, span: str, bucket: int, from_us: int, begun: int, spent: Spent) -> SpendingRow:
    units = (spent.tokens, spent.nano_usd, spent.runtime_ms, spent.tool_calls)
    return SpendingRow(caller, span, bucket, from_us, begun, *units)


def _json(calls: set[str]) -> str:
    return "[]" if not calls else msgspec.json.encode(sorted(calls)).decode()


# ------------------------------------------------------------------ taking it up again


def stored_ledgers(rows: Rows, price: Price | None = None) -> Iterator[tuple[str, Ledger, list[str]]]:
    """For every caller in `rows` a ledger of its own, to go on from, and the runs that it pays for."""
    runs: dict[str, list[PayingRow]] = {}
    for row in rows.of(PayingRow).all():
        runs.setdefault(row.caller, []).append(row)
    callers = dict.fromkeys([*runs, *(row.caller for row in rows.of(SpendingRow).all() if row.span == "total")])
    for caller in callers:
        ledger = Ledger(price)
        ledger.restore(caller, _account_of(rows, caller))
        theirs = runs.get(caller, [])
        for row in theirs:
            ledger.restore_run(row.run_id, _run_of(row))
        yield caller, ledger, [row.run_id for row in theirs]


def _account_of(rows: Rows, caller: str) -> Account:
    account = Account()
    spans: dict[str, list[SpendingRow]] = {}
    for row in rows.of(SpendingRow).all(caller):
        spans.setdefault(row.span, []).append(row)
    for row in spans.get("total", ()):
        account.total = _spent(row)
    for window, rolling in account.windows.items():
        found = sorted(spans.get(window, ()), key=lambda row: row.begun)
        if found:
            rolling.restore({row.bucket: _spent(row) for row in found}, found[-1].begun)
    for family in rows.of(FamilyRow).all(caller):
        account.families[family.root_run_id] = (family.live_runs, _spent(family))
    for held in rows.of(HeldRow).all(caller):
        amount = Spent(held.tokens, held.cost_nano_usd)
        account.held.add((held.run_id, held.step, held.attempt), held.root_run_id, amount)
    return account


def _spent(row: SpendingRow | FamilyRow) -> Spent:
    return Spent(row.tokens, row.cost_nano_usd, row.runtime_ms, row.tool_calls)


def _run_of(row: PayingRow) -> PayingRun:
    run = PayingRun(row.caller, row.root_run_id, row.model)
    run.asked, run.version, run.elapsed_ms, run.awaiting = row.asked, row.version, row.elapsed_ms, bool(row.awaiting)
    run.approvals, run.calls, run.children = _calls(row.approvals), _calls(row.calls), _calls(row.children)
    return run


def _calls(text: str) -> set[str]:
    return msgspec.json.decode(text, type=set[str])
