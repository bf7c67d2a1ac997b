"""Awake time leaves out what the process slept, whoever looks first and in whatever moment it was stopped (P13)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from executus.actors.awake import SLEPT_AFTER_S, AwakeClock
from executus.actors.dispatcher import Dispatcher
from executus.testing import VirtualClock

DEADLINE_S = 20.0


class Hardware:
    """The system's clocks, moved by hand. inside: called once in the middle of the next reading."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.suspended = 0.0
        self.inside: Callable[[], None] | None = None
        self.monotonic = self.read

    def read(self) -> float:
        now = self.now
        inside, self.inside = self.inside, None
        if inside is not None:
            inside()
        return now

    def boot(self) -> float:
        return self.now + self.suspended

    def wall_us(self) -> int:
        return 0

    def clock(self) -> AwakeClock:
        return AwakeClock(self, self.monotonic, self.boot)


def test_a_stop_is_left_out_by_whoever_looks_first() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()
    machine.now += 600
    assert clock.now() == before
    machine.now += 1
    assert clock.now() == before + 1
    assert clock.slept() == 600
    assert clock.slept() == 0


def test_every_sleep_is_left_out() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()
    for _ in range(50):
        machine.now += 0.5
        clock.now()
        machine.now += 10
        clock.now()
    assert clock.now() == before + 25
    assert clock.slept() == 500


def test_a_moment_without_a_look_is_no_sleep() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()
    machine.now += SLEPT_AFTER_S
    assert clock.now() == before + SLEPT_AFTER_S
    assert clock.slept() == 0


def test_a_thread_stopped_in_the_middle_of_a_look_neither_sees_the_sleep_nor_makes_it_count_twice() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()

    def sleep_and_another_looks() -> None:
        machine.now += 600
        assert clock.now() == before

    machine.inside = sleep_and_another_looks
    assert clock.now() == before  # it read the time before the sleep, and says so only now
    machine.now += 1
    assert clock.now() == before + 1
    assert clock.slept() == 600


def test_a_thread_stopped_before_it_reads_sees_no_sleep() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()
    machine.now += 600
    seen: list[float] = []
    threads = [threading.Thread(target=lambda: seen.append(clock.now())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert set(seen) == {before}
    assert clock.slept() == 600


def test_a_suspension_that_the_clock_does_not_count_is_told_and_not_taken_off() -> None:
    machine = Hardware()
    clock = machine.clock()
    before = clock.now()
    machine.suspended += 3_600
    machine.now += 1
    assert clock.now() == before + 1
    assert clock.slept() == pytest.approx(3_600)
    assert clock.slept() == 0


def test_a_hosts_own_clock_may_jump() -> None:
    own = VirtualClock()
    clock = AwakeClock(own)
    own.advance(3_600)
    assert clock.now() == 3_600
    assert clock.slept() == 0


def test_no_timer_is_early_by_a_sleep_and_the_sleep_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Hardware()
    told: list[float] = []
    woke = threading.Event()

    def tell(seconds: float) -> None:
        told.append(seconds)
        woke.set()
        raise RuntimeError("a listener's mistake")

    monkeypatch.setattr("executus.actors.dispatcher.AwakeClock", lambda _: machine.clock())
    dispatcher = Dispatcher(machine, tell)
    fired = threading.Event()
    try:
        dispatcher.call_later(60, fired.set)
        machine.now += 600
        assert woke.wait(DEADLINE_S)
        assert not fired.is_set()
        for _ in range(60):
            machine.now += 1
            dispatcher.awake()
        assert fired.wait(DEADLINE_S)
        assert told == [600]
    finally:
        dispatcher.close(2)
