"""Looking at the past runs no tool, asks no model, appends nothing, and leaves every file as it was."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
from compaction_support import kept_here, moved, over
from journal_support import step
from package_source import ROOT, tree_of
from sealing_support import encryption
from sim_episode import episode
from sim_world import World
from travel_support import DiskLog, ReadOnly, bytes_of, look_at_everything

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.journal import SqliteJournal, open_journal, read_journal
from executus.ports import ModelRequest
from executus.projections import fold
from executus.travel import search, state_at

GOLDEN = ROOT / "tests" / "golden"


def copied(name: str, folder: Path) -> Path:
    """A golden journal of its own."""
    folder.mkdir(mode=0o700)
    for ending in ("", ".keys"):
        if (GOLDEN / f"{name}.db{ending}").exists():
            shutil.copyfile(GOLDEN / f"{name}.db{ending}", folder / f"golden.db{ending}")
            (folder / f"golden.db{ending}").chmod(0o600)
    return folder / "golden.db"


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.db")))
def test_every_golden_log_is_as_it_was(name: str, keyed: bool, tmp_path: Path) -> None:
    sealed = name.startswith("sealed")
    path = copied(name, tmp_path / "journal")
    before = bytes_of(tmp_path)
    journal = read_journal(path, encryption=encryption() if sealed and keyed else None)
    try:
        assert look_at_everything(ReadOnly(journal)) > 3
    finally:
        journal.close()
    assert bytes_of(tmp_path) == before


def test_an_archived_run_is_looked_at_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    host = open_journal(path)
    assert isinstance(host, SqliteJournal)
    runs = [over(host, facts=tuple(step(1, f"words of run {number}"))) for number in range(3)]
    assert moved(host) == [run.run_id for run in runs[:2]], "the newest family stays"
    assert kept_here(host) == {runs[2].run_id}
    host.close()
    before = bytes_of(tmp_path)
    journal = read_journal(path)
    try:
        assert look_at_everything(ReadOnly(journal)) == 3
        assert state_at(journal, runs[0].run_id, 4) == fold(runs[0].events[:4])
        assert [found.run_id for found in search(journal, "WORDS of run 1", tag="tool-finished")] == [runs[1].run_id]
    finally:
        journal.close()
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("seed", range(100, 106))
def test_simulated_lives_are_as_they_were(seed: int) -> None:
    worlds: list[World] = []
    episode(seed, made=worlds.append)
    disk = worlds[0].disk
    rows = list(disk.rows)
    assert look_at_everything(ReadOnly(DiskLog(disk))) > 0
    assert disk.rows == rows


def test_a_live_hosts_tools_and_models_are_not_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    @tool(effect="pure")
    def touch() -> str:
        """Touch."""
        asked.append("tool")
        return "touched"

    def reply(request: ModelRequest) -> list[Any] | str:
        asked.append("model")
        return ["Look.", call("touch")] if request.step == 1 else "done"

    agent = Agent("toucher", model=ScriptedModel(reply), tools=[touch])
    with Runtime(tmp_path / "runs.db", [agent]) as runtime:
        run = runtime.start("toucher", "go")
        assert run.result(timeout=30).output == "done"
        assert asked == ["model", "tool", "model"]
        head = runtime.journal.head()
        look_at_everything(ReadOnly(runtime.journal))
        assert asked == ["model", "tool", "model"]
        assert runtime.journal.head() == head


def test_the_room_can_reach_nothing_that_acts() -> None:
    names = {"append", "keep_recoveries", "confirm", "seal", "follow", "reply", "run_tool"}
    for path in sorted((ROOT / "travel").glob("*.py")):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                room = str(node.module).split(".")[0]
                assert room in {"errors", "events", "ports", "projections"}, f"{path.name} imports {room}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                assert not (node.value.attr == "_journal" and node.attr in names), path.name
