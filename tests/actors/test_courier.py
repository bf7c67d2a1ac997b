"""The courier on real journals: what it writes down, in which order, and what a receiver sees, whatever goes wrong."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from journal_support import PATIENCE_S, RunLog, note
from runtime_support import AsyncGate, Gate

from executus.actors import courier as courier_module
from executus.actors import parcel as parcel_module
from executus.actors.deliveries import Courier
from executus.actors.dispatcher import Dispatcher
from executus.actors.errand import DeliveryTerms
from executus.actors.run.surroundings import Surroundings
from executus.actors.runner import CallRunner
from executus.adapters.system import SystemClock, SystemIds
from executus.errors import (
    DeliveryRefused,
    JournalUnavailable,
    MessageRefused,
    RuntimeClosed,
    UnknownFact,
    UnknownRun,
)
from executus.events import (
    AgentPrint,
    ArtifactStored,
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    Event,
    Fact,
    Limits,
    Opaque,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    Text,
)
from executus.journal import MemoryJournal, SqliteJournal, Subscription
from executus.journal.beside import BesideJournal
from executus.ports import Append, Delivery, Parcel

SOON = DeliveryTerms(first_s=0.001, last_s=0.002)
LATER = DeliveryTerms(first_s=3000.0, last_s=3600.0)
NEWS = ("delivery-attempted", "delivered", "delivery-failed")
PICTURE = ArtifactStored(sha256="ab" * 32, name="a.png", media_type="image/png", size=9)
FINISHED = RunFinished(stats=RunStats(status="timeout", output="half of it", error="time is up"), by="runtime")


class Store:
    """No artifact is opened here."""

    def put(self, content: bytes) -> str:
        raise AssertionError("a courier stores nothing")

    def get(self, sha256: str) -> bytes:
        raise AssertionError("a courier opens nothing")


class Receiver:
    """A `Delivery` that does one thing after the other with the parcels it gets, the last one for ever."""

    def __init__(self, *moves: Callable[[Parcel], Any]) -> None:
        self.moves = list(moves) or [lambda parcel: "got it"]
        self.parcels: list[Parcel] = []
        self.lock = threading.Lock()

    def deliver(self, parcel: Parcel, artifacts: Any) -> Any:
        with self.lock:
            self.parcels.append(parcel)
            move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        return move(parcel)


class AsyncReceiver(Receiver):
    """The same on the loop."""

    async def deliver(self, parcel: Parcel, artifacts: Any) -> Any:
        self.parcels.append(parcel)
        move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        answer = move(parcel)
        return await answer if hasattr(answer, "__await__") else answer


def raising(error: BaseException) -> Callable[[Parcel], Any]:
    def move(parcel: Parcel) -> Any:
        raise error

    return move


DOWN = raising(ConnectionError("down"))


def take(parcel: Parcel) -> str:
    return "taken"


class Host:
    """What a runtime has around its courier."""

    def __init__(self, journal: Any, delivery: Delivery, terms: DeliveryTerms = SOON) -> None:
        self.journal = journal
        clock, ids = SystemClock(), SystemIds()
        self.scheduler = Dispatcher(clock)
        self.calls = CallRunner(journal, self.scheduler, ids, lambda name: None, 2)  # type: ignore[arg-type]
        around = Surroundings(journal, self.calls, self.scheduler, clock, ids, lambda report: None)
        self.courier = Courier(around, delivery, Store(), terms)
        self.courier.start()

    @property
    def actor(self) -> courier_module.CourierActor:
        return self.courier._actor

    def close(self) -> None:
        self.calls.stop_taking()
        self.courier.close()
        self.calls.close(2.0)
        self.scheduler.close(2.0)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "runs.db")
    yield made
    made.close()


@pytest.fixture
def host(journal: Any) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def open_host(delivery: Delivery, terms: DeliveryTerms = SOON, around: Any = None) -> Host:
        hosts.append(Host(journal if around is None else around, delivery, terms))
        return hosts[-1]

    yield open_host
    for one in hosts:
        one.close()


def started(run_id: str, deliver: bool = True) -> RunStarted:
    return RunStarted(
        info=RunInfo(run_id=run_id, name="test", caller_id="alice", channel_id="c1"),
        agent=AgentPrint(name="tester", model="scripted"),
        limits=Limits(),
        input=(Text("go"),),
        deliver=deliver,
    )


def begun(journal: Any, deliver: bool = True) -> RunLog:
    run = RunLog(journal)
    run.write(started(run.run_id, deliver), PICTURE)
    return run


def over(journal: Any, deliver: bool = True, *after: Fact) -> RunLog:
    run = begun(journal, deliver)
    run.write(FINISHED, *after)
    return run


def wait_until(journal: Any, run_id: str, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """The run's events as soon as they are enough."""
    events: list[Event] = []
    with Subscription(journal, run_id=run_id, notes=True) as subscription:
        while not enough(events):
            events += subscription.take(PATIENCE_S)
    return events


