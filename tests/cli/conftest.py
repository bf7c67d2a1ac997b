import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from executus.cli.program import executus

Run = Callable[..., Result]

CONVERSATIONS: list[dict[str, Any]] = [
    {
        "id": "weather",
        "reward": 1.0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How is the weather in Jena?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Jena"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "name": "weather", "content": "rain"},
            {"role": "assistant", "content": "It rains."},
        ],
    },
    {"id": "hello", "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]},
]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "runs.db"


@pytest.fixture
def cli(db: Path) -> Run:
    """Runs a command of `executus` in this process, on the test's own journal."""

    def run(*arguments: object, **options: Any) -> Result:
        words = [str(one) for one in arguments]
        return CliRunner(env={"EXECUTUS_DB": str(db), "NO_COLOR": "1"}).invoke(executus, words, **options)

    return run


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file of two conversations."""
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(CONVERSATIONS))
    return path


@pytest.fixture
def imported(cli: Run, recording: Path) -> list[str]:
    """The ids of the two runs, after an import."""
    return [line["run"] for line in lines_of(cli("import", recording, "--json")) if line["type"] == "conversation"]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A directory of Python files with something to find."""
    root = tmp_path / "sources"
    (root / "deep").mkdir(parents=True)
    (root / "clean.py").write_text('"""Nothing wrong."""\n')
    (root / "broken.py").write_text("def (:\n")
    body = "".join(f"    x = {n}\n" for n in range(60))
    (root / "deep" / "long.py").write_text(
        f"def long_one(a, b=[]):\n{body}    try:\n        pass\n    except:\n        pass\n"
    )
    return root


@pytest.fixture
def start(db: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a command of `executus` in a process of its own; it is killed after the test if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from executus.cli import main; main()", *map(str, arguments)]
        environment = {**os.environ, "EXECUTUS_DB": str(db), "PYTHONUNBUFFERED": "1", **options.pop("env", {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        process = subprocess.Popen(command, env=environment, **options)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def lines_of(result: Result) -> list[dict[str, Any]]:
    """The JSON lines of an output."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where hosts of the test listen: a directory of its own, whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as room:
        monkeypatch.setenv("XDG_RUNTIME_DIR", room)
        monkeypatch.delenv("EXECUTUS_TOKEN", raising=False)
        yield Path(room)
