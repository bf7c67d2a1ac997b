"""A start that does not come about leaves no attachment behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, AsyncGate

from executus import Agent, InputFile, Run, Runtime, ScriptedModel
from executus.adapters.files.stager import DirectoryStager, MemoryStager
from executus.errors import BudgetSpent, FileRefused, Overloaded
from executus.ports import Allowance

NOTES = InputFile("notes.txt", b"the secret is 42", "text/plain")
READER = Agent("reader", model=ScriptedModel(["read"]))


class Shelf(MemoryStager):
    """Knows what it was given, and what it still has."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []
        self.forgotten = threading.Event()

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> Any:
        self.given.append(run_id)
        return super().stage(run_id, agent, name, media_type, content)

    def forget(self, run_id: str) -> None:
        super().forget(run_id)
        self.forgotten.set()

    @property
    def kept(self) -> set[str]:
        return set(self._runs)


def start(runtime: Runtime, kind: str, **options: Any) -> Run:
    options = {"files": [NOTES], **options}
    if kind == "sync":
        return runtime.start("reader", "Read.", **options)
    return asyncio.run(runtime.start_async("reader", "Read.", **options))


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
def test_a_start_that_the_budget_refuses_stages_nothing(opened: Any, kind: str) -> None:
    shelf = Shelf()
    runtime = opened(None, [READER], files=shelf, budget=[Allowance(window="total", tokens=0)])
    with pytest.raises(BudgetSpent):
        start(runtime, kind, caller="alice")
    assert shelf.given == []
    (refused,) = runtime.runs()
    assert runtime.run(refused.run_id).status == "budget_exceeded"


@KINDS
def test_a_request_that_was_made_before_stages_nothing(opened: Any, kind: str) -> None:
    shelf = Shelf()
    runtime = opened(None, [READER], files=shelf)
    first = start(runtime, kind, request_id="r1")
    assert start(runtime, kind, request_id="r1").id == first.id
    assert (shelf.given, shelf.kept) == ([first.id], {first.id})


@KINDS
def test_of_two_starts_of_one_request_at_once_the_later_ones_files_go(opened: Any, kind: str) -> None:
    runtime: Any = None

    class Racing(Shelf):
        def stage(self, *file: Any) -> Any:
            if not self.given:  # while the first is staged, the second start overtakes it
                self.given.append("first")
                other.append(runtime.start("reader", "Read.", request_id="r1", files=[NOTES]).id)
            return super().stage(*file)

    other: list[str] = []
    shelf = Racing()
    runtime = opened(None, [READER], files=shelf)
    assert start(runtime, kind, request_id="r1").id == other[0]
    assert shelf.kept == set(other)


@KINDS
def test_a_start_that_finds_no_room_takes_its_files_back(opened: Any, kind: str) -> None:
    gate, shelf = AsyncGate(), Shelf()

    async def hold(request: Any) -> str:
        await gate.pass_through()
        return "held"

    busy = Agent("busy", model=ScriptedModel(hold))
    runtime = opened(None, [READER, busy], files=shelf, max_live_runs=1)
    runtime.start("busy", "x")
    gate.wait_entered()
    with pytest.raises(Overloaded, match="live runs"):
        start(runtime, kind)
    assert (len(shelf.given), shelf.kept) == (1, set())


@KINDS
def test_when_one_file_is_refused_those_before_it_go_too(opened: Any, kind: str) -> None:
    shelf = Shelf()
    runtime = opened(None, [READER], files=shelf)
    with pytest.raises(FileRefused):
        start(runtime, kind, files=[NOTES, InputFile("../evil", b"x")])
    assert (len(shelf.given), shelf.kept) == (2, set())


def test_a_folder_of_a_run_that_was_not_started_is_removed(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [READER], files=DirectoryStager(tmp_path / "files"))
    with pytest.raises(FileRefused):
        start(runtime, "sync", files=[NOTES, InputFile("../evil", b"x")])
    assert list((tmp_path / "files").iterdir()) == []


@KINDS
def test_a_start_that_nobody_waits_for_any_more_stages_no_further_file(opened: Any, kind: str) -> None:
    gate = AsyncGate()

    class Slow(Shelf):
        async def _later(self, file: tuple[Any, ...]) -> str:
            await gate.pass_through()
            return MemoryStager.stage(self, *file)

        def stage(self, *file: Any) -> Any:
            return self._later(file) if self.given else super().stage(*file)

    shelf = Slow()
    runtime = opened(None, [READER], files=shelf)
    with pytest.raises(TimeoutError, match="the attachments are not yet stored"):
        start(runtime, kind, files=[NOTES, InputFile("more.txt", b"x")], timeout=0.3)
    assert gate.cancelled.wait(DEADLINE_S)
    assert shelf.forgotten.wait(DEADLINE_S)
    assert (shelf.kept, runtime.runs()) == (set(), [])


@pytest.mark.parametrize("forget", [None, lambda stager, run_id: 1 / 0], ids=["has none", "raises"])
def test_a_stager_that_cannot_forget_hides_no_error(
    opened: Any, forget: Callable[..., Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    stager: Any = type("Bare", (), {"stage": lambda *_: 1, "open": lambda *_: b"", "forget": forget})()
    runtime = opened(None, [READER], files=stager)
    with pytest.raises(FileRefused, match="expected a file id"):
        start(runtime, "sync")
    assert ("could not be given up" in caplog.text) == (forget is not None)
