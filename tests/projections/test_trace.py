"""What a critic is shown: everything that matters of a run, bounded, by hash where it is cut."""

from __future__ import annotations

import pytest
from any_fact import text as any_text
from hypothesis import given
from hypothesis import strategies as st
from told_run import ToldRun

from executus.events import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    CallerSteered,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    CriticKilled,
    CriticLost,
    CriticObserved,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    Event,
    PhaseStarted,
    RunBegun,
    RunFinished,
    RunForked,
    RunStats,
    SoftTimeoutReached,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
    Usage,
    tag_of,
)
from executus.projections.trace import (
    ACTS,
    CALLS,
    FAILURES,
    STEPS,
    TEXT,
    TOLD,
    Trace,
    arguments_hash,
    evolve_trace,
    result_hash,
    trace_of,
)


def test_a_call_is_followed_from_the_question_to_the_result() -> None:
    run = ToldRun().asks("I look.", ("look", '{"at": 1}'))
    [call] = run.trace.calls
    assert (call.call, call.name, call.started_ms, call.ended_ms, call.outcome) == ("1.0", "look", None, None, "")
    assert run.trace.running == []
    run.put(ToolStarted(call="1.0", name="look"))
    assert [one.call for one in run.trace.running] == ["1.0"]
    assert run.trace.running[0].started_ms == round(run.now * 1000)
    run.put(ToolFinished(call="1.0", result="a tree"))
    [call] = run.trace.calls
    assert (call.result, call.result_hash, call.outcome) == ("a tree", result_hash("a tree"), "ok")
    assert call.ended_ms == round(run.now * 1000)
    assert run.trace.running == []


@pytest.mark.parametrize(
    ("fact", "outcome", "result"),
    [
        (ToolFinished(call="1.1", result="broken", is_error=True), "error", "broken"),
        (ToolRefused(call="1.1", name="b", reason="no such tool"), "refused", "no such tool"),
        (ApprovalDenied(call="1.1", reason="not today"), "refused", "not today"),
        (ToolOutcomeUnknown(call="1.1", reason="the host died"), "unknown", "the host died"),
        (ChildFinished(call="1.1", run_id="r2", status="ok", output="done"), "ok", "done"),
        (ChildFinished(call="1.1", run_id="r2", status="timeout", output="half"), "error", "half"),
    ],
)
def test_every_end_of_a_call_has_its_outcome(fact: object, outcome: str, result: str) -> None:
    run = ToldRun().asks("", ("a", "{}"), ("b", "{}")).put(fact)  # type: ignore[arg-type]
    first, second = run.trace.calls
    assert (first.outcome, first.result) == ("", "")
    assert (second.outcome, second.result, second.result_hash) == (outcome, result, result_hash(result))


def test_an_expired_approval_closes_a_call_only_if_expiry_means_no() -> None:
    run = ToldRun().asks("", ("a", "{}"), ("b", "{}"))
    run.put(
        ApprovalRequested(call="1.0", name="a", default="deny"),
        ApprovalRequested(call="1.1", name="b", default="grant"),
    )
    run.put(ApprovalExpired(call="1.0"), ApprovalExpired(call="1.1"))
    assert [call.outcome for call in run.trace.calls] == ["refused", ""]
    run.put(ToolStarted(call="1.1", name="b"))
    assert [call.call for call in run.trace.running] == ["1.1"]


def test_a_child_is_a_call_that_names_its_run() -> None:
    run = ToldRun().asks("", ("agent__b", "{}")).put(ChildStarted(call="1.0", name="agent__b", run_id="r2"))
    assert [(call.child, call.started_ms) for call in run.trace.running] == [("r2", round(run.now * 1000))]


def test_nothing_runs_in_a_run_that_is_over() -> None:
    run = ToldRun().asks("", ("a", "{}")).put(ToolStarted(call="1.0", name="a"))
    run.put(RunFinished(stats=RunStats(status="killed"), by="critic"))
    assert run.trace.running == []


