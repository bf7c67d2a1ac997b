"""On which terms a host can listen: every wrong one is said before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from executus import Runtime
from executus.adapters.critics.outside import OutsideCritic
from executus.wire.attached import attach
from executus.wire.signing import new_token
from executus.wire.terms import ClientTls, Grant, Listen, ServerTls, listen_of

TLS = ServerTls("host.pem")
SOMEBODY = [Grant("a")]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "é"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "a", "role": "owner"}, "one caller"),
        ({"name": "a", "role": "operator", "caller": "c"}, "bound to no caller"),
        ({"name": "a", "token": "short"}, "token"),
        ({"name": "a", "token": "a." + "x" * 30}, "token"),
        ({"name": "a", "token": "b." + "x" * 43}, "token"),
        ({"name": "a", "token": "x" * 50}, "token"),
        ({"name": "a", "token": "a." + "é" * 43}, "token"),
        ({"name": "a", "token": "a." + "\ud800" * 43}, "token"),
        ({"name": "a", "token": "a." + "x" * 43 + "\n"}, "token"),
        ({"name": "a", "token": b"a." + b"x" * 43}, "token"),
    ],
)
def test_a_grant_that_cannot_be_is_refused(options: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Grant(**options)


def test_a_caller_is_text() -> None:
    with pytest.raises(TypeError, match="caller"):
        Grant("a", caller=7)  # type: ignore[arg-type]


def test_tokens_are_not_shown_and_no_two_grants_can_share_one() -> None:
    grant = Grant("a")
    assert grant.token not in repr(grant)
    assert Grant("a").token != grant.token
    with pytest.raises(ValueError, match="token"):
        Grant("b", token=grant.token)
    with pytest.raises(ValueError, match="name of its own"):
        Listen(grants=[Grant("a", token=grant.token), Grant("a", "steerer", token=grant.token)])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"address": ""}, "address"),
        ({"address": "ipc://relative"}, "address"),
        ({"address": "/a/path"}, "address"),
        ({"address": "inproc://x"}, "address"),
        ({"address": "ws://x:1"}, "address"),
        ({"address": "tcp://127.0.0.1:1"}, "only listened on with TLS"),
        ({"address": "tcp://127.0.0.1:1", "grants": SOMEBODY, "tls": TLS}, "only listened on with TLS"),
        ({"address": "tls+tcp://127.0.0.1:1", "grants": SOMEBODY}, "needs tls"),
        ({"address": "tls+tcp://127.0.0.1:1", "tls": TLS}, "let in by a token"),
        ({"address": "tls+tcp://127.0.0.1", "grants": SOMEBODY, "tls": TLS}, "HOST:PORT"),
        ({"address": "tls+tcp://:1", "grants": SOMEBODY, "tls": TLS}, "HOST:PORT"),
        ({"address": "tls+tcp://127.0.0.1:x", "grants": SOMEBODY, "tls": TLS}, "HOST:PORT"),
        ({"address": "tls+tcp://127.0.0.1:65535", "grants": SOMEBODY, "tls": TLS}, "port"),
        ({"address": "tls+tcp://127.0.0.1:99999", "grants": SOMEBODY, "tls": TLS}, "port"),
        ({"tls": TLS}, "for tls"),
        ({"grants": [Grant("a"), Grant("a")]}, "name of its own"),
        ({"grants": [Grant("operator", "operator")]}, "operator"),
        ({"critics": [OutsideCritic("a"), OutsideCritic("a")]}, "name of its own"),
        ({"peers": 0}, "peers"),
        ({"peers": 1001}, "peers"),
        ({"peers": True}, "peers"),
        ({"peers": 2.5}, "peers"),
    ],
)
def test_terms_that_cannot_be_are_refused(options: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Listen(**options)


def test_terms_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="address"):
        Listen(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Grant"):
        Listen(grants=["a"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="listen"):
        listen_of(7)  # type: ignore[arg-type]


def test_a_runtime_opens_nothing_on_wrong_terms(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TLS"):
        Runtime(tmp_path / "runs.db", [], listen="tcp://127.0.0.1:7000")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "options", "why"),
    [
        ("tcp://127.0.0.1:1", {"token": new_token("a")}, "no host listens"),
        ("tls+tcp://127.0.0.1:1", {"token": new_token("a")}, "needs tls"),
        ("tls+tcp://127.0.0.1:1", {"tls": ClientTls("ca.pem")}, "needs the token"),
        ("ipc:///nowhere", {}, "needs the token"),
    ],
)
def test_a_client_is_told_what_is_missing(target: str, options: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXECUTUS_TOKEN", raising=False)
    with pytest.raises(ValueError, match=why):
        attach(target, **options)
