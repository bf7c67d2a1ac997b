"""A secret that comes in pieces is never shown, whatever the pieces are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_secrets import ODD, SHAPED, WRITTEN, leaks, secret_values

from executus.redaction import Redactor, Stream
from executus.redaction import stream as module


def streamed(redactor: Redactor, text: str, cuts: list[int]) -> str:
    stream, shown, begin = Stream(redactor), [], 0
    for cut in [*sorted(cuts), len(text)]:
        shown.append(stream.feed(text[begin:cut]))
        begin = cut
    return "".join([*shown, stream.close()])


@given(secret_values, st.sampled_from(sorted(WRITTEN)), st.text(ODD + "\n", max_size=40), st.data())
@settings(max_examples=500, deadline=None)
def test_a_registered_secret_in_pieces_is_masked(value: str, way: str, around: str, data: st.DataObject) -> None:
    redactor = Redactor([("s", value)], masks=())
    text = around + " " + WRITTEN[way](value) + " " + around
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    shown = streamed(redactor, text, cuts)
    assert leaks(value, shown) == []
    assert shown == redactor.text(text)


@pytest.mark.parametrize("name", SHAPED)
def test_a_shape_in_pieces_is_masked(name: str) -> None:
    text = f"here it is: {SHAPED[name]}, and so on."
    for size in (1, 2, 7, 30):
        shown = streamed(Redactor(), text, list(range(0, len(text), size)))
        assert shown == Redactor().text(text)
        assert SHAPED[name] not in shown


def test_a_value_whose_name_was_shown_before_is_masked() -> None:
    text = 'I set {"password": "hunter2-and-more"} and TOKEN=abc123def456ghi today.'
    for size in (1, 3, 10):
        assert streamed(Redactor(), text, list(range(0, len(text), size))) == Redactor().text(text)


def test_ordinary_text_is_shown_word_by_word() -> None:
    stream = Stream(Redactor([("s", "a secret phrase, long")]))
    assert stream.feed("Hello wor") == "Hello "
    assert stream.feed("ld. A") == "world. "
    assert stream.feed(" secret") == "A "
    assert stream.feed(" phrase, long or a secret") == "secret phrase, long or "  # a capital: another phrase
    assert stream.feed(" phrase, ") == ""
    assert stream.feed("short ") == "a secret phrase, short "
    assert stream.close() == ""


def test_a_word_without_end_is_not_held_back_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WORD", 100)
    stream, shown = Stream(Redactor([("s", "correct-horse")])), 0
    for _ in range(50):
        shown += len(stream.feed("x" * 50))
    assert shown >= 2_300
    assert shown + len(stream.close()) == 2_500


def test_what_is_kept_does_not_grow() -> None:
    rng = random.Random(5)
    stream = Stream(Redactor([("s", "correct-horse")]))
    for _ in range(2_000):
        stream.feed("".join(rng.choices("abc d", k=20)))
        assert len(stream._held) < 5_000


def test_nothing_is_held_back_where_nothing_is_masked() -> None:
    assert Stream(Redactor(masks=())).feed("wor") == "wor"
