"""The page, in a real browser without a window. Every test fails on an error in the page, and on a request that leaves
this machine.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from debugger_browser import Watch, at, expect, look, needs_a_browser
from debugger_support import DEADLINE_S, HOSTILE, Governed, served
from starlette.applications import Starlette
from starlette.routing import Mount

from executus.debugger import app

from .conftest import Told

pytestmark = needs_a_browser


@pytest.fixture(scope="module")
def site(told: Told) -> Iterator[str]:
    """The debugger over the journal, with the token in the fragment."""
    made = app(told.db)
    with served(made) as url:
        yield f"{url}/#token={made.state.token}"
    made.state.journal.close()


@pytest.fixture
def page(watch: Callable[..., Watch], site: str) -> Any:
    """The list of runs."""
    page = watch().page
    page.goto(site)
    expect(page.locator(".runs-table")).to_be_visible()
    return page


# ------------------------------------------------------------------ coming in


def test_the_list_leads_to_a_run_and_back(page: Any, told: Told, site: str) -> None:
    assert "token" not in page.url
    expect(page.locator(".runs-table tbody tr")).to_have_count(5)
    page.get_by_role("link", name="adding up").click()
    expect(page.get_by_role("heading", name="adding up")).to_be_visible()
    at(page, 30)
    page.keyboard.press("k")
    at(page, 29)
    page.go_back()
    expect(page.locator(".runs-table")).to_be_visible()


def test_the_list_is_narrowed(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("refund ag")
    expect(page.locator(".runs-table tbody tr")).to_have_count(1)
    assert "text=refund+ag" in page.url
    page.get_by_label("Find").fill("")
    page.get_by_label("Agent").select_option("clerk")
    expect(page.locator(".runs-table tbody tr")).to_have_count(1)
    page.get_by_label("Status").select_option("killed")
    expect(page.get_by_text("No run is like that.")).to_be_visible()


def test_without_the_token_the_page_asks_for_it(watch: Callable[..., Watch], site: str) -> None:
    one = watch()
    address, _, token = site.partition("#token=")
    one.page.goto(address)
    expect(one.page.get_by_role("alert")).to_contain_text("needs the token")
    one.page.get_by_label("Or give the token").fill(token)
    one.page.get_by_role("button", name="Open").click()
    expect(one.page.locator(".runs-table")).to_be_visible()
    [refused] = one.problems  # the browser's own note of the 401
    assert "401" in refused
    one.problems.clear()


def test_a_link_to_a_moment_opens_there_and_a_reload_stays(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=12, depth="groups", pane="state", pin=3)
    expect(page.locator("#version")).to_have_value("12")
    expect(page.get_by_role("tab", name="Groups")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="State at event 12")).to_be_visible()
    expect(page.get_by_role("button", name="Pinned: 3")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="State at event 12")).to_be_visible()


# ------------------------------------------------------------------ moving


def test_a_moment_is_reached_by_click_key_slider_field_and_address(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=5)
    at(page, 5)
    page.locator('.row[data-version="9"]').click()
    at(page, 9)
    page.keyboard.press("j")
    at(page, 10)
    page.keyboard.press("ArrowUp")
    at(page, 9)
    page.keyboard.press("Home")
    at(page, 0)
    expect(page.locator("#pane")).to_contain_text("Nothing has happened yet")
    page.locator(".slider").fill("17")
    at(page, 17)
    page.keyboard.press(":")
    page.keyboard.type("21")
    page.keyboard.press("Enter")
    at(page, 21)
    assert "v=21" in page.url
    for text, version in (("1 h 2 m 3.5 s", 30), ("12", 12), ("0:59", 30), ("1,2", 12), ("90s", 30), ("soon", 30)):
        page.keyboard.press(":")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        at(page, version)
    expect(page.locator(".toast")).to_contain_text("Expected an event, or a time")
    box = page.locator(".lane-marks").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    at(page, 15)
    look(page, told.runs["clerk"], v=8)
    at(page, 8)
    page.keyboard.press("End")
    at(page, 30)
    assert "v=" not in page.url


def test_a_mark_of_the_timeline_stands_where_the_hand_is_at_its_event(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=13)
    expect(page.locator(".lanes canvas")).to_have_attribute("aria-label", re.compile("People: 1"))
    page.wait_for_timeout(200)
    found = page.evaluate(
        """(asked) => {
            const canvas = document.querySelector(".lanes canvas");
            const [hand, box] = [document.querySelector(".hand"), canvas].map((one) => one.getBoundingClientRect());
            const lanes = [...document.querySelectorAll(".lane-name")].map((one) => one.textContent);
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const inked = (x, y) => image.data[(y * image.width + x) * 4 + 3] > 0;
            return [
                Math.abs(hand.left + 1 - box.left - (13 / 30) * box.width) < 2,
                ...asked.map(([lane, event]) => {
                    const x = Math.round((event / 30) * box.width);
                    return [-1, 0, 1].some((by) => inked(x + by, lanes.indexOf(lane) * 15 + 5));
                }),
            ];
        }""",
        [["People", 13], ["Critic", 15], ["Tools", 18], ["People", 12], ["People", 14]],
    )
    assert found == [True, True, True, True, False, False]


def test_keys_jump_to_errors_acts_of_the_critic_and_changes_of_limits(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=0)
    for key, version in (("e", 7), ("c", 14), ("l", 15), ("L", 14), ("E", 7)):
        page.keyboard.press(key)
        at(page, version)
    page.keyboard.press("E")
    expect(page.locator(".toast")).to_contain_text("No error before this")
    at(page, 7)


def test_it_plays(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=0)
    page.get_by_label("Speed of playing").select_option("50")
    page.locator(".lane-names").click()
    page.keyboard.press("Space")
    at(page, 30)
    expect(page.get_by_role("button", name="Play (Space)")).to_be_visible()


def test_the_help_lists_the_keys_and_keys_in_fields_only_type(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=5)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("next, previous error")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_label("Only events that say").fill("jjj")
    at_filter = page.locator("#version")
    expect(at_filter).to_have_value("5")


# ------------------------------------------------------------------ what a moment shows


def test_changes_are_shown_against_the_event_before_and_against_a_pin(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=15)
    change = page.locator(".change", has_text="/state/limits/max_steps")
    expect(change.locator(".before")).to_contain_text("10")
    expect(change.locator(".after")).to_contain_text("15")
    expect(page.locator(".change")).to_have_count(1)
    page.locator('.row[data-version="3"]').click()
    page.keyboard.press("p")
    page.locator('.row[data-version="16"]').click()
    expect(page.locator("#pane h2")).to_contain_text("Event 16 against pinned 3")
    assert page.locator(".change").count() > 5
    page.keyboard.press("p")
    expect(page.locator("#pane h2")).to_contain_text("Event 16 against 15")


def test_who_wrote_a_value_leads_to_the_event(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=20, pane="state")
    page.get_by_role("button", name="open limits").click()
    page.locator(".tree").get_by_role("button", name="max_steps", exact=True).click()
    expect(page.get_by_role("heading", name="Who wrote /state/limits/max_steps")).to_be_visible()
    write = page.locator(".writes li").first
    expect(write).to_contain_text("last writer")
    expect(write).to_contain_text("alice")
    write.get_by_role("button", name="event 15").click()
    expect(page.locator("#version")).to_have_value("15")


def test_watched_values_are_shown_at_every_moment_and_lead_to_their_changes(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=9)
    page.keyboard.press("w")
    expect(page.locator("#watch-path")).to_be_focused()
    page.keyboard.type("limits.max_steps")
    page.keyboard.press("Enter")
    page.keyboard.type("nonsense")
    page.keyboard.press("Enter")
    steps, nonsense = page.locator(".watches li").all()
    expect(steps).to_contain_text("10")
    expect(steps).to_contain_text("write 1 of 2")
    expect(nonsense).to_contain_text("names nothing")
    nonsense.get_by_role("button", name="Watch nonsense no more").click()
    expect(page.locator(".watches li")).to_have_count(1)
    page.get_by_role("button", name="Next change of limits.max_steps").click()
    at(page, 15)
    expect(steps).to_contain_text("by alice")
    expect(steps).to_contain_text("changed here")
    page.keyboard.press("j")
    expect(steps).not_to_contain_text("changed here")
    assert "watch=limits.max_steps" in page.url
    page.reload()
    expect(page.locator(".watches li .leaf")).to_have_text("15")
    page.get_by_role("button", name="Previous change of limits.max_steps").click()
    at(page, 15)
    expect(page.get_by_role("button", name="Next change of limits.max_steps")).to_be_disabled()


def test_what_one_asked_the_writer_of_can_be_watched(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=15, path="/state/limits/max_steps")
    page.get_by_role("button", name="Watch", exact=True).click()
    expect(page.locator(".watches li .leaf")).to_have_text("15")
    page.get_by_role("button", name="Watched", exact=True).click()
    expect(page.locator(".watches")).to_have_count(0)


def test_the_state_marks_what_changed(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=15, pane="state")
    marked = page.locator(".tree li.changed > .link")
    expect(marked).to_have_text(["state", "limits", "max_steps"])
    page.keyboard.press("k")
    expect(page.locator(".tree")).not_to_contain_text("changed: max_steps")


def test_the_conversation_is_that_of_the_moment_and_its_words_are_words(page: Any, told: Told) -> None:
    look(page, told.runs["refund"], v=7, depth="conversation")
    expect(page.locator(".message")).to_have_count(5)
    expect(page.locator(".message").nth(1)).to_contain_text(HOSTILE)
    page.keyboard.press("k")
    expect(page.locator(".message")).to_have_count(3)
    page.keyboard.press("End")
    expect(page.locator(".message")).to_have_count(8)
    for pane in ("v", "s", "d", "o"):
        page.keyboard.press(pane)
        page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert page.locator("#page img, #page script").count() == 0


def test_groups_are_steps_and_calls(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"])
    page.keyboard.press("2")
    expect(page.locator(".row.group").first).to_be_visible()
    failed = page.locator(".row.group.wrong")
    expect(failed).to_contain_text("no such thing")
    expect(page.locator(".row.group", has_text="1.0 add").locator(".row-outcome")).to_have_text(re.compile(r"^3( |$)"))
    failed.click()
    expect(page.locator("#version")).to_have_value("7")


def test_the_list_is_filtered_and_keys_move_within_what_matches(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=0)
    page.get_by_label("failed").check()
    expect(page.locator(".row")).to_have_count(1)
    assert "failed=1" in page.url
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Tool", exact=True).select_option("add")
    expect(page.locator(".row")).to_have_count(8)
    page.locator(".lane-names").click()
    for version in (4, 6, 18):
        page.keyboard.press("j")
        expect(page.locator("#version")).to_have_value(str(version))
    page.keyboard.press("k")
    expect(page.locator("#version")).to_have_value("6")
    page.get_by_label("Tool", exact=True).select_option("")
    page.get_by_label("Only events that say").fill("mind the tool")
    expect(page.locator(".row")).to_have_count(1)


def test_search_finds_words_and_leads_there(page: Any, told: Told) -> None:
    look(page, told.runs["long"], v=10)
    page.keyboard.press("/")
    expect(page.locator("#search-text")).to_be_focused()
    page.keyboard.type("needle")
    expect(page.locator(".found mark")).to_have_text("needle")
    page.locator(".found button").click()
    expect(page.locator("#version")).to_have_value(str(4 * 4_321 + 5))
    expect(page.locator(".row.here")).to_be_in_viewport()


def test_the_family_at_a_moment_leads_to_the_child(page: Any, told: Told) -> None:
    look(page, told.runs["clerk"], v=9, pane="family")
    expect(page.locator(".kin li")).to_have_count(1)
    look(page, told.runs["clerk"], v=14, pane="family")
    expect(page.locator(".kin li")).to_have_count(2)
    page.locator(".kin").get_by_role("link", name="helper").click()
    expect(page.get_by_role("heading", name="helper").first).to_be_visible()


def test_two_runs_are_put_side_by_side(page: Any, told: Told) -> None:
    page.get_by_label("Choose refund to compare").check()
    expect(page.get_by_text("tick another run")).to_be_visible()
    page.get_by_label("Choose refund again to compare").check()
    page.get_by_role("link", name="Compare the two").click()
    expect(page.locator(".side")).to_have_count(2)
    expect(page.locator(".headline")).to_contain_text("They were started differently. After the start they agree in")
    expect(page.locator(".change", has_text="/limits/max_steps")).to_be_visible()
    page.locator(".side").first.locator(".row-number").nth(2).click()
    at(page, 3)


def test_the_log_is_exported(page: Any, told: Told, tmp_path: Path) -> None:
    look(page, told.runs["clerk"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["version"] for line in lines] == list(range(1, 31))
    assert download.value.suggested_filename == "adding up.jsonl"


# ------------------------------------------------------------------ long runs


def test_a_long_run_has_few_rows_in_the_page_wherever_one_scrolls(page: Any, told: Told) -> None:
    look(page, told.runs["long"], v=1)
    at(page, 1)
    rows = page.locator(".rows")
    assert rows.evaluate("box => box.scrollHeight") == 20_804 * 30
    for part in (0.1, 0.5, 0.9, 1.0, 0.3):
        rows.evaluate("(box, part) => { box.scrollTop = box.scrollHeight * part; }", part)
        page.wait_for_timeout(150)
        expect(page.locator(".row-waiting")).to_have_count(0)
        assert 10 < page.locator(".row").count() < 60
    assert page.locator("*").count() < 1_500


SHOWN = """version => !document.querySelector('#pane.stale')
    && document.querySelector('#pane h2')?.textContent.startsWith(`Event ${version.toLocaleString('en')} `)"""


def test_seeking_in_a_long_run_is_measured(page: Any, told: Told, record_property: Callable[[str, Any], None]) -> None:
    look(page, told.runs["long"], v=20_000)
    at(page, 20_000)
    took: list[float] = []
    for number in range(24):
        version = 1 + (number * 7_919) % 20_804
        begun = time.perf_counter()
        page.locator(".slider").fill(str(version))
        page.wait_for_function(SHOWN, arg=version)
        took.append((time.perf_counter() - begun) * 1_000)
    took.sort()
    told_ms = f"median {statistics.median(took):.0f} ms, worst {took[-1]:.0f} ms of {len(took)}"
    record_property("seek", told_ms)
    print(f"\nseek in 20,804 events, until the changes are on the screen: {told_ms}")
    assert page.locator("#version").input_value() == str(version)


# ------------------------------------------------------------------ live


@pytest.fixture
def live(governed: Governed, serve: Callable[[Any], str], watch: Callable[..., Watch]) -> Any:
    """The page of a run that is at work, with its host behind it."""
    made = app(governed.runtime.journal, governed.runtime)
    page = watch().page
    page.goto(f"{serve(made)}/#/run/{governed.run.id}?token={made.state.token}")
    expect(page.locator(".tag.live", has_text="following")).to_be_visible()
    return page


def head_of(governed: Governed) -> int:
    summary = governed.runtime.journal.run(governed.run.id)
    assert summary is not None
    return summary.version


def test_a_live_run_is_followed_until_one_looks_elsewhere(live: Any, governed: Governed) -> None:
    at(live, head_of(governed))
    governed.run.steer("First.")
    at(live, head_of(governed))
    live.keyboard.press("Home")
    governed.run.steer("Second.")
    expect(live.get_by_role("button", name=f"{head_of(governed)} newer")).to_be_visible()
    expect(live.locator("#version")).to_have_value("0")
    live.get_by_role("button", name="newer").click()
    at(live, head_of(governed))
    governed.open()
    at(live, head_of(governed))
    expect(live.locator("header .status")).to_have_text("ok")
    expect(live.locator(".orders")).to_have_count(0)


def test_scrolling_away_stops_following_and_new_events_move_nothing(live: Any, governed: Governed) -> None:
    for number in range(60):
        governed.run.note("filler", {"number": number})
    at(live, head_of(governed))
    live.locator(".rows").hover()
    live.mouse.wheel(0, -600)
    expect(live.locator(".tag.live", has_text="following")).to_have_count(0)
    live.wait_for_timeout(200)
    before = live.locator(".rows").evaluate("box => box.scrollTop")
    for number in range(5):
        governed.run.note("more", {"number": number})
    expect(live.get_by_role("button", name="5 newer")).to_be_visible()
    assert live.locator(".rows").evaluate("box => box.scrollTop") == before


def test_a_run_is_steered_extended_and_killed_from_the_page(live: Any, governed: Governed) -> None:
    orders = live.get_by_role("region", name="Orders to the live run")
    orders.get_by_label("Advice for the model").fill("Be quick.")
    orders.get_by_role("button", name="Steer").click()
    expect(live.locator(".row", has_text="steered by debugger: Be quick.")).to_be_visible()
    orders.get_by_role("button", name="Extend 60 s").click()
    expect(live.locator(".row", has_text="deadline-extended")).to_be_visible()
    orders.get_by_role("button", name="10 more steps").click()
    expect(live.locator(".row", has_text="ceiling-raised")).to_be_visible()
    orders.get_by_role("button", name="Kill").click()
    assert governed.run.status == "running"  # it asks first
    orders.get_by_role("button", name="Really kill?").click()
    expect(live.locator("header .status")).to_have_text("killed")
    assert governed.run.result(DEADLINE_S).status == "killed"


def test_a_run_is_forked_from_a_moment_with_other_words(live: Any, governed: Governed) -> None:
    live.locator('.row[data-version="9"]').click()
    live.keyboard.press("g")
    expect(live.get_by_role("heading", name="Fork from event 9")).to_be_visible()
    live.get_by_label("Say next").fill("In words, please.")
    live.get_by_label("Most steps").fill("7")
    live.get_by_label("Another wording of message").select_option("0")
    wording = live.get_by_label("What it says instead")
    expect(wording).to_have_value("What is one and two?")
    wording.fill("What is two and two?")
    live.get_by_role("button", name="Fork", exact=True).click()
    live.get_by_role("link", name="open the fork").click()
    expect(live.locator("header .status")).to_have_text("waiting")
    live.get_by_role("tab", name="Conversation").click()
    expect(live.locator(".message", has_text="In words, please.")).to_be_visible()
    expect(live.locator(".message", has_text="What is two and two?")).to_be_visible()
    governed.open()
    live.get_by_role("button", name="Begin").click()
    expect(live.locator(".orders")).to_have_count(0)  # it is over
    live.get_by_role("tab", name="Family").click()
    live.get_by_role("button", name="Look through the journal").click()
    expect(live.locator(".kin").last).to_contain_text("from event 9")


def test_a_fork_is_made_with_fewer_tools_another_agent_and_less_said(live: Any, governed: Governed) -> None:
    live.locator('.row[data-version="8"]').click()
    live.keyboard.press("g")
    told = live.get_by_role("region", name="What is reused and what will be paid")
    expect(told).to_contain_text("4 messages")
    expect(told).to_contain_text("every model call, from step 2 on")
    live.get_by_label("answer model calls from the recording").check()
    expect(told).to_contain_text("at most 1 model answer of this run")
    live.get_by_label("fail", exact=True).uncheck()
    expect(told).to_contain_text("no answer of the recording fits")
    drop = live.get_by_label("Leave out, from message")
    drop.select_option("3")
    expect(live.get_by_role("alert")).to_contain_text("drop from 1")
    drop.select_option("1")
    expect(told).to_contain_text("1 message, 3 left out")
    expect(live.get_by_role("alert")).to_have_count(0)
    live.get_by_label("Most tokens").fill("5000")
    live.get_by_role("button", name="Fork", exact=True).click()
    expect(live.get_by_role("link", name="open the fork")).to_be_visible()
    fork = live.get_by_role("link", name="open the fork").get_attribute("href").split("/")[-1]
    fact = governed.runtime.journal.read(fork)[1].fact
    assert [(edit.what, edit.before, edit.after) for edit in fact.edits] == [
        ("tools", "add, fail, agent__helper", "add, agent__helper"),
        ("limits.max_tokens", "none", "5000"),
        ("messages.1.dropped", "", ""),
    ]
    assert (len(fact.messages), fact.reuse) == (1, "recorded")
    live.get_by_label("Agent", exact=True).fill("helper")
    expect(live.get_by_label("Its only tools")).to_be_visible()
    expect(live.get_by_label("fail", exact=True)).to_have_count(0)
    live.get_by_role("button", name="Fork", exact=True).click()
    expect(live.locator(".made")).not_to_contain_text(fork)
    expect(live.get_by_role("link", name="open the fork")).not_to_have_attribute("href", f"#/run/{fork}")
    other = live.get_by_role("link", name="open the fork").get_attribute("href").split("/")[-1]
    assert governed.runtime.journal.read(other)[0].fact.agent.name == "helper"


def test_every_field_of_a_fork_has_a_name(live: Any) -> None:
    live.locator('.row[data-version="8"]').click()
    live.keyboard.press("g")
    expect(live.get_by_label("fail", exact=True)).to_be_visible()
    fields = live.locator(".fork").locator("input, select, textarea")
    assert fields.count() > 12
    names = [field.evaluate("one => one.closest('label')?.textContent.trim()") for field in fields.all()]
    assert all(names)
    assert len(set(names)) == len(names)


def test_new_runs_come_into_the_list_by_themselves(
    governed: Governed, serve: Callable[[Any], str], watch: Callable[..., Watch]
) -> None:
    made = app(governed.runtime.journal, governed.runtime)
    page = watch().page
    page.goto(f"{serve(made)}/#token={made.state.token}")
    expect(page.locator(".runs-table tbody tr")).to_have_count(2)
    page.wait_for_timeout(300)  # until it follows
    governed.runtime.start("helper", "Hello").result(DEADLINE_S)
    expect(page.locator(".runs-table tbody tr")).to_have_count(3)


def test_it_works_where_a_host_mounted_it(told: Told, serve: Callable[[Any], str], watch: Callable[..., Watch]) -> None:
    made = app(told.db)
    url = serve(Starlette(routes=[Mount("/tools/executus", app=made)]))
    page = watch().page
    page.goto(f"{url}/tools/executus/#/run/{told.runs['clerk']}?v=7&token={made.state.token}")
    at(page, 7)
    assert "token" not in page.url


# ------------------------------------------------------------------ for everybody


PLACES = [
    "",
    "?v=15",
    "?v=15&depth=groups&pane=state",
    "?depth=conversation&pane=overview",
    "?pane=family",
    "?pane=search",
    "?pane=event",
    "?v=15&watch=status,messages.1,nonsense&path=status",
]


def test_everything_that_can_be_pressed_has_a_name(page: Any, told: Told) -> None:
    for query in PLACES:
        page.evaluate("to => { location.hash = to; }", f"#/run/{told.runs['clerk']}{query}")
        expect(page.locator("#version")).to_be_visible()
        page.wait_for_timeout(200)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, a, input, select, [role=tab], [role=option]")]
                .filter((one) => !one.getAttribute("aria-label"))
                .filter((one) => !(one.textContent.trim() || one.closest("label")?.textContent.trim()))
                .map((one) => one.outerHTML)"""
        )
        assert nameless == [], query
        assert (
            page.evaluate("[...new Set([...document.querySelectorAll('[id]')].map((one) => one.id))].length")
            == page.locator("[id]").count()
        ), "an id stands twice"


def test_a_phone_shows_one_half_at_a_time_and_nothing_sticks_out(
    watch: Callable[..., Watch], site: str, told: Told
) -> None:
    page = watch(viewport={"width": 390, "height": 844}, has_touch=True).page
    page.goto(site)
    expect(page.locator(".runs-table")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    look(page, told.runs["clerk"], v=15)
    expect(page.locator(".log")).to_be_visible()
    expect(page.locator("#pane")).to_be_hidden()
    page.get_by_role("tab", name="Moment").click()
    page.get_by_role("button", name="Watch a value").click()
    page.get_by_label("Place to watch").fill("/transcript/messages/1")
    page.keyboard.press("Enter")
    expect(page.locator(".watches li")).to_be_visible()
    expect(page.locator("#pane")).to_be_visible()
    expect(page.locator(".log")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dark_and_light_follow_the_system(watch: Callable[..., Watch], site: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page = watch(color_scheme=scheme).page
        page.goto(site)
        expect(page.locator(".runs-table")).to_be_visible()
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, re.findall(r"\d+", ground))) for ground in grounds)
    assert light > 600 > 150 > dark
