"""The page on architecture speaks of every room and every fold, and of no file that is gone."""

from __future__ import annotations

import re

from package_source import PACKAGES, ROOT, ROOT_MODULES, SETTINGS

PAGE = (ROOT / "docs" / "architecture.md").read_text()
MAP = PAGE.split("## Code map")[1].split("\n## ")[0]


def test_every_room_is_on_the_map() -> None:
    folders = {f"{package.split('.')[1]}/" for package in PACKAGES if "." in package}
    rooms = folders | (ROOT_MODULES - {"__init__.py"})
    assert rooms - set(re.findall(r"`([\w/.]+)`", MAP)) == set()


def test_every_fold_and_every_part_of_the_decision_is_on_the_map() -> None:
    modules = [*(ROOT / "projections").glob("*.py"), *(ROOT / "actors" / "run").glob("*.py")]
    names = {path.stem for path in modules} - {"__init__", "actor"}
    assert names - set(re.findall(r"`(\w+)`", MAP)) == set()


def test_every_file_that_is_named_is_there() -> None:
    folders = [ROOT.joinpath(*package.split(".")[1:]) for package in PACKAGES] + [ROOT / "tests" / "simulation"]
    files = [path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob("*.py")]
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in files)} == set()


def test_the_layers_are_drawn_as_they_are_held() -> None:
    [layers] = [one["layers"] for one in SETTINGS["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    drawn = " ".join(re.findall(r"^(errors ◄.*\n.*)$", PAGE, re.MULTILINE)).split("◄")
    assert [re.sub(r"\s+", " ", layer).strip() for layer in drawn] == list(reversed(layers))
