"""Tools from plain typed functions: `@tool` reads name, docstring and type hints, and checks every call by them."""

from __future__ import annotations

import copy
import inspect
import re
import typing
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_args, overload

import msgspec

from ...events import EffectClass
from ...ports import ApprovalTerms, Reconciled, ToolContext, ToolMode, ToolSpec
from ...redaction import Secret
from .approval import Approval, read_approval
from .reconciling import Questions, answer_of, answer_text, secret_name
from .reference import find_tool, reference

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI and Anthropic both take
_NO_CONTEXT = ToolContext("", "", "")


class FunctionTool(Generic[P, R]):
    """A typed function as a `Tool`; calling it still calls the function.

    spec: name, description and the JSON Schema of its arguments, always a closed object. A parameter annotated
    `ToolContext` receives the call's context, one annotated `Secret` the registered secret that its default names; they
    are not part of the schema. secrets: the names of those. Made by `tool`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        effect: EffectClass = "never_retry",
        name: str | None = None,
        description: str | None = None,
        timeout_s: float | None = None,
        mode: ToolMode | None = None,
        approval: Approval = None,
        reconcile: Callable[..., Any] | None = None,
        reconcile_timeout_s: float = 30.0,
    ) -> None:
        where = _place(function, name)
        self.effect = _one_of(effect, EffectClass, f"{where}, effect")
        self.mode: ToolMode = _mode(function, mode, where)
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"{where}, timeout_s: expected seconds > 0 or None, got {timeout_s!r}")
        self.timeout_s = timeout_s
        self._function = function
        self._arguments, self._contexts, self._secrets = _signature(function, where)
        self._asking = read_approval(approval, self._arguments.__struct_fields__, where)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            self._arguments, strict=False, dec_hook=_from_text
        )
        self._questions = self._read_questions(reconcile, where)
        asked = {} if self._questions is None else self._questions.secrets
        self.secrets = tuple(dict.fromkeys((*self._secrets.values(), *asked.values())))
        self.reconcile: Callable[[str, ToolContext], Any] | None = self._way_to_ask()
        """See `ports.Reconciles`; None for a tool of another effect class."""
        if not 0 < reconcile_timeout_s < 1e9:
            raise ValueError(f"{where}, reconcile_timeout_s: expected seconds > 0, got {reconcile_timeout_s!r}")
        self.reconcile_timeout_s = float(reconcile_timeout_s)
        if description is None:
            description = inspect.cleandoc(function.__doc__ or "")
        self.spec = ToolSpec(name or function.__name__, description, _schema(self._arguments, where))
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        if self.mode == "process":
            reference(function)  # refuses what a child process could not find again
            if reconcile is not None:
                reference(reconcile)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.spec.name} ({self.effect}, {self.mode})>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the place where it is defined."""
        return find_tool, reference(self._function)

    def check(self, arguments: str) -> str | None:
        """Return None if `arguments` (JSON text, "" for none) fit, else one sentence that says what was expected."""
        try:
            self._decode(arguments)
        except Exception as error:  # also what a type's own __post_init__ raises; the model can try again
            return self._explain(error)
        return None

    def approval(self, arguments: str) -> ApprovalTerms | None:
        """What a call with `arguments` (JSON text that passed `check`) needs before it starts, None if nothing. Never
        raises: where that cannot be decided, a yes is needed, and the question says why.
        """
        if not callable(self._asking):
            return self._asking
        try:
            keywords = self._decode(arguments)
        except Exception as error:
            return ApprovalTerms(question=self._explain(error))
        return self._asking(keywords)

    def call(self, arguments: str, context: ToolContext = _NO_CONTEXT) -> str | Awaitable[str]:
        """Call the function with `arguments`; return its result as text: in mode "thread" the text itself, else an
        awaitable of it, which in mode "process" runs the function in a child process until it is cancelled.

        A string is returned as it is, None as "", bytes as UTF-8, anything else as JSON, or as its `str()` where JSON
        has no form for it.

        Raises:
            ValueError: the arguments do not fit.
            LookupError: `context` has not the secrets that it needs.
            Exception: whatever the function raises.
        """
        if self.mode != "process":
            return cast("str | Awaitable[str]", self.call_here(arguments, context))
        from .process import run_in_process  # only where it is needed

        return run_in_process(self.call_here, arguments, context)

    def call_here(self, arguments: str, context: ToolContext) -> Any:
        """What `call` does, in this process whatever the mode."""
        try:
            keywords = self._decode(arguments)
        except Exception as error:
            raise ValueError(self._explain(error)) from error
        for context_name in self._contexts:
            keywords[context_name] = context
        for parameter, name in self._secrets.items():
            if name not in context.secrets:
                raise LookupError(f"the secret {name!r} of {self.spec.name} was not given")
            keywords[parameter] = context.secrets[name]
        function = cast("Callable[..., Any]", self._function)
        if self.mode == "async":
            return _awaited(function(**keywords))
        result = function(**keywords)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(f"tool {self.spec.name} returned an awaitable: make it an `async def`")
        return result_text(result)

    # -------------------------------------------------------------- what became of a call

    def _read_questions(self, reconcile: Callable[..., Any] | None, where: str) -> Questions | None:
        if self.effect == "reconcilable" and reconcile is None:
            raise ValueError(
                f"{where}, effect 'reconcilable': it needs reconcile=…, a function that says what became of a call; "
                "without one use 'never_retry'"
            )
        if reconcile is None:
            return None
        if self.effect != "reconcilable":
            raise ValueError(f"{where}, reconcile: only a tool of effect 'reconcilable' is asked, not {self.effect!r}")
        return Questions(reconcile, self._arguments.__struct_fields__, where)

    def _way_to_ask(self) -> Callable[[str, ToolContext], Any] | None:
        if self._questions is None:
            return None
        if self._questions.is_async:
            return self._ask_async
        return self._ask_in_process if self.mode == "process" else self._ask

    def _ask(self, arguments: str, context: ToolContext) -> Any:
        assert self._questions is not None
        return self._questions.put(self._decode(arguments), context)

    async def _ask_async(self, arguments: str, context: ToolContext) -> Any:
        return await self._ask(arguments, context)

    async def _ask_in_process(self, arguments: str, context: ToolContext) -> Reconciled:
        from .process import run_in_process  # only where it is needed

        return answer_of(await run_in_process(self.ask_here, arguments, context))

    def ask_here(self, arguments: str, context: ToolContext) -> str:
        """What a plain `reconcile` answers, as text, in this process whatever the mode.

        Raises:
            TypeError: it answered something else.
            Exception: whatever the function raises.
        """
        return answer_text(self._ask(arguments, context))

    def _decode(self, arguments: str) -> dict[str, Any]:
        decoded = self._decoder.decode(arguments.strip() or "{}")  # some models send "" for no arguments
        return {field: getattr(decoded, field) for field in self._arguments.__struct_fields__}

    def _explain(self, error: Exception) -> str:
        match error:
            case msgspec.MsgspecError():
                why = str(error)
            case RecursionError():
                why = "it is nested too deeply"
            case UnicodeError():
                why = "it has half a surrogate pair, which is not valid Unicode"
            case _:
                why = f"{type(error).__name__}: {error}"
        fields: dict[str, Any] = self.spec.schema["properties"]
        takes = ", ".join(name if name in self.spec.schema["required"] else f"{name}?" for name in fields)
        return f"the arguments of {self.spec.name} do not fit: {why}; expected a JSON object of {{{takes}}}"


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    effect: EffectClass = ...,
    name: str | None = ...,
    description: str | None = ...,
    timeout_s: float | None = ...,
    mode: ToolMode | None = ...,
    approval: Approval = ...,
    reconcile: Callable[..., Any] | None = ...,
    reconcile_timeout_s: float = ...,
) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    effect: EffectClass = ...,
    name: str | None = ...,
    description: str | None = ...,
    timeout_s: float | None = ...,
    mode: ToolMode | None = ...,
    approval: Approval = ...,
    reconcile: Callable[..., Any] | None = ...,
    reconcile_timeout_s: float = ...,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    effect: EffectClass = "never_retry",
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    mode: ToolMode | None = None,
    approval: Approval = None,
    reconcile: Callable[..., Any] | None = None,
    reconcile_timeout_s: float = 30.0,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Turn a typed function into a tool: `@tool`, or `@tool(effect="pure", …)`.

    effect: what running it twice means (`EffectClass`). name: instead of the function's. description: instead of its
    docstring. timeout_s: seconds until a call is given up. mode: where it runs; "async" for an `async def`, else
    "thread" unless told to be a killable "process". approval: whether a call waits for somebody's yes before it starts;
    True, a question, `ApprovalTerms`, or a function of the call's arguments, by name, that returns one of these, or
    False for a call that may just start. One that raises has not said so: the call waits. reconcile: for effect
    "reconcilable", a function that says what became of a call whose host died: `Happened`, `DidNotHappen` or
    `CannotTell`; it is given the arguments that its parameters name, and the context. It must change nothing, since it
    may be asked again. reconcile_timeout_s: seconds after which its answer no longer counts.

    Raises:
        TypeError, ValueError: the function cannot be a tool, or an option is unknown; says what was expected.
    """

    def decorate(function: Callable[P, R]) -> FunctionTool[P, R]:
        return FunctionTool(
            function,
            effect=effect,
            name=name,
            description=description,
            timeout_s=timeout_s,
            mode=mode,
            approval=approval,
            reconcile=reconcile,
            reconcile_timeout_s=reconcile_timeout_s,
        )

    return decorate if function is None else decorate(function)


def result_text(value: object) -> str:
    """`value` as the text a model reads; never raises."""
    match value:
        case str():
            return value if type(value) is str else str.__str__(value)
        case None:
            return ""
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            pass
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except Exception:  # a cycle, a key or a number JSON has no form for, half a surrogate pair
        try:
            return str(value)
        except Exception as error:  # the tool has run: losing its result for its __str__ would be worse
            return f"<{type(value).__name__}: str() failed with {type(error).__name__}>"


async def _awaited(result: Awaitable[object]) -> str:
    return result_text(await result)


# ------------------------------------------------------------------ reading a function


def _place(function: Any, name: str | None) -> str:
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise TypeError(f'tool: expected a function, got {function!r}; options go by name, as in @tool(name="…")')
    if name is None:
        name = function.__name__
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"tool, name: expected 1 to 64 of A-Z a-z 0-9 _ -, got {name!r}")
    return f"tool {name}"


def _one_of(value: Any, choices: Any, what: str) -> Any:
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{what}: expected one of {', '.join(known)}, got {value!r}")
    return value


def _mode(function: Callable[..., Any], mode: ToolMode | None, where: str) -> ToolMode:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where}: expected a function that returns its result, got a generator")
    is_async = inspect.iscoroutinefunction(function)
    if mode is None:
        return "async" if is_async else "thread"
    _one_of(mode, ToolMode, f"{where}, mode")
    if is_async and mode != "async":
        raise TypeError(f"{where}, mode: an `async def` runs in mode 'async', got {mode!r}; use a plain `def` for that")
    if not is_async and mode == "async":
        raise TypeError(f"{where}, mode: 'async' needs an `async def`; a plain `def` would stop the event loop")
    return mode


def _signature(
    function: Callable[..., Any], where: str
) -> tuple[type[msgspec.Struct], tuple[str, ...], dict[str, str]]:
    """The struct of the function's arguments, the names of the parameters that take the context, and the secrets by the
    parameters that take them.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # hints are code of the user's module
        raise TypeError(f"{where}: its type hints cannot be read ({error}); name types its module knows") from error
    fields: list[tuple[str, Any, Any]] = []
    contexts: list[str] = []
    secrets: dict[str, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        here = f"{where}, parameter {parameter.name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{here}: expected one that can be given by name, not {parameter.kind.description}")
        if parameter.name not in hints:
            raise TypeError(f"{here}: expected a type hint, such as `{parameter.name}: str`")
        hint = hints[parameter.name]
        if hint is ToolContext:
            contexts.append(parameter.name)
        elif hint is Secret:
            secrets[parameter.name] = secret_name(parameter, here)
        elif Secret in get_args(hint):
            raise TypeError(f'{here}: expected `{parameter.name}: Secret = secret("name")`, got {hint}')
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    required = [
        (name, hint) if default is inspect.Parameter.empty else (name, hint, default) for name, hint, default in fields
    ]
    try:
        struct = msgspec.defstruct(f"{where} arguments", required, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.Decoder(struct, dec_hook=_from_text)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: a model cannot fill in these arguments: {error}") from error
    return struct, tuple(contexts), secrets


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty or value is None or isinstance(value, (str, int, float, bool)):
        return value
    try:
        hash(value)
        msgspec.to_builtins(value, str_keys=True)
        return value
    except TypeError:  # mutable, so each call gets its own; or without a JSON form, so the schema leaves it out
        kept = copy.deepcopy(value)
        return msgspec.field(default_factory=lambda: copy.deepcopy(kept))


def _schema(arguments: type[msgspec.Struct], where: str) -> dict[str, Any]:
    try:
        (top,), definitions = msgspec.json.schema_components(
            [arguments], schema_hook=_text_schema, ref_template="#/$defs/{name}"
        )
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: a model cannot fill in these arguments: {error}") from error
    definition = definitions.pop(cast("str", top["$ref"]).removeprefix("#/$defs/"))
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": [], **definition}
    schema.pop("title", None)
    if definitions:
        schema["$defs"] = definitions
    return schema


def _text_schema(kind: type) -> dict[str, Any]:
    if issubclass(kind, PurePath):
        return {"type": "string"}
    raise NotImplementedError


def _from_text(kind: type, value: Any) -> Any:
    if not issubclass(kind, PurePath) or not isinstance(value, str):
        raise TypeError(f"Expected a {kind.__name__} as text")  # msgspec adds where
    return kind(value)
