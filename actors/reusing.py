"""Answers of recorded runs, for forks that would ask a model what it was asked before."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from ..errors import JournalError, UnknownRun
from ..events import AgentPrint, Usage
from ..ports import Agent, Journal, ModelRequest, Reply
from ..projections.recorded import RecordedRun, recorded_run

log = logging.getLogger("executus.calls")

KEPT = 16
"""Recordings kept in memory, at most: as many forks can follow theirs at once without reading a log twice."""


class Recordings:
    """The recordings of a journal's runs. Thread-safe; it reads, so not on a thread that must not block."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, RecordedRun] = OrderedDict()

    def find(self, run_id: str, agent: Agent, request: ModelRequest) -> Reply | None:
        """The reply of run `run_id` to what `request` would show the model of `agent`, with no usage; None if that run
        was shown something else at this step, or another model or other tools were there, or its log cannot be read.
        """
        try:
            recording = self._recording(run_id, request.step)
        except (JournalError, UnknownRun) as error:
            log.warning("the recording of run %s cannot be read: %s", run_id, error)
            return None
        step = recording.steps.get(request.step)
        if step is None or recording.agent is None or not is_same(recording.agent, step.phase, agent):
            return None
        if list(step.messages) != list(request.messages):
            return None
        done = step.completed
        return Reply(done.reply, Usage(), done.stop, done.model, done.response_id)

    def _recording(self, run_id: str, step: int) -> RecordedRun:
        with self._lock:  # what is kept was not erased since: no run can be, while one that goes on from it works
            known = self._kept.get(run_id)
        if known is not None and step not in known.steps:
            row = self._journal.run(run_id)
            known = known if row is not None and row.version == known.version else None
        if known is None:
            known = recorded_run(self._journal.read(run_id))
        with self._lock:
            self._kept[run_id] = known
            self._kept.move_to_end(run_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return known


def is_same(was: AgentPrint, phase: str, agent: Agent) -> bool:
    """Whether `agent`, as it works in `phase`, has the model and the tools that the recorded one had."""
    tools = tuple([tool.spec.name for tool in agent.tools])
    for one in was.phases:
        if one.name == phase:
            return (one.model, one.tools) == (agent.model_name, tools)
    return (was.model, was.tools) == (agent.model_name, (*tools, *agent.delegates)) and (
        was.fingerprint == agent.fingerprint
    )
