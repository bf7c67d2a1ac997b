"""What passes the funnel can be encoded, stored and sent, always."""

from __future__ import annotations

import hashlib
import json
import math
from enum import StrEnum

import msgspec
import pytest
from any_fact import raw_json, raw_text
from hypothesis import given
from hypothesis import strategies as st

from executus.events.clean import CUT_MARK, MAX_DEPTH, MAX_ITEMS, clean_json, clean_text

EMOJI = "a😀\x00é𝄞\ud83d😀"


limits = st.integers(CUT_MARK, CUT_MARK + 40)
long_text = st.builds(lambda part, times: part * times, raw_text, st.integers(1, 40))


@given(long_text, limits)
def test_clean_text_can_always_be_encoded_and_keeps_the_limit(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    cleaned.encode("utf-8")
    assert "\x00" not in cleaned
    assert len(cleaned) <= limit


@given(long_text, limits)
def test_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    assert clean_text(clean_text(text, limit), limit) == clean_text(text, limit)


@given(st.text())
def test_text_that_is_clean_stays_the_same(text: str) -> None:
    if "\x00" not in text:
        assert clean_text(text) == text


def test_a_surrogate_pair_that_was_split_in_two_is_joined() -> None:
    assert clean_text("\ud83d\ude00") == "😀"
    assert clean_text("say \ud83d\ude00!") == "say 😀!"


def test_a_surrogate_alone_is_marked() -> None:
    for alone in ("\ud83d", "\ude00", "\ude00\ud83d", "\ud800\ud800"):
        assert clean_text(f"a{alone}b") == f"a{'�' * len(alone)}b"


def test_a_nul_becomes_its_picture() -> None:
    assert clean_text("a\x00b") == "a␀b"
    assert clean_text("é\x00b") == "é␀b"


@pytest.mark.parametrize("limit", range(CUT_MARK, CUT_MARK + 4 * len(EMOJI)))
def test_a_cut_at_any_place_keeps_whole_characters_from_head_and_tail(limit: int) -> None:
    whole = EMOJI * 30
    clean = clean_text(whole)
    cut = clean_text(whole, limit)
    cut.encode("utf-8")
    half = (limit - CUT_MARK) // 2
    assert cut.startswith(f"{clean[:half]}\n[… {len(clean) - 2 * half} characters left out")
    assert cut.endswith(f" …]\n{clean[len(clean) - half :]}")
    assert hashlib.sha256(clean.encode()).hexdigest() in cut


def test_two_long_texts_that_differ_in_the_middle_stay_different() -> None:
    assert clean_text("a" * 500 + "b" + "a" * 500, 200) != clean_text("a" * 500 + "c" + "a" * 500, 200)


@given(raw_json)
def test_a_clean_value_survives_msgpack_and_json(value: object) -> None:
    cleaned = clean_json(value)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(cleaned)) == cleaned
    assert json.loads(json.dumps(cleaned, allow_nan=False)) == cleaned


@given(raw_json)
def test_cleaning_a_value_twice_changes_nothing(value: object) -> None:
    assert clean_json(clean_json(value)) == clean_json(value)


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, math.inf, -math.inf, math.nan])
def test_a_number_that_no_encoding_can_carry_becomes_text(number: float) -> None:
    assert clean_json(number) == str(number)


def test_nesting_has_a_limit() -> None:
    deep: list[object] = []
    for _ in range(5 * MAX_DEPTH):
        deep = [deep]
    cleaned = clean_json(deep)
    for _ in range(MAX_DEPTH):
        [cleaned] = cleaned
    assert isinstance(cleaned, str)


def test_a_value_that_contains_itself_is_cut_off() -> None:
    ring: list[object] = []
    ring.append(ring)
    msgspec.msgpack.encode(clean_json(ring))


def test_a_strange_object_is_described_and_cannot_raise() -> None:
    class Angry:
        def __str__(self) -> str:
            raise RuntimeError("no")

    described = "<Angry: str() failed with RuntimeError>"
    assert clean_json({"x": Angry(), Angry(): "y"}) == {"x": described, described: "y"}
    assert clean_json(1 << 100_000) == "<int: str() failed with ValueError>"


def test_subclasses_of_plain_values_become_plain() -> None:
    class Id(str):
        pass

    class Count(int):
        pass

    class Name(StrEnum):
        FIRST = "first"

    cleaned = clean_json([Id("a"), Id("\ud83d\ude00"), Name.FIRST, Count(3), True])
    assert cleaned == ["a", "😀", "first", 3, True]
    assert [type(one) for one in cleaned] == [str, str, str, int, bool]


def test_a_list_that_holds_itself_twice_is_cleaned_in_bounded_work() -> None:
    ring: list[object] = []
    ring += [ring, ring]
    msgspec.msgpack.encode(clean_json({"ring": ring}))


def test_a_long_list_of_plain_values_is_kept_whole() -> None:
    long = list(range(MAX_ITEMS + 10))
    assert clean_json(long) == long
