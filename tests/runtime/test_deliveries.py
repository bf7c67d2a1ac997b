"""Where the output of a run goes when it is over: once, again if it must, and never at the cost of the run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from family_support import answers, ask, boss
from runtime_support import DEADLINE_S, AsyncGate, facts, wait_for

from executus import Agent, Allowance, Run, Runtime, ScriptedModel
from executus.adapters.delivery.directory import DirectoryDelivery
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.models.scripted import call
from executus.adapters.tools.files import save_artifact
from executus.errors import BudgetSpent, DeliveryRefused, MessageRefused, UnknownRun
from executus.events import Delivered, DeliveryAttempted, DeliveryFailed, Fact, RunFinished
from executus.journal import verify_run
from executus.ports import Parcel
from executus.testing import VirtualClock


class Post:
    """A delivery that fails as often as it is told to, and what it was handed."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.handed: list[Parcel] = []
        self.made: list[bytes] = []
        self.taken: list[str] = []

    def deliver(self, parcel: Parcel, artifacts: Any) -> str:
        self.handed.append(parcel)
        self.made += [artifacts.get(one.sha256) for one in parcel.artifacts]
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(parcel.output)
        return f"receipt {len(self.taken)}"


def speaker(words: str = "words") -> Agent:
    return Agent("a", model=ScriptedModel([words]))


def of_delivery(run: Run) -> list[Fact]:
    """What the run's log says of its delivery."""
    kinds = (DeliveryAttempted, Delivered, DeliveryFailed)
    return [fact for fact in log_of(run) if isinstance(fact, kinds)]


def log_of(run: Run) -> list[Fact]:
    """All facts, also those after the end."""
    return [event.fact for event in run._runtime.journal.read(run.id)]


def wait_settled(
    runtime: Runtime, run: Run, kind: type[Fact], count: int = 1, clock: VirtualClock | None = None
) -> None:
    """Wait until the run's log has so many facts of the kind; meanwhile every pause is over at once."""
    found = threading.Event()
    leave = runtime.journal.follow(lambda events: found.set())
    try:
        for _ in range(100):
            found.clear()
            said = of_delivery(run)
            if sum(isinstance(fact, kind) for fact in said) >= count:
                return
            if clock is not None and said and isinstance(said[-1], DeliveryFailed):
                clock.advance(3_600)  # no pause is longer
            found.wait(DEADLINE_S / 10)  # far longer than a timer takes to be noticed
    finally:
        leave()
    raise AssertionError(f"no {kind.__name__}: {of_delivery(run)}")


@pytest.mark.parametrize("stored", [False, True])
def test_the_output_is_delivered_once_with_all_that_belongs_to_it(opened: Any, tmp_path: Path, stored: bool) -> None:
    post = Post()
    model = ScriptedModel([[call("save_artifact", name="a.txt", text="made")], "words"])
    runtime = opened(
        tmp_path / "runs.db" if stored else None, [Agent("a", model=model, tools=[save_artifact])], delivery=post
    )
    run = runtime.start("a", "x", caller="alice", channel="c")
    result = run.result(DEADLINE_S)
    wait_settled(runtime, run, Delivered)
    (parcel,) = post.handed
    assert (parcel.status, parcel.output, parcel.stats, parcel.attempt) == ("ok", "words", result.stats, 1)
    assert (parcel.info.run_id, parcel.info.caller_id, parcel.info.channel_id) == (run.id, "alice", "c")
    assert ([one.name for one in parcel.artifacts], post.made) == (["a.txt"], [b"made"])
    assert of_delivery(run) == [
        DeliveryAttempted(attempt=1, key=parcel.key),
        Delivered(attempt=1, receipt="receipt 1"),
    ]
    tags = [type(fact) for fact in log_of(run)]
    assert tags.index(RunFinished) < tags.index(DeliveryAttempted)
    assert verify_run(runtime.journal, run.id) == []


@pytest.mark.parametrize("failure", [OSError("no route"), ValueError("what?"), DeliveryRefused("never"), SystemExit(3)])
def test_a_failure_never_changes_how_the_run_ended(opened: Any, failure: Any) -> None:
    post = Post(*[failure] * 1000)
    runtime = opened(None, [speaker()], delivery=post)
    run = runtime.start("a", "x")
    result = run.result(DEADLINE_S)
    wait_settled(runtime, run, DeliveryFailed)
    assert (result.status, run.status, run.result(DEADLINE_S)) == ("ok", "ok", result)
    ends = [fact for fact in log_of(run) if isinstance(fact, RunFinished)]
    assert len(ends) == 1
    (failed, *_) = [fact for fact in of_delivery(run) if isinstance(fact, DeliveryFailed)]
    assert str(failure) in failed.error
    assert (failed.retry_at_us is None) == isinstance(failure, DeliveryRefused)
    assert runtime.start("a", "x").result(DEADLINE_S).status == "ok"