def test_arguments_are_compared_as_json_whatever_their_order_and_spaces() -> None:
    assert arguments_hash('{"a": 1, "b": {"d": 2, "c": 3}}') == arguments_hash('{"b":{"c":3,"d":2},"a":1}')
    assert arguments_hash('{"a": 1}') != arguments_hash('{"a": "1"}')
    assert arguments_hash("[1,2]") != arguments_hash("[2,1]")


@pytest.mark.parametrize("broken", ["", "{", "not json", "[" * 100_000, '{"a": "\ud800"}', '{"a": 1e999}'])
def test_arguments_that_are_no_json_are_compared_as_text(broken: str) -> None:
    assert arguments_hash(broken) == arguments_hash(broken)
    assert arguments_hash(broken) != arguments_hash(broken + "x")


def test_what_is_cut_is_still_told_apart() -> None:
    head = "x" * TEXT
    run = ToldRun().step(("write", f'{{"text": "{head}1"}}', head + "1"), text=head + "1")
    run.step(("write", f'{{"text": "{head}2"}}', head + "2"), text=head + "2")
    [one, two], [first, second] = run.trace.steps, run.trace.calls
    assert one.text == two.text
    assert one.text_hash != two.text_hash
    assert first.arguments == second.arguments
    assert first.arguments_hash != second.arguments_hash
    assert first.result == second.result
    assert first.result_hash != second.result_hash


def test_words_are_compared_without_their_white_space_and_thinking_is_not_said() -> None:
    run = ToldRun().asks("I am  done.\n").asks("I am done.")
    assert run.trace.steps[0].text_hash == run.trace.steps[1].text_hash
    run.put(StepStarted(step=3), StepCompleted(step=3, reply=(Thinking("Hm."), Text("Well."))))
    assert run.trace.steps[2].text == "Well."


def test_a_long_run_keeps_its_newest_steps_calls_acts_and_words() -> None:
    run = ToldRun()
    for number in range(STEPS + 5):
        run.step(("look", f"[{number}]", "x"), ("look", f"[{number}, 0]", "y"))
        run.put(CriticObserved(text=str(number)), CallerSteered(text=str(number)))
    trace = run.trace
    assert len(trace.steps) == STEPS
    assert trace.steps[-1].step == STEPS + 5
    assert len(trace.calls) == trace.kept_calls == CALLS
    assert (len(trace.acts), trace.acts[-1].text) == (ACTS, str(STEPS + 4))
    assert (len(trace.told), trace.told[-1].text) == (TOLD, str(STEPS + 4))
    for attempt in range(FAILURES + 5):
        run.put(
            StepFailed(
                step=STEPS + 6, attempt=attempt, error=f"{attempt}" + "x" * TEXT, kind="unavailable", retry_at_ms=0
            )
        )
    assert len(run.trace.failures) == FAILURES
    assert all(len(error) == TEXT for error in run.trace.failures)


def test_steps_with_many_calls_push_out_older_ones_and_a_flood_is_counted() -> None:
    run = ToldRun()
    for _ in range(5):
        run.asks("", *(("look", "{}"),) * 150)
    assert len(run.trace.steps) == 2
    assert run.trace.kept_calls == len(run.trace.calls) == 300
    run.asks("", *(("look", "{}"),) * (CALLS + 7))
    [flood] = run.trace.steps
    assert (len(flood.calls), flood.asked, run.trace.kept_calls) == (CALLS, CALLS + 7, CALLS)
    run.put(ToolStarted(call=f"6.{CALLS + 1}", name="look"))
    assert run.trace.active_ms == round(run.now * 1000)


def test_a_result_for_a_step_that_is_no_longer_kept_changes_nothing_but_the_activity() -> None:
    run = ToldRun().asks("", ("look", "{}"))
    before = run.trace
    run.put(ToolFinished(call="99.0", result="late"))
    assert run.trace.steps == before.steps
    assert run.trace.active_ms == round(run.now * 1000)


