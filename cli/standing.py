"""How runs stand, seen from outside: by their logs, by what hosts keep of attempts to take them up, and by whether a
host is there.
"""

from __future__ import annotations

from ..errors import JournalError, UnknownRun
from ..events import RunStarted
from ..ports import Journal, Recovery
from ..projections import NOT_BEGUN
from ..projections.overview import Overview

MOST_LEVELS = 100
"""Parents above a run that are looked at."""


class Standings:
    """How each run of `journal` stands. alive: whether a host has it open now."""

    def __init__(self, journal: Journal, alive: bool) -> None:
        self._journal = journal
        self.alive = alive
        self.recoveries: dict[str, Recovery] = {one.run_id: one for one in journal.recoveries()}
        self._parents: dict[str, str] = {}

    def of(self, row: Overview) -> tuple[str, str]:
        """The status to show of a run, and why it is not at work if it is neither that nor over."""
        if row.state.status is not None:
            return row.status, ""
        known = self.recoveries.get(row.run_id)
        if known is not None and known.quarantined:
            return "quarantined", known.why
        if known is not None and known.standing == "waiting":
            return "waiting", known.why
        why = self._above(row.info.parent_run_id)
        if why:
            return "waiting", why
        if row.state.governed.paused:
            return "waiting", NOT_BEGUN
        if row.status in ("running", "new") and not self.alive:
            return "suspended", "no host has this journal open"
        return row.status, ""

    def _above(self, parent: str) -> str:
        """Why a child waits for its parent, or for one above that."""
        for _ in range(MOST_LEVELS):
            known = self.recoveries.get(parent)
            if not parent:
                break
            if known is not None and known.standing != "trying":
                how = "is quarantined" if known.quarantined else "waits"
                return f"it waits for its parent {parent}, which {how}: {known.why}"
            parent = self._parent_of(parent)
        return ""

    def _parent_of(self, run_id: str) -> str:
        if run_id not in self._parents:
            try:
                first = self._journal.read(run_id, limit=1)
                fact = first[0].fact if first else None
            except (JournalError, UnknownRun):
                fact = None
            self._parents[run_id] = fact.info.parent_run_id if isinstance(fact, RunStarted) else ""
        return self._parents[run_id]
