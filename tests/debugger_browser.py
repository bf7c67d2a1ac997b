"""A real browser without a window, for the tests of the debugger's page."""

from __future__ import annotations

import shutil
from typing import Any
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[test]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium or google-chrome")

expect = sync_api.expect
WAIT_MS = 15_000


class Watch:
    """A page, what went wrong in it, and whom it asked."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        self.problems: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.problems.append(said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("blob", "data", "file") and url.hostname != "127.0.0.1":
            self.foreign.append(request.url)

    def check(self) -> None:
        assert self.problems == []
        assert self.foreign == []


def look(page: Any, run: str, **params: Any) -> None:
    """Go to a moment by its address."""
    query = "&".join(f"{name}={value}" for name, value in params.items())
    page.evaluate("to => { location.hash = to; }", f"#/run/{run}?{query}")
    expect(page.locator(".timeline")).to_be_visible()


def at(page: Any, version: int) -> None:
    """Check that the page shows this moment everywhere: field, slider, list, pane."""
    expect(page.locator("#version")).to_have_value(str(version))
    expect(page.locator(".slider")).to_have_value(str(version))
    if version:
        expect(page.locator(f'.row.here[data-version="{version}"]')).to_be_visible()
    expect(page.locator("#pane h2").last).to_contain_text(f"{version:,}")
