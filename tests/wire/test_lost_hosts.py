"""Hosts that end while clients are in the middle of something with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from wire_support import HostProcess, wire_home  # noqa: F401 - a fixture

from executus import Runtime, attach
from executus.errors import ExecutusError, HostUnreachable
from executus.wire.attached import order_of
from executus.wire.dialers import Asker
from executus.wire.line import Line, _Missed
from executus.wire.requests import AnyReply, AnyRequest, Done, Head, Kind, Number, Order, Outcome, Refused, Steer
from executus.wire.sockets import Closed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="hosts are sent signals")

CLOSES_WHILE_ASKING = """
import sys, threading, time
from contextlib import suppress
from executus import attach
from executus.errors import ExecutusError

for _ in range(30):
    attached = attach(sys.argv[1], host=True)
    stop = threading.Event()

    def ask(attached=attached, stop=stop):
        while not stop.is_set():
            with suppress(ExecutusError):
                attached.journal.head()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    attached.close()
    stop.set()
    for thread in threads:
        thread.join()
"""


def test_closing_while_other_threads_ask_does_not_abort_the_process(wire_home: Path) -> None:  # noqa: F811
    with Runtime(wire_home / "runs.db", listen="ipc"):
        done = subprocess.run(
            [sys.executable, "-c", CLOSES_WHILE_ASKING, str(wire_home / "runs.db")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_host_that_is_closed_while_many_ask_lets_each_of_them_go(wire_home: Path) -> None:  # noqa: F811
    for number in range(5):
        with Runtime(wire_home / f"{number}.db", listen="ipc") as runtime, attach(wire_home / f"{number}.db") as one:
            going = threading.Barrier(9)

            def ask(one=one, going=going) -> None:
                going.wait()
                with suppress(ExecutusError):
                    for _ in range(1000):
                        one.journal.read("0" * 36)

            with ThreadPoolExecutor(8) as pool:
                asking = [pool.submit(ask) for _ in range(8)]
                going.wait()
                assert runtime.close()
                one.close()
                for each in asking:
                    each.result(60)


def test_who_waits_for_an_answer_learns_at_once_that_its_host_is_gone(wire_home: Path) -> None:  # noqa: F811
    with HostProcess(wire_home / "runs.db") as host:
        line = Line(wire_home / "runs.db")
        line.ask(Head(), Number)
        asker = line._asker
        assert isinstance(asker, Asker)
        host.kill(signal.SIGSTOP)  # it takes questions, and does not answer
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(asker.ask, b"anything", 3600.0)
            host.kill()
            with pytest.raises(Closed):
                asking.result(60)
        line.close()


def test_a_card_of_a_host_that_is_gone_keeps_nobody_from_its_successor(wire_home: Path) -> None:  # noqa: F811
    path = wire_home / "runs.db"
    with HostProcess(path, "patient") as host:
        attached = attach(path, host=True)
        run = attached.run(host.runs[0])
        host.kill()
    with pytest.raises(HostUnreachable, match="nobody listens"):
        attach(path, host=True, timeout=0.1)
    with HostProcess(path, "patient") as heir:
        assert heir.runs == [run.id]
        run.steer("on")
        assert run.status == "running"
    attached.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors are counted as Linux shows them")
def test_no_descriptor_is_lost_with_a_follower_that_is_closed_at_once(wire_home: Path) -> None:  # noqa: F811
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with HostProcess(wire_home / "runs.db", "patient"):
        with attach(wire_home / "runs.db", host=True) as one, one.follow() as events:
            next(events)
        before = descriptors()
        for _ in range(150):
            with attach(wire_home / "runs.db", host=True) as one, one.follow() as events:
                next(events)
        until = time.monotonic() + 10
        while descriptors() > before + 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert descriptors() <= before + 1


def test_who_reads_more_than_a_host_lets_through_in_a_second_is_made_to_wait(wire_home: Path) -> None:  # noqa: F811
    path = wire_home / "runs.db"
    with Runtime(path, listen="ipc"), attach(path) as one, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(lambda: [one.journal.run("0" * 36) for _ in range(600)]) for _ in range(4)]
        assert all(found is None for each in asking for found in each.result(60))


@pytest.mark.parametrize("kind", ["busy", "too-many"])
def test_a_refusal_to_say_what_became_of_an_order_is_no_refusal_of_the_order(wire_home: Path, kind: Kind) -> None:  # noqa: F811
    with HostProcess(wire_home / "runs.db", "patient") as host:
        line = Line(wire_home / "runs.db")
        real = line._ask_once
        told: list[AnyReply | None] = [None, Refused(kind=kind, why="too much at once")]

        def ask_once(request: AnyRequest | Order, until: float) -> AnyReply:
            instead = told.pop(0) if told else False
            if instead is False:
                return real(request, until)
            if instead is None:  # it is carried out, and its answer lost
                real(request, until)
                raise _Missed("the connection was closed", may_be_heard=True)
            assert isinstance(request, Outcome)
            return instead

        line._ask_once = ask_once  # type: ignore[method-assign]
        assert line.order(order_of(Steer, run=host.runs[0], text="on")) == Done(run=host.runs[0], told="steer")
        line.close()
