"""Journals to look at, and pages that look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from debugger_support import CONVERSATIONS, Governed, import_into, long_conversation, served

starlette = pytest.importorskip("starlette", reason="the debugger needs an extra: pip install '.[debug]'")
pytest.importorskip("sse_starlette", reason="the debugger needs an extra: pip install '.[debug]'")


class Told(NamedTuple):
    """A journal with a run that has been through a lot, three conversations, and a run of more than 20,000 events."""

    db: Path
    runs: dict[str, str]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("debugger")
    db = folder / "runs.db"
    governed = Governed(db)
    governed.trouble()
    governed.open()
    governed.runtime.close()
    runs = import_into(db, [*CONVERSATIONS, long_conversation(5_200)], folder)
    return Told(db, {**runs, "clerk": governed.run.id})


@pytest.fixture
def governed(tmp_path: Path) -> Iterator[Governed]:
    """A live host whose run waits."""
    one = Governed(tmp_path / "live.db")
    yield one
    one.runtime.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves an application until the test is over; its address."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda app: stack.enter_context(served(app))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from debugger_browser import CHROMIUM, sync_api

    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def watch(browser: Any) -> Iterator[Callable[..., Any]]:
    from debugger_browser import Watch

    watched: list[Any] = []

    def one(**options: Any) -> Any:
        watched.append(Watch(browser, **options))
        return watched[-1]

    yield one
    for each in watched:
        each.context.close()
    for each in watched:
        each.check()
