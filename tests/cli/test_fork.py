"""`executus fork`: a fork without its agent, what it would inherit, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from journal_support import RunLog

from executus import Agent, Overrides, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call, say
from executus.events import RunForked
from executus.journal import SqliteJournal
from executus.projections.editing import Say
from executus.testing import run_started

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
        (("--tools", "look,fly"), "agent 'a' has no tool 'fly'; it has: look"),
        (("--tools", "look,,"), "expected NAME,NAME"),
        (("--agent", "another"), "expected MODULE:NAME"),
        (("--agent", "nowhere_at_all:it"), "No module named 'nowhere_at_all'"),
        (("--agent", "json:dumps"), "expected an Agent there, found <function dumps"),
    ],
)
def test_what_cannot_be_is_refused_with_why(cli: Run, source: str, options: tuple[Any, ...], says: str) -> None:
    refused = cli("fork", source, *options)
    assert (refused.exit_code, says in refused.stderr) == (2, True), refused.output
    assert len(lines(cli("ps", "--json"))) == 1


AGENTS = """
from executus import Agent, ScriptedModel, tool

@tool(effect="pure")
def smell(at: str) -> str:
    "Smell."
    return at

careful = Agent("careful", model=ScriptedModel(lambda request: request.messages[0].parts[0].text), tools=[smell],
                instructions="Be careful.")
