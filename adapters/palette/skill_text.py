"""What a SKILL.md says, in the open Agent Skills format (agentskills.io): YAML front matter, then the instructions.

As the format's guide for clients asks, what is only untidy is read (such as a name that is not the folder's); what
has no name or description is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from ...errors import ExtraMissing

MOST_FRONT_MATTER = 16 * 1024
"""Characters of front matter at most; the YAML reader is slow."""

_DEEPEST = 20
_TYPES = ("string", "number", "integer", "boolean", "array", "object")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,57}")  # with skill__ before it, what model providers take as a tool's name
_TOOL = re.compile(r"[^\s,()]+(?:\([^)]*\))?")  # Read, or Bash(git add:*)
_UNQUOTED = re.compile(r"^(name|description|license|compatibility):[ \t]+(?![\"'|>&*!%@`\[{#])(.*\S)[ \t]*$", re.M)


@dataclass(frozen=True, kw_only=True)
class SkillText:
    """A SKILL.md, read. allowed_tools: as written, with patterns in parentheses. inputs: JSON Schema, if said."""

    name: str
    description: str
    instructions: str
    allowed_tools: tuple[str, ...] = ()
    inputs: dict[str, Any] | None = None


def need_yaml() -> None:
    """Load the YAML library.

    Raises:
        ExtraMissing: it is not installed.
    """
    try:
        import yaml  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ExtraMissing("reading SKILL.md folders", "skills") from error


def read_skill_text(text: str) -> SkillText:
    """What `text`, the content of a SKILL.md, says.

    Inputs may stand at the top or in `metadata`: a whole JSON Schema (`type: object` with `properties`), or a mapping
    of names to JSON Schemas or to types. Every input is needed but those with a `default` and types that end with "?".

    Raises:
        ValueError: in one line, what is wrong with it.
    """
    front, body = _split(text)
    fields = _fields(front)
    name = _words(fields, "name")
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: expected 1 to 57 of A-Z a-z 0-9 _ -, got {name[:100]!r}")
    metadata = fields.get("metadata")
    inputs = fields.get("inputs")
    if inputs is None and isinstance(metadata, dict):
        inputs = cast("dict[str, Any]", metadata).get("inputs")
    return SkillText(
        name=name,
        description=_words(fields, "description"),
        instructions=body.strip(),
        allowed_tools=_allowed_tools(fields.get("allowed-tools")),
        inputs=None if inputs is None else _schema(inputs),
    )


def _split(text: str) -> tuple[str, str]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        raise ValueError("expected front matter: a first line `---`")
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            front = "\n".join(lines[1:number])
            if len(front) > MOST_FRONT_MATTER:
                raise ValueError(f"the front matter has {len(front)} characters; {MOST_FRONT_MATTER} at most are read")
            return front, "\n".join(lines[number + 1 :])
    raise ValueError("the front matter does not end: expected a second line `---`")


def _fields(front: str) -> dict[str, Any]:
    """The front matter as JSON has it: dates are text, keys are text, no cycles."""
    try:
        found = _loaded(front)
    except ValueError:
        # `description: Use it when: …` is no YAML, and the commonest fault of skills written for other programs
        quoted = _UNQUOTED.sub(lambda found: f"{found[1]}: {json.dumps(found[2])}", front)
        if quoted == front:
            raise
        try:
            found = _loaded(quoted)
        except ValueError:
            found = None
        if found is None:
            raise
    try:
        fields = msgspec.json.decode(msgspec.json.encode(found))
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ValueError(f"the front matter has something that JSON has no form for: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("expected the front matter to be a YAML mapping with name and description")  # noqa: TRY004
    return cast("dict[str, Any]", fields)


def _loaded(front: str) -> Any:
    import yaml  # only where it is needed; `need_yaml` has said how to install it

    try:
        depth = 0
        for event in yaml.parse(front, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):  # a few aliases of aliases stand for billions of values
                raise ValueError("the front matter has YAML aliases, which are not read")  # noqa: TRY004
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEEPEST:
                raise ValueError("the front matter is nested too deeply")
        return yaml.safe_load(front)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 2}"
        hint = "; quote text that has `: `" if error.problem == "mapping values are not allowed here" else ""
        raise ValueError(f"the front matter is not YAML{line}: {error.problem}{hint}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"the front matter is not YAML: {' '.join(str(error).split())}") from error


def _words(fields: Mapping[str, Any], field: str) -> str:
    """A text that must be there."""
    found = fields.get(field)
    if not isinstance(found, str) or not found.strip():
        missing = "nothing" if found is None else repr(found)[:100]
        raise ValueError(f"{field}: expected text (in quotes, if it looks like something else), got {missing}")
    return found.strip()


def _allowed_tools(found: Any) -> tuple[str, ...]:
    """Names between spaces or commas, or a list of them."""
    match found:
        case None:
            return ()
        case str():
            return tuple(dict.fromkeys(_TOOL.findall(found)))
        case list() if all(isinstance(one, str) for one in cast("Sequence[Any]", found)):
            return tuple(dict.fromkeys(one.strip() for one in cast("list[str]", found)))
        case _:
            raise ValueError(f"allowed-tools: expected names between spaces, or a list of names, got {found!r:.100}")


def _schema(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        sentence = f"inputs: expected a mapping of names to types or JSON Schemas, got {found!r:.100}"
        raise ValueError(sentence)  # noqa: TRY004
    inputs = cast("dict[str, Any]", found)
    if inputs.get("type") == "object" and isinstance(inputs.get("properties"), dict):
        return inputs
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, form in inputs.items():
        if isinstance(form, dict):
            properties[name] = form
            if "default" not in form:
                required.append(name)
            continue
        kind = form.removesuffix("?") if isinstance(form, str) else form
        if kind not in _TYPES:
            raise ValueError(f"inputs, {name}: expected a JSON Schema or one of {', '.join(_TYPES)}, got {form!r:.100}")
        properties[name] = {"type": kind}
        if kind == form:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
