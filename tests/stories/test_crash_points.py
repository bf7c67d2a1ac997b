"""The process dies at each point of a run's life: what the next host finds, and what it does. The rows are those of
docs/crash-points.md, by name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crash_stories import DEATH, Place, begin, bring_to_an_end, opened

from executus.events import ToolOutcomeUnknown
from executus.journal import verify_run

PAGE = (Path(__file__).parents[2] / "docs" / "crash-points.md").read_text()
HOST = Path(__file__).parents[1] / "crash_stories.py"


@dataclass
class Row:
    """story, point: see `crash_stories`. again: points at which further hosts die. What the last host comes to, where
    it is said: status; how often the model was called (`models`), the tool acted (`acts`) and was asked (`asked`), the
    output was handed over (`handed`); `unknown` outcomes; further facts in the log, and how many of each.
    """

    story: str
    point: str
    again: tuple[str, ...] = ()
    status: str = "ok"
    models: int | None = None
    acts: int | None = None
    asked: int | None = None
    handed: int | None = None
    unknown: int = 0
    facts: dict[str, int] = field(default_factory=dict)


ROWS = {
    # admission
    "before RunStarted is durable": Row("pure", "before run-started", models=2, acts=1),
    "RunStarted is durable, the caller not told": Row("pure", "after run-started", models=2, acts=1),
    "the caller was told": Row("pure", "in start, done", status="ok"),
    # steps
    "before StepStarted is durable": Row("pure", "before step-started", models=2),
    "StepStarted is durable, the model not called": Row(
        "pure", "after step-started", models=2, facts={"step-failed": 1}
    ),
    "the model is being called": Row("pure", "in model 1", models=3, facts={"step-failed": 1}),
    "the model answered, nothing is stored": Row(
        "pure", "before step-completed", models=3, facts={"step-completed": 2}
    ),
    # tools
    "StepCompleted and ToolStarted are durable, the tool not begun": Row(
        "never_retry", "after step-completed", acts=0, unknown=1
    ),
    "the same, of a tool that may be run again": Row("idempotent", "after step-completed", acts=1),
    "a pure tool is running": Row("pure", "in tool", acts=1),
    "an idempotent tool has acted, nothing is stored": Row("idempotent", "in tool, done", acts=2),
    "a tool that is never retried is running": Row("never_retry", "in tool", acts=0, unknown=1),
    "a tool that is never retried has acted, nothing is stored": Row("never_retry", "in tool, done", acts=1, unknown=1),
    "before ToolFinished is durable": Row("idempotent", "before tool-finished", acts=2),
    "ToolFinished is durable": Row("idempotent", "after tool-finished", acts=1, facts={"tool-finished": 1}),
    # reconcile
    "a reconcilable tool is running": Row("reconcilable", "in tool", acts=1, asked=1, facts={"tool-reconciled": 1}),
    "a reconcilable tool has acted, nothing is stored": Row(
        "reconcilable", "in tool, done", acts=1, asked=1, facts={"tool-reconciled": 1}
    ),
    "before ReconcileStarted is durable": Row(
        "reconcilable", "in tool, done", ("before reconcile-started",), acts=1, asked=1
    ),
    "ReconcileStarted is durable, the tool not asked": Row(
        "reconcilable", "in tool, done", ("after reconcile-started",), acts=1, asked=1, facts={"reconcile-started": 1}
    ),
    "the tool is being asked": Row(
        "reconcilable", "in tool, done", ("in reconcile",), acts=1, asked=2, facts={"reconcile-started": 1}
    ),
    "the tool said that it happened, nothing is stored": Row(
        "reconcilable", "in tool, done", ("before tool-reconciled",), acts=1, asked=2
    ),
    "ToolReconciled and ToolFinished are durable": Row(
        "reconcilable", "in tool, done", ("after tool-reconciled",), acts=1, asked=1
    ),
    "ToolReconciled says that it did not happen, the tool not begun": Row(
        "reconcilable", "in tool", ("after tool-reconciled",), acts=1, asked=2, facts={"reconcile-started": 2}
    ),
    "the tool runs a second time": Row(
        "reconcilable", "in tool", ("in tool",), acts=1, asked=2, facts={"reconcile-started": 2}
    ),
    "the tool has acted the second time, nothing is stored": Row(
        "reconcilable", "in tool", ("in tool, done",), acts=1, asked=2, facts={"reconcile-started": 2}
    ),
    # family
    "before ChildStarted is durable": Row("child", "before child-started", acts=1, facts={"child-started": 1}),
    "ChildStarted is durable, the child not begun": Row(
        "child", "before run-started of child", acts=1, facts={"child-started": 1}
    ),
    "the child's RunStarted is durable": Row("child", "after run-started of child", acts=1, facts={"child-started": 1}),
    "the child's tool is running": Row("child", "in tool", acts=1),
    "the child's RunFinished is durable": Row(
        "child", "after run-finished of child", acts=1, facts={"child-finished": 1}
    ),
    "before ChildFinished is durable": Row("child", "before child-finished", acts=1, facts={"child-finished": 1}),
    "ChildFinished is durable": Row("child", "after child-finished", acts=1, facts={"child-finished": 1}),
    # people
    "before ApprovalRequested is durable": Row("approval", "before approval-requested", acts=1, models=3),
    "ApprovalRequested is durable": Row("approval", "after approval-requested", acts=1, models=2),
    "before ApprovalGranted is durable": Row(
        "approval", "before approval-granted", acts=1, facts={"approval-granted": 1}
    ),
    "ApprovalGranted and ToolStarted are durable, the tool not begun": Row(
        "approval", "after approval-granted", acts=1, facts={"approval-granted": 1}
    ),
    "before InputReceived is durable": Row("talk", "before input-received", models=2, facts={"input-received": 1}),
    "InputReceived is durable": Row("talk", "after input-received", facts={"input-received": 1}),
    "the run waits, and its actor is gone": Row("asleep", "in waiting", facts={"input-received": 1}),
    "before NoteLogged is durable": Row("talk", "before note-logged", facts={"note-logged": 1}),
    "NoteLogged is durable": Row("talk", "after note-logged", facts={"note-logged": 2}),
    # phases
    "before PhaseFinished and PhaseStarted are durable": Row(
        "phases", "before phase-finished", facts={"phase-started": 2, "phase-finished": 2}
    ),
    "PhaseFinished and PhaseStarted are durable": Row(
        "phases", "after phase-finished", facts={"phase-started": 2, "phase-finished": 2}
    ),
    # supervision
    "before CriticSteered is durable": Row("steered", "before critic-steered"),
    "CriticSteered is durable": Row("steered", "after critic-steered", facts={"critic-steered": 1}),
    "DeadlineExtended is durable": Row("extended", "after deadline-extended", facts={"deadline-extended": 1}),
    "before CriticKilled and RunFinished are durable": Row("killed", "before critic-killed", status="*"),
    "CriticKilled and RunFinished are durable": Row(
        "killed", "after critic-killed", status="killed", facts={"run-finished": 1}
    ),
    # budget
    "the reservation in StepStarted is durable": Row("budget", "after step-started", facts={"step-failed": 1}),
    "before the settlement in StepCompleted is durable": Row("budget", "before step-completed", models=3),
    "the settlement in StepCompleted is durable": Row("budget", "after step-completed", models=2),
    "before BudgetExceeded and RunFinished are durable": Row(
        "spent", "before budget-exceeded", status="budget_exceeded"
    ),
    "BudgetExceeded and RunFinished are durable": Row("spent", "after budget-exceeded", status="budget_exceeded"),
    # files and delivery
    "an artifact's bytes are stored, ArtifactStored is not": Row("artifact", "before artifact-stored"),
    "ArtifactStored is durable": Row("artifact", "after artifact-stored", facts={"artifact-stored": 1}),
    "before RunFinished is durable": Row("delivery", "before run-finished", handed=1),
    "RunFinished is durable, nobody was told": Row("delivery", "after run-finished", handed=1, models=1),
    "before DeliveryAttempted is durable": Row("delivery", "before delivery-attempted", handed=1),
    "DeliveryAttempted is durable, nothing was handed over": Row(
        "delivery", "after delivery-attempted", handed=1, facts={"delivery-attempted": 2}
    ),
    "the output was handed over, Delivered is not durable": Row(
        "delivery", "in delivery, done", handed=2, facts={"delivery-attempted": 2}
    ),
    "Delivered is durable": Row("delivery", "after delivered", handed=1, facts={"delivery-attempted": 1}),
    # recovery and close
    "before the attempts to take runs up are durable": Row(
        "idempotent", "in tool", ("before keeping",), acts=1, facts={"run-resumed": 1}
    ),
    "the attempts are durable, nothing was tried": Row(
        "idempotent", "in tool", ("after keeping",), acts=1, facts={"run-resumed": 1}
    ),
    "before RunResumed is durable": Row(
        "idempotent", "in tool", ("before run-resumed",), acts=1, facts={"run-resumed": 1}
    ),
    "RunResumed is durable": Row("idempotent", "in tool", ("after run-resumed",), acts=1, facts={"run-resumed": 2}),
    "the host is closing": Row("idempotent", "in tool", ("in close",), acts=1),
}


def die(place: Place, row: Row, point: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HOST), str(place.folder), row.story, point],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == DEATH, f"it never came there: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", ROWS)
def test_what_the_next_host_does_after_a_death_at(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    place = Place(tmp_path)
    for point in (row.point, *row.again):
        die(place, row, point)
    started = place.notes("ack-start")
    with opened(place, row.story) as runtime:
        run = begin(place, row.story, runtime)
        if started:
            assert started[0] == [run.id], "who was told of a run finds it again (P3)"
        result = bring_to_an_end(place, row.story, run)
        if row.handed is not None:
            with runtime.events() as events:
                while not any(event.tag == "delivered" for event in events.take(20)):
                    pass
        log = runtime.journal.read(run.id, verify=True)
        for other in runtime.runs():
            assert other.over, "every run ends (P5)"
            assert verify_run(runtime._stored, other.run_id) == []
        roots = [
            one for one in runtime.runs() if not runtime.journal.read(one.run_id, limit=1)[0].fact.info.parent_run_id
        ]  # type: ignore[union-attr]
        assert [one.run_id for one in roots] == [run.id], "one request is one run (P3)"
        assert runtime.suspended() == []
    counts = Counter(event.tag for event in log)
    seen: dict[str, Any] = {
        "status": result.status if row.status != "*" else "*",
        "unknown": sum(isinstance(event.fact, ToolOutcomeUnknown) for event in log),
        "models": len(place.notes("model")),
        "acts": len(place.notes("act")),
        "asked": len(place.notes("asked")),
        "handed": len(place.notes("delivered")),
        "facts": {tag: counts[tag] for tag in row.facts},
    }
    want = {key: value for key, value in vars(row).items() if key in seen and value is not None}
    assert {key: seen[key] for key in want} == want
    finished = [event.fact.call for event in log if event.tag == "tool-finished"]  # type: ignore[union-attr]
    assert len(finished) == len(set(finished)), "a call is finished once (P4)"
    keys = [key for (key,) in place.notes("act")]
    assert row.story not in ("never_retry", "reconcilable") or len(keys) == len(set(keys)), "and happened once (P4)"


def test_every_point_has_its_row_on_the_page_and_every_row_its_test() -> None:
    told = re.findall(r"^\| ([^|]+?) \| .* \| .* \|$", PAGE, re.MULTILINE)
    assert sorted(one for one in told if one not in ("point", "---")) == sorted(ROWS)
