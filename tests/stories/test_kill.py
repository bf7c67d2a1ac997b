"""A host that is killed at any moment: a short version of `benchmarks/kill_loop.py`, which runs hundreds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOOP = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_loop.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="hosts are forked")


def kill(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(LOOP), "--json", *options], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_killed_host_loses_nothing_acknowledged_and_does_nothing_twice(tmp_path: Path) -> None:
    sizes = ("--kills", "12", "--runs", "30", "--window", "0.5", "--check-every", "4")
    code, figures = kill(*sizes, "--dir", str(tmp_path))
    assert figures["problems"] == []
    assert code == 0
    assert figures["runs"] == figures["runs_over"] > 0
    assert figures["acknowledged_events"] > 0
    assert figures["children"] > 0
    assert figures["parcels_handed_over"] >= figures["parcels"] > 0


@pytest.mark.parametrize(
    "bug", ["acknowledge-early", "act-before-intent", "run-again", "forget-results", "take-no-for-yes", "lose-parcels"]
)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    code, figures = kill(
        "--kills", "60", "--runs", "30", "--window", "0.5", "--check-every", "2", "--plant", bug, "--dir", str(tmp_path)
    )
    assert code == 1
    assert figures["problems"]
