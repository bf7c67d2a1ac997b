from __future__ import annotations

import asyncio
import enum
import json
import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from executus.adapters.tools.functions import FunctionTool, result_text, tool
from executus.ports import Agent, CannotTell, Happened, Reconciles, Tool, ToolContext

CONTEXT = ToolContext("run", "1.0", "run:1.0", "alice")


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Colour(enum.StrEnum):
    RED = "red"


class Odd(str, enum.Enum):  # noqa: UP042 (its str() is not its value)
    EVEN = "even"


@dataclass
class Place:
    city: str
    zip: Annotated[str, Meta(pattern=r"^\d{5}$")] | None = None


@tool(effect="pure")
def forecast(
    context: ToolContext,
    place: Place,
    days: Annotated[int, Meta(ge=1, le=14, description="how many days")] = 3,
    unit: Unit = Unit.CELSIUS,
    when: date | None = None,
    kind: Literal["short", "long"] = "short",
    tags: list[str] = ["dry"],  # noqa: B006 (each call gets its own)
    path: Path = Path("here"),
) -> str:
    """Weather forecast for a place.

    As good as any.
    """
    tags.append("seen")
    return f"{place.city} {days} {unit.value} {when} {kind} {tags} {path} {context.key}"


@tool
async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text * 2


@tool
def give(value: Any) -> Any:
    return value


@tool
def nothing() -> None: ...


def answer(one: FunctionTool[..., Any], arguments: str = "") -> str:
    result = one.call(arguments, CONTEXT)
    assert isinstance(result, str)
    return result


# ------------------------------------------------------------------ what a model is told


def test_a_function_tool_is_a_tool_and_still_the_function() -> None:
    assert isinstance(forecast, Tool)
    assert "Bonn 3 celsius" in forecast(CONTEXT, Place("Bonn"))
    assert forecast.__name__ == "forecast"
    assert forecast.__doc__ is not None
    assert {forecast: 1}[forecast] == 1
    assert Agent("a", model="m:n", tools=[forecast, later]).fingerprint


def test_the_docstring_is_the_description() -> None:
    assert forecast.spec.description == "Weather forecast for a place.\n\nAs good as any."
    assert tool(description="other")(forecast.__wrapped__).spec.description == "other"
    assert nothing.spec.description == ""


def test_the_schema_is_valid_and_closed_and_leaves_the_context_out() -> None:
    schema = forecast.spec.schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["place"]
    assert list(schema["properties"]) == ["place", "days", "unit", "when", "kind", "tags", "path"]
    assert schema["properties"]["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 14,
        "default": 3,
        "description": "how many days",
    }
    assert schema["properties"]["path"] == {"type": "string"}
    assert nothing.spec.schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@given(
    st.fixed_dictionaries(
        {"place": st.fixed_dictionaries({"city": st.text()})},
        optional={"days": st.integers(-3, 20), "kind": st.sampled_from(["short", "long", "no"]), "other": st.none()},
    )
)
def test_the_check_agrees_with_the_schema(arguments: dict[str, Any]) -> None:
    fits = jsonschema.Draft202012Validator(forecast.spec.schema).is_valid(arguments)
    assert (forecast.check(json.dumps(arguments)) is None) == fits


def test_defaults_are_never_retry_and_a_thread_or_the_loop() -> None:
    assert (give.effect, give.mode, give.timeout_s) == ("never_retry", "thread", None)
    assert later.mode == "async"
    assert tool(effect="idempotent", mode="process", timeout_s=2, name="n")(module_level).timeout_s == 2


def module_level() -> str:
    return ""


# ------------------------------------------------------------------ calls


def test_arguments_are_converted_as_models_need() -> None:
    arguments = '{"place": {"city": "Köln", "zip": "53111"}, "days": "5", "when": "2026-11-22", "path": "/etc"}'
    assert forecast.check(arguments) is None
    expected = "Köln 5 celsius 2026-11-22 short ['dry', 'seen'] /etc run:1.0"
    assert answer(forecast, arguments) == expected
    assert answer(forecast, arguments) == expected  # the default list is not shared


def test_no_text_counts_as_no_arguments() -> None:
    assert nothing.check("") is None
    assert nothing.check(" \n") is None
    assert answer(nothing) == ""


def test_an_async_tool_gives_an_awaitable() -> None:
    async def story() -> str:
        result = later.call('{"text": "ab"}', CONTEXT)
        assert not isinstance(result, str)
        return await result

    assert asyncio.run(story()) == "abab"


