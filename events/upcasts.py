"""Yesterday's payloads read as today's facts: one pure step for each change of a schema.

An upcast takes the payload as a plain dict and returns it one schema version higher. A new field with a default
needs none; an upcast is for what msgspec cannot see, such as a renamed field or another unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Payload: TypeAlias = dict[str, Any]
Upcast: TypeAlias = Callable[[Payload], Payload]


def _forked(payload: Payload) -> Payload:
    """Nothing is renamed. The schema is a new one since a host that does not know of `paused` would work on the run."""
    return payload


UPCASTS: Final[Mapping[tuple[str, int], Upcast]] = {("run-forked", 1): _forked}
"""(tag, schema version it reads) -> the step to the next version."""


def upcast(
    tag: str, schema: int, today: int, payload: Payload, steps: Mapping[tuple[str, int], Upcast] = UPCASTS
) -> Payload:
    """Bring `payload` from `schema` up to `today`, one step at a time.

    Raises:
        KeyError: a step is missing, which is a mistake in this table and not in the log.
    """
    for version in range(schema, today):
        payload = steps[tag, version](payload)
    return payload
