"""What the pages on backtests and cassettes show can be done."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.testing import cassette

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A journal with a run of nine steps."""

    @tool(effect="pure")
    def look() -> str:
        """Look."""
        return "a tree"

    model = ScriptedModel(lambda request: [call("look")] if request.step < 9 else "done")
    with Runtime(tmp_path / "runs.db", [Agent("walker", model=model, tools=[look])]) as rt:
        run = rt.start("walker", "go")
        assert run.result(30).status == "ok"
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs.db", run.id


def test_the_critic_of_the_page_is_tried(recorded: tuple[Path, str]) -> None:
    page = runpy.run_path(str(EXAMPLES / "backtest_patience.py"))
    [row] = page["try_on"](str(recorded[0])).rows
    assert [(deed.kind, deed.step) for deed in row.deeds] == [("steered", 3), ("killed", 5)]
    assert (row.was, row.saved.steps) == ("good", 4)


def test_the_test_of_the_page_passes(recorded: tuple[Path, str]) -> None:
    cassette(*recorded).save("refund.json")
    runpy.run_path(str(EXAMPLES / "cassette_of_a_run.py"))["test_a_refund_goes_as_it_went"]()