def test_what_the_function_raises_is_raised() -> None:
    @tool
    def broken() -> str:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        broken.call("", CONTEXT)


def test_a_call_checks_its_arguments_too() -> None:
    with pytest.raises(ValueError, match="the arguments of later do not fit: Object missing required field `text`"):
        later.call("{}", CONTEXT)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "missing required field `place`"),
        ("[]", "Expected `object`, got `array`"),
        ("null", "Expected `object`, got `null`"),
        ('"{}"', "Expected `object`, got `str`"),
        ('{"place"', "truncated"),
        ("{'place': 1}", "malformed"),
        ("\x00", "malformed"),
        ('{"place": {"city": "x"}} trailing', "trailing"),
        ('{"place": {"city": "\ud800"}}', "surrogate"),
        ('{"place": {"city": "\\ud800"}}', "do not fit"),
        ('{"place": ' * 200_000, "nested too deeply"),
        ("[" * 200_000, "do not fit"),
        ('{"place": {"city": "x"}, "days": 99}', r"Expected `int` <= 14 - at `\$.days`"),
        ('{"place": {"city": "x"}, "days": 1e999}', "out of range"),
        ('{"place": {"city": "x"}, "days": ' + "9" * 5000 + "}", "do not fit"),
        ('{"place": {"city": "x"}, "dayz": 1}', "unknown field `dayz`; expected a JSON object of {place, days?"),
        ('{"place": {"city": "x", "zip": "1"}}', r"matching regex .* - at `\$.place.zip`"),
        ('{"place": {"city": "x"}, "when": "soon"}', r"at `\$.when`"),
        ('{"place": {"city": "x"}, "path": 3}', r"at `\$.path`"),
        ('{"place": {"city": "x"}, "context": {}}', "unknown field `context`"),
    ],
)
def test_arguments_that_do_not_fit_are_explained_in_one_line(arguments: str, why: str) -> None:
    said = forecast.check(arguments)
    assert said is not None
    assert re.search(why, said), said
    assert "\n" not in said


@given(st.text())
def test_no_text_makes_the_check_raise(arguments: str) -> None:
    said = forecast.check(arguments)
    assert said is None or said.startswith("the arguments of forecast do not fit")


def test_a_type_that_refuses_a_value_is_explained() -> None:
    refused = picky.check('{"value": {"number": 13}}')
    assert refused is not None
    assert "unlucky" in refused


@dataclass
class Lucky:
    number: int

    def __post_init__(self) -> None:
        if self.number == 13:
            raise KeyError("unlucky")


@tool
def picky(value: Lucky) -> str:
    return str(value)


# ------------------------------------------------------------------ results


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


def loop() -> list[Any]:
    knot: list[Any] = []
    knot.append(knot)
    return knot


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\ud800\x00", "as it is\ud800\x00"),
        (None, ""),
        (3, "3"),
        (True, "true"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        ({"a": [1, 2.5, None]}, '{"a":[1,2.5,null]}'),
        (Place("Bonn"), '{"city":"Bonn","zip":null}'),
        (date(2026, 11, 22), '"2026-11-22"'),
        ([Path("/etc")], '["/etc"]'),
        (Colour.RED, "red"),
        (Odd.EVEN, "even"),
        (Unit.CELSIUS, '"celsius"'),
        ({(1, 2): 3}, '{"(1, 2)":3}'),
        (["\ud800"], "['\\ud800']"),
        (loop(), "[[...]]"),
        (Broken(), "<Broken: str() failed with RuntimeError>"),
    ],
)
def test_a_result_becomes_text_for_a_model(value: object, text: str) -> None:
    assert result_text(value) == text


# ------------------------------------------------------------------ wrong use


def no_hint(x) -> str:  # type: ignore[no-untyped-def]
    return str(x)


def star(*args: int) -> str:
    return str(args)


def stars(**options: int) -> str:
    return str(options)


def positional(x: int, /) -> str:
    return str(x)


