from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASYNC = ROOT / "examples" / "async_host.py"
GOVERNED = ROOT / "examples" / "governed_host.py"
PAGE = (ROOT / "docs" / "embedding.md").read_text()


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def said_by(example: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_code_on_the_page_is_the_code_of_the_examples() -> None:
    start, governing = PAGE.split("## Supervision")
    for text, example, count in ((start, ASYNC, 3), (governing, GOVERNED, 6)):
        assert len(blocks(text)) == count
        assert [block for block in blocks(text) if block not in example.read_text()] == []


def test_the_example_of_an_async_host_runs() -> None:
    lines = said_by(ASYNC)
    assert lines[7:11] == [
        "8 run-finished",
        "Tea is a drink.",
        "heard: Listen., be brief",
        "cancelled by alice - taking too long",
    ]
    assert lines[-1] == "user Bye."


def test_the_example_of_a_governed_host_runs() -> None:
    lines = said_by(GOVERNED)
    assert lines[0].startswith("caller 'mallory': the budget (total) of 0 tokens is spent")
    assert lines[1:] == [
        "child: started",
        "child: finished",
        'Send this letter? {"letter":"Dear Ada, all is well."}',
        "ok The letter is out.",
        "writer ok Dear Ada, all is well.",
        "letter.txt Dear Ada, …",
        "artifacts manifest.json output.txt",
    ]
