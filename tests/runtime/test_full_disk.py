"""Runs on a disk that fills up: no new ones, then pauses, then they go on by themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runtime_support import DEADLINE_S, Gate

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import DiskFull
from executus.journal import space

MB = 1 << 20


class Disk:
    """A disk whose free megabytes are set by hand, with a runtime on it."""

    def __init__(self, path: Path) -> None:
        self.free_mb = 5_000.0
        self.gate = Gate()
        self.acted: list[str] = []

        @tool(effect="never_retry")
        def first() -> str:
            self.acted.append("first")
            self.gate.pass_through()
            return "done"

        @tool(effect="never_retry")
        def second() -> str:
            self.acted.append("second")
            return "done"

        agent = Agent("worker", model=ScriptedModel([call("first"), call("second"), "bye"] * 9), tools=[first, second])
        talker = Agent("talker", model=ScriptedModel(["hello"] * 9))
        self.open = lambda **more: Runtime(path, [agent, talker], **more)

    def statvfs(self, path: str) -> Any:
        return SimpleNamespace(f_frsize=1, f_bavail=round(self.free_mb * MB), f_blocks=10_000 * MB)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(tmp_path / "runs.db")
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    monkeypatch.setattr(space, "LOOK_S", 0.0)
    monkeypatch.setattr(space, "PROBE_S", 0.01)
    yield made
    made.gate.open()


def wait_until(what: Callable[[], bool]) -> None:
    until = threading.Event()
    for _ in range(round(DEADLINE_S / 0.005)):
        if what():
            return
        until.wait(0.005)
    raise AssertionError("it did not come")


def test_with_little_room_no_run_is_started_and_those_under_way_go_on(disk: Disk) -> None:
    with disk.open() as runtime:
        run = runtime.start("worker", "go", request_id="one")
        disk.gate.wait_entered()
        disk.free_mb = 60
        with pytest.raises(DiskFull, match=r"60 MB left in .*, under 64 MB; free some space"):
            runtime.start("worker", "go")
        assert runtime.start("worker", "go", request_id="one").id == run.id  # it is there already
        assert runtime.start("talker", "hi", durable=False).result(DEADLINE_S).output == "hello"
        assert runtime.no_room == ""
        disk.gate.open()
        assert run.result(DEADLINE_S).status == "ok"
        disk.free_mb = 64
        assert runtime.start("talker", "hi").result(DEADLINE_S).output == "hello"


def test_with_less_a_run_pauses_visibly_and_goes_on_by_itself(disk: Disk) -> None:
    with disk.open() as runtime:
        run = runtime.start("worker", "go")
        disk.gate.wait_entered()
        disk.free_mb = 15
        wait_until(lambda: bool(runtime.no_room))
        assert "15 MB left" in runtime.no_room
        assert run.status == "waiting"
        aside = runtime.start("talker", "hi", durable=False)  # it does not need the disk
        assert aside.result(DEADLINE_S).output == "hello"
        disk.gate.open()  # what is under way is stored
        events = run.events()
        for event in events:
            if event.tag == "step-started" and event.fact.step == 2:  # type: ignore[union-attr]
                break
        with pytest.raises(TimeoutError):
            run.result(0.3)
        assert disk.acted == ["first"]
        disk.free_mb = 5_000
        assert run.result(DEADLINE_S).status == "ok"
        assert disk.acted == ["first", "second"]
        assert runtime.no_room == ""


def test_a_run_that_waits_for_room_can_be_cancelled(disk: Disk) -> None:
    with disk.open() as runtime:
        run = runtime.start("worker", "go")
        disk.gate.wait_entered()
        disk.free_mb = 15
        wait_until(lambda: bool(runtime.no_room))
        disk.gate.open()
        for event in run.events():
            if event.tag == "step-started" and event.fact.step == 2:  # type: ignore[union-attr]
                break
        run.cancel("enough")
        assert run.result(DEADLINE_S).status == "cancelled"


def test_the_host_may_set_the_mark(disk: Disk) -> None:
    disk.free_mb = 100
    with disk.open(min_free_mb=200) as runtime, pytest.raises(DiskFull, match="under 200 MB"):
        runtime.start("talker", "hi")
    disk.free_mb = 0.5
    with disk.open(min_free_mb=0) as runtime:
        assert runtime.start("talker", "hi").result(DEADLINE_S).output == "hello"
    for wrong in (-1, "much", True):
        with pytest.raises(ValueError, match="min_free_mb: expected megabytes"):
            disk.open(min_free_mb=wrong)
