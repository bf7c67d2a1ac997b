import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executus import Agent, Runtime, ScriptedModel
from executus.cli.opening import hosted, reading
from executus.cli.words import columns, cut, harmless, width_of
from executus.journal import Finding, Inspection

from .conftest import CONVERSATIONS, Run, lines_of


def test_ps_lists_the_newest_run_first(cli: Run, imported: list[str]) -> None:
    rows = lines_of(cli("ps", "--json"))
    assert [row["run"] for row in rows] == imported[::-1]
    assert [row["name"] for row in rows] == ["hello", "weather"]
    assert rows[1]["steps"] == 2
    assert rows[1]["tool_calls"] == 1
    assert rows[1]["output"] == "It rains."
    assert rows[1]["imported_from"] == "conversations.json#1"
    assert {row["status"] for row in rows} == {"ok"}


def test_ps_for_people_has_one_line_a_run(cli: Run, imported: list[str]) -> None:
    result = cli("ps")
    heading, first, second = result.stdout.splitlines()
    assert heading.startswith("RUN")
    assert first.startswith(imported[1][-8:])
    assert second.endswith("It rains.")
    assert "\x1b" not in result.output


def test_ps_shows_at_most_the_limit_and_says_so(cli: Run, imported: list[str]) -> None:
    result = cli("ps", "--limit", 1)
    assert len(result.stdout.splitlines()) == 2
    assert "--all" in result.stderr
    assert len(lines_of(cli("ps", "--json", "--limit", 1, "--all"))) == 2
    assert cli("ps", "--limit", 2).stderr == ""


def test_ps_filters_by_status(cli: Run, imported: list[str]) -> None:
    assert len(lines_of(cli("ps", "--json", "--status", "ok", "--status", "error"))) == 2
    assert lines_of(cli("ps", "--json", "--status", "error")) == []
    wrong = cli("ps", "--status", "fine")
    assert wrong.exit_code == 2
    assert "'fine' is no status; there are ok, error" in wrong.stderr


def test_show_tells_the_conversation_with_calls_and_results(cli: Run, imported: list[str]) -> None:
    shown = cli("show", imported[0]).stdout
    for part in (
        "name     weather",
        "status   ok, by model",
        "Be brief.",
        '→ weather {"city": "Jena"}',
        "← rain",
        "It rains.",
    ):
        assert part in shown


def test_show_as_json_has_the_messages_of_the_recording(cli: Run, imported: list[str]) -> None:
    [shown] = lines_of(cli("show", imported[0], "--json"))
    assert shown["messages"] == CONVERSATIONS[0]["messages"]
    assert shown["type"] == "run"


def test_show_cuts_long_texts_unless_asked_for_all(cli: Run, tmp_path: Path) -> None:
    text = "\n".join(f"line {n}" for n in range(40))
    file = tmp_path / "long.json"
    file.write_text(json.dumps([{"role": "user", "content": text}]))
    [row, _] = lines_of(cli("import", file, "--json"))
    assert "line 39" not in cli("show", row["run"]).stdout
    assert "28 more lines; --full" in cli("show", row["run"]).stdout
    assert "line 39" in cli("show", row["run"], "--full").stdout


def test_show_events_prints_every_fact(cli: Run, imported: list[str]) -> None:
    events = lines_of(cli("show", imported[1], "--events", "--json"))
    assert [event["version"] for event in events] == [1, 2, 3, 4]
    assert [event["tag"] for event in events] == ["run-started", "step-started", "step-completed", "run-finished"]
    assert events[2]["fact"]["reply"] == [{"type": "text", "text": "Hi."}]
    assert len(cli("show", imported[1], "--events").stdout.split("\n\n")[1].splitlines()) == 4


def test_a_run_is_found_by_the_first_or_last_digits_of_its_id(cli: Run, imported: list[str]) -> None:
    first, second = imported
    assert lines_of(cli("show", first[-8:], "--json"))[0]["run"] == first
    assert lines_of(cli("show", second[-8:].upper(), "--json"))[0]["run"] == second
    ambiguous = cli("show", first[:4])
    assert ambiguous.exit_code == 2
    assert "2 runs have an id like" in ambiguous.stderr
    assert first in ambiguous.stderr


