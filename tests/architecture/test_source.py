"""What every source file of the package owes its reader, and what the pure core must never touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from package_source import ROOT, folder_of, modules, tree_of

PURE = [
    *folder_of("executus.events").glob("*.py"),
    *folder_of("executus.projections").glob("*.py"),
    *(folder_of("executus.actors.run") / name for name in ("decide.py", "intake.py", "messages.py")),
]
PURE_IMPORTS = {
    "__future__",
    "base64",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "math",
    "msgspec",
    "msgspec.structs",
    "struct",
    "typing",
    "uuid",
}
"""What the pure core may import from outside: nothing here looks at a clock, a file, a socket or another thread."""
IMPURE_NAMES = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "id"}
IMPURE_UUIDS = {"uuid1", "uuid4", "getnode"}


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_every_public_name_says_what_a_caller_can_rely_on(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "a module opens with one sentence that says what lives here"
    silent: list[str] = []

    def look(body: list[ast.stmt], inside: str) -> None:
        for node in body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or node.name.startswith("_"):
                continue
            overload = any("overload" in ast.unparse(one) for one in node.decorator_list)
            if not ast.get_docstring(node) and not overload:
                silent.append(f"{inside}{node.name}")
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{node.name}.")

    look(tree.body, "")
    assert silent == []


@pytest.mark.parametrize("path", PURE, ids=ids)
def test_the_pure_core_imports_nothing_that_touches_the_world(path: Path) -> None:
    imported = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(str(node.module))
    assert imported - PURE_IMPORTS == set()


@pytest.mark.parametrize("path", PURE, ids=ids)
def test_the_pure_core_calls_nothing_that_touches_the_world(path: Path) -> None:
    called = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute))
    }
    assert called & (IMPURE_NAMES | IMPURE_UUIDS) == set()
    assert not any(isinstance(node, (ast.Global, ast.Nonlocal, ast.Await)) for node in ast.walk(tree_of(path)))


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_inside_the_package_imports_are_relative(path: Path) -> None:
    absolute = [
        ast.unparse(node)
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "executus" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.level == 0 and str(node.module).split(".")[0] == "executus")
    ]
    if ids(path) != "adapters/tools/process_child.py":  # a program of its own, run by the child
        assert absolute == []
