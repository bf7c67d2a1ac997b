"""Hours of load under a clock that jumps leave nothing behind in memory: a short version of `benchmarks/soak.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def soaked(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--json", *options], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_after_hours_of_runs_of_every_kind_no_table_thread_descriptor_or_file_is_left_over() -> None:
    code, figures = soaked("--hours", "6", "--a-minute", "2", "--seed", "3")
    assert figures["problems"] == []
    assert code == 0
    assert figures["runs"] > 500
    assert figures["refused_by_budget"] > 0


def test_a_table_that_keeps_what_is_over_is_found() -> None:
    code, figures = soaked("--hours", "6", "--a-minute", "2", "--seed", "3", "--plant", "keep-observers")
    assert code == 1
    assert any("observers" in problem for problem in figures["problems"])
