"""What the world owes a run: never nothing while it works, never twice, and no longer once it was given."""

from __future__ import annotations

from any_life import Life, answer, folded, for_any_life
from hypothesis import strategies as st

from executus.actors.run.decide import decide
from executus.events import ApprovalRequested, Opaque, RunFinished, RunStats, StepCompleted, StepStarted, ToolCall
from executus.projections import CallModel, Expire, Reserve, Wake, outstanding
from executus.testing import RunSpec, run_started

TIMERS = ("deadline", "soft")


@for_any_life()
def test_keys_are_unique_and_follow_from_the_facts_alone(life: Life) -> None:
    keys = [one.key for one in outstanding(life.state)]
    assert len(set(keys)) == len(keys)
    assert keys == [one.key for one in outstanding(folded(life.facts))]


@for_any_life()
def test_a_run_that_works_is_owed_something_and_a_run_that_waits_or_is_over_nothing_but_expiry(life: Life) -> None:
    state = life.state
    owed = outstanding(state)
    if state.over:
        assert owed == []
    elif state.doing == "waiting":
        assert all(isinstance(one, Expire) for one in owed)
        assert state.interactive or state.governed.approvals
    else:
        assert [
            one for one in owed if not (isinstance(one, Wake) and one.what in TIMERS) and not isinstance(one, Expire)
        ]


@for_any_life(st.data())
def test_what_is_given_is_taken_and_owed_no_more(life: Life, data: st.DataObject) -> None:
    state = life.state
    for one in outstanding(state):
        if isinstance(one, Expire) or (isinstance(one, Wake) and one.what in TIMERS):
            continue
        message = data.draw(st.composite(lambda draw, one=one: answer(draw, state, one))())
        facts = decide(state, message, life.now_ms)
        assert facts, f"{message} is awaited"
        after = folded((*life.facts, *facts))
        assert one.key not in [other.key for other in outstanding(after)]
        assert decide(after, message, life.now_ms) == [], "and once only"


@for_any_life()
def test_a_budgeted_run_begins_no_attempt_without_its_grant(life: Life) -> None:
    state = life.state
    for one in outstanding(state):
        if state.governed.budgeted:
            assert not (isinstance(one, Wake) and one.what == "retry")
        else:
            assert not isinstance(one, Reserve)
    if state.governed.budgeted:
        started = [fact for fact in life.facts if isinstance(fact, StepStarted)]
        assert all(fact.reserved_tokens == 9 for fact in started), "each was granted"


@for_any_life()
def test_every_question_with_a_date_is_owed_its_expiry(life: Life) -> None:
    state = life.state
    dated = {f"expiry:{one.call}:50" for one in state.governed.approvals if one.expires_at_us is not None}
    if not state.over:
        assert {one.key for one in outstanding(state) if isinstance(one, Expire)} == dated


@for_any_life()
def test_a_log_of_a_newer_version_is_owed_nothing(life: Life) -> None:
    newer = (*life.facts, Opaque(tag="run-teleported", schema=1, payload=b"\x80"))
    assert outstanding(folded(newer)) == []


def test_one_thing_after_the_other_is_owed_in_a_life_by_hand() -> None:
    run = RunSpec().owes()
    run = run.given(run_started(budgeted=True, timeout_s=9.0)).owes("reserve:1:1", "deadline:9000")
    run = run.given(StepStarted(step=1)).owes("model:1:1", "deadline:9000")
    (model,) = [one for one in outstanding(run.state) if isinstance(one, CallModel)]
    assert (model.step, model.attempt) == (1, 1)
    run = run.given(StepCompleted(step=1, reply=(ToolCall("a", "pay"),)))
    run = run.given(ApprovalRequested(call="1.0", name="pay", expires_at_us=7)).owes("expiry:1.0:7", "deadline:9000")
    run.given(RunFinished(stats=RunStats(status="timeout", steps=1), by="deadline")).owes()
