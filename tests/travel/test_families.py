"""Families cut at one position, and runs that go on from one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from family_support import Line, ask, boss, look
from sim_episode import episode
from sim_world import World
from travel_support import DiskLog, ReadOnly, written

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.models.scripted import call
from executus.errors import UnknownRun
from executus.events import ChildFinished, ChildStarted, RunForked, StepCompleted, StepStarted, ToolCall
from executus.journal import read_journal
from executus.projections import fold
from executus.testing import run_started
from executus.travel import Family, Kin, Member, family_at, lineage

A, B, C, D = (f"00000000-0000-7000-8000-00000000000{number}" for number in range(1, 5))


def judge(journal: Any, family: Family) -> None:
    """Nobody is shown later than the cut, nobody earlier than they could be, and parents and children agree."""
    for member in family.members():
        log = journal.read(member.run_id) if journal.run(member.run_id) is not None else []
        until = [event for event in log if event.position <= family.position]
        assert member.version == len(until)
        assert member.position == (until[-1].position if until else 0)
        assert member.checkpoint == fold(until)
        started = [event.fact for event in until if isinstance(event.fact, ChildStarted)]
        assert [(child.run_id, child.call) for child in member.children] == [(one.run_id, one.call) for one in started]
        for event in until:
            if isinstance(event.fact, ChildFinished):
                [child] = [one for one in member.children if one.run_id == event.fact.run_id]
                assert not child.version or child.status == event.fact.status


def test_a_family_is_cut_at_one_position(tmp_path: Path) -> None:
    helper = Agent("helper", model=ScriptedModel([["Look.", call("look", at=1)], "seen"]), tools=[look])
    top = boss(ask("middle"), ask("helper"), name="top", agents=["middle", "helper"])
    with Runtime(tmp_path / "runs.db", [top, boss(ask(), name="middle"), helper]) as runtime:
        run = runtime.start("top", "go")
        assert run.result(timeout=30).output == "done"
        ids = [run.id, *(child.id for child in run.children())]
        journal = ReadOnly(runtime.journal)
        kin = {run_id: Kin(journal, run_id) for run_id in ids}
        sizes = set()
        for position in range(journal.head() + 1):
            family = family_at(journal, run.id, position)
            judge(journal, family)
            assert all(one.at(position) == family for one in kin.values()), "whoever of the family is asked for"
            sizes.add(len(list(family.members())))
    assert sizes == {1, 2, 3, 4}
    assert [member.name for member in family.members()] == ["top", "middle", "helper", "helper"]
    assert {member.status for member in family.members()} == {"ok"}
    assert [member.status for member in family_at_zero(tmp_path, run.id)] == ["new"]


def family_at_zero(folder: Path, run_id: str) -> list[Member]:
    journal = read_journal(folder / "runs.db")
    try:
        return list(family_at(journal, run_id, 0).members())
    finally:
        journal.close()


def test_a_family_that_works_is_looked_at_again() -> None:
    line = Line()
    with Runtime(agents=line.agents) as runtime:
        top, _, bottom = line.start(runtime)
        kin = Kin(runtime.journal, bottom.id)
        assert kin.root == top.id
        assert [one.status for one in kin.at(runtime.journal.head()).members()] == ["running"] * 3
        line.gate.open()
        top.result(timeout=30)
        kin.refresh()
        assert [one.status for one in kin.at(runtime.journal.head()).members()] == ["ok"] * 3


@pytest.mark.parametrize("seed", range(12))
def test_families_of_simulated_worlds_agree_at_every_position(seed: int) -> None:
    worlds: list[World] = []
    episode(seed, made=worlds.append)
    [world] = worlds
    journal = ReadOnly(DiskLog(world.disk))
    for row in journal.runs():
        kin = Kin(journal, row.run_id)
        for position in range(0, journal.head() + 1, max(1, journal.head() // 40)):
            judge(journal, kin.at(position))


def test_a_child_that_never_came_to_be_and_a_loop_are_no_trouble() -> None:
    child = ChildStarted(call="1.0", name="agent__b", run_id=B)
    loop = ChildStarted(call="1.1", name="agent__a", run_id=A)
    reply = StepCompleted(step=1, reply=(ToolCall("a", "agent__b"), ToolCall("b", "agent__a")))
    journal = written((A, [run_started("Go."), StepStarted(step=1), reply, child, loop]))
    family = family_at(journal, A, journal.head())
    assert [(one.run_id, one.version, one.status, one.name) for one in family.root.children] == [
        (B, 0, "new", "agent__b")
    ]


def test_lineage_is_the_tree_of_runs_that_go_on_from_one_another() -> None:
    def forked(source: str, version: int) -> list[Any]:
        return [run_started("Go."), RunForked(source=source, version=version)]

    journal = written((A, [run_started("Go.")]), (B, forked(A, 1)), (C, forked(B, 2)), (D, forked(A, 1)))
    for run_id in (A, B, C, D):
        tree = lineage(journal, run_id)
        assert [(one.run_id, one.version, one.known) for one in tree.branches()] == [
            (A, 0, True),
            (B, 1, True),
            (C, 2, True),
            (D, 1, True),
        ]
    lost = written((B, forked(A, 1)))
    assert [(one.run_id, one.known) for one in lineage(lost, B).branches()] == [(A, False), (B, True)]
    with pytest.raises(UnknownRun):
        lineage(lost, A)
