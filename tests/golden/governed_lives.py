"""Lives of runs that hold every fact of supervision, budgets, people, families, files and deliveries."""

from __future__ import annotations

from typing import Any

from executus.events import (
    AgentPrint,
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    ArtifactStored,
    BudgetExceeded,
    BudgetNoticed,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    Fact,
    FamilyAwaited,
    HostSlept,
    InputStaged,
    Limits,
    Message,
    OutputRefused,
    PhaseFinished,
    PhasePrint,
    PhaseStarted,
    RunBegun,
    RunFinished,
    RunForked,
    RunStarted,
    RunStats,
    SoftTimeoutReached,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolRefused,
    ToolStarted,
    Totals,
    Usage,
)
from executus.events.values import RunInfo

LIMITS = Limits(
    max_steps=9,
    timeout_s=100.5,
    max_attempts=2,
    soft_timeout_s=10.0,
    max_tool_calls=20,
    max_tokens=9_000,
    max_cost_usd=2.5,
    max_depth=2,
    raise_steps_to=15,
    extend_to_s=300.0,
    notice_at=(0.5, 0.9),
)
PHASES = (
    PhasePrint(
        name="draft",
        instructions="Draft it.",
        model="openai:gpt-5-mini",
        tools=("look",),
        max_steps=4,
        timeout_s=50.0,
        max_tool_calls=9,
        max_tokens=5_000,
        max_cost_usd=1.0,
    ),
    PhasePrint(name="polish"),
)
SPENT = Totals(steps=2, tool_calls=1, tokens=120, cost_usd=0.5)
SHA = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def governed(started: RunStarted, info: RunInfo, child: str) -> list[Fact]:
    """A run in phases, with approvals, a child, files and a critic that kills it; its output is delivered."""
    agent = AgentPrint(name="writer", model="tier:deep", phases=PHASES, kind="skill")
    first: Any = {"info": info, "agent": agent, "limits": LIMITS, "budgeted": True, "deliver": True}
    calls = tuple(ToolCall(f"id-{index}", name) for index, name in enumerate(("pay", "pay", "pay", "agent__helper")))
    stats = RunStats(status="killed", output="Done?", steps=3, tool_calls=3, input_tokens=25, output_tokens=10)
    return [
        RunStarted(input=started.input, **first),
        InputStaged(file_id="file-1", name="a.pdf", media_type="application/pdf", size=5, sha256=SHA),
        PhaseStarted(phase="draft", index=0, instructions="Draft it.", input=(Text("go"),), at_ms=1),
        BudgetNoticed(measure="tokens", fraction=0.5, spent=4_500.0, limit=9_000.0),
        StepStarted(step=1, reserved_tokens=1_000, reserved_usd=0.25),
        StepCompleted(step=1, reply=calls, usage=Usage(input=10, output=5), stop="tool_calls"),
        ApprovalRequested(
            call="1.0",
            name="pay",
            effect="idempotent",
            expires_at_us=1_700_000_001_000_000,
            default="grant",
            question="Pay?",
        ),
        ApprovalRequested(call="1.1", name="pay"),
        ApprovalRequested(call="1.2", name="pay"),
        ChildStarted(call="1.3", name="agent__helper", run_id=child, kind="skill", limits=LIMITS),
        ChildWaited(call="1.3", run_id=child),
        FamilyAwaited(since_ms=700),
        ChildWentOn(call="1.3", run_id=child, waited_ms=50),
        ChildFinished(call="1.3", run_id=child, status="timeout", output="half", spent=SPENT),
        ApprovalAwaited(since_ms=900),
        ApprovalGranted(call="1.0", by="alice", waited_ms=100),
        ToolStarted(call="1.0", name="pay", effect="idempotent"),
        ApprovalDenied(call="1.1", by="bob", reason="too much", waited_ms=1),
        ToolRefused(call="1.1", name="pay", reason="the approval was denied by bob: too much"),
        ApprovalExpired(call="1.2", waited_ms=2),
        ToolRefused(call="1.2", name="pay", reason="nobody answered"),
        ToolFinished(call="1.0", result="paid"),
        ArtifactStored(sha256=SHA, name="r.txt", media_type="text/plain", size=5, call="1.0"),
        SoftTimeoutReached(at_ms=10_000),
        CriticObserved(text="the same again", by="stuck", evidence={"count": 3}),
        CriticSteered(text="Try something else.", by="stuck", evidence={"count": 4}),
        DeadlineExtended(until_ms=200_000, by="judge", reason="healthy"),
        CeilingRaised(limit="steps", old=9.0, new=12.0, by="judge", reason="healthy"),
        CriticReviewed(usage=Usage(input=5, output=2), model="judge-1", by="judge"),
        CriticLost(reason="it raised", by="judge"),
        HostSlept(slept_s=600.5),
        StepStarted(step=2),
        StepCompleted(step=2, reply=(Text("not json"),), usage=Usage(input=5, output=1)),
        OutputRefused(reason="It must be JSON."),
        StepStarted(step=3),
        StepCompleted(step=3, reply=(Text("Done?"),), usage=Usage(input=5, output=2)),
        PhaseFinished(phase="draft", output="Done?"),
        PhaseStarted(phase="polish", index=1, input=(Text("go"),), at_ms=3_000),
        BudgetNoticed(measure="seconds", fraction=0.9, spent=90.0, limit=100.0, phase="polish"),
        CriticKilled(reason="stuck", by="stuck", evidence={"rule": "repeat"}),
        RunFinished(stats=stats, by="stuck", reason="stuck", family=SPENT),
        DeliveryAttempted(attempt=1, key=f"{info.run_id}:delivery"),
        DeliveryFailed(attempt=1, error="busy", retry_at_us=1_700_000_002_000_000),
        DeliveryAttempted(attempt=2, key=f"{info.run_id}:delivery"),
        Delivered(attempt=2, receipt="inbox/1"),
    ]


def going_on(started: RunStarted, source: str) -> list[Fact]:
    """A run that goes on from another, and whose caller's budget is spent."""
    stats = RunStats(status="budget_exceeded", error="the caller's budget is spent")
    return [
        started,
        RunForked(
            source=source,
            version=30,
            hash=b"\x01" * 16,
            messages=(Message("user", (Text("go"),)), Message("assistant", (Text("Done?"),))),
            outputs=(("draft", "Done?"),),
            phase="polish",
            totals=SPENT,
            noticed=("tokens:0.5",),
            output="Done?",
            paused=True,
        ),
        RunBegun(by="alice", waited_ms=0),
        BudgetExceeded(measure="cost_usd", limit=1.0, spent=1.25, scope="caller", window="day"),
        RunFinished(stats=stats, by="budget", reason="the caller's budget is spent"),
    ]
