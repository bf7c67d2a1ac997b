"""The repository's root is the package: what is listed, what is there and what is installed are the same."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from package_source import (
    OUTSIDE,
    PACKAGES,
    ROOT,
    ROOT_MODULES,
    assets,
    copy_package,
    folder_of,
    modules,
    name_of,
    tree_of,
)


def python(code: str, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_folder_with_code_is_a_listed_package() -> None:
    folders = {
        path.parent.relative_to(ROOT)
        for path in ROOT.rglob("*.py")
        if not any(part in OUTSIDE or part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
        and "site-packages" not in path.parts
    }
    assert sorted(".".join(["executus", *folder.parts]) for folder in folders) == sorted(PACKAGES)


def test_only_known_modules_stand_at_the_root() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == ROOT_MODULES


def test_no_room_is_named_like_something_else() -> None:
    rooms = {package.split(".")[1] for package in PACKAGES if package != "executus"}
    assert rooms.isdisjoint(sys.stdlib_module_names)
    assert rooms.isdisjoint(OUTSIDE)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_refuses_another_name(package: str) -> None:
    body = tree_of(folder_of(package) / "__init__.py").body
    first = next(node for node in body if not isinstance(node, (ast.Expr, ast.ImportFrom)))
    assert isinstance(first, ast.If)
    assert ast.unparse(first.test) == f"__name__ != '{package}'"
    assert isinstance(first.body[0], ast.Raise)


def test_the_root_under_the_name_of_the_clone_is_refused(tmp_path: Path) -> None:
    copy_package(tmp_path / "clone")
    done = python("import clone", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("ImportError: import executus, not clone")


@pytest.mark.parametrize("room", sorted({package.split(".")[1] for package in PACKAGES if package != "executus"}))
def test_a_room_imported_from_the_root_without_its_house_is_refused(room: str, tmp_path: Path) -> None:
    done = python(f"import {room}", copy_package(tmp_path / "clone"))
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"ImportError: import executus.{room}, not {room}")


def test_no_module_is_loaded_under_two_names() -> None:
    names = [name_of(path) for path in modules()]
    code = f"""
import collections, importlib, os, sys
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:  # an extra that is not installed
        assert 'executus' not in str(error.name), error
files = collections.defaultdict(list)
for name, module in sys.modules.items():
    path = getattr(module, '__file__', None)
    if path and name != '__main__':
        files[os.path.realpath(path)].append(name)
twice = {{path: names for path, names in files.items() if len(names) > 1 and any('executus' in name for name in names)}}
assert not twice, twice
"""
    done = python(code, ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_of_the_package_can_be_had() -> None:
    import executus

    assert set(executus.__all__) - {"__version__"} == set(executus._HOMES)
    for name in executus.__all__:
        assert getattr(executus, name) is not None
    with pytest.raises(AttributeError, match="executus has no 'Nothing'"):
        executus.Nothing  # noqa: B018


def test_importing_the_package_loads_nothing_else() -> None:
    code = """
import sys, executus
heavy = {'pykka', 'eventsourcing', 'msgspec', 'sqlite3', 'asyncio', 'click', 'rich', 'pydantic_ai'} & set(sys.modules)
assert not heavy, heavy
"""
    done = python(code, ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_version_is_the_one_the_code_states() -> None:
    import executus

    assert executus.__version__ == importlib.metadata.version("executus")


def test_a_wheel_holds_exactly_the_package(tmp_path: Path) -> None:
    setuptools = pytest.importorskip("setuptools", reason="building a wheel needs setuptools: pip install '.[dev]'")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip(f"building a wheel needs setuptools 77, here is {setuptools.__version__}: pip install '.[dev]'")
    source = copy_package(tmp_path / "clone")
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    done = python(code, source)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        [entry_points] = [archive.read(name) for name in archive.namelist() if name.endswith("entry_points.txt")]
    expected = [f"executus/{path.relative_to(ROOT).as_posix()}" for path in [*modules(), *assets(), ROOT / "py.typed"]]
    assert sorted(names) == sorted(expected)
    assert b"executus = executus.cli:main" in entry_points
