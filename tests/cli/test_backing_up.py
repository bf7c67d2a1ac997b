from pathlib import Path

from .conftest import Run, lines_of


def test_backup_makes_a_journal_that_shows_the_same(cli: Run, db: Path, imported: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "saved" / "monday.db"
    db.with_name("runs.db.keys").write_text("")
    db.with_name("runs.db-artifacts").mkdir()
    result = cli("backup", copy)
    assert result.exit_code == 0
    assert f"{copy} (" in result.stdout
    assert "everything up to position 12" in result.stdout
    assert "not copied: runs.db.keys" in result.stderr
    assert "not copied: runs.db-artifacts" in result.stderr
    assert cli("verify", "--deep", "--db", copy).exit_code == 0
    assert cli("ps", "--json", "--db", copy).stdout == cli("ps", "--json").stdout
    assert cli("tail", "--json", "--db", copy).stdout == cli("tail", "--json").stdout
    again = cli("backup", copy)
    assert again.exit_code == 3
    assert "exists" in again.stderr
    [summary] = lines_of(cli("backup", tmp_path / "b.db", "--json"))
    assert summary["position"] == 12
    assert [made["file"] for made in summary["files"]] == [str(tmp_path / "b.db")]


def test_there_must_be_a_journal_to_back_up(cli: Run, tmp_path: Path) -> None:
    assert cli("backup", tmp_path / "b.db").exit_code == 3
    assert list(tmp_path.iterdir()) == []
