"""Following the log: nothing lost, nothing told twice, and nobody ever waits for a follower (P10)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_support import PATIENCE_S, RunLog, a_run, finished, note

from executus.errors import UnknownRun
from executus.events import Event
from executus.journal import MemoryJournal, Router, SqliteJournal, Subscription, open_journal

AnyJournal = MemoryJournal | SqliteJournal


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyJournal]:
    opened = open_journal(None if request.param == "memory" else tmp_path / "runs.db")
    yield opened
    assert opened.close(PATIENCE_S)


def in_threads(works: list[object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    return threads


def writing(runs: list[RunLog], times: int) -> list[object]:
    def work(run: RunLog) -> None:
        run.start()
        for number in range(times):
            run.write(note(number), note(number))
        run.write(finished())

    return [lambda run=run: work(run) for run in runs]


@pytest.mark.parametrize("buffer", [1, 7, 1024])
def test_a_follower_of_everything_misses_nothing_while_many_write(journal: AnyJournal, buffer: int) -> None:
    early = a_run(journal, 10)
    runs = [RunLog(journal) for _ in range(6)]
    subscription = Subscription(journal, after=3, buffer=buffer, timeout=PATIENCE_S)
    threads = in_threads(writing(runs, 30))
    expected = 8 + 6 * 62
    seen = [next(subscription) for _ in range(expected)]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [event.position for event in seen] == list(range(4, 4 + expected))
    assert seen[:8] == early.events[3:]
    assert subscription.poll() == []


@pytest.mark.parametrize("buffer", [1, 1024])
def test_a_runs_follower_ends_with_the_run(journal: AnyJournal, buffer: int) -> None:
    runs = [RunLog(journal) for _ in range(4)]
    for run in runs:
        run.start()
    subscriptions = [Subscription(journal, run_id=run.run_id, buffer=buffer, timeout=PATIENCE_S) for run in runs]

    def work(run: RunLog) -> None:
        for number in range(40):
            run.write(note(number))
        run.write(finished())
        run.write(note(99))

    threads = in_threads([lambda run=run: work(run) for run in runs])
    for run, subscription in zip(runs, subscriptions, strict=True):
        assert list(subscription) == run.events[:42]
        assert subscription.ended
    for thread in threads:
        thread.join(PATIENCE_S)


def test_a_run_that_is_over_is_told_and_ends(journal: AnyJournal) -> None:
    run = a_run(journal, 3)
    run.write(finished())
    run.write(note(9))
    assert list(Subscription(journal, run_id=run.run_id, timeout=PATIENCE_S)) == run.events[:5]
    assert list(Subscription(journal, run_id=run.run_id, after=3, timeout=PATIENCE_S)) == run.events[3:5]
    assert list(Subscription(journal, run_id=run.run_id, after=5, timeout=PATIENCE_S)) == run.events[5:]
    assert list(Subscription(journal, run_id=run.run_id, after=6, timeout=PATIENCE_S)) == []


def test_notes_after_the_end_are_told_to_those_who_ask(journal: AnyJournal) -> None:
    run = a_run(journal)
    run.write(finished())
    with Subscription(journal, run_id=run.run_id, notes=True, timeout=PATIENCE_S) as subscription:
        assert [next(subscription), next(subscription)] == run.events
        run.write(note(1))
        assert next(subscription) == run.events[2]


def test_a_long_log_is_told_from_the_start(journal: AnyJournal) -> None:
    run = RunLog(journal).start()
    run.write(*(note(number) for number in range(1500)))
    run.write(finished())
    assert list(Subscription(journal, run_id=run.run_id, timeout=PATIENCE_S)) == run.events
    everything = Subscription(journal, timeout=PATIENCE_S)
    assert [next(everything) for _ in range(1502)] == run.events
    everything.close()


def test_what_is_pushed_while_it_is_read_is_told_once(journal: AnyJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(journal)
    subscription = Subscription(journal, timeout=PATIENCE_S)
    real = journal.scan

    def scan(after: int = 0, limit: int = 1000) -> list[Event]:
        run.write(note(1))
        run.write(note(2))  # the commit before it has been pushed by now
        return real(after, limit)

    monkeypatch.setattr(journal, "scan", scan)
    seen = [next(subscription) for _ in range(3)]
    run.write(note(3))
    seen.append(next(subscription))
    assert seen == run.events


def test_a_slow_follower_holds_a_bounded_buffer_and_loses_nothing(journal: AnyJournal) -> None:
    run = a_run(journal)
    subscription = Subscription(journal, run_id=run.run_id, buffer=10, timeout=PATIENCE_S)
    assert next(subscription) == run.events[0]
    most = 0
    for number in range(100):
        run.write(note(number))
        most = max(most, len(subscription._pushed))
    assert most <= 10
    run.write(finished())
    assert list(subscription) == run.events[1:]


def test_an_unknown_run_cannot_be_followed(journal: AnyJournal) -> None:
    with pytest.raises(UnknownRun):
        Subscription(journal, run_id="019a0000-0000-7000-8000-000000000000")


def test_waiting_ends_with_the_timeout_and_may_be_taken_up_again(journal: AnyJournal) -> None:
    run = a_run(journal)
    subscription = Subscription(journal, run_id=run.run_id, timeout=0.01)
    assert next(subscription) == run.events[0]
    with pytest.raises(TimeoutError):
        next(subscription)
    run.write(finished())
    assert subscription.take(PATIENCE_S) == run.events[1:]
    assert subscription.take(PATIENCE_S) == []


@pytest.mark.parametrize("how", ["subscription", "router", "journal"])
def test_closing_wakes_whoever_waits(journal: AnyJournal, how: str) -> None:
    run = a_run(journal)
    router = Router(journal)
    subscription = Subscription(journal, run_id=run.run_id, router=router)
    assert next(subscription) == run.events[0]
    ended = threading.Event()

    def wait() -> None:
        assert list(subscription) == []
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    {"subscription": subscription, "router": router, "journal": journal}[how].close()  # type: ignore[attr-defined]
    assert ended.wait(PATIENCE_S)
    thread.join(PATIENCE_S)


def test_a_subscription_to_a_closed_router_tells_what_is_stored_and_ends(journal: AnyJournal) -> None:
    run = a_run(journal, 4)
    router = Router(journal)
    router.close()
    assert list(Subscription(journal, router=router, timeout=PATIENCE_S)) == run.events


def test_a_batch_reaches_only_those_who_asked_for_its_runs(journal: AnyJournal) -> None:
    router = Router(journal)
    pushed: list[str] = []

    class Counting:
        def __init__(self, name: str) -> None:
            self.name = name

        def push(self, events: object) -> None:
            pushed.append(self.name)

        def journal_ended(self) -> None:
            pushed.append("end")

    for number in range(5000):
        router.add(f"run {number}", Counting(str(number)))
    run = RunLog(journal)
    router.add(run.run_id, Counting("mine"))
    run.start()
    RunLog(journal).start()  # told after the one before
    assert pushed == ["mine"]
    router.close()
    assert pushed.count("end") == 5001


def test_a_router_follows_only_while_somebody_subscribes(journal: AnyJournal) -> None:
    router = Router(journal)
    run = a_run(journal)
    assert not journal._followers
    with Subscription(journal, run_id=run.run_id, router=router):
        assert journal._followers
    assert not journal._followers


def test_a_forgotten_run_just_ends() -> None:
    journal = MemoryJournal(keep_finished=0)
    run = a_run(journal, 3)
    subscription = Subscription(journal, run_id=run.run_id, buffer=1, timeout=PATIENCE_S)
    assert next(subscription) == run.events[0]
    subscription._ready.clear()
    run.write(note(1), note(2), finished())
    assert list(subscription) == []
    journal.close()


# ------------------------------------------------------------------ on an event loop


def test_a_loop_follows_many_runs_at_once(journal: AnyJournal) -> None:
    runs = [RunLog(journal) for _ in range(20)]
    for run in runs:
        run.start()

    async def follow(run: RunLog) -> list[Event]:
        return [event async for event in Subscription(journal, run_id=run.run_id, buffer=5)]

    async def main() -> list[list[Event]]:
        following = [asyncio.ensure_future(follow(run)) for run in runs]

        def work(run: RunLog) -> None:
            for number in range(10):
                run.write(note(number))
            run.write(finished())

        await asyncio.gather(*(asyncio.to_thread(work, run) for run in runs))
        return await asyncio.gather(*following)

    seen = asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    assert seen == [run.events for run in runs]


def test_a_cancelled_wait_loses_nothing(journal: AnyJournal) -> None:
    run = a_run(journal, 3)

    async def main() -> list[Event]:
        subscription = Subscription(journal, run_id=run.run_id)
        seen: list[Event] = []
        for number in range(200):
            waiting = asyncio.ensure_future(anext(subscription))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            if not waiting.cancel():
                seen.append(await waiting)
                continue
            try:
                seen.append(await waiting)
            except asyncio.CancelledError:
                pass
            if number % 10 == 0:
                await asyncio.to_thread(run.write, note(number))
        await asyncio.to_thread(run.write, finished())
        seen += [event async for event in subscription]
        return seen

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE_S)) == run.events


def test_a_loops_wait_has_a_timeout_too(journal: AnyJournal) -> None:
    run = a_run(journal)

    async def main() -> None:
        async with Subscription(journal, run_id=run.run_id, timeout=1.0) as subscription:
            assert await anext(subscription) == run.events[0]
            with pytest.raises(TimeoutError):
                await anext(subscription)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))


def test_closing_wakes_a_loop_that_waits(journal: AnyJournal) -> None:
    a_run(journal)

    async def main() -> None:
        router = Router(journal)
        subscription = Subscription(journal, router=router)
        assert (await anext(subscription)).tag == "run-started"
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        await asyncio.to_thread(router.close)
        with pytest.raises(StopAsyncIteration):
            await waiting

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))


def test_a_loop_that_is_gone_does_not_hurt_the_journal(journal: AnyJournal) -> None:
    run = a_run(journal)
    subscription = Subscription(journal, run_id=run.run_id)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(anext(subscription)) == run.events[0]
    waiting = loop.create_task(anext(subscription))  # type: ignore[arg-type]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    run.write(note(1))
    run.write(note(2))
    assert subscription.take(PATIENCE_S) == run.events[1:]
    del waiting
