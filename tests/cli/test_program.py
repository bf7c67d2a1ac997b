import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from executus import __version__
from executus.cli.program import EXIT_CODES, executus

from .conftest import Run

Start = Callable[..., "subprocess.Popen[str]"]
COMMANDS = sorted(executus.commands)


def test_the_commands_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"`executus {name}" not in page] == []
    for code in ("0", "1", "2", "3", "130", "141"):
        assert f"| {code} |" in page
        assert f"  {code} " in EXIT_CODES


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_with_examples_and_has_db_and_json(cli: Run, name: str) -> None:
    text = cli(name, "--help").stdout
    assert f"executus {name}" in text.partition("Examples:")[2]
    assert "--db" in text
    assert "--json" in text


def test_the_help_shows_commands_and_exit_codes(cli: Run) -> None:
    text = cli("--help").stdout
    assert "Exit codes:" in text
    for name in COMMANDS:
        assert f"\n  {name} " in text


def test_the_version_is_that_of_the_package(cli: Run) -> None:
    assert cli("--version").stdout == f"executus {__version__}\n"


def test_help_loads_neither_rich_nor_the_runtime() -> None:
    code = """
import sys
from executus.cli.program import executus
try:
    executus(["demo", "--help"])
except SystemExit:
    pass
heavy = ("rich", "pykka", "eventsourcing", "sqlite3", "asyncio", "executus.runtime")
print([name for name in heavy if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_wrong_options_are_wrong_usage(cli: Run) -> None:
    assert cli("ps", "--wrong").exit_code == 2
    assert cli("nothing").exit_code == 2
    assert cli("demo", "--limit", "0").exit_code == 2


def test_a_reader_that_went_away_is_met_quietly(start: Start, imported: list[str]) -> None:
    for command in (["ps"], ["tail"], ["show", imported[0], "--json"], ["verify"]):
        reader, writer = os.pipe()
        os.close(reader)
        process = start(*command, stdout=writer)
        os.close(writer)
        _, errors = process.communicate(timeout=30)
        assert errors == ""
        assert process.returncode == 141


def test_a_terminal_that_cannot_show_a_character_shows_another(start: Start, imported: list[str]) -> None:
    process = start("show", imported[0], env={"PYTHONIOENCODING": "iso-8859-1"})
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "? weather" in output


def test_following_shows_what_another_process_writes_until_ctrl_c(
    cli: Run, start: Start, imported: list[str], tmp_path: Path
) -> None:
    process = start("tail", "--follow", "--json", "-n", 1)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["run"] == imported[1]
    more = tmp_path / "more.json"
    more.write_text(json.dumps([{"role": "user", "content": "news"}]))
    assert cli("import", more).exit_code == 0
    tags = [json.loads(process.stdout.readline())["tag"] for _ in range(2)]
    assert tags == ["run-started", "run-finished"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == ""
