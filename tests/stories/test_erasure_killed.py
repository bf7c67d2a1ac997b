"""A host that is killed at any point of an erasure: the next one finishes it, whether it has the key or not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sealing_support import KEY, files_with

from executus import Agent, InputFile, Runtime, ScriptedModel, Text, tool
from executus.adapters.files.stager import DirectoryStager
from executus.erasure import Eraser
from executus.events import TOMBSTONE, ContentErased, ToolCall
from executus.journal import verify_run
from executus.ports import ToolContext

WORD = "canary-of-the-killed-erasure"
STEPS = Eraser.STEPS
POINTS = [*(f"before {step}" for step in STEPS), "at the end", "between the key's deletion and its log"]


@tool
def keep(text: str, ctx: ToolContext) -> str:
    """Keep a file."""
    assert ctx.desk is not None
    ctx.desk.keep(f"{WORD}.txt", text.encode())
    return WORD * 5_000


SCRIPT = [[ToolCall("c", "keep", f'{{"text": "{WORD}"}}')], WORD]


def open_runtime(folder: Path, key: bytes | None = KEY) -> Runtime:
    agent = Agent("worker", model=ScriptedModel(SCRIPT), tools=[keep])
    return Runtime(folder / "runs.db", [agent], encryption=key, files=DirectoryStager(folder / "attachments"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A host's folder with a run to erase and one to keep."""
    folder = tmp_path_factory.mktemp("lived") / "host"
    folder.mkdir(mode=0o700)
    with open_runtime(folder) as runtime:
        runs = [
            runtime.start("worker", [Text(WORD)], files=[InputFile(f"{WORD}.txt", WORD.encode())]) for _ in range(2)
        ]
        assert [run.result(30).status for run in runs] == ["ok", "ok"]
    return folder, runs[0].id, runs[1].id


VICTIM = """
import os, signal, sys
sys.path[:0] = {path!r}
from test_erasure_killed import open_runtime
from pathlib import Path
from executus.erasure import Eraser
from executus.journal.keys_file import KeysFile

folder, run_id, point = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

runtime = open_runtime(Path(folder))
if point.startswith("before "):
    setattr(Eraser, point.removeprefix("before "), die)
elif point != "at the end":
    KeysFile.empty_log = die
runtime.erase(run_id, by="dpo", reason="asked")
die()
"""


@pytest.mark.parametrize("key", [KEY, None], ids=["with the key", "without"])
@pytest.mark.parametrize("point", POINTS)
def test_an_erasure_that_was_killed_is_finished_by_the_next_host(
    lived: tuple[Path, str, str], point: str, key: bytes | None, tmp_path: Path
) -> None:
    whole, run_id, kept = lived
    folder = tmp_path / "host"
    shutil.copytree(whole, folder)
    victim = VICTIM.format(path=[str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", victim, str(folder), run_id, point],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    with open_runtime(folder, key) as runtime:
        if point == "before note":  # nothing was begun
            assert runtime.prove_erasure([run_id]) != []
            runtime.erase(run_id, by="dpo", reason="asked")
        assert runtime.prove_erasure([run_id], [WORD]) == []
        assert verify_run(runtime.journal, run_id) == []
        said = [event.fact for event in runtime.journal.read(run_id) if isinstance(event.fact, ContentErased)]
        assert said == [ContentErased(by="dpo", reason="asked")]
        assert runtime.run(run_id).result().output == TOMBSTONE
        assert runtime.erase(run_id).left == ()
        assert len(list((folder / "runs.db-artifacts").iterdir())) == 1
        assert [path.name for path in (folder / "attachments").iterdir()] == [kept]
    with open_runtime(folder) as runtime:
        assert runtime.run(kept).result().output == WORD
        [artifact] = runtime.run(kept).artifacts()
        assert runtime.artifact(artifact.sha256) == WORD.encode()
        assert runtime.run(run_id).result().output == TOMBSTONE
    assert files_with(folder, [WORD]) == []