def settled(journal: Any, run_id: str) -> list[Event]:
    """The run's delivery events, once the output is delivered or given up."""

    def done(events: list[Event]) -> bool:
        last = events[-1].fact if events else None
        return isinstance(last, Delivered) or (isinstance(last, DeliveryFailed) and last.retry_at_us is None)

    return news(wait_until(journal, run_id, done))


def after(journal: Any, run_id: str, count: int) -> list[Event]:
    """The run's delivery events, once there are so many."""
    return news(wait_until(journal, run_id, lambda events: len(news(events)) >= count))


def news(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.tag in NEWS]


def facts(events: Sequence[Event]) -> list[Fact]:
    return [event.fact for event in events]


def short(events: Sequence[Event]) -> list[tuple[str, int]]:
    """(tag, attempt) of delivery events."""
    return [(event.tag, event.fact.attempt) for event in events]  # type: ignore[union-attr]


def why(future: Future[int]) -> str:
    with pytest.raises(MessageRefused) as refused:
        future.result(PATIENCE_S)
    return refused.value.why


# ------------------------------------------------------------------ the plain course


def test_what_a_run_leaves_is_delivered_once_and_written_down(journal: Any, host: Callable[..., Host]) -> None:
    receiver = Receiver(take)
    host(receiver)
    run = begun(journal)
    run.write(FINISHED)
    log = settled(journal, run.run_id)
    key = f"{run.run_id}:delivery"
    assert facts(log) == [DeliveryAttempted(attempt=1, key=key), Delivered(attempt=1, receipt="taken")]
    (parcel,) = receiver.parcels
    assert (parcel.key, parcel.attempt, parcel.artifacts) == (key, 1, (PICTURE,))
    assert (parcel.status, parcel.output, parcel.error) == ("timeout", "half of it", "time is up")
    assert (parcel.info.run_id, parcel.info.channel_id, parcel.stats) == (run.run_id, "c1", FINISHED.stats)
    assert len(journal.read(run.run_id, verify=True)) == 5


def test_the_attempt_is_durable_before_the_parcel_is_touched(journal: Any, host: Callable[..., Host]) -> None:
    seen: list[list[str]] = []
    host(Receiver(lambda parcel: seen.append([event.tag for event in journal.read(parcel.info.run_id)])))
    run = over(journal)
    settled(journal, run.run_id)
    assert seen[0][-1] == "delivery-attempted"


def test_a_run_that_is_not_to_be_delivered_is_left_alone(journal: Any, host: Callable[..., Host]) -> None:
    earlier = over(journal, deliver=False)
    receiver = Receiver(take)
    one = host(receiver)
    plain, wanted = over(journal, deliver=False), over(journal)
    settled(journal, wanted.run_id)
    assert [parcel.info.run_id for parcel in receiver.parcels] == [wanted.run_id]
    for run in (earlier, plain):
        assert journal.run(run.run_id).version == 3
    assert len(one.actor.outbox) <= 1  # the news of the last fact may still be on its way


def test_an_async_delivery_may_say_nothing(journal: Any, host: Callable[..., Host]) -> None:
    host(AsyncReceiver(lambda parcel: None))
    assert facts(settled(journal, over(journal).run_id))[-1] == Delivered(attempt=1)


def test_a_plain_function_may_return_an_awaitable(journal: Any, host: Callable[..., Host]) -> None:
    async def later(parcel: Parcel) -> str:
        return "awaited"

    host(Receiver(later))
    assert facts(settled(journal, over(journal).run_id))[-1] == Delivered(attempt=1, receipt="awaited")


def test_what_a_delivery_says_is_cut_and_cleaned(journal: Any, host: Callable[..., Host]) -> None:
    host(Receiver(lambda parcel: "\ud800" + "x" * 100_000))
    last = settled(journal, over(journal).run_id)[-1].fact
    assert isinstance(last, Delivered)
    assert len(last.receipt) < 5000


# ------------------------------------------------------------------ failures


