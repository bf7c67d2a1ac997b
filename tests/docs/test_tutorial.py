"""Every command of the tutorial is run, in its order, on a fresh journal, and prints what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from executus.journal import read_journal

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial-what-went-wrong.md"
TIMEOUT_S = 120
SHIMS = {
    "executus": "-c 'from executus.cli import main; main()'",
    "pytest": "-m pytest",
    "python": "",
}
"""Commands that a reader has, and here may not stand in the path: each is this interpreter with such arguments."""
CHANGING = re.compile(r"\b\d+ s +|\bin \d+\.\d+s|^(started|at) .*")
"""What no two runs of the page have in common: ages, durations and times."""


def told() -> list[tuple[str, list[str]]]:
    """The commands of the page, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


class Reader:
    """Somebody who follows the page in a folder that has what a checkout has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("docs/tutorial", "examples"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "heavy_host"))
        (folder / "bin").mkdir()
        for name, arguments in SHIMS.items():
            shim = folder / "bin" / name
            shim.write_text(f"#!/bin/sh\nexec '{sys.executable}' {arguments} \"$@\"\n")
            shim.chmod(0o755)
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("EXECUTUS", "PYTEST"))}
        self.environment = kept | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        found = re.findall(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", PAGE.read_text())
        self.page_ids = list(dict.fromkeys(found))
        self.own_ids: list[str] = []

    def run(self, command: str) -> str:
        """What `command` prints; it must not fail, nor complain."""
        done = subprocess.run(
            ["bash", "-c", self.mine(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), f"$ {command}\n{done.stdout}{done.stderr}"
        if "executus import" in command or "executus fork" in command:
            journal = read_journal(self.folder / ".executus" / "runs.db")
            self.own_ids = [row.run_id for row in sorted(journal.runs(), key=lambda row: row.run_id)]
            journal.close()
        return done.stdout

    def mine(self, text: str) -> str:
        """`text` of the page with the ids of this reader's runs, which are made in the page's order."""
        for told, own in zip(self.page_ids, self.own_ids, strict=False):
            text = text.replace(told, own).replace(told[-8:], own[-8:])
        return text


def squeezed(line: str) -> str:
    return re.sub(r" +", " ", CHANGING.sub("", line)).rstrip()


def says(shown: str, printed: str) -> bool:
    """Whether a line of the page is the line that was printed, or its beginning if the page cuts it."""
    if shown.endswith("…"):
        return squeezed(printed).startswith(squeezed(shown.removesuffix("…")))
    return squeezed(shown) == squeezed(printed)


def check(command: str, shown: list[str], printed: list[str]) -> None:
    """The lines of the page are there, in their order; only where the page has "…" is something between them."""
    place, gap = 0, False
    for line in shown:
        if line == "…":
            gap = True
            continue
        found = next((index for index in range(place, len(printed)) if says(line, printed[index])), None)
        message = f"$ {command}\n{line!r} of the page is not what is printed:\n" + "\n".join(printed[place:])
        assert found is not None, message
        assert gap or found == place, message
        place, gap = found + 1, False
    assert gap or place == len(printed), f"$ {command}\nthe page leaves out, without saying so: {printed[place:]}"


def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    settings: list[str] = []
    for command, shown in told():
        if re.match(r"[A-Z]+=", command):
            settings.append(command)
            continue
        printed = reader.run("; ".join([*settings, command])).splitlines()
        check(command, [reader.mine(line) for line in shown], printed)
    assert len(reader.page_ids) == 2, "the page has two runs: the recorded one and its fork"


def test_the_page_in_the_browser_is_served_for_the_run(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the debugger needs an extra: pip install '.[debug]'")
    assert "    executus debug $RUN\n" in PAGE.read_text()
    reader = Reader(tmp_path)
    reader.run('executus import docs/tutorial/changed-flight.json --error-prefix "Error: "')
    command = [tmp_path / "bin" / "executus", "debug", reader.own_ids[0][-8:], "--no-open"]
    process = subprocess.Popen(command, cwd=tmp_path, env=reader.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"/#/run/{reader.own_ids[0]}" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_what_the_page_says_without_a_command_is_so() -> None:
    recorded = json.loads((ROOT / "docs" / "tutorial" / "changed-flight.json").read_text())
    texts = [str(message["content"]) for message in recorded["messages"]]
    assert recorded["reward"] == 0
    assert '"amount": -476' in texts[27]
    assert '"cabin": "basic_economy"' in texts[27]
    assert "gift_card_3166319" in str(recorded["messages"][26])
    assert not any("gift_card_3166319" in str(one) for one in recorded["messages"] if one["role"] == "user")
    before, after = (len(json.loads(texts[number])["flights"]) for number in (5, 27))
    assert (before, after) == (4, 1)


def test_the_test_of_the_tutorial_fails_without_its_fix(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.run('executus import docs/tutorial/changed-flight.json --error-prefix "Error: "')
    [run] = reader.own_ids
    reader.run(f"executus cassette {run} -o changed-flight-tape.json")
    guard = tmp_path / "examples" / "tutorial_guard.py"
    fix = "        if reservation_id in begun:\n"
    assert fix in guard.read_text()
    guard.write_text(guard.read_text().replace(fix, "        if False:\n"))
    failed = reader.run("pytest -q examples/tutorial_guard.py || true")
    assert "1 failed" in failed
