from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from executus.adapters.keys.sources import FILE_VARIABLE, KEY_VARIABLE
from executus.events import TOMBSTONE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "encryption.md").read_text()
EXAMPLE = ROOT / "examples" / "sealed_host.py"


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["Your order is on its way, Ada.", "[erased] 1", "proved"]


def test_the_page_names_what_the_code_has() -> None:
    for word in (KEY_VARIABLE, FILE_VARIABLE, TOMBSTONE):
        assert f"`{word}`" in PAGE
    assert set(re.findall(r"`runs\.db\.(\w+)`", PAGE)) >= {"keys", "views"}
