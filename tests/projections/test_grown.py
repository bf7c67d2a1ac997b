"""A sequence that only grows behaves as a tuple does, and older versions never notice newer ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.projections import Grown


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(), max_size=3)), max_size=20))
def test_every_version_keeps_its_own_view_wherever_others_grow_from(grown: list[tuple[int, list[int]]]) -> None:
    versions: list[tuple[Grown[int], tuple[int, ...]]] = [(Grown(), ())]
    for pick, items in grown:
        old, known = versions[pick % len(versions)]
        versions.append((old.plus(items), (*known, *items)))
    for version, known in versions:
        assert tuple(version) == known
        assert len(version) == len(known)
        assert version == Grown(known)
        assert hash(version) == hash(Grown(known))
        assert [version[index] for index in range(-len(known), len(known))] == [*known, *known]
        assert version[1:-1] == list(known[1:-1])
        assert list(reversed(version)) == list(reversed(known))


@pytest.mark.parametrize("index", [2, -3, 100])
def test_an_older_version_has_no_item_of_a_newer_one(index: int) -> None:
    old = Grown([1, 2])
    old.plus([3, 4])
    with pytest.raises(IndexError, match="of 2 items"):
        old[index]


def test_the_newest_version_appends_in_place() -> None:
    old = Grown(range(1000))
    assert old.plus([1])._items is old._items
    assert old.plus([2])._items is not old._items, "the place is taken: it copies"


def test_only_one_thread_at_a_time_takes_the_place_after_the_newest() -> None:
    base: Grown[int] = Grown([0])
    others: list[Grown[int]] = []

    class Slow(list[int]):
        """Items that take their time: meanwhile another thread tries to grow the same version."""

        def __iter__(self) -> Iterator[int]:
            other.start()
            other.join(0.05)
            return super().__iter__()

    other = threading.Thread(target=lambda: others.append(base.plus([2])), daemon=True)
    mine = base.plus(Slow([1]))
    other.join(30)
    assert list(mine) == [0, 1]
    assert [list(one) for one in others] == [[0, 2]]


def test_it_is_no_list() -> None:
    assert Grown([1]) != [1]
    assert repr(Grown([1])) == "Grown([1])"
