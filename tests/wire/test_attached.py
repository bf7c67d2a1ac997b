"""A host held from another process, as its users hold it: looking, following and orders."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attach_support import Turnstile, short_room
from runtime_support import DEADLINE_S, wait_for

from executus import Agent, Allowance, Grant, Listen, Runtime, ScriptedModel, Text, attach, attach_async, hosts, tool
from executus.adapters.models.scripted import call
from executus.errors import (
    BudgetSpent,
    ControlRefused,
    HostUnreachable,
    JournalUnreadable,
    MessageRefused,
    UnknownAgent,
    UnknownRun,
)
from executus.events import RunFinished, RunInfo
from executus.wire.attached import Attached, RemoteRun

KEY = bytes(range(32))


@pytest.fixture
def room() -> Iterator[Path]:
    with short_room() as folder:
        yield folder


@pytest.fixture
def turns() -> Turnstile:
    return Turnstile()


def talker() -> Agent:
    return Agent("talker", model=ScriptedModel(lambda request: f"Said {request.step}."))


def host_of(room: Path, turns: Turnstile, *more: Agent, **options: Any) -> Runtime:
    agent = turns.agent(timeout_s=100, max_steps=10)
    return Runtime(room / "runs.db", [agent, talker(), *more], **{"listen": "ipc", **options})


def by_of(run: RemoteRun, tag: str) -> str:
    [event] = [event for event in run._attached.journal.read(run.id) if event.tag == tag]
    return str(getattr(event.fact, "by"))  # noqa: B009


# ------------------------------------------------------------------ attaching


def test_a_path_an_address_with_a_token_and_an_address_of_ones_own_lead_to_the_same_host(
    room: Path, turns: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = Grant("screen")
    with host_of(room, turns, listen=Listen(grants=[viewer])) as rt:
        run = rt.start("talker", "hello")
        run.result(DEADLINE_S)
        held: list[tuple[Attached, str]] = [
            (attach(room / "runs.db"), "operator"),
            (attach(str(room / "runs.db"), host=True), "operator"),
            (attach(rt.listens_at), "operator"),
            (attach(rt.listens_at, token=viewer.token), "viewer"),
            (attach(room / "runs.db", token=viewer.token), "viewer"),
            (asyncio.run(attach_async(room / "runs.db")), "operator"),
        ]
        monkeypatch.setenv("EXECUTUS_TOKEN", viewer.token)
        held.append((attach(rt.listens_at), "operator"))
        for host, role in held:
            assert host.session is not None
            assert (host.session.role, host.live) == (role, True)
            host.close()


def test_a_token_in_the_environment_is_used_where_the_operators_is_not_to_be_had(
    room: Path, turns: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = Grant("screen")
    address = f"ipc://{room}/own"
    with Runtime(None, [talker()], listen=Listen(address, grants=[viewer])) as rt:
        assert rt.listens_at == address
        with pytest.raises(ValueError, match=r"pass token=..., or set EXECUTUS_TOKEN"):
            attach(address)
        with pytest.raises(ControlRefused, match="the token is wrong") as refused:
            attach(address, token="screen." + "x" * 43)
        assert refused.value.kind == "unauthenticated"
        monkeypatch.setenv("EXECUTUS_TOKEN", viewer.token)
        with attach(address) as host:
            assert host.session is not None
            assert host.session.grant == "screen"


def test_a_host_in_memory_is_found_among_the_hosts(room: Path, turns: Turnstile) -> None:
    with Runtime(None, [talker()], listen="ipc") as rt:
        [seen] = hosts()
        assert seen.answers
        assert (seen.card.control, seen.card.journal) == (rt.listens_at, "")
        with attach(seen.card.control) as host:
            assert host.start("talker", "hello").result(DEADLINE_S).output == "Said 1."
    assert hosts() == []


def test_a_runtime_that_does_not_listen_has_no_address(room: Path) -> None:
    with Runtime() as rt:
        assert rt.listens_at == ""


@pytest.mark.parametrize("address", ["ipc:///nowhere/at/all", "tls+tcp://127.0.0.1:1", "tcp://127.0.0.1:1"])
def test_an_address_that_cannot_be_says_what_is_missing(room: Path, address: str) -> None:
    with pytest.raises(ValueError, match=r"token|tls=|tls\+tcp"):
        attach(address)


def test_nobody_at_an_address_is_said(room: Path) -> None:
    with pytest.raises(HostUnreachable, match=r"does not answer|nobody listens"):
        attach(f"ipc://{room}/nobody", token=Grant("a").token, timeout=0.2)


def test_what_is_no_journal_is_said(room: Path) -> None:
    with pytest.raises(JournalUnreadable):
        attach(room / "none.db")
    with pytest.raises(HostUnreachable, match="listen="):
        attach(room / "none.db", host=True, timeout=0.2)


# ------------------------------------------------------------------ without a host, and later with one


def test_without_a_host_the_file_is_read_and_orders_say_what_to_do(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt:
        over, unfinished = rt.start("talker", "hello"), rt.start("clerk", "go")
        over.result(DEADLINE_S)
        wait_for(unfinished, "tool-started")
        with attach(room / "runs.db") as host:
            host.run(unfinished.id).steer("Be brief.", by="alice")
        turns.turn()
    with attach(room / "runs.db", timeout=0.2) as host:
        assert (host.live, host.session, repr(host)[-16:]) == (False, None, " without a host>")
        assert [row.run_id for row in host.runs()] == [over.id, unfinished.id]
        assert [row.run_id for row in host.runs(unfinished=True)] == [unfinished.id]
        assert host.run(over.id).result(DEADLINE_S).output == "Said 1."
        assert (host.run(unfinished.id).status, host.run(unfinished.id).reason) == (
            "suspended",
            "no host has its journal open",
        )
        assert [order.ask for order in host.orders()] == ["steer"]
        with pytest.raises(HostUnreachable, match=r"listen=\"ipc\""):
            host.run(unfinished.id).kill("enough")
        with pytest.raises(HostUnreachable, match="no host has"):
            host.start("talker", "hello")
        with pytest.raises(TimeoutError):
            host.run(unfinished.id).result(0.1)
        with pytest.raises(UnknownRun):
            host.run("nobody")
        with host_of(room, turns):
            later = host.start("talker", "hello")
            assert later.result(DEADLINE_S).output == "Said 1."
            assert host.run(unfinished.id).status == "running"
            host.run(unfinished.id).kill("enough", by="alice")
            assert host.run(unfinished.id).result(DEADLINE_S).by == "operator:alice"


def test_a_host_that_does_not_listen_is_told_from_none(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns, listen=None) as rt:
        run = rt.start("clerk", "go")
        wait_for(run, "tool-started")
        with attach(room / "runs.db", timeout=0.2) as host:
            assert host.run(run.id).status == "running"
            assert host.run(run.id).reason == "its host does not listen: this is what its file says"
        turns.turn(3)
        run.result(DEADLINE_S)


def test_the_card_of_a_host_that_was_killed_is_not_waited_for(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt:
        rt.start("talker", "hello").result(DEADLINE_S)
        [folder] = (room / "executus").iterdir()
        kept = (folder / "host.json").read_bytes(), (folder / "operator.token").read_bytes()
    for name, content in zip(("host.json", "operator.token"), kept, strict=True):
        (folder / name).write_bytes(content)
    with attach(room / "runs.db", timeout=1000) as host:
        assert not host.live
        assert len(host.runs()) == 1


# ------------------------------------------------------------------ looking


def test_a_run_is_looked_at(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        mine = rt.start("clerk", "go", caller="alice")
        wait_for(mine, "tool-started")
        run = host.run(mine.id)
        assert (run.status, run.reason, repr(run)) == ("running", "", f"<RemoteRun {mine.id}>")
        assert run.state() == mine.state()
        assert run.transcript() == mine.transcript()
        assert run.children() == []
        turns.turn(3)
        assert run.result(DEADLINE_S) == mine.result(DEADLINE_S)
        assert run.wait(DEADLINE_S).stats.output == "done"
        assert run.status == "ok"
        assert asyncio.run(run.result_async(DEADLINE_S)) == mine.result()
        assert [row.run_id for row in asyncio.run(host.runs_async(limit=1))] == [mine.id]
        assert asyncio.run(host.run_async(mine.id)).id == mine.id
        with pytest.raises(UnknownRun):
            host.run("nobody")
        with pytest.raises(UnknownRun):
            host.run("x" * 1000)
        with pytest.raises(UnknownRun):
            host.run(7)  # type: ignore[arg-type]
        with pytest.raises(UnknownRun):
            host.follow("nobody")


def test_waiting_for_a_run_that_goes_on_gives_up_in_time(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        run = host.run(rt.start("clerk", "go").id)
        with pytest.raises(TimeoutError):
            run.result(0.05)
        with pytest.raises(TimeoutError):
            asyncio.run(run.wait_async(0.05))
        assert run.status == "running"
        turns.turn(3)
        assert run.result(DEADLINE_S).status == "ok"


def test_children_are_runs_of_their_own(room: Path, turns: Turnstile) -> None:
    parent = Agent("parent", model=ScriptedModel([call("agent__talker", prompt="hi"), "done"]), agents=["talker"])
    with host_of(room, turns, parent) as rt, attach(room / "runs.db") as host:
        mine = rt.start("parent", "go")
        mine.result(DEADLINE_S)
        [child] = host.run(mine.id).children()
        assert child.result(DEADLINE_S).output == "Said 1."
        assert [one.id for one in mine.children()] == [child.id]


def test_a_run_that_is_not_durable_is_steered_and_not_seen(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns, durable=lambda info: info.name != "secret") as rt, attach(room / "runs.db") as host:
        assert isinstance(rt.start("clerk", "go", name="secret"), object)
        hidden = host.start("clerk", "go", name="secret")
        assert hidden.status == "running"
        assert host.runs() == []
        with pytest.raises(UnknownRun):
            host.run(hidden.id)
        with pytest.raises(UnknownRun):
            hidden.events()
        hidden.kill("enough")
        assert rt.run(hidden.id).result(DEADLINE_S).status == "killed"
        turns.turn(9)


def test_a_sealed_journal_is_read_through_its_host(room: Path, turns: Turnstile) -> None:
    pytest.importorskip("cryptography", reason="sealing needs an extra: pip install '.[encryption]'")
    with host_of(room, turns, encryption=KEY) as rt, attach(room / "runs.db") as host:
        run = rt.start("talker", "hello")
        run.result(DEADLINE_S)
        assert host.run(run.id).result(DEADLINE_S).output == "Said 1."
        assert [event.fact for event in host.run(run.id).events()] == [event.fact for event in run.events()]
    with attach(room / "runs.db") as blind:
        assert blind.run(run.id).state().output != "Said 1."
    with attach(room / "runs.db", encryption=KEY) as seeing:
        assert seeing.run(run.id).state().output == "Said 1."


# ------------------------------------------------------------------ following


def test_one_run_is_followed_to_its_end_from_any_version(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        run = rt.start("clerk", "go")
        turns.turn(3)
        with host.follow(run.id) as events:
            seen = list(events)
        assert [event.version for event in seen] == list(range(1, len(seen) + 1))
        assert isinstance(seen[-1].fact, RunFinished)
        assert seen == list(run.events())
        assert list(host.follow(run.id, since=4)) == seen[4:]
        assert events.at == seen[-1].version


def test_all_runs_are_followed_from_any_position(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        first = rt.start("talker", "one")
        first.result(DEADLINE_S)
        head = host.journal.head()
        second = rt.start("talker", "two")
        with host.follow(since=head, timeout=DEADLINE_S) as events:
            seen = [next(events) for _ in range(4)]
        assert {event.run_id for event in seen} == {second.id}
        assert [event.position for event in seen] == list(range(head + 1, head + 5))
        with host.follow(timeout=0.05) as events, pytest.raises(TimeoutError):
            for _ in events:
                pass
        with pytest.raises(ValueError, match=r"after ≥ 0"):
            host.follow(since=-1)


def test_one_callers_runs_are_followed(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        started = [rt.start("talker", "hi", caller=caller) for caller in ("alice", "bob", "alice")]
        for run in started:
            run.result(DEADLINE_S)
        seen = set()
        with host.follow(caller="alice", timeout=DEADLINE_S) as events:
            for event in events:
                seen.add(event.run_id)
                if event.run_id == started[2].id and isinstance(event.fact, RunFinished):
                    break
        assert seen == {started[0].id, started[2].id}


def test_following_in_a_task_ends_when_it_is_cancelled(room: Path, turns: Turnstile) -> None:
    async def follow() -> list[str]:
        seen: list[str] = []
        async with await attach_async(room / "runs.db") as host:
            run = await host.start_async("clerk", "go", by="alice")

            async def watch() -> None:
                async with host.follow() as events:
                    async for event in events:
                        seen.append(event.tag)

            watching = asyncio.create_task(watch())
            async with asyncio.timeout(DEADLINE_S):
                async for event in run.events():
                    if event.tag == "tool-started":
                        break
                while "tool-started" not in seen:
                    await asyncio.sleep(0.01)
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            turns.turn(3)
            assert (await run.wait_async(DEADLINE_S)).stats.status == "ok"
        return seen

    with host_of(room, turns):
        assert "tool-started" in asyncio.run(follow())


def test_closing_ends_whoever_follows_and_what_is_closed_says_so(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt:
        host = attach(room / "runs.db")
        run = host.run(rt.start("clerk", "go").id)
        ended = threading.Event()

        def follow() -> None:
            for _ in host.follow():
                pass
            ended.set()

        threading.Thread(target=follow, daemon=True).start()
        host.close()
        host.close()
        assert ended.wait(DEADLINE_S)
        for look in (host.runs, lambda: run.status, lambda: run.steer("x"), run.state, lambda: run.wait(DEADLINE_S)):
            with pytest.raises(HostUnreachable, match="closed"):
                look()
        turns.turn(3)


# ------------------------------------------------------------------ orders


ORDERS: dict[str, tuple[Callable[[RemoteRun], Any], str]] = {
    "steer": (lambda run: run.steer("Be brief.", by="alice"), "caller-steered"),
    "extend": (lambda run: run.extend(30, by="alice", reason="slow"), "deadline-extended"),
    "raise_ceiling": (lambda run: run.raise_ceiling(3, by="alice"), "ceiling-raised"),
    "cancel": (lambda run: run.cancel("enough", by="alice"), "run-finished"),
    "kill": (lambda run: run.kill("enough", by="alice"), "run-finished"),
}
TWINS: dict[str, Callable[[RemoteRun], Any]] = {
    "steer": lambda run: run.steer_async("Be brief.", by="alice"),
    "extend": lambda run: run.extend_async(30, by="alice", reason="slow"),
    "raise_ceiling": lambda run: run.raise_ceiling_async(3, by="alice"),
    "cancel": lambda run: run.cancel_async("enough", by="alice"),
    "kill": lambda run: run.kill_async("enough", by="alice"),
}


@pytest.mark.parametrize("way", ["", "_async"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_is_in_the_log_under_the_name_of_who_gave_it(
    room: Path, turns: Turnstile, order: str, way: str
) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        mine = rt.start("clerk", "go")
        wait_for(mine, "tool-started")
        run = host.run(mine.id)
        give, tag = ORDERS[order]
        if way:
            asyncio.run(TWINS[order](run))
        else:
            give(run)
        assert by_of(run, tag) == "operator:alice"
        [kept] = host.orders()
        assert (kept.fate, kept.grant, kept.role, kept.by, kept.run) == (
            "done",
            "operator",
            "operator",
            "alice",
            run.id,
        )
        turns.turn(4)
        mine.result(DEADLINE_S)
        if order in ("steer", "extend", "raise_ceiling"):
            with pytest.raises(MessageRefused, match=rf"run {run.id} refused .*over") as refused:
                give(run)
            assert refused.value.run_id == run.id
        else:
            give(run)  # one that is over stays as it is


def test_every_order_and_look_has_a_twin_for_event_loops() -> None:
    for kind, without in ((RemoteRun, {"state", "events", "transcript", "approvals", "children"}), (Attached, set())):
        calls = {name for name, one in vars(kind).items() if inspect.isfunction(one) and not name.startswith("_")}
        plain = {name for name in calls if not name.endswith("_async")} - without
        plain -= {"close", "follow", "live_line", "line_now"}
        assert {f"{name}_async" for name in plain} <= calls


@pytest.mark.parametrize("way", ["approve", "approve_async", "deny", "deny_async"])
def test_what_waits_for_approval_is_answered(room: Path, turns: Turnstile, way: str) -> None:
    @tool(effect="idempotent", approval="Send it?")
    def send(text: str) -> str:
        """Send."""
        return "sent"

    sender = Agent("sender", model=ScriptedModel([call("send", text="x"), "done"]), tools=[send])
    with host_of(room, turns, sender) as rt, attach(room / "runs.db") as host:
        mine = rt.start("sender", "go")
        wait_for(mine, "approval-awaited")
        run = host.run(mine.id)
        [asked] = run.approvals()
        assert (asked.question, run.status) == ("Send it?", "waiting")
        with pytest.raises(MessageRefused, match="refused"):
            run.approve("no-such-call")
        answer = getattr(run, way)
        if way.endswith("_async"):
            asyncio.run(answer(asked.call, by="alice"))
        else:
            answer(by="alice")
        tag = "approval-granted" if way.startswith("approve") else "approval-denied"
        assert by_of(run, tag) == "operator:alice"
        run.result(DEADLINE_S)


def test_a_person_talks_with_an_interactive_run(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns), attach(room / "runs.db") as host:
        run = host.start("talker", [Text("one"), Text("two")], interactive=True, by="alice")
        for number, message in enumerate(("more", [Text("and"), Text("more")]), 2):
            run.send(message, by="alice")
            for event in run.events():
                if event.tag == "step-completed" and getattr(event.fact, "step", 0) == number:
                    break
        asyncio.run(run.send_async("again"))
        run.cancel("that is all")
        heard = [
            part.text
            for message in run.transcript()
            if message.role == "user"
            for part in message.parts
            if isinstance(part, Text)
        ]
        assert heard[:3] == ["one\ntwo", "more", "and\nmore"]


def test_a_fork_is_begun_from_elsewhere(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        source = rt.start("talker", "hello")
        source.result(DEADLINE_S)
        for begin in (lambda run: run.begin(by="alice"), lambda run: asyncio.run(run.begin_async(by="alice"))):
            run = host.run(rt.fork(source, 2).id)
            assert run.status == "waiting"
            begin(run)
            assert by_of(run, "run-begun") == "operator:alice"
            assert run.result(DEADLINE_S).status == "ok"


def test_one_request_is_one_run(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        first = host.start("talker", "hello", caller="alice", request_id="r-1", name="n", subject="s", max_steps=5)
        again = host.start("talker", "hello", caller="alice", request_id="r-1")
        other = asyncio.run(host.start_async("talker", "hello", caller="bob", request_id="r-1"))
        assert first.id == again.id == rt.start("talker", "x", caller="alice", request_id="r-1").id != other.id
        info: RunInfo = host.journal.read(first.id, limit=1)[0].fact.info  # type: ignore[union-attr]
        assert (info.caller_id, info.name, info.subject_id) == ("alice", "n", "s")
        assert len(host.runs()) == 2


def test_what_a_host_says_against_a_start_is_what_it_would_say_itself(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns, budget=[Allowance(window="total", tokens=0)]), attach(room / "runs.db") as host:
        with pytest.raises(UnknownAgent, match="no agent named 'nobody'; this runtime has: clerk, talker") as unknown:
            host.start("nobody", "hello")
        assert unknown.value.known == ("clerk", "talker")
        with pytest.raises(BudgetSpent, match=r"caller 'alice': .*is spent") as spent:
            host.start("talker", "hello", caller="alice")
        assert host.run(spent.value.run_id).status == "budget_exceeded"


def test_wrong_arguments_are_plain_errors(room: Path, turns: Turnstile) -> None:
    with host_of(room, turns) as rt, attach(room / "runs.db") as host:
        run = host.run(rt.start("clerk", "go").id)
        wrong: list[Callable[[], Any]] = [
            lambda: host.start("talker", "x" * 40_000),
            lambda: host.start("talker", "x", max_steps=0),
            lambda: host.start("talker", 7),  # type: ignore[arg-type]
            lambda: host.start("talker", "x", caller="y" * 257),
            lambda: run.steer("x" * 5_000),
            lambda: run.steer(7),  # type: ignore[arg-type]
            lambda: run.extend(0),
            lambda: run.extend(float("nan")),
            lambda: run.raise_ceiling(1, "wishes"),  # type: ignore[arg-type]
            lambda: run.kill("x", by="y" * 65),
        ]
        for one in wrong:
            with pytest.raises((ValueError, TypeError), match=r"\w"):
                one()
        assert run.status == "running"
        turns.turn(3)


# ------------------------------------------------------------------ who may


def test_grants_that_are_bound_to_a_caller_see_and_do_what_is_theirs(room: Path, turns: Turnstile) -> None:
    grants = {
        role: Grant(role, role, caller="alice")  # type: ignore[arg-type]
        for role in ("viewer", "steerer", "owner")
    }
    with host_of(room, turns, listen=Listen(grants=list(grants.values()))) as rt:
        mine, other = (rt.start("clerk", "go", caller=caller) for caller in ("alice", "bob"))
        for run in (mine, other):
            wait_for(run, "tool-started")
        held = {role: attach(room / "runs.db", token=grant.token) for role, grant in grants.items()}
        for role, host in held.items():
            assert [row.run_id for row in host.runs()] == [mine.id], role
            with pytest.raises(UnknownRun):
                host.run(other.id)
            with pytest.raises(UnknownRun):
                host.follow(other.id)
            with host.follow(timeout=0.5) as events, pytest.raises(TimeoutError):
                for event in events:
                    assert event.run_id == mine.id
            with pytest.raises(ControlRefused, match=r"needs an? operator's"):
                host.orders()
        with pytest.raises(ControlRefused, match="viewer"):
            held["viewer"].run(mine.id).steer("x")
        held["steerer"].run(mine.id).steer("Be brief.")
        assert by_of(held["viewer"].run(mine.id), "caller-steered") == "steerer"
        with pytest.raises(ControlRefused, match="steerer"):
            held["steerer"].run(mine.id).kill()
        owner = held["owner"]
        owner.run(mine.id).extend(50)
        with pytest.raises(ControlRefused, match="an owner may extend this run by 50 s more"):
            owner.run(mine.id).extend(60)
        with pytest.raises(ControlRefused, match="an owner may raise only steps"):
            owner.run(mine.id).raise_ceiling(5, "tokens")
        with pytest.raises(ControlRefused, match="starts only runs of caller 'alice'"):
            owner.start("talker", "hello", caller="bob")
        started = owner.start("talker", "hello")
        assert started.result(DEADLINE_S).status == "ok"
        assert started.state() is not None
        owner.run(mine.id).kill("enough")
        assert owner.run(mine.id).result(DEADLINE_S).by == "owner"
        for host in held.values():
            host.close()
        turns.turn(4)
