"""Every fact, setting, order, limit, error and command has its line in the docs, and no line speaks of what is gone."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from executus import Agent, Allowance, Delegate, Phase, Runtime, Signing, Skill, errors, recovery
from executus.actors import critic, errand, mailbox, reviews, runner, supervisor
from executus.actors.run import intake
from executus.adapters.files import artifacts, stager
from executus.cli.program import executus
from executus.events import FACTS, Limits, clean, codec
from executus.handles.orders import Orders
from executus.journal import beside
from executus.ports import QUARANTINE_AFTER

ROOT = Path(__file__).parents[2]
SHELF = ROOT / "docs" / "reference"
FACTS_PAGE = (SHELF / "facts.md").read_text()
SETTINGS = (SHELF / "settings.md").read_text()
REFERENCE = (SHELF / "README.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()


def section(page: str, title: str) -> str:
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    return parts[[part.partition("\n")[0] for part in parts].index(title)]


def table(text: str) -> list[list[str]]:
    """The rows of every table in `text`, without the heads."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    heads = {number - 1 for number, row in enumerate(cells) if set("".join(row)) <= {"-", " "}}
    return [row for number, row in enumerate(cells) if number not in heads and number - 1 not in heads]


def test_every_fact_has_its_line_with_all_its_fields() -> None:
    rows = table(FACTS_PAGE)
    assert len({row[0] for row in rows}) == len(rows), "and one only"
    told = {row[0]: (row[1], re.findall(r"`(\w+)`", row[3])) for row in rows}
    there = {f"`{tag}`": (f"`{struct.__name__}`", list(struct.__struct_fields__)) for tag, (struct, _) in FACTS.items()}
    assert told == there


def defaults_of(kind: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        return {field.name: field.default for field in dataclasses.fields(kind)}
    if issubclass(kind, msgspec.Struct):
        return {field.name: field.default for field in msgspec.structs.fields(kind)}
    return {name: one.default for name, one in inspect.signature(kind).parameters.items()}


@pytest.mark.parametrize(
    "kind", [Agent, Phase, Delegate, Skill, Runtime, Allowance, Signing], ids=lambda kind: kind.__name__
)
def test_every_setting_has_its_line_with_its_default(kind: Any) -> None:
    told = {row[0].strip("`"): row[1].replace(",", "") for row in table(section(SETTINGS, kind.__name__))}
    defaults = defaults_of(kind)
    assert set(told) == set(defaults)
    for setting, default in defaults.items():
        if isinstance(default, bool):
            assert told[setting] == str(default), setting
        elif isinstance(default, (int, float)):
            assert told[setting] == f"{default:g}", setting
        elif isinstance(default, str):
            assert told[setting] == f'`"{default}"`', setting


@pytest.mark.parametrize("call", [Runtime.start, Runtime.resume], ids=lambda call: call.__name__)
def test_every_argument_of_a_start_is_named(call: Any) -> None:
    text = section(SETTINGS, "Starting and going on").split(f"**`Runtime.{call.__name__}`**")[1].split("**")[0]
    for argument in list(inspect.signature(call).parameters)[2:]:
        assert f"`{argument}`" in text, argument


def test_every_limit_of_a_run_that_a_start_may_change_is_named() -> None:
    names = section(SETTINGS, "Starting and going on").split("The names in `limits`")[1].split(":", 1)[1]
    assert set(re.findall(r"`(\w+)`", names)) == set(Limits.__struct_fields__)


def test_every_order_has_its_line_with_all_its_arguments() -> None:
    told = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in table(section(REFERENCE, "Orders"))}
    there = {
        name: [argument for argument in inspect.signature(order).parameters if argument not in ("self", "timeout")]
        for name, order in vars(Orders).items()
        if not name.startswith("_") and inspect.isfunction(order) and not name.endswith("_async")
    }
    assert told == there
    assert all(f"{name}_async" in vars(Orders) for name in there)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("MAX_TEXT", clean.MAX_TEXT),
        ("MAX_DEPTH", clean.MAX_DEPTH),
        ("WORDS", intake.WORDS),
        ("BLOB_BYTES", codec.BLOB_BYTES),
        ("MAILBOX_LIMIT", mailbox.MAILBOX_LIMIT),
        ("LOSSES", supervisor.LOSSES),
        ("QUARANTINE_AFTER", QUARANTINE_AFTER),
        ("LOAD_S", round(runner.LOAD_S)),
        ("MOST_EVENTS", recovery.MOST_EVENTS),
        ("LOST_AFTER", critic.LOST_AFTER),
        ("MOST_ORDERS", critic.MOST_ORDERS),
        ("REVIEWS_AT_ONCE", reviews.REVIEWS_AT_ONCE),
        ("DeliveryTerms.attempts", errand.DeliveryTerms().attempts),
        ("stager.MAX_FILE_BYTES", stager.MAX_FILE_BYTES),
        ("artifacts.MAX_FILE_BYTES", artifacts.MAX_FILE_BYTES),
        ("KEPT", beside.KEPT),
        ("max_queued", 100_000),
        ("max_live_runs", 20_000),
    ],
)
def test_every_limit_is_told_as_it_is(limit: str, value: int) -> None:
    [row] = [row for row in table(section(REFERENCE, "Limits")) if row[0].startswith(f"`{limit}`")]
    assert row[1].startswith(f"{value:,}")


def test_every_error_has_its_line() -> None:
    there = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.ExecutusError) and kind is not errors.ExecutusError
    }
    told = {name for row in table(section(REFERENCE, "Errors")) for name in re.findall(r"`(\w+)`", row[0])}
    assert told == there


def test_every_command_has_its_line_and_every_option_its_help() -> None:
    told = set(re.findall(r"^\| `executus (\w+)", CLI, re.MULTILINE))
    assert told == set(executus.commands)
    for command in executus.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{command.name} {option.name}"
