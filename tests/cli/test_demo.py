import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from executus import Agent, ModelRefused, Runtime, ScriptedModel
from executus.cli import demo
from executus.cli.board import shown_rows
from executus.events import Event
from executus.projections.overview import Overview, overview

from .conftest import Run, lines_of

Start = Callable[..., "subprocess.Popen[str]"]


def test_the_demo_reviews_every_file_with_its_tools(cli: Run, sources: Path) -> None:
    result = cli("demo", sources, "--pace", 0, "--json")
    assert result.exit_code == 0
    *rows, summary = lines_of(result)
    assert summary["type"] == "summary"
    assert summary["runs"] == {"ok": 3}
    over = {row["name"]: row for row in rows if row["status"] == "ok"}
    assert over.keys() == {"clean.py", "broken.py", "deep/long.py"}
    assert "Nothing to change" in over["clean.py"]["output"]
    assert "could not review" in over["broken.py"]["output"]
    found = over["deep/long.py"]["output"]
    assert found.startswith("4 findings in 65 lines")
    for finding in (
        "line 1: `long_one` is 65 lines long",
        "mutable default",
        "no docstring: `long_one`",
        "line 64: a bare",
    ):
        assert finding in found
    assert over["deep/long.py"]["tool_calls"] == 6
    assert 2 <= over["deep/long.py"]["steps"] <= 4
    assert summary["steps"] == sum(row["steps"] for row in over.values())
    assert cli("verify").exit_code == 0


def test_the_stand_in_is_labelled_as_one(cli: Run, sources: Path) -> None:
    output = cli("demo", sources, "--pace", 0).stdout
    assert "stand-in" in output.splitlines()[1]
    assert "(estimated)" in output
    for row in lines_of(cli("ps", "--json")):
        assert row["model"] == "stand-in:rules"
        assert "no language model" in row["output"]


def test_in_a_pipe_there_is_a_line_for_each_change_and_no_control_code(cli: Run, sources: Path) -> None:
    output = cli("demo", sources, "--pace", 0).stdout
    assert "\x1b" not in output
    assert "\r" not in output
    assert len(re.findall(r"^ *\[\d/3\]  [0-9a-f]{8}  ok ", output, re.MULTILINE)) == 3
    assert "3 runs: 3 ok." in output


def test_the_commands_at_the_end_work(cli: Run, sources: Path) -> None:
    output = cli("demo", sources, "--pace", 0).stdout
    commands = [line.split("  ")[1] for line in output.partition("Next:\n")[2].splitlines()]
    assert [command.split()[1] for command in commands] == ["ps", "show", "audit", "verify"]
    for command in commands:
        assert cli(*command.split()[1:]).exit_code == 0


def test_the_demo_takes_as_many_files_as_the_limit_says(cli: Run, sources: Path) -> None:
    output = cli("demo", sources, "--pace", 0, "--limit", 1).stdout
    assert "1 file (of 3; see --limit)" in output
    assert len(lines_of(cli("ps", "--json"))) == 1


def test_wrong_directories_and_models_are_wrong_usage(cli: Run, tmp_path: Path, sources: Path, db: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing = cli("demo", tmp_path / "empty")
    assert nothing.exit_code == 2
    assert "no Python file" in nothing.stderr
    assert cli("demo", tmp_path / "missing").exit_code == 2
    unknown = cli("demo", sources, "--model", "nobody:nothing")
    assert unknown.exit_code == 2
    assert len(unknown.stderr.splitlines()) == 1
    assert not db.exists()


def test_a_run_that_fails_makes_the_demo_leave_with_1(cli: Run, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "stand_in", lambda pace_s: ScriptedModel([ModelRefused("no")]))
    result = cli("demo", sources)
    assert result.exit_code == 1
    assert "3 error" in result.stdout


def test_a_journal_in_use_is_one_sentence(cli: Run, sources: Path, db: Path) -> None:
    with Runtime(db):
        result = cli("demo", sources)
    assert result.exit_code == 3
    assert "in use by" in result.stderr


def test_ctrl_c_cancels_the_runs_and_leaves_a_whole_journal(cli: Run, start: Start, sources: Path) -> None:
    process = start("demo", sources, "--pace", 60, "--jobs", 2)
    assert process.stdout is not None
    began = 0
    for line in process.stdout:
        began += "running" in line
        if began == 2:
            break
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == ""
    assert "1 file not begun" in output
    assert [row["status"] for row in lines_of(cli("ps", "--json"))] == ["cancelled", "cancelled"]
    assert cli("verify").exit_code == 0


def test_runs_of_a_killed_demo_go_on_in_the_next_one(cli: Run, start: Start, sources: Path) -> None:
    process = start("demo", sources, "--pace", 60, "--jobs", 1, "--limit", 1)
    assert process.stdout is not None
    next(line for line in process.stdout if "running" in line)
    process.kill()
    process.wait(30)
    [left] = lines_of(cli("ps", "--json"))
    assert left["status"] == "suspended"
    *rows, summary = lines_of(cli("demo", sources, "--pace", 0, "--limit", 1, "--json"))
    assert summary["runs"] == {"ok": 2}
    assert left["run"] in {row["run"] for row in rows if row["status"] == "ok"}


def test_the_live_table_is_redrawn_on_a_terminal_and_its_last_picture_stays(start: Start, sources: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = start("demo", sources, "--pace", 0.3, stdout=theirs, env={"TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(30) == 0
    output = shown.decode()
    assert "\x1b[" in output
    assert "3 of 3 runs" in output.rpartition("NOW / LAST WORDS")[2]
    assert output.count("NOW / LAST WORDS") >= 2


def row(run_id: str, *, over: bool, changed: int) -> Overview:
    [log] = [made[run_id]]
    events = log if over else log[:2]
    return overview(Event(**{**{f: getattr(e, f) for f in e.__struct_fields__}, "at_us": changed}) for e in events)


made: dict[str, list[Event]] = {}


@pytest.fixture
def _two_runs() -> None:
    with Runtime(agents=[Agent("a", model=ScriptedModel(["x"]))]) as runtime:
        for name in ("one", "two", "three"):
            made[name] = list(runtime.start("a", "?").events())


@pytest.mark.usefixtures("_two_runs")
def test_runs_at_work_stand_above_those_that_ended_last() -> None:
    rows = {
        "1": row("one", over=True, changed=5),
        "2": row("two", over=False, changed=1),
        "3": row("three", over=True, changed=9),
    }
    assert shown_rows(rows, 10) == [rows["2"], rows["3"], rows["1"]]
    assert shown_rows(rows, 2) == [rows["2"], rows["3"]]


def test_json_lines_are_whole_at_every_moment(cli: Run, sources: Path) -> None:
    for line in cli("demo", sources, "--pace", 0, "--json").stdout.splitlines():
        assert json.loads(line)["type"] in ("run", "summary")
