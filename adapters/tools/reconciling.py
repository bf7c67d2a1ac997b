"""What `@tool(reconcile=…)` may be, and how it is asked what became of one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_type_hints

import msgspec

from ...events.clean import clean_text
from ...ports import CannotTell, DidNotHappen, Happened, Reconciled, ToolContext
from ...redaction import Secret
from ...redaction.secret import is_reference

MOST_CHARACTERS: Final = 100_000
"""Of a result that a child process reports; of a longer one the middle is left out."""

_EXPECTED: Final = "expected a function that says what became of a call: Happened, DidNotHappen or CannotTell"


class Questions:
    """A function that is asked what became of a call. It is given those of the call's arguments that its parameters
    name, the call's context where one is annotated `ToolContext`, and the secret that its default names where one is
    annotated `Secret`. secrets: the names of those, by parameter.

    Raises:
        TypeError: it is no such function; `where` begins the sentence.
    """

    def __init__(self, ask: Callable[..., Any], arguments: tuple[str, ...], where: str) -> None:
        if not callable(ask) or isinstance(ask, type):
            raise TypeError(f"{where}, reconcile: {_EXPECTED}; got {ask!r}")
        self.is_async = inspect.iscoroutinefunction(ask)
        self._ask = ask
        self._taken, self._contexts, self.secrets = _parameters(ask, arguments, f"{where}, reconcile")

    def put(self, decoded: Mapping[str, Any], context: ToolContext) -> Any:
        """Ask; in an async function's case the answer is awaitable."""
        given = {name: decoded[name] for name in self._taken}
        secrets = {parameter: context.secrets[name] for parameter, name in self.secrets.items()}
        return self._ask(**given, **dict.fromkeys(self._contexts, context), **secrets)


def _parameters(
    ask: Callable[..., Any], arguments: tuple[str, ...], where: str
) -> tuple[list[str], list[str], dict[str, str]]:
    try:
        hints = get_type_hints(ask)
        parameters = inspect.signature(ask).parameters.values()
    except Exception as error:
        raise TypeError(f"{where}: its parameters cannot be read ({error})") from error
    taken: list[str] = []
    contexts: list[str] = []
    secrets: dict[str, str] = {}
    for parameter in parameters:
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and hints.get(parameter.name) is ToolContext:
            contexts.append(parameter.name)
        elif by_name and hints.get(parameter.name) is Secret:
            secrets[parameter.name] = secret_name(parameter, f"{where}, parameter {parameter.name!r}")
        elif parameter.kind is parameter.VAR_KEYWORD:
            taken = list(arguments)
        elif by_name and parameter.name in arguments:
            taken.append(parameter.name)
        elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is parameter.empty:
            known = ", ".join(arguments) or "it has none"
            raise TypeError(
                f"{where}: parameter {parameter.name!r} names no argument of the tool ({known}) and is no ToolContext"
            )
    return taken, contexts, secrets


def secret_name(parameter: inspect.Parameter, where: str) -> str:
    """The name of the secret that a parameter annotated `Secret` takes.

    Raises:
        TypeError: its default does not say.
    """
    given = parameter.default
    if not isinstance(given, Secret) or not is_reference(given):
        raise TypeError(f'{where}: expected a default that names the secret, as in secret("github")')
    return given.name


def answer_text(answer: object) -> str:
    """An answer as text, to be sent from a child process.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(answer, (Happened, DidNotHappen, CannotTell)):
        raise TypeError(f"answered {type(answer).__name__}; expected Happened, DidNotHappen or CannotTell")
    if isinstance(answer, Happened):
        answer = Happened(clean_text(answer.result, MOST_CHARACTERS), answer.is_error)
    return msgspec.json.encode(answer).decode()


def answer_of(text: str) -> Reconciled:
    """The answer that `answer_text` made a text of."""
    return cast("Reconciled", msgspec.json.decode(text, type=Reconciled))