@pytest.mark.parametrize("kind", [Receiver, AsyncReceiver])
def test_a_failure_is_tried_again_with_the_same_key_and_the_run_ends_as_it_ended(
    journal: Any, host: Callable[..., Host], kind: type[Receiver]
) -> None:
    receiver = kind(DOWN, DOWN, DOWN, take)
    host(receiver)
    run = over(journal)
    before = journal.load(run.run_id).state
    log = settled(journal, run.run_id)
    assert short(log) == [
        (tag, attempt)
        for attempt in (1, 2, 3, 4)
        for tag in ("delivery-attempted", "delivered" if attempt == 4 else "delivery-failed")
    ]
    assert {parcel.key for parcel in receiver.parcels} == {f"{run.run_id}:delivery"}
    assert [parcel.attempt for parcel in receiver.parcels] == [1, 2, 3, 4]
    failed = log[1].fact
    assert isinstance(failed, DeliveryFailed)
    assert failed.error == "ConnectionError: down"
    assert failed.retry_at_us is not None
    state = journal.load(run.run_id).state
    assert state == before
    assert state.status == "timeout"


def test_after_so_many_attempts_it_is_a_dead_letter(
    journal: Any, host: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(DOWN)
    host(receiver, DeliveryTerms(first_s=0.001, last_s=0.001, attempts=3))
    log = settled(journal, over(journal).run_id)
    assert len(receiver.parcels) == 3
    assert log[-1].fact == DeliveryFailed(attempt=3, error="ConnectionError: down")
    assert all(event.fact.retry_at_us is not None for event in log[1:-1:2])  # type: ignore[union-attr]


def test_a_refusal_is_final(journal: Any, host: Callable[..., Host]) -> None:
    receiver = Receiver(raising(DeliveryRefused("no such channel")))
    host(receiver)
    log = settled(journal, over(journal).run_id)
    assert facts(log)[1:] == [DeliveryFailed(attempt=1, error="no such channel")]
    assert len(receiver.parcels) == 1


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even that")

    @property
    def retry_after_s(self) -> float:
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [Receiver, AsyncReceiver])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unspeakable()])
def test_whatever_a_delivery_raises_is_its_own_failure(
    journal: Any, host: Callable[..., Host], kind: type[Receiver], error: BaseException
) -> None:
    host(kind(raising(error), take), DeliveryTerms(first_s=0.001, last_s=0.001, timeout_s=5.0))
    first, second = over(journal), over(journal)
    logs = [settled(journal, run.run_id) for run in (first, second)]
    assert sorted(len(log) for log in logs) == [2, 4]
    assert all(log[-1].tag == "delivered" for log in logs)


def test_a_delivery_that_hangs_on_a_thread_is_given_up_and_tried_again(journal: Any, host: Callable[..., Host]) -> None:
    gate = Gate()
    host(Receiver(lambda parcel: gate.pass_through(), take), DeliveryTerms(first_s=0.001, last_s=0.001, timeout_s=0.05))
    log = settled(journal, over(journal).run_id)
    gate.open()
    assert short(log)[1:] == [("delivery-failed", 1), ("delivery-attempted", 2), ("delivered", 2)]
    assert "no answer within 0.05 s" in log[1].fact.error  # type: ignore[union-attr]


def test_a_delivery_that_hangs_on_the_loop_is_cancelled_and_tried_again(
    journal: Any, host: Callable[..., Host]
) -> None:
    gate = AsyncGate()
    terms = DeliveryTerms(first_s=0.001, last_s=0.001, timeout_s=0.05)
    host(AsyncReceiver(lambda parcel: gate.pass_through(), take), terms)
    log = settled(journal, over(journal).run_id)
    assert gate.cancelled.wait(PATIENCE_S)
    assert short(log)[1:] == [("delivery-failed", 1), ("delivery-attempted", 2), ("delivered", 2)]


def test_a_slow_parcel_does_not_hold_up_the_others(journal: Any, host: Callable[..., Host]) -> None:
    gate = Gate()
    slow = over(journal)

    def move(parcel: Parcel) -> str:
        if parcel.info.run_id == slow.run_id:
            gate.pass_through()
        return "taken"

    host(Receiver(move))
    gate.wait_entered()
    for _ in range(20):
        settled(journal, over(journal).run_id)
    gate.open()
    assert short(settled(journal, slow.run_id)) == [("delivery-attempted", 1), ("delivered", 1)]


def test_only_so_many_parcels_are_handed_over_at_once(journal: Any, host: Callable[..., Host]) -> None:
    now = most = 0
    lock = threading.Lock()
    both = threading.Barrier(2)

    def move(parcel: Parcel) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait(PATIENCE_S)  # the two that are allowed are really there together
        with lock:
            now -= 1
        return "taken"

    runs = [over(journal) for _ in range(6)]
    host(Receiver(move), DeliveryTerms(at_once=2))
    for run in runs:
        settled(journal, run.run_id)
    assert most == 2


