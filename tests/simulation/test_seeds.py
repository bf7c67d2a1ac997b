"""The program that lives through many seeds: what it calls a failure, and that it goes on where it stopped."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import seeds

    yield seeds
    logging.disable(logging.NOTSET)  # it is quiet while it works


def all_of(program: Any, **given: Any) -> Any:
    """A tally of many seeds in which everything happened."""
    happened = {"facts": dict.fromkeys(program.FACTS, 1), "faults": dict.fromkeys(program.FAULTS, 1)}
    return program.Tally(**{"seeds": program.ENOUGH, **happened, **given})


def test_a_broken_promise_fails_the_run(seeds: Any) -> None:
    assert not all_of(seeds).failed
    assert all_of(seeds, broken={7: ["P1"]}).failed


def test_a_seed_that_is_two_worlds_fails_the_run(seeds: Any) -> None:
    assert all_of(seeds, two_worlds=[50]).failed


def test_what_never_happens_in_many_seeds_fails_the_run(seeds: Any) -> None:
    faults = dict.fromkeys(seeds.FAULTS - {"rival"}, 1)
    assert all_of(seeds, faults=faults).never == ["rival"]
    assert all_of(seeds, faults=faults).failed
    assert not all_of(seeds, seeds=seeds.ENOUGH - 1, faults=faults).failed
    facts = dict.fromkeys(set(seeds.FACTS) - {"child-waited"}, 1)
    assert all_of(seeds, facts=facts).never == ["child-waited"]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def told(count: int) -> Any:
        command = [sys.executable, str(BENCHMARKS / "seeds.py"), "--seeds", str(count), "--jobs", "1", "--json"]
        done = subprocess.run(
            [*command, "--state", str(tmp_path / "seeds.json")], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout), "left" in done.stderr

    first, worked = told(250)
    assert (first["seeds"], first["broken"], first["two_worlds"], worked) == (250, {}, [], True)
    again, worked = told(250)
    assert (again["seeds"], again["facts"], worked) == (250, first["facts"], False)


def test_one_world_can_be_looked_at(seeds: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds.show(3) == 0
    shown = capsys.readouterr().out
    assert "run-started" in shown
    assert "crashes; faults:" in shown
