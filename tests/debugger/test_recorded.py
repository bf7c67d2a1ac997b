"""The page with a run in it, as one file: it says what the server says, asks nobody, and obeys no word of a run."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from debugger_browser import Watch, at, expect, needs_a_browser
from debugger_support import HOSTILE, import_into, long_conversation, served

from executus import Agent, Runtime, ScriptedModel
from executus.debugger import app
from executus.debugger.recorded import record, recorded_page
from executus.errors import FileRefused, LogCorrupt, UnknownRun
from executus.journal import read_journal

from .conftest import Told

pytestmark = needs_a_browser


def of(db: Path, run: str, file: Path, first: int = 1, last: int | None = None) -> Path:
    """The run in a file."""
    journal = read_journal(db)
    file.write_bytes(recorded_page(journal, run, first, last))
    journal.close()
    return file


def data_in(file: Path) -> Any:
    """What the page has to answer with."""
    found = re.search(r'<script type="application/gzip" id="recorded">([^<]*)</script>', file.read_text())
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def opened(watch: Callable[..., Watch], file: Path, query: str = "", **options: Any) -> Any:
    """The file from the disk, with nobody to ask."""
    one = watch(offline=True, **options)
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    one.page.goto(f"{file.as_uri()}#/{query}")
    expect(one.page.locator(".timeline")).to_be_visible()
    assert asked == ["file"]
    return one.page


def questions(ask: Any, run: str) -> list[tuple[str, dict[str, Any]]]:
    """All that a page asks about a run."""
    head = ask(f"runs/{run}")["head"]
    paths = ["status", "limits.max_steps", "messages", "/transcript/messages/1", "governed", "deadline_ms", "/state"]
    every = range(head + 1)
    return [
        *((f"runs/{run}/at/{version}", {}) for version in every),
        *((f"runs/{run}/at/{version}", {"against": head - version}) for version in every),
        *((f"runs/{run}/messages", {"at": version, "limit": 3, "skip": 1}) for version in every),
        *((f"runs/{run}/events/{version}", {}) for version in every if version),
        *((f"runs/{run}/blame", {"path": path, "at": version}) for path in paths for version in (1, head // 2, head)),
        *(
            (f"runs/{run}/{kind}", {"around": version, "limit": 5})
            for version in every
            for kind in ("moments", "groups")
        ),
        *(
            (f"runs/{run}/{kind}", query)
            for kind in ("moments", "groups")
            for query in (
                {"failed": "1"},
                {"lane": "tool", "around": 9},
                {"tag": "step-completed"},
                {"tool": "add"},
                {"text": "ADD"},
                {"least": "1", "skip": 3, "limit": 4},
            )
        ),
        *((f"runs/{run}/moments", {"after": version, "limit": 2}) for version in every),
        *(
            (f"runs/{run}/next", {"what": what, "after": version, **back})
            for what in ("error", "critic", "limit")
            for version in every
            for back in ({}, {"back": 1})
        ),
        *((f"runs/{run}/watch", {"path": paths, "at": version}) for version in every),
        *((f"runs/{run}/when", {"elapsed_ms": wanted}) for wanted in (0, 3, 10, 50, 10_000)),
        ("search", {"text": "the tool", "run": run}),
        ("search", {"text": "refund.", "run": run}),
    ]


@pytest.mark.parametrize("name", ["clerk", "refund"])
def test_the_file_answers_as_the_server_does(
    told: Told, watch: Callable[..., Watch], tmp_path: Path, name: str
) -> None:
    run = told.runs[name]
    data = data_in(of(told.db, run, tmp_path / "run.html"))
    made = app(told.db)
    with served(made) as url:
        page = watch().page
        page.goto(f"{url}/#/run/{run}?token={made.state.token}")
        expect(page.locator(".timeline")).to_be_visible()
        page.evaluate(
            """async ([data, token]) => {
                const { answering } = await import("./assets/js/recorded.js");
                const { ask } = await import("./assets/js/api.js");
                Object.assign(window, { here: answering(data), there: ask });
            }""",
            [data, made.state.token],
        )
        asked = questions(lambda path: page.evaluate("path => window.there(path)", path), run)
        assert len(asked) > 100
        pairs = page.evaluate(
            """async (asked) => {
                const found = [];
                for (const one of asked) found.push([window.here(...one), await window.there(...one)]);
                return found;
            }""",
            asked,
        )
        page.goto("about:blank")  # it follows the run no more
    made.state.journal.close()
    for (path, query), (here, there) in zip(asked, pairs, strict=True):
        assert here == there, (path, query)


def test_it_is_read_from_the_disk_as_the_page_is(told: Told, watch: Callable[..., Watch], tmp_path: Path) -> None:
    page = opened(watch, of(told.db, told.runs["clerk"], tmp_path / "a run.html"))
    at(page, 30)
    page.keyboard.press("Home")
    at(page, 0)
    for key, version in (("e", 7), ("c", 14), ("l", 15)):
        page.keyboard.press(key)
        at(page, version)
    change = page.locator(".change", has_text="/state/limits/max_steps")
    expect(change.locator(".after")).to_contain_text("15")
    change.get_by_role("button", name="/state/limits/max_steps").click()
    expect(page.locator(".writes li").first).to_contain_text("alice")
    page.keyboard.press("s")
    expect(page.locator(".tree li.changed > .link").last).to_have_text("max_steps")
    page.keyboard.press("1")
    expect(page.locator(".message")).not_to_have_count(0)
    page.locator(".slider").fill("30")
    expect(page.locator(".message", has_text="Step 6.")).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator(".kin li")).to_have_count(2)
    page.keyboard.press("/")
    expect(page.locator("#search-text")).to_be_focused()
    page.keyboard.type("mind the tool")
    expect(page.locator(".found mark").first).to_have_text("Mind the tool")
    assert page.locator(".orders, [href='#/']").count() == 0
    expect(page.get_by_role("tab", name="Fork")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "out.jsonl")
    assert [json.loads(line)["version"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == list(
        range(1, 31)
    )


def test_a_link_into_the_file_opens_at_its_moment(told: Told, watch: Callable[..., Watch], tmp_path: Path) -> None:
    file = of(told.db, told.runs["clerk"], tmp_path / "run.html")
    page = opened(watch, file, f"run/{told.runs['clerk']}?v=12&pane=state&pin=3")
    expect(page.get_by_role("heading", name="State at event 12")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="State at event 12")).to_be_visible()


def test_what_was_said_ends_no_script_and_is_shown(watch: Callable[..., Watch], tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    hostile = f"</script></ScRiPt ><!--<script>window.hacked=1</script>{HOSTILE}]]>\u2028 𝒳"
    said = [{"role": "user", "content": hostile}, {"role": "assistant", "content": hostile}]
    run = import_into(db, [{"id": "a", "messages": said}], tmp_path)["a"]
    file = of(db, run, tmp_path / "run.html")
    assert "hacked" not in file.read_text()
    page = opened(watch, file, f"run/{run}?depth=conversation")
    expect(page.locator(".message").first).to_contain_text("</script></ScRiPt ><!--<script>window.hacked=1</script>")
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 2
    assert page.evaluate("document.body.lastElementChild.type") == "module"


def test_a_file_with_a_part_of_a_run_begins_and_ends_there(
    told: Told, watch: Callable[..., Watch], tmp_path: Path
) -> None:
    file = of(told.db, told.runs["clerk"], tmp_path / "part.html", 10, 20)
    page = opened(watch, file)
    at(page, 20)
    expect(page.locator(".row")).to_have_count(11)
    expect(page.get_by_text("events 10 to 20 of 30")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator("#version")).to_have_value("9")
    expect(page.locator("#pane")).to_contain_text("What is before this is not in the file")
    page.keyboard.press("j")
    at(page, 10)
    page.keyboard.press("l")
    at(page, 14)
    page.locator('.row[data-version="15"]').click()
    expect(page.locator(".change", has_text="/state/limits/max_steps").locator(".before")).to_contain_text("10")
    box = page.locator(".lane-marks").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 5)
    at(page, 20)
    page.keyboard.press("1")
    expect(page.locator(".message").first).to_contain_text("What is one and two?")


def test_a_long_run_is_there_at_once_wherever_one_looks(watch: Callable[..., Watch], tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    run = import_into(db, [long_conversation(1_249)], tmp_path)["long"]
    file = of(db, run, tmp_path / "run.html")
    print(f"\n5,000 events in one file: {file.stat().st_size:,} bytes")
    page = opened(watch, file, f"run/{run}?v=1")
    for version in (4_900, 17, 2_500, 5_000):
        page.locator(".slider").fill(str(version))
        at(page, version)
    assert page.locator("*").count() < 1_500
    assert of(db, run, tmp_path / "again.html").read_bytes() == file.read_bytes()


def test_too_much_for_a_file_is_refused_with_what_to_do(told: Told) -> None:
    journal = read_journal(told.db)
    with pytest.raises(FileRefused, match=r"20,804; one file holds 20,000: choose a part"):
        record(journal, told.runs["long"])
    assert len(record(journal, told.runs["long"], 20_800)["events"]) == 5
    with pytest.raises(ValueError, match="expected the first from 1 on"):
        record(journal, told.runs["clerk"], 9, 8)
    with pytest.raises(ValueError, match="has versions 0"):
        record(journal, told.runs["clerk"], 1, 31)
    with pytest.raises(UnknownRun):
        record(journal, "nobody")
    journal.close()


def test_what_is_sealed_and_cannot_be_opened_is_said(watch: Callable[..., Watch], tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    db = tmp_path / "runs.db"
    with Runtime(db, [Agent("a", model=ScriptedModel(["The secret answer."]))], encryption=bytes(range(32))) as rt:
        run = rt.start("a", "The secret question?").result(20).run_id
    file = of(db, run, tmp_path / "run.html")
    assert "secret" not in json.dumps(data_in(file))
    page = opened(watch, file)
    expect(page.get_by_role("note")).to_contain_text("sealed, and the key was not there")


def test_a_damaged_log_is_told_and_its_beginning_can_be_had(tmp_path: Path) -> None:
    import sqlite3

    db = tmp_path / "runs.db"
    run = import_into(db, [long_conversation(3)], tmp_path)["long"]
    connection = sqlite3.connect(db)
    connection.execute("UPDATE stored_events SET state = x'00' WHERE originator_version = 6")
    connection.commit()
    connection.close()
    journal = read_journal(db)
    with pytest.raises(LogCorrupt, match="version 6"):
        record(journal, run)
    assert len(record(journal, run, 1, 5)["events"]) == 5
    journal.close()
