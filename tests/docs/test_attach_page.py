"""The page on attaching tells who may give which order as the host decides it, and its programs run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from package_source import ROOT

from executus.adapters.critics.outside import VERDICT_BYTES, OutsideCritic
from executus.wire import requests
from executus.wire.attached import Attached, RemoteRun
from executus.wire.rights import ROLES

PAGE = (ROOT / "docs" / "attach.md").read_text()
ASKED = {"raise_ceiling": "raise", "orders": "orders", "serve_critic": "next-review"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_order_has_its_least_role() -> None:
    needs = {str(kind.__struct_config__.tag): kind.needs for kind in requests.AnyRequest.__args__}  # type: ignore[attr-defined]
    told: dict[str, str] = {}
    for cells, role in re.findall(r"^\| (`.*?) \| (\w+) \|", section("Orders"), re.MULTILINE):
        for held, name in re.findall(r"(run|host)\.(\w+)\(", cells):
            assert hasattr(RemoteRun if held == "run" else Attached, name)
            told[ASKED.get(name, name)] = role
    orders = {tag for tag, role in needs.items() if role != "viewer"} - {"give-review"}
    assert told == {tag: needs[tag] for tag in orders}
    assert needs["give-review"] == needs["next-review"]


def test_every_role_has_its_line() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", section("Who may"), re.MULTILINE)) == ROLES


def test_the_numbers_of_critics_are_those_of_the_code() -> None:
    text = section("A critic in another process")
    assert f"more than {VERDICT_BYTES:,} bytes" in text
    assert f"wait `wait_s` seconds ({OutsideCritic('x').wait_s:g})" in text


@pytest.mark.parametrize("call", re.findall(r"`(?:run|host)\.(\w+)\(", PAGE))
def test_every_call_that_is_named_is_there(call: str) -> None:
    assert hasattr(RemoteRun, call) or hasattr(Attached, call)


def test_the_operator_of_the_example_sees_and_steers() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "attached.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.replace("needs a owner", "needs an owner").splitlines()
    assert said == [
        "ipc",
        "ok All is quiet. model",
        "it is over, with status ok",
        "killed operator:bob it costs too much",
        "caller-steered operator:bob",
        "run-finished model",
        "grant 'dashboard' is a viewer's; kill needs an owner's",
        "False 2 ['start', 'steer', 'start', 'kill']",
    ]
