"""`executus fork`: a fork without its agent, what it would inherit, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call, say

Run = Callable[..., Result]
DEADLINE_S = 20.0


def agent() -> Agent:
    @tool(effect="pure")
    def look(at: str) -> str:
        """Look."""
        return f"seen {at}"

    def answer(request: Any) -> Any:
        return (
            say("I look.", call("look", at="sea")) if request.step == 1 else f"done, {len(request.messages)} messages"
        )

    return Agent("a", model=ScriptedModel(answer), tools=[look], instructions="Be brief.")


@pytest.fixture
def source(db: Path) -> str:
    """A finished run: 1 run-started, 2 step-started, 3 step-completed, 4 tool-started, 5 tool-finished, …"""
    with Runtime(db, [agent()]) as runtime:
        run = runtime.start("a", "Go.", caller="alice")
        run.result(DEADLINE_S)
    return run.id


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_fork_is_made_without_its_agent_and_begun_by_a_host_that_has_it(cli: Run, db: Path, source: str) -> None:
    options = ("--at", 5, "--say", "And now?", "--limit", "steps=4", "--result", "1.0=seen a whale")
    [made] = lines(cli("fork", source[-8:], *options, "--json"))
    assert (made["source"], made["version"], made["paused"], made["given"]) == (source, 5, True, ["1.0"])
    assert {edit["what"] for edit in made["edits"]} == {"limits.max_steps", "said", "results.1.0"}
    shown = {row["run"]: row for row in lines(cli("ps", "--json"))}
    assert (shown[made["run"]]["status"], shown[made["run"]]["why"]) == ("waiting", "forked, not begun")
    assert "forked, not begun" in cli("ps").stdout
    doctor = cli("doctor")
    assert doctor.exit_code == 0, doctor.output
    assert "Forked, not begun (1)" in doctor.stdout
    with Runtime(db, [agent()]) as runtime:
        fork = runtime.run(made["run"])
        fork.begin()
        assert fork.result(DEADLINE_S).output == "done, 5 messages"
    assert "seen a whale" in cli("show", made["run"], "--events", "--full").stdout
    assert f"from {source}, version 5; different:" in cli("show", made["run"]).stdout


def test_a_dry_run_tells_what_would_be_inherited_and_changes_nothing(cli: Run, db: Path, source: str) -> None:
    told = cli("fork", source, "--at", 4, "--dry-run").stdout
    assert f"would go on from {source}, version 4" in told
    assert "to make    1.0" in told
    [asked] = lines(cli("fork", source, "--dry-run", "--json"))
    assert (asked["run"], asked["ends"], asked["steps"], asked["tool_calls"]) == (None, True, 2, 1)
    assert len(lines(cli("ps", "--json"))) == 1


def test_a_fork_of_a_live_hosts_journal_is_refused_and_its_dry_run_is_not(cli: Run, db: Path, source: str) -> None:
    with Runtime(db, [agent()]):
        refused = cli("fork", source, "--at", 2)
        assert refused.exit_code == 3
        assert "a run of a live host is forked in that host: Runtime.fork(run, at)" in refused.stderr
        assert cli("fork", source, "--at", 2, "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--at", 99), "expected a version from 1 to"),
        (("--limit", "steps"), "expected NAME=NUMBER"),
        (("--limit", "steps=many"), "expected NAME=NUMBER"),
        (("--limit", "speed=3"), "no limit 'speed'"),
        (("--limit", "steps=0"), "expected a whole number"),
        (("--result", "1.0"), "expected CALL=TEXT"),
        (("--result", "9.0=x"), "is not in the conversation"),
    ],
)
def test_what_cannot_be_is_refused_with_why(cli: Run, source: str, options: tuple[Any, ...], says: str) -> None:
    refused = cli("fork", source, *options)
    assert (refused.exit_code, says in refused.stderr) == (2, True), refused.output
    assert len(lines(cli("ps", "--json"))) == 1
