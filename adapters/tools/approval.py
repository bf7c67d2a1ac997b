"""What `@tool(approval=…)` may be, and the terms that follow from it for one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, get_args

from ...events import OnExpiry
from ...ports import ApprovalTerms, is_seconds

Approval: TypeAlias = "bool | str | ApprovalTerms | Callable[..., bool | str | ApprovalTerms | None] | None"
"""True, a question or terms: every call needs a yes. False or None: none does. A function decides call by call: it is
given those of the call's arguments that its parameters name, and returns one of the former.
"""

Asking: TypeAlias = "ApprovalTerms | Callable[[Mapping[str, Any]], ApprovalTerms | None] | None"
"""An `Approval` that was read: the same for every call, or a function of a call's arguments, which never raises."""

LONGEST_S: Final = 30 * 365 * 86_400
"""Seconds until an approval expires, at most: thirty years. What a run takes for ever is said with None."""


def read_approval(approval: Approval, arguments: tuple[str, ...], where: str) -> Asking:
    """Read `approval` for a tool with these `arguments`.

    Raises:
        TypeError, ValueError: it is none of those, or a function with a parameter that the tool has not; says what was
            expected. `where` begins the sentence.
    """
    if approval is None or isinstance(approval, (bool, str, ApprovalTerms)):
        try:
            return _terms(approval)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}, approval: {error}") from None
    if not callable(approval) or isinstance(approval, type):
        raise TypeError(f"{where}, approval: {_EXPECTED}, or a function of the arguments, got {approval!r}")
    if inspect.iscoroutinefunction(approval):
        raise TypeError(f"{where}, approval: expected a plain function that decides at once, got an `async def`")
    taken = _taken(approval, arguments, f"{where}, approval")
    rule = cast("Callable[..., object]", approval)

    def ask(decoded: Mapping[str, Any]) -> ApprovalTerms | None:
        try:
            return _terms(rule(**{name: decoded[name] for name in taken}))
        except Exception as error:  # nobody said that the call may start
            return ApprovalTerms(question=f"The rule that decides on approvals failed: {_said(error)}")

    return ask


_EXPECTED: Final = "expected True, False, a question or ApprovalTerms"


def _terms(found: object) -> ApprovalTerms | None:
    if found is None or found is False:
        return None
    if found is True:
        return ApprovalTerms()
    if isinstance(found, str):
        if not found.strip():
            raise ValueError("expected a question, got an empty one")
        return ApprovalTerms(question=found)
    if inspect.iscoroutine(found):
        found.close()
    if not isinstance(found, ApprovalTerms):
        raise TypeError(f"{_EXPECTED}, got {type(found).__name__}")
    if not is_seconds(found.expires_s) or (found.expires_s or 0) > LONGEST_S:
        raise ValueError(f"expires_s: expected seconds above 0, at most 30 years, or None, got {found.expires_s!r}")
    if found.default not in get_args(OnExpiry):
        raise ValueError(f"default: expected one of {', '.join(get_args(OnExpiry))}, got {found.default!r}")
    if not isinstance(found.question, str):
        raise TypeError(f"question: expected a string, got {type(found.question).__name__}")
    return found


def _taken(rule: Callable[..., object], arguments: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Which of the tool's arguments the rule is given."""
    try:
        parameters = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: expected a function with named parameters, got {rule!r}") from error
    taken: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            return arguments
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and parameter.name in arguments:
            taken.append(parameter.name)
        elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is parameter.empty:
            known = ", ".join(arguments) or "it has none"
            raise TypeError(f"{where}: parameter {parameter.name!r} names no argument of the tool ({known})")
    return tuple(taken)


def _said(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # its own __str__ failed
        return type(error).__name__
