"""The page on stored views names every table and every column, and none that is not there."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from executus.journal.views.builtin import builtin_views
from executus.journal.views.tables import create_table
from executus.projections.audit import MOST_NAME, MOST_TEXT

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "views.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def database() -> sqlite3.Connection:
    """Every table and sum, empty."""
    connection = sqlite3.connect(":memory:")
    for view in builtin_views():
        for statement in (*(create_table(table) for table in view.tables), *view.after_building()):
            connection.execute(statement)
    return connection


def test_every_table_has_its_section_with_its_columns_in_order(database: sqlite3.Connection) -> None:
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert sorted(SECTIONS) == sorted(tables)
    for name in tables:
        there = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        told = [
            column
            for line in SECTIONS[name].splitlines()
            if line.startswith("| `")
            for column in re.findall(r"`(\w+)`", line.split("|")[1])
        ]
        assert sorted(told) == sorted(there), name
        assert len(told) == len(set(told)), name
    database.close()


def test_every_sum_is_named(database: sqlite3.Connection) -> None:
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        assert f"`{name}`" in PAGE
        database.execute(f"SELECT * FROM {name}").fetchall()
    database.close()


def test_the_lengths_are_told_as_they_are() -> None:
    assert f"cut at {MOST_NAME} characters, texts at {MOST_TEXT}" in PAGE
