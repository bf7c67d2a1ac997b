"""Hosts are booted on journals with poisoned rows: a short version of `benchmarks/poison.py`, which poisons 100,000."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

POISON = Path(__file__).resolve().parents[2] / "benchmarks" / "poison.py"


def poisoned(*options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(POISON), "--json", *options], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_whatever_stands_in_a_row_boot_completes_the_others_finish_and_nothing_is_run() -> None:
    code, figures = poisoned("--rows", "900", "--batch", "300")
    assert figures["problems"] == []
    assert figures["critical"] == []
    assert code == 0
    assert figures["rows"] == 900
    assert figures["statuses"]["quarantined"] > 100
    assert figures["statuses"]["ok"] > 10
