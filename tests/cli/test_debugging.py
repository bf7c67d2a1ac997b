"""`executus debug`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from wire_support import agents, wire_home

from executus import Runtime
from executus.events import CallerSteered

from .conftest import Run

__all__ = ["wire_home"]

httpx2 = pytest.importorskip("httpx2", reason="the debugger's tests need an extra: pip install '.[test]'")
pytest.importorskip("sse_starlette", reason="the debugger needs an extra: pip install '.[debug]'")

Start = Callable[..., "subprocess.Popen[str]"]


def address_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    url: str = json.loads(line)["url"]
    return url


def test_it_serves_the_page_of_a_run_until_it_is_interrupted(db: Path, imported: list[str], start: Start) -> None:
    process = start("debug", imported[0][-8:], "--no-open", "--json")
    root, _, rest = address_of(process).partition("#/")
    path, _, token = rest.partition("?token=")
    assert root.startswith("http://127.0.0.1:")
    assert path == f"run/{imported[0]}"
    assert b"executus debugger" in httpx2.get(root).content
    assert httpx2.get(f"{root}api/runs").status_code == 401
    found = httpx2.get(f"{root}api/runs", headers={"x-executus-token": token}).json()
    assert {row["run"] for row in found["runs"]} == set(imported)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_journal_can_be_named_by_its_path_and_the_token_is_in_the_printed_line(
    db: Path, imported: list[str], start: Start, tmp_path: Path
) -> None:
    process = start("debug", str(db), "--no-open", env={"EXECUTUS_DB": str(tmp_path / "nothing.db")})
    assert process.stdout is not None
    assert "?token=" in process.stdout.readline()


def test_a_host_that_listens_takes_the_orders_of_the_page(wire_home: Path, start: Start) -> None:
    db = wire_home / "runs.db"
    with Runtime(db, agents(), listen="ipc") as rt:
        run = rt.start("patient", "go")
        process = start("debug", "--db", str(db), "--no-open", "--json")
        root, _, rest = address_of(process).partition("#/")
        page = {"x-executus-token": rest.partition("?token=")[2]}
        seen = httpx2.get(f"{root}api/runs/{run.id}", headers=page).json()
        assert seen["live"] == {"status": "running", "reason": ""}
        told = httpx2.post(
            f"{root}api/runs/{run.id}/orders", json={"order": "steer", "text": "Be brief."}, headers=page
        )
        assert told.json() == {"done": True, "status": "running"}
        facts = [event.fact for event in rt.journal.read(run.id)]
        assert [fact.by for fact in facts if isinstance(fact, CallerSteered)] == ["operator:debugger"]
        forked = httpx2.post(f"{root}api/runs/{run.id}/fork", json={"at": 1}, headers=page)
        assert forked.status_code == 409
        assert "forks are made where the host is" in forked.text
    seen = httpx2.get(f"{root}api/runs/{run.id}", headers=page, timeout=30).json()
    assert seen["live"] is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_what_is_missing_is_said_in_a_sentence(cli: Run, imported: list[str], tmp_path: Path) -> None:
    assert cli("debug", "ffffffff", "--no-open").exit_code == 2
    assert "there is no journal" in cli("debug", "--db", tmp_path / "none.db").stderr


def test_without_the_extra_it_says_how_to_get_it(db: Path, imported: list[str]) -> None:
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('starlette', 'uvicorn', 'sse_starlette'):
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ['executus', 'debug', '--db', {str(db)!r}]
from executus.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "executus: the debugger needs an extra: pip install 'executus[debug]'"
