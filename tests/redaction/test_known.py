"""A registered value is found in whatever way it is written, wherever it stands, and masked once."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_secrets import ODD, WRITTEN, leaks, random_secret, secret_values

from executus.redaction import Redactor
from executus.redaction.forms import forms_of

around = st.text(alphabet=ODD + "\n\t\x00abc", max_size=60)


@given(secret_values, st.sampled_from(sorted(WRITTEN)), around, around)
@settings(max_examples=600, deadline=None)
def test_a_secret_is_masked_in_every_way_it_is_written(value: str, way: str, before: str, after: str) -> None:
    redactor = Redactor([("s", value)], masks=())
    text = before + "\n" + WRITTEN[way](value) + "\n" + after
    masked = redactor.text(text)
    assert "[secret:s]" in masked
    assert leaks(value, masked) == []
    assert masked.startswith(before) or value in before or "[secret:s]" in masked[: len(before) + 12]
    assert redactor.text(masked) == masked


@given(secret_values, st.binary(max_size=7), st.binary(max_size=7))
@settings(max_examples=300, deadline=None)
def test_a_secret_in_the_middle_of_what_is_encoded_as_a_whole_is_masked(
    value: str, before: bytes, after: bytes
) -> None:
    import base64

    redactor = Redactor([("s", value)], masks=())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + value.encode() + after).decode()
        masked = redactor.text(text)
        assert "[secret:s]" in masked
        data = value.encode()
        plain = masked.split("[secret:s]")
        for piece in plain:  # what is left decodes to nothing of the secret but bits of a neighbour's byte
            left = encode(before)[: len(piece)].decode() if piece is plain[0] else ""
            assert piece == left or data[:3] not in base64.urlsafe_b64decode(piece[: len(piece) // 4 * 4])


@pytest.mark.parametrize("size", range(8, 14))
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_nothing_is_left_of_a_secret_in_base64_not_even_at_its_ends(size: int, before: int, after: int) -> None:
    import base64

    value = "k7Qm2ZxW9vRt4Lp8"[:size]
    text = base64.b64encode(b"\xff" * before + value.encode() + b"\xff" * after).decode()
    masked = Redactor([("s", value)], masks=()).text(text)
    left, right = masked.split("[secret:s]")
    assert left == "////"[: before * 8 // 6]
    assert len(right.rstrip("=")) == (before + size + after) * 8 // 6 + ((before + size + after) % 3 > 0) - -(
        -(before + size) * 8 // 6
    )


@given(st.lists(secret_values, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_several_secrets_in_one_text_are_all_masked(values: list[str], rng: random.Random) -> None:
    redactor = Redactor([(f"s{number}", value) for number, value in enumerate(values)], masks=())
    pieces = [WRITTEN[rng.choice(sorted(WRITTEN))](rng.choice(values)) for _ in range(8)]
    masked = redactor.text(rng.choice(["", " ", "\n"]).join(pieces))
    for value in values:
        assert leaks(value, masked) == []
    assert redactor.text(masked) == masked


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    redactor = Redactor([("a", "abcdefgh-12345"), ("b", "12345-qrstuvwx")], masks=())
    assert redactor.text("<abcdefgh-12345-qrstuvwx>") == "<[secret:a][secret:b]>"
    inner = Redactor([("inner", "horse-battery"), ("outer", "correct-horse-battery-staple")], masks=())
    assert inner.text("correct-horse-battery-staple horse-battery") == "[secret:outer] [secret:inner]"


def test_a_mark_that_completes_a_secret_is_masked_too() -> None:
    redactor = Redactor([("a", "abcdefgh1234"), ("b", "]tail-of-it")], masks=())
    masked = redactor.text("abcdefgh1234tail-of-it and abcdefgh1234]tail-of-it")
    assert redactor.text(masked) == masked
    assert "]tail-of-it" not in masked.replace("[secret:a]tail-of-it and", "")


def test_every_line_of_a_key_file_is_a_secret_and_its_frame_is_not() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAoIB\nshort\n-----END KEY-----\n"
    redactor = Redactor([("key", key)], masks=())
    assert redactor.text("line 2: BAQEFAASCBKcwggSjAgEAAoIB") == "line 2: [secret:key]"
    assert redactor.text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"
    assert redactor.text(json.dumps(key)) == '"[secret:key]\\n"' or "[secret:key]" in redactor.text(json.dumps(key))
    assert redactor.text(key.replace("\n", "\r\n")).count("MII") == 0


def test_a_pair_of_surrogates_is_the_character_it_will_be() -> None:
    redactor = Redactor([("s", "pass-😀-word-1")], masks=())
    assert redactor.text("pass-\ud83d\ude00-word-1") == "[secret:s]"
    assert "[secret:s]" in redactor.text("\ud800 pass-😀-word-1")


@pytest.mark.parametrize("cut", range(4, 30))
def test_what_a_cut_left_of_a_secret_is_masked(cut: int) -> None:
    from executus.events.clean import CUT_MARK, clean_text

    value = random_secret(random.Random(cut), 30)
    limit = 400
    half = (limit - CUT_MARK) // 2
    before = "x " * half
    head = before[: half - cut] + value + " y" * 300  # `cut` characters of it stay at the end of the head
    tail = "z " * 300 + value + " w" * half
    tail = tail[: len(tail) - 0]
    masked = Redactor([("s", value)], masks=()).text(clean_text(head, limit))
    assert value[:cut] not in masked
    place = tail.index(value) + 30 - cut  # `cut` characters of it stay at the beginning of the tail
    tail = tail[:place] + tail[place : place + half]
    masked = Redactor([("s", value)], masks=()).text(clean_text(tail, limit))
    assert value[-cut:] not in masked
    assert masked.count("[secret:s]") >= 1


def test_what_has_no_secret_is_the_same_object() -> None:
    redactor = Redactor([("s", "correct-horse")], masks=())
    for text in ("", "nothing", "x" * 10_000, "correct-hors", "é" * 100):
        assert redactor.text(text) is text


@given(st.lists(st.text(alphabet=ODD, min_size=8, max_size=40), min_size=1, max_size=4), st.text(ODD, max_size=300))
@settings(max_examples=300, deadline=None)
def test_the_quick_look_finds_what_a_plain_search_finds(values: list[str], text: str) -> None:
    redactor = Redactor([("s", value) for value in values], masks=())
    forms = {form.text for value in values for form in forms_of(value)}
    rng = random.Random(text)
    for form in rng.sample(sorted(forms), min(5, len(forms))):
        place = rng.randint(0, len(text))
        holed = text[:place] + form + text[place:]
        spans = redactor.spans(holed)
        assert any(first <= place and place + len(form) <= last for first, last, _ in spans), form


def test_bytes_are_masked_too() -> None:
    redactor = Redactor([("s", "correct-horse-é")], masks=())
    assert redactor.data(b"\x89PNG correct-horse-\xc3\xa9 IEND") == b"\x89PNG [secret:s] IEND"
