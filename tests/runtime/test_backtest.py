"""A backtest of the critic that watched says what it did, and where; other critics and budgets say what they would have
done. Nothing is called and nothing written.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, stored, wait_for

from executus import (
    Agent,
    Allowance,
    Continue,
    Extend,
    Kill,
    Raise,
    Reply,
    Run,
    Runtime,
    ScriptedModel,
    Steer,
    StuckCritic,
    Usage,
    backtest,
    backtest_async,
    tool,
)
from executus.actors.reviews import REVIEWS_AT_ONCE
from executus.adapters.models.scripted import call, say
from executus.errors import UnknownRun
from executus.events import CeilingRaised, CriticKilled, CriticObserved, CriticSteered, DeadlineExtended, Event
from executus.journal import read_journal
from executus.projections.backtesting import BacktestRun, Ended
from executus.projections.trace import Trace
from executus.testing import VirtualClock

Open = Callable[..., Runtime]

DEED_OF = {
    CriticObserved: "observed",
    CriticSteered: "steered",
    CriticKilled: "killed",
    DeadlineExtended: "extended",
    CeilingRaised: "raised",
}


BEYOND = Extend(5, "beyond its cap")


class Paced:
    """A critic, and a tool that works until what the critic says is stored: a run whose reviews are quick."""

    def __init__(self, critic: Any) -> None:
        self._critic = critic
        self.name = getattr(critic, "name", "critic")
        self.every_steps, self.every_s = getattr(critic, "every_steps", None), getattr(critic, "every_s", None)
        self.run: Run | None = None
        self._changed = threading.Condition()
        self.reviews = self._acts = self._asked = 0
        self._latest: Any = Continue()

    def review(self, trace: Trace, now: float) -> Any:
        verdict = self._critic.review(trace, now)
        with self._changed:
            self.reviews += 1
            self._acts += verdict not in (Continue(), BEYOND)
            self._changed.notify_all()
        return verdict

    def settle(self) -> None:
        """Wait until the newest step was reviewed, and what came of it is stored."""
        with self._changed:
            self._asked += 1
            assert self._changed.wait_for(lambda: self.reviews >= self._asked and self.run is not None, DEADLINE_S)
        self.stored()

    def stored(self) -> None:
        """Wait until as many facts of the critic are stored as it gave orders."""
        until = time.monotonic() + DEADLINE_S
        assert self.run is not None
        while sum(type(event.fact) in DEED_OF for event in stored(self.run)) < self._acts:
            assert time.monotonic() < until
            threading.Event().wait(0.002)


def recorded(events: list[Event]) -> list[tuple[str, int, str, Any]]:
    """What the critic did, as the log has it: what, version, text, evidence."""
    found: list[tuple[str, int, str, Any]] = []
    for event in events:
        fact = event.fact
        match fact:
            case CriticObserved() | CriticSteered():
                found.append((DEED_OF[type(fact)], event.version, fact.text, fact.evidence))
            case CriticKilled():
                found.append(("killed", event.version, fact.reason, fact.evidence))
            case DeadlineExtended():
                found.append(("extended", event.version, fact.reason, {"until_s": fact.until_ms / 1000}))
            case CeilingRaised():
                found.append(("raised", event.version, fact.reason, {"from": fact.old, "to": fact.new}))
            case _:
                pass
    return found


def deeds(row: BacktestRun) -> list[tuple[str, int, str, Any]]:
    return [(deed.kind, deed.version, deed.text, deed.evidence) for deed in row.deeds]


class Generous:
    """Raises, extends, steers and at last kills."""

    every_steps = 1
    name = "generous"

    def review(self, trace: Trace, now: float) -> Any:
        said = {
            1: Raise(2, "near"),
            2: Steer("think of the time", {"step": 2}),
            3: Extend(1e6, "busy"),
            4: BEYOND,
            5: Raise(100, "more"),
            7: Kill("enough", {"n": 7}),
        }
        return said.get(trace.state.step, Continue())


def watched_run(path: Path, critic: Any, *, max_steps: int = 50) -> tuple[Run, Paced]:
    """A run that looks until its critic kills it; the runtime is left open in `run`."""
    paced = Paced(critic)

    @tool(effect="pure")
    def look() -> str:
        paced.settle()
        return "a tree"

    model = ScriptedModel(lambda request: say("hm", call("look"), usage=Usage(50, 5)))
    agent = Agent("looker", model=model, tools=[look], max_steps=max_steps, timeout_s=600, extend_to_s=900)
    runtime = Runtime(path, [agent], critic=paced)
    paced.run = runtime.start("looker", "go", caller="alice")
    return paced.run, paced


@pytest.mark.parametrize("critic", [StuckCritic(), Generous()], ids=["stuck", "generous"])
def test_the_critic_that_watched_did_what_a_backtest_says(critic: Any, tmp_path: Path) -> None:
    run, _ = watched_run(tmp_path / "runs.db", critic)
    try:
        assert run.result(DEADLINE_S).status == "killed"
        log = stored(run)
    finally:
        run._runtime.close(2)
    [row] = backtest(tmp_path / "runs.db", critic=critic).rows
    assert recorded(log), "it did something"
    assert deeds(row) == recorded(log)
    assert row.ending is not None
    assert (row.ending.kind, row.was, row.failures) == ("killed", "stuck", 0)
    assert (row.saved.tokens, row.saved.steps) == (0, 0), "the recording ends there too"


def test_the_same_at_the_moments_that_time_brings(tmp_path: Path) -> None:
    critic, clock, gate = StuckCritic(silence_s=60, grace_steps=1), VirtualClock(), threading.Event()
    paced = Paced(critic)

    @tool(effect="pure")
    def sleep() -> str:
        gate.wait(DEADLINE_S)
        return "rested"

    agent = Agent("sleeper", model=ScriptedModel([[call("sleep")], "done"]), tools=[sleep])
    with Runtime(tmp_path / "runs.db", [agent], critic=paced, clock=clock) as runtime:
        paced.run = run = runtime.start("sleeper", "go")
        wait_for(run, "tool-started")
        for turn in range(1, 20):
            clock.advance(30.0011)  # a little later than a timer of 30.001 s
            until = time.monotonic() + DEADLINE_S
            while paced.reviews < turn + 1 and run.status == "running":
                assert time.monotonic() < until
                threading.Event().wait(0.002)
            paced.stored()
            if run.status != "running":
                break
        gate.set()
        assert run.result(DEADLINE_S).status == "killed"
        log = stored(run)
    [row] = backtest(tmp_path / "runs.db", critic=critic).rows
    assert [deed[0] for deed in deeds(row)] == ["observed", "steered", "killed"]
    for mine, theirs in zip(deeds(row), recorded(log), strict=True):
        assert mine[3].pop("quiet_s") == pytest.approx(theirs[3].pop("quiet_s"), abs=0.01)
        assert mine == theirs


def test_a_backtest_that_asks_at_another_moment_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = watched_run(tmp_path / "runs.db", Generous())
    try:
        run.result(DEADLINE_S)
        log = stored(run)
    finally:
        run._runtime.close(2)
    monkeypatch.setattr("executus.projections.causes.ONE_COMMIT", frozenset())
    [row] = backtest(tmp_path / "runs.db", critic=Generous()).rows
    assert deeds(row) != recorded(log)


# ------------------------------------------------------------------ other critics and budgets


def work(path: Path | None = None, clock: VirtualClock | None = None) -> Runtime:
    """A host of an agent that looks three times and answers, each step 100 tokens and half a dollar."""

    @tool(effect="pure")
    def look() -> str:
        if clock is not None:
            clock.advance(60)
        return "a tree"

    def reply(request: Any) -> Reply:
        usage = Usage(90, 10, cost_usd=0.5)
        return say("hm", call("look"), usage=usage) if request.step < 4 else say("done", usage=usage)

    agent = Agent("worker", model=ScriptedModel(reply), tools=[look], timeout_s=None)
    return Runtime(path, [agent], **({} if clock is None else {"clock": clock}))


class KillsAt:
    """Kills when it is shown this step."""

    every_steps = 1

    def __init__(self, step: int) -> None:
        self.step = step

    def review(self, trace: Trace, now: float) -> Any:
        return Kill("too long") if trace.state.step == self.step else Continue()


class KillsAtAsync(KillsAt):
    """The same, and it takes a moment."""

    async def review(self, trace: Trace, now: float) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().review(trace, now)


def test_a_good_run_that_would_have_been_killed_is_counted_with_what_was_saved(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db", VirtualClock()) as runtime:
        ids = [runtime.start("worker", "go").result(DEADLINE_S).run_id for _ in range(2)]
    found = backtest(tmp_path / "runs.db", critic=KillsAt(2), runs=ids[:1])
    [row] = found.rows
    assert row.ending is not None
    assert (row.was, row.status, row.ending.kind, row.ending.step) == ("good", "ok", "killed", 2)
    assert (row.saved.tokens, row.saved.cost_usd, row.saved.worked_s) == (200, 1.0, 120.0)
    totals = found.totals
    assert (totals.runs, totals.good_killed, totals.stuck_caught, totals.saved) == (1, 1, 0, row.saved)
    assert "killed" in found.table()
    assert json.loads(found.to_json())["rows"][0]["ending"]["why"] == "too long"
    assert backtest(tmp_path / "runs.db", critic=KillsAt(2)).totals.killed == 2


def test_what_is_stuck_is_said_by_whoever_asks(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db") as runtime:
        runtime.start("worker", "go").result(DEADLINE_S)

    def long(ended: Ended) -> bool:
        return ended.stats.steps > 3

    totals = backtest(tmp_path / "runs.db", critic=KillsAt(2), stuck=long).totals
    assert (totals.stuck, totals.stuck_caught, totals.good_killed) == (1, 1, 0)
    totals = backtest(tmp_path / "runs.db", critic=KillsAt(9), stuck=long).totals
    assert (totals.stuck_missed, totals.saved.tokens) == (1, 0)


def test_async_critics_are_asked_with_and_without_a_loop(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db") as runtime:
        runtime.start("worker", "go").result(DEADLINE_S)
    plain = backtest(tmp_path / "runs.db", critic=KillsAt(2))
    assert backtest(tmp_path / "runs.db", critic=KillsAtAsync(2)) == plain
    assert asyncio.run(backtest_async(tmp_path / "runs.db", critic=KillsAtAsync(2))) == plain


@pytest.mark.parametrize("fault", ["raises", "hangs", "leaves", "talks nonsense"])
def test_a_critic_that_fails_is_lost_and_the_run_is_left_as_it_was(fault: str, tmp_path: Path) -> None:
    class Faulty:
        every_steps = 1
        timeout_s = 0.01

        async def review(self, trace: Trace, now: float) -> Any:
            if fault == "raises":
                raise RuntimeError("down")
            if fault == "leaves":
                raise SystemExit
            return await asyncio.sleep(DEADLINE_S) if fault == "hangs" else "kill it!"

    with work(tmp_path / "runs.db", VirtualClock()) as runtime:
        runtime.start("worker", "go").result(DEADLINE_S)
    [row] = backtest(tmp_path / "runs.db", critic=Faulty()).rows
    assert (row.failures, row.deeds, row.ending) == (3, (), None)
    assert row.lost.startswith("it failed 3 times in a row")


@pytest.mark.parametrize("how", ["blocks", "blocks the loop", "returns what hangs", "ignores its end"])
def test_a_critic_that_hangs_holds_up_no_backtest(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executus.backtesting.GRACE_S", 0.05)
    let_go = threading.Event()
    asked: list[str] = []

    class Hanging:
        name = "hanging"
        every_steps = 1
        timeout_s = 0.01

        def review(self, trace: Trace, now: float) -> Any:
            asked.append(threading.current_thread().name)
            if how == "returns what hangs":
                return asyncio.sleep(DEADLINE_S)
            let_go.wait()
            return None

    class HangingAsync(Hanging):
        async def review(self, trace: Trace, now: float) -> Any:
            asked.append(threading.current_thread().name)
            if how == "blocks the loop":
                let_go.wait()
            while not let_go.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(DEADLINE_S)

    with work(tmp_path / "runs.db", VirtualClock()) as runtime:
        for caller in ("alice", "bob"):
            runtime.start("worker", "go", caller=caller).result(DEADLINE_S)
    critic = HangingAsync() if how in ("blocks the loop", "ignores its end") else Hanging()
    try:
        found = backtest(tmp_path / "runs.db", critic=critic, budget=[Allowance(window="run", tool_calls=2)])
    finally:
        let_go.set()
    assert [(row.failures, row.deeds, row.ending and row.ending.kind) for row in found.rows] == [(3, (), "budget")] * 2
    why = {row.lost.removeprefix("it failed 3 times in a row, the last time: ") for row in found.rows}
    if how == "returns what hangs":  # that ends when it is told to
        assert (len(asked), why) == (6, {"no verdict within 0.01 s"})
    else:
        assert (len(asked), why) == (2, {"2 earlier reviews of it have not returned"}), "a third is waited for nowhere"
    good = backtest(tmp_path / "runs.db", critic=KillsAt(1))
    assert [row.failures for row in good.rows] == [0, 0]


def test_critics_that_all_hang_are_asked_until_too_many_threads_are_lost(tmp_path: Path) -> None:
    let_go = threading.Event()
    asked: list[str] = []

    class Hanging:
        every_steps = 1
        timeout_s = 0.01

        def review(self, trace: Trace, now: float) -> Any:
            asked.append("asked")
            let_go.wait()

    with work(tmp_path / "runs.db", VirtualClock()) as runtime:
        for _ in range(6):
            runtime.start("worker", "go").result(DEADLINE_S)
    try:
        found = backtest(tmp_path / "runs.db", critic=lambda info: Hanging())
    finally:
        let_go.set()
    assert len(asked) == REVIEWS_AT_ONCE
    assert all(row.lost for row in found.rows)
    assert "8 earlier reviews of critics have not returned" in found.rows[-1].lost


def test_a_critic_can_be_chosen_by_run_and_its_attributes_are_checked(opened: Open) -> None:
    runtime = work()
    try:
        for caller in ("alice", "bob"):
            runtime.start("worker", "go", caller=caller).result(DEADLINE_S)
        found = backtest(runtime.journal, critic=lambda info: KillsAt(1) if info.caller_id == "bob" else None)
        assert [(row.caller, row.reviews) for row in found.rows] == [("alice", 0), ("bob", 1)]
        strange: Any = KillsAt(1)
        strange.every_steps = 0
        with pytest.raises(ValueError, match="every_steps: expected a whole number"):
            backtest(runtime.journal, critic=strange)
        with pytest.raises(UnknownRun):
            backtest(runtime.journal, runs=["01a2072f-d6e6-704e-8266-d40b2e85f841"])
        with pytest.raises(TypeError, match="expected Allowance"):
            backtest(runtime.journal, budget=["much"])  # type: ignore[list-item]
    finally:
        runtime.close(2)


def test_runs_can_be_chosen(opened: Open) -> None:
    runtime = work()
    try:
        for caller in ("alice", "bob"):
            runtime.start("worker", "go", caller=caller).result(DEADLINE_S)

        def chosen(**options: Any) -> list[str]:
            return [row.caller for row in backtest(runtime.journal, **options).rows]

        now = datetime.now(UTC)
        assert chosen(caller="bob") == ["bob"]
        assert chosen(agent="worker") == ["alice", "bob"]
        assert chosen(agent="other") == []
        assert chosen(since=now - timedelta(hours=1)) == ["alice", "bob"]
        assert chosen(since=now + timedelta(hours=1)) == []
    finally:
        runtime.close(2)


def test_a_budget_says_at_which_event_there_would_have_been_no_room(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db") as runtime:
        ids = [runtime.start("worker", "go", caller="alice").result(DEADLINE_S).run_id for _ in range(2)]
        events = {one: stored(runtime.run(one)) for one in ids}
    found = backtest(tmp_path / "runs.db", budget=[Allowance(window="day", tokens=250)])
    first, second = found.rows
    assert first.ending is not None
    assert second.ending is not None
    assert (first.ending.kind, first.ending.step, first.saved.tokens) == ("budget", 3, 100)
    after = events[first.run_id][first.ending.version]
    assert (after.tag, after.fact.step) == ("step-started", 4)  # type: ignore[union-attr]
    assert (second.ending.kind, second.ending.version, second.saved.tokens) == ("refused", 0, 400)
    assert "250 tokens within a day" in second.ending.why
    assert (found.totals.refused, found.totals.over_budget, found.totals.good_stopped) == (1, 1, 2)
    each = backtest(tmp_path / "runs.db", budget=[Allowance(window="run", cost_usd=1.0)]).rows
    assert [(row.ending and row.ending.step, row.saved.cost_usd) for row in each] == [(2, 1.0), (2, 1.0)]
    assert backtest(tmp_path / "runs.db", budget=[Allowance(tokens=800)]).totals.saved.tokens == 0


def test_what_a_kill_saves_is_there_for_the_callers_other_runs(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db") as runtime:
        for _ in range(2):
            runtime.start("worker", "go", caller="alice").result(DEADLINE_S)
    rows = backtest(tmp_path / "runs.db", critic=KillsAt(2), budget=[Allowance(tokens=400)]).rows
    assert [row.ending and row.ending.kind for row in rows] == ["killed", "killed"]


def test_children_end_with_the_run_that_started_them(tmp_path: Path) -> None:
    clock = VirtualClock()

    @tool(effect="pure")
    def look() -> str:
        clock.advance(20)
        return "a tree"

    def slow(request: Any) -> Any:
        return say("hm", call("look"), usage=Usage(90, 10)) if request.step < 4 else say("found")

    agents = [
        Agent("boss", model=ScriptedModel([[call("agent__helper", prompt="look")], "done"]), agents=["helper"]),
        Agent("helper", model=ScriptedModel(slow), tools=[look]),
    ]
    with Runtime(tmp_path / "runs.db", agents, clock=clock) as runtime:
        run = runtime.start("boss", "go")
        assert run.result(DEADLINE_S).status == "ok"

    class Hasty:
        every_s = 30.0

        def review(self, trace: Trace, now: float) -> Any:
            return Kill("too slow")

    found = backtest(tmp_path / "runs.db", critic=lambda info: None if info.parent_run_id else Hasty(), runs=[run.id])
    boss, helper = found.rows
    assert (boss.ending and boss.ending.kind, helper.ending and helper.ending.kind) == ("killed", "parent")
    assert helper.ending is not None
    assert 30 <= helper.ending.at_s <= 31
    assert helper.ending.step == 2
    assert helper.saved.tokens == 100
    assert (found.totals.with_parent, found.totals.good_killed) == (1, 1)


def test_it_reads_and_nothing_else(tmp_path: Path) -> None:
    with work(tmp_path / "runs.db") as runtime:
        runtime.start("worker", "go").result(DEADLINE_S)
    reader = read_journal(tmp_path / "runs.db")
    before = [event.hash for event in reader.scan()]
    told: list[tuple[int, int]] = []
    backtest(reader, critic=KillsAt(2), budget=[Allowance(tokens=1)], progress=lambda *so_far: told.append(so_far))
    assert [event.hash for event in reader.scan()] == before
    assert told[-1] == (len(before), len(before))
    reader.close()


def test_a_run_that_is_not_over_is_neither_good_nor_stuck(tmp_path: Path) -> None:
    agent = Agent("asker", model=ScriptedModel(["yes?"]))
    with Runtime(tmp_path / "runs.db", [agent]) as runtime:
        run = runtime.start("asker", "go", interactive=True)
        wait_for(run, "input-awaited")
        [row] = backtest(tmp_path / "runs.db", critic=StuckCritic()).rows
    assert (row.status, row.was, row.reviews) == ("", "", 1)