def test_a_receiver_that_names_a_time_is_left_alone_that_long(journal: Any, host: Callable[..., Host]) -> None:
    class Busy(Exception):
        retry_after_s = 500.0

    one = host(Receiver(raising(Busy())), SOON)
    event = after(journal, over(journal).run_id, 2)[-1]
    assert isinstance(event.fact, DeliveryFailed)
    assert event.fact.retry_at_us is not None
    assert event.fact.retry_at_us - event.at_us > 499e6
    assert len(one.actor.errands) == 1


def test_pauses_double_with_jitter_up_to_the_last_and_give_way_to_a_longer_wish() -> None:
    terms = DeliveryTerms(first_s=1.0, last_s=3600.0)
    assert [terms.pause_s(tries, 1.0, None) for tries in (1, 2, 3, 12, 13, 5000)] == [1, 2, 4, 2048, 3600, 3600]
    assert terms.pause_s(3, 0.0, None) == 2.0
    assert terms.pause_s(1, 0.5, 60.0) == 60.0
    assert terms.pause_s(12, 0.5, 60.0) == 1536.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": True},
        {"at_once": 33},
        {"timeout_s": 0},
        {"first_s": float("nan")},
        {"last_s": float("inf")},
        {"first_s": 10.0, "last_s": 1.0},
    ],
)
def test_terms_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="DeliveryTerms"):
        DeliveryTerms(**wrong)


# ------------------------------------------------------------------ restarts and crashes


class Crash(Exception):
    """The host is gone."""


class DyingJournal:
    """The journal of a host that dies at its append number `at` of a delivery fact: before it is stored, or after it
    is stored and before anybody hears of it. From then on nothing the host does reaches the disk.
    """

    def __init__(self, journal: Any, at: int, stored: bool) -> None:
        self._journal, self._at, self._stored = journal, at, stored
        self.dead = threading.Event()

    def append(self, append: Append) -> None:
        self._at -= 1
        if self._at > 0:
            self._journal.append(append)
        elif self._at == 0 and self._stored:
            self._journal.append(Unheard(append, self.dead))
        else:
            self.dead.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class Unheard:
    """An append whose sender will not hear of it."""

    def __init__(self, append: Append, dead: threading.Event) -> None:
        self.run_id, self.expected = append.run_id, append.expected
        self.stored, self.request_key = append.stored, append.request_key
        self._dead = dead

    def done(self, error: Any) -> None:
        assert error is None
        self._dead.set()


@pytest.mark.parametrize(
    ("moves", "at", "stored", "attempts", "handed"),
    [
        ((take,), 1, False, [1], [1]),  # the attempt was never stored: it never happened
        ((take,), 1, True, [1, 2], [2]),  # stored, and the parcel never touched
        ((take,), 2, False, [1, 2], [1, 2]),  # delivered, and nobody knows: once more, with the same key
        ((take,), 2, True, [1], [1]),  # delivered, and known
        ((DOWN, take), 2, False, [1, 2], [1, 2]),
        ((DOWN, take), 2, True, [1, 2], [1, 2]),
        ((DOWN, take), 3, False, [1, 2], [1, 2]),
        ((DOWN, take), 3, True, [1, 2, 3], [1, 3]),
        ((DOWN, take), 4, False, [1, 2, 3], [1, 2, 3]),
        ((DOWN, take), 4, True, [1, 2], [1, 2]),
    ],
)
def test_a_crash_at_any_point_loses_nothing_and_keeps_the_key(
    tmp_path: Path,
    moves: tuple[Callable[[Parcel], Any], ...],
    at: int,
    stored: bool,
    attempts: list[int],
    handed: list[int],
) -> None:
    receiver = Receiver(*moves)
    first = SqliteJournal(tmp_path / "runs.db")
    run = over(first)
    dying = DyingJournal(first, at, stored)
    host = Host(dying, receiver)
    assert dying.dead.wait(PATIENCE_S)
    host.close()
    first.close()
    second = SqliteJournal(tmp_path / "runs.db")
    host = Host(second, receiver)
    log = settled(second, run.run_id)
    host.close()
    assert [event.fact.attempt for event in log if isinstance(event.fact, DeliveryAttempted)] == attempts
    assert [event.tag for event in log].count("delivered") == 1
    assert [parcel.attempt for parcel in receiver.parcels] == handed
    assert {parcel.key for parcel in receiver.parcels} == {f"{run.run_id}:delivery"}
    assert second.load(run.run_id).state.status == "timeout"
    second.read(run.run_id, verify=True)
    second.close()