def test_a_failed_delivery_is_tried_again_with_the_same_key(opened: Any) -> None:
    clock, post = VirtualClock(), Post(OSError("busy"), ConnectionError("gone"))
    runtime = opened(None, [speaker()], delivery=post, clock=clock)
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    wait_settled(runtime, run, Delivered, clock=clock)
    assert (post.taken, [parcel.attempt for parcel in post.handed]) == (["words"], [1, 2, 3])
    assert len({parcel.key for parcel in post.handed}) == 1
    kinds = [type(fact).__name__ for fact in of_delivery(run)]
    assert kinds == ["DeliveryAttempted", "DeliveryFailed"] * 2 + ["DeliveryAttempted", "Delivered"]


def test_what_is_refused_is_a_dead_letter_until_it_is_redelivered(opened: Any) -> None:
    post = Post(DeliveryRefused("no such channel"))
    runtime = opened(None, [speaker()], delivery=post)
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    wait_settled(runtime, run, DeliveryFailed)
    assert (post.taken, of_delivery(run)[-1]) == ([], DeliveryFailed(attempt=1, error="no such channel"))
    runtime.redeliver(run)
    wait_settled(runtime, run, Delivered)
    assert (post.taken, [parcel.attempt for parcel in post.handed]) == (["words"], [1, 2])
    with pytest.raises(MessageRefused, match="it is delivered"):
        runtime.redeliver(run.id)


def test_after_many_failures_it_is_a_dead_letter_too(opened: Any) -> None:
    clock, post = VirtualClock(), Post(*[OSError("down")] * 12)
    runtime = opened(None, [speaker()], delivery=post, clock=clock)
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    wait_settled(runtime, run, DeliveryFailed, 12, clock)
    last = of_delivery(run)[-1]
    assert (post.taken, isinstance(last, DeliveryFailed) and last.retry_at_us) == ([], None)
    runtime.redeliver(run)
    wait_settled(runtime, run, Delivered)
    assert post.taken == ["words"]


def test_an_order_to_deliver_does_not_wait_for_the_pause(opened: Any) -> None:
    clock, post = VirtualClock(), Post(OSError("busy"))
    runtime = opened(None, [speaker()], delivery=post, clock=clock)
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    wait_settled(runtime, run, DeliveryFailed)
    runtime.redeliver(run)
    wait_settled(runtime, run, Delivered)
    assert post.taken == ["words"]


def test_what_cannot_be_delivered_is_refused_with_the_reason(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "words"

    runtime = opened(None, [Agent("a", model=ScriptedModel(answer)), boss(name="quick")], delivery=Post())
    run, kept = runtime.start("a", "x"), runtime.start("quick", "x", deliver=False)
    kept.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match="it is not over"):
        runtime.redeliver(run)
    with pytest.raises(MessageRefused, match="it was not started with a delivery"):
        runtime.redeliver(kept)
    with pytest.raises(UnknownRun):
        runtime.redeliver("00000000-0000-7000-8000-000000000009")
    without = opened(None, [speaker()])
    plain = without.start("a", "x")
    plain.result(DEADLINE_S)
    with pytest.raises(MessageRefused, match=r"this runtime has no delivery: Runtime\(delivery=\.\.\.\)"):
        without.redeliver(plain)


def test_only_roots_that_want_it_are_delivered_whatever_their_end(opened: Any) -> None:
    post, gate = Post(), AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "never"

    agents = [
        boss(ask()),
        Agent("helper", model=ScriptedModel(["child's words"])),
        Agent("b", model=ScriptedModel(answer)),
    ]
    runtime = opened(None, agents, delivery=post)
    family, silent, stopped = (
        runtime.start("boss", "x"),
        runtime.start("boss", "x", deliver=False),
        runtime.start("b", "x"),
    )
    gate.wait_entered()
    stopped.kill("enough")
    for run in (family, stopped):
        run.result(DEADLINE_S)
        wait_settled(runtime, run, Delivered)
    silent.result(DEADLINE_S)
    assert answers(family)[0].text == "child's words"
    assert sorted((parcel.status, parcel.output) for parcel in post.handed) == [("killed", ""), ("ok", "done")]
    assert of_delivery(silent) == []


