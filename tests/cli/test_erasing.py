"""`executus erase` and `executus keys`, and what the reading commands show of sealed and erased runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sealing_support import files_with

from executus import Agent, InputFile, Runtime, ScriptedModel
from executus.adapters.files.stager import DirectoryStager
from executus.adapters.keys.sources import KeyFile
from executus.cli.program import executus

WORD = "canary-of-the-command-line"

Command = Callable[..., Result]


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere.key"
    KeyFile(path, create=True)
    return path


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "runs.db"


@pytest.fixture
def cli(db: Path, key_path: Path) -> Command:
    """Runs a command with the host's key in the environment; `key=None` leaves it out."""

    def run(*arguments: object, key: Path | None = key_path, **options: Any) -> Result:
        given = {"EXECUTUS_KEY_FILE": str(key)} if key is not None else {"EXECUTUS_KEY_FILE": None}
        words = [str(one) for one in arguments]
        return CliRunner(env={"EXECUTUS_DB": str(db), "NO_COLOR": "1", "EXECUTUS_KEY": None, **given}).invoke(
            executus, words, **options
        )

    return run


@pytest.fixture
def run_id(db: Path, key_path: Path) -> str:
    """A sealed run of alice's, with an attachment."""
    agent = Agent("worker", model=ScriptedModel([WORD]))
    stager = DirectoryStager(db.parent / "attachments")
    with Runtime(db, [agent], encryption=KeyFile(key_path), files=stager) as runtime:
        run = runtime.start("worker", WORD, caller="alice", files=[InputFile("a.txt", WORD.encode())])
        assert run.result(30).status == "ok"
        return run.id


def test_show_reads_a_sealed_run_with_the_key_and_says_what_is_missing_without(cli: Command, run_id: str) -> None:
    with_key, without = cli("show", run_id), cli("show", run_id, key=None)
    assert with_key.exit_code == without.exit_code == 0
    assert WORD in with_key.stdout
    assert WORD not in without.stdout
    assert "set EXECUTUS_KEY or EXECUTUS_KEY_FILE to read it" in without.stdout
    assert "[erased]" in without.stdout
    [shape] = lines_of(cli("show", run_id, "--json", key=None))
    assert (shape["content"], shape["erased"], shape["caller"]) == ("locked", None, "alice")
    [shape] = lines_of(cli("show", run_id, "--json"))
    assert (shape["content"], shape["output"]) == ("sealed", WORD)


def test_ps_tail_and_verify_work_without_the_key(cli: Command, run_id: str) -> None:
    assert run_id[-8:] in cli("ps", key=None).stdout
    assert "run-finished" in cli("tail", key=None).stdout
    assert {line["content"] for line in lines_of(cli("tail", "--json", key=None))} == {"clear", "locked"}
    verified = cli("verify", key=None)
    assert verified.exit_code == 0
    assert "1 run sealed, and checked without what is said in it" in verified.stdout
    assert lines_of(cli("verify", "--json", key=None))[-1]["locked"] == 1
    assert lines_of(cli("verify", "--json"))[-1]["locked"] == 0