def test_a_close_in_the_middle_of_a_delivery_leaves_it_to_the_next_host(tmp_path: Path) -> None:
    gate = AsyncGate()
    receiver = AsyncReceiver(lambda parcel: gate.pass_through(), take)
    first = SqliteJournal(tmp_path / "runs.db")
    run = over(first)
    host = Host(first, receiver)
    gate.wait_entered()
    host.close()
    assert gate.cancelled.wait(PATIENCE_S)
    assert short(news(first.read(run.run_id))) == [("delivery-attempted", 1)]
    first.close()
    second = SqliteJournal(tmp_path / "runs.db")
    host = Host(second, receiver)
    assert short(settled(second, run.run_id))[1:] == [("delivery-attempted", 2), ("delivered", 2)]
    host.close()
    second.close()


def test_a_delivery_that_ends_well_while_the_host_closes_is_written_down(
    journal: Any, host: Callable[..., Host]
) -> None:
    gate = Gate()
    one = host(Receiver(lambda parcel: gate.pass_through()))
    run = over(journal)
    gate.wait_entered()
    one.courier.close()
    gate.open()
    assert settled(journal, run.run_id)[-1].tag == "delivered"


def test_a_delivery_that_fails_while_the_host_closes_has_no_outcome(journal: Any, host: Callable[..., Host]) -> None:
    gate = AsyncGate()

    async def move(parcel: Parcel) -> None:
        await gate.pass_through()
        raise ConnectionError("because of the close")

    async def a_few_turns() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    one = host(AsyncReceiver(move))
    run = over(journal)
    gate.wait_entered()
    one.calls.stop_taking()
    gate.open()
    asyncio.run_coroutine_threadsafe(a_few_turns(), one.calls._loop.loop).result(PATIENCE_S)
    one.close()
    assert short(news(journal.read(run.run_id))) == [("delivery-attempted", 1)]


def test_what_nobody_delivered_is_delivered_by_the_next_host_in_spite_of_many_pages(
    journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "PAGE_EVENTS", 3)
    key = "k"
    owed = [
        over(journal),
        over(journal, True, DeliveryAttempted(attempt=1, key=key)),
        over(
            journal,
            True,
            note(),
            DeliveryAttempted(attempt=1, key=key),
            DeliveryFailed(attempt=1, error="x", retry_at_us=1),
        ),
    ]
    done = [
        over(journal, True, DeliveryAttempted(attempt=1, key=key), Delivered(attempt=1)),
        over(journal, True, DeliveryAttempted(attempt=1, key=key), DeliveryFailed(attempt=1, error="never")),
        over(journal, False),
    ]
    unfinished = begun(journal)
    standing = [journal.run(run.run_id).version for run in done]
    receiver = Receiver(take)
    host(receiver)
    for run in owed:
        settled(journal, run.run_id)
    unfinished.write(FINISHED)
    settled(journal, unfinished.run_id)
    assert {parcel.info.run_id for parcel in receiver.parcels} == {run.run_id for run in (*owed, unfinished)}
    assert [journal.run(run.run_id).version for run in done] == standing


def test_a_run_that_ends_while_the_journal_is_still_read_is_not_missed(
    journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "PAGE_EVENTS", 2)
    begun(journal)
    late = RunLog(journal)
    late.write(started(late.run_id))
    left = [FINISHED]

    class Busy:
        """A run that is in the last page, as started, ends before that page is noted."""

        def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
            page: list[Event] = journal.scan(after, limit)
            if len(page) < limit and left:
                late.write(left.pop())
            return page

        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

    host(Receiver(take), SOON, Busy())
    assert settled(journal, late.run_id)[-1].tag == "delivered"


def aside(journal: BesideJournal) -> RunLog:
    """A run that is kept in memory, with a delivery."""
    run = RunLog(journal)
    journal.keep_aside(run.run_id, recorded=True)
    run.write(started(run.run_id), PICTURE)
    return run


def test_runs_in_memory_beside_the_journal_are_delivered_like_the_others(
    journal: Any, host: Callable[..., Host]
) -> None:
    begun(journal).write(*(note(number) for number in range(50)))
    both = BesideJournal(journal)
    receiver = Receiver(DOWN, DOWN, take)
    host(receiver, SOON, both)
    settled(both, over(both).run_id)
    runs = [aside(both), begun(both), aside(both), begun(both)]
    for run in runs:
        run.write(FINISHED)
    for run in runs:
        assert settled(both, run.run_id)[-1].tag == "delivered"
    assert journal.run(runs[0].run_id) is None


