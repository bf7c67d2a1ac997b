"""A host ends in time whatever its tools do (P12): a short version of `benchmarks/exits.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXITS = Path(__file__).resolve().parents[2] / "benchmarks" / "exits.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="hosts are sent signals")


def test_a_host_ends_in_time_and_in_silence_whatever_way_it_goes() -> None:
    done = subprocess.run(
        [sys.executable, str(EXITS), "--exits", "20", "--at-once", "4", "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert figures["exits"] == 20
    assert done.returncode == 0