def test_what_nobody_delivered_is_delivered_after_a_restart(opened: Any, tmp_path: Path) -> None:
    down, up = Post(*[OSError("down")] * 1000), Post()
    runtime = opened(tmp_path / "runs.db", [speaker()], delivery=down)
    run = runtime.start("a", "x")
    result = run.result(DEADLINE_S)
    wait_settled(runtime, run, DeliveryFailed)
    runtime.close()
    again = opened(tmp_path / "runs.db", [], delivery=up)  # the agent is not needed for it
    wait_settled(again, again.run(run.id), Delivered)
    assert (up.taken, again.run(run.id).result(DEADLINE_S)) == (["words"], result)
    assert {parcel.key for parcel in up.handed} == {parcel.key for parcel in down.handed}
    assert up.handed[0].attempt == len(down.handed) + 1
    again.close()
    third = opened(tmp_path / "runs.db", [], delivery=Post())
    with pytest.raises(MessageRefused, match="it is delivered"):
        third.redeliver(run.id)


def test_a_delivery_that_hangs_when_the_host_closes_is_made_by_the_next_one(opened: Any, tmp_path: Path) -> None:
    gate, post = AsyncGate(), Post()

    async def hang(parcel: Parcel, artifacts: Any) -> None:
        await gate.pass_through()

    runtime = opened(tmp_path / "runs.db", [speaker()], delivery=CallbackDelivery(hang))
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    gate.wait_entered()
    assert runtime.close()
    again = opened(tmp_path / "runs.db", [], delivery=post)
    wait_settled(again, again.run(run.id), Delivered)
    assert [(parcel.output, parcel.attempt) for parcel in post.handed] == [("words", 2)]


def test_a_slow_delivery_delays_no_run_and_no_other_parcel(opened: Any) -> None:
    gate, taken = AsyncGate(), []

    async def receive(parcel: Parcel, artifacts: Any) -> None:
        if parcel.info.name == "slow":
            await gate.pass_through()
        taken.append(parcel.info.name)

    runtime = opened(None, [speaker()], delivery=CallbackDelivery(receive))
    slow = runtime.start("a", "x", name="slow")
    gate.wait_entered()
    quick = runtime.start("a", "x", name="quick")
    assert slow.result(DEADLINE_S).status == quick.result(DEADLINE_S).status == "ok"
    wait_settled(runtime, quick, Delivered)
    assert taken == ["quick"]
    gate.open()
    wait_settled(runtime, slow, Delivered)
    assert taken == ["quick", "slow"]


def test_a_run_that_waits_for_a_person_is_delivered_when_it_ends(opened: Any) -> None:
    post = Post()
    runtime = opened(None, [speaker()], delivery=post)
    run = runtime.start("a", "x", interactive=True)
    wait_for(run, "input-awaited")
    assert post.handed == []
    run.end()
    run.result(DEADLINE_S)
    wait_settled(runtime, run, Delivered)
    assert post.taken == ["words"]


def test_output_goes_to_a_folder_and_is_there_once(opened: Any, tmp_path: Path) -> None:
    for _ in range(2):  # the second host finds nothing to do
        runtime = opened(tmp_path / "runs.db", [speaker()], delivery=DirectoryDelivery(tmp_path / "out"))
        if not runtime.runs():
            run = runtime.start("a", "x")
            run.result(DEADLINE_S)
            wait_settled(runtime, run, Delivered)
        runtime.close()
    (parcel,) = list((tmp_path / "out").iterdir())
    texts = [file.read_text() for file in parcel.iterdir()]
    assert any("words" in text for text in texts)


def test_facts_of_a_run_that_are_read_again_hold_its_delivery(opened: Any, tmp_path: Path) -> None:
    """The run's own stream ends with its end; what follows is in its log."""
    runtime = opened(tmp_path / "runs.db", [speaker()], delivery=Post())
    run = runtime.start("a", "x")
    run.result(DEADLINE_S)
    wait_settled(runtime, run, Delivered)
    assert isinstance(facts(run)[-1], RunFinished)
    assert isinstance(log_of(run)[-1], Delivered)


def test_a_start_that_the_budget_refuses_is_delivered_like_any_end_unless_the_host_wants_none(opened: Any) -> None:
    post = Post()
    runtime = opened(None, [speaker()], delivery=post, budget=[Allowance(window="total", tokens=0)])
    with pytest.raises(BudgetSpent):
        runtime.start("a", "x", deliver=False)
    with pytest.raises(BudgetSpent) as caught:
        runtime.start("a", "x", caller="alice", request_id="r1")
    run = runtime.run(caught.value.run_id)
    wait_settled(runtime, run, Delivered)
    (parcel,) = post.handed
    assert (parcel.status, parcel.output, parcel.info.run_id) == ("budget_exceeded", "", run.id)
    assert parcel.info.caller_id == "alice"
    assert "has no room left" in parcel.error
