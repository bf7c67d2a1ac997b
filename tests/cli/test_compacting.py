import json
import sqlite3
from pathlib import Path

import pytest

from executus import Agent, Runtime, ScriptedModel
from executus.cli.compacting import seconds_of
from executus.cli.program import Misuse

from .conftest import Run, lines_of


@pytest.fixture
def old(cli: Run, imported: list[str], tmp_path: Path) -> list[str]:
    """Two finished runs, and a third one after them, which has the newest event."""
    more = tmp_path / "more.json"
    more.write_text(json.dumps([{"role": "user", "content": "news"}, {"role": "assistant", "content": "none"}]))
    assert cli("import", more).exit_code == 0
    return imported


def test_compact_without_yes_says_what_would_move_and_changes_nothing(cli: Run, db: Path, old: list[str]) -> None:
    before = {one.name: one.read_bytes() for one in db.parent.iterdir() if not one.name.endswith("-shm")}
    result = cli("compact", "--older-than", "0s")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "would move 2 runs (12 events, 0.0 MB) to runs.db.archive\n1 run stay: with the newest"
    )
    assert "--yes" in result.stderr
    *moves, summary = lines_of(cli("compact", "--older-than", "0s", "--json"))
    assert [move["run"] for move in moves] == old
    assert (summary["moved"], summary["runs"], summary["staying"]) == (False, 2, {"newest": 1})
    assert {one.name: one.read_bytes() for one in db.parent.iterdir() if not one.name.endswith("-shm")} == before


def test_what_was_compacted_is_shown_as_before(cli: Run, db: Path, old: list[str]) -> None:
    shown = [
        cli(*command).stdout for command in (["tail", "--after", "0", "--json"], ["show", old[0]], ["show", old[1]])
    ]
    listed = [(row["run"], row["status"], row["output"]) for row in lines_of(cli("ps", "--json"))]
    result = cli("compact", "--older-than", "0s", "--yes", "--vacuum")
    assert result.exit_code == 0
    assert result.stdout.startswith("moved 2 runs (12 events")
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT count(DISTINCT originator_id) FROM stored_events").fetchone() == (1,)
    connection.close()
    again = [
        cli(*command).stdout for command in (["tail", "--after", "0", "--json"], ["show", old[0]], ["show", old[1]])
    ]
    assert again == shown
    assert [(row["run"], row["status"], row["output"]) for row in lines_of(cli("ps", "--json"))] == listed
    summary = lines_of(cli("verify", "--json"))[-1]
    assert (summary["runs"], summary["archived"], summary["problems"]) == (3, 2, 0)
    archive = db.with_name("runs.db.archive")
    assert len(lines_of(cli("ps", "--json", "--db", archive))) == 2
    assert cli("verify", "--db", archive).exit_code == 0
    assert cli("import", db.parent.parent / "conversations.json").stdout.startswith("imported 0 ")


def test_a_missing_archive_is_told_for_its_runs(cli: Run, db: Path, old: list[str]) -> None:
    assert cli("compact", "--older-than", "0s", "--yes").exit_code == 0
    archive = db.with_name("runs.db.archive")
    archive.rename(db.with_name("elsewhere"))
    rows = lines_of(cli("ps", "--json"))
    assert [row["status"] for row in rows] == ["ok", "unreadable", "unreadable"]
    assert all(str(archive) in row["error"] for row in rows[1:])
    assert cli("show", old[0]).exit_code == 3
    verified = cli("verify")
    assert verified.exit_code == 1
    assert str(archive) in verified.stdout


def test_age_status_and_caller_are_checked(cli: Run, db: Path, old: list[str]) -> None:
    assert lines_of(cli("compact", "--json"))[-1]["staying"] == {"young": 2, "newest": 1}
    assert lines_of(cli("compact", "--older-than", "0s", "--status", "error", "--json"))[-1]["runs"] == 0
    assert lines_of(cli("compact", "--older-than", "0s", "--caller", "nobody", "--json"))[-1]["runs"] == 0
    assert lines_of(cli("compact", "--older-than", "0s", "--keep", 2, "--json"))[-1]["runs"] == 1
    for wrong in (["--older-than", "soon"], ["--status", "fine"], ["--keep", "-1"]):
        assert cli("compact", *wrong).exit_code == 2


def test_ages_are_read_as_people_write_them() -> None:
    assert [seconds_of(one) for one in ("90d", "12h", "30m", "45s", "2W", "0s")] == [
        7776000,
        43200,
        1800,
        45,
        1209600,
        0,
    ]
    for wrong in ("", "90", "d", "-1d", "1.5h", "9999999999d"):
        with pytest.raises(Misuse):
            seconds_of(wrong)


def test_a_journal_with_a_live_host_is_compacted_by_that_host(cli: Run, db: Path) -> None:
    with Runtime(db, agents=[Agent("a", model=ScriptedModel(["one", "two"]))]) as runtime:
        first, second = (runtime.start("a", "hi") for _ in range(2))
        first.result(30)
        second.result(30)
        result = cli("compact", "--older-than", "0s", "--yes")
        assert result.exit_code == 3
        assert "in use" in result.stderr
        assert cli("compact", "--older-than", "0s").exit_code == 0
        assert runtime.compact(older_than_s=0).runs == 1
        assert cli("verify").exit_code == 0


def test_there_must_be_a_journal_to_compact(cli: Run, db: Path) -> None:
    for more in ([], ["--yes"]):
        assert cli("compact", *more).exit_code == 3
    assert not db.exists()
