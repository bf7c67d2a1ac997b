"""The tutorial on views of your own, done as it is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def executus(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", "from executus.cli import main; main()", *words]
    return subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False)


def test_the_example_keeps_its_table_and_the_command_line_rebuilds_and_checks_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    command = [sys.executable, "-W", "error", str(EXAMPLES / "own_views.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("add: started 2 times, refused 1 times\n", "")
    assert done.returncode == 0
    for more in ([], ["--check"]):
        done = executus("rebuild", "tool_use", "--views", "own_views:ToolUseView", "--db", str(path), *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("tool_use: 1 row")
