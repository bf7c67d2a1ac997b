"""Trying a critic or a budget on recorded runs: reading them in order, and asking the critic as a live run would.

No tool and no model of the runs is called, and nothing is written. What a review leads to is decided by
`projections.replaying`, what there is room for by `projections.purses`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from .actors.loop import LoopThread
from .actors.reviews import HUNG_FOR_ONE, REVIEWS_AT_ONCE
from .actors.threads import ThreadPool
from .adapters.critics.stuck import StuckCritic
from .errors import JournalError, UnknownRun
from .events import ChildStarted, Event, RunInfo, RunStarted
from .journal import read_journal
from .ports import Allowance, Budget, Critic, Journal, KeySource, Prices
from .ports.allowances import checked_allowances
from .ports.saying import said
from .ports.terms import Terms, terms_of
from .ports.verdicts import answer, checked_review
from .projections.backtesting import Backtest, BacktestRun, Ended, Stuck, reward_of, totals_of, was_stuck
from .projections.ledger import Price
from .projections.purses import Purses
from .projections.replaying import Answered, Failed, Replay
from .projections.rounds import Rounds
from .projections.trace import Trace

PAGE = 500
"""Events of one run read at once."""
WORDS = 1_000
"""Characters kept of what a critic's failure said."""
GRACE_S = 1.0
"""Seconds that an async review has beyond its limit, which then is to end it; and that a loop has to end."""
PROGRESS_S = 1.0
"""Seconds between two words about progress, at most."""

Critics: TypeAlias = "Critic | Callable[[RunInfo], Critic | None]"
Source: TypeAlias = "Journal | str | os.PathLike[str]"