def test_a_wrong_key_is_one_sentence_and_code_3(cli: Command, run_id: str, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    KeyFile(other, create=True)
    for command in (["show", run_id], ["verify"], ["erase", run_id, "--yes"]):
        result = cli(*command, key=other)
        assert result.exit_code == 3
        assert "does not open" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_erase_asks_first_and_does_what_it_says(cli: Command, run_id: str, db: Path) -> None:
    told = cli("erase", run_id, "--dry-run")
    assert (told.exit_code, told.stdout) == (0, f"run {run_id}\n1 run would be erased\n")
    refused = cli("erase", run_id, input="n\n")
    assert refused.exit_code == 1
    assert WORD in cli("show", run_id).stdout
    options = ("--files", db.parent / "attachments", "--reason", "asked by alice", "--prove", "--phrase", WORD)
    done = cli("erase", run_id[-8:], *options, input="y\n")
    assert done.exit_code == 0, done.output
    assert "1 run erased: no key of theirs is left" in done.stdout
    shown = cli("show", run_id)
    assert WORD not in shown.stdout
    assert "erased by command line at" in shown.stdout
    assert "asked by alice" in shown.stdout
    [shape] = lines_of(cli("show", run_id, "--json"))
    assert shape["content"] == "erased"
    assert shape["erased"]["by"] == "command line"
    assert shape["messages"][-1]["content"] == "[erased]"
    verified = cli("verify")
    assert verified.exit_code == 0, verified.output
    assert files_with(db.parent, [WORD]) == []


def test_erase_of_a_caller_needs_no_key_and_prints_json(cli: Command, run_id: str, db: Path) -> None:
    result = cli("erase", "--caller", "alice", "--yes", "--json", "--files", db.parent / "attachments", key=None)
    assert result.exit_code == 0
    erased, summary = lines_of(result)
    assert erased == {"type": "erased", "run": run_id, "done": True}
    assert summary == {"type": "summary", "runs": 1, "artifacts": 0, "blobs": 0, "attachments": 1, "problems": 0}
    assert WORD not in cli("show", run_id).stdout


def test_attachments_that_cannot_be_reached_are_named_and_code_1(cli: Command, run_id: str) -> None:
    result = cli("erase", run_id, "--yes")
    assert result.exit_code == 1
    assert f"attachments of run {run_id}" in result.stdout


def test_erase_refuses_with_a_sentence(cli: Command, run_id: str, db: Path, key_path: Path, tmp_path: Path) -> None:
    with Runtime(db, [Agent("worker", model=ScriptedModel([WORD]))]) as runtime:
        plain = runtime.start("worker", "in the clear")
        plain.result(30)
    result = cli("erase", plain.id, "--yes")
    assert result.exit_code == 2
    assert "stored in the clear" in result.stderr
    assert cli("erase", "--yes").exit_code == 2
    assert cli("erase", run_id, "--caller", "alice", "--yes").exit_code == 2
    assert cli("erase", run_id, "--json").exit_code == 2
    assert cli("erase", run_id, "--yes", "--db", tmp_path / "none.db").exit_code == 3
    assert not (tmp_path / "none.db").exists()
    with Runtime(db, encryption=KeyFile(key_path)):
        live = cli("erase", run_id, "--yes")
    assert live.exit_code == 3
    assert "in use" in live.stderr


def test_keys_are_made_shown_and_changed(cli: Command, run_id: str, tmp_path: Path) -> None:
    new = tmp_path / "new.key"
    made = cli("keys", "--create", new)
    assert made.exit_code == 0
    assert new.stat().st_mode & 0o777 == 0o600
    assert cli("keys", "--create", new).exit_code == 2
    [shown] = lines_of(cli("keys", "--json"))
    assert (shown["sealed"], shown["runs"], shown["destroyed"]) == (True, 1, 0)
    rotated = cli("keys", "--rotate", new)
    assert rotated.exit_code == 0, rotated.output
    assert KeyFile(new).key_id in rotated.stdout
    assert cli("show", run_id).exit_code == 3
    assert WORD in cli("show", run_id, key=new).stdout
    assert cli("keys", "--rotate", new, key=None).exit_code == 3
    assert KeyFile(new).key_id in cli("keys").stdout


def test_an_import_is_sealed_when_the_key_is_there(cli: Command, db: Path, tmp_path: Path) -> None:
    recording = tmp_path / "chat.json"
    recording.write_text(json.dumps([{"role": "user", "content": WORD}, {"role": "assistant", "content": "Hi."}]))
    assert cli("import", recording).exit_code == 0
    assert files_with(db.parent, [WORD]) == []
    assert cli("verify").exit_code == 0
    [run] = lines_of(cli("ps", "--json"))
    assert WORD in cli("show", run["run"]).stdout


def test_a_journal_that_is_not_sealed_says_so(cli: Command, db: Path) -> None:
    with Runtime(db):
        pass
    assert "is not sealed" in cli("keys", key=None).stdout


@pytest.mark.parametrize(
    ("text", "why"), [("abc", "expected a key"), ("zz" * 32, "expected a key"), ("", "expected a key")]
)
def test_what_is_no_key_is_told_without_repeating_it(
    cli: Command, run_id: str, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "bad.key"
    path.write_text(text)
    path.chmod(0o600)
    result = cli("show", run_id, key=path)
    assert result.exit_code == 3
    assert why in result.stderr
    assert not text or text not in result.stderr.replace(str(path), "")


def test_a_key_file_that_others_may_read_is_refused(cli: Command, run_id: str, key_path: Path) -> None:
    key_path.chmod(0o644)
    result = cli("show", run_id)
    assert result.exit_code == 3
    assert "chmod 600" in result.stderr


def test_a_backup_of_the_journal_has_no_keys_and_one_of_the_keys_is_apart(
    cli: Command, run_id: str, db: Path, tmp_path: Path
) -> None:
    copy, keys = tmp_path / "saved" / "runs.db", tmp_path / "keys" / "monday"
    keys.parent.mkdir(mode=0o700)
    assert cli("backup", copy).exit_code == 0
    assert not copy.with_name("runs.db.keys").exists()
    assert "set EXECUTUS_KEY" in cli("show", run_id, "--db", copy).stdout
    verified = cli("verify", "--db", copy)
    assert verified.exit_code == 0
    assert "1 run sealed, and checked without what is said in it" in verified.stdout
    saved = cli("keys", "--backup", keys)
    assert saved.exit_code == 0
    assert keys.stat().st_mode & 0o777 == 0o600
    assert cli("keys", "--backup", keys).exit_code == 2
    assert cli("erase", run_id, "--yes", "--files", db.parent / "attachments").exit_code == 0
    assert WORD not in cli("show", run_id).stdout
    # what the page says of backups: an old copy of the keys opens an old copy of the journal
    keys.rename(copy.with_name("runs.db.keys"))
    assert WORD in cli("show", run_id, "--db", copy).stdout


def test_an_erased_run_whose_key_came_back_with_a_backup_is_found_and_erased_again(
    cli: Command, run_id: str, db: Path, tmp_path: Path
) -> None:
    assert cli("keys", "--backup", tmp_path / "saved").exit_code == 0
    options = ("--yes", "--files", db.parent / "attachments")
    assert cli("erase", run_id, *options).exit_code == 0
    for ending in ("", "-wal", "-shm"):
        Path(f"{db}.keys{ending}").unlink(missing_ok=True)
    (tmp_path / "saved").rename(f"{db}.keys")
    found = cli("verify")
    assert found.exit_code == 1
    assert "its key is there: erase it again" in found.stdout
    assert cli("erase", run_id, *options, "--prove").exit_code == 0
    assert cli("verify").exit_code == 0
    assert WORD not in cli("show", run_id).stdout


def test_runs_that_were_moved_to_the_archive_are_read_and_erased_as_if_they_had_stayed(
    cli: Command, run_id: str, db: Path, key_path: Path
) -> None:
    with Runtime(db, [Agent("worker", model=ScriptedModel([WORD]))], encryption=KeyFile(key_path)) as runtime:
        assert runtime.start("worker", WORD).result(30).status == "ok"  # the newest run stays
    moved = cli("compact", "--older-than", "0s", "--yes")
    assert moved.exit_code == 0, moved.output
    assert Path(f"{db}.archive").exists()
    assert WORD in cli("show", run_id).stdout
    assert "[erased]" in cli("show", run_id, key=None).stdout
    assert cli("verify").exit_code == 0
    assert files_with(db.parent, [WORD]) == []
    erased = cli("erase", run_id, "--yes", "--files", db.parent / "attachments", "--prove", "--phrase", WORD)
    assert erased.exit_code == 0, erased.output
    assert WORD not in cli("show", run_id).stdout
    assert cli("verify").exit_code == 0
    assert "set EXECUTUS_KEY" not in cli("show", run_id, key=None).stdout
