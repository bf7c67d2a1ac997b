from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "async_host.py"


def test_the_code_on_the_page_is_the_code_of_the_example() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    assert [block for block in blocks if block not in EXAMPLE.read_text()] == []


def test_the_example_of_an_async_host_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[7:11] == [
        "8 run-finished",
        "Tea is a drink.",
        "heard: Listen., be brief",
        "cancelled by alice - taking too long",
    ]
    assert lines[-1] == "user Bye."
