from __future__ import annotations

import json
from typing import Any

import msgspec

from executus.adapters.tools.status import self_status
from executus.events import Limits
from executus.ports import Tool, ToolContext
from executus.projections import RunState, evolve
from executus.projections import self_status as status_of
from executus.testing import SPEC_RUN_ID, run_started


class Counter:
    """A desk of a run of which nothing but the status is wanted."""

    def __init__(self, state: RunState, now_ms: int) -> None:
        self._state, self._now_ms = state, now_ms

    def status(self) -> dict[str, Any]:
        return status_of(self._state, self._now_ms)

    def open_file(self, file_id: str) -> bytes:
        raise NotImplementedError

    def keep(self, name: str, content: bytes, media_type: str = "") -> str:
        raise NotImplementedError


def test_a_run_is_told_its_tallies_its_limits_and_its_deadline() -> None:
    limits = Limits(max_steps=7, timeout_s=60.0, max_attempts=4, max_tokens=500)
    state = evolve(RunState(), msgspec.structs.replace(run_started(), limits=limits))
    told = self_status.call("", ToolContext(SPEC_RUN_ID, "1.0", "key", desk=Counter(state, 15_000)))
    assert isinstance(told, str)
    status = json.loads(told)
    assert status == status_of(state, 15_000)
    assert (status["run_id"], status["deadline_in_s"], status["tool_calls"]) == (SPEC_RUN_ID, 45.0, 0)
    assert {bound["measure"]: bound["left"] for bound in status["limits"]} == {
        "steps": 7,
        "tokens": 500,
        "seconds": 45.0,
    }


def test_without_a_desk_it_says_in_a_sentence_that_nothing_is_known() -> None:
    told = self_status.call("{}", ToolContext("r", "1.0", "r:1.0"))
    assert told == "Where this tool runs, nothing is known about the run: neither what it has used nor its limits."


def test_it_is_a_pure_tool_without_arguments_that_never_asks_first() -> None:
    assert isinstance(self_status, Tool)
    assert (self_status.spec.name, self_status.effect) == ("self_status", "pure")
    assert self_status.spec.schema["properties"] == {}
    assert self_status.approval("") is None
