"""Two hosts that fight for one journal: a short version of `benchmarks/takeovers.py`, where they fight for long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FIGHT = Path(__file__).resolve().parents[2] / "benchmarks" / "takeovers.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="hosts are forked")


def fight(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(FIGHT), "--json", *options], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_host_that_was_stopped_past_its_lease_is_succeeded_and_can_do_no_harm(tmp_path: Path) -> None:
    code, figures = fight("--takeovers", "5", "--runs", "10", "--dir", str(tmp_path))
    assert figures["problems"] == []
    assert code == 0
    assert figures["takeovers"] == 5
    assert figures["runs"] == figures["runs_over"] > 0


def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    code, figures = fight("--takeovers", "10", "--runs", "10", "--plant", "no-check", "--dir", str(tmp_path))
    assert code == 1
    assert figures["problems"]
