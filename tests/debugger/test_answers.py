"""What the server answers: everything a page shows, in windows, and nothing that it was not asked for."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from debugger_support import HOSTILE, import_into
from starlette.testclient import TestClient

from executus import Runtime
from executus.cli.shapes import event_shape
from executus.debugger import app
from executus.journal import read_journal
from executus.travel import blame, shown, state_at

from .conftest import Told

HELLO = {"role": "assistant", "content": "Hello."}
ASKED = {"role": "user", "content": "Again."}


class Asking:
    """Asks with the token, for JSON."""

    def __init__(self, made: Any) -> None:
        self.client = TestClient(
            made,
            base_url="http://127.0.0.1:1",
            headers={"x-executus-token": made.state.token},
            raise_server_exceptions=False,
        )

    def __call__(self, path: str, expected: int = 200, /, **query: Any) -> Any:
        answer = self.client.get(f"/api/{path}", params=query)
        assert answer.status_code == expected, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def ask(told: Told) -> Iterator[Asking]:
    made = app(told.db)
    yield Asking(made)
    made.state.journal.close()


# ------------------------------------------------------------------ lists


def test_runs_come_newest_first_in_pages(ask: Asking, told: Told) -> None:
    first = ask("runs", limit=2)
    assert [row["name"] for row in first["runs"]] == ["long", "refund again"]
    assert first["more"]
    rest = ask("runs", limit=10, before=first["runs"][-1]["first_position"])
    assert [row["name"] for row in rest["runs"]] == ["refund", "helper", "adding up"]
    assert not rest["more"]
    assert rest["runs"][-1]["run"] == told.runs["clerk"]


def test_runs_are_narrowed_by_status_agent_and_text(ask: Asking, told: Told) -> None:
    assert [row["run"] for row in ask("runs", agent="clerk")["runs"]] == [told.runs["clerk"]]
    assert [row["name"] for row in ask("runs", text="REFUND AG")["runs"]] == ["refund again"]
    assert ask("runs", status="killed")["runs"] == []


def test_a_run_is_found_by_its_last_digits(ask: Asking, told: Told) -> None:
    run = told.runs["long"]
    assert ask(f"runs/{run[-8:]}")["run"] == run
    assert ask(f"runs/{run}")["head"] == 20_804
    assert "0 runs have an id" in ask("runs/zzzz", 404)["error"]
    assert "no run" in ask(f"runs/{run[:-1]}x", 404)["error"].lower()


def test_moments_come_in_windows_by_row_version_and_middle(ask: Asking, told: Told) -> None:
    path = f"runs/{told.runs['long']}/moments"
    window = ask(path, skip=500, limit=3)
    assert [one["version"] for one in window["moments"]] == [501, 502, 503]
    assert [one["version"] for one in ask(path, after=20_802)["moments"]] == [20_803, 20_804]
    around = ask(path, around=9_000, limit=10)
    assert around["row"] == 8_999
    assert 9_000 in [one["version"] for one in around["moments"]]
    assert len(ask(path, limit=100_000)["moments"]) == 400
    assert ask(path, skip=10**9)["moments"] == []


def test_the_first_list_of_a_long_run_is_that_of_the_second(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from executus.debugger.shelf import Lined

    asked = (
        {"skip": 500},
        {"after": 20_700, "limit": 400},
        {"around": 9_000, "limit": 10},
        {"skip": 10**9},
        {"around": 1},
    )
    made, path = app(told.db), f"runs/{told.runs['long']}/moments"
    ask = Asking(made)
    with monkeypatch.context() as patched:
        patched.setattr(Lined, "grow", lambda *_: pytest.fail("it waited for the whole log"))
        first = [ask(path, **query) for query in asked]
    ask(f"runs/{told.runs['long']}/line")
    assert first == [ask(path, **query) for query in asked]
    made.state.journal.close()


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ({"failed": 1}, [7]),
        ({"tag": "ceiling-raised"}, [15]),
        ({"lane": "critic"}, [14, 15]),
        ({"tool": "fail"}, [5, 7]),
        ({"text": "mind the TOOL"}, [13]),
        ({"text": "steered", "failed": 1}, []),
    ],
)
def test_moments_are_filtered(ask: Asking, told: Told, query: dict[str, Any], versions: list[int]) -> None:
    found = ask(f"runs/{told.runs['clerk']}/moments", **query)
    assert [one["version"] for one in found["moments"]] == versions
    assert found["total"] == len(versions)


def test_a_text_is_found_in_a_long_run_and_an_unrelated_text_is_not(ask: Asking, told: Told) -> None:
    path = f"runs/{told.runs['long']}/moments"
    assert [one["version"] for one in ask(path, text="needle")["moments"]] == [4 * 4_321 + 5]
    assert ask(path, text="haystack")["total"] == 0


def test_groups_put_a_step_and_a_call_into_one_row_each(ask: Asking, told: Told) -> None:
    groups = ask(f"runs/{told.runs['clerk']}/groups")["groups"]
    of_fail = next(one for one in groups if one["call"] == "1.1")
    assert (of_fail["first"], of_fail["last"], of_fail["wrong"], of_fail["lane"]) == (5, 7, True, "tool")
    assert "no such thing" in of_fail["outcome"]
    assert sum(one["events"] for one in groups) == ask(f"runs/{told.runs['clerk']}")["head"]
    only = ask(f"runs/{told.runs['clerk']}/groups", failed=1)
    assert [one["call"] for one in only["groups"]] == ["1.1"]


def test_the_line_marks_every_event_once_and_names_what_was_repeated(ask: Asking, told: Told) -> None:
    line = ask(f"runs/{told.runs['long']}/line", buckets=300)
    assert sum(mark[1] for marks in line["marks"].values() for mark in marks) == line["head"] == 20_804
    assert all(0 <= mark[0] < 300 for marks in line["marks"].values() for mark in marks)
    assert {use["name"]: use["calls"] for use in line["tools"]} == {"read_page": 4_457, "look_up": 743}
    assert line["loops"] == []
    clerk = ask(f"runs/{told.runs['clerk']}/line")
    assert [(loop["name"], loop["times"]) for loop in clerk["loops"]] == [("add", 4)]
    assert clerk["wrong"] == 1


def test_the_next_error_critic_act_and_limit_change_are_found_both_ways(ask: Asking, told: Told) -> None:
    path = f"runs/{told.runs['clerk']}/next"
    assert ask(path, what="error", after=0)["version"] == 7
    assert ask(path, what="error", after=7)["version"] is None
    assert ask(path, what="error", after=20, back=1)["version"] == 7
    assert ask(path, what="critic", after=7)["version"] == 14
    assert ask(path, what="limit", after=14)["version"] == 15
    assert "expected error, critic or limit" in ask(path, 400, what="mood", after=0)["error"]


# ------------------------------------------------------------------ moments


def test_the_state_at_every_version_is_that_of_the_library(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    journal = read_journal(told.db)
    for version in range(ask(f"runs/{run}")["head"] + 1):
        seen = ask(f"runs/{run}/at/{version}")
        expected = shown(state_at(journal, run, version))
        assert seen["shown"]["state"] == expected["state"]
        assert seen["shown"]["transcript"]["messages"] == len(expected["transcript"]["messages"])
        assert [one["parts"] for one in seen["messages"]["messages"]] == [
            one["parts"] for one in expected["transcript"]["messages"]
        ]
    journal.close()


def test_a_moment_tells_what_changed_since_the_one_before_or_since_a_pinned_one(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    changes = {one["path"]: one for one in ask(f"runs/{run}/at/15")["diff"]["changes"]}
    assert changes["/state/limits/max_steps"]["before"] == 10
    assert changes["/state/limits/max_steps"]["after"] == 15
    pinned = ask(f"runs/{run}/at/20", against=3)
    assert pinned["against"] == 3
    assert "/state/limits/max_steps" in {one["path"] for one in pinned["diff"]["changes"]}
    difference = ask(f"runs/{run}/diff", **{"from": 3, "to": 20})
    assert difference["changes"] == pinned["diff"]["changes"]


def test_a_version_that_does_not_exist_is_a_sentence(ask: Asking, told: Told) -> None:
    assert "has versions 0" in ask(f"runs/{told.runs['clerk']}/at/99999", 400)["error"]
    assert "expected a whole number" in ask(f"runs/{told.runs['clerk']}/at/3", 400, against="x")["error"]
    assert ask(f"runs/{told.runs['clerk']}/at/-1", 404)["error"]


def test_the_conversation_of_a_long_run_comes_by_the_piece(ask: Asking, told: Told) -> None:
    run = told.runs["long"]
    seen = ask(f"runs/{run}/at/20000")
    assert len(seen["messages"]["messages"]) == 40
    assert seen["messages"]["total"] == seen["messages"]["skip"] + 40
    piece = ask(f"runs/{run}/messages", at=20_000, skip=0, limit=2)
    assert [one["index"] for one in piece["messages"]] == [0, 1]
    assert piece["messages"][0]["parts"][0]["text"] == "Read every page."


def test_an_event_is_whole_and_the_export_is_every_event(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    journal = read_journal(told.db)
    events = [json.loads(json.dumps(event_shape(event))) for event in journal.read(run)]
    journal.close()
    assert ask(f"runs/{run}/events/3") == events[2]
    lines = ask.client.get(f"/api/runs/{run}/export.jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == events


def test_blame_names_who_wrote_a_value_newest_first(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    found = ask(f"runs/{run}/blame", path="/state/limits/max_steps")
    assert (found["writes"][0]["version"], found["writes"][0]["by"]) == (15, "alice")
    assert found["writes"][0]["before"] == 10
    earlier = ask(f"runs/{run}/blame", path="/state/limits/max_steps", at=10)
    assert 15 not in [one["version"] for one in earlier["writes"]]
    assert "names nothing" in ask(f"runs/{run}/blame", 400, path="nonsense")["error"]


def test_a_time_of_the_run_leads_to_the_newest_event_of_then(ask: Asking, told: Told) -> None:
    path = f"runs/{told.runs['clerk']}"
    clocks = [one["elapsed_ms"] for one in ask(f"{path}/moments")["moments"]]
    for wanted in (0, clocks[9], clocks[-1], clocks[-1] + 10_000):
        assert ask(f"{path}/when", elapsed_ms=wanted)["version"] == sum(one <= wanted for one in clocks)


def test_watched_places_tell_their_value_their_writer_and_their_neighbours(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    steps, messages, nothing, wrong = ask(
        f"runs/{run}/watch", at=16, path=["limits.max_steps", "/transcript/messages/1", "status.deep", "nonsense"]
    )["watches"]
    assert (steps["place"], steps["value"], steps["writes"], steps["total"]) == ("/state/limits/max_steps", 15, 2, 2)
    assert (steps["last"]["version"], steps["last"]["by"], steps["previous"], steps["next"]) == (15, "alice", 15, None)
    assert messages["there"]
    assert messages["value"]["role"] == "assistant"
    assert (nothing["there"], nothing["value"], nothing["last"], nothing["total"]) == (False, None, None, 0)
    assert "names nothing" in wrong["error"]
    at_the_write = ask(f"runs/{run}/watch", at=15, path="limits.max_steps")["watches"][0]
    assert (at_the_write["last"]["version"], at_the_write["previous"], at_the_write["next"]) == (15, 1, None)
    before = ask(f"runs/{run}/watch", at=7, path="limits.max_steps")["watches"][0]
    assert (before["value"], before["last"]["version"], before["next"]) == (10, 1, 15)
    assert ask(f"runs/{run}/watch", at=7)["watches"] == []


def test_places_that_are_asked_for_later_are_told_the_same(told: Told) -> None:
    made, run = app(told.db), told.runs["clerk"]
    ask, journal = Asking(made), read_journal(told.db)
    for at in (5, 30, 12):
        expected = [one.version for one in blame(journal, run, "step", at)]
        assert [one["version"] for one in ask(f"runs/{run}/blame", path="step", at=at)["writes"]] == expected[::-1]
        [_, step] = ask(f"runs/{run}/watch", path=["status", "step"], at=at)["watches"]
        assert (step["writes"], step["last"]["version"]) == (len(expected), expected[-1])
    journal.close()
    made.state.journal.close()


def test_the_family_is_cut_at_one_moment(ask: Asking, told: Told) -> None:
    run = told.runs["clerk"]
    assert ask(f"runs/{run}/family", at=5)["root"]["children"] == []
    root = ask(f"runs/{run}/family", at=14)["root"]
    assert (root["run"], root["status"]) == (run, "running")
    assert [(child["name"], child["status"]) for child in root["children"]] == [("helper", "ok")]
    child = root["children"][0]["run"]
    assert ask(f"runs/{child}/family")["root"]["run"] == run


def test_two_runs_are_compared(ask: Asking, told: Told) -> None:
    found = ask("compare", a=told.runs["refund"], b=told.runs["refund again"])
    assert not found["same"]
    assert "/limits/max_steps" in {one["path"] for one in found["given"]}
    assert found["alike"] > 0, "how they were started is told apart from where they part"
    assert ask("compare", a=told.runs["refund"], b=told.runs["refund"])["same"]
    assert ask(f"runs/{told.runs['refund']}/lineage")["run"] == told.runs["refund"]


def test_search_looks_in_one_run_or_in_all(ask: Asking, told: Told) -> None:
    found = ask("search", text="basic")["found"]
    assert {hit["run_id"] for hit in found} == {told.runs["refund"]}
    assert found[0]["hit"] == "basic"
    assert ask("search", text="basic", run=told.runs["long"])["found"] == []
    assert ask("search", text="page", run=told.runs["long"])["more"]
    assert "expected something to look for" in ask("search", 400)["error"]


def test_what_was_said_comes_as_json_that_no_browser_takes_for_a_page(ask: Asking, told: Told) -> None:
    answer = ask.client.get(f"/api/runs/{told.runs['refund']}/at/9")
    assert HOSTILE in json.dumps(answer.json(), ensure_ascii=False).encode().decode().replace('\\"', '"')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_long_texts_are_cut_with_their_length_and_whole_in_the_event(tmp_path: Path) -> None:
    text = "word " * 100_000
    db = tmp_path / "runs.db"
    runs = import_into(
        db,
        [{"id": "a", "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}],
        tmp_path,
    )
    ask = Asking(app(db))
    seen = ask(f"runs/{runs['a']}/at/3")
    assert len(json.dumps(seen)) < 120_000
    assert seen["shown"]["state"]["output"].endswith("(496,000 more characters)")
    assert ask(f"runs/{runs['a']}/events/3")["fact"]["reply"][0]["text"] == text


# ------------------------------------------------------------------ artifacts


def test_artifacts_are_given_by_their_digest_to_be_saved(tmp_path: Path) -> None:
    from debugger_support import Agent, ScriptedModel

    from executus.adapters.files.artifacts import DirectoryArtifacts

    db = tmp_path / "runs.db"
    with Runtime(db, [Agent("a", model=ScriptedModel(["Hi."]))]) as rt:
        rt.start("a", "Hello").result(20)
    content = HOSTILE.encode()
    address = DirectoryArtifacts(f"{db}-artifacts").put(content)
    ask = Asking(app(db))
    answer = ask.client.get(f"/api/artifacts/{address}")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "there is no artifact" in ask(f"artifacts/{'0' * 64}", 404)["error"]
    assert "64 hexadecimal digits" in ask("artifacts/passwd", 404)["error"]
    assert ask("artifacts/..%2F..%2Fetc%2Fpasswd", 404)["error"]
    damaged = tmp_path / "runs.db-artifacts" / hashlib.sha256(b"other").hexdigest()
    damaged.write_bytes(b"not it")
    assert "damaged" in ask(f"artifacts/{damaged.name}", 404)["error"]


def test_a_damaged_log_is_listed_with_the_place_and_can_be_seen_up_to_there(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    run = import_into(
        db, [{"id": "a", "messages": [{"role": "user", "content": "Hi"}, HELLO, ASKED, HELLO]}], tmp_path
    )["a"]
    connection = sqlite3.connect(db)
    connection.execute("UPDATE stored_events SET state = x'00' WHERE originator_version = 4")
    connection.commit()
    connection.close()
    ask = Asking(app(db))
    assert [row["status"] for row in ask("runs")["runs"]] == ["unreadable"]
    moments = ask(f"runs/{run}/moments")["moments"]
    assert [one["version"] for one in moments if one["tag"] == "damaged"] == [4]
    assert ask(f"runs/{run}/next", what="error", after=0)["version"] == 4
    assert ask(f"runs/{run}/at/3")["shown"]["state"]["step"] == 1
    for _ in range(2):
        assert ask(f"runs/{run}/watch", at=3, path="step")["watches"][0]["last"]["version"] == 2
        assert ask(f"runs/{run}/blame", at=3, path="step")["total"] == 1
        assert "version 4" in ask(f"runs/{run}/blame", 422, path="step")["error"]
    assert "version 4" in ask(f"runs/{run}/at/5", 422)["error"]
