from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import process_tools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.models.scripted import call
from executus.adapters.tools.approval import LONGEST_S
from executus.adapters.tools.functions import FunctionTool, tool
from executus.events import ApprovalRequested, ToolResult
from executus.ports import ApprovalTerms, AsksFirst

ORDER = '{"item": "tea", "amount": "20"}'
DAY = ApprovalTerms(expires_s=86_400, default="grant", question="Order it?")


def order(item: str, amount: int = 1, where: Path = Path("shop")) -> str:
    """Order something."""
    return f"{amount} × {item}"


def asked(approval: Any, arguments: str = ORDER) -> ApprovalTerms | None:
    return tool(approval=approval)(order).approval(arguments)


# ------------------------------------------------------------------ the same for every call


def test_a_tool_says_by_itself_whether_it_asks_first() -> None:
    assert isinstance(tool(approval=True)(order), AsksFirst)


@pytest.mark.parametrize("approval", [None, False])
def test_a_tool_without_approval_may_just_start(approval: Any) -> None:
    assert asked(approval) is None
    assert tool(order).approval(ORDER) is None


def test_true_asks_for_every_call_and_waits_for_ever() -> None:
    assert asked(True) == ApprovalTerms(expires_s=None, default="deny", question="")


def test_a_string_is_the_question() -> None:
    assert asked("Shall it be ordered?") == ApprovalTerms(question="Shall it be ordered?")


def test_terms_are_taken_as_they_are() -> None:
    assert asked(DAY) is DAY


def test_a_tool_that_asks_is_called_as_any_other() -> None:
    one = tool(approval=True)(order)
    assert one.check(ORDER) is None
    assert one.call(ORDER) == "20 × tea"
    assert one("milk") == "1 × milk"
    assert one.spec == tool(order).spec


def test_a_process_tool_asks_in_the_host() -> None:
    seen: list[int] = []

    def rule(b: int) -> bool:
        seen.append(b)
        return b > 1

    one: FunctionTool[..., Any] = tool(mode="process", approval=rule)(process_tools.add.__wrapped__)
    assert one.approval('{"a": 1, "b": 2}') == ApprovalTerms()
    assert one.approval('{"a": 1, "b": 0}') is None
    assert seen == [2, 0]


# ------------------------------------------------------------------ call by call


@pytest.mark.parametrize(
    ("found", "terms"),
    [
        (None, None),
        (False, None),
        (True, ApprovalTerms()),
        ("Really?", ApprovalTerms(question="Really?")),
        (DAY, DAY),
    ],
)
def test_a_function_decides_for_each_call(found: Any, terms: ApprovalTerms | None) -> None:
    assert asked(lambda: found) == terms


def test_a_function_is_given_the_arguments_that_it_names_as_the_tool_gets_them() -> None:
    def rule(amount: int, where: Path) -> str | bool:
        return amount > 10 and f"{amount + 1} {where.name}"

    assert asked(rule) == ApprovalTerms(question="21 shop")
    assert asked(rule, '{"item": "tea"}') is None


def test_a_function_with_two_stars_is_given_every_argument() -> None:
    assert asked(lambda **given: json.dumps(sorted(given))) == ApprovalTerms(question='["amount", "item", "where"]')


def test_a_parameter_with_a_default_may_be_the_functions_own() -> None:
    def rule(limit: int, /, *rest: int, amount: int, currency: str = "€") -> str | None:
        return f"{amount} {currency}" if amount > limit else None

    assert asked(functools.partial(rule, 10)) == ApprovalTerms(question="20 €")
    assert asked(functools.partial(rule, 30)) is None


def test_what_a_function_does_to_the_arguments_does_not_reach_the_call() -> None:
    def rule(tags: list[str]) -> bool:
        tags.append("approved")
        return True

    @tool(approval=rule)
    def label(tags: list[str] = []) -> str:  # noqa: B006 (each call gets its own)
        return ",".join(tags)

    assert label.approval("{}") == ApprovalTerms()
    assert label.call("{}") == ""


# ------------------------------------------------------------------ nobody said that it may start


def broken() -> bool:
    raise KeyError("no rule")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def unspeakable() -> bool:
    raise Unspeakable


