"""The package as files: which folders and modules it has, and a clean copy of it to try things on."""

from __future__ import annotations

import ast
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = SETTINGS["tool"]["setuptools"]["packages"]
ROOT_MODULES = {
    "__init__.py",
    "admission.py",
    "backtesting.py",
    "cassettes.py",
    "erasure.py",
    "errors.py",
    "forking.py",
    "overriding.py",
    "recovery.py",
    "resuming.py",
    "runtime.py",
    "sealing.py",
    "starting.py",
    "testing.py",
    "wiring.py",
}
"""The modules that may stand at the root; everything else has a room."""
OUTSIDE = {"benchmarks", "docs", "examples", "tests"}
"""Folders of the repository that are no part of the package."""


def folder_of(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def modules() -> list[Path]:
    """Every source file of the package."""
    return sorted(path for package in PACKAGES for path in folder_of(package).glob("*.py"))


def assets() -> list[Path]:
    """Every file of the package that is no source: what its pages are made of."""
    return sorted(path for path in (ROOT / "debugger" / "assets").rglob("*") if path.is_file())


def name_of(path: Path) -> str:
    """The dotted name under which a source file is imported."""
    parts = ["executus", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def copy_package(to: Path) -> Path:
    """Copy what is needed to build the package, and nothing that tools left behind."""
    for path in [
        *modules(),
        *assets(),
        *(ROOT / name for name in ("py.typed", "pyproject.toml", "README.md", "LICENSE")),
    ]:
        target = to / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return to
