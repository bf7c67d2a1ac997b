import subprocess
from pathlib import Path

import pytest

from executus import Agent, Runtime, ScriptedModel, Signing

from .conftest import Run, lines_of
from .test_reading import tamper


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A key pair, made as the documentation says."""
    private, public = tmp_path / "host.pem", tmp_path / "host.pub"
    make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    show = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(show, check=True, capture_output=True, timeout=60)
    return private, public


@pytest.fixture
def signed(db: Path, keys: tuple[Path, Path]) -> Path:
    """The public key of a journal with two runs that was signed for."""
    with Runtime(db, agents=[Agent("a", model=ScriptedModel(["done"]))], signing=Signing(keys[0])) as runtime:
        for _ in range(2):
            runtime.start("a", "hi").result(30)
    return keys[1]


def test_verify_checks_what_was_signed(cli: Run, db: Path, signed: Path) -> None:
    result = cli("verify", "--public-key", signed)
    assert result.exit_code == 0, result.output
    assert "1 signed anchor, up to position 8: all fit" in result.stdout
    [summary] = lines_of(cli("verify", "--public-key", signed, "--json"))
    assert (summary["anchors"], summary["signed_to"]) == (1, 8)
    copy = db.with_name("copy")
    copy.write_bytes(db.with_name("runs.db.heads").read_bytes())
    assert cli("verify", "--public-key", signed, "--heads", copy).exit_code == 0


def test_what_does_not_fit_is_told_with_its_place(cli: Run, db: Path, signed: Path) -> None:
    tamper(db, "UPDATE stored_events SET rowid = 99 WHERE rowid = 8")
    result = cli("verify", "--public-key", signed)
    assert result.exit_code == 1
    assert "what was signed for at position 8 is not there" in result.stdout


def test_keys_and_files_that_cannot_be_used_are_told(cli: Run, db: Path, signed: Path, tmp_path: Path) -> None:
    text = tmp_path / "no.pem"
    text.write_text("no key")
    run = lines_of(cli("ps", "--json"))[0]["run"]
    for wrong, code in (
        (["--public-key", text], 2),
        (["--public-key", tmp_path / "none"], 2),
        (["--heads", tmp_path / "none"], 2),
        ([run, "--public-key", signed], 2),
        (["--public-key", signed, "--heads", tmp_path / "none"], 1),
        (["--public-key", signed, "--heads", tmp_path], 1),
    ):
        result = cli("verify", *wrong)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
