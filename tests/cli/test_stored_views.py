"""`audit` and `rebuild`, with a host and without."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journal_support import RunLog, finished, note, started, step
from msgspec.structs import replace
from runtime_support import DEADLINE_S, FunctionModel, Gate, said

from executus import Agent, Runtime, tool
from executus.events import (
    ApprovalDenied,
    ApprovalRequested,
    CallerSteered,
    CeilingRaised,
    CriticSteered,
    DeadlineExtended,
    ErrorLogged,
    RunFinished,
    RunStats,
)
from executus.journal import SqliteJournal

from .conftest import Run, lines_of

OWN_VIEW = """
import time
from executus.events import NoteLogged
from executus.projections.rows import Row, Table

class Kind(Row):
    kind: str
    notes: int = 0

class Kinds:
    name = "kinds"
    version = 1
    tables = (Table("kinds", Kind),)

    def apply(self, event, rows):
        if isinstance(event.fact, NoteLogged):
            rows.of(Kind).change(event.fact.type).notes += 1

class Slow(Kinds):
    def apply(self, event, rows):
        print("here", flush=True)
        time.sleep(60)

class Failing(Kinds):
    def apply(self, event, rows):
        raise ValueError("no good")

several = [Kinds()]
"""


@pytest.fixture
def governed(db: Path) -> str:
    """A journal of two runs by two callers; the first has something of everything."""
    journal = SqliteJournal(db)
    run = RunLog(journal)
    begin = started(run.run_id)
    run.write(replace(begin, info=replace(begin.info, caller_id="alice", channel_id="c7")))
    run.write(*step(1), CriticSteered(text="be \x1b[31mquick", evidence={"same": 3}), note(1, "hello"))
    run.write(DeadlineExtended(until_ms=7_200_000, reason="nearly there"))
    run.write(CeilingRaised(limit="steps", old=50, new=80, by="bob", reason="more to do"))
    run.write(ApprovalRequested(call="1.1", name="buy", question="Buy it?"), CallerSteered(text="go on", by="carol"))
    run.write(ApprovalDenied(call="1.1", by="dora", reason="too dear"), ErrorLogged(message="the disk hums"))
    run.write(RunFinished(stats=RunStats(status="killed", error="enough"), by="critic", reason="in circles"))
    other = RunLog(journal)
    begin = started(other.run_id)
    other.write(replace(begin, info=replace(begin.info, caller_id="bob")), *step(1), finished())
    journal.close()
    return run.run_id


def test_without_a_run_there_is_a_table_with_sums(cli: Run, governed: str) -> None:
    shown = cli("audit")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].split() == [
        "RUN",
        "STATUS",
        "AGE",
        "CALLER",
        "AGENT",
        "STEPS",
        "TOOLS",
        "TOKENS",
        "USD",
        "TIME",
        "WHY",
    ]
    assert {line.split()[1] for line in lines[1:3]} == {"killed", "ok"}
    assert any(line.split()[:4] == ["alice", "1", "0", "1"] for line in lines)
    assert any(line.startswith("CALLER") for line in lines)


@pytest.mark.parametrize(
    ("options", "callers"),
    [
        (["--caller", "alice"], ["alice"]),
        (["--agent", "nobody"], []),
        (["--status", "ok"], ["bob"]),
        (["--status", "ok", "--status", "killed"], ["bob", "alice"]),
        (["--since", "2023-01-01"], ["bob", "alice"]),
        (["--since", "1d"], []),
        (["--until", "2023-01-01T10:00"], []),
    ],
)
def test_runs_are_chosen(cli: Run, governed: str, options: list[str], callers: list[str]) -> None:
    shown = lines_of(cli("audit", "--json", *options))
    assert sorted(line["caller"] for line in shown if line["type"] == "audit-run") == sorted(callers)


def test_as_many_runs_are_listed_as_were_asked_for(cli: Run, governed: str) -> None:
    assert len([line for line in lines_of(cli("audit", "--json", "--limit", "1")) if line["type"] == "audit-run"]) == 1
    assert "(the newest 1 of 2;" in cli("audit", "--limit", "1").stderr


def test_the_sums_are_of_the_chosen_runs(cli: Run, governed: str) -> None:
    shown = [line for line in lines_of(cli("audit", "--json")) if line["type"] == "audit-sum"]
    assert {(line["by"], line["of"]): line["runs"] for line in shown} == {
        ("all", ""): 2,
        ("caller", "alice"): 1,
        ("caller", "bob"): 1,
        ("agent", "tester"): 2,
        ("day", "2023-11-14"): 2,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "fine"], "'fine' is no status"),
        (["--since", "yesterday"], "--since: expected how long ago"),
        (["ffff"], "no run has an id like"),
    ],
)
def test_what_cannot_be_meant_is_said(cli: Run, governed: str, options: list[str], said: str) -> None:
    shown = cli("audit", *options)
    assert shown.exit_code == 2
    assert said in shown.stderr


def test_one_run_is_told_whole(cli: Run, governed: str) -> None:
    shown = cli("audit", governed[-8:])
    assert shown.exit_code == 0
    for words in (
        "caller      alice",
        "killed, by critic: in circles",
        "deadline-extended  seconds  3,600 → 7,200",
        "50 → 80",
        "nearly there",
        "denied   dora",
        "too dear",
        "the disk hums",
        "steer  carol  go on",
        '{"number":1,"text":"hello"}',
    ):
        assert words in shown.stdout, words
    assert "\x1b" not in shown.stdout, "what a critic said steers no terminal"


def test_one_run_as_json_has_an_object_a_row(cli: Run, governed: str) -> None:
    shown = lines_of(cli("audit", governed, "--json"))
    assert [line["type"] for line in shown] == [
        "audit-run",
        "audit-step",
        "audit-tool",
        "audit-approval",
        "audit-limit-change",
        "audit-limit-change",
        "audit-critic-act",
        "audit-order",
        "audit-error",
        "audit-note",
    ]
    assert all(line["run"] == governed for line in shown)
    assert shown[0]["started_at"] == "2023-11-14T22:13:20.000Z"


def test_the_tables_are_brought_up_to_date_by_whoever_asks(cli: Run, db: Path, governed: str) -> None:
    views = Path(f"{db}.views")
    assert not views.exists()
    assert len(lines_of(cli("audit", "--json"))) == 7
    assert views.exists()
    journal = SqliteJournal(db)
    RunLog(journal).start().write(finished())
    journal.close()
    assert len([line for line in lines_of(cli("audit", "--json")) if line["type"] == "audit-run"]) == 3
    assert cli("rebuild", "--check").exit_code == 0


def test_where_nothing_can_be_written_the_answer_is_made_for_it(cli: Run, db: Path, governed: str) -> None:
    Path(f"{db}.views").mkdir()
    shown = cli("audit")
    assert shown.exit_code == 0
    assert "cannot be written here; these were made for this answer" in shown.stderr
    assert "alice" in shown.stdout
    assert cli("rebuild").exit_code == 3


# ------------------------------------------------------------------ beside a live host


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return "seen"


def test_beside_a_live_host_its_own_tables_are_read_and_checked_and_not_rebuilt(cli: Run, db: Path) -> None:
    gate = Gate()

    def answer(request: Any) -> Any:
        return said("done")

    class Held(FunctionModel):
        def reply(self, request: Any) -> Any:  # type: ignore[override]
            gate.pass_through()
            return answer(request)

    with Runtime(db, [Agent("held", model=Held(answer), tools=[look])]) as runtime:
        run = runtime.start("held", "go", caller="alice")
        gate.wait_entered()
        assert runtime.views is not None
        assert runtime.views.wait(timeout=DEADLINE_S)
        [line] = [line for line in lines_of(cli("audit", "--json")) if line["type"] == "audit-run"]
        assert (line["run"], line["status"], line["doing"]) == (run.id, "running", "model")
        refused = cli("rebuild")
        assert refused.exit_code == 3
        assert "close that host first, or compare with --check" in refused.stderr
        checked = cli("rebuild", "--check", "--json")
        assert checked.exit_code == 0, checked.output
        assert all(line["difference"] == "" for line in lines_of(checked))
        gate.open()
        assert run.result(DEADLINE_S).status == "ok"
        [line] = [line for line in lines_of(cli("audit", "--json")) if line["type"] == "audit-run"]
        assert line["status"] == "ok"
    assert cli("rebuild", "--check").exit_code == 0


def test_a_host_that_keeps_no_views_is_said_and_the_answer_is_there_all_the_same(cli: Run, db: Path) -> None:
    with Runtime(db, [Agent("quick", model=FunctionModel(lambda _: said("done")))], views=None) as runtime:
        assert runtime.views is None
        assert runtime.start("quick", "go", caller="alice").result(DEADLINE_S).status == "ok"
        shown = cli("audit", "--caller", "alice")
        assert "the host keeps no views of this version; these were made for this answer" in shown.stderr
        assert "alice" in shown.stdout
    assert not Path(f"{db}.views").exists()


# ------------------------------------------------------------------ rebuild


def test_a_rebuild_says_what_it_made(cli: Run, db: Path, governed: str) -> None:
    shown = lines_of(cli("rebuild", "--json"))
    assert [line["view"] for line in shown][:1] == ["audit"]
    assert all(line["type"] == "rebuilt" and line["position"] == 20 for line in shown)
    assert "audit: 13 rows, of 20 events" in cli("rebuild", "audit").stdout


def test_a_check_that_finds_a_difference_ends_with_1_and_names_it(cli: Run, db: Path, governed: str) -> None:
    assert cli("rebuild").exit_code == 0
    connection = sqlite3.connect(f"{db}.views")
    connection.execute("UPDATE runs SET steps = 7 WHERE run_id = ?", [governed])
    connection.commit()
    connection.close()
    shown = cli("rebuild", "audit", "--check")
    assert shown.exit_code == 1
    assert f"audit: differs at position 20: runs: run_id '{governed}', steps: 7 is stored, 1 is built" in shown.stdout
    assert cli("rebuild", "audit").exit_code == 0
    assert cli("rebuild", "--check").exit_code == 0


def test_a_check_of_what_is_not_there_is_no_success(cli: Run, governed: str) -> None:
    assert cli("rebuild", "audit", "--check").exit_code == 1


def test_an_unknown_view_is_wrong_usage(cli: Run, governed: str) -> None:
    shown = cli("rebuild", "nothing")
    assert shown.exit_code == 2
    assert "no view 'nothing'; there are audit" in shown.stderr


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_views_of_a_test.py").write_text(OWN_VIEW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_views_of_a_test"


@pytest.mark.parametrize("name", ["Kinds", "several"])
def test_views_of_your_own_are_built_and_checked_like_ours(
    name: str, cli: Run, db: Path, governed: str, own_module: str
) -> None:
    assert cli("rebuild", "--views", f"{own_module}:{name}").exit_code == 0
    assert cli("rebuild", "kinds", "--check", "--views", f"{own_module}:{name}").exit_code == 0
    connection = sqlite3.connect(f"{db}.views")
    assert connection.execute("SELECT * FROM kinds").fetchall() == [("test", 1)]
    connection.close()


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        ("nowhere", 2, "expected MODULE:NAME"),
        ("no_such_module_here:View", 2, "No module named"),
        ("own_views_of_a_test:Missing", 2, "has no attribute"),
        ("own_views_of_a_test:Kind", 2, ""),
        ("own_views_of_a_test:Failing", 1, "stopped after position 0: at event 1"),
    ],
)
def test_views_that_cannot_be_had_are_said(
    spec: str, code: int, said: str, cli: Run, governed: str, own_module: str
) -> None:
    shown = cli("rebuild", "--views", spec)
    assert shown.exit_code == code
    assert said in shown.output


def test_ctrl_c_leaves_the_old_view_whole(
    cli: Run, db: Path, governed: str, own_module: str, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    assert cli("rebuild", "kinds", "--views", f"{own_module}:Kinds").exit_code == 0
    process = start("rebuild", "kinds", "--views", f"{own_module}:Slow", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    connection = sqlite3.connect(f"{db}.views")
    assert connection.execute("SELECT * FROM kinds").fetchall() == [("test", 1)]
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert not [name for name in names if name.startswith("new_")]
    connection.close()


def test_json_lines_are_json(cli: Run, governed: str) -> None:
    for line in cli("audit", "--json").stdout.splitlines():
        json.loads(line)
