"""What the page is given of states, messages, changes and families: JSON values, long ones cut with a note of how long.

The whole of an event can always be asked for; a state of which every text were whole could be as large as the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, cast

from ..events import Message
from ..projections import Checkpoint
from ..projections.bounds import bounds
from ..projections.changes import Change
from ..projections.shown import as_json, plain
from ..travel import Branch, Member

TEXT: Final = 4_000
"""Characters of a text that are sent with a state or a change."""
MESSAGE: Final = 20_000
"""Characters of a text that are sent with a message."""
ITEMS: Final = 200
"""Items of a list that are sent."""
CHANGES: Final = 300
"""Changes that are sent of a difference."""


def cut(value: Any, text: int = TEXT, items: int = ITEMS) -> Any:
    """A JSON value with long texts and long lists cut: the end of either says how much is missing."""
    if isinstance(value, str):
        return value if len(value) <= text else f"{value[:text]}… ({len(value) - text:,} more characters)"
    if isinstance(value, (list, tuple)):
        many = cast("Sequence[Any]", value)
        short = [cut(one, text, items) for one in islice(many, items)]
        return short if len(many) <= items else [*short, f"… ({len(many) - items:,} more)"]
    if isinstance(value, dict):
        return {name: cut(one, text, items) for name, one in cast("dict[str, Any]", value).items()}
    return value


def state_shape(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state as in `travel.shown`, without the conversation, which is asked for by the piece."""
    transcript = checkpoint.transcript
    return {
        "version": checkpoint.version,
        "elapsed_ms": checkpoint.elapsed_ms,
        "withheld": checkpoint.withheld,
        "state": cut(plain(checkpoint.state)),
        "transcript": {
            "messages": len(transcript.messages),
            "asked": cut(as_json(list(transcript.asked))),
            "answers": cut(as_json(list(transcript.answers))),
            "heard": cut(as_json(list(transcript.heard))),
        },
    }


def bounds_shape(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Each limit and how much of it was used then."""
    return [plain(bound) for bound in bounds(checkpoint.state, checkpoint.elapsed_ms)]


def messages_shape(messages: Sequence[Message], skip: int, limit: int) -> dict[str, Any]:
    """`limit` messages from index `skip` on, with their indexes. Of an image, its size instead of its bytes."""
    return {
        "total": len(messages),
        "skip": skip,
        "messages": [message_shape(one, skip + index) for index, one in enumerate(messages[skip : skip + limit])],
    }


def message_shape(message: Message, index: int) -> dict[str, Any]:
    """One message of a conversation."""
    shape: dict[str, Any] = as_json(message)
    for part in shape["parts"]:
        if part.get("data"):
            part["bytes"] = len(part.pop("data")) * 3 // 4
    return {"index": index, **cut(shape, MESSAGE)}


def changes_shape(changes: Iterable[Change]) -> dict[str, Any]:
    """The first changes of a difference, and how many there are."""
    found = list(changes)
    return {"total": len(found), "changes": [cut(plain(one)) for one in found[:CHANGES]]}


def member_shape(member: Member) -> dict[str, Any]:
    """A run of a family as it stood, and those below it."""
    state = member.checkpoint.state
    return {
        "run": member.run_id,
        "name": member.name,
        "kind": member.kind,
        "call": member.call,
        "version": member.version,
        "status": member.status if member.version else "unborn",
        "doing": state.doing,
        "step": state.step,
        "tool_calls": state.tool_calls,
        "tokens": state.input_tokens + state.output_tokens,
        "cost_usd": state.cost_usd,
        "error": cut(state.error, 200),
        "children": [member_shape(child) for child in member.children],
    }


def branch_shape(branch: Branch) -> dict[str, Any]:
    """A run of a lineage, and those that go on from it."""
    return {
        "run": branch.run_id,
        "version": branch.version,
        "known": branch.known,
        "children": [branch_shape(child) for child in branch.children],
    }
