"""Runs that hand work to other runs: how an agent or a skill is called, and what becomes of the call."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from family_support import Line, answers, ask, begun, born, boss, child_of, ended, look, refusals, taste
from runtime_support import DEADLINE_S, AsyncGate, FunctionModel, facts, said, tags, texts_heard

from executus import Agent, Delegate, Progress, ScriptedModel, Skill, tool
from executus.adapters.models.scripted import call
from executus.adapters.palette.registered import RegisteredPalette
from executus.errors import MessageRefused
from executus.events import CallerSteered, Text, ToolCall, Totals
from executus.journal import verify_run


def helper(**options: Any) -> Agent:
    """Looks once, then says what it was asked."""

    def answer(request: Any) -> Any:
        return [call("look", at=1)] if request.step == 1 else f"asked: {texts_heard(request)[0]}"

    return Agent("helper", model=ScriptedModel(answer, name="big"), tools=[look, taste], **options)


@pytest.fixture(params=["memory", "stored"])
def where(request: Any, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "runs.db"


# ------------------------------------------------------------------ a child is a run


def test_a_called_agent_is_a_run_of_its_own_whose_last_words_answer_the_call(opened: Any, where: Any) -> None:
    runtime = opened(where, [boss(ask(prompt="Look.")), helper()])
    run = runtime.start("boss", "go", caller="alice", channel="c", guild="g")
    assert run.result(DEADLINE_S).output == "done"
    assert [(one.name, one.text, one.is_error) for one in answers(run)] == [("agent__helper", "asked: Look.", False)]
    (child,) = run.children()
    assert child.result(DEADLINE_S).output == "asked: Look."
    info = begun(child).info
    assert (info.parent_run_id, info.root_run_id, info.depth) == (run.id, run.id, 1)
    assert (info.name, info.caller_id, info.channel_id, info.guild_id) == ("helper", "alice", "c", "g")
    assert tags(child)[:4] == ["run-started", "step-started", "step-completed", "tool-started"]
    assert verify_run(runtime.journal, run.id) == verify_run(runtime.journal, child.id) == []


def test_the_lineage_of_a_deep_child_names_its_parent_and_the_root(opened: Any) -> None:
    line = Line()
    top, middle, bottom = line.start(opened(None, line.agents))
    line.gate.open()
    assert top.result(DEADLINE_S).status == "ok"
    infos = [begun(run).info for run in (top, middle, bottom)]
    assert [info.depth for info in infos] == [0, 1, 2]
    assert [info.parent_run_id for info in infos] == ["", top.id, middle.id]
    assert [info.root_run_id for info in infos] == ["", top.id, top.id]
    assert answers(middle)[0].text == "bottom's words"


def test_the_parent_counts_what_the_family_spent_beside_what_it_spent_itself(opened: Any) -> None:
    run = opened(None, [boss(ask(), ask()), helper()]).start("boss", "go")
    own = run.result(DEADLINE_S).stats
    spent = [child.result(DEADLINE_S).stats for child in run.children()]
    finish: Any = facts(run)[-1]
    assert finish.family == Totals(
        steps=4, tool_calls=2, tokens=sum(one.input_tokens + one.output_tokens for one in spent)
    )
    assert (own.steps, own.tool_calls) == (2, 2)
    assert [one.spent.tool_calls for one in ended(run)] == [1, 1]


def test_children_of_one_reply_run_at_the_same_time_and_answer_in_the_order_of_the_calls(opened: Any) -> None:
    together = threading.Barrier(3)

    class Meeting(FunctionModel):
        def reply(self, request: Any) -> Any:  # type: ignore[override]
            together.wait(DEADLINE_S)
            return said(texts_heard(request)[0])

    agents = [boss(ask(prompt="a"), ask(prompt="b"), ask(prompt="c")), Agent("helper", model=Meeting(lambda _: None))]
    run = opened(None, agents).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert [one.text for one in answers(run)] == ["a", "b", "c"]
    assert [begun(child).input for child in run.children()] == [(Text("a"),), (Text("b"),), (Text("c"),)]


def test_a_child_that_fails_is_an_error_for_its_parent_which_goes_on(opened: Any) -> None:
    failing = Agent("helper", model=ScriptedModel([["Half.", call("look", at=1)]]), tools=[look])
    run = opened(None, [boss(ask()), failing]).start("boss", "go")
    assert run.result(DEADLINE_S).status == "ok"
    (over,) = ended(run)
    (answer,) = answers(run)
    assert over.status == "error"
    assert answer.is_error
    assert answer.text.startswith("It ended with status error.")
    assert answer.text.endswith("Half.")


# ------------------------------------------------------------------ skills


SUM = Skill(
    "sum",
    instructions="Add them up.",
    inputs={
        "type": "object",
        "properties": {"of": {"type": "array", "items": {"type": "integer"}}},
        "required": ["of"],
    },
)


def test_a_skill_gets_its_inputs_as_json_and_its_caller_s_model(opened: Any) -> None:
    def answer(request: Any) -> Any:
        system = request.messages[0].parts[0].text if request.messages[0].role == "system" else ""
        if system == "Add them up.":
            return f"sum of {texts_heard(request)[0]}"
        return [call("skill__sum", of=[1, 2])] if request.step == 1 else "done"

    agent = Agent("boss", model=ScriptedModel(answer, name="mine"), skills=["sum"])
    run = opened(None, [agent], skills=[SUM]).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert answers(run)[0].text == 'sum of {"of":[1,2]}'
    first = begun(child_of(run))
    assert (first.info.inputs, first.agent.kind, first.agent.model) == ({"of": [1, 2]}, "skill", "mine")
    assert [one.kind for one in born(run)] == ["skill"]


def test_inputs_that_do_not_fit_a_skill_are_told_to_the_model_and_start_nothing(opened: Any) -> None:
    wrong = [call("skill__sum", of=["x"]), call("skill__sum"), ToolCall("", "skill__sum", "[")]
    run = opened(None, [boss(*wrong, agents=(), skills=["sum"])], skills=[SUM]).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    first, second, third = refusals(run)
    assert "`of[0]`: expected integer, got string" in first
    assert "`of` is missing; expected a JSON object of {of}" in second
    assert "the inputs do not fit" in third
    assert run.children() == []


# ------------------------------------------------------------------ the palette


def test_the_palette_is_asked_for_each_caller(opened: Any) -> None:
    agents = [boss(ask()), helper()]
    palette = RegisteredPalette(
        agents, allow=lambda caller, kind, name: (caller, kind, name) == ("alice", "agent", "helper")
    )
    runtime = opened(None, agents, palette=palette)
    alice, bob = (runtime.start("boss", "go", caller=caller) for caller in ("alice", "bob"))
    assert {alice.result(DEADLINE_S).status, bob.result(DEADLINE_S).status} == {"ok"}
    assert (len(alice.children()), bob.children()) == (1, [])
    assert refusals(bob) == [
        "agent__helper is not configured: no agent named 'helper' is registered here for this caller"
    ]


def test_an_entry_that_nobody_configured_is_shown_and_says_so_at_its_first_call(opened: Any) -> None:
    shown: list[list[str]] = []

    def answer(request: Any) -> Any:
        shown.append([spec.name for spec in request.tools])
        return [ask("nobody"), call("skill__nothing", any=1)] if request.step == 1 else "went on"

    agent = Agent("boss", model=ScriptedModel(answer), agents=["nobody"], skills=["nothing"])
    run = opened(None, [agent]).start("boss", "go")
    assert run.result(DEADLINE_S).output == "went on"
    assert shown[0] == ["agent__nobody", "skill__nothing"]
    assert [one.partition(":")[0] for one in refusals(run)] == [
        "agent__nobody is not configured",
        "skill__nothing is not configured",
    ]
    assert all(one.is_error for one in answers(run))


class Moody:
    """A palette that answers late, with the wrong thing, or not at all."""

    async def agent(self, caller_id: str, name: str) -> Any:
        await asyncio.sleep(0)
        if name == "helper":
            return helper()
        if name == "wrong":
            return SUM
        raise LookupError(f"{name} is lost")

    def skill(self, caller_id: str, name: str) -> Any:
        return None


def test_a_palette_may_be_async_and_what_it_gets_wrong_is_inert_and_disturbs_nobody(opened: Any) -> None:
    calls = [ask("wrong"), ask("helper"), ask("lost")]
    agents = [boss(*calls, agents=["wrong", "helper", "lost"])]
    run = opened(None, agents, palette=Moody()).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert [(one.text, one.is_error) for one in answers(run)] == [
        ("agent__wrong could not be resolved: TypeError: the palette answered Skill; expected Agent or None", True),
        ("asked: do it", False),
        ("agent__lost could not be resolved: LookupError: lost is lost", True),
    ]


def test_a_delegate_changes_tier_prompt_tools_and_limits_of_the_child_alone(opened: Any) -> None:
    seen: list[tuple[str, list[str]]] = []

    def model(name: str) -> ScriptedModel:
        def answer(request: Any) -> str:
            seen.append((texts_heard(request)[0], [spec.name for spec in request.tools]))
            return name

        return ScriptedModel(answer, name=name)

    delegate = Delegate("helper", tier="small", prefix="Be brief. ", tools=["taste"], max_steps=3, timeout_s=9.0)
    agents = [boss(ask(), agents=[delegate]), Agent("helper", model=model("big"), tools=[look, taste])]
    runtime = opened(None, agents, tiers={"small": model("small")})
    run = runtime.start("boss", "go")
    run.result(DEADLINE_S)
    assert runtime.start("helper", "do it").result(DEADLINE_S).output == "big"
    assert answers(run)[0].text == "small"
    assert seen == [("Be brief. do it", ["taste"]), ("do it", ["look", "taste"])]
    first = begun(child_of(run))
    assert (first.limits.max_steps, first.limits.timeout_s) == (3, 9.0)
    assert (first.info.model_tier, first.info.max_iterations, first.agent.tools) == ("small", 3, ("taste",))


@pytest.mark.parametrize(
    ("delegate", "why"),
    [
        (Delegate("helper", tier="huge"), "no tier 'huge'; there are: none"),
        (Delegate("helper", tools=["fly"]), "no tools fly; it has: look, taste"),
    ],
)
def test_a_delegate_that_asks_for_what_is_not_there_is_inert(opened: Any, delegate: Delegate, why: str) -> None:
    run = opened(None, [boss(ask(), agents=[delegate]), helper()]).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert why in refusals(run)[0]
    assert run.children() == []


def test_whoever_delegates_is_told_of_the_child_s_start_and_end(opened: Any) -> None:
    told: list[Progress] = []
    agents = [boss(ask(), agents=[Delegate("helper", on_progress=told.append)]), helper()]
    run = opened(None, agents).start("boss", "go")
    run.result(DEADLINE_S)
    (child,) = run.children()
    assert [(news.run_id, news.event) for news in told] == [(child.id, "started"), (child.id, "finished")]
    assert all(news.emoji for news in told)


def test_a_progress_callback_that_raises_changes_nothing(opened: Any) -> None:
    told: list[Progress] = []

    def shout(news: Progress) -> None:
        told.append(news)
        raise SystemExit(news.event)

    run = opened(None, [boss(ask(), agents=[Delegate("helper", on_progress=shout)]), helper()]).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert (len(told), answers(run)[0].text) == (2, "asked: do it")


def test_a_dry_run_starts_no_children(opened: Any) -> None:
    run = opened(None, [boss(ask()), helper()]).start("boss", "go", dry_run=True)
    assert run.result(DEADLINE_S).status == "dry_run"
    assert refusals(run) == ["dry run: the tool was not executed"]
    assert run.children() == []


# ------------------------------------------------------------------ orders to one child


def held_family(opened: Any, *calls: Any) -> tuple[Any, AsyncGate]:
    gate = AsyncGate()

    @tool(effect="pure")
    async def hold() -> str:
        await gate.pass_through()
        return "held"

    def answer(request: Any) -> Any:
        return ["Holding.", call("hold")] if request.step == 1 else " ".join(texts_heard(request))

    run = opened(None, [boss(*calls), Agent("helper", model=ScriptedModel(answer), tools=[hold])]).start("boss", "go")
    gate.wait_entered()
    return run, gate


def test_a_child_is_steered_alone(opened: Any) -> None:
    run, gate = held_family(opened, ask())
    child_of(run).steer("Faster.", by="alice")
    gate.open()
    assert run.result(DEADLINE_S).status == "ok"
    assert answers(run)[0].text == "do it Faster."
    assert not any(isinstance(fact, CallerSteered) for fact in facts(run))


@pytest.mark.parametrize(("order", "status"), [("cancel", "cancelled"), ("kill", "killed")])
def test_a_child_is_stopped_alone_and_the_parent_sees_how_it_ended(opened: Any, order: str, status: str) -> None:
    run, gate = held_family(opened, ask())
    child = child_of(run)
    getattr(child, order)("enough", by="alice")
    result = run.result(DEADLINE_S)
    assert gate.cancelled.wait(DEADLINE_S)
    assert (result.status, child.result(DEADLINE_S).status, child.result().by) == ("ok", status, "alice")
    assert [(one.run_id, one.status) for one in ended(run)] == [(child.id, status)]
    (answer,) = answers(run)
    assert (answer.is_error, answer.text) == (True, f"It ended with status {status}. enough\nHolding.")
    with pytest.raises(MessageRefused, match=f"it is over, with status {status}"):
        child.steer("too late")


def test_a_child_that_the_palette_keeps_from_being_born_is_no_child(opened: Any) -> None:
    class Fickle:
        """Knows the helper until it is wanted."""

        asked = 0

        def agent(self, caller_id: str, name: str) -> Agent | None:
            self.asked += 1
            return helper if self.asked == 1 else None

        def skill(self, caller_id: str, name: str) -> None:
            return None

    helper = Agent("helper", model=ScriptedModel(["hi"]))
    run = opened(None, [boss(ask())], palette=Fickle()).start("boss", "go")
    assert run.result(DEADLINE_S).output == "done"
    assert "agent__helper is not configured" in answers(run)[0].text
    assert (len(born(run)), run.children()) == (1, [])
