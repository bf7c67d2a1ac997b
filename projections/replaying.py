"""A recorded run under another supervision: what a critic would have been shown, when, and what would have come of it.

The recorded facts are folded as they are, at their recorded times, except what the recorded critic did: its place is
taken by the one that is tried. A review takes no time. Advice is written down, and the run goes on as recorded, since
nobody knows what the model would have made of it; a kill ends the run, and what is recorded after it counts as saved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import (
    CeilingRaised,
    ChildStarted,
    CriticKilled,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Event,
    Fact,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepStarted,
    tag_of,
)
from .backtesting import Deed, Ending, EndKind, Kind
from .bounds import deadline_ms, worked_ms
from .causes import of_critic, together
from .ledger import Price
from .metering import Meter, Spent
from .rounds import FIRST_PAUSE_S, LOST_AFTER, MOST_ORDERS, TIMER_S, Rounds, after_fact, after_time, planned
from .run import RunState, evolve
from .trace import Trace, evolve_trace


class Failed(msgspec.Struct, frozen=True):
    """A review that raised, took too long or said nothing that makes sense."""

    why: str


class Answered(msgspec.Struct, frozen=True):
    """A review: the facts it comes to in a run as that stands then, and how many orders it gives."""

    facts: Callable[[RunState], list[Fact]]
    orders: int = 0


Ask: TypeAlias = "Callable[[Trace, float], Answered | Failed]"
"""Asks the critic: what it is shown, and the run's own clock in seconds."""


