"""A disk that is filled under live runs: a short version of `benchmarks/full_disk.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILL = Path(__file__).resolve().parents[2] / "benchmarks" / "full_disk.py"


@pytest.mark.parametrize("megabytes", ["16", "64"])
def test_a_full_disk_costs_nothing_and_runs_go_on_when_there_is_room(tmp_path: Path, megabytes: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FILL), "--json", "--cycles", "8", "--megabytes", megabytes, "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("no small disk can be mounted here")
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert done.returncode == 0
    assert figures["cycles"] == 8
