"""The offline stand-in for a model in `executus demo`: fixed rules over what the tools return."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..adapters.models.scripted import Answer, ScriptedModel, call
from ..events import Message, Text, ToolCall, ToolResult
from ..ports import ModelRequest
from .words import many

NAME = "stand-in:rules"
LONG_LINES = 50
MANY_PARAMETERS = 6

_FILE = re.compile(r"`([^`]+)`")
_DEFINITION = re.compile(
    r"(\d+)-\d+ (class|def) (\S+) \((\d+) lines(?:, (\d+) parameters)?, (no docstring|docstring)(.*)\)"
)


def question(path: str) -> str:
    """What a reviewing run is asked."""
    return f"Review the Python file `{path}`. Say what you would change first, and where."


def stand_in(pace_s: float) -> ScriptedModel:
    """The reviewer; each reply takes `pace_s` seconds."""
    return ScriptedModel(review, name=NAME, delay_s=pace_s)


class _Seen(NamedTuple):
    """An answered tool call."""

    name: str
    arguments: str
    text: str
    is_error: bool


class _Definition(NamedTuple):
    """A line of an outline."""

    line: int
    kind: str
    name: str
    length: int
    parameters: int
    documented: bool
    mutable_default: bool

    @property
    def public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))


def review(request: ModelRequest) -> Answer:
    """The next reply of a review: an outline first, then a closer look at what it shows, then the findings."""
    path = _asked(request.messages)
    seen = list(_seen(request.messages))
    outlines = [one for one in seen if one.name == "outline"]
    if not outlines:
        return ["I start with the outline.", call("outline", path=path)]
    outline = outlines[0]
    if outline.is_error or outline.text.startswith("does not parse"):
        return _signed(f"I could not review `{path}`: {outline.text}")
    definitions = list(_definitions(outline.text))
    searches = [one for one in seen if one.name == "search"]
    if not searches:
        return [
            "Next I look for shortcuts.",
            *(call("search", text=text, path=path) for text in ("except:", "except Exception", "TODO", "FIXME")),
        ]
    longest = max(definitions, key=lambda one: one.length if one.kind == "def" else 0, default=None)
    read = [one for one in seen if one.name == "read_file"]
    if not read and longest is not None and longest.kind == "def" and longest.length > LONG_LINES:
        last = longest.line + longest.length - 1
        return [
            f"`{longest.name}` is long; I read it.",
            call("read_file", path=path, first_line=longest.line, last_line=last),
        ]
    findings = [*_in_outline(definitions), *_in_searches(searches), *_in_text(longest, read)]
    looked_at = f"{outline.text.partition(',')[0]} with {many(len(definitions), 'definition')}"
    if not findings:
        return _signed(f"Nothing to change by my rules, in {looked_at}.")
    body = "\n".join(f"- line {line}: {text}" for line, text in sorted(findings))
    return _signed(f"{many(len(findings), 'finding')} in {looked_at}.\n{body}")


def _asked(messages: Sequence[Message]) -> str:
    for message in messages:
        if message.role == "user":
            for part in message.parts:
                if isinstance(part, Text) and (named := _FILE.search(part.text)):
                    return named.group(1)
    return "."


def _seen(messages: Sequence[Message]) -> Iterator[_Seen]:
    asked: dict[str, ToolCall] = {}
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                asked[part.id] = part
            elif isinstance(part, ToolResult):
                yield _Seen(part.name, asked[part.id].arguments, part.text, part.is_error)


def _definitions(outline: str) -> Iterator[_Definition]:
    for line in outline.splitlines():
        if found := _DEFINITION.fullmatch(line):
            at, kind, name, length, parameters, docstring, more = found.groups()
            yield _Definition(
                int(at), kind, name, int(length), int(parameters or 0), docstring == "docstring", "mutable" in more
            )


def _in_outline(definitions: list[_Definition]) -> Iterator[tuple[int, str]]:
    for one in definitions:
        if one.kind == "def" and one.length > LONG_LINES:
            yield one.line, f"`{one.name}` is {one.length} lines long; split it"
        if one.parameters > MANY_PARAMETERS:
            yield one.line, f"`{one.name}` takes {one.parameters} parameters; group those that travel together"
        if one.mutable_default:
            yield one.line, f"`{one.name}` has a mutable default, shared by all its calls"
    bare = [one for one in definitions if one.public and not one.documented]
    if bare:
        names = ", ".join(f"`{one.name}`" for one in bare[:3])
        more = f" and {len(bare) - 3} more" if len(bare) > 3 else ""
        yield bare[0].line, f"no docstring: {names}{more}"


def _in_searches(searches: list[_Seen]) -> Iterator[tuple[int, str]]:
    for one in searches:
        for hit in one.text.splitlines():
            _, _, rest = hit.partition(".py:")
            number, _, line = rest.partition(": ")
            if one.is_error or not number.isdigit():
                continue
            if re.match(r"except\s*:", line):
                yield int(number), "a bare `except:` also catches KeyboardInterrupt; name what is expected"
            elif re.match(r"except Exception( as \w+)?:\s*(#.*)?$", line) and "#" not in line and "noqa" not in line:
                yield int(number), "`except Exception` without a word why everything is caught here"
            elif todo := re.search(r"#\s*(TODO|FIXME)\b:?\s*(.*)", line):
                yield int(number), f"an open {todo.group(1)}: {todo.group(2)[:80] or '(no text)'}"


def _in_text(longest: _Definition | None, read: list[_Seen]) -> Iterator[tuple[int, str]]:
    if longest is None or not read or read[0].is_error:
        return
    deepest, where = 0, longest.line
    for line in read[0].text.splitlines():
        code = line[6:]
        indent = len(code) - len(code.lstrip())
        if line[:5].strip().isdigit() and code.strip() and indent > deepest:
            deepest, where = indent, int(line[:5])
    if deepest >= 24:
        yield where, f"`{longest.name}` is nested {deepest // 4} levels deep here"


def _signed(text: str) -> str:
    return f"{text}\n\n(The offline stand-in wrote this: fixed rules, no language model.)"
