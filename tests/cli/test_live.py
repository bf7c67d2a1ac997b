"""Looking at a live host and steering it: `top`, `why`, the orders, `ps --hosts`, `audit --orders`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from executus import Runtime

from .live_host import DEADLINE_S, agents, waiting

Run = Callable[..., Result]


@pytest.fixture
def host(db: Path, sockets: Path) -> Iterator[Runtime]:
    """A host of the test's journal that listens."""
    with Runtime(db, agents(), listen="ipc") as runtime:
        yield runtime


def asked(result: Result) -> dict[str, Any]:
    """The one JSON document of an output."""
    assert result.exit_code == 0, result.output
    [line] = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def holding(host: Runtime, **options: Any) -> str:
    return waiting(host.start("desk", "hold", caller="alice", **options), "tool-started")


def publishing(host: Runtime) -> str:
    return waiting(host.start("desk", "publish", caller="bob"), "approval-awaited")


# ------------------------------------------------------------------ top


def test_top_shows_what_every_run_does_now(cli: Run, host: Runtime) -> None:
    held, asking = holding(host), publishing(host)
    host.run(held).extend(60, by="ann", reason="the line is long")
    document = asked(cli("top", "--once", "--json"))
    assert (document["type"], document["live"], document["note"], document["more"]) == ("top", True, "", 0)
    rows = {row["run"]: row for row in document["runs"]}
    assert [(one["kind"], one["name"], one["call"]) for one in rows[held]["waits"]] == [("tool", "hold", "1.0")]
    assert rows[held]["waits"][0]["for_s"] >= 0
    assert (rows[held]["caller"], rows[held]["agent"], rows[held]["step"], rows[held]["last_step"]) == (
        "alice",
        "desk",
        1,
        10,
    )
    assert 600 < rows[held]["deadline_in_s"] <= 660
    assert (rows[held]["critic"]["by"], rows[held]["critic"]["text"]) == ("ann", "the line is long")
    assert [one["kind"] for one in rows[asking]["waits"]] == ["approval"]
    assert (document["totals"]["runs"], document["totals"]["waits"]) == (2, {"approval": 1, "tool": 1})
    text = cli("top", "--once").stdout
    heading = "RUN       CALLER  AGENT  STEP  NOW"
    assert heading in text
    assert f"{held[-8:]}  alice   desk   1/10  hold " in text
    assert "ann extended it: the line is long" in text
    assert "2 runs (" in text
    assert "\x1b" not in text


def test_top_can_be_limited_to_a_caller_and_to_a_number(cli: Run, host: Runtime) -> None:
    runs = [holding(host) for _ in range(3)]
    asking = publishing(host)
    assert [row["run"] for row in asked(cli("top", "--once", "--json", "--caller", "bob"))["runs"]] == [asking]
    document = asked(cli("top", "--once", "--json", "--limit", 2, "--sort", "longest"))
    assert [row["run"] for row in document["runs"]] == runs[:2]
    assert (document["more"], document["totals"]["runs"]) == (2, 4)
    assert "… and 2 more runs" in cli("top", "--once", "--limit", 2).stdout
    assert [row["run"] for row in asked(cli("top", "--once", "--json"))["runs"]] == [asking, *reversed(runs)]


def test_top_reads_the_file_where_no_host_listens_and_says_so(cli: Run, db: Path) -> None:
    with Runtime(db, agents()) as runtime:
        held = holding(runtime)
        document = asked(cli("top", "--once", "--json"))
        assert document["note"] == "a host has it open, but not for others; read from the file"
        assert (document["live"], document["runs"][0]["status"]) == (False, "running")
    document = asked(cli("top", "--once", "--json"))
    assert document["note"] == "no host has it open for others; read from the file"
    [row] = document["runs"]
    assert (row["run"], row["status"], row["waits"][0]["name"]) == (held, "suspended", "hold")
    assert "suspended (hold)" in cli("top", "--once").stdout


def test_without_a_journal_nothing_is_shown_and_what_to_do_is_said(cli: Run, sockets: Path) -> None:
    for command in (["top", "--once"], ["why", "1234"], ["kill", "1234"]):
        missing = cli(*command)
        assert missing.exit_code == 3
        assert "there is no journal at" in missing.stderr
        assert "ps --hosts" in missing.stderr


# ------------------------------------------------------------------ why


def test_why_names_the_tool_its_arguments_and_the_deadline(cli: Run, host: Runtime) -> None:
    held = holding(host)
    text = cli("why", held[-8:]).stdout
    assert "waits for the tool hold, since" in text
    assert '{"what":"the line"}' in text.replace('": "', '":"')
    assert "its deadline is in 9 min" in text or "its deadline is in 10 min" in text


