"""Every fact, setting, limit, error and command has its line in the docs, and no line speaks of what is gone."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import click
import pytest

from executus import Agent, Runtime, errors
from executus.actors import mailbox, supervisor
from executus.actors.run import intake
from executus.cli.program import executus
from executus.events import FACTS, clean, codec

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()


def section(title: str) -> str:
    return re.split(r"^## ", REFERENCE, flags=re.MULTILINE)[
        [part.partition("\n")[0] for part in re.split(r"^## ", REFERENCE, flags=re.MULTILINE)].index(title)
    ]


def table(text: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_fact_has_its_line_with_all_its_fields() -> None:
    told = {row[0]: (row[1], re.findall(r"`(\w+)`", row[3])) for row in table(section("Facts"))[2:]}
    there = {f"`{tag}`": (f"`{struct.__name__}`", list(struct.__struct_fields__)) for tag, (struct, _) in FACTS.items()}
    assert told == there


@pytest.mark.parametrize("kind", ["Agent", "Runtime"])
def test_every_setting_has_its_line_with_its_default(kind: str) -> None:
    part = section("Settings").split(f"**`{kind}`**")[1].split("\n\n")[1]
    told = {row[0].strip("`"): row[1].replace(",", "") for row in table(part)[2:]}
    if kind == "Agent":
        defaults = {field.name: field.default for field in dataclasses.fields(Agent)}
    else:
        defaults = {name: one.default for name, one in inspect.signature(Runtime).parameters.items()}
    assert set(told) == set(defaults)
    for setting, default in defaults.items():
        if isinstance(default, (int, float)):
            assert told[setting] == f"{default:g}" if not isinstance(default, bool) else str(default), setting


def test_every_argument_of_start_is_named() -> None:
    text = section("Settings").split("**`Runtime.start`**")[1]
    for argument in list(inspect.signature(Runtime.start).parameters)[2:]:
        assert f"`{argument}`" in text, argument


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("MAX_TEXT", clean.MAX_TEXT),
        ("MAX_DEPTH", clean.MAX_DEPTH),
        ("WORDS", intake.WORDS),
        ("BLOB_BYTES", codec.BLOB_BYTES),
        ("MAILBOX_LIMIT", mailbox.MAILBOX_LIMIT),
        ("LOSSES", supervisor.LOSSES),
        ("max_queued", 100_000),
        ("max_live_runs", 20_000),
    ],
)
def test_every_limit_is_told_as_it_is(limit: str, value: int) -> None:
    [row] = [row for row in table(section("Limits")) if row[0].startswith(f"`{limit}`")]
    assert row[1].startswith(f"{value:,}")


def test_every_error_has_its_line() -> None:
    there = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.ExecutusError) and kind is not errors.ExecutusError
    }
    told = {name for row in table(section("Errors"))[2:] for name in re.findall(r"`(\w+)`", row[0])}
    assert told == there


def test_every_command_has_its_line_and_every_option_its_help() -> None:
    told = set(re.findall(r"^\| `executus (\w+)", CLI, re.MULTILINE))
    assert told == set(executus.commands)
    for command in executus.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{command.name} {option.name}"
