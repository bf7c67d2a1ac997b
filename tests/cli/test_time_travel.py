import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from family_support import ask, boss, look

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.models.scripted import call
from executus.journal import read_journal
from executus.projections import fold
from executus.travel import history, shown

from .conftest import CONVERSATIONS, Run, lines_of


def test_history_tells_every_moment_and_chooses(cli: Run, imported: list[str], db: Path) -> None:
    told = lines_of(cli("history", imported[0], "--json"))
    assert [one["version"] for one in told] == list(range(1, len(told) + 1))
    assert {one["type"] for one in told} == {"moment"}
    assert told[0]["title"] == "recorded starts: How is the weather in Jena?"
    lines = cli("history", imported[0][-8:]).stdout.splitlines()
    assert len(lines) == len(told)
    assert "\x1b" not in "".join(lines)
    assert any('calls weather {"city": "Jena"}' in line for line in lines)
    journal = read_journal(db)
    assert [one["title"] for one in told] == [moment.title for moment in history(journal, imported[0])]
    journal.close()
    tools = lines_of(cli("history", imported[0], "--json", "--lane", "tool"))
    assert [one["tag"] for one in tools] == ["tool-started", "tool-finished"]
    assert all(one["importance"] for one in lines_of(cli("history", imported[0], "--json", "--brief")))
    assert lines_of(cli("history", imported[0], "--json", "--after", 3))[0]["version"] == 4
    first = cli("history", imported[0], "--limit", 2)
    assert len(first.stdout.splitlines()) == 2
    assert first.stderr == "(the first 2; go on with --after 2)\n"
    assert cli("history", imported[0], "--errors").stderr == "no such moments\n"


def test_at_shows_what_stood_there(cli: Run, imported: list[str], db: Path) -> None:
    journal = read_journal(db)
    events = journal.read(imported[0])
    journal.close()
    for version in range(len(events) + 1):
        [state] = lines_of(cli("at", imported[0], version, "--json"))
        assert {name: state[name] for name in shown(fold([]))} == shown(fold(events[:version]))
    calls = next(event.version for event in events if event.tag == "tool-started")
    shown_then = cli("at", imported[0], calls).stdout
    for part in (f"version  {calls} of {len(events)}", "status   running", "the result of weather (1.0)", "Be brief."):
        assert part in shown_then
    assert "It rains." not in shown_then
    assert "It rains." in cli("at", imported[0], "last").stdout
    assert "before the first event" in cli("at", imported[0], 0).stdout
    wrong = cli("at", imported[0], len(events) + 1)
    assert wrong.exit_code == 2
    assert f"has versions 0 (before its first event) to {len(events)}, and last; not" in wrong.stderr


def test_at_numbers_messages_and_counts_steps_since_a_person_spoke(cli: Run, tmp_path: Path) -> None:
    said = [("user", "Hello"), ("assistant", "Hi."), ("user", "And?"), ("assistant", "So."), ("user", "Bye")]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps([{"role": role, "content": text} for role, text in said]))
    [talk] = [line for line in lines_of(cli("import", file, "--json")) if line["type"] == "conversation"]
    shown = cli("at", talk["run"], 7).stdout.splitlines()
    assert "used     steps 1 of 2 since a person spoke, 2 in all" in shown
    assert shown[-4:] == ["   0  user    Hello", "   1  model   Hi.", "   2  user    And?", "   3  model   So."]
    assert "used     steps 1 of 2" in cli("at", talk["run"], 3).stdout.splitlines()
    asked = json.loads(cli("blame", talk["run"], "messages.2", "--json").stdout)
    assert asked["after"]["parts"][0]["text"] == "And?"


def test_diff_of_two_versions_is_a_patch_and_says_what_was_said(cli: Run, imported: list[str]) -> None:
    [before], [after] = (lines_of(cli("at", imported[0], version, "--json")) for version in (2, "last"))
    [found] = lines_of(cli("diff", imported[0], 2, "last", "--json"))
    state = {name: before[name] for name in ("version", "elapsed_ms", "withheld", "state", "transcript")}
    patched = jsonpatch.apply_patch(state, found["patch"])
    assert patched == {name: after[name] for name in state}
    assert [one["version"] for one in found["moments"]] == list(range(3, after["version"] + 1))
    text = cli("diff", imported[0], 2, "last").stdout
    for part in ('~ status: null → "ok"', "said: 3 messages", "← rain", "It rains."):
        assert part in text
    back = cli("diff", imported[0], "last", 2).stdout
    assert '~ status: "ok" → null' in back
    assert "no longer in the conversation: 3 messages" in back
    assert cli("diff", imported[0], 3).exit_code == 2


def test_diff_of_two_runs_names_where_they_part(cli: Run, imported: list[str], tmp_path: Path) -> None:
    other: dict[str, Any] = json.loads(json.dumps(CONVERSATIONS[0]))
    other["id"] = "again"
    other["messages"][3]["content"] = "sun"
    other["messages"][4]["content"] = "The sun shines."
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other))
    again = lines_of(cli("import", file, "--json"))[0]["run"]
    [found] = lines_of(cli("diff", imported[0], again, "--json"))
    assert (found["same"], found["a"]["tag"], found["a"]["title"], found["b"]["title"]) == (
        False,
        "tool-finished",
        "1.0: rain",
        "1.0: sun",
    )
    text = cli("diff", imported[0], again).stdout
    assert f"− {imported[0][-8:]}" in text
    assert f"+ {again[-8:]}" in text
    assert '~ result: "rain" → "sun"' in text
    assert "nothing else that matters" in cli("diff", again, again).stdout