def backtest(
    source: Source,
    *,
    critic: Critics | None = None,
    budget: Budget | Sequence[Allowance] | None = None,
    runs: Collection[str] | None = None,
    since: datetime | None = None,
    caller: str | None = None,
    agent: str | None = None,
    stuck: Stuck = was_stuck,
    prices: Prices | None = None,
    encryption: bytes | KeySource | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """What `critic` and `budget` would have made of recorded runs, told by what is recorded of them.

    source: a journal, or the path of one; it is only read, also while a host writes it. critic: who would have watched,
    or a function that chooses by `RunInfo` (None: nobody). It is asked when it would have been: at the soft timeout,
    every `every_s` seconds of the run's own clock, after every `every_steps` steps; its `review` may be async, and has
    its `timeout_s` (by default 60 s), like everywhere: one that hangs is a failure, and no more reviews of it than two
    are waited for. budget: what callers might have spent, a `Budget` or allowances that hold for each caller. runs:
    ids; their children come with them. since, caller, agent: of the runs, instead of ids; all runs, if nothing is said.
    stuck: which recorded runs a critic should have caught. prices: dollars of model calls, instead of what the log
    says. encryption: the key of a sealed journal. progress: told (events read, events in all) about once a second and
    at the end, also when somebody interrupts.

    Raises:
        UnknownRun: no such run. JournalError: the journal cannot be opened.
        TypeError, ValueError: a wrong argument, or an attribute of the critic that is not what the port says.
    """
    allowances = _allowances(budget)
    price = None if prices is None else prices.cost_usd
    journal = source if not isinstance(source, (str, os.PathLike)) else _opened(source, encryption)
    try:
        chosen = _chosen(journal, runs, None if since is None else since.timestamp() * 1e6, caller, agent)
        with _Asker() as asker:
            test = _Test(asker, critic, allowances, stuck, price)
            events = _InOrder(journal, chosen)
            test.run(events, progress)
            return test.found(budget, events.unreadable)
    finally:
        if journal is not source:
            journal.close()


async def backtest_async(source: Source, **options: Any) -> Backtest:
    """`backtest` on a thread of its own; async reviews run on this loop. Takes the same arguments.

    Raises:
        Exception: what `backtest` raises.
    """
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(_on_loop, loop, source, options)


def _on_loop(loop: asyncio.AbstractEventLoop, source: Source, options: dict[str, Any]) -> Backtest:
    _lent.loop = loop
    try:
        return backtest(source, **options)
    finally:
        _lent.loop = None


class _Lent(threading.local):
    """The loop that this thread may use for async reviews."""

    loop: asyncio.AbstractEventLoop | None = None


_lent = _Lent()


def _opened(path: str | os.PathLike[str], encryption: bytes | KeySource | None) -> Journal:
    if encryption is None:
        return read_journal(path)
    from .adapters.keys.sources import encryption_of  # imports a library, and only if it is used

    return read_journal(path, encryption=encryption_of(encryption, "backtest, encryption"))


def _choice(critic: Critics | None) -> Callable[[RunInfo], Critic | None]:
    """Who watches a run. What has a `review` is a critic, though it can be called too."""
    if critic is None or isinstance(critic, Critic):
        return lambda info: critic
    return critic


def _allowances(budget: Budget | Sequence[Allowance] | None) -> Callable[[str], Sequence[Allowance]] | None:
    if budget is None:
        return None
    if isinstance(budget, Budget):
        return lambda caller: checked_allowances(budget.allowances(caller))
    fixed = checked_allowances(budget)
    return lambda caller: fixed


# ------------------------------------------------------------------ asking


class _Asker:
    """Asks critics as a live run does, under their time limit: those that block on threads that may hang, async ones on
    a loop of its own or the one that was lent. Whoever waits here can be interrupted.
    """

    def __enter__(self) -> _Asker:
        self._threads = ThreadPool("backtest", REVIEWS_AT_ONCE)
        self._loop: LoopThread | None = None
        self._hung: Counter[int] = Counter()
        self._lost_loops = 0
        return self

    def __exit__(self, *raised: object) -> None:
        self._threads.close()
        if self._loop is not None:
            self._loop.close(GRACE_S)

    def ask(self, critic: Critic, terms: Terms, trace: Trace, now_s: float) -> Answered | Failed:
        """Its verdict, checked, or why there is none."""
        hung = self._hung[id(critic)]
        if hung >= HUNG_FOR_ONE:
            return Failed(f"{hung} earlier reviews of it have not returned")
        if self._threads.hung + self._lost_loops >= REVIEWS_AT_ONCE:
            return Failed(f"{self._threads.hung + self._lost_loops} earlier reviews of critics have not returned")
        try:
            if inspect.iscoroutinefunction(getattr(critic, "review", None)):
                review: Any = critic.review(trace, now_s)
                return self._await(critic, review, terms, terms.timeout_s)
            if type(critic) is StuckCritic:  # it only computes; handing over costs twice as much where cores are busy
                return _answered(critic.review(trace, now_s), terms)
            return self._in_thread(critic, terms, trace, now_s)
        except (Exception, SystemExit) as error:  # a live run would go on too
            return _failed(error)

    def _in_thread(self, critic: Critic, terms: Terms, trace: Trace, now_s: float) -> Answered | Failed:
        outcome: SimpleQueue[Any] = SimpleQueue()
        began = time.monotonic()

        def ask() -> Any:
            review: Any = critic.review(trace, now_s)
            # Looked at there, where foreign objects in it can do no harm.
            return review if inspect.isawaitable(review) else _answered(review, terms)

        def done(found: Any, error: BaseException | None) -> None:
            outcome.put(found if error is None else _failed(error))

        job = self._threads.submit(ask, done)
        try:
            found = outcome.get(timeout=terms.timeout_s)
        except Empty:
            job.cancel()
            self._hung[id(critic)] += 1
            return _late(terms)
        if isinstance(found, (Answered, Failed)):
            return found
        return self._await(critic, found, terms, max(0.0, terms.timeout_s - (time.monotonic() - began)))

    def _await(self, critic: Critic, review: Awaitable[Any], terms: Terms, left_s: float) -> Answered | Failed:
        loop = _lent.loop
        if loop is None:
            if self._loop is None:
                self._loop = LoopThread()
            loop = self._loop.loop
        task = asyncio.run_coroutine_threadsafe(_awaited(review, terms, left_s), loop)
        try:
            return task.result(left_s + GRACE_S)
        except TimeoutError:  # it blocks the loop, or does not let itself be cancelled
            task.cancel()
            self._hung[id(critic)] += 1
            if self._loop is not None and _lent.loop is None:
                self._loop.close(0)  # as soon as it can
                self._loop, self._lost_loops = None, self._lost_loops + 1
            return _late(terms)


async def _awaited(review: Awaitable[Any], terms: Terms, left_s: float) -> Answered | Failed:
    limit = asyncio.timeout(left_s)
    try:
        async with limit:
            return _answered(await review, terms)
    except TimeoutError as error:
        return _late(terms) if limit.expired() else _failed(error)
    except (Exception, SystemExit) as error:  # in here: it would end the loop
        return _failed(error)


def _late(terms: Terms) -> Failed:
    return Failed(f"no verdict within {terms.timeout_s:g} s")


def _answered(review: Any, terms: Terms) -> Answered:
    checked = checked_review(review)
    return Answered(answer(checked, terms.name), checked.orders)


def _failed(error: BaseException) -> Failed:
    return Failed(said(error, name=True)[:WORDS])


# ------------------------------------------------------------------ one test


class _Test:
    """A critic and a budget on their way through recorded runs."""

    def __init__(
        self,
        asker: _Asker,
        critic: Critics | None,
        allowances: Callable[[str], Sequence[Allowance]] | None,
        stuck: Stuck,
        price: Price | None,
    ) -> None:
        self._asker, self._choose, self._stuck, self._price = asker, _choice(critic), stuck, price
        self._purses = None if allowances is None else Purses(allowances, price)
        self._replays: dict[str, Replay] = {}
        self._rows: dict[str, BacktestRun | None] = {}
        """By run, in the order in which they began; None while it is read."""
        self._parents: dict[str, str] = {}
        self._named = ""

    def run(self, events: _InOrder, progress: Callable[[int, int], None] | None) -> None:
        """Go through `events`."""
        done, told_at = 0, time.monotonic()
        try:
            for event in events:
                self._next(event, events)
                done += 1
                if progress is not None and time.monotonic() - told_at >= PROGRESS_S:
                    progress(done, max(done, events.total))
                    told_at = time.monotonic()
        finally:  # also if somebody interrupts: this is how far it came
            if progress is not None:
                progress(done, max(done, events.total))

    def _next(self, event: Event, events: _InOrder) -> None:
        run_id = event.run_id
        if run_id in events.unreadable or self._rows.get(run_id) is not None:
            return
        replay = self._replays.get(run_id) or self._begin(event)
        if event.content in ("locked", "erased"):
            events.unreadable[run_id] = f"what was said in it is {event.content}"
            return
        try:
            self._take(event, replay)
        except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
            events.unreadable[run_id] = f"its log does not fold at version {event.version}: {error!r}"

    def _take(self, event: Event, replay: Replay) -> None:
        self._with_its_parent(event, replay)
        replay.before(event)
        if replay.ending is None and self._purses is not None:
            refused = self._purses.refuses(event, replay.trace.state)
            if refused is not None:
                replay.stop("refused" if isinstance(event.fact, RunStarted) else "budget", refused.why, "budget")
        replay.take(event)
        if self._purses is not None:
            if replay.ending is None:
                self._purses.take(event)
            else:
                self._purses.end(event)
        if replay.finish is not None:  # what may follow is no work of the run
            self._rows[event.run_id] = self._row(event.run_id, replay)
            replay.trace = Trace()

    def _begin(self, first: Event) -> Replay:
        fact = first.fact
        info = fact.info if isinstance(fact, RunStarted) else RunInfo(run_id=first.run_id, name="")
        critic, ask = self._choose(info), None
        rounds = None
        if critic is not None:
            terms = terms_of(critic)
            self._named = self._named or terms.name
            rounds = Rounds(terms.every_s, terms.every_steps)

            def ask_it(trace: Trace, now_s: float) -> Answered | Failed:
                return self._asker.ask(critic, terms, trace, now_s)

            ask = ask_it
        self._parents[first.run_id] = info.parent_run_id
        self._rows[first.run_id] = None
        replay = self._replays[first.run_id] = Replay(ask, rounds, self._price)
        return replay

    def _with_its_parent(self, event: Event, replay: Replay) -> None:
        """A run ends with its parent; what happens above it until now is made to happen first."""
        if not self._parents.get(event.run_id) or replay.ending is not None:
            return
        above: list[tuple[Replay, int]] = []
        later_ms, one = 0, event.run_id
        while (parent := self._replays.get(self._parents.get(one, ""))) is not None and one in parent.births:
            later_ms += parent.births[one]
            above.append((parent, later_ms))
            one = self._parents[one]
        for ancestor, later_ms in reversed(above):
            ancestor.up_to(event.elapsed_ms + later_ms)
            if ancestor.ending is not None:
                replay.up_to(round(ancestor.ending.at_s * 1000) - later_ms)
                if replay.ending is None:
                    replay.stop("parent", f"its parent ended: {ancestor.ending.why}", ancestor.ending.by)
                return

    def _row(self, run_id: str, replay: Replay) -> BacktestRun:
        start, finish = replay.start, replay.finish
        info = RunInfo(run_id=run_id, name="") if start is None else start.info
        ended = None
        if finish is not None:
            ended = Ended(info=info, status=finish.status, stats=finish.stats, reward=reward_of(info))
        return BacktestRun(
            run_id=run_id,
            name=info.name,
            agent="" if start is None else start.agent.name,
            caller=info.caller_id,
            parent=info.parent_run_id,
            status="" if finish is None else finish.status,
            reward=reward_of(info),
            was="" if ended is None else "stuck" if self._stuck(ended) else "good",
            events=replay.events,
            deeds=tuple(replay.deeds),
            ending=replay.ending,
            spent=replay.spent,
            saved=replay.saved,
            reviews=replay.reviews,
            failures=replay.failures,
            review_tokens=replay.review_tokens,
            review_usd=replay.review_usd,
            lost=replay.lost,
        )

    def found(self, budget: object, unreadable: dict[str, str]) -> Backtest:
        """What came of it."""
        rows = tuple(
            [
                row if row is not None else self._row(run_id, self._replays[run_id])
                for run_id, row in self._rows.items()
                if run_id not in unreadable
            ]
        )
        return Backtest(
            critic=self._named,
            budget="" if budget is None else said(budget)[:WORDS],
            rows=rows,
            totals=totals_of(rows),
            unreadable=tuple(unreadable.items()),
        )


# ------------------------------------------------------------------ reading


class _InOrder:
    """The events of the chosen runs and of their children, in the journal's order, a page of each run at a time.

    total: how many there are at least. unreadable: runs whose log cannot be read, each with why.
    """

    def __init__(self, journal: Journal, chosen: dict[str, tuple[int, int]]) -> None:
        self._journal = journal
        self._chosen = set(chosen)
        self._heap: list[tuple[int, str, Iterator[Event] | None, Event | None]] = [
            (position, run_id, None, None) for run_id, (position, _) in chosen.items()
        ]
        heapify(self._heap)
        self.total = sum(version for _, version in chosen.values())
        self.unreadable: dict[str, str] = {}

    def __iter__(self) -> Iterator[Event]:
        heap = self._heap
        while heap:
            _, run_id, events, event = heappop(heap)
            if events is None:  # it begins here
                events = self._events(run_id)
                event = next(events, None)
            while event is not None:
                if type(event.fact) is ChildStarted:
                    self._adopt(event.fact.run_id)
                yield event
                event = next(events, None)
                if event is not None and heap and event.position > heap[0][0]:
                    heappush(heap, (event.position, run_id, events, event))
                    break

    def _adopt(self, run_id: str) -> None:
        row = None if run_id in self._chosen else self._journal.run(run_id)
        if row is not None:
            self._chosen.add(run_id)
            self.total += row.version
            heappush(self._heap, (row.first_position, run_id, None, None))

    def _events(self, run_id: str) -> Iterator[Event]:
        after = 0
        while True:
            try:
                page = self._journal.read(run_id, after, PAGE)
            except JournalError as error:
                self.unreadable[run_id] = str(error)
                return
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].version


def _chosen(
    journal: Journal, runs: Collection[str] | None, since_us: float | None, caller: str | None, agent: str | None
) -> dict[str, tuple[int, int]]:
    """Position of the first event and number of events of each run that is meant."""
    if runs is not None:
        found: dict[str, tuple[int, int]] = {}
        for run_id in runs:
            row = journal.run(run_id)
            if row is None:
                raise UnknownRun(run_id)
            found[run_id] = (row.first_position, row.version)
        return found
    return {
        row.run_id: (row.first_position, row.version)
        for row in journal.runs()
        if (since_us, caller, agent) == (None, None, None) or _is_meant(journal, row.run_id, since_us, caller, agent)
    }


def _is_meant(journal: Journal, run_id: str, since_us: float | None, caller: str | None, agent: str | None) -> bool:
    try:
        [first] = journal.read(run_id, limit=1)
    except (JournalError, ValueError):
        return False
    fact = first.fact
    return (
        isinstance(fact, RunStarted)
        and (since_us is None or first.at_us >= since_us)
        and (caller is None or fact.info.caller_id == caller)
        and (agent is None or fact.agent.name == agent)
    )
