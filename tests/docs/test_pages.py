"""Pages lead somewhere and their code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TRIED = {"README.md": "test_readme.py", "testing.md": "here"}
"""Pages whose code is run by a test; the code of all others must be that of a file under examples/."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    for link in local:
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles], link


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        if page.is_dir():
            left += page.glob("*.md")
        elif page.suffix == ".md":
            links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
            left += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    lost = [name(page) for page in PAGES if page.resolve() not in seen and page.parent != ROOT]
    assert lost == []


@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=name)
def test_code_on_a_page_is_run_or_is_an_example(page: Path) -> None:
    if page.name in TRIED:
        return
    examples = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    strangers = [block for block in code_of(page) if not any(block in example for example in examples)]
    assert strangers == []


@pytest.mark.parametrize("number", range(len(code_of(ROOT / "docs" / "testing.md"))))
def test_the_examples_about_testing_are_tests_that_pass(number: int, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(code_of(ROOT / "docs" / "testing.md")[number])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
