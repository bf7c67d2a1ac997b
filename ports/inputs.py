"""Whether the arguments of a call fit a JSON Schema that came from outside, such as a skill's.

It checks the words that models get wrong: type, required, properties, additionalProperties, items, enum, const. Other
words ($ref, anyOf, pattern, format, bounds) are left to the model that carries the call out. So no pattern of
a stranger is run and nothing is fetched, and what fits is the same on every machine whatever is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

_DEEP = 32
"""Levels that are looked at; what lies deeper is taken as it is."""


def read_inputs(arguments: str) -> dict[str, Any]:
    """The inputs in `arguments`, JSON text; "" is none, as some models send it.

    Raises:
        ValueError: it is not the text of a JSON object.
    """
    try:
        inputs = msgspec.json.decode(arguments.strip() or "{}")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeError as error:
        raise ValueError("it has half a surrogate pair, which is not valid Unicode") from error
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    if not isinstance(inputs, dict):
        raise ValueError(f"got {_kind(inputs)}")  # noqa: TRY004 (a wrong text, not a wrong type of argument)
    return cast("dict[str, Any]", inputs)


def check_inputs(schema: Mapping[str, Any], arguments_json: str) -> str | None:
    """Return None if `arguments_json` fits `schema`, else one sentence that tells the model what was expected.

    It never refuses what the schema allows, and never raises: parts of a schema that make no sense ask for nothing.
    """
    try:
        inputs = read_inputs(arguments_json)
    except ValueError as error:
        why: str | None = str(error)
    else:
        why = _misfit(inputs, schema, "", _DEEP)
    if why is None:
        return None
    required = _texts(schema.get("required"))
    known = _mapping(schema.get("properties"))
    names = [*known, *(name for name in required if name not in known)]
    takes = ", ".join(name if name in required else f"{name}?" for name in names)
    return f"the inputs do not fit: {why}; expected a JSON object of {{{takes}}}"


def _misfit(value: Any, schema: Any, place: str, deep: int) -> str | None:
    """Why `value`, found at `place`, does not fit, or None."""
    here = f"`{place}`" if place else "the object"
    if schema is False:
        return f"{here} is not allowed"
    if not isinstance(schema, Mapping) or deep == 0:
        return None
    words = cast("Mapping[str, Any]", schema)
    if "$ref" in words:  # older drafts ignore every word beside it
        return None
    types = _texts(words.get("type"))
    if types and all(_is(value, name) is False for name in types):
        return f"{here}: expected {' or '.join(types)}, got {_kind(value)}"
    choices = words.get("enum")
    if isinstance(choices, list) and value not in choices:
        return f"{here}: expected one of {_shown(choices)}"
    if "const" in words and value != words["const"]:
        return f"{here}: expected {_shown(words['const'])}"
    if isinstance(value, dict):
        return _misfit_of_object(cast("dict[str, Any]", value), words, place, deep)
    if isinstance(value, list) and "prefixItems" not in words:
        for number, item in enumerate(cast("Sequence[Any]", value)):
            if why := _misfit(item, words.get("items"), f"{place}[{number}]", deep - 1):
                return why
    return None


def _misfit_of_object(value: dict[str, Any], words: Mapping[str, Any], place: str, deep: int) -> str | None:
    inside = f"{place}." if place else ""
    for name in _texts(words.get("required")):
        if name not in value:
            return f"`{inside}{name}` is missing"
    properties = _mapping(words.get("properties"))
    others = None if "patternProperties" in words else words.get("additionalProperties")
    for name, item in value.items():
        if why := _misfit(item, properties.get(name, others), f"{inside}{name}", deep - 1):
            return why
    return None


def _is(value: Any, name: str) -> bool | None:
    """Whether `value` is of the JSON type `name`; None for a name that is no type."""
    match name:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case _:
            return None


def _kind(value: Any) -> str:
    for name in ("object", "array", "string", "boolean", "null", "integer"):
        if _is(value, name):
            return name
    return "number"


def _texts(words: Any) -> list[str]:
    """A JSON Schema word that is a name or a list of names."""
    if isinstance(words, str):
        return [words]
    if not isinstance(words, (list, tuple)):
        return []
    return [word for word in cast("list[Any]", words) if isinstance(word, str)]


def _mapping(words: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", words) if isinstance(words, Mapping) else {}


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
