"""A critic in another process: what it says is done, and what becomes of it costs a run nothing but the critic."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attach_support import Talker, Turnstile, short_room
from runtime_support import DEADLINE_S, facts, tags, wait_for

from executus import Agent, Continue, Listen, OutsideCritic, Run, Runtime, ScriptedModel, StuckCritic, attach
from executus.actors import critic as watching
from executus.adapters.critics.outside import CriticGone
from executus.adapters.critics.several import Critics
from executus.errors import ControlRefused, HostUnreachable
from executus.events import (
    CeilingRaised,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticSteered,
    DeadlineExtended,
    Event,
)
from executus.projections.essence import essence_of
from executus.projections.trace import Trace
from executus.wire.requests import Done, GiveReview, NextReview, ReviewWanted


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE_S", 0.05)


@pytest.fixture
def room() -> Iterator[Path]:
    with short_room() as folder:
        yield folder


def critic_process(room: Path, kind: str, name: str = "tutor", *more: object) -> Talker:
    return Talker("critic_process.py", room / "runs.db", kind, name, *more)


def found(run: Run, kind: type[Any]) -> Any:
    [fact] = [fact for fact in facts(run) if type(fact) is kind]
    return fact


def watched(room: Path, turns: Turnstile, steps: int = 3, **terms: Any) -> Runtime:
    agent = turns.agent(steps=steps, timeout_s=100, soft_timeout_s=90)
    critic = OutsideCritic("tutor", **{"every_steps": 1, "wait_s": 10.0, **terms})
    return Runtime(room / "runs.db", [agent], critic=critic, listen="ipc")


# ------------------------------------------------------------------ what it says is done


@pytest.mark.parametrize("way", ["", "-async", "-on-loop"])
def test_its_advice_is_in_the_log_under_its_name(room: Path, way: str) -> None:
    turns = Turnstile()
    with watched(room, turns) as rt, critic_process(room, f"steer{way}") as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        wait_for(run, "critic-steered")
        fact = next(fact for fact in facts(run) if isinstance(fact, CriticSteered))
        assert (fact.text, fact.by, fact.evidence) == ("Be brief.", "tutor", {"rule": "brevity"})
        wait_for(run, "tool-started")
        turns.turn()
        wait_for(run, "critic-steered", 2)
        turns.turn(2)
        assert run.result(DEADLINE_S).status == "ok"
        critic.say()
        assert critic.wait_for("cancelled" if way == "-on-loop" else "ended").split()[-1] in ("True", "ended")
        assert critic.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("kind", "tag", "fact_type", "fields"),
    [
        ("observe", "critic-observed", CriticObserved, {"text": "I see.", "evidence": {"seen": [1, 2.5, None]}}),
        ("extend", "deadline-extended", DeadlineExtended, {"reason": "it is at work"}),
        ("raise", "ceiling-raised", CeilingRaised, {"reason": "it is near"}),
        ("kill", "critic-killed", CriticKilled, {"reason": "enough", "evidence": {"rule": "cost"}}),
    ],
)
def test_each_verdict_leads_to_its_fact(
    room: Path, kind: str, tag: str, fact_type: type[Any], fields: dict[str, Any]
) -> None:
    turns = Turnstile()
    with watched(room, turns, steps=1) as rt, critic_process(room, kind) as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        wait_for(run, tag)
        fact = next(fact for fact in facts(run) if type(fact) is fact_type)
        assert {name: getattr(fact, name) for name in ("by", *fields)} == {"by": "tutor", **fields}
        turns.turn()
        assert run.result(DEADLINE_S).status == ("killed" if kind == "kill" else "ok")


def test_what_a_review_cost_is_charged_to_the_run(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns, steps=1) as rt, critic_process(room, "judged") as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        wait_for(run, "critic-reviewed")
        [bill] = [event for event in run.events().poll() if event.tag == "critic-reviewed"]
        assert (bill.fact.usage.input, bill.fact.usage.cost_usd, bill.fact.by) == (7, 0.25, "tutor")  # type: ignore[union-attr]
        turns.turn()
        run.result(DEADLINE_S)


# ------------------------------------------------------------------ what becomes of it


def essences(events: list[Event]) -> list[dict[str, Any]]:
    return [essence_of(event.fact) for event in events if event.tag != "critic-lost"]


def life_without_a_critic(room: Path) -> list[dict[str, Any]]:
    turns = Turnstile()
    turns.turn(3)
    with Runtime(room / "without.db", [turns.agent(timeout_s=100, soft_timeout_s=90)]) as rt:
        run = rt.start("clerk", "go")
        run.result(DEADLINE_S)
        return essences(run.events().poll())


def lost_alone(room: Path, run: Run) -> str:
    """Why the critic was lost; and that this is all that a run without one has not in its log."""
    events = run.events().poll()
    assert [event.tag for event in events].count("critic-lost") == 1
    assert essences(events) == life_without_a_critic(room)
    [why] = [event.fact.reason for event in events if isinstance(event.fact, CriticLost)]
    return why


@pytest.mark.parametrize("when", ["during a review", "between reviews", "never there"])
def test_a_process_that_is_gone_costs_the_run_its_critic_and_nothing_else(room: Path, when: str) -> None:
    turns = Turnstile()
    with watched(room, turns, wait_s=0.3) as rt:
        if when == "never there":
            run = rt.start("clerk", "go")
        else:
            kind = "hold" if when == "during a review" else "silent"
            with critic_process(room, kind, "tutor", room / "never") as critic:
                critic.wait_for("serving")
                run = rt.start("clerk", "go")
                critic.wait_for("asked 1")
                critic.kill()
            turns.turn()
        wait_for(run, "critic-lost")
        turns.turn(3)
        assert run.result(DEADLINE_S).status == "ok"
        assert "no process serves the critic 'tutor'" in lost_alone(room, run)


def test_hard_limits_hold_when_it_is_gone(room: Path) -> None:
    turns = Turnstile()
    agent = turns.agent(timeout_s=1.5, soft_timeout_s=0.1)
    with Runtime(room / "runs.db", [agent], critic=OutsideCritic("tutor"), listen="ipc") as rt:
        with critic_process(room, "hold", "tutor", room / "never") as critic:
            critic.wait_for("serving")
            run = rt.start("clerk", "go")
            critic.wait_for("asked")
            critic.kill()
        assert run.result(DEADLINE_S).status == "timeout"
        turns.turn()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("boom", "ValueError: boom"),
        ("nonsense", "expected a Verdict"),
        ("huge", "at most 48,000 bytes"),
    ],
)
def test_a_critic_that_fails_is_asked_again_and_then_lost_while_its_process_goes_on(
    room: Path, kind: str, why: str
) -> None:
    turns = Turnstile()
    with watched(room, turns) as rt, critic_process(room, kind) as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        for _ in range(3):
            critic.wait_for("asked")
        wait_for(run, "critic-lost")
        turns.turn(3)
        run.result(DEADLINE_S)
        assert why in lost_alone(room, run)
        turns.turn(3)
        rt.start("clerk", "again")
        critic.wait_for("asked")
        assert critic.process.poll() is None


@pytest.mark.parametrize("how", ["hangs", "is stopped"])
def test_a_critic_that_does_not_answer_is_lost(room: Path, how: str) -> None:
    turns = Turnstile()
    with watched(room, turns, timeout_s=0.5, wait_s=0.2) as rt, critic_process(room, "hang") as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        critic.wait_for("asked")
        if how == "is stopped":
            os.kill(critic.process.pid, signal.SIGSTOP)
        wait_for(run, "critic-lost")
        turns.turn(3)
        run.result(DEADLINE_S)
        lost_alone(room, run)


@pytest.mark.parametrize("said", ["{", "null", '{"verdict":"sing"}', '{"verdict":"extend","seconds":-1}'])
def test_garbage_from_a_process_is_a_failure_of_its_critic(room: Path, said: str) -> None:
    turns = Turnstile()
    with watched(room, turns) as rt, attach(room / "runs.db", host=True) as host:
        line = host.live_line()
        assert line is not None
        run = rt.start("clerk", "go")
        for _ in range(3):
            wanted = ReviewWanted()
            while not wanted.id:
                wanted = line.ask(NextReview(critic="tutor", wait_s=1), ReviewWanted)
            with pytest.raises(ControlRefused, match="this is no verdict") as refused:
                line.ask(GiveReview(critic="tutor", review=wanted.id, verdict=said), Done)
            assert refused.value.kind == "malformed"
            with pytest.raises(ControlRefused, match="nobody waits for this review") as late:
                line.ask(GiveReview(critic="tutor", review=wanted.id, verdict='{"verdict":"continue"}'), Done)
            assert late.value.kind == "expired"
        wait_for(run, "critic-lost")
        turns.turn(3)
        run.result(DEADLINE_S)
        assert "this is no verdict" in lost_alone(room, run)


# ------------------------------------------------------------------ restarts, and more than one


def test_a_review_whose_process_was_killed_goes_to_the_next_one(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns, wait_s=DEADLINE_S) as rt:
        with critic_process(room, "hold", "tutor", room / "never") as first:
            first.wait_for("serving")
            run = rt.start("clerk", "go")
            first.wait_for("asked 1")
            first.kill()
        with critic_process(room, "steer") as second:
            second.wait_for("asked 1")
            wait_for(run, "critic-steered")
            turns.turn(3)
            run.result(DEADLINE_S)
        assert "critic-lost" not in tags(run)


def test_a_critic_that_starts_after_the_host_is_waited_for(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns, steps=1, wait_s=DEADLINE_S) as rt:
        run = rt.start("clerk", "go")
        wait_for(run, "tool-started")
        with critic_process(room, "steer") as critic:
            critic.wait_for("asked 1")
            wait_for(run, "critic-steered")
            turns.turn()
            run.result(DEADLINE_S)
        assert "critic-lost" not in tags(run)


def test_of_two_processes_each_review_is_answered_by_one(room: Path) -> None:
    turns = Turnstile()
    runs = 6
    with (
        watched(room, turns, steps=1) as rt,
        critic_process(room, "observe") as one,
        critic_process(room, "observe") as other,
    ):
        one.wait_for("serving")
        other.wait_for("serving")
        started = [rt.start("clerk", f"go {number}") for number in range(runs)]
        for run in started:
            wait_for(run, "critic-observed")
        turns.turn(runs)
        for run in started:
            assert run.result(DEADLINE_S).status == "ok"
        wanted = sum(fact for run in started for fact in [tags(run).count("critic-observed")])
        for process in (one, other):
            process.say()
            process.wait_for("ended")
        asked = [line for process in (one, other) for line in process.lines if line.startswith("asked")]
        assert runs <= wanted <= len(asked) <= 2 * runs


def test_when_one_of_two_is_killed_the_other_takes_over_its_review(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns, steps=1, wait_s=0.1) as rt:
        with critic_process(room, "hold", "tutor", room / "never") as one:
            one.wait_for("serving")
            run = rt.start("clerk", "go")
            one.wait_for("asked 1")
            with critic_process(room, "steer") as other:
                other.wait_for("serving")
                threading.Timer(0.3, one.kill).start()
                other.wait_for("asked 1")
                wait_for(run, "critic-steered")
                turns.turn()
                run.result(DEADLINE_S)
        assert "critic-lost" not in tags(run)


def test_it_goes_on_serving_when_the_host_is_opened_anew(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns, wait_s=DEADLINE_S) as rt, critic_process(room, "steer") as critic:
        critic.wait_for("serving")
        run = rt.start("clerk", "go")
        wait_for(run, "critic-steered")
        rt.close()
        with watched(room, turns, wait_s=DEADLINE_S) as again:
            new = again.start("clerk", "another")
            wait_for(new, "critic-steered")
            turns.turn(8)
            assert new.result(DEADLINE_S).status == "ok"
            assert again.run(run.id).result(DEADLINE_S).status == "ok"
            assert "critic-lost" not in tags(again.run(run.id))


# ------------------------------------------------------------------ who may, and what is said


def test_a_name_that_the_host_does_not_want_is_refused(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns), attach(room / "runs.db") as host:
        with pytest.raises(ControlRefused, match="wants no critic 'judge'; it wants: tutor"):
            host.serve_critic(Steadfast(), name="judge")
        with pytest.raises(ControlRefused, match="wants no critic 'steadfast'"):
            asyncio.run(host.serve_critic_async(Steadfast()))
        with pytest.raises(TypeError, match="expected a Critic"):
            host.serve_critic(object(), name="tutor")


class Steadfast:
    name = "steadfast"

    def review(self, trace: Trace, now: float) -> Continue:
        """See `Critic`."""
        return Continue()


def test_serving_ends_when_what_serves_is_closed(room: Path) -> None:
    turns = Turnstile()
    with watched(room, turns):
        host = attach(room / "runs.db")
        serving = threading.Thread(target=host.serve_critic, args=(Steadfast(),), kwargs={"name": "tutor"})
        serving.start()
        host.close()
        serving.join(DEADLINE_S)
        assert not serving.is_alive()


def test_without_a_host_there_is_nobody_to_serve(room: Path) -> None:
    with Runtime(room / "runs.db", [Agent("clerk", model=ScriptedModel([]))]):
        pass
    with attach(room / "runs.db", timeout=0.1) as host, pytest.raises(HostUnreachable, match="listen="):
        host.serve_critic(Steadfast())


def test_a_host_that_does_not_listen_says_that_it_would_have_to(room: Path) -> None:
    with pytest.raises(ValueError, match=r"'tutor' is of another process, which needs Runtime\(listen=...\)"):
        Runtime(room / "runs.db", [Agent("clerk", model=ScriptedModel([]))], critic=OutsideCritic("tutor"))
    with pytest.raises(ValueError, match="'tutor' is of another process"):
        Runtime(room / "runs.db", [Agent("clerk", model=ScriptedModel([]), critic=OutsideCritic("tutor"))])


def test_the_critic_of_an_agent_is_served_too(room: Path) -> None:
    turns = Turnstile()
    agent = turns.agent(steps=1, critic=OutsideCritic("tutor", every_steps=1, wait_s=DEADLINE_S))
    with Runtime(room / "runs.db", [agent], listen="ipc") as rt, critic_process(room, "steer") as critic:
        run = rt.start("clerk", "go")
        critic.wait_for("asked 1")
        wait_for(run, "critic-steered")
        turns.turn()
        run.result(DEADLINE_S)


def test_a_member_of_several_is_served_when_the_terms_name_it(room: Path) -> None:
    turns = Turnstile()
    tutor = OutsideCritic("tutor", every_steps=1, wait_s=DEADLINE_S)
    agent = turns.agent(steps=1)
    both = Critics(StuckCritic(), tutor)
    with (
        Runtime(room / "runs.db", [agent], critic=both, listen=Listen(critics=[tutor])) as rt,
        critic_process(room, "steer") as critic,
    ):
        run = rt.start("clerk", "go")
        critic.wait_for("asked 1")
        wait_for(run, "critic-steered")
        assert found(run, CriticSteered).evidence["critic"] == "tutor"
        turns.turn()
        assert run.result(DEADLINE_S).status == "ok"


def test_one_that_no_terms_name_says_so() -> None:
    critic = OutsideCritic("tutor")
    with pytest.raises(CriticGone, match=r"name it in Listen\(critics=\[...\]\)"):
        asyncio.run(critic.review(Trace(), 0.0))


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "x" * 65}, {"name": 7}, {"wait_s": -1}, {"wait_s": "x"}])
def test_a_name_or_time_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="OutsideCritic, "):
        OutsideCritic(**{"name": "tutor", **wrong})


def test_terms_take_no_other_critics_and_no_name_twice() -> None:
    with pytest.raises(TypeError, match="expected an OutsideCritic"):
        Listen(critics=[StuckCritic()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="critics: each needs a name of its own"):
        Listen(critics=[OutsideCritic("tutor"), OutsideCritic("tutor")])
