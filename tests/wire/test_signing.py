"""Signed requests: every byte counts, and no two requests are signed alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_frames import KINDS, encode, frame, tag_of, valid

from executus.wire import signing
from executus.wire.gate import Gate, Turned
from executus.wire.requests import VERSION, Kill
from executus.wire.signing import decode_signed, grant_of, key_of, mac_of, new_token
from executus.wire.terms import Grant

BOOT = "b" * 32
NOW_US = 1_800_000_000_000_000
GRANT = Grant("op", "operator")


@pytest.mark.parametrize("kind", KINDS, ids=tag_of)
def test_a_frame_with_any_bit_changed_is_refused(kind: type) -> None:
    sent = frame(valid(kind), token=GRANT.token, boot=BOOT, now_us=NOW_US)
    gate = Gate(BOOT, [GRANT])
    for place in range(len(sent)):
        for bit in range(8):
            changed = bytearray(sent)
            changed[place] ^= 1 << bit
            assert isinstance(gate.admit(bytes(changed), place, NOW_US), Turned), (place, bit)
    assert not isinstance(gate.admit(sent, 0, NOW_US), Turned)


def test_a_frame_cut_anywhere_is_refused() -> None:
    sent = frame(valid(Kill), token=GRANT.token, boot=BOOT, now_us=NOW_US)
    gate = Gate(BOOT, [GRANT])
    assert all(isinstance(gate.admit(sent[:size], 0, NOW_US), Turned) for size in range(len(sent)))
    assert isinstance(gate.admit(sent + b"\x00", 0, NOW_US), Turned)


def test_what_is_signed_for_another_opening_is_worth_nothing() -> None:
    sent = frame(valid(Kill), token=GRANT.token, boot=BOOT, now_us=NOW_US)
    found = Gate("c" * 32, [GRANT]).admit(sent, 0, NOW_US)
    assert isinstance(found, Turned)
    assert found.reply.kind == "unauthenticated"


text = st.text(alphabet="ab.", max_size=6)
some = st.binary(max_size=16)
time_us = st.integers(-(1 << 63), (1 << 63) - 1)
parts = st.tuples(text, text, st.binary(min_size=16, max_size=16), time_us, time_us, some)


@given(parts, parts)
def test_no_two_requests_feed_the_same_bytes(one: tuple, other: tuple) -> None:
    key = bytes(32)
    assert (mac_of(key, *one) == mac_of(key, *other)) == (one == other)


@given(st.text(alphabet="ab", min_size=2, max_size=8), st.integers(1, 7), some)
def test_a_byte_that_moves_to_the_neighbouring_field_changes_the_mac(name: str, cut: int, body: bytes) -> None:
    cut = min(cut, len(name) - 1)
    key, nonce = bytes(32), bytes(16)
    whole = mac_of(key, name[:cut], name[cut:], nonce, 1, 2, body)
    assert whole != mac_of(key, name[: cut - 1], name[cut - 1 :], nonce, 1, 2, body)
    assert whole != mac_of(key, name[:cut], name[cut:] + "a", nonce, 1, 2, body)


def test_a_token_names_its_grant_and_does_not_travel() -> None:
    token = new_token("alice")
    assert grant_of(token) == "alice"
    assert len(token) == len("alice.") + 43
    sent = frame(valid(Kill), token=token, boot=BOOT, now_us=NOW_US)
    assert token.partition(".")[2].encode() not in sent
    assert key_of(token) not in sent
    assert new_token("alice") != token


def test_two_frames_of_one_request_have_nonces_of_their_own() -> None:
    one, other = (signing.signed(bytes(32), BOOT, "op", NOW_US, encode(1), version=VERSION) for _ in range(2))
    assert decode_signed(one).nonce != decode_signed(other).nonce
    assert decode_signed(one).until_us - decode_signed(one).issued_us == signing.WINDOW_US
