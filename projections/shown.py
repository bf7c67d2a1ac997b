"""A checkpoint as plain JSON values, with names that stay: what is compared, asked about and shown of a moment.

The state has every field, also those at their default. The transcript leaves defaults out, as stored messages do.
Bytes are base64 text.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, TypeGuard

import msgspec

from .fold import Checkpoint
from .grown import Grown
from .run import Governed, RunState
from .transcript import Transcript

TOP: Final = ("version", "elapsed_ms", "withheld", "state", "transcript")
"""The fields of the whole shape."""


class Missing:
    """There is no such place in the shape."""


MISSING: Final = Missing()


def shown(checkpoint: Checkpoint) -> dict[str, Any]:
    """The JSON shape of `checkpoint`: `version`, `elapsed_ms`, `withheld`, `state` and `transcript`."""
    return {
        "version": checkpoint.version,
        "elapsed_ms": checkpoint.elapsed_ms,
        "withheld": checkpoint.withheld,
        "state": plain(checkpoint.state),
        "transcript": _said(checkpoint.transcript),
    }


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether JSON has `value` as an array."""
    return isinstance(value, (tuple, list, Grown))


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is a JSON object."""
    return isinstance(value, dict)


def as_json(value: Any) -> Any:
    """`value` as it comes back from JSON, with what is left at its default left out."""
    return msgspec.json.decode(msgspec.json.encode(value))


def plain(value: Any, leaving: frozenset[str] = frozenset()) -> Any:
    """`value` as JSON has it: structs with all fields but those named in `leaving`, and "type" if tagged."""
    if value is None or type(value) in (str, int, bool, float):
        return value
    if isinstance(value, msgspec.Struct):
        shape: dict[str, Any] = {}
        tag = value.__struct_config__.tag
        if tag is not None:
            shape["type"] = tag
        for name in value.__struct_fields__:
            if name not in leaving:
                shape[name] = plain(getattr(value, name), leaving)
        return shape
    if is_list(value):
        return [plain(one, leaving) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return as_json(value)


def _said(value: Any) -> Any:
    """The same for what belongs to a transcript."""
    if isinstance(value, Transcript):
        return {name: _said(getattr(value, name)) for name in value.__struct_fields__}
    return as_json(list(value) if is_list(value) else value)


# ------------------------------------------------------------------ places


def place_of(path: str) -> tuple[str, ...]:
    """The steps of `path`: a JSON pointer ("/state/limits/max_steps"), or the same with dots. A name that belongs to
    the state, or to its `governed` part, needs no way there ("status", "deadline_ms").

    Raises:
        ValueError: nothing has such a name.
    """
    plain_path = path.strip()
    if "/" in plain_path:
        steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in plain_path.removeprefix("/").split("/"))
    else:
        steps = tuple(plain_path.split(".")) if plain_path else ()
    if not steps or steps[0] in TOP:
        return steps
    if steps[0] in RunState.__struct_fields__:
        return ("state", *steps)
    if steps[0] in Governed.__struct_fields__:
        return ("state", "governed", *steps)
    if steps[0] in Transcript.__struct_fields__:
        return ("transcript", *steps)
    known = ", ".join((*TOP, *RunState.__struct_fields__, *Governed.__struct_fields__))
    raise ValueError(f"{path!r} names nothing in a run's state; there are {known}")


def pointer(steps: Sequence[str]) -> str:
    """`steps` as a JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def raw_at(checkpoint: Checkpoint, steps: Sequence[str]) -> Any:
    """What stands at `steps`, not yet shaped and so cheap to compare, or `MISSING`; `shaped` makes JSON of it."""
    if not steps:
        return checkpoint
    if steps[0] not in TOP:
        return MISSING
    value: Any = getattr(checkpoint, steps[0])
    for depth, step in enumerate(steps[1:], 1):
        if steps[0] == "transcript" and depth == 3:
            value = as_json(value)  # what is left out of a message is not there
        value = _inside(value, step)
        if value is MISSING:
            return MISSING
    if steps[0] == "transcript" and len(steps) > 2:
        return as_json(value)
    return value


def shaped(value: Any, steps: Sequence[str]) -> Any:
    """The JSON shape of what `raw_at` found at `steps`; None of `MISSING`."""
    if value is MISSING:
        return None
    if not steps:
        return shown(value)
    return _said(value) if steps[0] == "transcript" else plain(value)


def _inside(value: Any, step: str) -> Any:
    if isinstance(value, msgspec.Struct):
        if step in value.__struct_fields__:
            return getattr(value, step)
        tag = value.__struct_config__.tag
        return tag if step == "type" and tag is not None else MISSING
    if is_object(value):
        return value.get(step, MISSING)
    if is_list(value):
        if step.isdecimal() and step.isascii() and int(step) < len(value):
            return value[int(step)]
        return MISSING
    return MISSING
