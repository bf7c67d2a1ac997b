"""A family of runs, cut at one global position: parent and children as they stood at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from ..errors import UnknownRun
from ..events import ChildStarted
from ..ports import Journal
from ..projections import Checkpoint
from ..projections.overview import RowStatus
from .recording import Recording

Kind: TypeAlias = Literal["agent", "skill"]


class Member(msgspec.Struct, frozen=True):
    """One run of a family as it stood then. version: of its newest event at or before the cut, 0 if it had none yet, or
    is not in the journal. position: of that event. call: of the parent's that is this run, "" for the root. name: of
    its agent or skill. children: those it had started by then, in order.
    """

    run_id: str
    name: str
    kind: Kind
    call: str
    version: int
    position: int
    checkpoint: Checkpoint
    children: tuple[Member, ...] = ()

    @property
    def status(self) -> RowStatus:
        """How it stood."""
        state = self.checkpoint.state
        if state.status is not None:
            return state.status
        return "running" if state.doing not in ("new", "waiting") else "new" if state.doing == "new" else "waiting"


class Family(msgspec.Struct, frozen=True):
    """All runs of a family as of `position` of the whole journal."""

    position: int
    root: Member

    def members(self) -> Iterator[Member]:
        """Every run, parents before their children."""
        left = [self.root]
        while left:
            member = left.pop()
            yield member
            left += reversed(member.children)


class Kin:
    """The family of a run for random access, from its root down. Not thread-safe.

    Raises:
        UnknownRun: no such run.
    """

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal = journal
        asked = Recording(journal, run_id)
        self._recordings: dict[str, Recording] = {run_id: asked}
        root = asked.at(min(1, asked.head)).state.governed.root or run_id
        self.root = root if self._recording(root) is not None else run_id

    def at(self, position: int) -> Family:
        """The family as of `position` of the whole journal.

        Raises:
            LogCorrupt: the log of a member does not decode or fold up to there.
        """
        return Family(position, self._member(self.root, None, position, set()))

    def refresh(self) -> None:
        """Take in what was appended to the logs of the family since."""
        for recording in self._recordings.values():
            recording.refresh()

    def _member(self, run_id: str, born: ChildStarted | None, position: int, above: set[str]) -> Member:
        recording = self._recording(run_id)
        version = recording.version_at(position) if recording is not None else 0
        checkpoint, at, children = Checkpoint(), 0, list[ChildStarted]()
        if recording is not None and version:
            checkpoint, at = recording.at(version), recording.event(version).position
            children = recording.born(version)
        within = {*above, run_id}
        return Member(
            run_id,
            checkpoint.state.agent or (born.name if born is not None else ""),
            born.kind if born is not None else "agent",
            born.call if born is not None else "",
            version,
            at,
            checkpoint,
            tuple(self._member(one.run_id, one, position, within) for one in children if one.run_id not in within),
        )

    def _recording(self, run_id: str) -> Recording | None:
        if run_id not in self._recordings:
            try:
                self._recordings[run_id] = Recording(self._journal, run_id)
            except UnknownRun:  # it never came to be, or is in another journal, or does not exist yet
                return None
        return self._recordings[run_id]


def family_at(journal: Journal, run_id: str, position: int) -> Family:
    """The whole family of a run, each member as of its newest event at or before `position` of the whole journal.

    Raises:
        UnknownRun: no such run. LogCorrupt: the log of a member does not decode or fold up to there.
    """
    return Kin(journal, run_id).at(position)