"""


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A module with an agent, in the current directory."""
    (tmp_path / "agents_of_forks.py").write_text(AGENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "agents_of_forks"


def test_a_fork_keeps_only_the_tools_that_are_named(cli: Run, db: Path, source: str) -> None:
    [made] = lines(cli("fork", source, "--at", 1, "--tools", "", "--json"))
    assert [(one["what"], one["before"], one["after"]) for one in made["edits"]] == [("tools", "look", "")]
    [kept] = lines(cli("fork", source, "--at", 1, "--tools", " look ", "--json"))
    with Runtime(db, [agent()]) as runtime:
        for run_id, looked in ((made["run"], "no tool"), (kept["run"], "seen sea")):
            run = runtime.run(run_id)
            run.begin()
            run.result(DEADLINE_S)
            assert looked in cli("show", run_id, "--events", "--full").stdout


def test_a_fork_goes_on_with_another_agent_that_is_imported(cli: Run, db: Path, source: str, agents: str) -> None:
    [made] = lines(cli("fork", source, "--at", 1, "--agent", f"{agents}:careful", "--json"))
    assert [(one["what"], one["before"], one["after"]) for one in made["edits"]] == [("agent", "a", "careful")]
    refused = cli("fork", source, "--agent", f"{agents}:careful", "--tools", "look", "--dry-run")
    assert "agent 'careful' has no tool 'look'; it has: smell" in refused.stderr
    other = Agent("careful", model=ScriptedModel(["careful it is"]))
    with Runtime(db, [other]) as runtime:
        run = runtime.run(made["run"])
        run.begin()
        assert run.result(DEADLINE_S).output == "careful it is", "the agent of this name of the host that begins it"


def test_the_lineage_is_drawn_with_what_was_different_and_how_each_ended(cli: Run, db: Path, source: str) -> None:
    with Runtime(db, [agent()]) as runtime:
        told = Overrides(messages=[Say("And\nnow?")], limits={"max_steps": 4})
        first = runtime.fork(source, 5, overrides=told, start=True)
        first.result(DEADLINE_S)
        second = runtime.fork(first, 3, reuse="recorded")
        third = runtime.fork(source, 2)
        third.kill("no more", by="ann")
        third.result(DEADLINE_S)
        other = runtime.start("a", "Go elsewhere.")
        other.result(DEADLINE_S)
    found = lines(cli("lineage", second.id[-8:], "--json"))
    assert [(one["run"], one["above"], one["version"], one["depth"]) for one in found] == [
        (source, None, 0, 0),
        (third.id, source, 2, 1),
        (first.id, source, 5, 1),
        (second.id, first.id, 3, 2),
    ]
    assert [one["status"] for one in found] == ["ok", "killed", "ok", "waiting"]
    assert [(one["what"], one["after"]) for one in found[2]["edits"]] == [
        ("limits.max_steps", "4"),
        ("said", "And\nnow?"),
    ]
    assert [one["reuse"] for one in found] == ["never", "never", "never", "recorded"]
    drawn = cli("lineage", second.id).stdout.splitlines()
    assert [line[:14].rstrip() for line in drawn[1:]] == [
        source[-8:],
        f"├ {third.id[-8:]}",
        f"└ {first.id[-8:]}",
        f"  └ {second.id[-8:]} *",
    ]
    assert "by ann: no more" in drawn[2]
    assert "limits.max_steps: 50 → 4; said: And now?" in drawn[3]
    assert "reuses recorded replies" in drawn[4]
    assert "forked, not begun" in drawn[4]
    assert [one["run"] for one in lines(cli("lineage", other.id, "--json"))] == [other.id]


def test_a_lineage_without_its_first_run_says_that_it_is_not_here(cli: Run, db: Path) -> None:
    journal = SqliteJournal(db)
    log = RunLog(journal)
    log.write(run_started("Go."), RunForked(source="00000000-0000-7000-8000-00000000dead", version=7))
    journal.close()
    first, second = cli("lineage", log.run_id).stdout.splitlines()[1:]
    assert first.split()[:3] == ["0000dead", "not", "here"]
    assert second.split()[:4] == ["└", log.run_id[-8:], "*", "7"]


def test_the_audit_says_which_replies_were_recorded(cli: Run, db: Path, source: str) -> None:
    with Runtime(db, [agent()]) as runtime:
        told = Overrides(results={"1.0": "seen a whale"})
        fork = runtime.fork(source, 1, reuse="recorded", start=True)
        fork.result(DEADLINE_S)
        changed = runtime.fork(fork, version_of_result(fork), overrides=told, reuse="recorded", start=True)
        changed.result(DEADLINE_S)
    steps = [one for one in lines(cli("audit", fork.id, "--json")) if one["type"] == "audit-step"]
    assert [one["recorded"] for one in steps] == [1, 1]
    shown = cli("audit", fork.id).stdout
    assert "2 steps (2 recorded), 1 tool call" in shown
    assert [line.split()[5] for line in shown.splitlines() if " done " in line] == ["recorded", "recorded"]
    steps = [one for one in lines(cli("audit", changed.id, "--json")) if one["type"] == "audit-step"]
    assert [one["recorded"] for one in steps] == [0]
    assert "recorded" not in cli("audit", changed.id).stdout
    with sqlite3.connect(f"{db}.views") as views:
        assert views.execute("SELECT sum(steps), sum(recorded) FROM models_by_name").fetchone() == (5, 2)


def version_of_result(run: Any) -> int:
    return next(event.version for event in run.events() if event.tag == "tool-finished")


def test_messages_are_reworded_and_left_out_by_the_numbers_that_at_shows(cli: Run, source: str) -> None:
    shown = cli("at", source, 5).stdout.splitlines()
    assert "   1  user    Go." in shown
    options = ("--at", 5, "--reword", "1=Go = there.", "--drop-from", 2, "--dry-run")
    [found] = lines(cli("fork", source, *options, "--json"))
    assert found["messages"] == 2
    assert [(edit["what"], edit["after"]) for edit in found["edits"]][:1] == [("messages.1", "Go = there.")]
    for wrong, why in (("1", "expected N=TEXT"), ("x=y", "expected N=TEXT"), ("9=y", "9")):
        refused = cli("fork", source, "--at", 5, "--dry-run", "--reword", wrong)
        assert (refused.exit_code, why in refused.stderr) == (2, True), refused.output


def test_a_dry_run_says_which_step_is_the_first_to_be_paid(cli: Run, source: str) -> None:
    assert "next       the model's reply for step 2" in cli("fork", source, "--at", 5, "--dry-run").stdout
    assert "next " not in cli("fork", source, "--at", 4, "--dry-run").stdout, "a tool comes first"
    assert "next " not in cli("fork", source, "--dry-run").stdout, "it ends at once"
