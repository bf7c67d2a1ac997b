"""The actor that watches a run: when it asks its critic, what becomes of the answers, and what it never does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from executus.actors.address import Address
from executus.actors.critic import CriticActor, dismiss, give_critic
from executus.actors.mailbox import Mailbox
from executus.actors.observers import Observers
from executus.actors.run.messages import (
    ChargeReview,
    ExtendRun,
    KillRun,
    LoseCritic,
    ObserveRun,
    RaiseCeiling,
    SteerRun,
)
from executus.actors.run.surroundings import Surroundings
from executus.actors.verdicts import Judgement, Reviewed, judgement
from executus.errors import JournalUnavailable, LogCorrupt
from executus.events import (
    AgentPrint,
    Event,
    Fact,
    InputAwaited,
    InputReceived,
    Limits,
    RunFinished,
    RunInfo,
    RunResumed,
    RunStarted,
    RunStats,
    SoftTimeoutReached,
    StepCompleted,
    StepStarted,
    Text,
    Usage,
)
from executus.events.registry import tag_of
from executus.ports import Continue, Extend, Judged, Kill, Raise, Steer

RUN = "01a2072f-d6e6-704e-8266-d40b2e85f841"


class Turns:
    """`Scheduler` with time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready: list[Mailbox] = []
        self.timers: list[tuple[float, list[Callable[[], None]]]] = []

    def schedule(self, mailbox: Mailbox) -> None:
        self.ready.append(mailbox)

    def lend(self) -> None: ...

    def awake(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        held = [call]
        self.timers.append((self.now + seconds, held))
        return SimpleNamespace(cancel=held.clear)

    def run(self) -> None:
        while self.ready:
            self.ready.pop(0).run_slice(32)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until and timer[1]]:
            at, held = min(due, key=lambda timer: timer[0])
            self.now = max(self.now, at)
            held.pop()()
            self.run()
        self.now = until


class Watching:
    """A critic's actor with everything around it in a test's hands."""

    def __init__(self, critic: Any = None, *, taken_up: bool = False, log: list[Event] | None = None) -> None:
        self.turns = Turns()
        self.observers = Observers()
        self.log = log if log is not None else []
        self.reads: list[Callable[[], None]] = []
        self.reviews: list[Any] = []
        self.orders: list[Any] = []
        self.error: Exception | None = None
        self.reads_to: int | None = None
        """The journal shows events up to this version, as if it had been read a moment ago."""
        self.address = Address(RunInfo(run_id=RUN, name="x"), cast(Any, None))
        calls = SimpleNamespace(look_up=self.look_up, review=self.review)
        self.around = cast(
            Surroundings,
            SimpleNamespace(
                scheduler=self.turns, calls=calls, observers=self.observers, sleep_after_s=60.0, critic_of=None
            ),
        )
        told = SimpleNamespace(run_id=RUN, tell=self.orders.append)
        self.actor = CriticActor.spawn(
            self.around, cast(Address, told), SimpleNamespace() if critic is None else critic, taken_up=taken_up
        )
        self.turns.run()

    def look_up(self, read: Callable[[Any], Any], reply: Callable[[Any], None]) -> None:
        def now() -> None:
            journal = SimpleNamespace(
                read=lambda run_id, after, limit: [one for one in self.log[: self.reads_to] if one.version > after][
                    :limit
                ]
            )
            reply(read(journal) if self.error is None else self.error)

        self.reads.append(now)

    def review(self, critic: Any, by: str, trace: Any, now: float, timeout_s: float, reply: Any) -> Any:
        one = SimpleNamespace(by=by, trace=trace, now=now, timeout_s=timeout_s, reply=reply, cancelled=False)
        self.reviews.append(one)

        def cancel() -> None:
            one.cancelled = True

        return SimpleNamespace(cancel=cancel)

    def happens(self, *facts: Fact) -> Watching:
        """Store facts, and tell the observers."""
        for fact in facts:
            self.store(fact)
            self.observers((self.log[-1],))
        self.turns.run()
        return self

    def store(self, fact: Fact) -> None:
        """Store a fact of which nobody is told."""
        elapsed_ms = round((self.turns.now - 100) * 1000)
        event = Event(run_id=RUN, version=len(self.log) + 1, tag=tag_of(fact), fact=fact, elapsed_ms=elapsed_ms)
        self.log.append(event)

    def read(self) -> None:
        """The journal answers."""
        while self.reads:
            self.reads.pop(0)()
            self.turns.run()

    def answers(self, review: Any, number: int = -1) -> None:
        """The critic says `review`, or raises it."""
        failed = isinstance(review, Exception)
        outcome = Reviewed(error=str(review)) if failed else Reviewed(judgement(review, self.reviews[number].by))
        self.reviews[number].reply(outcome)
        self.turns.run()

    @property
    def stopped(self) -> bool:
        return self.actor.actor_stopped.is_set()