def test_a_run_in_memory_that_ends_while_the_journal_is_still_read_is_not_missed(
    journal: Any, host: Callable[..., Host]
) -> None:
    gate = Gate()

    class Slow(BesideJournal):
        def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
            gate.pass_through()
            return super().scan(after, limit)

    both = Slow(journal)
    one = host(Receiver(take), SOON, both)
    gate.wait_entered()
    run = aside(both)
    run.write(FINISHED)
    order = one.courier.redeliver("00000000-0000-7000-8000-000000000009")
    with pytest.raises(UnknownRun):  # answered after all that was told before
        order.result(PATIENCE_S)
    gate.open()
    assert settled(both, run.run_id)[-1].tag == "delivered"


def test_a_pause_goes_on_after_a_restart(journal: Any, host: Callable[..., Host]) -> None:
    first = host(Receiver(DOWN), LATER)
    run = over(journal)
    after(journal, run.run_id, 2)
    first.close()
    later = over(journal)
    second = host(Receiver(take), LATER)
    settled(journal, later.run_id)  # both were found in the journal at the same time
    assert len(news(journal.read(run.run_id))) == 2
    assert second.actor.errands[run.run_id].at == "waiting"


def test_a_parcel_that_ends_its_host_again_and_again_is_given_up(journal: Any, host: Callable[..., Host]) -> None:
    run = over(journal, True, *(DeliveryAttempted(attempt=number, key="k") for number in (1, 2, 3)))
    receiver = Receiver(take)
    host(receiver, DeliveryTerms(attempts=3))
    last = settled(journal, run.run_id)[-1].fact
    assert isinstance(last, DeliveryFailed)
    assert "given up after 3 attempts; how the last one ended is not known" in last.error
    assert receiver.parcels == []


# ------------------------------------------------------------------ the journal in between


def write_note(journal: Any, run_id: str) -> None:
    """Queue a note of the host. Nobody waits for it: the thread that calls may be the one that stores it."""
    last = journal.read(run_id)[-1]
    run = RunLog(journal, run_id)
    run.version, run.hash = last.version, last.hash
    run.send(note())


