"""A sequence that only grows behaves as a tuple does, and older versions never notice newer ones."""

from __future__ import annotations

import threading

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


def test_threads_that_grow_the_same_version_do_not_see_each_other() -> None:
    begin = threading.Barrier(8)
    results: list[list[int]] = []
    base = Grown([0])

    def grow(mark: int) -> None:
        begin.wait(30)
        longer = base
        for _ in range(200):
            longer = longer.plus([mark])
        results.append(list(longer))

    threads = [threading.Thread(target=grow, args=(mark,), daemon=True) for mark in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [[0, *[mark] * 200] for mark in range(8)]


def test_it_is_no_list() -> None:
    assert Grown([1]) != [1]
    assert repr(Grown([1])) == "Grown([1])"