async def promised() -> bool:
    return False


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (broken, "KeyError: 'no rule'"),
        (unspeakable, "Unspeakable"),
        (lambda: promised(), "got coroutine"),
        (lambda: 0, "expected True, False, a question or ApprovalTerms, got int"),
        (lambda: "", "got an empty one"),
        (lambda: {"ask": True}, "got dict"),
        (lambda: ApprovalTerms(expires_s=-1), "expires_s: expected seconds above 0"),
        (lambda: ApprovalTerms(expires_s=float("nan")), "expires_s"),
        (lambda: ApprovalTerms(default="maybe"), "default: expected one of deny, grant"),  # type: ignore[arg-type]
        (lambda: ApprovalTerms(question=3), "question: expected a string"),  # type: ignore[arg-type]
    ],
)
def test_a_function_that_fails_or_talks_nonsense_lets_nothing_start(rule: Callable[..., Any], why: str) -> None:
    terms = asked(rule)
    assert terms is not None
    assert (terms.expires_s, terms.default) == (None, "deny")
    assert why in terms.question


def test_arguments_that_do_not_fit_let_nothing_start() -> None:
    terms = asked(lambda amount: False, '{"amount": "many"}')
    assert terms is not None
    assert "the arguments of order do not fit" in terms.question


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary(), st.lists))
def test_only_none_and_false_let_a_call_start(found: Any) -> None:
    assert (asked(lambda: found) is None) == (found is None or found is False)


@given(st.text())
def test_no_arguments_make_the_question_raise(arguments: str) -> None:
    one = tool(approval=lambda amount: False)(order)
    assert (one.approval(arguments) is None) == (one.check(arguments) is None)


# ------------------------------------------------------------------ in a run


def test_a_run_asks_about_the_calls_that_the_rule_picks_and_no_others() -> None:
    @tool(approval=lambda amount: amount > 10 and f"Order {amount}?")
    def buy(amount: int) -> str:
        return f"bought {amount}"

    script = [[call("buy", amount=5), call("buy", amount=20), call("buy", amount=30)], "done"]
    answers: list[tuple[str, str]] = []
    with Runtime(agents=[Agent("buyer", model=ScriptedModel(script), tools=[buy])]) as rt:
        run = rt.start("buyer", "Buy.", timeout_s=60.0)
        for event in run.events():
            match event.fact:
                case ApprovalRequested(question="Order 20?" as question, call=asked_for):
                    run.approve(asked_for, by="ada")
                    answers.append((asked_for, question))
                case ApprovalRequested(question=question, call=asked_for):
                    run.deny(asked_for, by="ada", reason="too many")
                    answers.append((asked_for, question))
                case _:
                    pass
        said = [part.text for message in run.transcript() for part in message.parts if isinstance(part, ToolResult)]
        assert run.result(timeout=60).output == "done"
    assert answers == [("1.1", "Order 20?"), ("1.2", "Order 30?")]
    assert said[:2] == ["bought 5", "bought 20"]
    assert "ada: too many" in said[2]


# ------------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("approval", "expected"),
    [
        ("", "tool order, approval: expected a question, got an empty one"),
        (" \n", "got an empty one"),
        (1, "tool order, approval: expected True, False, a question or ApprovalTerms, or a function .* got 1"),
        ({"expires_s": 3}, "got {'expires_s': 3}"),
        (ApprovalTerms, "got <class"),
        (bool, "got <class"),
        (promised, "expected a plain function that decides at once, got an `async def`"),
        (lambda price: True, r"parameter 'price' names no argument of the tool \(item, amount, where\)"),
        (lambda amount, /: True, "parameter 'amount' names no argument"),
        (min, "expected a function with named parameters|names no argument of the tool"),
        (ApprovalTerms(expires_s=0), "tool order, approval: expires_s: expected seconds above 0, .* got 0"),
        (ApprovalTerms(expires_s=True), "expires_s"),
        (ApprovalTerms(expires_s=float("inf")), "at most 30 years, or None, got inf"),
        (ApprovalTerms(expires_s=LONGEST_S + 1), "at most 30 years"),
        (ApprovalTerms(default="yes"), "default: expected one of deny, grant, got 'yes'"),  # type: ignore[arg-type]
        (ApprovalTerms(question=None), "question: expected a string, got NoneType"),  # type: ignore[arg-type]
    ],
)
def test_wrong_terms_are_refused_where_the_tool_is_made(approval: Any, expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=expected):
        tool(approval=approval)(order)


def test_a_rule_for_a_tool_without_arguments_says_that_there_are_none() -> None:
    with pytest.raises(TypeError, match=r"names no argument of the tool \(it has none\)"):

        @tool(approval=lambda amount: True)
        def nothing() -> None: ...