@pytest.mark.parametrize(
    ("digits", "why"), [("ffff0000ffff", "no run has an id like"), ("ab", "too short"), ("", "too short")]
)
def test_an_unknown_run_is_wrong_usage(cli: Run, imported: list[str], digits: str, why: str) -> None:
    for command in ("show", "tail", "verify"):
        result = cli(command, digits)
        assert result.exit_code == 2
        assert why in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_tail_prints_the_newest_events_of_all_runs_in_order(cli: Run, imported: list[str]) -> None:
    events = lines_of(cli("tail", "--json", "-n", 5))
    assert [event["position"] for event in events] == list(range(events[0]["position"], events[0]["position"] + 5))
    assert events[-1]["tag"] == "run-finished"
    everything = lines_of(cli("tail", "--json", "--after", 0))
    assert everything[-5:] == events
    assert {event["run"] for event in everything} == set(imported)


def test_tail_of_a_run_begins_after_the_version_named(cli: Run, imported: list[str]) -> None:
    events = lines_of(cli("tail", imported[0], "--after", 5, "--json"))
    assert [event["version"] for event in events] == [6, 7, 8]
    assert len(cli("tail", imported[0], "-n", 2).stdout.splitlines()) == 2


def test_tail_following_a_finished_run_ends_by_itself(cli: Run, imported: list[str]) -> None:
    lines = cli("tail", imported[0], "--follow", "--after", 0).stdout.splitlines()
    assert len(lines) == 8
    assert "run-finished" in lines[-1]


def test_verify_passes_a_whole_journal(cli: Run, imported: list[str]) -> None:
    result = cli("verify")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 runs, 12 events: every log is whole")
    assert lines_of(cli("verify", imported[0], "--json")) == [
        {"type": "summary", "runs": 1, "events": 8, "archived": 0, "locked": 0, "problems": 0, "interrupted": False}
    ]


def tamper(db: Path, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(db)
    with connection:
        assert connection.execute(sql, values).rowcount == 1
    connection.close()


TAMPERING = {
    "a changed byte": "UPDATE stored_events SET state = substr(state, 1, length(state) - 1) || x'7a' WHERE rowid = 3",
    "a missing event": "DELETE FROM stored_events WHERE rowid = 3",
    "a missing tail": "DELETE FROM stored_events WHERE rowid = 8",
}


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING.keys())
def test_verify_names_each_problem_and_leaves_with_1(cli: Run, db: Path, imported: list[str], sql: str) -> None:
    tamper(db, sql)
    result = cli("verify")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"run {imported[0]}: ")
    assert imported[1] not in result.stdout
    *problems, summary = lines_of(cli("verify", "--json"))
    assert all(problem["type"] == "problem" and problem["run"] == imported[0] for problem in problems)
    assert summary["problems"] == len(problems) > 0
    assert cli("verify", imported[1]).exit_code == 0


def test_verify_sees_a_change_that_still_decodes(cli: Run, db: Path, imported: list[str]) -> None:
    connection = sqlite3.connect(db)
    [(row, state)] = connection.execute(
        "SELECT rowid, state FROM stored_events WHERE topic = 'tool-finished'"
    ).fetchall()
    connection.close()
    tamper(db, "UPDATE stored_events SET state = ? WHERE rowid = ?", state.replace(b"rain", b"snow"), row)
    assert "snow" in cli("show", imported[0]).stdout
    result = cli("verify")
    assert result.exit_code == 1
    assert f"run {imported[0]}: " in result.stdout
    assert "hash" in result.stdout


def test_a_log_that_cannot_be_read_is_a_row_and_not_the_end_of_the_list(
    cli: Run, db: Path, imported: list[str]
) -> None:
    tamper(db, "UPDATE stored_events SET state = x'00' WHERE rowid = 3")
    rows = lines_of(cli("ps", "--json"))
    assert [row["status"] for row in rows] == ["ok", "unreadable"]
    assert "version 3" in rows[1]["error"]
    assert rows[1]["run"] == imported[0]
    shown = cli("show", imported[0])
    assert shown.exit_code == 1
    assert len(shown.stderr.splitlines()) == 1


def test_a_journal_that_cannot_be_opened_leaves_with_3_and_one_sentence(cli: Run, db: Path, tmp_path: Path) -> None:
    missing = cli("ps")
    assert missing.exit_code == 3
    assert "there is no journal at" in missing.stderr
    assert not db.parent.exists()
    text = tmp_path / "notes.txt"
    text.write_text("not a database" * 50)
    for path in (tmp_path, text):
        for command in (["ps"], ["verify"], ["tail"], ["show", "abcd"], ["import", text]):
            result = cli(*command, "--db", path)
            assert result.exit_code == 3, result.output
            assert len(result.stderr.splitlines()) == 1
    assert text.read_text() == "not a database" * 50


