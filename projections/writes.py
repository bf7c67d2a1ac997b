"""Who wrote what stands at one place of a run's state: every event that changed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeGuard

import msgspec

from ..events import Event, Message, StepCompleted
from .changes import Change, changes, of_messages
from .fold import Checkpoint
from .grown import Grown
from .moments import title_of
from .shown import MISSING, pointer, raw_at, shaped


class Write(msgspec.Struct, frozen=True):
    """An event that changed the value at a place. by: who gave the order, if the fact or its cause says so, "model" of
    a reply, else "". title: what the event says. op: as in a patch. `before` and `after` are JSON values, made when
    asked for, since a long list has many versions; None where nothing was.
    """

    version: int
    position: int
    at_us: int
    tag: str
    by: str
    title: str
    op: Literal["add", "remove", "replace"]
    place: tuple[str, ...]
    raw_before: Any
    raw_after: Any

    @property
    def before(self) -> Any:
        """The value before the event."""
        return shaped(self.raw_before, self.place)

    @property
    def after(self) -> Any:
        """The value after it."""
        return shaped(self.raw_after, self.place)

    @property
    def changes(self) -> list[Change]:
        """What is different in it, as steps of a patch; cheap also for a conversation with many messages."""
        path = pointer(self.place)
        if _is_conversation(self.raw_before) and _is_conversation(self.raw_after):
            return list(of_messages(self.raw_before, self.raw_after, path))
        if self.op != "replace":
            return [Change(self.op, path, self.before, self.after)]
        return list(changes(self.before, self.after, path))


def _is_conversation(value: object) -> TypeGuard[Grown[Message]]:
    return isinstance(value, Grown)


def writes(
    story: Iterable[tuple[Event, Checkpoint]], place: Sequence[str], start: Checkpoint = Checkpoint()
) -> Iterator[Write]:
    """The events that changed what stands at `place` (see `shown.place_of`). story: a run's events that follow on
    `start`, each with the checkpoint after it.
    """
    steps = tuple(place)
    before = raw_at(start, steps)
    for event, checkpoint in story:
        after = raw_at(checkpoint, steps)
        if after is before or after == before:
            continue
        op: Literal["add", "remove", "replace"] = (
            "add" if before is MISSING else "remove" if after is MISSING else "replace"
        )
        title = title_of(event.fact)
        by = author_of(event)
        yield Write(event.version, event.position, event.at_us, event.tag, by, title, op, steps, before, after)
        before = after


def author_of(event: Event) -> str:
    """Who is behind an event, as far as it says so."""
    by: str = getattr(event.fact, "by", "") or event.cause
    if by:
        return by
    return "model" if isinstance(event.fact, StepCompleted) else ""
