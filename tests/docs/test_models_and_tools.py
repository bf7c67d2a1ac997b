from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "models-and-tools.md").read_text()
EXAMPLES = [ROOT / "examples" / name for name in ("own_model.py", "own_tools.py")]


def test_the_code_on_the_page_is_the_code_of_the_examples() -> None:
    code = "\n".join(path.read_text() for path in EXAMPLES)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 7
    assert [block for block in blocks if block not in code] == []


def run(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_example_of_own_models_runs() -> None:
    shout, patient = run(EXAMPLES[0])
    assert shout.startswith("shout HELLO")
    assert patient.startswith("patient here I am")
    assert "'step-failed'" in patient


def test_the_example_of_own_tools_runs() -> None:
    lines = run(EXAMPLES[1])
    results = [line for line in lines if line.startswith("tool ")]
    assert len(results) == 6
    assert "text='3'" in results[0]
    assert "ordered 2 × tea" in results[1]
    assert re.search(r"text='[0-9a-f]{64}'", results[2])
    assert "unknown field `words`" in results[3]
    assert "Ada got 500 cents back" in results[4]
    assert "7 cents to Bob" in results[5]
    assert lines[-1] == "ok done"


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", PAGE))
def test_the_links_of_the_page_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()
