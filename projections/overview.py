"""A run in one row: what a list of runs shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from ..events import Event, RunInfo, RunStarted, Status
from .run import RunState, evolve

RowStatus: TypeAlias = Literal["new", "running", "waiting"] | Status
"""How a run stands by its log alone: whether a host is alive to run it, the log cannot know."""

FIRST = RunInfo(run_id="", name="")


class Overview(msgspec.Struct, frozen=True):
    """state: where the run stands. info, model, imported_from: as it was started. version: of its newest event.
    started_at_us, changed_at_us: wall clock of its first and newest event. elapsed_ms: the run's own clock then.
    doing: what runs now, newest tool first, such as "read_file" or "model".
    """

    state: RunState = RunState()
    info: RunInfo = FIRST
    model: str = ""
    imported_from: str = ""
    version: int = 0
    started_at_us: int = 0
    changed_at_us: int = 0
    elapsed_ms: int = 0

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.info.run_id

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self.state.agent

    @property
    def status(self) -> RowStatus:
        """The end status, or "waiting" for a person, "running" for anything else that is not over."""
        if self.state.status is not None:
            return self.state.status
        if self.state.doing in ("new", "waiting"):
            return self.state.doing
        return "running"

    @property
    def doing(self) -> str:
        """What the run does now: the tools it waits for, the model, a pause, a person; empty when it is over."""
        match self.state.doing:
            case "model":
                return "model"
            case "backoff":
                return "waits to try again"
            case "tools":
                return ", ".join(call.name for call in self.state.open_calls)
            case "waiting":
                return "waits to be begun" if self.state.governed.paused else "waits for a person"
            case _:
                return ""


def evolve_overview(row: Overview, event: Event) -> Overview:
    """Return the row after `event`."""
    fact = event.fact
    if isinstance(fact, RunStarted):
        row = replace(
            row, info=fact.info, model=fact.agent.model, imported_from=fact.imported_from, started_at_us=event.at_us
        )
    return replace(
        row,
        state=evolve(row.state, fact),
        version=event.version,
        changed_at_us=event.at_us,
        elapsed_ms=event.elapsed_ms,
    )


def overview(events: Iterable[Event], start: Overview | None = None) -> Overview:
    """Fold `events` onto `start`, or onto nothing."""
    row = start if start is not None else Overview()
    for event in events:
        row = evolve_overview(row, event)
    return row
