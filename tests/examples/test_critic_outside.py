"""The critic in a process of its own, and the host that goes on without it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HOST = Path(__file__).parents[2] / "examples" / "critic_outside.py"


def test_it_advises_one_run_and_the_next_goes_on_without_it() -> None:
    command = [sys.executable, "-W", "error", str(HOST)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()
    assert first[:3] == ["critic: serving", "run 1: critic-steered by tutor", "run 1: run-finished by model"]
    assert re.fullmatch(r"run 1: ok after \d+ steps: All is quiet\.", first[3])
    assert first[4:] == [
        "run 2: critic-lost by tutor",
        "run 2: run-finished by ceiling",
        "run 2: error after 20 steps: ",
    ]
    told = done.stderr.splitlines()
    assert all("no process serves the critic 'tutor'" in line for line in told), done.stderr
