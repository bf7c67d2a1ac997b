"""A bounded pool of daemon threads for code that blocks; a job that hangs is given up together with its thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("executus.threads")


class Job:
    """A piece of blocking work. `done` is called once, with (result, None) or (None, error), unless it was given up."""

    __slots__ = ("_call", "_done", "_pool", "state")

    def __init__(
        self, pool: ThreadPool, call: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self._pool = pool
        self._call = call
        self._done = done
        self.state = "waiting"

    def cancel(self) -> None:
        """Give it up. One that runs cannot be stopped: its thread is left to itself, and the pool may start another."""
        self._pool.give_up(self)

    def run(self) -> None:
        """Do it."""
        try:
            result, error = self._call(), None
        except BaseException as raised:  # SystemExit from a tool is the tool's failure, not the thread's end
            result, error = None, raised
        if self._pool.finish(self):
            try:
                self._done(result, error)
            except Exception:
                log.exception("telling a job's result failed")


class ThreadPool:
    """At most `limit` threads at work, and at most `limit` more that hang in jobs given up; the rest waits in line.

    Daemons: a hung one never keeps the interpreter from exiting.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._line: deque[Job] = deque()
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._threads = self._idle = self._hung = 0
        self._closed = False

    def submit(self, call: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> Job:
        """Run `call` on a thread, then `done` there."""
        job = Job(self, call, done)
        with self._lock:
            if self._closed:
                job.state = "given up"
                return job
            self._line.append(job)
            self._more.notify()
            failed = self._start_if_short()
            if failed is not None:
                self._line.remove(job)
                job.state = "given up"
        if failed is not None:
            done(None, failed)
        return job

    def _start_if_short(self) -> RuntimeError | None:
        """One thread more if more jobs wait than threads are idle; the error if there is none at all to be had.

        An idle thread counts as such until it has really woken up, so that several jobs in a burst are not all left
        to one.
        """
        if len(self._line) <= self._idle or self._threads >= self._limit + min(self._hung, self._limit):
            return None
        name = f"executus-{self._name}-{self._threads + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError as error:  # the system has no more threads; those there are may take the job later
            return None if self._threads else error
        self._threads += 1
        return None

    def give_up(self, job: Job) -> None:
        """See `Job.cancel`."""
        with self._lock:
            if job.state == "waiting":
                job.state = "given up"
                try:
                    self._line.remove(job)
                except ValueError:
                    pass
            elif job.state == "running":
                job.state = "hung"
                self._hung += 1
                self._start_if_short()

    def finish(self, job: Job) -> bool:
        """A job's call has ended; True if somebody still wants to know."""
        with self._lock:
            if job.state == "hung":
                self._hung -= 1
                return False
            job.state = "finished"
            return True

    @property
    def hung(self) -> int:
        """Jobs that were given up and still run."""
        return self._hung

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._line:
                    if self._closed or self._threads > self._limit + self._hung:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._more.wait()
                    self._idle -= 1
                job = self._line.popleft()
                job.state = "running"
            job.run()

    def close(self) -> None:
        """Take nothing more and drop what waits; threads end when their jobs do."""
        with self._lock:
            self._closed = True
            for job in self._line:
                job.state = "given up"
            self._line.clear()
            self._more.notify_all()
