"""The page on forks: its example says what it says there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "what_if.py"


def test_the_example_shows_what_if() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "['Take an umbrella.', 'Take a hat.', 'Take an umbrella. Mind the wind.', 'Take an umbrella.']\n"
    )