def unreadable(x: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    return str(x)


def callback(x: Callable[[], None]) -> str:
    return str(x)


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> str:
    return ""


class Thing:
    def method(self, x: int) -> int:
        """Add one."""
        return x + 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: tool(no_hint), "tool no_hint, parameter 'x': expected a type hint"),
        (lambda: tool(Thing.method), "parameter 'self': expected a type hint"),
        (lambda: tool(star), "parameter 'args': expected one that can be given by name, not variadic positional"),
        (lambda: tool(stars), "not variadic keyword"),
        (lambda: tool(positional), "not positional-only"),
        (lambda: tool(unreadable), "its type hints cannot be read .*Nowhere"),
        (lambda: tool(callback), "a model cannot fill in these arguments"),
        (lambda: tool(generator), "got a generator"),
        (lambda: tool(async_generator), "got a generator"),
        (lambda: tool(mode="process")(coroutine), "an `async def` runs in mode 'async', got 'process'"),
        (lambda: tool(mode="thread")(coroutine), "an `async def` runs in mode 'async', got 'thread'"),
        (lambda: tool(mode="async")(module_level), "'async' needs an `async def`"),
        (lambda: tool(mode="fibre")(module_level), "mode: expected one of async, thread, process, got 'fibre'"),
        (lambda: tool(effect="safe")(module_level), "effect: expected one of pure, idempotent, .* got 'safe'"),
        (lambda: tool(timeout_s=0)(module_level), "timeout_s: expected seconds > 0 or None, got 0"),
        (lambda: tool(name="two words")(module_level), "name: expected 1 to 64 of"),
        (lambda: tool(lambda: ""), "name: expected 1 to 64 of .* got '<lambda>'"),
        (lambda: tool("name"), "expected a function, got 'name'"),
        (lambda: tool(Thing), "expected a function, got <class"),
        (lambda: tool(forecast), "expected a function, got <tool forecast"),
    ],
)
def test_wrong_use_says_what_was_expected(make: Callable[[], object], expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=expected):
        make()


def test_a_method_of_an_object_is_a_tool() -> None:
    assert answer(tool(Thing().method), '{"x": 1}') == "2"


def test_a_plain_function_that_returns_a_coroutine_is_told_so() -> None:
    @tool
    def wrapped() -> Any:
        return coroutine()

    with pytest.raises(TypeError, match="make it an `async def`"):
        wrapped.call("", CONTEXT)


def test_a_pickled_tool_is_the_same_tool() -> None:
    assert pickle.loads(pickle.dumps(forecast)) is forecast


# ------------------------------------------------------------------ reconcile


def found(day: date, context: ToolContext) -> Happened:
    return Happened(f"{context.key} on {day:%d.%m.}")


def test_a_reconcilable_tool_is_asked_with_its_arguments_and_its_context() -> None:
    @tool(effect="reconcilable", reconcile=found)
    def book(day: date, seats: int) -> str:
        return ""

    assert isinstance(book, Reconciles)
    assert book.reconcile_timeout_s == 30
    assert book.reconcile is not None
    assert book.reconcile('{"day": "2026-05-01", "seats": 2}', CONTEXT) == Happened("run:1.0 on 01.05.")


def test_an_async_function_can_be_asked_and_may_take_everything() -> None:
    async def look(context: ToolContext, **arguments: Any) -> CannotTell:
        return CannotTell(f"{arguments}")

    @tool(effect="reconcilable", reconcile=look, reconcile_timeout_s=2)
    def book(day: date, seats: int = 1) -> str:
        return ""

    assert book.reconcile is not None
    assert asyncio.iscoroutinefunction(book.reconcile)
    answer = asyncio.run(book.reconcile('{"day": "2026-05-01"}', CONTEXT))
    assert answer == CannotTell("{'day': datetime.date(2026, 5, 1), 'seats': 1}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"effect": "reconcilable"}, "it needs reconcile=…"),
        ({"effect": "pure", "reconcile": found}, "only a tool of effect 'reconcilable' is asked, not 'pure'"),
        ({"effect": "reconcilable", "reconcile": Happened}, "expected a function that says what became of a call"),
        ({"effect": "reconcilable", "reconcile": lambda colour: None}, "'colour' names no argument of the tool"),
        ({"effect": "reconcilable", "reconcile": found, "reconcile_timeout_s": 0}, "expected seconds > 0"),
        ({"effect": "reconcilable", "reconcile": lambda day: None, "mode": "process"}, "top level of a module"),
    ],
)
def test_a_tool_that_cannot_be_asked_is_refused_where_it_is_defined(options: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        tool(**options)(at_top)


def at_top(day: date) -> str:
    """Book."""
    return ""


def test_a_tool_of_another_class_is_not_asked() -> None:
    assert forecast.reconcile is None
