"""`executus export`."""

import json
from pathlib import Path

import pytest

from .conftest import Run, lines_of


def test_a_run_is_written_as_a_page_and_as_lines(cli: Run, imported: list[str], tmp_path: Path) -> None:
    html, jsonl = tmp_path / "deep" / "run.html", tmp_path / "run.jsonl"
    done = cli("export", imported[0][-8:], "--html", html, "--jsonl", jsonl, "--json")
    assert done.exit_code == 0, done.output
    [told] = lines_of(done)
    assert (told["type"], told["run"], told["from"], told["content"]) == ("export", imported[0], 1, "clear")
    assert told["files"] == [{"file": str(one), "bytes": one.stat().st_size} for one in (html, jsonl)]
    assert html.read_text().startswith("<!doctype html>")
    assert jsonl.read_text() == cli("show", imported[0], "--events", "--json").stdout
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file() and "run" in one.name) == ["run.jsonl"]


def test_lines_and_pages_go_to_standard_output_and_nothing_else_does(cli: Run, imported: list[str]) -> None:
    done = cli("export", imported[0], "--jsonl", "-", "--from", "2", "--to", "4")
    assert [json.loads(line)["version"] for line in done.stdout.splitlines()] == [2, 3, 4]
    assert cli("export", imported[0], "--html", "-").stdout.rstrip().endswith("</html>")


def test_it_says_what_it_wrote(cli: Run, imported: list[str], tmp_path: Path) -> None:
    done = cli("export", imported[0], "--jsonl", tmp_path / "run.jsonl", "--to", "1")
    assert done.stdout.startswith(f"1 event of run {imported[0]} in ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "say what to write"),
        (["--html", "same", "--jsonl", "same"], "cannot be the same file"),
        (["--html", "x.html", "--to", "99"], "has versions 0"),
        (["--html", "x.html", "--from", "5", "--to", "2"], "nothing from event 5 to event 2"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence_and_writes_nothing(
    cli: Run, imported: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("export", imported[0], *given)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "x.html").exists()


def test_what_was_there_stays_if_it_cannot_be_written(cli: Run, imported: list[str], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    done = cli("export", imported[0], "--html", tmp_path / "kept" / "run.html")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_page_that_would_be_too_large_is_refused_with_what_to_do(
    cli: Run, imported: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executus.debugger import recorded

    monkeypatch.setattr(recorded, "MOST_EVENTS", 3)
    done = cli("export", imported[0], "--html", tmp_path / "run.html")
    assert done.exit_code == 2
    assert "--from and --to, or write --jsonl" in done.stderr
    assert cli("export", imported[0], "--html", tmp_path / "run.html", "--to", "3").exit_code == 0
    monkeypatch.setattr(recorded, "MOST_BYTES", 100)
    assert "MB" in cli("export", imported[0], "--html", tmp_path / "run.html", "--to", "3").stderr


def test_a_damaged_log_is_told(cli: Run, db: Path, imported: list[str], tmp_path: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(db)
    connection.execute("UPDATE stored_events SET state = x'00' WHERE originator_version = 2")
    connection.commit()
    connection.close()
    file = tmp_path / "run.jsonl"
    done = cli("export", imported[0], "--jsonl", file)
    assert (done.exit_code, "version 2" in done.stderr) == (1, True)
    assert not file.exists()