def test_diff_of_two_runs_tells_their_start_apart_from_where_they_part(cli: Run, tmp_path: Path) -> None:
    other: dict[str, Any] = json.loads(json.dumps(CONVERSATIONS[0]))
    other["id"] = "elsewhere"
    other["messages"][1]["content"] = "How is the weather in Jena today?"
    other["messages"][4]["content"] = "It still rains."
    file = tmp_path / "other.json"
    file.write_text(json.dumps([CONVERSATIONS[0], other]))
    one, two = (line["run"] for line in lines_of(cli("import", file, "--json")) if line["type"] == "conversation")
    [found] = lines_of(cli("diff", one, two, "--json"))
    assert [change["path"] for change in found["given"]] == ["/input/0/text"]
    assert (found["alike"], found["a"]["title"], found["b"]["title"]) == (5, "It rains.", "It still rains.")
    lines = cli("diff", one, two).stdout.splitlines()
    assert lines[0] == "started differently"
    assert lines[2] == "after the start 5 facts alike; then"
    assert lines[-1] == "1 tool call asked for, the same in both"
    assert (found["calls"], found["call_a"], found["call_b"]) == (1, None, None)
    other["messages"][2]["tool_calls"][0]["function"]["arguments"] = '{"city": "Ulm"}'
    file.write_text(json.dumps([other]))
    [three] = (line["run"] for line in lines_of(cli("import", file, "--json")) if line["type"] == "conversation")
    [found] = lines_of(cli("diff", one, three, "--json"))
    assert found["call_b"] == {"version": 3, "call": "1.0", "name": "weather", "arguments": '{"city": "Ulm"}'}
    lines = cli("diff", one, three).stdout.splitlines()
    assert lines[-3] == "0 tool calls asked for alike; then"
    assert lines[-1].startswith(f"+ {three[-8:]}  version 3: 1.0 weather ")


def test_blame_tells_who_wrote_it(cli: Run, imported: list[str]) -> None:
    written = lines_of(cli("blame", imported[0], "output", "--json"))
    assert [(one["tag"], one["before"], one["after"]) for one in written] == [("step-completed", "", "It rains.")]
    assert written[0]["path"] == "/state/output"
    text = cli("blame", imported[0], "state.output").stdout
    assert "step-completed by import: It rains." in text
    assert '+ "It rains."' in text
    messages = lines_of(cli("blame", imported[0], "messages", "--json"))
    assert [len(one["changes"]) for one in messages] == [2, 1, 1, 1]
    assert len(lines_of(cli("blame", imported[0], "messages", "--json", "--at", 1))) == 1
    assert "+ transcript.messages.0: " in cli("blame", imported[0], "messages").stdout
    assert "nothing ever changed /state/retry_at_ms" in cli("blame", imported[0], "retry_at_ms").stdout
    wrong = cli("blame", imported[0], "weather")
    assert wrong.exit_code == 2
    assert "'weather' names nothing in a run's state" in wrong.stderr


def test_search_finds_what_was_said(cli: Run, imported: list[str]) -> None:
    found = lines_of(cli("search", "RAIN", "--json"))
    assert [(one["tag"], one["hit"]) for one in found] == [
        ("tool-finished", "rain"),
        ("step-completed", "rain"),
        ("run-finished", "rain"),
    ]
    lines = cli("search", "jena").stdout.splitlines()
    assert all(line.startswith(imported[0][-8:]) for line in lines)
    assert lines[0].endswith("run-started         How is the weather in Jena?")
    assert len(lines_of(cli("search", "--tool", "weather", "--json"))) == 3
    assert lines_of(cli("search", "--run", imported[1], "rain", "--json")) == []
    limited = cli("search", "rain", "--limit", 1)
    assert len(limited.stdout.splitlines()) == 1
    assert "see more with --limit or --all" in limited.stderr
    assert cli("search", "rain", "--limit", 3).stderr == ""
    assert cli("search", "--errors").stderr == "nothing was found\n"
    assert "say what to look for" in cli("search").stderr
    assert "is no kind of fact; there are " in cli("search", "--tag", "rain").stderr


def test_a_family_is_shown_as_of_one_moment(cli: Run, db: Path) -> None:
    helper = Agent("helper", model=ScriptedModel([["Look.", call("look", at=1)], "seen"]), tools=[look])
    with Runtime(db, [boss(ask(), name="top"), helper]) as runtime:
        run = runtime.start("top", "go")
        assert run.result(timeout=30).output == "done"
        [child] = run.children()
    moments = lines_of(cli("history", run.id, "--json"))
    born, ended = (
        next(one["version"] for one in moments if one["tag"] == tag) for tag in ("child-started", "child-finished")
    )
    [family] = lines_of(cli("at", run.id, born, "--family", "--json"))
    assert [(one["run"], one["version"], one["status"]) for one in family["root"]["children"]] == [(child.id, 0, "new")]
    [family] = lines_of(cli("at", run.id, ended, "--family", "--json"))
    assert [one["status"] for one in family["root"]["children"]] == ["ok"]
    table = cli("at", child.id, "last", "--family").stdout.splitlines()
    assert table[1].startswith(run.id[-8:])
    assert table[2].startswith(f"└ {child.id[-8:]}")


@pytest.mark.parametrize("command", ["history", "at", "diff", "blame", "lineage", "search"])
def test_the_help_teaches_with_examples(cli: Run, command: str) -> None:
    told = cli(command, "--help").stdout
    assert told.count(f"executus {command} ") >= 4
    assert "--json" in told


@pytest.mark.parametrize(
    "command", ["history x", "at x 1", "diff x 1 2", "diff x y", "blame x status", "lineage x", "search x"]
)
def test_without_a_journal_they_say_so(cli: Run, command: str) -> None:
    told = cli(*command.split())
    assert told.exit_code == 3
    assert "there is no journal at" in told.stderr
