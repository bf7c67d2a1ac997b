"""The table of what a host refuses, over its real sockets: by which kind, kept in the order book, and nothing changed.

The same table stands in docs/wire-safety.md.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wire_frames import KINDS, RUN, RawAsker, encode, eventually, frame, short_room, tag_of, valid

from executus import Agent, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.errors import ControlRefused, UnknownRun
from executus.events import Event
from executus.journal.order_book import read_orders
from executus.wire import places
from executus.wire.attached import attach
from executus.wire.requests import (
    FRAME_BYTES,
    VERSION,
    Done,
    Extend,
    Hello,
    Kill,
    Outcome,
    Refused,
    RunOrder,
    Start,
    Steer,
    Unheard,
    Who,
)
from executus.wire.signing import unsigned
from executus.wire.terms import Grant, Listen

SECRET = "hunter2-correct-horse"
DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "wire-safety.md"


@tool(approval=True)
def pay() -> str:
    """Pay."""
    return "paid"


def answer(request: Any) -> Any:
    return [call("pay")] if request.step == 1 else "over"


class House:
    """A host that listens, with a run of alice's and one of bob's, both waiting for a person."""

    def __init__(self, path: Path) -> None:
        self.viewer = Grant("view", "viewer", caller="alice")
        self.steerer = Grant("steer", "steerer")
        self.owner = Grant("alice", "owner", caller="alice")
        self.other = Grant("bob", "owner", caller="bob")
        grants = [self.viewer, self.steerer, self.owner, self.other]
        self.path = path
        self.runtime = Runtime(
            path,
            [Agent("holding", model=ScriptedModel(answer), tools=[pay])],
            listen=Listen(grants=grants),
            secrets={"password": SECRET},
        )
        self.runs = {caller: self._begun(caller) for caller in ("alice", "bob")}
        room = places.room_of(path)
        card = places.card_in(room)
        assert card is not None
        self.control, self.feed, self.boot, self.room = card.control, card.feed, card.boot, room
        self.operator = places.token_in(room)

    def _begun(self, caller: str) -> Run:
        run = self.runtime.start("holding", "Begin.", caller=caller)
        with run.events() as events:
            while next(events).tag != "approval-awaited":
                pass
        return run

    def signed(self, request: Any, token: str = "", **options: Any) -> bytes:
        """A frame for this host, now."""
        given = {"boot": self.boot, "now_us": self.now_us(), **options}
        return frame(request, token=token or self.operator, **given)

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def standing(self) -> Any:
        """What a refusal may not change."""
        states = [run.state() for run in self.runs.values()]
        return self.runtime.journal.head(), states, [run.status for run in self.runs.values()]

    def refusals(self) -> dict[str, int]:
        """How many are kept, by kind."""
        found: dict[str, int] = {}
        with attach(self.path, host=True) as host:
            for order in host.orders():
                if order.fate == "refused":
                    found[order.kind] = found.get(order.kind, 0) + order.times
        return found

    def close(self) -> None:
        self.runtime.close(2)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with short_room():
        one = House(tmp_path / "runs.db")
        yield one
        one.close()


def deep(size: int) -> bytes:
    return b"\x81\xa3ask" + b"\x91" * size


CASES: dict[str, tuple[str, Callable[[House, Any], bytes]]] = {
    "no token": ("unauthenticated", lambda h, order: unsigned(encode(order), version=VERSION)),
    "a wrong token": ("unauthenticated", lambda h, order: h.signed(order, "operator." + "x" * 43)),
    "an unknown grant": ("unauthenticated", lambda h, order: h.signed(order, "mallory." + "x" * 43)),
    "another grant's name": ("unauthenticated", lambda h, order: h.signed(order, h.steerer.token, grant="operator")),
    "another opening of the host": ("unauthenticated", lambda h, order: h.signed(order, boot="c" * 32)),
    "expired": ("expired", lambda h, order: h.signed(order, now_us=h.now_us() - 31_000_000)),
    "from the future": ("expired", lambda h, order: h.signed(order, now_us=h.now_us() + 60_000_000)),
    "too long a window": ("expired", lambda h, order: h.signed(order, window_us=40_000_000)),
    "another caller's run": ("unknown-run", lambda h, order: h.signed(order, h.other.token)),
    "a run that is not there": ("unknown-run", lambda h, order: h.signed(valid(Steer))),
    "a role too low": ("forbidden", lambda h, order: h.signed(order, h.viewer.token)),
    "a run for another caller": (
        "forbidden",
        lambda h, order: h.signed(valid(Start, caller="bob"), h.owner.token),
    ),
    "more than the caps": (
        "forbidden",
        lambda h, order: h.signed(valid(Extend, seconds=1e8, run=h.runs["alice"].id), h.owner.token),
    ),
    "deep nesting": ("malformed", lambda h, order: h.signed(deep(50_000))),
    "an unknown command": ("malformed", lambda h, order: h.signed(encode({"ask": "explode"}))),
    "a field too many": ("malformed", lambda h, order: h.signed(encode({"ask": "head", "sudo": True}))),
    "no frame at all": ("malformed", lambda h, order: b"GET / HTTP/1.1\r\n\r\n"),
    "another version": ("version", lambda h, order: h.signed(order, version=9)),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_and_kept_and_changes_nothing(house: House, case: str) -> None:
    kind, made = CASES[case]
    before, kept = house.standing(), house.refusals()
    with RawAsker(house.control) as asker:
        reply = asker.ask(made(house, valid(Steer, run=house.runs["alice"].id)))
    assert reply.kind == kind
    assert house.standing() == before
    assert house.refusals() == {**kept, kind: kept.get(kind, 0) + 1}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, RunOrder)], ids=tag_of)
def test_no_order_reaches_another_callers_run_or_comes_without_a_token(house: House, kind: Any) -> None:
    before = house.standing()
    order = valid(kind, run=house.runs["alice"].id)
    dry = valid(kind, run=house.runs["alice"].id, check=True)
    with RawAsker(house.control) as asker:
        for one in (order, dry):
            assert asker.ask(house.signed(one, house.other.token)).kind == "unknown-run"
            assert asker.ask(house.signed(one, house.viewer.token)).kind == "forbidden"
            assert asker.ask(unsigned(encode(one), version=VERSION)).kind == "unauthenticated"
        missing = asker.ask(house.signed(valid(kind, run=RUN), house.other.token))
    assert missing.why.replace(RUN, "") == UnknownRun("").args[0].replace("''", "''")
    assert house.standing() == before


def test_a_replayed_frame_is_refused_and_the_order_is_carried_out_once(house: House) -> None:
    run = house.runs["alice"]
    sent = house.signed(valid(Steer, run=run.id))
    with RawAsker(house.control) as asker, RawAsker(house.control) as other:
        assert isinstance(asker.ask(sent), Done)
        before = house.standing()
        assert asker.ask(sent).kind == "replayed"
        assert other.ask(sent).kind == "replayed"
    assert house.standing() == before
    assert house.refusals() == {"replayed": 2}


def test_too_many_are_refused_and_a_kill_is_not_one_of_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now_us = house.standing(), house.now_us()
    assert house.runtime._wire is not None
    monkeypatch.setattr(house.runtime._wire._desk, "_steady_us", lambda: now_us)
    with RawAsker(house.control) as asker:
        kinds = [asker.ask(house.signed(valid(Steer))).kind for _ in range(60)]
        assert kinds[:40] == ["unknown-run"] * 40
        assert kinds[40:] == ["too-many"] * 20
        assert house.standing() == before
        assert isinstance(asker.ask(house.signed(valid(Kill, run=house.runs["alice"].id))), Done)
    assert house.refusals() == {"unknown-run": 40, "too-many": 20}


def test_an_oversize_frame_costs_its_sender_the_connection_and_never_reaches_the_host(house: House) -> None:
    before = house.standing()
    with RawAsker(house.control) as asker:
        asker.send(bytes(FRAME_BYTES + 64))
        with pytest.raises(ConnectionError):
            asker.take()
    with RawAsker(house.control) as asker:
        assert asker.ask(house.signed(bytes(FRAME_BYTES - 200))).kind == "malformed"
    assert house.standing() == before
    assert "oversize" not in house.refusals()


ELSEWHERE = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as one:
    one.settimeout(10)
    try:
        one.connect(sys.argv[1])
        one.sendall(b"\\x00SP\\x00\\x00\\x30\\x00\\x00")
        said = one.recv(8)
        one.sendall(b"\\x01" + (4).to_bytes(8, "big") + b"\\x80\\x00\\x00\\x01")
        print("connected", said[:4] == b"\\x00SP\\x00", one.recv(1) or "hung up")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_is_refused_even_where_the_file_lets_it_in(house: House) -> None:
    before = house.standing()

    def tried(address: str) -> str:
        command = [sys.executable, "-I", "-c", ELSEWHERE, address.removeprefix("ipc://")]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    assert tried(house.control) == "PermissionError"
    for directory in (house.room.parent.parent, house.room.parent, house.room):
        directory.chmod(0o755)
    for address in (house.control, house.feed):
        assert tried(address) == "PermissionError"
        Path(address.removeprefix("ipc://")).chmod(0o666)
        assert tried(address) in ("connected True hung up", "ConnectionResetError", "BrokenPipeError")
    for directory in (house.room.parent.parent, house.room.parent, house.room):
        directory.chmod(0o700)
    assert house.standing() == before


def test_the_page_for_people_has_every_row() -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| `([a-z-]+)`", DOCS.read_text(), re.M))
    for case, (kind, _) in CASES.items():
        assert rows.get(case) == kind, case


# ------------------------------------------------------------------ what only somebody's grant may see


def test_a_grant_of_one_caller_sees_that_callers_runs_only(house: House) -> None:
    mine, others = house.runs["alice"].id, house.runs["bob"].id
    with attach(house.control, token=house.viewer.token) as host:
        assert host.session is not None
        assert (host.session.agents, host.session.live_runs) == ((), 0)
        assert [row.run_id for row in host.runs()] == [mine]
        assert host.journal.run(others) is None
        for look in (host.run, host.journal.read, host.journal.load):
            with pytest.raises(UnknownRun):
                look(others)
        assert {event.run_id for event in host.journal.scan()} == {mine}
        with pytest.raises(ControlRefused):
            host.orders()
        told: list[Event] = []
        with host.follow() as events:
            house.runs["bob"].steer("Not for alice.")
            house.runs["alice"].steer("For alice.")
            for event in events:
                told.append(event)
                if event.tag == "caller-steered":
                    break
        assert {event.run_id for event in told} == {mine}


@pytest.mark.parametrize("ask", ["read", "standing"])
def test_another_callers_run_and_none_are_told_apart_by_nothing(house: House, ask: str) -> None:
    kind = next(kind for kind in KINDS if tag_of(kind) == ask)
    with RawAsker(house.control) as asker:
        there = asker.ask(house.signed(valid(kind, run=house.runs["bob"].id), house.viewer.token))
        none = asker.ask(house.signed(valid(kind, run=RUN), house.viewer.token))
    assert there.why.replace(house.runs["bob"].id, "-") == none.why.replace(RUN, "-")
    assert there.kind == none.kind == "unknown-run"


def test_an_order_of_another_grant_is_not_told(house: House) -> None:
    order = valid(Steer, run=house.runs["alice"].id)
    with RawAsker(house.control) as asker:
        assert isinstance(asker.ask(house.signed(order, house.owner.token)), Done)
        before = house.standing()
        assert isinstance(asker.ask(house.signed(valid(Outcome, id=order.id), house.other.token)), Unheard)
        assert asker.ask(house.signed(order, house.other.token)).kind == "forbidden"
        mine = valid(Steer, run=house.runs["bob"].id, id=order.id)
        again = asker.ask(house.signed(mine, house.other.token))
        assert (again.kind, house.runs["alice"].id in again.why) == ("forbidden", False)
        assert isinstance(asker.ask(house.signed(valid(Outcome, id=order.id), house.owner.token)), Done)
        assert isinstance(asker.ask(house.signed(order, house.owner.token)), Done)
        changed = valid(Kill, run=house.runs["alice"].id, id=order.id)
        assert asker.ask(house.signed(changed, house.owner.token)).kind == "refused"
    assert house.standing() == before


def test_an_order_that_was_refused_for_now_can_be_given_again_with_its_id(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = valid(Steer, run=house.runs["alice"].id)
    desk = house.runtime._wire._desk  # type: ignore[union-attr]
    monkeypatch.setattr(desk._under_way, "acquire", lambda blocking: False)
    with RawAsker(house.control) as asker:
        assert asker.ask(house.signed(order)).kind == "busy"
        monkeypatch.undo()
        assert isinstance(asker.ask(house.signed(order)), Done)


def test_a_dry_run_changes_nothing_and_settles_nothing(house: House) -> None:
    before = house.standing()
    run = house.runs["alice"].id
    with RawAsker(house.control) as asker:
        dry = valid(Kill, run=run, check=True)
        assert isinstance(asker.ask(house.signed(dry)), Done)
        assert asker.ask(house.signed(valid(Start, agent="nobody", check=True))).kind == "unknown-agent"
        assert house.standing() == before
        assert isinstance(asker.ask(house.signed(valid(Kill, run=run, id=dry.id))), Done)
    assert house.runs["alice"].result(20).status == "killed"


def test_secrets_are_masked_in_what_is_kept_told_and_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    run = house.runs["alice"].id
    with RawAsker(house.control) as asker:
        replies = [
            asker.ask(house.signed(request))
            for request in (
                valid(Steer, run=run, by=SECRET, text=f"The word is {SECRET}."),
                encode({"ask": SECRET}),
                encode({"ask": "head", SECRET: 1}),
                encode({"ask": "head", "x" * 190 + SECRET: 1}),
                valid(Kill, run=SECRET, by=SECRET, reason=SECRET),
                valid(Start, agent=SECRET),
                valid(Kill, run=run, by=SECRET, reason=SECRET),
            )
        ]
    assert isinstance(replies[0], Done)
    house.runs["alice"].result(20)
    house.runtime.close(2)
    kept = repr(read_orders(house.path))
    assert SECRET not in kept
    assert SECRET[:12] not in kept
    assert SECRET not in caplog.text
    assert all(SECRET not in getattr(reply, "why", "") for reply in replies)
    for path in house.path.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_what_a_client_says_of_itself_stands_behind_the_grants_name(house: House) -> None:
    with attach(house.control, token=house.owner.token) as host:
        host.run(house.runs["alice"].id).steer("Slower.", by="operator")
        fact = next(event.fact for event in host.journal.read(house.runs["alice"].id) if event.tag == "caller-steered")
    assert fact.by == "alice:operator"


# ------------------------------------------------------------------ what nobody can keep others from


def test_garbage_and_silence_disturb_nobody(house: House) -> None:
    silent = []
    for number in range(100):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(10)
        one.connect(house.control.removeprefix("ipc://"))
        silent.append(one)
        if number % 2:
            one.sendall(b"\x00SP\x00"[: number % 5])
    with attach(house.path, host=True) as host:
        for number in range(2_000):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(10)
                try:
                    one.connect(house.control.removeprefix("ipc://"))
                    one.sendall(os.urandom(number % 64) + b"\x00SP\x00\x00\x30\x00\x00")
                except OSError:
                    continue
            if number % 100 == 0:
                assert host.journal.head() == house.runtime.journal.head()
        assert host.run(house.runs["alice"].id).status == "waiting"
        host.run(house.runs["alice"].id).kill("enough")
    for one in silent:
        one.close()


def test_a_peer_that_takes_no_answers_is_cut_off_and_a_kill_is_heard(house: House) -> None:
    for _ in range(60):
        house.runs["bob"].steer("x" * 4000)
    stubborn = [RawAsker(house.control) for _ in range(4)]
    for _ in range(12):
        for one in stubborn:
            one.send(house.signed(valid(next(kind for kind in KINDS if tag_of(kind) == "scan"))))
    with attach(house.path, host=True) as host:
        host.run(house.runs["alice"].id).kill("enough")
    assert house.runs["alice"].result(20).status == "killed"
    wire = house.runtime._wire
    assert wire is not None
    eventually(lambda: wire._answerer.peers == 0)
    assert all(worker.is_alive() for worker in wire._workers)
    for one in stubborn:
        one.close()


def test_threads_that_answer_survive_what_they_stumble_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = house.runtime._wire
    assert wire is not None
    failed: list[int] = []
    monkeypatch.setattr(wire._desk, "answer", lambda frame, peer: failed.append(1) or 1 / 0)
    with RawAsker(house.control) as asker:
        for _ in range(40):
            asker.send(unsigned(encode(Hello()), version=VERSION))
        eventually(lambda: len(failed) == 40)
    monkeypatch.undo()
    assert all(worker.is_alive() for worker in wire._workers)
    with attach(house.path, host=True) as host:
        assert host.journal.head() > 0


def test_a_kill_is_answered_while_all_that_may_wait_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = house.runtime._wire
    assert wire is not None
    held, inside = threading.Event(), []
    desk = wire._desk
    monkeypatch.setattr(desk, "_read", lambda *_: (inside.append(1), held.wait(20), Unheard())[-1])
    monkeypatch.setattr(desk, "_carried_out", _held(desk._carried_out, held, inside))
    with RawAsker(house.control) as one, RawAsker(house.control) as other:
        for _ in range(30):
            one.send(house.signed(valid(Steer, run=house.runs["bob"].id)))
            one.send(house.signed(valid(Who)))
        eventually(lambda: len(inside) == 12)
        assert isinstance(other.ask(house.signed(valid(Kill, run=house.runs["alice"].id))), Done)
        held.set()


def _held(really: Any, held: Any, inside: list[int]) -> Any:
    def carried_out(order: Any, *rest: Any) -> Any:
        if isinstance(order, Steer):
            inside.append(1)
            held.wait(20)
        return really(order, *rest)

    return carried_out


def test_no_more_connect_than_may(tmp_path: Path) -> None:
    with short_room(), Runtime(tmp_path / "runs.db", [], listen=Listen(peers=3)) as runtime:
        address = runtime.listening
        kept = [RawAsker(address) for _ in range(3)]
        hello = unsigned(encode(Hello()), version=VERSION)
        assert all(one.ask(hello).version == VERSION for one in kept)
        with pytest.raises((ConnectionError, TimeoutError)), RawAsker(address) as one:
            one.ask(hello)
        kept.pop().close()
        eventually(lambda: runtime._wire._answerer.peers == 2)  # type: ignore[union-attr]
        with RawAsker(address) as one:
            assert one.ask(hello).version == VERSION
        for one in kept:
            one.close()


def test_clocks_that_are_set_shut_nobody_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with attach(house.path, host=True) as host:
        really = time.time_ns
        for jump_s in (3_600, -3_600):
            with monkeypatch.context() as patched:
                patched.setattr(time, "time_ns", lambda jump_s=jump_s: really() + jump_s * 1_000_000_000)
                host.run(house.runs["alice"].id).steer("Still here.")


def test_a_client_whose_time_stood_still_learns_it_anew(house: House) -> None:
    with attach(house.path, host=True) as host:
        line = host.live_line()
        assert line is not None
        line._ahead_us -= 3_600_000_000
        assert host.journal.head() > 0
        line._ahead_us += 3_600_000_000
        host.run(house.runs["alice"].id).steer("Again.")


@pytest.mark.parametrize("kind", ["replayed", "busy", "expired"])
def test_a_question_that_was_refused_for_now_is_asked_anew(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    assert house.runtime._wire is not None
    desk = house.runtime._wire._desk
    really, asked = desk.answer, []

    def answer(frame: bytes, peer: Any) -> bytes:
        asked.append(frame)
        return encode(Refused(kind=kind, why="not now")) if len(asked) == 1 else really(frame, peer)

    with attach(house.path, host=True) as host:
        monkeypatch.setattr(desk, "answer", answer)
        assert host.journal.head() == house.runtime.journal.head()
    assert len(set(asked)) == len(asked) >= 2


def test_what_is_too_large_to_send_is_said_before_it_is_sent(house: House) -> None:
    with attach(house.path, host=True) as host:
        with pytest.raises(ControlRefused, match="at most 65,536 bytes") as caught:
            host.start("holding", "語" * 30_000)
        assert caught.value.kind == "oversize"
        assert host.journal.head() > 0


def test_an_event_larger_than_any_frame_arrives(house: House) -> None:
    with attach(house.path, host=True) as host, host.follow(house.runs["alice"].id) as events:
        run = house.runtime.start("holding", "large " * 160_000, caller="alice")
        with host.follow(run.id) as large:
            started = next(large)
        assert len(started.fact.input[0].text) == 960_000
        assert next(events).tag == "run-started"
