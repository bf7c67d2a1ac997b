from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_secret_tools_shows_marks_only() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "secret_tools.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("[secret:github]") == 2
    assert "password is [secret:db]" in done.stdout
    assert "keyring" not in done.stdout
    assert "another-one" not in done.stdout
