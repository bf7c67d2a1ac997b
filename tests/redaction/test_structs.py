"""Every text of every message and fact passes the funnel, and nothing else of them changes."""

from __future__ import annotations

import typing
from typing import Any, Literal

import msgspec
import pytest
from any_fact import any_fact
from hypothesis import given, settings
from planted_secrets import secret_values

from executus.actors.run import messages
from executus.actors.run.messages import RunMessage
from executus.events import (
    FACTS,
    AgentPrint,
    Image,
    InputReceived,
    Limits,
    RunInfo,
    RunStarted,
    StepCompleted,
    Text,
    Thinking,
    ToolCall,
)
from executus.redaction import Redactor
from executus.redaction.redactor import texts_of

VALUE = "correct-horse-battery"
REDACTOR = Redactor([("s", VALUE)])
KINDS = [*(struct for struct, _ in FACTS.values()), *typing.get_args(RunMessage)]


def planted(value: Any, hint: Any, text: str) -> Any:
    """A value of the type `hint` with `text` wherever a text may be; `value` if there is none."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is str:
        return text
    if hint is bytes:
        return text.encode()
    if origin is Literal:
        return inner[0]
    if origin is dict:
        return {text: [text, {"k": text}], "n": 1}
    if hint is int or hint is float:
        return 1
    if hint is bool:
        return False
    if origin is tuple:
        if Ellipsis in inner:
            return (planted(None, inner[0], text),)
        return tuple(planted(None, one, text) for one in inner)
    if origin is frozenset:
        return frozenset()
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return filled(hint, text)
    if inner:  # a union: the part that may hold most
        return max((planted(None, one, text) for one in inner if one is not type(None)), key=lambda one: len(repr(one)))
    return value


def filled(kind: type, text: str) -> Any:
    hints = typing.get_type_hints(kind)
    given = {name: planted(None, hints[name], text) for name in kind.__struct_fields__}  # type: ignore[attr-defined]
    return kind(**given)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_field_of_a_message_or_fact_is_forgotten(kind: type) -> None:
    one = filled(kind, f"<{VALUE}>")
    masked = REDACTOR.struct(one)
    assert VALUE not in repr(masked)
    dropped = repr(masked).count("signature=None")
    assert repr(masked).count("[secret:s]") + dropped == repr(one).count(VALUE)
    assert REDACTOR.struct(masked) is masked


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_words_of_ours_are_not_texts_from_outside(kind: type) -> None:
    """A secret that is called like one of our own words masks no such word."""
    words = Redactor([("a", "budget_exceeded"), ("b", "never_retry"), ("c", "unavailable"), ("d", "tool_calls")])
    one = filled(kind, "text")
    hints = typing.get_type_hints(kind)
    for name in kind.__struct_fields__:  # type: ignore[attr-defined]
        if typing.get_origin(hints[name]) is Literal:
            for word in typing.get_args(hints[name]):
                one = msgspec.structs.replace(one, **{name: word})
                assert words.struct(one) == one


@given(any_fact, secret_values)
@settings(max_examples=300, deadline=None)
def test_a_fact_without_secrets_stays_the_same_object(fact: Any, value: str) -> None:
    masked = Redactor([("s", value)], masks=()).struct(fact)
    assert masked is fact or value in repr(fact) or "[secret:s]" in repr(masked)


def info(**given: Any) -> RunInfo:
    return RunInfo(run_id="0", name="n", **given)


def test_a_request_id_is_not_masked_by_name_so_that_two_stay_two() -> None:
    started = [
        RunStarted(
            info=info(request_id=f"token=abc123def45{n}", inputs={"token": "abc123def456"}),
            agent=AgentPrint(name="a", model="m"),
            limits=Limits(),
            input=(),
        )
        for n in range(2)
    ]
    one, other = map(REDACTOR.struct, started)
    assert one.info.request_id == started[0].info.request_id != other.info.request_id
    assert one.info.inputs == {"token": "[secret:by-name]"}


def test_a_secret_across_several_texts_of_a_message_is_masked() -> None:
    parts = (Text("it is correct-"), Image("image/png", b"x"), Text("horse-bat"), Text("tery."))
    masked = REDACTOR.struct(InputReceived(input=parts))
    assert masked.input == (Text("it is [secret:s]"), Image("image/png", b"x"), Text(""), Text("."))
    step = StepCompleted(step=1, reply=(Text("correct-horse"), ToolCall("1", "t"), Text("-battery")))
    assert REDACTOR.struct(step).reply == (Text("[secret:s]"), ToolCall("1", "t"), Text(""))


def test_a_signature_is_of_the_words_as_they_were() -> None:
    thinking = Thinking(f"use {VALUE}", signature="c2lnbmF0dXJl")
    step = StepCompleted(step=1, reply=(thinking, Thinking("fine", signature="x")))
    assert REDACTOR.struct(step).reply == (Thinking("use [secret:s]"), Thinking("fine", signature="x"))


def test_what_only_a_provider_reads_is_masked_for_registered_values_alone() -> None:
    extra = {"password": "hunter2-and", "data": f"x{VALUE}"}
    step = StepCompleted(step=1, reply=(Thinking("t", signature="ghp_" + "a1B2" * 9, extra=extra),))
    [thinking] = REDACTOR.struct(step).reply
    assert thinking == Thinking("t", "ghp_" + "a1B2" * 9, extra={"password": "hunter2-and", "data": "x[secret:s]"})


def test_a_value_that_holds_itself_is_looked_at_once_and_a_deep_one_to_some_depth() -> None:
    deep: Any = VALUE
    for _ in range(10_000):
        deep = [deep]
    assert REDACTOR.data(deep) is deep
    twice: list[Any] = [VALUE]
    twice += [twice, twice]
    note = messages.LogNote(type=VALUE, payload={"x": twice})
    assert REDACTOR.texts(note).type == "[secret:s]"
    assert REDACTOR.texts(note).payload == {"x": twice}


def test_structs_without_text_are_not_walked() -> None:
    assert texts_of(Limits()) == ()
    assert "status" not in dict(texts_of(filled(messages.AcceptChild, "x")))
