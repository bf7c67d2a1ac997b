from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from executus.adapters.models.scripted import ScriptedModel, attempts, call, say
from executus.errors import ModelRefused, ModelUnavailable
from executus.events import Image, Message, Text, Thinking, ToolCall, Usage
from executus.ports import Delta, Model, ModelRequest, Reply


def ask(model: ScriptedModel, step: int = 1, attempt: int = 1, **more: Any) -> Reply:
    return asyncio.run(model.reply(ModelRequest(more.pop("messages", ()), step=step, attempt=attempt, **more)))


def test_a_scripted_model_is_a_model() -> None:
    assert isinstance(ScriptedModel([], name="canned"), Model)
    assert ScriptedModel([], name="canned").name == "canned"


def test_the_kth_step_of_every_run_gets_the_kth_reply() -> None:
    model = ScriptedModel(["one", "two", "three"])
    heard = [ask(model, step, run_id=run).parts for step in (1, 2, 3) for run in ("a", "b")]
    assert heard == [(Text(text),) for text in ("one", "one", "two", "two", "three", "three")]


def test_a_resumed_step_hears_the_same_answer_again() -> None:
    model = ScriptedModel(["one", call("look"), "three"])
    assert ask(model, 2, attempt=1) == ask(model, 2, attempt=2)


def test_a_request_without_a_step_is_the_first() -> None:
    assert ask(ScriptedModel(["one"]), step=0).parts == (Text("one"),)


def test_an_exhausted_script_refuses_and_says_so() -> None:
    with pytest.raises(ModelRefused, match="the script of 'canned' has 1 replies and step 2 asks for another"):
        ask(ScriptedModel(["one"], name="canned"), step=2)


def test_calls_get_ids_that_differ_within_a_run() -> None:
    model = ScriptedModel([[call("a", x=1), call("b")], call("a")])
    first, second = ask(model, 1), ask(model, 2)
    assert [(part.name, part.arguments) for part in first.parts if isinstance(part, ToolCall)] == [
        ("a", '{"x":1}'),
        ("b", "{}"),
    ]
    ids = [part.id for part in (*first.parts, *second.parts) if isinstance(part, ToolCall)]
    assert len(set(ids)) == 3
    assert all(ids)
    assert first.stop == second.stop == "tool_calls"


def test_an_id_and_arguments_that_are_given_stay_as_they_are() -> None:
    odd = ToolCall("mine", "a", "{not json")
    assert ask(ScriptedModel([odd])).parts == (odd,)


def test_say_puts_thinking_first_and_calls_last() -> None:
    reply = ask(ScriptedModel([say("hello", call("a"), thinking="hm", usage=Usage(3, 4))]))
    assert [type(part) for part in reply.parts] == [Thinking, Text, ToolCall]
    assert (reply.usage, reply.stop) == (Usage(3, 4), "tool_calls")
    assert say("hello").stop == "stop"


def test_a_whole_reply_passes_unchanged() -> None:
    reply = Reply((Text("x"),), Usage(1, 2), "length", "other", "id")
    assert ask(ScriptedModel([reply])) == reply


def test_an_exception_is_raised_at_every_attempt() -> None:
    model = ScriptedModel([ModelUnavailable("busy", 2.5)])
    for attempt in (1, 2):
        with pytest.raises(ModelUnavailable, match="busy") as caught:
            ask(model, attempt=attempt)
        assert caught.value.retry_after_s == 2.5


def test_attempts_differ_and_the_last_one_is_kept() -> None:
    model = ScriptedModel([attempts(ModelUnavailable("busy"), TimeoutError(), "at last")])
    with pytest.raises(ModelUnavailable):
        ask(model, attempt=1)
    with pytest.raises(TimeoutError):
        ask(model, attempt=2)
    assert ask(model, attempt=3).parts == ask(model, attempt=9).parts == (Text("at last"),)


async def slow_echo(request: ModelRequest) -> str:
    await asyncio.sleep(0)
    return f"step {request.step}"


@pytest.mark.parametrize("answer", [lambda request: f"step {request.step}", slow_echo], ids=["plain", "async"])
def test_a_function_answers_from_the_request(answer: Callable[[ModelRequest], Any]) -> None:
    assert ask(ScriptedModel(answer), step=7).parts == (Text("step 7"),)


def test_a_function_that_returns_nonsense_is_told_so() -> None:
    with pytest.raises(TypeError, match="answer to step 1: expected text"):
        ask(ScriptedModel(lambda _: 3))  # type: ignore[arg-type,return-value]


def test_usage_that_nobody_gave_is_estimated_from_characters() -> None:
    said = (
        Message("user", (Text("x" * 400), Image("image/png", b"\x00" * 1000))),
        Message("assistant", (ToolCall("1", "a" * 10, "b" * 30),)),
    )
    assert ask(ScriptedModel(["y" * 41]), messages=said).usage == Usage(input=110, output=11)


def test_deltas_add_up_to_the_reply() -> None:
    heard: list[Delta] = []
    reply = say("hello " * 20, call("a", text="z" * 99), thinking="well " * 9)
    ask(ScriptedModel([reply]), attempt=2, on_delta=heard.append)
    for kind, whole in (
        ("thinking", "well " * 9),
        ("text", "hello " * 20),
        ("arguments", '{"text":"' + "z" * 99 + '"}'),
    ):
        assert "".join(delta.text for delta in heard if delta.kind == kind) == whole
    assert {(delta.step, delta.attempt) for delta in heard} == {(1, 2)}
    assert len(heard) > 8


def test_one_instance_serves_many_runs_at_once() -> None:
    model = ScriptedModel(lambda request: request.run_id, delay_s=0.001)

    async def story() -> list[Reply]:
        requests = (ModelRequest((), run_id=f"run {n}", step=1) for n in range(200))
        return await asyncio.gather(*(model.reply(request) for request in requests))

    assert [reply.parts for reply in asyncio.run(story())] == [(Text(f"run {n}"),) for n in range(200)]


def test_a_slow_reply_can_be_cancelled() -> None:
    async def story() -> None:
        waiting = asyncio.create_task(ScriptedModel(["late"], delay_s=3600).reply(ModelRequest((), step=1)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(story())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ScriptedModel("hello"), "expected a list of answers or a function, got 'hello'"),
        (lambda: ScriptedModel(3), "expected a list of answers or a function, got 3"),
        (lambda: ScriptedModel(["a", 3]), "reply 2: expected text"),
        (lambda: ScriptedModel([["a", Image("image/png", b"")]]), "in a list, got Image"),
        (lambda: ScriptedModel([], name=""), "name: expected a non-empty string"),
        (lambda: ScriptedModel([], delay_s=-1), "delay_s: expected seconds"),
        (lambda: attempts(), "expected at least one answer"),
        (lambda: attempts(attempts("a")), "attempts inside attempts"),
        (lambda: call("a", x={1, 2j}), "complex"),
    ],
)
def test_a_wrong_script_says_what_was_expected(make: Callable[[], object], expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=expected):
        make()
