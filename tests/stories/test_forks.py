"""A host that forks under live runs: a short version of `benchmarks/forks.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FORKS = Path(__file__).resolve().parents[2] / "benchmarks" / "forks.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def test_whatever_forked_children_do_the_parent_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FORKS), "--json", "--forks", "40", "--seed", "1", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert done.returncode == 0
    assert len(figures["ways"]) == 6
    assert figures["runs"] > 5