def test_why_says_how_to_say_yes_and_the_command_works(cli: Run, host: Runtime, db: Path) -> None:
    asking = publishing(host)
    found = asked(cli("why", asking, "--json"))
    [wait] = found["waits"]
    assert (wait["kind"], wait["call"]) == ("approval", "1.0")
    assert '"May it?"' in wait["text"]
    command = wait["do"].partition(", or ")[0]
    assert command == f"executus approve {asking[-8:]} 1.0 --db {db}"
    assert cli(*command.split()[1:], "--by", "ann").exit_code == 0
    assert host.run(asking).result(DEADLINE_S).status == "ok"
    over = cli("why", asking).stdout
    assert "it is over, with status ok" in over


def test_why_goes_down_to_the_child_that_waits(cli: Run, host: Runtime) -> None:
    parent = waiting(host.start("desk", "delegate"), "family-awaited")
    found = asked(cli("why", parent, "--json"))
    [wait] = found["waits"]
    assert wait["kind"] == "child"
    assert [(one["kind"], one["name"]) for one in wait["child"]["waits"]] == [("approval", "publish")]
    text = cli("why", parent).stdout
    assert f"executus approve {wait['child']['run'][-8:]} 1.0" in text
    assert "its clock stands still" in text


def test_why_says_when_the_model_is_called_again(cli: Run, host: Runtime) -> None:
    run = waiting(host.start("desk", "fail"), "step-failed")
    text = cli("why", run).stdout
    assert "attempt 1 to call the model of step 1 failed: the provider is away; attempt 2 comes in" in text


def test_why_works_without_a_host_and_says_what_would_go_on(cli: Run, db: Path, sockets: Path) -> None:
    with Runtime(db, agents()) as runtime:
        held = holding(runtime)
    text = cli("why", held).stdout
    assert "(no host has it open for others; read from the file)" in text
    assert "it is suspended: no host runs it" in text
    assert "it would go on with the tool hold" in text
    with Runtime(db, agents()[1:], listen="ipc"):
        text = cli("why", held).stdout
    assert "nobody works on it: no agent named 'desk' is registered" in text


def test_why_says_how_to_begin_a_fork(cli: Run, host: Runtime, db: Path) -> None:
    source = host.start("desk", "hello")
    source.result(DEADLINE_S)
    fork = host.fork(source.id, 2)
    text = cli("why", fork.id).stdout
    assert f"→ executus begin {fork.id[-8:]} --db {db}" in text
    assert cli("begin", fork.id[-8:]).exit_code == 0
    assert fork.result(DEADLINE_S).status == "ok"


# ------------------------------------------------------------------ orders


def test_orders_do_what_they_say_and_name_who_gave_them(cli: Run, host: Runtime) -> None:
    held = holding(host)
    for order in (
        ("steer", held, "Be brief."),
        ("extend", held, 60, "--reason", "slow"),
        ("raise", held, 5),
        ("raise", held, 900, "--limit", "tokens", "--dry-run"),
    ):
        result = cli(*order, "--by", "ann")
        assert result.exit_code == 0, result.output
    state = host.run(held).state()
    assert (state.limits.max_steps, state.governed.deadline_ms, state.limits.max_tokens) == (15, 660_000, None)
    assert "operator:ann" in cli("show", held, "--events").stdout
    done = asked(cli("kill", held, "--reason", "enough", "--json"))
    assert (done["type"], done["order"], done["run"], done["status"]) == ("order", "kill", held, "killed")
    ended = host.run(held).result(DEADLINE_S)
    assert (ended.status, ended.reason) == ("killed", "enough")
    cancelled = holding(host)
    assert cli("cancel", cancelled).exit_code == 0
    assert host.run(cancelled).result(DEADLINE_S).status == "cancelled"


def test_a_dry_run_asks_the_host_and_changes_nothing(cli: Run, host: Runtime) -> None:
    held = holding(host)
    before = len(host.run(held).checkpoint().transcript.messages), host.journal.head()
    told = cli("kill", held, "--dry-run")
    assert told.stdout == f"would kill it, run {held}; nothing was done\n"
    assert asked(cli("start", "desk", "hold", "--dry-run", "--json"))["run"] == ""
    refused = cli("approve", held, "--dry-run")
    assert (refused.exit_code, "waiting for approval: none" in refused.stderr) == (1, True)
    unknown = cli("start", "nobody", "hold", "--dry-run")
    assert (unknown.exit_code, "it has child, desk" in unknown.stderr.replace("desk, child", "child, desk")) == (
        2,
        True,
    )
    assert (len(host.run(held).checkpoint().transcript.messages), host.journal.head()) == before


