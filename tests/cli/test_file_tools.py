import json
from pathlib import Path
from typing import Any

import pytest

from executus.cli.file_tools import file_tools, python_files
from executus.ports import Tool


@pytest.fixture
def tools(sources: Path, tmp_path: Path) -> dict[str, Tool]:
    (tmp_path / "secret.py").write_text("password = 1\n")
    (sources / "link_out.py").symlink_to(tmp_path / "secret.py")
    (sources / "folder_out").symlink_to(tmp_path, target_is_directory=True)
    (sources / "link_in.py").symlink_to(sources / "clean.py")
    return {tool.spec.name: tool for tool in file_tools(sources)}


def call(tool: Tool, **arguments: Any) -> str:
    from executus import ToolContext

    text = json.dumps(arguments)
    assert tool.check(text) is None
    result = tool.call(text, ToolContext("r", "1.0", "k"))
    assert isinstance(result, str)
    return result


@pytest.mark.parametrize(
    "path",
    [
        "../secret.py",
        "link_out.py",
        "folder_out/secret.py",
        "/etc/passwd",
        "deep/../../secret.py",
        "link_in.py/../../secret.py",
    ],
)
@pytest.mark.parametrize("name", ["read_file", "outline", "search"])
def test_no_tool_reads_outside_its_directory(tools: dict[str, Tool], name: str, path: str) -> None:
    arguments = {"path": path} | ({"text": "password"} if name == "search" else {})
    with pytest.raises((PermissionError, FileNotFoundError)):
        call(tools[name], **arguments)


def test_a_search_does_not_follow_links_out(tools: dict[str, Tool]) -> None:
    assert call(tools["search"], text="password") == "no hits"
    assert "clean.py:1:" in call(tools["search"], text="NOTHING WRONG")


def test_links_inside_the_directory_are_files_like_others(tools: dict[str, Tool]) -> None:
    assert "Nothing wrong" in call(tools["read_file"], path="link_in.py")


def test_the_files_to_review_are_the_python_files_inside(tools: dict[str, Tool], sources: Path) -> None:
    (sources / ".hidden").mkdir()
    (sources / ".hidden" / "x.py").write_text("")
    (sources / "notes.txt").write_text("")
    assert python_files(sources) == ["broken.py", "clean.py", "deep/long.py", "link_in.py"]


def test_a_file_is_read_by_lines_and_at_most_so_many(tools: dict[str, Tool], sources: Path) -> None:
    assert (
        call(tools["read_file"], path="deep/long.py", first_line=2, last_line=3)
        == "    2     x = 0\n    3     x = 1\n(62 more lines)"
    )
    (sources / "endless.py").write_text("x\n" * 1000)
    assert call(tools["read_file"], path="endless.py").endswith("(600 more lines)")
    assert call(tools["read_file"], path="endless.py", first_line=5000) == "(no such lines; the file has 1000)"


def test_an_outline_lists_what_is_defined(tools: dict[str, Tool], sources: Path) -> None:
    (sources / "two.py").write_text('class A:\n    "Doc."\n    async def f(self, a, *, b={}):\n        def g(): ...\n')
    assert call(tools["outline"], path="two.py").splitlines() == [
        "4 lines, no docstring",
        "1-4 class A (4 lines, docstring)",
        "3-4 def A.f (2 lines, 2 parameters, no docstring, mutable default)",
        "4-4 def A.f.g (1 lines, 0 parameters, no docstring)",
    ]
    assert call(tools["outline"], path="broken.py").startswith("does not parse")


@pytest.mark.parametrize("path", ["", ".", "deep", "missing.py", "a\x00b", "x" * 5000])
def test_what_is_no_file_is_an_error_the_model_can_read(tools: dict[str, Tool], path: str) -> None:
    with pytest.raises((OSError, ValueError)):
        call(tools["read_file"], path=path)


def test_too_large_a_file_is_not_read(tools: dict[str, Tool], sources: Path) -> None:
    (sources / "large.py").write_text("#" * 2_000_001)
    with pytest.raises(ValueError, match="larger than"):
        call(tools["read_file"], path="large.py")
