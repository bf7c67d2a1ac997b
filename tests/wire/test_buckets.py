"""Limits of rate, by a clock that the test sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from executus.wire import buckets
from executus.wire.buckets import Buckets


def test_a_burst_is_given_at_once_and_then_the_rate() -> None:
    limit = Buckets(10.0, 5.0)
    assert [limit.take("a", 100.0) for _ in range(6)] == [True] * 5 + [False]
    assert [limit.take("a", 100.125) for _ in range(2)] == [True, False]
    assert limit.take("b", 100.125)
    assert sum(limit.take("a", 1_000.0) for _ in range(50)) == 5


@given(st.lists(st.floats(0, 3, allow_nan=False), max_size=60))
def test_no_more_is_given_than_burst_and_rate_allow(pauses: list[float]) -> None:
    limit, now, given_out = Buckets(2.0, 4.0), 50.0, 0
    for pause in pauses:
        now += pause
        given_out += limit.take("a", now)
    assert given_out <= 4.0 + 2.0 * (now - 50.0) + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limit = Buckets(10.0, 1.0)
    assert limit.take("a", 100.0)
    assert not limit.take("a", 50.0)
    assert limit.take("a", 50.2)


def test_the_keys_that_were_not_seen_for_longest_are_forgotten() -> None:
    limit = Buckets(1.0, 1.0)
    for number in range(buckets.MOST_KEPT + 10):
        assert limit.take(number, 1.0)
    assert len(limit._left) == buckets.MOST_KEPT
    assert not limit.take(buckets.MOST_KEPT, 1.0)
