"""What changed from one JSON shape to another, and between two checkpoints, as steps of a patch (RFC 6902).

Our own and no library's, because people and `blame` want to see what was there before, which a patch does not tell, and
because two checkpoints of one run share most of what they hold, which need not be compared again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Literal, cast

import msgspec

from ..events import Message
from .fold import Checkpoint
from .grown import Grown
from .shown import as_json, is_list, is_object, plain, pointer


class Change(msgspec.Struct, frozen=True):
    """One step from the old shape to the new. path: a JSON pointer. before: None of "add". after: None of "remove"."""

    op: Literal["add", "remove", "replace"]
    path: str
    before: Any = None
    after: Any = None


def patch(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """`changes` as the operations of a JSON Patch, to be applied in this order."""
    return [
        {"op": one.op, "path": one.path} if one.op == "remove" else {"op": one.op, "path": one.path, "value": one.after}
        for one in changes
    ]


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The steps from `before` to `after`, both JSON values that stand at `path`; none if they are equal."""
    if is_object(before) and is_object(after):
        yield from _of_objects(before, after, path)
    elif is_list(before) and is_list(after):
        yield from _of_lists(before, after, path, 0)
    elif before != after:
        yield Change("replace", path, before, after)


def _of_objects(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Change]:
    for name in before:
        if name not in after:
            yield Change("remove", path + pointer((name,)), before[name])
    for name, value in after.items():
        if name in before:
            yield from changes(before[name], value, path + pointer((name,)))
        else:
            yield Change("add", path + pointer((name,)), None, value)


def _of_lists(before: Sequence[Any], after: Sequence[Any], path: str, skipped: int) -> Iterator[Change]:
    """skipped: items in front of both, which are the same."""
    most = min(len(before), len(after))
    head = 0
    while head < most and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < most - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    first = skipped + head
    both = min(len(old), len(new))
    for index in range(both):
        place = f"{path}/{first + index}"
        if _another(old[index], new[index]):
            yield Change("replace", place, old[index], new[index])
        else:
            yield from changes(old[index], new[index], place)
    for index in range(len(old) - 1, both - 1, -1):
        yield Change("remove", f"{path}/{first + index}", old[index])
    for index in range(both, len(new)):
        yield Change("add", f"{path}/{first + index}", None, new[index])


NAMES: Final = ("call", "id", "role", "run_id", "type")
"""What tells the items of a list apart: if one of these differs it is another item, not the same one changed."""


def _another(before: Any, after: Any) -> bool:
    if not is_object(before) or not is_object(after):
        return False
    return any(before.get(name) != after.get(name) for name in NAMES)


# ------------------------------------------------------------------ checkpoints


def changed(before: Checkpoint, after: Checkpoint) -> list[Change]:
    """The steps from `shown(before)` to `shown(after)`, without making either."""
    found = chain.from_iterable(
        changes(getattr(before, name), getattr(after, name), f"/{name}")
        for name in ("version", "elapsed_ms", "withheld")
    )
    return [
        *found,
        *_of_structs(before.state, after.state, "/state"),
        *of_messages(before.transcript.messages, after.transcript.messages, "/transcript/messages"),
        *chain.from_iterable(
            changes(
                _told(getattr(before.transcript, name)), _told(getattr(after.transcript, name)), f"/transcript/{name}"
            )
            for name in ("asked", "answers", "heard")
        ),
    ]


def of_messages(before: Grown[Message], after: Grown[Message], path: str) -> Iterator[Change]:
    """The steps from one conversation to another, without looking at what both begin with."""
    same = alike(before, after)
    yield from _of_lists(_told(before[same:]), _told(after[same:]), path, same)


def alike(one: Grown[Message], other: Grown[Message]) -> int:
    """How many messages both begin with."""
    most = min(len(one), len(other))
    if one.shares(other):
        return most
    mine, theirs = one[:most], other[:most]
    if mine == theirs:  # nearly always, and then the same objects
        return most
    return next(index for index in range(most) if mine[index] != theirs[index])


def _of_structs(before: msgspec.Struct, after: msgspec.Struct, path: str) -> Iterator[Change]:
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new:
            yield from changes(plain(old), plain(new), f"{path}/{name}")


def _told(messages: Any) -> list[Any]:
    return cast("list[Any]", as_json(list(messages)))
