import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from executus.testing import cassette

from .conftest import Run, lines_of


def test_a_backtest_of_everything_prints_sums(cli: Run, imported: list[str]) -> None:
    result = cli("backtest", "--critic", "stuck")
    assert result.exit_code == 0
    assert " ".join(result.stdout.splitlines()[0].split()) == "runs 2 2 good, 0 stuck, 0 not over; 12 events"
    assert "asked 3 times" in result.stdout


def test_a_critic_of_ones_own_is_imported_and_given_its_settings(
    cli: Run, imported: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_critics.py").write_text(
        "from executus import Continue, Kill\n"
        "class Patience:\n"
        "    name = 'patience'\n"
        "    every_steps = 5\n"
        "    def __init__(self, steps=9): self.steps = steps\n"
        "    def review(self, trace, now):\n"
        "        return Kill('too long') if trace.state.step >= self.steps else Continue()\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = ("--critic", "my_critics:Patience")
    rows = lines_of(cli("backtest", *spec, "--set", "steps=1", "--every-steps", "1", "--json"))
    killed = {row["name"]: row["ending"] and row["ending"]["kind"] for row in rows[:-1]}
    assert killed == {"weather": "killed", "hello": None}
    assert (rows[-1]["type"], rows[-1]["critic"], rows[-1]["good_killed"]) == ("summary", "patience", 1)
    assert lines_of(cli("backtest", *spec, "--json"))[-1]["killed"] == 0
    one = lines_of(cli("backtest", *spec, imported[1], "--json"))
    assert [row["run_id"] for row in one[:-1]] == [imported[1]]


def test_an_allowance_is_tried(cli: Run, imported: list[str]) -> None:
    rows = lines_of(cli("backtest", "--allow", "run:tool_calls=0", "--json"))
    assert [row["ending"]["kind"] for row in rows[:-1]] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing to try"),
        (["--allow", "week:tokens=3"], "window: expected one of"),
        (["--allow", "day:tokens"], "expected WINDOW:LIMIT=N"),
        (["--critic", "stuck", "--set", "repeats=0"], "repeats: expected a whole number"),
        (["--critic", "json:dumps_not"], "has no attribute"),
        (["--critic", "no_such_module_here:X"], "No module named"),
        (["--allow", "day:tokens=1", "--every-s", "3"], "are about a critic"),
    ],
)
def test_what_cannot_be_meant_is_said(cli: Run, imported: list[str], words: list[str], why: str) -> None:
    result = cli("backtest", *words)
    assert result.exit_code == 2
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1


HANGING = """
import asyncio, time

class Blocking:
    every_steps = 1

    def review(self, trace, now):
        print("here", flush=True)
        time.sleep(60)

class Waiting:
    every_steps = 1

    async def review(self, trace, now):
        print("here", flush=True)
        await asyncio.sleep(60)
"""


@pytest.mark.parametrize("critic", ["Blocking", "Waiting"])
def test_ctrl_c_says_how_far_it_came_and_leaves_nothing_behind(
    critic: str, db: Path, imported: list[str], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "critics_that_hang.py").write_text(HANGING)

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in db.parent.iterdir() if not path.name.endswith("-shm")}

    before = files()
    process = start("backtest", "--critic", f"critics_that_hang:{critic}", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert re.fullmatch(r"executus: interrupted after [1-9]\d* of 12 events; a backtest writes nothing\n", errors)
    assert files() == before


def test_a_run_becomes_a_cassette(cli: Run, imported: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weather.json"
    [told] = lines_of(cli("cassette", imported[0][-8:], "-o", path, "--json"))
    assert (told["type"], told["run"], told["steps"]) == ("cassette", imported[0], 2)
    assert json.loads(path.read_text())["agent"]["instructions"] == "Be brief."
    assert cassette(path).tape.output == "It rains."
