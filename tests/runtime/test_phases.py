"""Agents that work in phases, one after the other: what each is shown, hands on, and may spend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from family_support import answers, ask, look, taste
from runtime_support import DEADLINE_S, AsyncGate, facts, tags, texts_heard, wait_for
from time_support import CANARY, let_pass

from executus import Agent, ModelRequest, Phase, ScriptedModel, Usage, self_status
from executus.adapters.models.scripted import call, say
from executus.events import BudgetExceeded, OutputRefused, PhaseFinished, PhaseStarted
from executus.journal import verify_run
from executus.testing import VirtualClock


class Watched:
    """A model that keeps what it was shown."""

    def __init__(self, *replies: Any, name: str = "watched") -> None:
        self.requests: list[ModelRequest] = []
        self.model = ScriptedModel(self._answer, name=name)
        self._replies = replies

    def _answer(self, request: ModelRequest) -> Any:
        self.requests.append(request)
        return self._replies[request.step - 1]

    def system(self) -> list[str]:
        """The instructions of each request."""
        return [request.messages[0].parts[0].text for request in self.requests]  # type: ignore[union-attr]


def phase_facts(run: Any) -> list[str]:
    """Starts and ends of phases, in order."""
    return [
        f"{'+' if isinstance(fact, PhaseStarted) else '-'}{fact.phase}"
        for fact in facts(run)
        if isinstance(fact, (PhaseStarted, PhaseFinished))
    ]


# ------------------------------------------------------------------ one after the other


def test_phases_run_in_order_each_with_a_conversation_and_instructions_of_its_own(opened: Any, tmp_path: Path) -> None:
    watched = Watched([call("look", at=1)], "plan A", "draft B", "final C")
    phases = [Phase("plan", instructions="Plan."), Phase("draft", instructions="Draft."), Phase("polish")]
    agent = Agent("a", model=watched.model, instructions="Be good.", tools=[look], phases=phases)
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "Write.")
    assert run.result(DEADLINE_S).output == "final C"
    assert phase_facts(run) == ["+plan", "-plan", "+draft", "-draft", "+polish", "-polish"]
    assert watched.system() == ["Be good.\n\nPlan.", "Be good.\n\nPlan.", "Be good.\n\nDraft.", "Be good."]
    assert [texts_heard(request) for request in watched.requests[2:]] == [
        ["Write.", "Output of phase plan:\nplan A"],
        ["Write.", "Output of phase plan:\nplan A", "Output of phase draft:\ndraft B"],
    ]
    assert [len(request.messages) for request in watched.requests] == [2, 4, 2, 2]
    assert run.result().stats.steps == 4
    assert verify_run(runtime.journal, run.id) == []


def test_a_phase_has_its_own_model_tools_and_tier_or_its_agent_s(opened: Any) -> None:
    main, other, small = Watched("one", name="main"), Watched("", "two", name="other"), Watched("", "", "three")
    phases = [Phase("one"), Phase("two", model=other.model, tools=[taste]), Phase("three", tier="small", tools=[])]
    agent = Agent("a", model=main.model, tools=[look], phases=phases)
    run = opened(None, [agent], tiers={"small": small.model}).start("a", "x")
    assert run.result(DEADLINE_S).output == "three"
    shown = [[spec.name for spec in one.requests[0].tools] for one in (main, other, small)]
    assert shown == [["look"], ["taste"], []]
    first: Any = facts(run)[0]
    assert [(one.name, one.model, one.tools) for one in first.agent.phases] == [
        ("one", "main", ("look",)),
        ("two", "other", ("taste",)),
        ("three", "tier:small", ()),
    ]


def test_a_phase_cannot_call_the_tools_of_another(opened: Any) -> None:
    phases = [Phase("one", tools=[look]), Phase("two", tools=[taste])]
    agent = Agent("a", model=ScriptedModel(["first", [call("look", at=1)], "second"]), phases=phases)
    run = opened(None, [agent]).start("a", "x")
    assert run.result(DEADLINE_S).output == "second"
    (answer,) = answers(run)
    assert answer.is_error
    assert "look" in answer.text


def test_advice_given_during_a_phase_s_last_words_is_read_in_that_phase(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        if request.step == 1:
            await gate.pass_through()
        return " ".join(texts_heard(request))

    agent = Agent("a", model=ScriptedModel(answer), phases=[Phase("one"), Phase("two")])
    run = opened(None, [agent]).start("a", "Begin.")
    gate.wait_entered()
    run.steer("Wait.")
    gate.open()
    assert run.result(DEADLINE_S).stats.steps == 3
    finished = next(fact for fact in facts(run) if isinstance(fact, PhaseFinished))
    assert finished == PhaseFinished(phase="one", output="Begin. Wait.")


def test_a_phase_hands_its_work_to_children_too(opened: Any) -> None:
    agents = [
        Agent("a", model=ScriptedModel(["one", [ask()], "two"]), agents=["helper"], phases=[Phase("1"), Phase("2")]),
        Agent("helper", model=ScriptedModel(["helped"])),
    ]
    run = opened(None, agents).start("a", "x")
    assert run.result(DEADLINE_S).output == "two"
    assert (answers(run)[0].text, len(run.children())) == ("helped", 1)


def test_an_interactive_run_with_phases_waits_after_the_last_one_and_goes_on_in_it(opened: Any) -> None:
    agent = Agent("a", model=ScriptedModel(["one", "two", "three"]), phases=[Phase("1"), Phase("2")])
    run = opened(None, [agent]).start("a", "x", interactive=True)
    wait_for(run, "input-awaited")
    assert (phase_facts(run), run.state().phase, run.state().output) == (["+1", "-1", "+2", "-2"], "2", "two")
    run.send("more")
    wait_for(run, "input-awaited", 2)
    run.end()
    assert run.result(DEADLINE_S).output == "three"
    assert phase_facts(run) == ["+1", "-1", "+2", "-2"]


# ------------------------------------------------------------------ output that must fit


class Plan(msgspec.Struct):
    steps: list[str]
    days: int


GOOD = '{"steps": ["a"], "days": 3}'


def test_a_phase_s_output_must_fit_and_the_model_is_told_what_did_not(opened: Any) -> None:
    watched = Watched("three days", '{"steps": ["a"], "days": "many"}', f"```json\n{GOOD}\n```", "done")
    agent = Agent("a", model=watched.model, phases=[Phase("plan", output=Plan), Phase("do")])
    run = opened(None, [agent]).start("a", "x")
    assert run.result(DEADLINE_S).output == "done"
    refused = [fact.reason for fact in facts(run) if isinstance(fact, OutputRefused)]
    assert len(refused) == 2
    assert "Expected `int`, got `str` - at `$.days`" in refused[1]
    assert [texts_heard(request)[1:] for request in watched.requests[:3]] == [[], refused[:1], refused]
    assert '"days"' in watched.system()[0]
    assert "days" not in watched.requests[3].messages[0].parts[0].text.partition("Output of")[0]  # type: ignore[union-attr]
    assert phase_facts(run) == ["+plan", "-plan", "+do", "-do"]


def test_the_output_of_an_agent_without_phases_must_fit_as_well(opened: Any) -> None:
    agent = Agent("a", model=ScriptedModel(["soon", GOOD]), output=Plan)
    result = opened(None, [agent]).start("a", "x").result(DEADLINE_S)
    assert (result.output, result.stats.steps) == (GOOD, 2)


def test_output_that_never_fits_ends_at_the_phase_s_ceiling_with_the_last_words(opened: Any) -> None:
    agent = Agent("a", model=ScriptedModel(lambda r: f"no {r.step}"), phases=[Phase("plan", output=Plan, max_steps=3)])
    run = opened(None, [agent]).start("a", "x")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.output) == ("error", "ceiling", "no 3")
    assert result.reason == "phase plan's ceiling of 3 steps is reached"
    assert phase_facts(run) == ["+plan"]


# ------------------------------------------------------------------ what a phase may spend


def looker(usage: Usage = Usage(90, 10, cost_usd=0.125), calls: int = 1) -> ScriptedModel:
    """First says "planned"; then looks for ever."""

    def answer(request: Any) -> Any:
        if request.step == 1:
            return say("planned", usage=usage)
        return say(f"step {request.step}", *(call("look", at=n) for n in range(calls)), usage=usage)

    return ScriptedModel(answer)


@pytest.mark.parametrize(
    ("limits", "status", "by", "why", "steps"),
    [
        ({"max_steps": 3}, "error", "ceiling", "phase two's ceiling of 3 steps is reached", 4),
        ({"max_tool_calls": 2}, "budget_exceeded", "limits", "phase two's limit of 2 tool calls is reached: 2 used", 3),
        ({"max_tokens": 400}, "budget_exceeded", "limits", "phase two's limit of 400 tokens is reached: 400 used", 5),
        (
            {"max_cost_usd": 0.5},
            "budget_exceeded",
            "limits",
            "phase two's limit of 0.5 dollars is reached: 0.5 used",
            5,
        ),
    ],
)
def test_the_limits_of_a_phase_count_from_its_beginning(
    opened: Any, limits: dict[str, Any], status: str, by: str, why: str, steps: int
) -> None:
    agent = Agent("a", model=looker(), tools=[look], phases=[Phase("one"), Phase("two", **limits)])
    run = opened(None, [agent]).start("a", "x")
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.reason, result.stats.steps) == (status, by, why, steps)
    assert result.output == f"step {steps}"
    assert phase_facts(run) == ["+one", "-one", "+two"]
    scopes = [fact.scope for fact in facts(run) if isinstance(fact, BudgetExceeded)]
    assert scopes == ([] if status == "error" else ["phase two"])


def test_a_phase_makes_no_more_tool_calls_than_it_may_in_one_reply(opened: Any) -> None:
    phases = [Phase("one"), Phase("two", max_tool_calls=2)]
    agent = Agent("a", model=looker(calls=5), tools=[look], phases=phases, max_tool_calls=100)
    run = opened(None, [agent]).start("a", "x")
    assert run.result(DEADLINE_S).stats.tool_calls == 2
    refused = [one.text for one in answers(run) if one.is_error]
    assert refused == ["phase two's limit of 2 tool calls is reached"] * 3


def test_the_run_s_limits_hold_over_all_its_phases(opened: Any) -> None:
    model = ScriptedModel(lambda r: [call("look", at=r.step)] if r.step % 3 else f"phase {r.step // 3}")
    phases = [Phase(str(number), max_steps=50) for number in range(5)]
    agent = Agent("a", model=model, tools=[look], phases=phases, max_steps=7, max_tool_calls=100)
    run = opened(None, [agent]).start("a", "x")
    result = run.result(DEADLINE_S)
    assert (result.status, result.stats.steps) == ("error", 7)
    assert result.reason == "the ceiling of 7 steps is reached"
    assert result.output == "phase 2"


def test_a_phase_s_deadline_counts_from_its_beginning(opened: Any) -> None:
    clock, gates = VirtualClock(), [AsyncGate(), AsyncGate()]

    async def answer(request: Any) -> str:
        await gates[request.step - 1].pass_through()
        return f"words {request.step}"

    phases = [Phase("one", timeout_s=100.0), Phase("two", timeout_s=100.0)]
    runtime = opened(None, [Agent("a", model=ScriptedModel(answer), phases=phases), CANARY], clock=clock)
    run = runtime.start("a", "x")
    gates[0].wait_entered()
    clock.advance(90)
    gates[0].open()
    gates[1].wait_entered()
    let_pass(runtime, clock, 90)
    assert run.status == "running"
    clock.advance(11)
    result = run.result(DEADLINE_S)
    assert (result.status, result.by, result.output) == ("timeout", "deadline", "words 1")
    assert result.reason == "phase two's deadline of 100 s is over"


def test_the_model_is_told_when_a_phase_has_used_most_of_a_limit_and_can_ask(opened: Any) -> None:
    usage = Usage(90, 10)

    def answer(request: Any) -> Any:
        if request.step == 1:
            return say("planned", usage=usage)
        return say("again", call("self_status"), usage=usage)

    phases = [Phase("one"), Phase("two", max_tokens=1_000)]
    run = opened(None, [Agent("a", model=ScriptedModel(answer), tools=[self_status], phases=phases)]).start("a", "x")
    assert run.result(DEADLINE_S).status == "budget_exceeded"
    told = [one for message in run.transcript() for one in message.parts if "Notice" in getattr(one, "text", "")]
    assert [one.text.partition("(")[2][:3] for one in told] == ["80%"]  # type: ignore[union-attr]
    assert told[0].text.startswith("Notice: phase two has used 800 of 1000 tokens")  # type: ignore[union-attr]
    status = json.loads(answers(run)[2].text)
    assert status["phase"] == "two"
    assert {"measure": "tokens", "used": 300.0, "limit": 1000, "left": 700.0, "phase": "two"} in status["limits"]


# ------------------------------------------------------------------ after a restart, and after a limit


def test_a_resumed_run_skips_the_phases_that_are_finished(opened: Any, tmp_path: Path) -> None:
    gate, asked = AsyncGate(), []

    async def answer(request: Any) -> str:
        asked.append(request.step)
        if request.step == 2 and request.attempt == 1:
            await gate.pass_through()
        return f"words {request.step}"

    agent = Agent("a", model=ScriptedModel(answer), phases=[Phase("one"), Phase("two"), Phase("three")])
    runtime = opened(tmp_path / "runs.db", [agent])
    run = runtime.start("a", "x")
    gate.wait_entered()
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert again.result(DEADLINE_S).output == "words 3"
    assert asked == [1, 2, 2, 3]
    assert phase_facts(again) == ["+one", "-one", "+two", "-two", "+three", "-three"]


def test_a_run_that_goes_on_after_a_limit_skips_finished_phases_and_knows_what_they_said(opened: Any) -> None:
    watched = Watched("plan", [call("look", at=2)], "draft", "polished")
    phases = [Phase("plan"), Phase("draft"), Phase("polish")]
    runtime = opened(None, [Agent("a", model=watched.model, tools=[look], phases=phases)])
    first = runtime.start("a", "x", limits={"max_steps": 2})
    assert first.result(DEADLINE_S).reason == "the ceiling of 2 steps is reached"
    second = runtime.resume(first, limits={"max_steps": 10})
    assert second.result(DEADLINE_S).output == "polished"
    assert [request.step for request in watched.requests] == [1, 2, 3, 4]
    assert phase_facts(second) == ["-draft", "+polish", "-polish"]
    assert texts_heard(watched.requests[3]) == ["x", "Output of phase plan:\nplan", "Output of phase draft:\ndraft"]
    assert answers(second) == []  # of the last phase
    assert tags(second)[:2] == ["run-started", "run-forked"]


def test_a_run_stopped_between_phases_goes_on_with_the_next(opened: Any) -> None:
    """A limit that is reached with a phase's last words leaves that phase finished."""
    watched = Watched("plan", "draft")
    runtime = opened(None, [Agent("a", model=watched.model, phases=[Phase("plan"), Phase("draft")])])
    first = runtime.start("a", "x", limits={"max_steps": 1})
    assert first.result(DEADLINE_S).status == "error"
    second = runtime.resume(first, limits={"max_steps": 10})
    assert second.result(DEADLINE_S).output == "draft"
    assert texts_heard(watched.requests[1]) == ["x", "Output of phase plan:\nplan"]
