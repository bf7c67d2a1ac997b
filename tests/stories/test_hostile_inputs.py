"""Models, tools and hosts hand over anything: a short version of `benchmarks/hostile_inputs.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).resolve().parents[2] / "benchmarks" / "hostile_inputs.py"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read as Linux tells it")


def test_whatever_is_handed_over_each_run_ends_with_a_sound_log_and_memory_stays_small() -> None:
    sizes = ("--replies", "100", "--orders", "300", "--megabytes", "64", "--notes", "5000")
    done = subprocess.run(
        [sys.executable, str(HOSTILE), "--json", *sizes], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert done.returncode == 0
    assert figures["ends"]["ok"] > 20
    assert figures["ends"]["error"] > 5