class Interrupted:
    """A journal in which the host's note is always faster than the first append of each delivery fact."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self._seen: set[tuple[str, int]] = set()

    def append(self, append: Append) -> None:
        event = append.stored[0].event
        if (event.tag, event.fact.attempt) not in self._seen:  # type: ignore[union-attr]
            self._seen.add((event.tag, event.fact.attempt))  # type: ignore[union-attr]
            write_note(self._journal, append.run_id)
        self._journal.append(append)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_a_note_of_the_host_in_between_costs_a_second_look_and_nothing_else(
    journal: Any, host: Callable[..., Host]
) -> None:
    receiver = Receiver(DOWN, take)
    host(receiver, SOON, Interrupted(journal))
    run = over(journal)
    settled(journal, run.run_id)
    tags = [event.tag for event in journal.read(run.run_id, after=3, verify=True)]
    news_and_notes = ["delivery-attempted", "delivery-failed", "delivery-attempted", "delivered"]
    assert tags == [tag for one in news_and_notes for tag in ("note-logged", one)]
    assert [parcel.attempt for parcel in receiver.parcels] == [1, 2]


class Failing:
    """A journal that is unavailable at every second append. stored: although it says so, it has stored it."""

    def __init__(self, journal: Any, how: str) -> None:
        self._journal, self._how = journal, how
        self._count = 0

    def append(self, append: Append) -> None:
        self._count += 1
        if self._count % 2 == 0:
            self._journal.append(append)
        elif self._how == "raises":
            raise JournalUnavailable("disk full")
        elif self._how == "says so":
            append.done(JournalUnavailable("disk full"))
        else:
            self._count += 1
            self._journal.append(Belied(append))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class Belied:
    """An append that was stored, of which its sender hears that it may not have been."""

    def __init__(self, append: Append) -> None:
        self.run_id, self.expected = append.run_id, append.expected
        self.stored, self.request_key = append.stored, append.request_key
        self._append = append

    def done(self, error: Any) -> None:
        assert error is None
        self._append.done(JournalUnavailable("nobody knows"))


@pytest.mark.parametrize("how", ["raises", "says so", "stored"])
def test_a_journal_that_is_away_for_a_moment_doubles_and_loses_no_fact(
    journal: Any, host: Callable[..., Host], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "FIRST_PAUSE_S", 0.001)
    receiver = Receiver(DOWN, take)
    host(receiver, SOON, Failing(journal, how))
    log = settled(journal, over(journal).run_id)
    assert short(log) == [
        ("delivery-attempted", 1),
        ("delivery-failed", 1),
        ("delivery-attempted", 2),
        ("delivered", 2),
    ]
    assert [parcel.attempt for parcel in receiver.parcels] == [1, 2]


def test_a_journal_that_cannot_be_read_at_first_is_read_again(
    journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "FIRST_PAUSE_S", 0.001)
    fails = {"scan": 2, "read": 2}

    class Away:
        def scan(self, *arguments: Any) -> list[Event]:
            return self.try_to("scan", *arguments)

        def read(self, *arguments: Any, **options: Any) -> list[Event]:
            return self.try_to("read", *arguments, **options)

        def try_to(self, name: str, *arguments: Any, **options: Any) -> list[Event]:
            fails[name] -= 1
            if fails[name] >= 0:
                raise JournalUnavailable("I/O error")
            found: list[Event] = getattr(journal, name)(*arguments, **options)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

    run = over(journal)
    host(Receiver(take), SOON, Away())
    assert short(settled(journal, run.run_id)) == [("delivery-attempted", 1), ("delivered", 1)]
    assert max(fails.values()) < 0


def test_a_log_of_a_newer_version_is_left_alone_and_the_others_are_delivered(
    journal: Any, host: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    newer = begun(journal)
    newer.write(Opaque(tag="run-teleported", schema=1, payload=b"\x80"), FINISHED)
    one = host(Receiver(take))
    settled(journal, over(journal).run_id)
    with pytest.raises(UnknownFact):
        one.courier.redeliver(newer.run_id).result(PATIENCE_S)
    assert news(journal.read(newer.run_id)) == []


def test_a_run_that_memory_forgot_is_forgotten_here_too() -> None:
    journal = MemoryJournal(keep_finished=0)
    host = Host(journal, Receiver(take))
    run = over(journal)
    with pytest.raises(UnknownRun):
        host.courier.redeliver(run.run_id).result(PATIENCE_S)
    kept: Future[int] = Future()  # by way of the actor, after all that it was told before
    host.actor.tell(courier_module.Redeliver("00000000-0000-7000-8000-000000000009", kept))
    with pytest.raises(UnknownRun):
        kept.result(PATIENCE_S)
    assert len(host.actor.outbox) == 0
    assert host.actor.errands == {}
    host.close()


def test_a_parcel_that_memory_forgot_while_it_was_handed_over_is_let_go() -> None:
    journal = MemoryJournal(keep_finished=1)
    gate = Gate()
    host = Host(journal, Receiver(lambda parcel: gate.pass_through(), take), DeliveryTerms(at_once=1))
    first = over(journal)
    gate.wait_entered()
    second = over(journal)
    assert journal.run(first.run_id) is None
    gate.open()
    settled(journal, second.run_id)
    assert host.actor.outbox.get(first.run_id) is None
    assert first.run_id not in host.actor.errands
    host.close()


def test_a_long_log_is_read_in_pages(journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel_module, "PAGE", 2)
    receiver = Receiver(take)
    host(receiver)
    run = begun(journal)
    run.write(*(note(number) for number in range(7)), PICTURE)
    run.write(FINISHED)
    settled(journal, run.run_id)
    assert receiver.parcels[0].artifacts == (PICTURE, PICTURE)


def test_the_courier_is_told_nothing_of_runs_that_are_not_to_be_delivered(
    journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    follow = courier_module.CourierActor.follow

    def listen(self: courier_module.CourierActor, events: Sequence[Event]) -> None:
        told.extend(events)
        follow(self, events)

    monkeypatch.setattr(courier_module.CourierActor, "follow", listen)
    host(Receiver(take))
    plain = begun(journal, deliver=False)
    plain.write(note(), note())
    settled(journal, over(journal).run_id)
    assert told
    assert all(event.run_id != plain.run_id for event in told)


def test_a_mistake_of_ours_with_one_parcel_leaves_the_others_alone(
    journal: Any, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    bad = begun(journal)
    begin = courier_module.CourierActor.begin

    def stumble(self: courier_module.CourierActor, errand: Any) -> None:
        if errand.run_id == bad.run_id:
            raise SystemExit("a mistake")
        begin(self, errand)

    monkeypatch.setattr(courier_module.CourierActor, "begin", stumble)
    one = host(Receiver(take), DeliveryTerms(at_once=1))
    with pytest.raises(RuntimeError, match="the courier failed"):
        one.courier.redeliver(bad.run_id).result(PATIENCE_S)
    bad.write(FINISHED)
    for _ in range(3):
        settled(journal, over(journal).run_id)


# ------------------------------------------------------------------ delivering anew


def test_a_dead_letter_is_delivered_anew_on_order_and_attempts_go_on_counting(
    journal: Any, host: Callable[..., Host]
) -> None:
    receiver = Receiver(raising(DeliveryRefused("closed on Sundays")), DOWN, take)
    one = host(receiver, DeliveryTerms(attempts=2, first_s=0.001, last_s=0.001))
    run = over(journal)
    settled(journal, run.run_id)
    version = one.courier.redeliver(run.run_id).result(PATIENCE_S)
    assert journal.read(run.run_id)[version - 1].fact == DeliveryAttempted(attempt=2, key=f"{run.run_id}:delivery")
    log = after(journal, run.run_id, 6)
    assert short(log)[2:] == [
        ("delivery-attempted", 2),
        ("delivery-failed", 2),
        ("delivery-attempted", 3),  # a new round: two attempts more
        ("delivered", 3),
    ]
    assert (log[2].cause, log[4].cause) == ("Redeliver", "")
    assert {parcel.key for parcel in receiver.parcels} == {f"{run.run_id}:delivery"}


def test_an_order_does_not_wait_for_the_pause(journal: Any, host: Callable[..., Host]) -> None:
    one = host(Receiver(DOWN, take), LATER)
    run = over(journal)
    after(journal, run.run_id, 2)
    one.courier.redeliver(run.run_id).result(PATIENCE_S)
    assert short(settled(journal, run.run_id))[2:] == [("delivery-attempted", 2), ("delivered", 2)]


def test_an_order_for_a_parcel_under_way_is_answered_with_that_attempt(journal: Any, host: Callable[..., Host]) -> None:
    gate = Gate()
    receiver = Receiver(lambda parcel: gate.pass_through())
    one = host(receiver)
    run = over(journal)
    gate.wait_entered()
    assert one.courier.redeliver(run.run_id).result(PATIENCE_S) == 4
    gate.open()
    settled(journal, run.run_id)
    assert len(receiver.parcels) == 1


class Ordering:
    """A journal at which a host orders a delivery just when its failure is being written down."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self.order: Callable[[str], None] = lambda run_id: None

    def append(self, append: Append) -> None:
        if append.stored[0].event.tag == "delivery-failed":
            self.order(append.run_id)
        self._journal.append(append)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_an_order_that_comes_while_a_failure_is_written_down_is_carried_out(
    journal: Any, host: Callable[..., Host]
) -> None:
    ordering = Ordering(journal)
    answers: list[Future[int]] = []
    one = host(Receiver(DOWN, raising(DeliveryRefused("no")), take), LATER, ordering)
    ordering.order = lambda run_id: answers.append(one.courier.redeliver(run_id))
    run = over(journal)
    log = wait_until(journal, run.run_id, lambda events: bool(events) and events[-1].tag == "delivered")
    assert [event.version for event in log if event.cause == "Redeliver"] == [
        answer.result(PATIENCE_S) for answer in answers
    ]
    assert short(news(log))[-2:] == [("delivery-attempted", 3), ("delivered", 3)]


