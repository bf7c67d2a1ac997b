"""The page on the debugger lists the keys there are, and its code is that of the example."""

from __future__ import annotations

import re

from package_source import ROOT

PAGE = (ROOT / "docs" / "debugger.md").read_text()
KEYS = (ROOT / "debugger" / "assets" / "js" / "keys.js").read_text()


def test_every_key_is_on_the_page_and_no_other() -> None:
    [table] = re.findall(r"KEYS = \[\n(.*?)\n\];", KEYS, re.DOTALL)
    listed = {key for keys in re.findall(r"\[\[(.*?)\],", table) for key in re.findall(r'"([^"]+)"', keys)}
    written = {
        key for row in PAGE.split("## Keys")[1].split("\n## ")[0].splitlines() for key in re.findall(r"`([^`]+)`", row)
    }
    assert {key for key in listed if key not in ("E", "C", "L")} == written


def test_the_code_is_that_of_the_example() -> None:
    example = (ROOT / "examples" / "debugged_host.py").read_text()
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        for line in block.splitlines():
            assert line.strip() in example
