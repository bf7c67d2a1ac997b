"""Folds refuse nothing, read nothing but their arguments, and begin anywhere."""

from __future__ import annotations

from any_fact import known_fact
from hypothesis import given
from hypothesis import strategies as st

from executus.events import (
    AgentPrint,
    CallerSteered,
    ErrorLogged,
    Event,
    Fact,
    Limits,
    Message,
    NoteLogged,
    Opaque,
    RunFinished,
    RunInfo,
    RunResumed,
    RunStarted,
    RunStats,
    StepCompleted,
    StepStarted,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
    tag_of,
)
from executus.projections import Checkpoint, advance, deadline_ms, ended, fold, outstanding
from executus.testing import RunSpec, run_started


def events(*facts: Fact) -> list[Event]:
    return [
        Event(run_id="r", version=version, tag=tag_of(fact), fact=fact, hash=bytes([version]) * 32, elapsed_ms=version)
        for version, fact in enumerate(facts, 1)
    ]


LIFE = events(
    run_started("Go.", instructions="Be brief.", timeout_s=60.0),
    StepStarted(step=1),
    StepCompleted(
        step=1,
        reply=(Thinking("Hm."), Text("I look. "), Text("Twice."), ToolCall("a", "look"), ToolCall("b", "look")),
        usage=Usage(10, 5, 2, cost_usd=0.5),
    ),
    ToolStarted(call="1.0", name="look"),
    ToolStarted(call="1.1", name="look"),
    CallerSteered(text="Quick!"),
    ToolFinished(call="1.1", result="second"),
    ToolFinished(call="1.0", result="first"),
    StepStarted(step=2),
    StepCompleted(step=2, reply=(), usage=Usage(1, 1)),
    RunFinished(stats=RunStats(status="ok", output="I look. Twice.", steps=2, runtime_s=0.25), by="model"),
    NoteLogged(type="host"),
)


def test_folding_nothing_is_the_beginning() -> None:
    assert fold([]) == Checkpoint()
    assert outstanding(fold([]).state) == []
    assert ended(fold([]).state) is None


def test_a_fold_goes_on_from_anywhere_and_one_event_at_a_time() -> None:
    whole = fold(LIFE)
    step_by_step = Checkpoint()
    for event in LIFE:
        step_by_step = advance(step_by_step, event)
    assert step_by_step == whole
    for cut in range(len(LIFE) + 1):
        assert fold(LIFE[cut:], fold(LIFE[:cut])) == whole
    assert (whole.version, whole.hash, whole.elapsed_ms) == (12, bytes([12]) * 32, 12)


def test_the_state_sums_up_what_happened() -> None:
    state = fold(LIFE).state
    assert (state.input_tokens, state.output_tokens, state.thinking_tokens) == (11, 6, 2)
    assert (state.cost_usd, state.tool_calls, state.step) == (0.5, 2, 2)
    assert state.output == "I look. Twice.", "an empty reply leaves the output so far"
    assert (state.status, state.by, state.runtime_ms) == ("ok", "model", 250)


def test_answers_come_in_the_order_of_the_calls_and_people_after_them() -> None:
    told = [(message.role, getattr(message.parts[-1], "text", "")) for message in fold(LIFE[:9]).transcript.messages]
    assert told[3:] == [("tool", "first"), ("tool", "second"), ("user", "Quick!")]


def test_nobody_is_heard_before_the_last_answer() -> None:
    assert [message.role for message in fold(LIFE[:7]).transcript.messages] == ["system", "user", "assistant"]


def test_a_recording_may_begin_without_instructions_and_without_input() -> None:
    empty = RunStarted(
        info=RunInfo(run_id="r", name="r"), agent=AgentPrint(name="r", model=""), limits=Limits(), input=()
    )
    assert list(fold(events(empty)).transcript.messages) == []
    assert list(fold(events(empty, StepCompleted(step=1, reply=(Text("Hi."),)))).transcript.messages) == [
        Message("assistant", (Text("Hi."),))
    ]


@given(st.integers(0, len(LIFE)), st.integers(0, 3))
def test_a_fact_of_a_newer_version_makes_the_run_read_only_from_there_on(place: int, more: int) -> None:
    opaque = Opaque(tag="run-teleported", schema=1, payload=b"\x80")
    log = events(*(event.fact for event in LIFE[:place]), opaque, *(event.fact for event in LIFE[place : place + more]))
    if place:
        state = fold(log).state
        assert state.read_only
        assert outstanding(state) == []


@given(known_fact)
def test_what_is_not_about_the_runs_work_changes_neither_state_nor_transcript(fact: Fact) -> None:
    if isinstance(fact, (NoteLogged, ErrorLogged, RunResumed)):
        before = fold(LIFE[:7])
        after = advance(before, events(fact)[0])
        assert (after.state, after.transcript) == (before.state, before.transcript)


def test_the_deadline_counts_seconds_without_rounding_them_away() -> None:
    assert deadline_ms(RunSpec().given(run_started(timeout_s=0.0015)).state) == 2
    assert deadline_ms(RunSpec().given(run_started(timeout_s=None)).state) is None
