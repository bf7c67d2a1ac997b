"""The limits of a run: the quick way finds what the slow way finds, and every number has one meaning."""

from __future__ import annotations

import json

from any_life import Life, folded, for_any_life
from hypothesis import strategies as st

from executus.events import BudgetNoticed
from executus.projections import bounds, deadline_ms, notices, reached, self_status, soft_timeout_ms, worked_ms
from executus.projections.bounds import plain, tool_calls_left
from executus.projections.run import notice_key

later = st.sampled_from([0, 1, 999, 4_000, 9_000, 19_000])


@for_any_life(later)
def test_a_limit_is_reached_exactly_when_all_of_it_is_used(life: Life, more_ms: int) -> None:
    state, now_ms = life.state, life.now_ms + more_ms
    full = [bound for bound in bounds(state, now_ms) if bound.measure != "seconds" and bound.left == 0]
    found = reached(state, now_ms)
    assert (found is None) == (not full)
    assert found is None or found in full


@for_any_life(later)
def test_what_is_left_is_never_less_than_nothing(life: Life, more_ms: int) -> None:
    for bound in bounds(life.state, life.now_ms + more_ms):
        assert bound.left >= 0
        assert bound.used >= 0
        assert bound.left == 0 or bound.used + bound.left == bound.limit


@for_any_life(later)
def test_notices_are_the_highest_fraction_of_each_limit_that_was_not_told(life: Life, more_ms: int) -> None:
    state, now_ms = life.state, life.now_ms + more_ms
    expected: list[BudgetNoticed] = []
    for bound in bounds(state, now_ms):
        reached_marks = [mark for mark in state.limits.notice_at if bound.used / bound.limit >= mark]
        if reached_marks:
            notice = BudgetNoticed(
                measure=bound.measure,
                fraction=max(reached_marks),
                spent=bound.used,
                limit=bound.limit,
                phase=bound.phase,
            )
            expected += [] if notice_key(notice) in state.governed.noticed else [notice]
    assert notices(state, now_ms) == expected


@for_any_life(later)
def test_what_was_told_is_not_told_again(life: Life, more_ms: int) -> None:
    now_ms = life.now_ms + more_ms
    told = notices(life.state, now_ms)
    assert notices(folded((*life.facts, *told)), now_ms) == []


@for_any_life()
def test_the_deadline_is_the_moment_at_which_no_time_is_left(life: Life) -> None:
    state = life.state
    due = deadline_ms(state)
    limited = [bound for bound in bounds(state, 0) if bound.measure == "seconds"]
    assert (due is None) == (not limited)
    if due is None or state.doing == "waiting":
        return
    lefts = [bound.left for bound in bounds(state, due) if bound.measure == "seconds"]
    assert min(lefts) == 0
    earlier = [bound.left for bound in bounds(state, due - 1) if bound.measure == "seconds"]
    assert due - 1 < life.now_ms or min(earlier) > 0


@for_any_life(later)
def test_a_run_that_waits_does_not_grow_older(life: Life, more_ms: int) -> None:
    state = life.state
    older = worked_ms(state, life.now_ms + more_ms) - worked_ms(state, life.now_ms)
    assert older == (0 if state.doing == "waiting" else more_ms)


@for_any_life()
def test_every_wait_moves_both_timeouts_alike(life: Life) -> None:
    state = life.state
    soft = soft_timeout_ms(state)
    if soft is not None:
        assert state.limits.soft_timeout_s is not None
        assert soft - state.waited_ms == round(state.limits.soft_timeout_s * 1000)


@for_any_life()
def test_the_fewest_tool_calls_left_are_what_counts(life: Life) -> None:
    state = life.state
    lefts = [bound.left for bound in bounds(state, 0) if bound.measure == "tool_calls"]
    found = tool_calls_left(state, 0)
    assert (None if found is None else found.left) == min(lefts, default=None)
    assert not plain(state) or not lefts


@for_any_life(later)
def test_the_status_a_run_is_told_is_json_and_says_what_the_limits_say(life: Life, more_ms: int) -> None:
    state, now_ms = life.state, life.now_ms + more_ms
    status = self_status(state, now_ms)
    assert json.loads(json.dumps(status)) == status
    assert [one["measure"] for one in status["limits"]] == [bound.measure for bound in bounds(state, now_ms)]
    due = deadline_ms(state)
    if due is not None and state.doing != "waiting":
        lefts = [one["left"] for one in status["limits"] if one["measure"] == "seconds"]
        assert abs(min(lefts) - status["deadline_in_s"]) < 0.002
