"""The page of the reference kernel's ports has every row, and the tests it names are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "ports.md"
COUNTS = {"R": 6, "A": 5, "B": 2, "C": 8, "K": 4, "P": 3, "D": 1, "F": 1, "H": 2, "M": 1}
IDS = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]
ROWS = re.findall(r"^\| ([A-Z]\d) \| (.+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
NAMED = re.compile(r"\[`(tests/[\w/]+\.py)::(test_\w+)`\]\(\.\./\.\./(tests/[\w/]+\.py)\)")


@cache
def functions_of(path: str) -> frozenset[str]:
    """The tests of a file, read and not imported."""
    body = ast.parse((ROOT / path).read_text()).body
    functions = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_port_has_one_row_in_order() -> None:
    assert [row[0] for row in ROWS] == IDS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_names_tests_that_exist(row: tuple[str, str, str, str]) -> None:
    shown = row[3].split("<br>")
    for cell in shown:
        named = NAMED.fullmatch(cell)
        assert named is not None, cell
        path, name, linked = named.groups()
        assert path == linked
        assert name in functions_of(path), cell
