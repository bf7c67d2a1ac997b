"""`executus doctor`: what is stuck, why, and whose move it is; and how `ps` and `show` tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executus import Agent, Delegate, Runtime, ScriptedModel, tool
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.models.scripted import call
from executus.errors import DeliveryRefused
from executus.journal import SqliteJournal, open_journal
from executus.ports import ApprovalTerms, Recovery

from .conftest import Run, lines_of


@tool(approval=ApprovalTerms(question="Send it?"))
def send() -> str:
    """Send."""
    return "sent"


@tool
async def pay() -> str:
    """Never returns in the first host."""
    await asyncio.get_running_loop().create_future()
    return ""


TALKER = Agent("talker", model=ScriptedModel(["hello", "bye"]))
SENDER = Agent("sender", model=ScriptedModel([[call("send")], "done"]), tools=[send])
PAYER = Agent("payer", model=ScriptedModel([[call("pay")], "done"]), tools=[pay])
CLERK = Agent("clerk", model=ScriptedModel([[call("pay")], "done"]), tools=[pay])
BOSS = Agent("boss", model=ScriptedModel([[call("agent__clerk", prompt="go")], "done"]), agents=[Delegate("clerk")])


def until(run: Any, tag: str) -> None:
    with run.events() as events:
        while more := events.take(20):
            if any(event.tag == tag for event in more):
                return
    raise AssertionError(f"no {tag}")


def somewhere(runtime: Runtime, tag: str) -> None:
    with runtime.events() as events:
        while more := events.take(20):
            if any(event.tag == tag for event in more):
                return
    raise AssertionError(f"no {tag}")


@pytest.fixture
def host(db: Path) -> Iterator[Callable[..., Runtime]]:
    opened: list[Runtime] = []

    def open_one(*agents: Agent, **more: Any) -> Runtime:
        opened.append(Runtime(db, agents=agents, **more))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close(2)


def findings(cli: Run, *options: str) -> dict[str, dict[str, Any]]:
    result = cli("doctor", "--json", *options)
    lines = lines_of(result)
    assert lines[-1]["type"] == "summary"
    assert (result.exit_code == 1) == lines[-1]["needs_a_person"] == any(one["needs_a_person"] for one in lines[:-1])
    assert lines[-1]["findings"] == len(lines) - 1
    return {one["kind"]: one for one in lines[:-1]}


def findings_with(cli: Run, kind: str) -> dict[str, dict[str, Any]]:
    """What hosts keep of runs that they do not take up is stored soon after they open the journal."""
    for _ in range(2_000):
        found = findings(cli)
        if kind in found:
            return found
    raise AssertionError(f"no {kind}")


def test_a_healthy_journal_has_nothing(cli: Run, host: Any) -> None:
    host(TALKER).start("talker", "x").result(20)
    result = cli("doctor")
    assert result.exit_code == 0
    assert result.stdout == "nothing is stuck; a host has the journal open\n"


def test_who_waits_for_a_person_is_told_and_only_a_request_needs_one(cli: Run, host: Any) -> None:
    runtime = host(TALKER, SENDER)
    chat = runtime.start("talker", "x", interactive=True)
    until(chat, "input-awaited")
    assert findings(cli)["input"]["run"] == chat.id
    assert cli("doctor").exit_code == 0
    asks = runtime.start("sender", "x")
    until(asks, "approval-awaited")
    found = findings(cli)["approval"]
    assert (found["run"], found["why"], found["agent"]) == (asks.id, "send (1.0): Send it?", "sender")
    assert "Run.approve" in found["do"]
    assert cli("doctor").exit_code == 1


def test_runs_without_a_host_are_suspended_and_without_their_agent_they_wait(cli: Run, host: Any) -> None:
    runtime = host(PAYER, BOSS, CLERK)
    run = runtime.start("payer", "x")
    until(run, "tool-started")
    runtime.close()
    found = findings(cli)
    assert (found["suspended"]["run"], found["suspended"]["why"]) == (run.id, "pay")
    [row] = lines_of(cli("ps", "--json"))
    assert (row["status"], row["why"]) == ("suspended", "no host has this journal open")
    host(TALKER)
    found = findings_with(cli, "waiting")
    why = "no agent named 'payer' is registered in this host: Runtime(agents=[…])"
    assert (found["waiting"]["run"], found["waiting"]["why"]) == (run.id, why)
    [row] = lines_of(cli("ps", "--json", "--status", "waiting"))
    assert (row["run"], row["why"]) == (run.id, why)
    assert why in cli("ps").stdout
    assert f"waiting (pay): {why}" in cli("show", run.id).stdout


def test_the_children_of_a_run_that_waits_are_said_to_wait_for_it(cli: Run, host: Any) -> None:
    runtime = host(BOSS, CLERK)
    top = runtime.start("boss", "x")
    until(top, "child-started")
    [child] = top.children()
    somewhere(runtime, "tool-started")
    runtime.close()
    host(CLERK)
    findings_with(cli, "waiting")
    rows = {row["run"]: row for row in lines_of(cli("ps", "--json"))}
    assert rows[top.id]["status"] == rows[child.id]["status"] == "waiting"
    assert rows[child.id]["why"].startswith(f"it waits for its parent {top.id}, which waits: no agent named 'boss'")


def test_a_quarantined_run_is_shown_and_given_another_chance(cli: Run, db: Path, host: Any, monkeypatch: Any) -> None:
    runtime = host(TALKER)
    run = runtime.start("talker", "x", interactive=True)
    until(run, "input-awaited")
    runtime.close()

    def load(self: SqliteJournal, run_id: str) -> Any:
        raise ValueError("bent")

    with monkeypatch.context() as bent:
        bent.setattr(SqliteJournal, "load", load)
        for _ in range(3):
            runtime = host(TALKER)
            with pytest.raises(Exception, match="quarantined"):
                runtime.finished(run.id).result(20)
            runtime.close()
    found = findings(cli)["quarantined"]
    assert (found["run"], found["why"]) == (run.id, "bent")
    assert "executus doctor --retry" in found["do"]
    assert lines_of(cli("ps", "--json", "--status", "quarantined"))[0]["why"] == "bent"
    assert "Quarantined" in cli("doctor").stdout
    runtime = host(TALKER)
    refused = cli("doctor", "--retry", run.id)
    assert refused.exit_code == 1
    assert "Runtime.retry(run)" in refused.stderr
    assert runtime.run(run.id).status == "quarantined"
    runtime.close()
    assert cli("doctor", "--retry", run.id[-8:]).exit_code == 0
    assert "quarantined" not in findings(cli)
    again = cli("doctor", "--retry", run.id)
    assert again.exit_code == 1
    assert "nothing is held against" in again.stderr
    runtime = host(TALKER)
    until(runtime.run(run.id), "run-resumed")
    runtime.run(run.id).end()


def test_unknown_outcomes_and_dead_letters_are_listed_for_a_while(cli: Run, host: Any) -> None:
    def refuse(parcel: Any, artifacts: Any) -> None:
        raise DeliveryRefused("no such channel")

    runtime = host(PAYER, TALKER, delivery=CallbackDelivery(refuse))
    run = runtime.start("payer", "x")
    until(run, "tool-started")
    runtime.close()
    runtime = host(PAYER, TALKER, delivery=CallbackDelivery(refuse))
    assert runtime.run(run.id).result(20).status == "ok"
    somewhere(runtime, "delivery-failed")
    found = findings(cli)
    assert found["unknown-outcome"]["run"] == found["dead-letter"]["run"] == run.id
    assert found["unknown-outcome"]["why"].startswith("1.0: the host stopped while this tool was running")
    assert found["dead-letter"]["why"] == "given up after 1 attempts: no such channel"
    assert "Runtime.redeliver" in found["dead-letter"]["do"]
    assert findings(cli, "--days", "0") == {}


def test_an_orphan_and_a_damaged_log_are_told(cli: Run, db: Path, host: Any) -> None:
    import sqlite3
    from uuid import UUID

    runtime = host(BOSS, CLERK, TALKER)
    top = runtime.start("boss", "x")
    until(top, "child-started")
    [child] = top.children()
    somewhere(runtime, "tool-started")
    chat = runtime.start("talker", "x", interactive=True)
    until(chat, "input-awaited")
    runtime.close()
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE runs SET over = 1 WHERE run_id = ?", (UUID(top.id).bytes,))
        connection.execute(
            "UPDATE stored_events SET state = x'00' WHERE originator_id = ? AND originator_version = 2",
            (UUID(chat.id).bytes,),
        )
    connection.close()
    found = findings(cli)
    assert (found["orphaned"]["run"], found["orphaned"]["why"]) == (child.id, f"its parent is {top.id}")
    assert found["unreadable"]["run"] == chat.id


def test_looking_changes_nothing(cli: Run, db: Path, host: Any) -> None:
    runtime = host(TALKER)
    until(runtime.start("talker", "x", interactive=True), "input-awaited")
    runtime.close()
    journal = open_journal(db)
    [row] = journal.runs()
    journal.keep_recoveries([Recovery(run_id=row.run_id, standing="failed", attempts=3)], [], lambda _: None)
    journal.close()
    files = [one for one in sorted(db.parent.iterdir()) if not one.name.endswith("-shm")]
    before = {one.name: one.read_bytes() for one in files}
    assert cli("doctor").exit_code == 1
    assert {one.name: one.read_bytes() for one in files} == before
