"""Traces and verdicts come out of the wire as they went in, and what is no verdict is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from any_fact import json_map, raw_text
from any_life import Life, for_any_life
from hypothesis import given, settings
from hypothesis import strategies as st

from executus import Continue, Extend, Judged, Kill, Raise, Steer, Usage
from executus.adapters.critics.outside import VERDICT_BYTES, review_of, trace_json, trace_of, verdict_json
from executus.events import Event, tag_of
from executus.events.clean import clean_text
from executus.ports.verdicts import checked_review
from executus.projections.trace import Trace, evolve_trace

words = raw_text.map(clean_text)
advice = words.filter(lambda text: bool(text.strip()))
seconds = st.one_of(st.integers(1, 1 << 52), st.floats(min_value=1e-9, max_value=float((1 << 53) - 1)))
verdicts = st.one_of(
    st.builds(Continue, words, json_map),
    st.builds(Steer, advice, json_map),
    st.builds(Extend, seconds, words),
    st.builds(Raise, st.integers(1, (1 << 53) - 1), words),
    st.builds(Kill, words, json_map),
)
counts = st.integers(0, (1 << 53) - 1)
usages = st.builds(
    Usage,
    input=counts,
    output=counts,
    thinking=counts,
    cache_read=counts,
    cache_write=counts,
    cost_usd=st.one_of(st.none(), st.floats(0, 1e9)),
)
reviews = st.one_of(verdicts, st.builds(Judged, verdicts, usages, words))


@for_any_life()
def test_a_trace_comes_out_as_it_went_in(life: Life) -> None:
    trace = Trace()
    assert trace_of(trace_json(trace)) == trace
    for event in events_of(life):
        trace = evolve_trace(trace, event)
    assert trace_of(trace_json(trace)) == trace


def events_of(life: Life) -> list[Event]:
    return [
        Event(run_id="r", version=number, tag=tag_of(fact), fact=fact, position=number, at_us=number, elapsed_ms=number)
        for number, fact in enumerate(life.facts, 1)
    ]


@settings(max_examples=300, deadline=None)
@given(reviews)
def test_a_verdict_comes_out_as_it_went_in(review: Any) -> None:
    assert checked_review(review_of(verdict_json(review))) == checked_review(review)


@pytest.mark.parametrize(
    "review",
    [
        None,
        "go on",
        {"verdict": "steer", "text": "x"},
        Steer(""),
        Steer(7),  # type: ignore[arg-type]
        Extend(float("nan")),
        Extend(-1),
        Raise(0),
        Raise(2.5),  # type: ignore[arg-type]
        Kill("x", {"deep": "y" * 70_000}),
        Continue("x", []),  # type: ignore[arg-type]
        Judged(Continue(), Usage(input=-1)),
        Judged(Judged(Continue())),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_what_is_no_verdict_does_not_travel(review: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        verdict_json(review)


def test_a_verdict_that_no_request_could_hold_does_not_travel() -> None:
    small = Kill("x" * (VERDICT_BYTES - 100))
    assert review_of(verdict_json(small)) == small
    for large in (Kill("x" * VERDICT_BYTES), Continue("é" * (VERDICT_BYTES // 2)), Steer("x", {"e": "\x01" * 9_000})):
        with pytest.raises(ValueError, match="at most 48,000 bytes"):
            verdict_json(large)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"steer"',
        '{"verdict": "sing"}',
        '{"verdict": "steer", "extra": 1}',
        '{"verdict": "extend", "seconds": "x"}',
        '{"verdict": "extend", "seconds": 1e400}',
        '{"verdict": "kill", "evidence": [1]}',
        '{"verdict": "raise", "steps": 1.5}',
        '{"verdict": "continue", "evidence": ' + "[" * 40_000 + "}",
    ],
    ids=lambda text: text[:40] or "nothing",
)
def test_what_another_process_says_instead_of_a_verdict_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        review_of(text)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"state": 7}), '{"input": 1}', "{" + '"state":{' * 20_000])
def test_what_is_no_trace_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        trace_of(text)
