"""What names no run, and no page of runs, is refused with what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executus import Runtime
from executus.errors import UnknownRun


@pytest.fixture
def runtime() -> Any:
    with Runtime() as opened:
        yield opened


@pytest.mark.parametrize("run", [5, None, b"run", ["run"], object(), range(3)])
@pytest.mark.parametrize("call", [Runtime.run, Runtime.redeliver, Runtime.resume])
def test_a_run_is_named_by_itself_or_by_its_id(runtime: Runtime, call: Callable[..., Any], run: Any) -> None:
    with pytest.raises(TypeError, match=f"^{call.__name__}: expected a Run or the id of one"):
        call(runtime, run)


@pytest.mark.parametrize("run", ["", "no id", "\x00", "\ud800"])
def test_a_text_that_is_no_id_names_no_run(runtime: Runtime, run: str) -> None:
    with pytest.raises(UnknownRun):
        runtime.run(run)


@pytest.mark.parametrize("page", [{"after": -1}, {"after": 1 << 70}, {"after": "1"}, {"limit": -1}, {"limit": 1.5}])
def test_a_page_of_runs_is_two_whole_numbers(runtime: Runtime, page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        runtime.runs(**page)