class Replay:
    """One recorded run, told event by event: for each `before`, then perhaps `stop`, then `take`.

    ask: asks the critic; None: nobody watches, and the recorded critic keeps its place. rounds: when it wants to be
    asked. price: dollars of a model call, as for `Meter`.
    """

    def __init__(self, ask: Ask | None, rounds: Rounds | None = None, price: Price | None = None) -> None:
        self.trace = Trace()
        self.deeds: list[Deed] = []
        self.ending: Ending | None = None
        self.lost = ""
        """Why the critic would have been lost."""
        self.reviews = self.failures = 0
        self.review_tokens, self.review_usd = 0, 0.0
        self.births: dict[str, int] = {}
        """When children were born, by the run's own clock in milliseconds."""
        self.start: RunStarted | None = None
        self.finish: RunFinished | None = None
        """The recorded beginning and end."""
        self.events = 0
        self.now_ms = 0
        self._ask, self._rounds = ask, rounds or Rounds()
        self._meter = Meter(price)
        self._kept: Spent | None = None
        self._under_way = 0
        self._seen = self._shown = 0
        self._last: type[Fact] = RunStarted
        self._due = False
        self._waits: tuple[Event, Answered] | None = None
        """A verdict on a reply, until what was decided together with the reply is taken."""
        self._failed_in_a_row = self._orders = 0
        self._paused_until_s = 0.0
        self._shortened = False
        self._timeless = False
        self._rest = RunState()

    @property
    def spent(self) -> Spent:
        """What the run took until its recorded end."""
        return self._meter.spent

    @property
    def saved(self) -> Spent:
        """What of it would not have been. A model call that was under way when it ended counts as made."""
        return Spent() if self._kept is None else self._meter.spent.minus(self._kept)

    # -------------------------------------------------------------- told from outside

    def before(self, event: Event) -> None:
        """`event` is next: let everything happen that comes before it."""
        if self._waits is None or not together(self._waits[0], self._last, event):
            self.up_to(event.elapsed_ms)

    def up_to(self, now_ms: int) -> None:
        """Let the run's own clock go on to `now_ms`: a verdict that waits comes to something, and reviews that time
        alone brings are made.
        """
        if self._ask is not None:
            self._land()
            while self.ending is None and (moment_s := self._next_s()) is not None and moment_s * 1000 < now_ms:
                self._at(moment_s)
        if self.ending is None:
            self.now_ms = max(self.now_ms, now_ms)

    def take(self, event: Event) -> None:
        """The run's next event."""
        fact = event.fact
        self.events += 1
        if type(fact) is RunStarted:
            self.start = fact
            self._timeless = bool(fact.imported_from)
        elif type(fact) is RunFinished:
            self.finish = fact
        elif type(fact) is ChildStarted:
            self.births[fact.run_id] = event.elapsed_ms
        if self.ending is None:
            self._beyond_a_limit(fact)
        if self._kept is not None:
            self._go_past(event, self._kept)
            return
        self._seen = event.version
        if self._ask is not None and of_critic(event):
            self._shortened = self._shortened or type(fact) in (DeadlineExtended, CeilingRaised)
            return
        self._meter.take(self.trace.state, event)
        self._fold(fact, event)
        self._last = type(fact)
        if type(fact) is RunFinished:  # a verdict that waits comes too late
            self._waits = None
        if self._ask is not None:
            self._rounds, due = after_fact(self._rounds, fact)
            self._due = self._due or due
            self._go_on(self.now_ms / 1000, event)

    def stop(self, kind: EndKind, why: str, by: str = "") -> None:
        """The run ends here, before its next event."""
        state = self.trace.state
        self._waits = None
        self.ending = Ending(kind=kind, version=self._seen, step=state.step, at_s=self.now_ms / 1000, why=why, by=by)
        self._rest = state
        self._under_way = state.step if state.doing == "model" else 0
        self._kept = replace(self._meter.spent, worked_s=worked_ms(state, self.now_ms) / 1000)

    def _go_past(self, event: Event, kept: Spent) -> None:
        """An event that would not have been."""
        fact, before = event.fact, self._meter.spent
        self._meter.take(self._rest, event)
        self._rest = evolve(self._rest, fact)
        if type(fact) is StepCompleted and fact.step == self._under_way:
            took = self._meter.spent.minus(before)
            self._kept = kept.plus(replace(took, worked_s=0.0))

    # -------------------------------------------------------------- moments

    def _next_s(self) -> float | None:
        """The next moment that time alone brings, in seconds of the run's own clock."""
        state = self.trace.state
        if state.doing in ("new", "over", "waiting"):
            return None
        moments: list[float] = []
        if not self.lost:
            self._rounds = planned(self._rounds, worked_ms(state, self.now_ms) / 1000)
            if self._rounds.regular_at_s is not None:
                moments.append(self._rounds.regular_at_s + TIMER_S + state.waited_ms / 1000)
            if self._due and self._failed_in_a_row:
                moments.append(self._paused_until_s)
        if self._shortened and (due_ms := deadline_ms(state)) is not None:
            moments.append(due_ms / 1000)
        return max(min(moments), self.now_ms / 1000) if moments else None

    def _at(self, now_s: float) -> None:
        """That moment has come."""
        state = self.trace.state
        self.now_ms = max(self.now_ms, round(now_s * 1000))
        if self._shortened and (due_ms := deadline_ms(state)) is not None and now_s * 1000 >= due_ms:
            self.stop("timeout", f"the deadline of {(due_ms - state.waited_ms) / 1000:g} s is over", "deadline")
            return
        self._rounds, due = after_time(self._rounds, now_s - state.waited_ms / 1000)
        self._due = self._due or due
        self._go_on(now_s)

    def _go_on(self, now_s: float, event: Event | None = None) -> None:
        """Ask the critic if it is time. What it says comes to something at once, or, about a reply, after what was
        decided together with that.
        """
        while self._due and self._waits is None and self.ending is None and not self.lost:
            if self.trace.state.doing in ("new", "over", "waiting"):
                return
            if self._failed_in_a_row and not self._timeless and now_s < self._paused_until_s:
                return
            assert self._ask is not None
            self._due = False
            self.reviews += 1
            self._shown = self._seen
            answer = self._ask(self.trace, now_s)
            if isinstance(answer, Failed):
                self._fail(answer.why, now_s)
                return
            self._failed_in_a_row = 0
            if event is not None and type(event.fact) is StepCompleted:
                self._waits = event, answer
            else:
                self._obey(answer)

    def _fail(self, why: str, now_s: float) -> None:
        self.failures += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= LOST_AFTER:
            self.lost = f"it failed {self._failed_in_a_row} times in a row, the last time: {why}"
            return
        self._due = True
        self._paused_until_s = now_s + FIRST_PAUSE_S * 2.0 ** (self._failed_in_a_row - 1)

    def _beyond_a_limit(self, fact: Fact) -> None:
        """A step that only the recorded critic had made room for does not begin."""
        if self._shortened and type(fact) is StepStarted:
            state = self.trace.state
            most = state.limits.max_steps
            if fact.step > state.step and fact.step - state.turn_from > most:
                self.stop("ceiling", f"the ceiling of {most} steps is reached", "ceiling")

    # -------------------------------------------------------------- verdicts

    def _land(self) -> None:
        """A verdict that waits comes to what it comes to now."""
        if self._waits is not None:
            answer = self._waits[1]
            self._waits = None
            self._obey(answer)
            self._go_on(self.now_ms / 1000)

    def _obey(self, answer: Answered) -> None:
        state = self.trace.state
        if state.read_only:
            return
        self._orders += answer.orders
        for fact in answer.facts(state):
            self._fold(fact)
            self._note(fact)
        if self.ending is None and self._orders > MOST_ORDERS:
            self.lost = f"it gave more than {MOST_ORDERS} orders"

    def _fold(self, fact: Fact, recorded: Event | None = None) -> None:
        """One fact more of the log so supervised, which counts its own versions."""
        version = self.trace.version + 1
        if recorded is None:
            run_id = self.trace.info.run_id
            event = Event(run_id=run_id, version=version, tag=tag_of(fact), fact=fact, elapsed_ms=self.now_ms)
        else:
            event = recorded if recorded.version == version else replace(recorded, version=version)
        self.trace = evolve_trace(self.trace, event)

    def _note(self, fact: Fact) -> None:
        match fact:
            case CriticReviewed():
                self.review_tokens += fact.usage.input + fact.usage.output
                self.review_usd += fact.usage.cost_usd or 0.0
            case CriticObserved():
                self._did("observed", fact.text, fact.evidence)
            case CriticSteered():
                self._did("steered", fact.text, fact.evidence)
            case DeadlineExtended():
                self._did("extended", fact.reason, {"until_s": fact.until_ms / 1000})
            case CeilingRaised():
                self._did("raised", fact.reason, {"from": fact.old, "to": fact.new})
            case CriticKilled():
                self._did("killed", fact.reason, fact.evidence)
                self.stop("killed", fact.reason, fact.by)
            case _:
                raise AssertionError(f"no fact of a critic: {fact!r}")

    def _did(self, kind: Kind, text: str, evidence: dict[str, Any]) -> None:
        step, at_s = self.trace.state.step, self.now_ms / 1000
        self.deeds.append(
            Deed(
                kind=kind,
                version=self.trace.version,
                seen=self._shown,
                step=step,
                at_s=at_s,
                text=text,
                evidence=evidence,
            )
        )
