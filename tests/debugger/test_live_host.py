"""A live host behind the page: its orders, and the feed of what happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from debugger_support import DEADLINE_S, Governed

from executus.debugger import app
from executus.events import CallerSteered, CeilingRaised, DeadlineExtended
from executus.ports import LiveHost

Serve = Callable[[Any], str]


class Page:
    """What a page does: asks, orders, and follows."""

    def __init__(self, url: str, token: str) -> None:
        self.client = httpx2.Client(base_url=f"{url}/api/", headers={"x-executus-token": token}, timeout=DEADLINE_S)

    def order(self, run: str, **what: Any) -> httpx2.Response:
        return self.client.post(f"runs/{run}/orders", json=what)

    def follow(self, path: str, last: str = "") -> Iterator[dict[str, str]]:
        """The events of a feed, each as its fields."""
        with self.client.stream("GET", path, headers={"last-event-id": last}) as answer:
            assert answer.status_code == 200, answer.read()
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif event:
                    yield event
                    event = {}


@pytest.fixture
def page(governed: Governed, serve: Serve) -> Iterator[Page]:
    host: LiveHost = governed.runtime
    made = app(governed.runtime.journal, host)
    one = Page(serve(made), made.state.token)
    yield one
    one.client.close()


def facts_of(governed: Governed, kind: type[Any]) -> list[Any]:
    return [event.fact for event in governed.runtime.journal.read(governed.run.id) if isinstance(event.fact, kind)]


def test_orders_become_facts_with_their_author(page: Page, governed: Governed) -> None:
    run = governed.run.id
    assert page.order(run, order="steer", text="Look again.", by="carol").json() == {"done": True, "status": "running"}
    assert page.order(run, order="extend", seconds=30, reason="slow").status_code == 200
    assert page.order(run, order="raise", more=2).status_code == 200
    assert facts_of(governed, CallerSteered)[-1] == CallerSteered(text="Look again.", by="carol")
    assert facts_of(governed, DeadlineExtended)[-1].by == "debugger"
    assert facts_of(governed, CeilingRaised)[-1].new == 12


@pytest.mark.parametrize(("order", "status"), [("kill", "killed"), ("cancel", "cancelled")])
def test_a_run_is_ended(page: Page, governed: Governed, order: str, status: str) -> None:
    assert page.order(governed.run.id, order=order, reason="enough").status_code == 200
    assert governed.run.result(DEADLINE_S).status == status
    refused = page.order(governed.run.id, order="steer", text="Too late.")
    assert refused.status_code == 409
    assert "over" in refused.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"order": "explode"}', 400),
        (b'{"order": "steer"}', 400),
        (b'{"order": "steer", "text": 5}', 400),
        (b'{"order": "kill", "rm": "-rf"}', 400),
        (b'{"order": "extend", "seconds": -5}', 400),
        (b'{"order": "steer", "text": "' + b"x" * 200_000 + b'"}', 413),
    ],
)
def test_what_is_no_order_is_refused_and_changes_nothing(
    page: Page, governed: Governed, body: bytes, status: int
) -> None:
    before = governed.runtime.journal.head()
    answer = page.client.post(
        f"runs/{governed.run.id}/orders", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert governed.runtime.journal.head() == before


def test_a_form_is_no_order(page: Page, governed: Governed) -> None:
    answer = page.client.post(
        f"runs/{governed.run.id}/orders", content=b'{"order":"kill"}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 415
    assert governed.run.status == "running"


def test_an_order_to_nobody_is_refused(page: Page) -> None:
    assert page.order("0190a000-0000-7000-8000-000000000000", order="kill").status_code == 404


def test_the_feed_tells_what_the_page_does_not_know_and_then_what_happens(page: Page, governed: Governed) -> None:
    run = governed.run.id
    feed = page.follow(f"runs/{run}/feed", last="5")
    seen: list[int] = []
    head = governed.runtime.journal.run(run).version  # type: ignore[union-attr]
    for event in feed:
        if event["event"] == "moments":
            seen += [one["version"] for one in json.loads(event["data"])["moments"]]
            if seen[-1] == head:
                break
    assert seen == list(range(6, head + 1))
    governed.run.steer("New.")
    event = next(one for one in feed if one["event"] == "moments")
    assert event["id"] == str(head + 1)
    assert json.loads(event["data"])["moments"][0]["tag"] == "caller-steered"


def test_a_page_that_lost_its_connection_misses_nothing_and_hears_nothing_twice(page: Page, governed: Governed) -> None:
    run = governed.run.id
    head = governed.runtime.journal.run(run).version  # type: ignore[union-attr]
    feed = page.follow(f"runs/{run}/feed", last=str(head))
    assert next(feed)["event"] == "open"
    governed.run.steer("One.")
    last = next(feed)["id"]
    feed.close()
    governed.run.steer("Two.")
    governed.run.steer("Three.")
    again = page.follow(f"runs/{run}/feed", last=last)
    titles: list[str] = []
    while len(titles) < 2:
        event = next(again)
        if event["event"] == "moments":
            titles += [one["title"] for one in json.loads(event["data"])["moments"]]
    assert titles == ["steered: Two.", "steered: Three."]


def test_the_feed_of_all_runs_names_those_with_news(page: Page, governed: Governed) -> None:
    feed = page.follow("feed")
    assert next(feed)["event"] == "open"
    time.sleep(0.1)  # it follows from when it is read
    governed.run.steer("New.")
    event = next(one for one in feed if one["event"] == "runs")
    assert list(json.loads(event["data"])["runs"]) == [governed.run.id]


def test_what_a_live_host_says_of_a_run_is_shown(page: Page, governed: Governed) -> None:
    shown = page.client.get(f"runs/{governed.run.id}").json()
    assert shown["live"] == {"status": "running", "reason": ""}
    assert not shown["over"]
    assert page.client.get("runs").json()["host"]


def test_there_are_not_more_feeds_than_a_host_can_bear(
    page: Page, governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executus.debugger.feeding.OPEN", 1)
    feed = page.follow(f"runs/{governed.run.id}/feed")
    next(feed)
    answer = page.client.get("feed")
    assert answer.status_code == 503
    assert "too many pages" in answer.json()["error"]


def test_a_page_that_only_reads_the_file_follows_whoever_writes_it(
    governed: Governed, serve: Serve, tmp_path: Path
) -> None:
    made = app(tmp_path / "live.db")
    page = Page(serve(made), made.state.token)
    run = governed.run.id
    head = page.client.get(f"runs/{run}").json()["head"]
    feed = page.follow(f"runs/{run}/feed", last=str(head))
    assert next(feed)["event"] == "open"
    governed.run.steer("From elsewhere.")
    event = next(one for one in feed if one["event"] == "moments")
    assert json.loads(event["data"])["moments"][0]["title"] == "steered: From elsewhere."
    assert page.client.get(f"runs/{run}/at/{head + 1}").json()["event"]["tag"] == "caller-steered"
    assert page.client.get(f"runs/{run}").json()["live"] is None
    assert page.order(run, order="kill").status_code == 409
    feed.close()
    page.client.close()
    made.state.journal.close()


def test_when_the_host_has_closed_the_page_says_so_in_a_sentence(page: Page, governed: Governed) -> None:
    run = governed.run.id
    governed.runtime.close(timeout=5)
    answer = page.order(run, order="steer", text="Anybody?")
    assert answer.status_code == 503
    assert "closed" in answer.json()["error"]
    shown = page.client.get(f"runs/{run}")
    assert shown.status_code in (200, 503)
    assert shown.json().get("live") is None


# ------------------------------------------------------------------ forks


def test_a_fork_waits_with_what_was_changed_and_begins_when_told(page: Page, governed: Governed) -> None:
    source = governed.run.id
    before = governed.runtime.journal.read(source)
    asked = {"at": 9, "say": "And now in words.", "limits": {"max_steps": 8}, "instructions": "Be brief."}
    made = page.client.post(f"runs/{source}/fork", json=asked)
    assert made.status_code == 200, made.text
    fork = made.json()
    assert fork["status"] == "waiting"
    assert governed.runtime.journal.read(source) == before
    seen = page.client.get(f"runs/{fork['run']}/at/2").json()
    assert seen["event"]["tag"] == "run-forked"
    assert seen["event"]["fact"]["source"] == source
    assert seen["event"]["fact"]["version"] == 9
    assert seen["shown"]["state"]["governed"]["paused"]
    assert seen["shown"]["state"]["limits"]["max_steps"] == 8
    assert page.order(fork["run"], order="begin").status_code == 200
    governed.open()
    assert governed.runtime.run(fork["run"]).result(DEADLINE_S).status == "ok"
    lineage = page.client.get(f"runs/{source}/lineage").json()
    assert [(one["run"], one["version"]) for one in lineage["children"]] == [(fork["run"], 9)]


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({}, 400, "not a fork"),
        ({"at": "x"}, 400, "not a fork"),
        ({"at": 10_000}, 400, "expected a version"),
        ({"at": 9, "limits": {"max_moons": 1}}, 400, "max_moons"),
        ({"at": 9, "tools": ["rocket"]}, 400, "no tool 'rocket'"),
        ({"at": 9, "agent": "nobody"}, 422, "nobody"),
        ({"at": 9, "reword": [{"index": 99, "text": "x"}]}, 400, "99"),
        ({"at": 9, "code": "import os"}, 400, "not a fork"),
    ],
)
def test_a_fork_that_cannot_be_is_a_sentence_and_makes_no_run(
    page: Page, governed: Governed, asked: dict[str, Any], status: int, sentence: str
) -> None:
    head = governed.runtime.journal.head()
    answer = page.client.post(f"runs/{governed.run.id}/fork", json=asked)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]
    assert governed.runtime.journal.head() == head


def test_what_a_fork_would_inherit_is_told_and_nothing_is_made(page: Page, governed: Governed) -> None:
    head = governed.runtime.journal.head()

    def foresee(status: int = 200, **asked: Any) -> Any:
        answer = page.client.post(f"runs/{governed.run.id}/fork/preview", json=asked)
        assert answer.status_code == status, answer.text
        return answer.json()

    asked = next(
        event.version for event in governed.runtime.journal.read(governed.run.id) if event.tag == "step-completed"
    )
    first = foresee(at=asked)
    assert [(one["call"], one["name"]) for one in first["to_make"]] == [("1.0", "add"), ("1.1", "fail")]
    assert (first["messages"], first["steps"], first["next_step"], first["ends"]) == (2, 1, 2, False)
    assert (first["recorded"], first["shown_else"]) == (1, False)
    assert first["tools"] == ["add", "agent__helper", "fail"]
    given = foresee(at=asked, results={"1.1": "It went well."})
    assert [one["call"] for one in given["to_make"]] == ["1.0"]
    assert (given["given"], given["recorded"], given["shown_else"]) == (["1.1"], 0, True)
    assert "drop from 1" in foresee(at=9, drop_from=3)["cannot"]
    assert "has versions 0" in foresee(400, at=999)["error"]
    assert "not a fork" in foresee(400, at="x")["error"]
    assert "does not begin" in foresee(at=0)["cannot"]
    assert governed.runtime.journal.head() == head


def test_a_fork_that_did_the_same_is_told_to_be_the_same(page: Page, governed: Governed) -> None:
    governed.open()
    source = governed.run.id
    moments = page.client.get(f"runs/{source}/moments").json()["moments"]
    answered = next(one["version"] for one in moments if one["tag"] == "tool-finished" and one["call"] == "3.0")
    fork = page.client.post(f"runs/{source}/fork", json={"at": answered, "start": True}).json()["run"]
    assert governed.runtime.run(fork).result(DEADLINE_S).status == "ok"
    found = page.client.get("compare", params={"a": source, "b": fork}).json()
    assert found["source"] == source
    assert found["common"] == answered
    assert found["alike"] > 5
    assert (found["a"], found["b"], found["same"]) == (None, None, True)
