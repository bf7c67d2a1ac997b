"""Hosts that end in the middle of what a client does, and clients that do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from attach_support import Talker, short_room
from runtime_support import DEADLINE_S

from executus import attach, attach_async
from executus.errors import HostUnreachable, MessageRefused, OutcomeUnknown
from executus.wire.attached import RemoteRun

GONE = (HostUnreachable, OutcomeUnknown)


@pytest.fixture
def room() -> Iterator[Path]:
    with short_room() as folder:
        yield folder


def host_process(room: Path) -> Talker:
    host = Talker("attached_host.py", "host", room / "runs.db")
    host.wait_for("listening")
    return host


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_who_follows_and_orders_goes_on_when_the_host_is_opened_anew(room: Path, how: str) -> None:
    first = host_process(room)
    with first, attach(room / "runs.db", host=True, timeout=DEADLINE_S) as client:
        run = client.start("watch", "go", by="alice")
        following = client.follow(timeout=DEADLINE_S)
        seen = [next(following) for _ in range(20)]
        if how == "killed":
            first.kill()
        else:
            first.say()
            first.process.wait(DEADLINE_S)
        with pytest.raises(GONE, match=r"no host|does not answer|nobody listens"):
            run.steer("be quick", timeout=0.2)
        with host_process(room):
            seen += [next(following) for _ in range(40)]
            run.steer("that is enough", by="alice")
            assert run.result(DEADLINE_S).output == "Enough."
            assert [event.position for event in seen] == list(range(1, 61))
            stored = client.journal.read(run.id)
            assert seen == stored[:60]
            assert [event.tag for event in stored].count("caller-steered") == 1
            assert "run-resumed" in [event.tag for event in stored]


def test_a_loop_goes_on_when_the_host_is_opened_anew(room: Path) -> None:
    async def life() -> None:
        first = await asyncio.to_thread(host_process, room)
        with first:
            async with await attach_async(room / "runs.db", host=True, timeout=DEADLINE_S) as client:
                run = await client.start_async("watch", "go")
                seen = 0
                async with asyncio.timeout(4 * DEADLINE_S):
                    async for event in run.events():
                        seen += 1
                        assert event.version == seen
                        if seen == 20:
                            await asyncio.to_thread(first.kill)
                            second = await asyncio.to_thread(host_process, room)
                        if seen == 60:
                            await steered(run)
                with second:
                    assert (await run.result_async(DEADLINE_S)).output == "Enough."

    asyncio.run(life())


async def steered(run: RemoteRun) -> None:
    """Steer it, whenever the host has taken it up."""
    for _ in range(100):
        try:
            await run.steer_async("that is enough", by="alice")
        except MessageRefused:
            await asyncio.sleep(0.05)
        else:
            return


def test_ctrl_c_ends_who_follows_and_not_the_host(room: Path) -> None:
    with host_process(room) as host, attach(room / "runs.db") as client:
        run = client.start("watch", "go")
        with Talker("attached_host.py", "follow", room / "runs.db") as follower:
            follower.wait_for("heard 10")
            follower.process.send_signal(signal.SIGINT)
            follower.wait_for("interrupted")
            assert follower.process.wait(DEADLINE_S) == 0
        run.steer("that is enough")
        assert run.result(DEADLINE_S).status == "ok"
        assert host.process.poll() is None


def test_ctrl_c_ends_who_follows_a_run_that_is_silent(room: Path) -> None:
    with host_process(room), attach(room / "runs.db") as client:
        run = client.start("watch", "that is enough")
        run.result(DEADLINE_S)
        last = client.journal.head()
        with Talker("attached_host.py", "follow", room / "runs.db") as follower:
            follower.wait_for(f"heard {last}")
            follower.process.send_signal(signal.SIGINT)
            follower.wait_for("interrupted")
            assert follower.process.wait(DEADLINE_S) == 0


def test_an_order_to_a_host_that_died_is_an_error_in_time(room: Path) -> None:
    with host_process(room) as host, attach(room / "runs.db") as client:
        run = client.start("watch", "go")
        host.kill()
        with pytest.raises(GONE, match=r"no host|does not answer|nobody listens"):
            run.kill("enough", timeout=0.5)
    with attach(room / "runs.db") as client:
        assert client.run(run.id).status == "suspended"
        assert client.orders()[0].ask == "start"
