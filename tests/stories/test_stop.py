"""A host that is stopped for longer than every deadline in it: a short version of `benchmarks/stops.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STOPS = Path(__file__).resolve().parents[2] / "benchmarks" / "stops.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="hosts are sent signals")


def test_a_stopped_host_ends_no_run_by_that_and_those_at_work_know_of_it() -> None:
    done = subprocess.run(
        [sys.executable, str(STOPS), "--stops", "2", "--at-once", "2", "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert figures["runs"] == 40
    assert done.returncode == 0