def started() -> RunStarted:
    return RunStarted(
        info=RunInfo(run_id=RUN, name="x"),
        agent=AgentPrint(name="x", model="p:m"),
        limits=Limits(),
        input=(Text("go"),),
    )


def step(number: int) -> tuple[Fact, Fact]:
    return StepStarted(step=number), StepCompleted(step=number, reply=(Text("…"),))


def watched(**terms: Any) -> Watching:
    """A run that has started."""
    return Watching(SimpleNamespace(**terms)).happens(started(), StepStarted(step=1))


OVER = RunFinished(stats=RunStats(status="ok"), by="model")


# ------------------------------------------------------------------ when it asks


def test_the_critic_is_asked_at_the_soft_timeout_and_not_before() -> None:
    watching = watched()
    watching.turns.advance(500)
    assert watching.reviews == []
    watching.happens(SoftTimeoutReached(at_ms=500_000))
    (review,) = watching.reviews
    assert review.trace.soft_timeout_at_ms == 500_000
    assert (review.now, review.timeout_s, review.by) == (500.0, 60.0, "critic")


def test_the_critic_is_asked_as_often_as_it_wants() -> None:
    watching = watched(every_s=10, timeout_s=5, name="judge")
    watching.turns.advance(9.9)
    assert watching.reviews == []
    watching.turns.advance(0.2)
    assert [round(one.now) for one in watching.reviews] == [10]
    assert (watching.reviews[0].by, watching.reviews[0].timeout_s) == ("judge", 5.0)
    watching.answers(Continue())
    watching.turns.advance(10)
    assert [round(one.now) for one in watching.reviews] == [10, 20]


@pytest.mark.parametrize("every_s", [10, 100])  # the run is forgotten after 60 s of waiting
def test_the_time_a_run_waits_for_a_person_is_not_time_to_be_watched(every_s: float) -> None:
    watching = watched(every_s=every_s)
    watching.turns.advance(4)
    watching.happens(StepCompleted(step=1, reply=()), InputAwaited(since_ms=4_000))
    watching.turns.advance(1_000)
    assert watching.reviews == []
    watching.happens(InputReceived(input=(), waited_ms=1_000_000), StepStarted(step=2))
    watching.read()
    watching.turns.advance(every_s - 5)
    assert watching.reviews == []
    watching.turns.advance(1.1)
    assert len(watching.reviews) == 1


def test_the_critic_is_asked_after_every_so_many_steps() -> None:
    watching = Watching(SimpleNamespace(every_steps=2)).happens(started(), *step(1))
    assert watching.reviews == []
    watching.happens(*step(2))
    assert len(watching.reviews) == 1
    watching.answers(Continue())
    watching.happens(*step(3))
    assert len(watching.reviews) == 1
    watching.happens(*step(4))
    assert len(watching.reviews) == 2


def test_there_are_never_two_reviews_at_a_time_and_what_is_due_meanwhile_is_one_more() -> None:
    watching = Watching(SimpleNamespace(every_steps=1, every_s=1)).happens(started(), *step(1))
    watching.happens(*step(2), *step(3), SoftTimeoutReached(at_ms=1))
    watching.turns.advance(5)
    assert len(watching.reviews) == 1
    watching.answers(Continue())
    assert len(watching.reviews) == 2
    assert watching.reviews[1].trace.state.step == 3
    watching.answers(Continue())
    assert len(watching.reviews) == 2


def test_a_critic_cannot_ask_to_be_asked_without_pause() -> None:
    watching = watched(every_s=1e-9)
    for _ in range(1000):
        watching.turns.advance(0.001)
        if watching.reviews:
            watching.answers(Continue())
    assert len(watching.reviews) <= 10


# ------------------------------------------------------------------ what it knows


def test_an_event_told_twice_counts_once() -> None:
    watching = watched()
    watching.observers((watching.log[0], watching.log[1]))
    watching.turns.run()
    assert watching.actor.trace.version == 2
    assert watching.reads == []


