"""A store that fails at any call: a short version of `benchmarks/faults.py`, which fails every one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"


def fail(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(FAULTS), "--json", *options], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_whatever_call_to_the_store_fails_nothing_is_lost_and_work_goes_on(tmp_path: Path) -> None:
    code, figures = fail("--every", "53", "--hold", "0.7", "--dir", str(tmp_path))
    assert figures["problems"] == []
    assert code == 0
    assert figures["calls_failed"] > figures["cases"] > 10


def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    for offset in ("12", "2", "7", "17", "5", "15"):  # which call is a commit whose answer matters, differs by machine
        place = tmp_path / offset
        place.mkdir()
        plant = ("--plant", "never-looks", "--dir", str(place))
        code, figures = fail("--every", "20", "--offset", offset, "--hold", "0.1", *plant)
        if code == 1:
            break
    assert code == 1
    assert figures["problems"]
