"""The pool of threads for code that blocks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from executus.actors.threads import ThreadPool

PATIENCE_S = 30.0


class Outcome:
    def __init__(self) -> None:
        self.told = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, result: Any, error: BaseException | None) -> None:
        self.result, self.error = result, error
        self.told.set()

    def wait(self) -> Outcome:
        assert self.told.wait(PATIENCE_S)
        return self


def a_pool_with_one_idle_thread(limit: int = 8) -> ThreadPool:
    pool = ThreadPool("test", limit)
    first = Outcome()
    pool.submit(lambda: 1, first)
    first.wait()
    return pool


def test_jobs_of_a_burst_run_at_the_same_time_though_one_thread_is_idle() -> None:
    pool = a_pool_with_one_idle_thread()
    meeting = threading.Barrier(3)
    outcomes = [Outcome() for _ in range(3)]
    for outcome in outcomes:
        pool.submit(lambda: meeting.wait(PATIENCE_S), outcome)
    assert [outcome.wait().error for outcome in outcomes] == [None] * 3
    pool.close()


def test_a_job_may_wait_for_another_job() -> None:
    pool = a_pool_with_one_idle_thread()

    def outer() -> int:
        inner = Outcome()
        pool.submit(lambda: 42, inner)
        return inner.wait().result

    outcome = Outcome()
    pool.submit(outer, outcome)
    assert outcome.wait().result == 42
    pool.close()


def test_without_any_thread_to_be_had_the_job_is_told_and_the_pool_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool("test", 2)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            outcome = Outcome()
            pool.submit(lambda: 1, outcome)
            assert isinstance(outcome.wait().error, RuntimeError)
    after = Outcome()
    pool.submit(lambda: 7, after)
    assert after.wait().result == 7
    pool.close()


def test_no_more_threads_work_than_the_limit() -> None:
    pool = ThreadPool("test", 2)
    at_work, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        both.wait(PATIENCE_S)  # needs a second one; a third would leave somebody waiting
        with lock:
            at_work -= 1

    outcomes = [Outcome() for _ in range(6)]
    for outcome in outcomes:
        pool.submit(work, outcome)
    assert [outcome.wait().error for outcome in outcomes] == [None] * 6
    assert most == 2
    pool.close()


def test_a_hung_job_that_is_given_up_is_replaced_by_another_thread() -> None:
    pool = ThreadPool("test", 1)
    let_go, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        let_go.wait(PATIENCE_S)

    ignored = Outcome()
    job = pool.submit(hang, ignored)
    assert begun.wait(PATIENCE_S)
    waiting = Outcome()
    pool.submit(lambda: 1, waiting)
    job.cancel()
    assert waiting.wait().result == 1
    assert pool.hung == 1
    let_go.set()
    assert not ignored.told.is_set()
    pool.close()