def test_a_missed_event_is_read_from_the_log() -> None:
    watching = watched(every_steps=1)
    watching.store(StepCompleted(step=1, reply=()))
    watching.happens(StepStarted(step=2))
    assert (watching.actor.trace.version, watching.reviews) == (2, [])
    watching.happens(SoftTimeoutReached(at_ms=1))  # while it reads
    watching.read()
    assert watching.actor.trace.version == 5
    assert len(watching.reviews) == 1


def test_what_was_stored_while_the_log_was_read_is_read_as_well() -> None:
    watching = watched()
    watching.store(StepCompleted(step=1, reply=()))
    watching.happens(StepStarted(step=2))
    watching.reads_to = 4
    watching.happens(SoftTimeoutReached(at_ms=1))
    watching.reads.pop(0)()
    watching.turns.run()
    watching.reads_to = None
    watching.read()
    assert watching.actor.trace.version == 5
    assert len(watching.reviews) == 1


def test_a_run_taken_up_from_its_log_is_known_whole() -> None:
    first = Watching().happens(started(), *step(1), *step(2), StepStarted(step=3))
    watching = Watching(SimpleNamespace(every_steps=2), taken_up=True, log=first.log)
    watching.happens(RunResumed(reason="a new host took over", epoch=2))
    watching.read()
    assert watching.actor.trace.state.step == 3
    assert watching.actor.trace.info.name == "x"
    assert watching.reviews == []


def test_a_log_longer_than_a_page_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executus.actors.critic.PAGE", 3)
    first = Watching().happens(started(), *step(1), *step(2), *step(3), *step(4))
    watching = Watching(taken_up=True, log=first.log)
    watching.read()
    assert watching.actor.trace.version == 9


def test_a_soft_timeout_reached_under_an_earlier_host_is_asked_about_again() -> None:
    first = Watching().happens(started(), StepStarted(step=1), SoftTimeoutReached(at_ms=1))
    watching = Watching(taken_up=True, log=first.log)
    watching.read()
    assert len(watching.reviews) == 1


def test_a_log_that_cannot_be_read_now_is_read_later_and_a_damaged_one_loses_the_critic() -> None:
    first = Watching().happens(started(), StepStarted(step=1))
    watching = Watching(taken_up=True, log=first.log)
    watching.error = JournalUnavailable("busy")
    watching.read()
    assert not watching.stopped
    watching.turns.advance(2)
    watching.error = LogCorrupt(RUN, 1, "bad")
    watching.read()
    assert watching.stopped
    assert [type(one) for one in watching.orders] == [LoseCritic]


def test_a_run_that_waits_for_long_is_forgotten_and_read_again_without_a_second_review() -> None:
    watching = watched(every_steps=1).happens(SoftTimeoutReached(at_ms=1))
    watching.answers(Continue())
    watching.happens(StepCompleted(step=1, reply=()), InputAwaited(since_ms=0))
    watching.answers(Continue())
    assert len(watching.reviews) == 2
    watching.turns.advance(61)
    assert watching.actor.trace.version == 0
    watching.happens(InputReceived(input=(), waited_ms=61_000), StepStarted(step=2))
    watching.read()
    assert watching.actor.trace.state.step == 2
    assert len(watching.reviews) == 2


# ------------------------------------------------------------------ what becomes of a verdict


def test_each_verdict_is_one_order_in_the_critics_name() -> None:
    evidence = {"count": 3}
    table: list[tuple[Any, list[Any]]] = [
        (Continue(), []),
        (Continue("hm", evidence), [ObserveRun(text="hm", by="judge", evidence=evidence)]),
        (Steer("left", evidence), [SteerRun(text="left", by="judge", critic=True, evidence=evidence)]),
        (Extend(5, "busy"), [ExtendRun(seconds=5, by="judge", reason="busy", critic=True)]),
        (Raise(5, "busy"), [RaiseCeiling(limit="steps", more=5, by="judge", reason="busy", critic=True)]),
        (Kill("loop", evidence), [KillRun(reason="loop", by="judge", critic=True, evidence=evidence)]),
    ]
    for verdict, orders in table:
        watching = watched(name="judge").happens(SoftTimeoutReached(at_ms=1))
        watching.answers(verdict)
        assert watching.orders == orders


def test_what_a_review_cost_is_told_before_its_verdict() -> None:
    watching = watched().happens(SoftTimeoutReached(at_ms=1))
    watching.answers(Judged(Kill("loop"), Usage(10, 5), "p:judge"))
    charge, kill = watching.orders
    assert charge == ChargeReview(usage=Usage(10, 5), model="p:judge", by="critic")
    assert isinstance(kill, KillRun)


