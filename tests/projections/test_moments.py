"""A moment for each fact: its lane, how much it matters, and a line that says what happened."""

from __future__ import annotations

from any_fact import known_fact
from hypothesis import given

from executus.events import (
    FACTS,
    ApprovalDenied,
    BudgetExceeded,
    ContentErased,
    CriticSteered,
    DeliveryAttempted,
    Event,
    Fact,
    InputAwaited,
    Opaque,
    RunFinished,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolRefused,
    tag_of,
)
from executus.projections.moments import HIGH, LANES, LOW, TITLE, Moment, moment_of, moments
from executus.testing import run_started


def of(fact: Fact, version: int = 1) -> Moment:
    return moment_of(Event(run_id="r", version=version, tag=tag_of(fact), fact=fact, position=7, at_us=8, elapsed_ms=9))


def test_every_kind_of_fact_has_a_lane() -> None:
    assert set(LANES) == set(FACTS)
    assert set(FACTS) >= LOW | HIGH
    assert not LOW & HIGH


@given(known_fact)
def test_every_fact_is_told_in_one_short_line(fact: Fact) -> None:
    moment = of(fact)
    assert len(moment.title) <= TITLE
    assert "\n" not in moment.title
    assert moment.title == moment.title.strip()
    assert moment.importance in (0, 1, 2)
    assert moment.importance == 2 or not moment.wrong
    assert (moment.position, moment.at_us, moment.elapsed_ms, moment.tag) == (7, 8, 9, tag_of(fact))


def test_what_a_moment_says() -> None:
    calls = StepCompleted(step=3, reply=(Text("I look."), ToolCall("a", "look"), ToolCall("b", "taste")))
    said = {
        moment.title: (moment.lane, moment.importance, moment.step, moment.call, moment.wrong)
        for moment in moments(
            Event(run_id="r", version=version, tag=tag_of(fact), fact=fact)
            for version, fact in enumerate(
                [
                    run_started("Find the bug,\nplease."),
                    StepStarted(step=3, attempt=2),
                    calls,
                    StepCompleted(step=4, reply=()),
                    ToolRefused(call="3.1", name="taste", reason="no such tool"),
                    ToolFinished(call="3.0", result="rain", took_ms=1200),
                    ToolFinished(call="3.0", result="boom", is_error=True),
                    StepFailed(step=3, attempt=1, error="busy", kind="unavailable", retry_at_ms=5),
                    CriticSteered(text="Look again.", by="stuck"),
                    BudgetExceeded(measure="steps", limit=9, spent=9),
                    ApprovalDenied(call="3.0", by="bob", reason="too dear"),
                    InputAwaited(since_ms=1),
                    DeliveryAttempted(attempt=2, key="k"),
                    ContentErased(by="bob", reason="asked"),
                    Opaque(tag="damaged", schema=-1, payload=b""),
                    Opaque(tag="run-teleported", schema=1, payload=b""),
                    RunFinished(stats=RunStats(status="ok"), by="model"),
                    RunFinished(stats=RunStats(status="killed"), by="stuck", reason="circles"),
                ],
                1,
            )
        )
    }
    assert said == {
        "spec starts: Find the bug, please.": ("run", 2, 0, "", False),
        "step 3, attempt 2": ("step", 0, 3, "", False),
        "I look. (calls look, taste)": ("step", 1, 3, "", False),
        "says nothing": ("step", 1, 4, "", False),
        "3.1: not started: no such tool": ("tool", 2, 3, "3.1", True),
        "3.0: rain (1.2 s)": ("tool", 1, 3, "3.0", False),
        "3.0: boom": ("tool", 2, 3, "3.0", True),
        "step 3: no answer, tried again: busy": ("step", 2, 3, "", True),
        "steered by stuck: Look again.": ("critic", 2, 0, "", False),
        "exceeded: steps (run): 9 of 9": ("budget", 2, 0, "", True),
        "3.0: denied by bob: too dear": ("people", 2, 3, "3.0", True),
        "waits for a person's message": ("people", 0, 0, "", False),
        "delivery, attempt 2": ("delivery", 0, 0, "", False),
        "content erased by bob: asked": ("host", 2, 0, "", False),
        "this event is damaged and cannot be read": ("host", 2, 0, "", True),
        "run-teleported: a fact of a newer executus; upgrade to read it": ("host", 1, 0, "", False),
        "end: ok, by model": ("run", 2, 0, "", False),
        "end: killed, by stuck: circles": ("run", 2, 0, "", True),
    }


def test_a_long_word_is_cut_with_a_mark() -> None:
    title = of(StepCompleted(step=1, reply=(Text("a" * 9_000),))).title
    assert title == "a" * TITLE or (len(title) == TITLE and title.endswith("…"))
    both = of(StepCompleted(step=1, reply=(Text("a" * 9_000), ToolCall("x", "look")))).title
    assert both.endswith("aaa… (calls look)")
