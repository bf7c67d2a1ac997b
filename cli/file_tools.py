"""Tools that read the files of one directory, and nothing outside it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..adapters.tools.functions import tool
from ..ports import Tool

MAX_FILE_BYTES = 2_000_000
MAX_LINES = 400
MAX_HITS = 50
SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist", "venv", "site-packages"})

PathIn = Annotated[str, msgspec.Meta(description="Path of a file, relative to the directory under review.")]


def python_files(root: Path) -> list[str]:
    """The Python files below `root`, relative, sorted; hidden and generated directories and links out are left out."""
    return sorted(path.relative_to(root.resolve()).as_posix() for path in _walk(root.resolve(), root.resolve()))


def file_tools(root: Path) -> list[Tool]:
    """`read_file`, `outline` and `search`, confined to `root` (links are followed first, then checked)."""
    root = root.resolve()

    @tool(effect="pure")
    def read_file(path: PathIn, first_line: int = 1, last_line: int | None = None) -> str:
        """Read a text file, with line numbers; at most 400 lines at a time."""
        lines = _text(root, path).splitlines()
        first = max(1, first_line)
        last = min(len(lines), last_line if last_line is not None else len(lines), first + MAX_LINES - 1)
        shown = [f"{number:5} {lines[number - 1]}" for number in range(first, last + 1)]
        if last < len(lines):
            shown.append(f"({len(lines) - last} more lines)")
        return "\n".join(shown) or f"(no such lines; the file has {len(lines)})"

    @tool(effect="pure")
    def outline(path: PathIn) -> str:
        """List the classes and functions of a Python file: lines, length, parameters, whether they have a docstring."""
        text = _text(root, path)
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            return f"does not parse: {error}"
        described = [f"{len(text.splitlines())} lines, {_docstring(tree)}"]
        described += [_described(node, name) for node, name in _definitions(tree, "")]
        return "\n".join(described)

    @tool(effect="pure")
    def search(text: str, path: str = ".") -> str:
        """Find `text`, literally and in any case, in a file or in the Python files below a directory."""
        if not text:
            raise ValueError("text: expected something to search for")
        wanted = text.casefold()
        hits: list[str] = []
        place = _inside(root, path)
        for file in _walk(place, root) if place.is_dir() else [place]:
            name = file.relative_to(root).as_posix()
            for number, line in enumerate(_text(root, name).splitlines(), 1):
                if wanted in line.casefold():
                    if len(hits) == MAX_HITS:
                        return "\n".join([*hits, "(more hits left out)"])
                    hits.append(f"{name}:{number}: {line.strip()[:200]}")
        return "\n".join(hits) or "no hits"

    return [read_file, outline, search]


def _inside(root: Path, path: str) -> Path:
    try:
        found = (root / path).resolve()
        exists = found.exists()
    except (OSError, ValueError, RuntimeError):
        found, exists = root, False
    if not found.is_relative_to(root):
        raise PermissionError(f"{path!r} is outside the directory under review")
    if not exists:
        raise FileNotFoundError(f"there is no {path!r} in the directory under review")
    return found


def _text(root: Path, path: str) -> str:
    found = _inside(root, path)
    if not found.is_file():
        raise IsADirectoryError(f"{path!r} is not a file")
    if found.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path!r} is larger than {MAX_FILE_BYTES:,} bytes")
    return found.read_text(encoding="utf-8", errors="replace")


def _walk(top: Path, root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".py") and path.is_file() and path.resolve().is_relative_to(root):
                yield path


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[Definition, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield child, name
            yield from _definitions(child, f"{name}.")
        else:
            yield from _definitions(child, prefix)


def _described(node: Definition, name: str) -> str:
    last = node.end_lineno or node.lineno
    notes = [f"{last - node.lineno + 1} lines"]
    if not isinstance(node, ast.ClassDef):
        notes.append(f"{_parameters(node)} parameters")
    notes.append(_docstring(node))
    if not isinstance(node, ast.ClassDef) and any(
        isinstance(default, (ast.List, ast.Dict, ast.Set)) for default in [*node.args.defaults, *node.args.kw_defaults]
    ):
        notes.append("mutable default")
    kind = "class" if isinstance(node, ast.ClassDef) else "def"
    return f"{node.lineno}-{last} {kind} {name} ({', '.join(notes)})"


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = node.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def _docstring(node: Any) -> str:
    return "docstring" if ast.get_docstring(node) else "no docstring"