def test_acts_of_supervision_are_kept_with_what_they_rest_on() -> None:
    run = ToldRun().step(("look", "{}", "x"))
    run.put(
        CriticObserved(text="hm", evidence={"rule": "repeat"}),
        CriticSteered(text="stop that", by="alice"),
        DeadlineExtended(until_ms=5, reason="busy"),
        CeilingRaised(limit="steps", old=5, new=9, reason="near"),
        CriticLost(reason="it raised"),
        CriticKilled(reason="enough", evidence={"count": 9}),
    )
    assert [(act.kind, act.text, act.by) for act in run.trace.acts] == [
        ("critic-observed", "hm", "critic"),
        ("critic-steered", "stop that", "alice"),
        ("deadline-extended", "busy", "critic"),
        ("ceiling-raised", "near", "critic"),
        ("critic-lost", "it raised", "critic"),
        ("critic-killed", "enough", "critic"),
    ]
    assert run.trace.acts[0].evidence == {"rule": "repeat"}
    assert run.trace.acts[-1].evidence == {"count": 9}
    assert {act.step for act in run.trace.acts} == {1}


def test_what_supervision_does_is_no_sign_of_life() -> None:
    run = ToldRun().asks("", ("look", "{}")).put(ToolStarted(call="1.0", name="look"))
    active = run.trace.active_ms
    run.put(
        CriticObserved(text="hm"),
        CriticSteered(text="x"),
        CriticReviewed(usage=Usage(1, 1)),
        SoftTimeoutReached(at_ms=1),
    )
    assert run.trace.active_ms == active
    assert run.trace.soft_timeout_at_ms == round(run.now * 1000)
    run.put(ApprovalGranted(call="1.0"))
    assert run.trace.active_ms == round(run.now * 1000)


def test_a_fork_that_waited_to_be_begun_was_not_idle() -> None:
    run = ToldRun().put(RunForked(source="x", version=3, paused=True))
    run.now += 86_400
    run.put(RunBegun(by="alice"))
    assert run.trace.active_ms == round(run.now * 1000)


def test_a_person_and_a_phase_begin_afresh_but_advice_does_not() -> None:
    run = ToldRun().step(("look", "{}", "x")).put(CallerSteered(text="Faster!", by="bob"))
    assert run.trace.fresh_from == 0
    run.person("And now?")
    assert run.trace.fresh_from == 1
    assert [(told.text, told.by, told.step) for told in run.trace.told] == [("Faster!", "bob", 1), ("And now?", "", 1)]


def test_a_step_belongs_to_its_phase() -> None:
    run = ToldRun(phases=("plan", "do"))
    run.put(PhaseStarted(phase="plan", index=0)).step(("look", "{}", "x"))
    run.put(PhaseStarted(phase="do", index=1)).step(("look", "{}", "x"))
    assert [step.phase for step in run.trace.steps] == ["plan", "do"]
    assert (run.trace.phase, run.trace.fresh_from) == ("do", 1)


def test_output_that_was_not_taken_is_noted_at_its_step() -> None:
    run = ToldRun().refuses("nothing was said yet").asks("Done.").refuses("expected an object")
    assert run.trace.steps[-1].refused == "expected an object"


def test_failures_are_those_since_the_last_step() -> None:
    run = ToldRun().put(
        StepStarted(step=1), StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=5)
    )
    assert run.trace.failures == ("busy",)
    run.put(StepCompleted(step=1, reply=(Text("Hello."),)))
    assert run.trace.failures == ()


@given(st.lists(st.tuples(any_text, any_text, any_text, st.booleans()), max_size=6), st.integers(0, 40))
def test_a_trace_goes_on_from_anywhere(calls: list[tuple[str, str, str, bool]], cut: int) -> None:
    facts = []
    for number, (name, arguments, result, error) in enumerate(calls, 1):
        facts += [
            StepStarted(step=number),
            StepCompleted(step=number, reply=(Text(result), ToolCall("c", name, arguments))),
            ToolStarted(call=f"{number}.0", name=name),
            ToolFinished(call=f"{number}.0", result=result, is_error=error),
        ]
    events = [
        Event(run_id="r", version=version, tag=tag_of(fact), fact=fact, elapsed_ms=version)
        for version, fact in enumerate(facts, 1)
    ]
    whole = trace_of(events)
    assert trace_of(events[cut:], trace_of(events[:cut])) == whole
    one_by_one = Trace()
    for event in events:
        one_by_one = evolve_trace(one_by_one, event)
    assert one_by_one == whole
    assert whole.version == len(events)