def test_reading_changes_nothing_on_disk(cli: Run, db: Path, imported: list[str]) -> None:
    def everything() -> dict[str, tuple[int, bytes]]:
        # SQLite's index of the write-ahead log is shared memory of whoever looks.
        files = [one for one in db.parent.iterdir() if not one.name.endswith("-shm")]
        return {one.name: (stat.S_IMODE(one.stat().st_mode), one.read_bytes()) for one in files}

    before = everything()
    for command in (["ps"], ["show", imported[0]], ["tail"], ["verify"]):
        assert cli(*command).exit_code == 0
    assert everything() == before


def has_host(db: Path) -> bool:
    with reading(db) as journal:
        return hosted(journal)


def test_a_live_host_may_be_read_and_its_runs_are_suspended_when_it_is_gone(cli: Run, db: Path) -> None:
    async def silent(request: object) -> str:
        import asyncio

        await asyncio.get_running_loop().create_future()
        return ""

    agents = [Agent("talker", model=ScriptedModel(["hello"])), Agent("thinker", model=ScriptedModel(silent))]  # type: ignore[list-item]
    with Runtime(db, agents=agents) as runtime:
        waiting = runtime.start("talker", "hi", interactive=True)
        for event in waiting.events():
            if event.tag == "input-awaited":
                break
        thinking = runtime.start("thinker", "hm")
        assert has_host(db)
        rows = {row["run"]: row for row in lines_of(cli("ps", "--json"))}
        assert rows[waiting.id]["status"] == "waiting"
        assert rows[thinking.id]["status"] == "running"
        assert rows[thinking.id]["doing"] == "model"
        assert cli("verify").exit_code == 0
    assert not has_host(db)
    rows = {row["run"]: row["status"] for row in lines_of(cli("ps", "--json"))}
    assert rows == {waiting.id: "waiting", thinking.id: "suspended"}


def test_what_a_tool_returned_cannot_steer_the_terminal(cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "evil.json"
    evil = "\x1b]0;owned\x07\x1b[2J\x9b2J"
    file.write_text(
        json.dumps(
            {"id": evil, "messages": [{"role": "user", "content": evil}, {"role": "assistant", "content": evil}]}
        )
    )
    [row, _] = lines_of(cli("import", file, "--json"))
    for command in (
        ["ps"],
        ["show", row["run"]],
        ["show", row["run"], "--full"],
        ["show", row["run"], "--events"],
        ["tail"],
    ):
        output = cli(*command).output
        assert not {"\x1b", "\x07", "\x9b"} & set(output)
        assert "owned" in output


def test_wide_characters_count_as_two_columns() -> None:
    assert width_of("日本") == 4
    assert cut("日本語", 4) == "日…"
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert columns([["日本", "x", "end"], ["a", "10", "cut here"]], right=(1,), width=13) == [
        ["日本", " x", "end"],
        ["a   ", "10", "cut here"],
    ]
    assert harmless("a\tb\x00\x1b") == "a\tb␀␛"


def test_verify_deep_compares_stored_views_with_ones_built_anew(cli: Run, db: Path) -> None:
    with Runtime(db, agents=[Agent("talker", model=ScriptedModel(["hello"]))]) as runtime:
        runtime.start("talker", "hi").result(30)
    assert cli("verify", "--deep").exit_code == 0
    views = sqlite3.connect(db.with_name("runs.db.views"))
    with views:
        assert views.execute("UPDATE runs SET agent = 'somebody'").rowcount == 1
    views.close()
    assert cli("verify").exit_code == 0
    result = cli("verify", "--deep")
    assert result.exit_code == 1
    assert "the stored view audit differs from one built anew" in result.stdout


def test_ctrl_c_ends_verify_with_a_sum_of_what_it_saw(
    cli: Run, imported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Inspection.of_everything

    def interrupted(self: Inspection) -> Iterator[Finding]:
        yield from real(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Inspection, "of_everything", interrupted)
    result = cli("verify", "--json")
    assert result.exit_code == 130
    [summary] = lines_of(result)
    assert (summary["events"], summary["interrupted"]) == (12, True)
    assert cli("verify").stdout == "interrupted: 0 problems so far, in 2 runs (12 events)\n"


def test_verify_since_a_position_checks_what_came_after(cli: Run, imported: list[str]) -> None:
    assert lines_of(cli("verify", "--since", 8, "--json"))[-1]["runs"] == 1
    assert lines_of(cli("verify", "--since", 12, "--json"))[-1]["runs"] == 0
