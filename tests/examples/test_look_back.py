"""The example that looks back finds what went wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "look_back.py"


def test_it_finds_the_error_and_what_came_after(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE), str(tmp_path / "runs.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "version 5: 1.0: ZeroDivisionError: division by zero",
        "  open calls: 1, then 0",
        "  said since: 3 messages",
        "version 7: output is 'Once more.'",
        "version 11: output is 'It is 3.'",
        "step-completed, /reply/0/text: [Once more].",
    ]
