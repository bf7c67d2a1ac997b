"""Imports point one way, and the tool that checks it would notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from package_source import PACKAGES, ROOT, ROOT_MODULES, SETTINGS, copy_package

CONTRACTS = SETTINGS["tool"]["importlinter"]["contracts"]
ROOMS = {package.split(".")[1] for package in PACKAGES if package != "executus"} | {
    name.removesuffix(".py") for name in ROOT_MODULES - {"__init__.py"}
}
PLANTED = {
    "imports point one way": ("journal/rules.py", "from ..actors import mailbox"),
    "pykka lives in actors": ("journal/rules.py", "import pykka"),
    "eventsourcing and sqlite live in journal": ("actors/calls.py", "import sqlite3"),
    "model clients live in adapters": ("runtime.py", "import pydantic_ai"),
    "cryptography lives in adapters": ("journal/keyring.py", "import cryptography"),
    "click and rich live in cli": ("adapters/chat.py", "import click"),
    "pynng lives in wire": ("adapters/chat.py", "import pynng"),
    "the wire knows no actors": ("wire/feed.py", "from ..actors import mailbox"),
    "the debugger knows no actors": ("debugger/shelf.py", "from ..actors import mailbox"),
    "web servers live in debugger": ("runtime.py", "import starlette"),
    "the pure core reads no clock, randomness, thread, file or socket": ("projections/run.py", "import time"),
}
"""One import for each contract that breaks it."""

lint = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
needs_lint = pytest.mark.skipif(lint is None, reason="import-linter is not installed: pip install '.[dev]'")


def verdicts(at: Path) -> dict[str, str]:
    """What lint-imports says of the package in the folder `at`, by contract."""
    done = subprocess.run(
        [str(lint), "--config", "executus/pyproject.toml", "--no-cache"],
        cwd=at,
        env={**os.environ, "PYTHONPATH": str(at), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = dict(re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    return found


@needs_lint
def test_the_arrows_hold(tmp_path: Path) -> None:
    copy_package(tmp_path / "executus")
    assert verdicts(tmp_path) == {contract["name"]: "KEPT" for contract in CONTRACTS}


@needs_lint
def test_every_contract_notices_what_it_forbids(tmp_path: Path) -> None:
    copy_package(tmp_path / "executus")
    for place, line in PLANTED.values():
        path = tmp_path / "executus" / place
        path.write_text(f"{path.read_text()}\n{line}\n")
    assert verdicts(tmp_path) == dict.fromkeys(PLANTED, "BROKEN")


@needs_lint
def test_a_new_room_needs_its_place_among_the_layers(tmp_path: Path) -> None:
    copy_package(tmp_path / "executus")
    (tmp_path / "executus" / "attic.py").write_text('"""Nobody said where this belongs."""\n')
    assert verdicts(tmp_path)["imports point one way"] == "BROKEN"


def test_the_contracts_speak_of_every_room() -> None:
    [layers] = [contract for contract in CONTRACTS if contract["type"] == "layers"]
    named = {room.strip() for layer in layers["layers"] for room in layer.split("|")}
    assert named == ROOMS
    for contract in CONTRACTS:
        if contract["type"] == "forbidden" and " live" in contract["name"]:
            home = re.findall(r"lives? in (\w+)", contract["name"])
            spoken = {source.split(".")[1] for source in contract["source_modules"]}
            assert spoken | set(home) == ROOMS, contract["name"]


def test_there_is_a_planted_breach_for_every_contract() -> None:
    assert set(PLANTED) == {contract["name"] for contract in CONTRACTS}
    assert all((ROOT / place).exists() for place, _ in PLANTED.values())