def test_an_order_says_why_there_is_nothing_to_deliver(journal: Any, host: Callable[..., Host]) -> None:
    one = host(Receiver(take))
    delivered, going_on, not_wanted = over(journal), begun(journal), over(journal, deliver=False)
    settled(journal, delivered.run_id)
    assert why(one.courier.redeliver(delivered.run_id)) == "it is delivered"
    assert why(one.courier.redeliver(going_on.run_id)) == "it is not over"
    assert why(one.courier.redeliver(not_wanted.run_id)) == "it was not started with a delivery"
    with pytest.raises(UnknownRun):
        one.courier.redeliver("00000000-0000-7000-8000-000000000009").result(PATIENCE_S)
    assert len(journal.read(delivered.run_id)) == 5
    going_on.write(FINISHED)
    assert settled(journal, going_on.run_id)[-1].tag == "delivered"


def test_a_closed_courier_says_so_and_begins_nothing(journal: Any, host: Callable[..., Host]) -> None:
    receiver = Receiver(DOWN, take)
    one = host(receiver, LATER)
    run = over(journal)
    after(journal, run.run_id, 2)
    one.courier.close()
    with pytest.raises(RuntimeClosed):
        one.courier.redeliver(run.run_id).result(PATIENCE_S)
    later = over(journal)
    assert news(journal.read(later.run_id)) == []
    assert len(receiver.parcels) == 1
