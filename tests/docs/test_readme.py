import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_pages_that_the_readme_names_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).exists()] == []


CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_second_example_of_the_readme_runs_as_it_is(tmp_path: Path) -> None:
    _, code = CODE
    (tmp_path / "example.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    first, second = run.stdout.splitlines()
    assert first == "ok They know."
    assert second.startswith("caller 'mallory': the budget (total) of 0 tokens is spent")


def test_the_first_example_of_the_readme_runs(tmp_path: Path) -> None:
    code, _ = CODE
    scripted = code.replace(
        'model="openai:gpt-5-mini"', 'model=ScriptedModel([call("word_count", path="README.md"), "Two words."])'
    )
    assert scripted != code
    head = "from executus import ScriptedModel\nfrom executus.adapters.models.scripted import call\n"
    (tmp_path / "README.md").write_text("two words")
    (tmp_path / "example.py").write_text(
        f"{head}{scripted}\nprint(result.status, result.output, result.stats.tool_calls)\n"
    )
    run = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == "ok Two words. 1"
    assert run.stdout.splitlines()[0] == "1 run-started"
