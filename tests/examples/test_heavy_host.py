"""The heavy host, started as its users start it and driven over HTTP."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executus.adapters.delivery.webhook import signature
from executus.journal import read_journal, verify_run

pytest.importorskip("starlette", reason="the example hosts need an extra: pip install '.[examples]'")
pytest.importorskip("uvicorn", reason="the example hosts need an extra: pip install '.[examples]'")

HOST = Path(__file__).parents[2] / "examples" / "heavy_host"
DEADLINE_S = 60.0


class Host:
    """One life of the service."""

    def __init__(self, data: Path, *options: str) -> None:
        command = [sys.executable, "-W", "error", str(HOST), "--data", str(data), "--port", "0", *options]
        self.data = data
        self._log = (data.parent / f"{data.name}.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True, env=os.environ | {"NO_PROXY": "127.0.0.1"}
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        line = self.process.stdout.readline() if ready else ""
        assert line.startswith("listening on "), self.log
        self.client = httpx2.Client(base_url=line.split()[-1], timeout=DEADLINE_S, trust_env=False)

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def ask(self, path: str, asked: Any = None, caller: str = "alice", status: int = 200) -> Any:
        """GET, or POST `asked`; the answer has to have that status."""
        if asked is None:
            answer = self.client.get(path, headers={"x-caller": caller})
        else:
            answer = self.client.post(path, json=asked, headers={"x-caller": caller})
        assert answer.status_code == status, answer.text
        return answer.json()

    def start(self, wish: str, caller: str = "alice", **options: Any) -> str:
        run: str = self.ask("/runs", {"input": wish, **options}, caller, 201)["run"]
        return run

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        with self.client.stream("GET", path) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def wait_for(self, run: str, tag: str) -> dict[str, Any]:
        """Follow the service until the run has such a fact."""
        found = next(one for one in self.events("/events") if (one["run"], one["tag"]) == (run, tag))
        fact: dict[str, Any] = found["fact"]
        return fact

    def ended(self, run: str) -> dict[str, Any]:
        """Follow the run to its end; how it stands then."""
        *_, last = self.events(f"/runs/{run}/events")
        assert last["tag"] == "run-finished"
        shown: dict[str, Any] = self.ask(f"/runs/{run}")
        return shown

    def facts(self, run: str, tag: str) -> list[dict[str, Any]]:
        return [one["fact"] for one in self.events(f"/runs/{run}/events") if one["tag"] == tag]

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.client.close()
        self.process.send_signal(how)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()  # type: ignore[union-attr]
            self._log.close()


Begin = Callable[..., Host]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts the service over the same folder, once after the other."""
    lives: list[Host] = []

    def one(*options: str) -> Host:
        lives.append(Host(tmp_path / "data", *options))
        return lives[-1]

    yield one
    for host in lives:
        if host.process.returncode is None:
            host.stop()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One life that many tests share."""
    host = Host(tmp_path_factory.mktemp("heavy") / "data")
    yield host
    host.stop()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


# ------------------------------------------------------------------ starting, and money


def test_a_caller_whose_budget_is_spent_is_told_so_in_a_sentence(host: Host) -> None:
    first = host.start("word " * 2_000, caller="trial")
    assert host.ended(first)["status"] == "ok"
    host.wait_for(first, "delivered")  # the courier is told of the end after the budget
    assert host.ask("/spending", caller="trial")["total"]["tokens"] >= 2_000
    refused = host.ask("/runs", {"input": "and another"}, "trial", status=429)
    assert "caller 'trial': the budget (day) of 2000 tokens is spent" in refused["error"]
    assert host.ask(f"/runs/{refused['run']}")["status"] == "budget_exceeded"
    assert host.ended(host.start("hello", caller="bob"))["status"] == "ok"


def test_a_caller_that_nobody_knows_may_spend_nothing_and_one_who_says_no_name_is_refused(host: Host) -> None:
    assert "budget" in host.ask("/runs", {"input": "hello"}, "eve", status=429)["error"]
    assert "x-caller" in host.ask("/runs", {"input": "hello"}, "", status=401)["error"]


def test_the_same_request_twice_is_one_run(host: Host) -> None:
    first, second = (host.start("hello", request_id="r-1") for _ in range(2))
    assert first == second
    assert [one["run"] for one in host.ask("/runs?limit=1000")["runs"]].count(first) == 1


def test_what_makes_no_sense_is_answered_with_what_was_expected(host: Host) -> None:
    assert "unknown field" in host.ask("/runs", {"inptu": "x"}, status=400)["error"]
    assert "no agent named 'nobody'" in host.ask("/runs", {"input": "x", "agent": "nobody"}, status=422)["error"]
    assert "no run 'nothing'" in host.ask("/runs/nothing", status=404)["error"]
    assert "max_steps" in host.ask("/runs", {"input": "x", "limits": {"max_steps": 0}}, status=400)["error"]
    over = host.start("hello")
    host.ended(over)
    assert "it is over" in host.ask(f"/runs/{over}/steer", {"text": "faster"}, status=409)["error"]
    assert "there are: steer, cancel" in host.ask(f"/runs/{over}/praise", {}, status=404)["error"]
    assert "after" in host.ask("/runs?after=-1", status=400)["error"]


# ------------------------------------------------------------------ family and files


def test_the_runs_of_sub_agents_and_skills_are_listed_as_children(host: Host) -> None:
    run = host.start("research the price of tea")
    shown = host.ended(run)
    assert shown["status"] == "ok"
    assert "Notes on 'research the price of tea'" in shown["output"]
    children = {child["agent"]: child for child in shown["children"]}
    assert sorted(children) == ["headline", "researcher", "writer"]
    assert {(child["status"], child["caller"], child["parent"]) for child in children.values()} == {
        ("ok", "alice", run)
    }
    assert children["headline"]["output"] == "Research the price of tea"
    assert children["writer"]["output"].startswith("Report.\nWrite a short report from these notes.\n")
    listed = [one["run"] for one in host.ask("/runs?limit=1000")["runs"]]
    assert set(listed) >= {run, *(child["run"] for child in children.values())}
    assert {"measure": "steps", "used": 3, "limit": 30, "left": 27} in shown["self_status"]["limits"]


def test_a_palette_may_keep_an_agent_from_some_callers(begin: Begin) -> None:
    host = begin()
    run = host.start("research tea", caller="trial")
    host.ended(run)
    assert sorted(one["agent"] for one in host.ask(f"/runs/{run}")["children"]) == ["headline", "researcher"]
    [refused] = host.facts(run, "tool-refused")
    assert "agent__writer is not configured" in refused["reason"]


def test_an_attached_file_is_staged_and_read_and_what_the_run_makes_of_it_can_be_fetched(host: Host) -> None:
    content = "Tea is grown in the hills."
    file = {"name": "tea.txt", "media_type": "text/plain", "content": base64.b64encode(content.encode()).decode()}
    run = host.start("what is attached?", files=[file])
    assert host.ended(run)["status"] == "ok"
    [staged] = host.facts(run, "input-staged")
    assert staged["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    [started] = host.facts(run, "run-started")
    assert [part["text"] for part in started["input"]] == [
        "what is attached?",
        f"Attached file: tea.txt (text/plain, {len(content)} bytes), file id {staged['file_id']}",
    ]
    [artifact] = host.ask(f"/runs/{run}/artifacts")
    assert artifact["name"] == "summary.txt"
    fetched = host.client.get(f"/runs/{run}/artifacts/{artifact['sha256']}")
    assert fetched.text == f"6 words: {content}"
    assert fetched.headers["content-disposition"] == "attachment"
    other = host.start("hello")
    assert host.client.get(f"/runs/{other}/artifacts/{artifact['sha256']}").status_code == 404


# ------------------------------------------------------------------ supervision


def test_a_killed_run_is_killed_and_advice_it_was_given_is_in_its_log(host: Host) -> None:
    run = host.start("watch the house")
    host.wait_for(run, "tool-started")
    host.ask(f"/runs/{run}/steer", {"text": "look at the back door too"}, caller="bob")
    host.ask(f"/runs/{run}/extend", {"seconds": 60, "reason": "a long night"}, caller="bob")
    host.ask(f"/runs/{run}/raise", {"more": 5}, caller="bob")
    host.ask(f"/runs/{run}/kill", {"reason": "the house was sold"}, caller="bob")
    shown = host.ended(run)
    assert (shown["status"], shown["by"], shown["reason"]) == ("killed", "bob", "the house was sold")
    [advice] = host.facts(run, "caller-steered")
    assert (advice["text"], advice["by"]) == ("look at the back door too", "bob")
    assert [one["by"] for one in host.facts(run, "deadline-extended")] == ["bob"]
    assert [(one["old"], one["new"]) for one in host.facts(run, "ceiling-raised")] == [(30, 35)]


def test_a_cancelled_run_is_cancelled(host: Host) -> None:
    run = host.start("watch the house")
    host.wait_for(run, "tool-started")
    host.ask(f"/runs/{run}/cancel", {})
    assert host.ended(run)["status"] == "cancelled"


def test_the_critics_steer_and_then_kill_a_run_that_turns_in_circles(host: Host) -> None:
    run = host.start("loop for ever", limits={"max_steps": 200, "max_tool_calls": None})
    shown = host.ended(run)
    assert (shown["status"], shown["self_status"]["step"] < 30) == ("killed", True)
    tags = [one["tag"] for one in host.events(f"/runs/{run}/events")]
    assert {"critic-reviewed", "critic-steered", "critic-killed"} <= set(tags)
    assert tags.index("critic-steered") < tags.index("critic-killed")


# ------------------------------------------------------------------ approvals, delivery and restarts


def test_an_approval_that_was_asked_before_a_kill_of_the_process_can_be_granted_after_it(begin: Begin) -> None:
    first = begin()
    run = first.start("publish the menu")
    asked = first.wait_for(run, "approval-awaited")
    assert asked is not None
    [before] = first.ask("/approvals")
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = begin()
    assert second.ask("/approvals") == [before]
    assert (before["run"], before["question"]) == (run, "May this be published?")
    assert second.ask(f"/runs/{run}")["status"] == "waiting"
    second.ask(f"/runs/{run}/approvals/{before['call']}", {"answer": "maybe"}, status=400)
    second.ask(f"/runs/{run}/approvals/{before['call']}", {"answer": "grant"}, caller="bob")
    assert second.ended(run)["output"] == "published: publish the menu"
    assert [one["by"] for one in second.facts(run, "approval-granted")] == ["bob"]
    assert second.ask("/approvals") == []


def test_a_call_that_was_denied_is_not_made(host: Host) -> None:
    run = host.start("publish the menu")
    host.wait_for(run, "approval-awaited")
    [asked] = host.ask(f"/runs/{run}")["approvals"]
    host.ask(f"/runs/{run}/approvals/{asked['call']}", {"answer": "deny", "reason": "there is a misprint"})
    assert "there is a misprint" in host.ended(run)["output"]
    assert host.facts(run, "tool-started") == []


def test_output_that_could_not_be_delivered_is_in_the_inbox_once_after_the_next_start(begin: Begin) -> None:
    first = begin("--deliver-to", f"http://127.0.0.1:{closed_port()}/")
    run = first.start("say something")
    failed = first.wait_for(run, "delivery-failed")
    assert failed["retry_at_us"] is not None
    assert first.ask(f"/runs/{run}")["status"] == "ok"
    assert first.ask("/inbox") == []
    assert first.stop() == 0
    second = begin()
    second.wait_for(run, "delivered")
    [parcel] = second.ask("/inbox")
    assert (parcel["run_id"], parcel["status"], parcel["output"]) == (run, "ok", "You said: say something")
    assert second.stop() == 0
    third = begin()
    other = third.start("say something else")
    third.wait_for(other, "delivered")
    assert [one["run_id"] for one in third.ask("/inbox")] == [run, other]


def test_a_parcel_that_comes_twice_is_taken_once_and_a_stranger_s_is_not_taken(begin: Begin) -> None:
    host = begin()
    secret = (host.data / "webhook.secret").read_text().encode()
    stamp, body = str(int(time.time())), b'{"run_id": "r"}'
    right = {"webhook-id": "k", "webhook-timestamp": stamp, "webhook-signature": signature(secret, "k", stamp, body)}
    assert [host.client.post("/inbox", content=body, headers=right).json()["new"] for _ in range(2)] == [True, False]
    for wrong in ({**right, "webhook-id": "l"}, {**right, "webhook-timestamp": "1"}, {}):
        assert host.client.post("/inbox", content=body, headers=wrong).status_code == 401
    assert host.ask("/inbox") == [{"run_id": "r"}]


def test_ctrl_c_leaves_a_whole_journal_and_what_was_under_way_goes_on(begin: Begin) -> None:
    first = begin()
    run = first.start("watch the house")
    first.wait_for(run, "tool-started")
    assert first.stop(signal.SIGINT) == 0
    assert "Traceback" not in (first.data.parent / "data.log").read_text()
    with contextlib.closing(read_journal(first.data / "runs.db")) as journal:
        assert verify_run(journal, run) == []
        assert not journal.runs()[0].over
    second = begin()
    second.wait_for(run, "run-resumed")
    second.ask(f"/runs/{run}/kill", {})
    assert second.ended(run)["status"] == "killed"


def test_what_keeps_it_from_starting_is_said_in_one_sentence(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    (tmp_path / "file").write_text("no folder")
    cases = [
        (first.data, "0", "is in use by"),
        (tmp_path / "file", "0", "File exists"),
        (tmp_path / "new", "70000", "port"),
    ]
    for data, port, why in cases:
        command = [sys.executable, str(HOST), "--data", str(data), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert why in done.stderr


class _Provider(http.server.BaseHTTPRequestHandler):
    """What a provider answers to every request, in the form of OpenAI's chat completions."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = {"role": "assistant", "content": f"{asked['model']} says hello"}
        body = json.dumps(
            {
                "id": "c-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_with_a_real_model_every_call_goes_to_its_provider_and_has_a_real_price(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="real models need an extra: pip install '.[openai]'")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as provider:
        serving = threading.Thread(target=provider.serve_forever)
        serving.start()
        try:
            monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{provider.server_port}/v1")
            monkeypatch.setenv("OPENAI_API_KEY", "none")
            host = begin("--model", "openai:gpt-5-mini")
            run = host.start("hello")
            shown = host.ended(run)
            assert (shown["status"], shown["output"]) == ("ok", "gpt-5-mini says hello")
            assert shown["self_status"]["cost_usd"] > 0
            host.stop()
        finally:
            provider.shutdown()
            serving.join()
