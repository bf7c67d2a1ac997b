"""Who is let in, by clocks that the test sets: every kind of refusal, and what the gate remembers."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_frames import KINDS, encode, frame, tag_of, valid

from executus.wire import gate as gates
from executus.wire import signing
from executus.wire.gate import Admitted, Gate, Turned
from executus.wire.requests import FRAME_BYTES, VERSION, Extend, Head, Hello, Kill, Order, Steer
from executus.wire.rights import ROLES, may
from executus.wire.signing import EARLY_US, WINDOW_US, Signed, decode_signed, encode_signed
from executus.wire.terms import Grant

BOOT = "b" * 32
NOW_US = 1_800_000_000_000_000
GRANTS = [Grant(role, role, caller="alice" if role == "owner" else "") for role in ROLES]
TOKENS = {grant.role: grant.token for grant in GRANTS}


def new_gate() -> Gate:
    return Gate(BOOT, GRANTS)


def sealed(body: Any, role: str = "operator", **options: Any) -> bytes:
    return frame(body, **{"token": TOKENS[role], "boot": BOOT, "now_us": NOW_US, **options})


def kind_of(found: Admitted | Turned) -> str:
    return found.reply.kind if isinstance(found, Turned) else "admitted"


def asked(gate: Gate, sent: bytes, now_us: int = NOW_US, peer: int = 1) -> str:
    return kind_of(gate.admit(sent, peer, now_us))


@pytest.mark.parametrize("kind", KINDS, ids=tag_of)
@pytest.mark.parametrize("role", ROLES)
def test_every_request_is_let_in_for_the_roles_that_may_and_for_no_other(kind: Any, role: Any) -> None:
    found = new_gate().admit(sealed(valid(kind), role), 1, NOW_US)
    assert kind_of(found) == ("admitted" if may(role, kind.needs) else "forbidden")
    assert found.grant is not None
    assert found.grant.name == role
    assert found.request == valid(kind, **({"id": found.request.id} if isinstance(found.request, Order) else {}))


NEEDS = {
    "viewer": {"hello", "who", "head", "runs", "run", "read", "scan", "standing", "outcome"},
    "steerer": {"steer", "send", "approve", "deny"},
    "owner": {"extend", "raise", "begin", "cancel", "kill", "start"},
    "operator": {"orders", "next-review", "give-review"},
}


def test_every_request_has_its_row_in_the_table_of_roles() -> None:
    assert {tag_of(kind): kind.needs for kind in KINDS} == {tag: role for role, tags in NEEDS.items() for tag in tags}


def test_each_role_may_what_the_ones_before_it_may() -> None:
    assert [[may(role, needs) for needs in ROLES] for role in ROLES] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


DEEP = b"\x91" * 20_000
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "malformed"),
    "garbage": (b"\xc1" * 40, "malformed"),
    "text": (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
    "deep": (DEEP, "malformed"),
    "deep within": (sealed(DEEP), "malformed"),
    "a field too few": (encode([VERSION, "operator"]), "malformed"),
    "a field too many": (encode([*msgspec.structs.astuple(decode_signed(sealed(Head()))), 1]), "malformed"),
    "oversize": (bytes(FRAME_BYTES + 1), "oversize"),
    "another version": (sealed(Head(), version=2), "version"),
    "no token": (signing.unsigned(encode(Head()), version=VERSION), "unauthenticated"),
    "an order without a token": (signing.unsigned(encode(valid(Kill)), version=VERSION), "unauthenticated"),
    "a wrong token": (sealed(Head(), token="operator." + "x" * 43), "unauthenticated"),
    "an unknown grant": (sealed(Head(), token="nobody." + "x" * 43), "unauthenticated"),
    "another grant's token": (sealed(Head(), grant="operator", token=TOKENS["viewer"]), "unauthenticated"),
    "another boot": (sealed(Head(), boot="c" * 32), "unauthenticated"),
    "a short nonce": (sealed(Head(), nonce=bytes(15)), "unauthenticated"),
    "expired": (sealed(Head(), now_us=NOW_US - WINDOW_US - 1), "expired"),
    "of the future": (sealed(Head(), now_us=NOW_US + EARLY_US + 1), "expired"),
    "too long a window": (sealed(Head(), window_us=WINDOW_US + 1), "expired"),
    "a time beyond all": (
        encode_signed(Signed(VERSION, "operator", bytes(16), 1 << 63, (1 << 63) + 1, b"", bytes(32))),
        "malformed",
    ),
    "an unknown command": (sealed(encode({"ask": "explode"})), "malformed"),
    "an unknown field": (sealed(encode({"ask": "head", "also": 1})), "malformed"),
    "a field of another type": (sealed(encode({"ask": "run", "run": 7})), "malformed"),
    "a text too long": (sealed(encode({"ask": "run", "run": "x" * 37})), "malformed"),
    "seconds that are none": (
        sealed(encode({**msgspec.to_builtins(valid(Extend)), "seconds": float("nan")})),
        "malformed",
    ),
    "invalid text": (sealed(b"\x82\xa3ask\xa3run\xa3run\xa2\xff\xfe"), "malformed"),
    "a role too low": (sealed(valid(Steer), "viewer"), "forbidden"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_its_kind_and_the_next_one_is_let_in(case: str) -> None:
    sent, kind = REFUSED[case]
    gate = new_gate()
    assert asked(gate, sent) == kind
    assert asked(gate, sealed(Head())) == "admitted"


def test_the_edges_of_a_window_are_within() -> None:
    gate = new_gate()
    assert asked(gate, sealed(Head(), now_us=NOW_US - WINDOW_US)) == "admitted"
    assert asked(gate, sealed(Head(), now_us=NOW_US + EARLY_US)) == "admitted"


@given(st.integers(0, 2 * WINDOW_US), st.integers(0, 2 * WINDOW_US))
def test_a_frame_is_let_in_at_most_once_whenever_it_comes_again(first_us: int, after_us: int) -> None:
    gate = new_gate()
    sent = sealed(Head())
    found = [asked(gate, sent, NOW_US + first_us), asked(gate, sent, NOW_US + first_us + after_us)]
    assert found.count("admitted") == (first_us <= WINDOW_US)
    assert set(found) <= {"admitted", "replayed", "expired"}


def test_a_replay_is_refused_from_another_connection_and_after_ten_thousand_others() -> None:
    gate = new_gate()
    sent = sealed(valid(Kill))
    assert asked(gate, sent) == "admitted"
    for number in range(10_000):
        assert asked(gate, sealed(Head()), NOW_US, number) == "admitted"
    assert asked(gate, sent, NOW_US + 1_000_000, 7) == "replayed"


def test_a_clock_that_goes_back_lets_nothing_in_twice_that_it_remembers_and_does_not_shut_the_gate() -> None:
    gate = new_gate()
    later = [sealed(Head(), now_us=NOW_US + 3_600_000_000) for _ in range(3)]
    assert [asked(gate, sent, NOW_US + 3_600_000_000) for sent in later] == ["admitted"] * 3
    assert asked(gate, sealed(Head())) == "admitted"
    assert [asked(gate, sent) for sent in later] == ["expired"] * 3
    assert [asked(gate, sent, NOW_US + 3_600_000_000) for sent in later] == ["replayed"] * 3


def test_when_all_nonces_are_taken_only_requests_of_that_sort_and_grant_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "NONCES", 10)
    gate = new_gate()
    assert [asked(gate, sealed(Head())) for _ in range(11)] == ["admitted"] * 10 + ["busy"]
    assert asked(gate, sealed(valid(Kill))) == "admitted"
    assert asked(gate, sealed(Head(), "viewer")) == "admitted"
    after = NOW_US + WINDOW_US + 1
    assert asked(gate, sealed(Head(), now_us=after), after) == "admitted"


def test_nothing_that_was_turned_away_is_remembered() -> None:
    gate = new_gate()
    for number in range(3_000):
        asked(gate, sealed(valid(Steer), "viewer"))
        asked(gate, sealed(Head(), token="operator." + "x" * 43))
        asked(gate, sealed(b"\xc1"), peer=number)
        asked(gate, sealed(Head(), "viewer"), peer=1)
    assert all(len(nonces._seen) <= 2 * gates.READS_A_SECOND for nonces in gate._nonces.values())


def test_orders_are_limited_by_process_and_grant_and_kills_are_not() -> None:
    gate = new_gate()
    orders = [asked(gate, sealed(valid(Steer))) for _ in range(60)]
    assert orders == ["admitted"] * 40 + ["too-many"] * 20
    assert asked(gate, sealed(valid(Steer)), peer=2) == "admitted"
    assert asked(gate, sealed(valid(Steer), "owner")) == "admitted"
    assert {asked(gate, sealed(valid(Kill))) for _ in range(500)} == {"admitted"}
    assert asked(gate, sealed(valid(Steer), now_us=NOW_US + 1_000_000), NOW_US + 1_000_000) == "admitted"


def test_questions_are_limited_signed_or_not() -> None:
    gate = new_gate()
    hello = signing.unsigned(encode(Hello()), version=VERSION)
    assert [asked(gate, hello) for _ in range(110)].count("admitted") == 100
    assert [asked(gate, sealed(Head())) for _ in range(1_010)].count("admitted") == 1_000
    assert asked(gate, sealed(Hello())) == "too-many"


def test_an_unknown_grant_costs_the_same_work_as_a_wrong_token(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    made: list[str] = []
    really = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return really(one, other)

    def mac(key: bytes, boot: str, grant: str, *rest: Any) -> bytes:
        made.append(grant)
        return signing.mac_of(key, boot, grant, *rest)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    monkeypatch.setattr(gates, "mac_of", mac)
    gate = new_gate()
    for name in ("operator", "nobody"):
        asked(gate, sealed(Head(), token=f"{name}." + "x" * 43))
    assert made == ["operator", "nobody"]
    assert len(compared) == 2
    assert [len(part) for pair in compared for part in pair] == [32] * 4


def test_the_key_of_nobody_opens_nothing() -> None:
    body = encode(Head())
    mac = signing.mac_of(gates._NOBODY, BOOT, "nobody", bytes(16), NOW_US, NOW_US + 1, body)
    sent = encode_signed(Signed(VERSION, "nobody", bytes(16), NOW_US, NOW_US + 1, body, mac))
    assert asked(new_gate(), sent) == "unauthenticated"


@given(st.binary(max_size=200))
def test_no_bytes_get_in_or_raise(sent: bytes) -> None:
    found = new_gate().admit(sent, 1, NOW_US)
    assert isinstance(found, Turned)
    assert found.request is None


@given(st.binary(max_size=200))
def test_no_signed_bytes_raise(body: bytes) -> None:
    assert isinstance(new_gate().admit(sealed(body), 1, NOW_US), Turned)
