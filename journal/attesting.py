"""Checking signed anchors against a journal: whether what was signed for is still what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from ..ports.signing import Verifier
from .findings import Finding
from .heads import MOST_LINE, NOTHING, Anchor, NoAnchor, advanced, anchor_of
from .placed import Placed

NAMED: Final = 5
"""Runs of a span that are named; of more there is the number."""


class HeadsCheck:
    """The check of one file of anchors. First `of_file`; then `see` every event in order of position, and `of_the_end`.

    keys: the public keys that may have signed. since: events up to here are not seen, so that the first anchor after it
    can only be where to begin.
    """

    def __init__(self, path: Path, keys: Sequence[Verifier], *, since: int = 0) -> None:
        self._path = path
        self._keys = {key.key_id: key for key in keys}
        self._since = since
        self._anchors: list[Anchor] = []
        self._at = 0
        self._digest: bytes | None = NOTHING if not since else None
        self._from = since
        self._seen = since
        self._gap = False
        self._runs: dict[str, None] = {}
        self.anchors = 0
        self.partial = False
        """Events may be missing because the archive is: then a span with a gap can only not be checked."""

    @property
    def signed_to(self) -> int:
        """The highest position that a good anchor is about."""
        return max((anchor.position for anchor in self._anchors), default=0)

    # -------------------------------------------------------------- the file

    def of_file(self) -> Iterator[Finding]:
        """What is wrong with the anchors themselves. Only good ones are compared with the journal.

        Raises:
            OSError: the file cannot be read.
        """
        marks = {NOTHING}
        torn, why = 0, ""
        for number, line in enumerate(_lines(self._path), 1):
            where = f"{self._path.name}, line {number}"
            try:
                anchor = anchor_of(line)
            except NoAnchor as error:
                torn, why = number, str(error)
                continue
            if torn:
                if anchor.previous in marks:
                    yield Finding(f"{self._path.name}, line {torn} was never finished: {why}", remark=True)
                else:
                    yield Finding(f"{self._path.name}, line {torn}: {why}")
                torn = 0
            key = self._keys.get(anchor.key)
            if key is None:
                yield Finding(
                    f"{where}: signed with the key {anchor.key!r:.70}, which is not given", position=anchor.position
                )
            elif not key.verify(anchor.message, anchor.signature):
                yield Finding(f"{where}: its signature is wrong", position=anchor.position)
            else:
                self._anchors.append(anchor)
            if anchor.previous not in marks:  # two hosts may both have gone on from the same one
                what = "the first anchors are" if len(marks) == 1 else "an anchor before it is"
                yield Finding(f"{where}: {what} missing or altered", position=anchor.position)
            marks.add(anchor.mark)
        if torn:
            yield Finding(f"{self._path.name}, line {torn} is no anchor, or was never finished", remark=True)
        self.anchors = len(self._anchors)
        if not self._anchors:
            yield Finding(f"{self._path.name} has no anchor that could be checked")
        self._anchors.sort(key=lambda anchor: anchor.position)  # stable: of a position, the oldest first
        while self._at < len(self._anchors) and self._anchors[self._at].position < self._since:
            self._at += 1

    # -------------------------------------------------------------- the journal

    def see(self, event: Placed) -> Iterator[Finding]:
        """The next event of the journal."""
        if self._at >= len(self._anchors):
            self._seen = event.position
            return
        if event.position > self._anchors[self._at].position:
            yield from self._compare(event.position)
        if event.position != self._seen + 1:
            self._gap = True
        if self._digest is not None:
            self._digest = advanced(self._digest, event)
        if len(self._runs) <= NAMED or event.run in self._runs:
            self._runs[_named(event.run)] = None
        self._seen = event.position

    def _compare(self, before: int) -> Iterator[Finding]:
        """Compare with the anchors at positions below `before`."""
        while self._at < len(self._anchors) and self._anchors[self._at].position < before:
            anchor = self._anchors[self._at]
            self._at += 1
            if anchor.position > self._seen and not self._gap:
                self._gap = True
            if self._digest is not None and self._digest != anchor.digest:
                yield Finding(self._span(anchor), position=self._from + 1, remark=self._gap and self.partial)
            self._digest, self._from = anchor.digest, anchor.position
            self._gap, self._runs = False, {}

    def _span(self, anchor: Anchor) -> str:
        first, last = self._from + 1, anchor.position
        span = f"position {first}" if first == last else f"positions {first} to {last}"
        known = [run for run in self._runs if run]
        named = ", ".join(known[:NAMED]) + (", …" if len(known) > NAMED else "")
        if self._gap and self.partial:
            return f"whether {span} are as they were signed for cannot be seen without the archive"
        what = "are missing" if self._gap else "were altered, replaced or put elsewhere"
        runs = f"; runs there: {named}" if named else ""
        return f"what was signed for at position {last} is not there: events at {span} {what} since{runs}"

    def of_the_end(self) -> Iterator[Finding]:
        """What is wrong after the journal's last event."""
        last = self._seen
        yield from self._compare(last + 1)
        left = self._anchors[self._at :]
        if left:
            why = (
                f"the journal ends at position {last}; it was signed for up to {left[-1].position}: its end was cut off"
            )
            yield Finding(why, position=last + 1)
        signed = max((anchor.position for anchor in self._anchors), default=0)
        if signed < last:
            why = f"{last - signed} events after position {signed} are not signed for"
            yield Finding(why, position=signed + 1, remark=True)


def _lines(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE + 2):
            if line.strip():
                yield line


def _named(key: object) -> str:
    return str(UUID(bytes=key)) if isinstance(key, bytes) and len(key) == 16 else ""
