"""What a person may change in a conversation that a fork is to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import InputPart, Message, Part, RunForked, Text, Thinking, ToolResult
from .forking import last_words
from .run import calls_of


class Reword(msgspec.Struct, frozen=True):
    """Message `index` of the conversation says `text` instead; its images, calls and reasoning stay."""

    index: int
    text: str


class DropFrom(msgspec.Struct, frozen=True):
    """The conversation ends before message `index`."""

    index: int


class Say(msgspec.Struct, frozen=True):
    """A person says this next: text, or text and images."""

    input: str | tuple[InputPart, ...]


MessageEdit: TypeAlias = Reword | DropFrom | Say


def edited(forked: RunForked, edits: Sequence[MessageEdit]) -> RunForked:
    """`forked` with these changes, one after the other; indices are those of the conversation as it is then.

    Raises:
        ValueError: a change that cannot be made, with why.
    """
    for edit in edits:
        forked = _edited(forked, edit)
    return forked


def with_instructions(forked: RunForked, instructions: str) -> RunForked:
    """`forked` with other instructions at the head of its conversation; without any if they are empty."""
    messages = forked.messages
    rest = messages[1:] if messages and messages[0].role == "system" else messages
    head = (Message("system", (Text(instructions),)),) if instructions else ()
    return replace(forked, messages=(*head, *rest))


def _edited(forked: RunForked, edit: MessageEdit) -> RunForked:
    messages = forked.messages
    match edit:
        case Reword():
            _there(messages, edit.index)
            changed = _reworded(messages[edit.index], edit.text)
            return replace(forked, messages=(*messages[: edit.index], changed, *messages[edit.index + 1 :]))
        case DropFrom():
            _there(messages, edit.index)
            kept = messages[: edit.index]
            asked = next((place for place in reversed(range(len(kept))) if calls_of(kept[place].parts)), None)
            if asked is not None and len(kept) - asked - 1 < len(calls_of(kept[asked].parts)):
                raise ValueError(
                    f"without message {edit.index} and what follows, calls of message {asked} have no results; "
                    f"drop from {asked}"
                )
            cut = replace(forked, messages=kept, answers=(), heard=())
            return replace(cut, said=last_words(cut, "stop"))
        case Say():
            given = (Text(edit.input),) if isinstance(edit.input, str) else edit.input
            return replace(forked, heard=(*forked.heard, Message("user", given)), said=None)


def _there(messages: Sequence[Message], index: int) -> None:
    if not 0 <= index < len(messages):
        raise ValueError(f"there is no message {index}; the conversation has messages 0 to {len(messages) - 1}")


def _reworded(message: Message, text: str) -> Message:
    if message.role == "tool":
        parts = [replace(one, text=text) if isinstance(one, ToolResult) else one for one in message.parts]
        return Message("tool", tuple(parts))
    before = [one for one in message.parts if isinstance(one, Thinking)]
    after = [one for one in message.parts if not isinstance(one, (Thinking, Text))]
    said: list[Part] = [Text(text)] if text or not after else []
    return Message(message.role, (*before, *said, *after))
