"""Recorded runs under another budget: which starts and which model calls its allowances would have had no room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ..events import Event, RunFinished, RunStarted, RunStats, StepStarted
from .allowing import REPLY_TOKENS, Ceiling, Refused, Want, exhausted, room
from .ledger import Ledger, Price
from .run import RunState


class Purses:
    """Every caller's allowances against what its recorded runs spent, told event by event in the journal's order.

    allowances: of a caller. What a call may take is what was reserved for it, if the recorded run had a budget, else
    what its host would have expected: the conversation so far and `REPLY_TOKENS`. A call that would only have had to
    wait for others is let through. Runs that were taken in from elsewhere count like any other, at the time when they
    were taken in.
    """

    def __init__(self, allowances: Callable[[str], Sequence[Ceiling]], price: Price | None = None) -> None:
        self._allowances = allowances
        self._known: dict[str, Sequence[Ceiling]] = {}
        self._ledger = Ledger(price)
        self._roots: dict[str, tuple[str, str]] = {}
        """Caller and root of the runs that are not over."""

    def refuses(self, event: Event, state: RunState) -> Refused | None:
        """Why there is no room for what `event` begins in a run that stands at `state`; None if there is, or if it
        begins nothing.
        """
        fact = event.fact
        if type(fact) is RunStarted:
            info = fact.info
            if info.parent_run_id:  # its parent's caller pays, call by call
                return None
            account = self._ledger.account(info.caller_id)
            spent = exhausted(account, self._of(info.caller_id), event.at_us)
            return spent[0][0] if spent else None
        if type(fact) is not StepStarted or event.run_id not in self._roots:
            return None
        caller, root = self._roots[event.run_id]
        want = Want(
            run_id=event.run_id,
            root_run_id=root,
            step=fact.step,
            attempt=fact.attempt,
            tokens=fact.reserved_tokens or state.context_tokens + REPLY_TOKENS,
            usd=fact.reserved_usd,
            estimated=True,  # a declared maximum looks the same in the log: the milder rule
        )
        verdict = room(self._ledger.account(caller), self._of(caller), want, event.at_us)
        return verdict if isinstance(verdict, Refused) else None

    def take(self, event: Event) -> None:
        """Count `event`; it happened."""
        fact = event.fact
        if type(fact) is RunStarted:
            self._roots[event.run_id] = (fact.info.caller_id, fact.info.root_run_id)
            if fact.imported_from:
                event = replace(event, fact=replace(fact, imported_from=""))
        elif type(fact) is RunFinished:
            self._roots.pop(event.run_id, None)
        self._ledger.apply(event)

    def end(self, event: Event) -> None:
        """The run ended before `event`: nothing is held for it any more."""
        if self._roots.pop(event.run_id, None) is not None:
            over = RunFinished(stats=RunStats(status="budget_exceeded"), by="budget")
            self._ledger.apply(replace(event, fact=over))

    def _of(self, caller: str) -> Sequence[Ceiling]:
        found = self._known.get(caller)
        if found is None:
            found = self._known[caller] = self._allowances(caller)
        return found