def test_a_run_is_started_talked_to_and_denied_something(cli: Run, host: Runtime) -> None:
    run = cli("start", "desk", "-", "--caller", "alice", "--interactive", input="hello").stdout.strip()
    waiting(host.run(run), "input-awaited")
    assert host.run(run).state().caller == "alice"
    assert f"executus send {run[-8:]} TEXT" in cli("why", run).stdout
    assert cli("send", run, "and now?").exit_code == 0
    asking = publishing(host)
    assert cli("deny", asking, "--reason", "not today", "--by", "ann").exit_code == 0
    assert "not today" in host.run(asking).result(DEADLINE_S).output
    once = [cli("start", "desk", "hello", "--request-id", "4711").stdout for _ in range(2)]
    assert once[0] == once[1]


def test_what_speaks_against_an_order_is_one_line_and_an_exit_code(cli: Run, host: Runtime, db: Path) -> None:
    run = host.start("desk", "hello")
    run.result(DEADLINE_S)
    for code, words, command in (
        (1, "it is over", ("steer", run.id, "hm")),
        (1, "no agent named 'nobody'", ("start", "nobody", "hm")),
        (2, "no run has an id like", ("kill", "99999999")),
        (2, "Expected `str` of length <= 4096", ("steer", run.id, "x" * 5000)),
        (2, "needs the token of a grant; pass --token", ("kill", run.id, "--host", "ipc:///nowhere")),
        (2, "needs --ca FILE", ("kill", run.id, "--host", "tls+tcp://nowhere:1", "--token", "a.b")),
        (1, "the token is wrong", ("kill", run.id, "--host", host.listening, "--token", "operator." + "x" * 43)),
    ):
        result = cli(*command)
        assert (result.exit_code, result.stdout) == (code, ""), (command, result.output)
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("executus: ")
        assert words in result.stderr


def test_without_a_host_an_order_is_not_given_and_what_to_do_is_said(cli: Run, db: Path, sockets: Path) -> None:
    with Runtime(db, agents()) as runtime:
        held = holding(runtime)
        refused = cli("kill", held)
        assert refused.exit_code == 3
        assert 'a host is at work, but does not listen: have it opened with listen="ipc"' in refused.stderr
    refused = cli("kill", held)
    assert refused.exit_code == 3
    assert "no host has" in refused.stderr
    assert "orders need a host that is at work" in refused.stderr


# ------------------------------------------------------------------ hosts, orders that are kept


def test_hosts_are_listed_with_what_they_do(cli: Run, host: Runtime, db: Path) -> None:
    holding(host)
    found = asked(cli("ps", "--hosts", "--json"))
    assert (found["type"], found["answers"], found["live_runs"], found["why"]) == ("host", True, 1, "")
    assert Path(found["journal"]).samefile(db)
    assert found["address"] == host.listening
    assert "answers" in cli("ps", "--hosts").stdout


def test_without_hosts_none_are_listed(cli: Run, sockets: Path) -> None:
    none = cli("ps", "--hosts")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "no host of this user listens" in none.stderr


def test_orders_are_kept_with_what_became_of_them(cli: Run, host: Runtime) -> None:
    held, asking = holding(host), publishing(host)
    assert cli("steer", held, "hm", "--by", "ann").exit_code == 0
    assert cli("approve", held).exit_code == 1
    assert cli("deny", asking).exit_code == 0
    kept = [json.loads(line) for line in cli("audit", "--orders", "--json").stdout.splitlines()]
    assert [(one["ask"], one["run"], one["fate"]) for one in kept] == [
        ("steer", held, "done"),
        ("approve", held, "refused"),
        ("deny", asking, "done"),
    ]
    assert (kept[0]["type"], kept[0]["grant"], kept[0]["by"]) == ("outside-order", "operator", "ann")
    assert len(cli("audit", "--orders", asking, "--json").stdout.splitlines()) == 1
    table = cli("audit", "--orders", "--limit", 1)
    assert "deny" in table.stdout
    assert "steer" not in table.stdout
    assert "(the newest 1;" in table.stderr
    assert cli("audit", "--orders", "--until", "1d").stdout == ""
    assert cli("audit", "--orders", "--caller", "alice").exit_code == 2
