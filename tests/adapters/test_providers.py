from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aimock_server import Aimock, NotInstalled, Relay, find

from executus import Agent, Runtime, tool
from executus.adapters.models import providers
from executus.adapters.models.providers import EXTRAS, OTHERS, ProviderModel, resolve_model
from executus.errors import ExtraMissing, ModelRefused, ModelUnavailable
from executus.events import Image, Message, Text, Thinking, ToolCall, ToolResult
from executus.ports import Delta, Model, ModelRequest, Reply, ToolSpec

pytest.importorskip("pydantic_ai", reason="the provider tests need: pip install 'executus[openai,anthropic]'")

DEADLINE_S = 60.0
WIRES = {"openai": "gpt-5", "openai-responses": "gpt-5", "anthropic": "claude-opus-4-8"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
WEATHER = ToolSpec(
    "weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
)
USAGE = {
    "input_tokens": 11,
    "output_tokens": 22,
    "prompt_tokens": 11,
    "completion_tokens": 22,
    "total_tokens": 33,
}
CALL = {
    "reasoning": "I should look it up.",
    "reasoningSignature": "c2lnbmF0dXJl",
    "content": "Let me look.",
    "toolCalls": [{"id": "call_1", "name": "weather", "arguments": '{"city": "Köln"}'}],
    "usage": USAGE,
}
HELLO = (Message("user", (Text("hello"),)),)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    try:
        command = find()
    except NotInstalled as error:
        pytest.skip(str(error))
    aimock = Aimock(command, tmp_path_factory.mktemp("fixtures"))
    yield aimock
    aimock.close()


@pytest.fixture
def aimock(server: Aimock) -> Aimock:
    server.reset()
    return server


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model_of(wire: str, url: str, **settings: Any) -> ProviderModel:
    base = url if wire == "anthropic" else f"{url}/v1"
    return ProviderModel(f"{wire}:{WIRES[wire]}", base_url=base, api_key="a key", settings=settings)


def ask(model: ProviderModel, messages: Sequence[Message] = HELLO, **more: Any) -> Reply:
    async def story() -> Reply:
        return await asyncio.wait_for(model.reply(ModelRequest(messages, step=3, attempt=2, **more)), DEADLINE_S)

    return asyncio.run(story())


def told(reply: Reply) -> str:
    """The reply's text; some wires begin every reply with a sealed, empty thought."""
    return "".join(part.text for part in reply.parts if isinstance(part, Text))


def refusal(model: ProviderModel, messages: Sequence[Message] = HELLO, **more: Any) -> Exception:
    with pytest.raises((ModelRefused, ModelUnavailable)) as caught:
        ask(model, messages, **more)
    return caught.value


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_text_comes_back_with_usage_and_stop(aimock: Aimock, wire: str, streamed: bool) -> None:
    aimock.answer({"content": "Grüße 👋", "usage": USAGE})
    heard: list[Delta] = []
    reply = ask(model_of(wire, aimock.url), on_delta=heard.append if streamed else None)
    assert told(reply) == "Grüße 👋"
    assert (reply.stop, reply.usage.input, reply.usage.output) == ("stop", 11, 22)
    assert reply.model.startswith(WIRES[wire])
    assert reply.response_id
    assert "".join(delta.text for delta in heard) == ("Grüße 👋" if streamed else "")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_call_comes_back_as_the_models_own_text(aimock: Aimock, wire: str, streamed: bool) -> None:
    aimock.answer(CALL)
    heard: list[Delta] = []
    reply = ask(model_of(wire, aimock.url), tools=[WEATHER], on_delta=heard.append if streamed else None)
    thinking, text, call = reply.parts
    assert isinstance(thinking, Thinking)
    assert thinking.text == "I should look it up."
    assert text == Text("Let me look.")
    assert isinstance(call, ToolCall)
    assert (call.id, call.name, json.loads(call.arguments)) == ("call_1", "weather", {"city": "Köln"})
    assert reply.stop == "tool_calls"
    if streamed:
        assert {(delta.step, delta.attempt) for delta in heard} == {(3, 2)}
        for kind, whole in (("thinking", thinking.text), ("text", text.text)):
            assert "".join(delta.text for delta in heard if delta.kind == kind) == whole
        assert json.loads("".join(delta.text for delta in heard if delta.kind == "arguments")) == {"city": "Köln"}


def test_a_conversation_goes_on_with_all_it_said(aimock: Aimock, wire: str) -> None:
    aimock.answer(CALL)
    relay = Relay(aimock.url)
    try:
        said = [
            Message("system", (Text("Be brief."),)),
            Message(
                "user", (Text("weather?"), Image("image/png", PNG), Image("image/jpeg", url="https://x.test/a.jpg"))
            ),
        ]
        first = ask(model_of(wire, relay.url), said, tools=[WEATHER])
        said.append(Message("assistant", first.parts))
        said.append(Message("tool", (ToolResult("call_1", "weather", "no such city", True),)))
        said.append(Message("user", (Text("hurry"),)))
        aimock.reset()
        aimock.answer({"content": "21 °C"})
        assert told(ask(model_of(wire, relay.url), said, tools=[WEATHER])) == "21 °C"
    finally:
        relay.close()
    body = relay.bodies[-1]
    sent = json.dumps(body, ensure_ascii=False)
    for expected in (
        "Be brief.",
        "iVBORw0KGgo",
        "https://x.test/a.jpg",
        "Let me look.",
        "call_1",
        "no such city",
        "hurry",
    ):
        assert expected in sent, expected
    thinking = first.parts[0]
    assert isinstance(thinking, Thinking)
    assert (thinking.signature or thinking.text) in sent
    if wire == "anthropic":
        assert thinking.signature == "c2lnbmF0dXJl"
        results = body["messages"][-1]["content"]  # all that follows a reply is one message
        assert [part["type"] for part in results] == ["tool_result", "text"]
        assert results[0]["is_error"] is True
    else:
        assert '{\\"error\\":\\"no such city\\"}' in sent


def test_broken_arguments_stay_as_the_model_wrote_them_and_can_be_sent_back(aimock: Aimock, wire: str) -> None:
    aimock.answer({"content": "ok"})
    said = [
        *HELLO,
        Message("assistant", (ToolCall("call_1", "weather", '{"city": '),)),
        Message("tool", (ToolResult("call_1", "weather", "the arguments do not fit", True),)),
    ]
    assert told(ask(model_of(wire, aimock.url), said, tools=[WEATHER])) == "ok"


def test_broken_arguments_from_the_model_stay_verbatim() -> None:
    from pydantic_ai.messages import ModelResponse, ToolCallPart

    from executus.adapters.models.provider_messages import our_reply

    # aimock sends no broken arguments, so they are read from the library's own response.
    reply = our_reply(ModelResponse([ToolCallPart("weather", '{"city": ', "call_1")], finish_reason="stop"))
    assert reply.parts == (ToolCall("call_1", "weather", '{"city": '),)
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize(("given", "stop"), [("length", "length"), ("content_filter", "content_filter")])
def test_stop_reasons_are_normalised(aimock: Aimock, given: str, stop: str) -> None:
    aimock.answer({"content": "cut", "finishReason": given})
    assert ask(model_of("openai", aimock.url)).stop == stop


def test_settings_of_the_request_go_before_those_of_the_model(aimock: Aimock) -> None:
    aimock.answer({"content": "ok"})
    given = {"temperature": 0.1, "max_tokens": 7}
    model = ProviderModel("openai:gpt-4o", base_url=f"{aimock.url}/v1", api_key="a key", settings=given)
    ask(model, settings={"max_tokens": 9})
    body = aimock.requests()[-1]["body"]
    assert (body["temperature"], body["max_completion_tokens"]) == (0.1, 9)


def test_thinking_tokens_and_cached_tokens_are_counted() -> None:
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.usage import RequestUsage

    from executus.adapters.models.provider_messages import our_reply

    # aimock leaves these counts out, so they are read from the library's own response.
    used = RequestUsage(
        input_tokens=100, output_tokens=50, output_reasoning_tokens=30, cache_read_tokens=60, cache_write_tokens=7
    )
    usage = our_reply(ModelResponse(parts=[TextPart("x")], usage=used, finish_reason="stop")).usage
    assert (usage.input, usage.output, usage.thinking, usage.cache_read, usage.cache_write) == (100, 50, 30, 60, 7)


def test_a_refusal_is_told_from_a_filter() -> None:
    from pydantic_ai.messages import ModelResponse, TextPart

    from executus.adapters.models.provider_messages import our_reply

    response = ModelResponse(
        [TextPart("no")], finish_reason="content_filter", provider_details={"finish_reason": "refusal"}
    )
    assert our_reply(response).stop == "refusal"


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 529])
def test_what_may_pass_is_unavailable(aimock: Aimock, wire: str, status: int) -> None:
    aimock.answer({"error": {"message": "not now", "type": "x"}, "status": status})
    error = refusal(model_of(wire, aimock.url))
    assert isinstance(error, ModelUnavailable), error
    assert str(error) == f"{wire}:{WIRES[wire]}: HTTP {status}: not now"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_rate_limit_says_how_long_to_wait(aimock: Aimock, wire: str, streamed: bool) -> None:
    aimock.answer({"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429, "retryAfter": 17})
    error = refusal(model_of(wire, aimock.url), on_delta=(lambda _: None) if streamed else None)
    assert isinstance(error, ModelUnavailable), error
    assert error.retry_after_s == 17


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_will_not_pass_is_refused(aimock: Aimock, wire: str, status: int) -> None:
    aimock.answer({"error": {"message": "never", "type": "invalid_request_error"}, "status": status})
    error = refusal(model_of(wire, aimock.url))
    assert isinstance(error, ModelRefused), error
    assert "never" in str(error)


def test_an_empty_account_is_refused_though_its_status_says_wait(aimock: Aimock) -> None:
    empty = {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}
    aimock.answer({"error": empty, "status": 429})
    assert isinstance(refusal(model_of("openai", aimock.url)), ModelRefused)


def test_the_library_does_not_retry_by_itself(aimock: Aimock, wire: str) -> None:
    aimock.answer({"error": {"message": "not now"}, "status": 500})
    refusal(model_of(wire, aimock.url))
    assert len(aimock.requests()) == 1


def test_a_malformed_answer_is_unavailable(aimock: Aimock, wire: str) -> None:
    aimock.answer({"content": "hi"}, chaos={"malformedRate": 1})
    assert isinstance(refusal(model_of(wire, aimock.url)), ModelUnavailable)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_dropped_connection_is_unavailable(aimock: Aimock, wire: str, streamed: bool) -> None:
    aimock.answer({"content": "hi"}, chaos={"disconnectRate": 1})
    error = refusal(model_of(wire, aimock.url), on_delta=(lambda _: None) if streamed else None)
    assert isinstance(error, ModelUnavailable)


@pytest.mark.parametrize("chunks", [2, 4, 8])
def test_a_stream_that_breaks_off_is_unavailable_and_no_reply(aimock: Aimock, wire: str, chunks: int) -> None:
    aimock.answer({"content": "word " * 100}, chunkSize=10, truncateAfterChunks=chunks)
    error = refusal(model_of(wire, aimock.url), on_delta=lambda _: None)
    assert isinstance(error, ModelUnavailable)


@pytest.mark.parametrize("events", [0, 3, 6])
def test_a_stream_that_ends_early_without_an_error_is_unavailable_too(aimock: Aimock, wire: str, events: int) -> None:
    aimock.answer({"content": "word " * 100}, chunkSize=10)
    relay = Relay(aimock.url, events)
    try:
        error = refusal(model_of(wire, relay.url), on_delta=lambda _: None)
    finally:
        relay.close()
    assert isinstance(error, ModelUnavailable)


def test_a_timeout_is_unavailable(aimock: Aimock, wire: str) -> None:
    aimock.answer({"content": "late"}, chaos={"latencyMs": 30_000})
    assert isinstance(refusal(model_of(wire, aimock.url, timeout=0.05)), ModelUnavailable)


def test_nobody_listening_is_unavailable(wire: str) -> None:
    assert isinstance(refusal(model_of(wire, "http://127.0.0.1:9")), ModelUnavailable)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cancelling_the_task_stops_the_request(aimock: Aimock, wire: str, streamed: bool) -> None:
    aimock.answer({"content": "word " * 500}, chunkSize=5, latency=1000, chaos={"latencyMs": 0 if streamed else 30_000})

    async def story() -> None:
        begun = asyncio.Event()
        model = model_of(wire, aimock.url)
        on_delta = (lambda _: begun.set()) if streamed else None
        asking = asyncio.create_task(model.reply(ModelRequest(HELLO, on_delta=on_delta)))
        if streamed:
            await begun.wait()
        else:
            await asyncio.to_thread(model.load)
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_one_model_serves_several_loops_and_many_requests(aimock: Aimock) -> None:
    aimock.answer({"content": "hi"})
    model = model_of("openai", aimock.url)
    both_asked = threading.Barrier(2, timeout=DEADLINE_S)

    async def story() -> list[Reply]:
        replies = await asyncio.gather(*(model.reply(ModelRequest(HELLO)) for _ in range(10)))
        await asyncio.to_thread(both_asked.wait)  # the other loop lives, and its connections with it
        await model.close()
        return [*replies, await model.reply(ModelRequest(HELLO))]

    def on_a_loop_of_its_own() -> list[Reply]:
        return asyncio.run(asyncio.wait_for(story(), DEADLINE_S))

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(on_a_loop_of_its_own) for _ in range(2)]:
            assert {reply.parts for reply in done.result()} == {(Text("hi"),)}


# ------------------------------------------------------------------ names, extras, keys


def test_a_provider_model_is_a_model() -> None:
    model = ProviderModel("openai:org/name:free", api_key="a key")
    assert isinstance(model, Model)
    assert model.name == "openai:org/name:free"


def test_base_url_and_key_come_from_the_usual_environment(aimock: Aimock, monkeypatch: pytest.MonkeyPatch) -> None:
    aimock.answer({"content": "hi"})
    monkeypatch.setenv("OPENAI_BASE_URL", f"{aimock.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", aimock.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    for wire, name in WIRES.items():
        assert told(ask(resolve_model(f"{wire}:{name}"))) == "hi"


@pytest.mark.parametrize(("wire", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_a_missing_key_is_refused_by_name(wire: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelRefused, match=variable):
        resolve_model(f"{wire}:{WIRES[wire]}")


@pytest.mark.parametrize("name", ["", "gpt-5", ":gpt-5", "openai:"])
def test_a_name_without_provider_or_model_says_what_was_expected(name: str) -> None:
    with pytest.raises(ValueError, match="expected 'provider:name'"):
        resolve_model(name)


def test_an_unknown_provider_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no provider 'opnai'; known are: .*anthropic.*openai"):
        resolve_model("opnai:gpt-5")


def test_every_provider_listed_is_known_to_the_library() -> None:
    assert [name for name in (*EXTRAS, *OTHERS) if not providers._known_to_the_library(name)] == []


def without(monkeypatch: pytest.MonkeyPatch, *gone: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in gone else real(name, *more))


@pytest.mark.parametrize("missing", ["pydantic_ai", "the library"])
@pytest.mark.parametrize(("provider", "extra"), list(EXTRAS.items()))
def test_a_missing_extra_is_named_with_its_command(
    provider: str, extra: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, extra if missing == "the library" else missing)
    with pytest.raises(ExtraMissing, match=rf"pip install 'executus\[{extra}\]'$"):
        resolve_model(f"{provider}:x")


def test_other_providers_name_their_extra_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        without(patch, "pydantic_ai")
        with pytest.raises(ExtraMissing, match=r"pip install 'executus\[models\]'$"):
            resolve_model("groq:x")
    if importlib.util.find_spec("groq") is None:
        with pytest.raises(ExtraMissing, match=r"pip install 'pydantic-ai-slim\[groq\]'$"):
            resolve_model("groq:x")


def test_the_extras_that_are_named_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for extra in set(EXTRAS.values()):
        assert any(requirement.startswith(f"pydantic-ai-slim[{extra}]") for requirement in extras[extra])
    assert any(requirement.startswith("pydantic-ai-slim") for requirement in extras["models"])
    named = {
        requirement.partition(">")[2] for extra in ("openai", "anthropic", "models") for requirement in extras[extra]
    }
    assert len(named) == 1  # one range for all


def test_importing_the_adapter_does_not_import_the_library() -> None:
    import subprocess
    import sys

    code = """
import sys
from executus.adapters.models.providers import ProviderModel
ProviderModel("openai:x", api_key="k")
sys.exit("pydantic_ai" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=DEADLINE_S).returncode == 0


# ------------------------------------------------------------------ in a run


def test_a_run_with_a_real_provider_waits_calls_and_ends(aimock: Aimock, wire: str) -> None:
    @tool(effect="pure")
    def weather(city: str) -> str:
        """The weather."""
        return f"{city}: 21 °C"

    aimock.answer({"error": {"message": "slow down"}, "status": 429, "retryAfter": 0}, match={"sequenceIndex": 0})
    aimock.answer(CALL, match={"sequenceIndex": 1})
    aimock.answer({"content": "Warm."})
    agent = Agent("forecaster", model=model_of(wire, aimock.url), instructions="Be brief.", tools=[weather])
    with Runtime(agents=[agent]) as rt:
        run = rt.start("forecaster", "How is the weather in Köln?")
        result = run.result(timeout=DEADLINE_S)
        tags = [event.tag for event in run.events()]
    assert (result.status, result.output) == ("ok", "Warm.")
    assert tags.count("step-failed") == 1
    assert (result.stats.tool_calls, result.stats.input_tokens >= 11) == (1, True)
