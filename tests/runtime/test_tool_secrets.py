"""A tool is given a registered secret when it runs; nobody else is, and its log has the mark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from process_tools import prove, spill
from runtime_support import DEADLINE_S, facts

from executus import Agent, Phase, Runtime, ScriptedModel, Secret, Skill, ToolContext, secret, tool
from executus.adapters.models.scripted import call
from executus.adapters.tools.functions import FunctionTool
from executus.events import ToolFinished
from executus.ports import Delegate, NeedsSecrets

VALUE = "ghq-correct-horse-battery"


@tool
def deploy(branch: str, token: Secret = secret("github")) -> str:
    """Deploy a branch."""
    return f"{branch} with {token} of {len(token.reveal())}, then {token.reveal()}"


@tool
async def deploy_later(branch: str, *, token: Secret = secret("github"), other: Secret = secret("db")) -> str:
    """Deploy a branch."""
    return f"{branch} {token.reveal()} {other.reveal()}"


@tool
def look(context: ToolContext, token: Secret = secret("github")) -> str:
    """See what the context has."""
    assert context.secrets["github"] == token
    return f"{sorted(context.secrets)} {context!r}"


def result_of(opened: Any, one: Any, asks: Any, path: Path | None = None, **secrets: str) -> ToolFinished:
    agent = Agent("a", model=ScriptedModel([asks, "done"]), tools=[one])
    runtime = opened(path, [agent], secrets=secrets or {"github": VALUE, "db": "staple-of-the-db"})
    run = runtime.start("a", "x")
    assert run.result(DEADLINE_S).status == "ok"
    [finished] = [fact for fact in facts(run) if isinstance(fact, ToolFinished)]
    return finished


def test_the_model_is_not_told_of_the_parameter_and_cannot_fill_it_in() -> None:
    assert isinstance(deploy, NeedsSecrets)
    assert deploy.secrets == ("github",)
    assert deploy.spec.schema["properties"] == {"branch": {"type": "string"}}
    refused = deploy.check('{"branch": "main", "token": "mine"}')
    assert refused is not None
    assert "unknown field `token`" in refused


def test_a_tool_of_every_mode_gets_the_value_and_its_result_the_mark(opened: Any) -> None:
    asks = [call("deploy", branch="main")]
    assert result_of(opened, deploy, asks).result == "main with [secret:github] of 25, then [secret:github]"
    later = result_of(opened, deploy_later, [call("deploy_later", branch="main")])
    assert later.result == "main [secret:github] [secret:db]"
    assert result_of(opened, look, [call("look")]).result.startswith("['github'] ToolContext(")


def test_a_tool_in_a_process_gets_it_through_the_pipe_only(opened: Any) -> None:
    done = result_of(opened, prove, [call("prove", code="7")])
    assert done.result == "7 25 [secret:github] False"
    failed = result_of(opened, spill, [call("spill")])
    assert (failed.is_error, failed.result) == (True, "ValueError: rejected [secret:github]")


def test_a_mark_that_the_model_repeats_is_text_for_the_tool(opened: Any) -> None:
    heard: list[str] = []

    @tool
    def use(token: str) -> str:
        """Use a token."""
        heard.append(token)
        return "used"

    def answer(request: Any) -> Any:
        return [call("use", token=request.messages[-1].parts[0].text)] if request.step == 1 else "done"

    agent = Agent("a", model=ScriptedModel(answer), tools=[use])
    opened(None, [agent], secrets={"github": VALUE}).start("a", VALUE).result(DEADLINE_S)
    assert heard == ["[secret:github]"]


def test_what_a_call_is_checked_by_is_what_it_will_be_run_with(opened: Any) -> None:
    checked: list[str] = []

    class Checking:
        spec = deploy.spec
        effect, mode, timeout_s = "pure", "thread", None

        def check(self, arguments: str) -> str | None:
            checked.append(arguments)
            return None

        def call(self, arguments: str, context: ToolContext) -> str:
            checked.append(arguments)
            return ""

    result_of(opened, Checking(), [call("deploy", branch=f"main {VALUE}")])
    assert checked == ['{"branch":"main [secret:github]"}'] * 2


def test_a_host_can_add_a_secret_and_change_one(opened: Any) -> None:
    agent = Agent("a", model=ScriptedModel([[call("deploy_later", branch="b")], "done"]), tools=[deploy_later])
    runtime: Runtime = opened(None, [agent], secrets={"github": VALUE, "db": "staple-of-the-db"})
    runtime.add_secret("db", "another-staple")
    runtime.add_secret("third", Secret("third-of-three"))
    run = runtime.start("a", "staple-of-the-db another-staple third-of-three")
    run.result(DEADLINE_S)
    assert facts(run)[0].input[0].text == "[secret:db] [secret:db] [secret:third]"  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="at least 8 characters") as caught:
        runtime.add_secret("db", "tooshrt")
    assert "tooshrt" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"agents": [Agent("a", model="m:m", tools=[deploy])]},
        {"agents": [Agent("a", model="m:m", phases=[Phase("p", tools=[deploy])])]},
        {"skills": [Skill("a", model="m:m", tools=[deploy])]},
    ],
    ids=["agent", "phase", "skill"],
)
def test_a_secret_that_nobody_registered_is_missed_when_the_runtime_is_opened(given: Any) -> None:
    with pytest.raises(ValueError, match=r"the tool 'deploy' of (agent|skill) 'a' needs the secret 'github'"):
        Runtime(**given)


def test_one_that_comes_with_a_palette_is_missed_when_its_tool_is_called(opened: Any) -> None:
    def answer(request: Any) -> Any:
        return [call("deploy", branch="b")] if request.step == 1 else request.messages[-1].parts[0].text

    class Palette:
        def agent(self, caller_id: str, name: str) -> Any:
            return Agent("kid", model=ScriptedModel(answer), tools=[deploy])

        def skill(self, caller_id: str, name: str) -> Any:
            return None

    boss = Agent("boss", model=ScriptedModel([[call("agent__kid", prompt="go")], "done"]), agents=[Delegate("kid")])
    run = opened(None, [boss], palette=Palette()).start("boss", "x")
    run.result(DEADLINE_S)
    [child] = [fact for fact in facts(run) if type(fact).__name__ == "ChildFinished"]
    assert "deploy was not run: no secret named 'github' is registered" in child.output  # type: ignore[union-attr]


def test_a_function_called_by_hand_wants_a_secret_by_hand() -> None:
    assert deploy("b", Secret(VALUE)).startswith("b with [secret:unnamed]")
    with pytest.raises(LookupError, match="filled in by a runtime"):
        deploy("b")
    with pytest.raises(LookupError, match="'github' of deploy was not given"):
        deploy.call('{"branch": "b"}')


def bad_default(token: Secret = Secret(VALUE)) -> str:
    return ""


def no_default(token: Secret) -> str:
    return ""


def text_default(token: Secret = "github") -> str:  # type: ignore[assignment]
    return ""


def optional(token: Secret | None = None) -> str:
    return ""


def annotated(token: Annotated[Secret, "github"]) -> str:
    return ""


@pytest.mark.parametrize("function", [bad_default, no_default, text_default, optional, annotated])
def test_there_is_one_way_to_ask_for_a_secret(function: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter 'token': expected .*secret\(") as caught:
        FunctionTool(function)
    assert VALUE not in str(caught.value)
