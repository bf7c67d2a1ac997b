"""The page on reliability names every failure class and target, and only tests and scripts that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
CLASSES = [*(f"F{number}" for number in range(1, 34)), *(f"F{number}" for number in range(35, 39))]
TARGETS = [f"T{number}" for number in range(1, 20)]
ANSWERS = {"yes", "**no**", "not measured", "partly"}


def rows(kind: str) -> list[list[str]]:
    """The cells of each row of the table whose first cells are names like F1 or T1."""
    found = re.findall(rf"^\| ({kind}\d+) \|(.*)\|$", PAGE, re.MULTILINE)
    return [[name, *(cell.strip() for cell in cells.split("|"))] for name, cells in found]


def test_every_failure_class_has_one_row_and_every_target_too() -> None:
    assert [row[0] for row in rows("F")] == CLASSES
    assert [row[0] for row in rows("T")] == TARGETS


@pytest.mark.parametrize("row", rows("F"), ids=lambda row: row[0])
def test_a_class_names_promises_and_tests_that_exist(row: list[str]) -> None:
    _, _, promises, _, tests, _ = row
    assert all(row[:5])
    assert re.fullmatch(r"P\d+(, P\d+)*", promises)
    assert {int(one[1:]) for one in promises.split(", ")} <= set(range(1, 17))
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    assert named
    assert re.sub(r"`[^`]*`", "", tests).strip() == ""
    for file, test in named:
        source = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^\s*(async )?def {test}\(", source, re.MULTILINE), f"{file} has no {test}"


@pytest.mark.parametrize("row", rows("T"), ids=lambda row: row[0])
def test_a_target_says_how_it_was_measured_or_that_it_was_not(row: list[str]) -> None:
    _, what, measured, how, met = row
    assert what
    assert met in ANSWERS
    assert (met == "not measured") == (measured == "")
    assert how or not measured


def test_every_script_and_option_that_is_named_exists() -> None:
    named = set(re.findall(r"`(benchmarks/\w+\.py)((?: --?[\w-]+(?: [\w.]+)?)*)`", PAGE))
    assert len(named) >= 10
    for script, options in named:
        source = (ROOT / script).read_text()
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in source, f"{script} has no {option}"


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.search(r"\| [A-Z]{4,} \||TODO|\?\?", PAGE)