def test_a_review_that_cost_nothing_is_not_charged() -> None:
    assert judgement(Judged(Continue()), "c") == Judgement()


class Loud(str):
    def strip(self, *_: Any) -> Any:
        raise AssertionError("foreign code")


class Evil:
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class SteerMore(Steer, frozen=True):
    """A verdict that nobody knows."""


GARBAGE: list[Any] = [
    None,
    "steer",
    Steer,
    Evil(),
    SteerMore("x"),
    Steer(cast(Any, 5)),
    Steer(" \n"),
    Steer("x", cast(Any, "evidence")),
    Steer("x", {"big": "y" * 70_000}),
    Continue(cast(Any, None)),
    Extend(float("nan")),
    Extend(float("inf")),
    Extend(-1.0),
    Extend(0),
    Extend(cast(Any, "5")),
    Extend(True),
    Extend(10**400),
    Extend(1, cast(Any, None)),
    Raise(0),
    Raise(-5),
    Raise(cast(Any, 2.5)),
    Raise(10**400),
    Raise(True),
    Kill(cast(Any, None)),
    Judged(cast(Any, None)),
    Judged(cast(Any, Judged(Continue()))),
    Judged(Continue(), cast(Any, {"input": 5})),
    Judged(Continue(), Usage(-1)),
    Judged(Continue(), Usage(cast(Any, 0.5))),
    Judged(Continue(), Usage(1, cost_usd=float("nan"))),
    Judged(Continue(), Usage(1), cast(Any, 7)),
]


@pytest.mark.parametrize("answer", GARBAGE, ids=lambda one: type(one).__name__)
def test_garbage_is_no_verdict(answer: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        judgement(answer, "critic")


def test_evidence_and_words_are_plain_and_bounded_before_they_reach_the_run() -> None:
    (order,) = judgement(Steer(Loud("x" * 100_000), {"odd": float("nan"), "deep": {1: (1, 2)}}), "critic").orders
    assert isinstance(order, SteerRun)
    assert type(order.text) is str
    assert len(order.text) <= 65_536
    assert order.evidence == {"odd": "nan", "deep": {"1": [1, 2]}}


# ------------------------------------------------------------------ how it fails


def test_a_failed_review_is_tried_again_after_a_pause_that_doubles_and_the_third_in_a_row_loses_the_critic() -> None:
    watching = watched().happens(SoftTimeoutReached(at_ms=1))
    watching.answers(RuntimeError("one"))
    watching.happens(SoftTimeoutReached(at_ms=2))
    watching.turns.advance(0.9)
    assert len(watching.reviews) == 1
    watching.turns.advance(0.2)
    assert len(watching.reviews) == 2
    watching.answers(RuntimeError("two"))
    watching.turns.advance(1.9)
    assert len(watching.reviews) == 2
    watching.turns.advance(0.2)
    assert (len(watching.reviews), watching.orders, watching.stopped) == (3, [], False)
    watching.answers(RuntimeError("three"))
    (order,) = watching.orders
    assert order == LoseCritic(reason="it failed 3 times in a row, the last time: three", by="critic")
    assert watching.stopped
    watching.happens(SoftTimeoutReached(at_ms=3))
    watching.turns.advance(100)
    assert len(watching.reviews) == 3


def test_a_verdict_makes_earlier_failures_forgotten() -> None:
    watching = watched().happens(SoftTimeoutReached(at_ms=1))
    for _ in range(2):
        watching.answers(RuntimeError("no"))
        watching.turns.advance(3)
    watching.answers(Continue())
    watching.happens(SoftTimeoutReached(at_ms=2))
    for _ in range(2):
        watching.answers(RuntimeError("no"))
        watching.turns.advance(3)
    assert not watching.stopped


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "often", True, Evil()])
def test_a_critic_with_nonsense_for_terms_is_lost_at_once(wrong: Any) -> None:
    for term in ("every_s", "every_steps", "timeout_s"):
        watching = Watching(SimpleNamespace(**{term: wrong, "name": "judge"}))
        (order,) = watching.orders
        assert type(order) is LoseCritic
        assert (term in order.reason, order.by) == (True, "judge")
        assert watching.stopped


def test_a_critic_that_raises_when_it_is_looked_at_is_lost_at_once() -> None:
    class Touchy:
        @property
        def every_s(self) -> float:
            raise SystemExit(3)

    watching = Watching(Touchy())
    assert [type(one) for one in watching.orders] == [LoseCritic]
    assert watching.stopped


def test_a_mistake_of_ours_ends_the_watching_and_the_run_is_told() -> None:
    watching = watched()
    event = Event(
        run_id=RUN, version=3, tag="step-completed", fact=cast(Any, StepCompleted(step=2, reply=cast(Any, 5)))
    )
    watching.observers((event,))
    watching.turns.run()
    assert [type(one) for one in watching.orders] == [LoseCritic]
    assert watching.stopped


def test_an_order_that_cannot_be_delivered_does_not_hurt_the_critic() -> None:
    watching = watched()

    def dead(message: Any) -> None:
        raise RuntimeError("gone")

    watching.actor.address = cast(Address, SimpleNamespace(run_id=RUN, tell=dead))
    watching.happens(SoftTimeoutReached(at_ms=1)).answers(Steer("x"))
    assert not watching.stopped


def test_a_critic_that_gives_orders_without_end_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executus.actors.critic.MOST_ORDERS", 5)
    watching = watched(every_s=1)
    for _ in range(20):
        watching.turns.advance(1.1)
        if not watching.stopped:
            watching.answers(Steer("again"))
    assert [type(one) for one in watching.orders] == [SteerRun] * 6 + [LoseCritic]


# ------------------------------------------------------------------ how it ends


def test_after_a_kill_nothing_more_is_asked() -> None:
    watching = watched(every_s=1).happens(SoftTimeoutReached(at_ms=1))
    watching.answers(Kill("loop"))
    watching.turns.advance(100)
    watching.happens(SoftTimeoutReached(at_ms=2))
    assert (len(watching.reviews), len(watching.orders)) == (1, 1)
    assert watching.stopped


def test_a_verdict_after_the_end_goes_nowhere() -> None:
    watching = watched().happens(SoftTimeoutReached(at_ms=1), OVER)
    assert watching.stopped
    assert watching.reviews[0].cancelled
    watching.answers(Kill("late"))
    assert watching.orders == []


def test_a_second_answer_of_one_review_goes_nowhere() -> None:
    watching = watched().happens(SoftTimeoutReached(at_ms=1))
    watching.answers(Steer("once"))
    watching.answers(Steer("twice"))
    assert len(watching.orders) == 1


def test_it_stops_when_told_to_as_often_as_it_is_told_and_lets_go_of_everything() -> None:
    watching = watched(every_s=1).happens(SoftTimeoutReached(at_ms=1))
    watching.actor.retire()
    watching.turns.run()
    watching.actor.retire()
    assert watching.stopped
    assert watching.reviews[0].cancelled
    watching.happens(SoftTimeoutReached(at_ms=2))
    watching.turns.advance(100)
    assert (len(watching.reviews), watching.orders) == (1, [])


# ------------------------------------------------------------------ who gets one


def around_with(choose: Any) -> tuple[Surroundings, Address]:
    watching = Watching()
    around = SimpleNamespace(**{**vars(watching.around), "critic_of": choose})
    return cast(Surroundings, around), watching.address


def test_a_run_has_one_critic_however_often_its_actor_is_rebuilt() -> None:
    around, address = around_with(lambda _: SimpleNamespace())
    give_critic(around, address, taken_up=False)
    first = address.critic
    give_critic(around, address, taken_up=True)
    assert address.critic is first is not None
    dismiss(address)


def test_a_choice_that_raises_is_nobody() -> None:
    def choose(_: Address) -> Any:
        raise SystemExit

    around, address = around_with(choose)
    give_critic(around, address, taken_up=False)
    assert address.critic is None
    dismiss(address)


# ------------------------------------------------------------------ observers


def test_only_the_events_of_watched_runs_are_passed_on_and_nobody_can_hurt_the_others() -> None:
    observers, seen = Observers(), cast("list[Event]", [])
    other = Event(run_id="other", version=1, tag="x", fact=OVER)
    mine = Event(run_id=RUN, version=1, tag="x", fact=OVER)

    def raises(_: Event) -> None:
        raise SystemExit

    stop_raising = observers.watch(RUN, raises)
    stop = observers.watch(RUN, seen.append)
    observers((other, mine))
    stop_raising()
    observers((mine, other))
    stop()
    stop()
    observers((mine,))
    assert seen == [mine, mine]
