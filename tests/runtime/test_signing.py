"""A host signs for its journal, with a key at hand, in a file or elsewhere; what is no key is told at the start."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from runtime_support import DEADLINE_S

from executus import Agent, Runtime, ScriptedModel, Signing
from executus.adapters.signing import PrivateKey, PublicKey
from executus.journal import HeadsCheck, Inspection, read_journal

Open = Callable[..., Runtime]

RAW = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(RAW)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_RAW = KEY.public_key().public_bytes_raw()


def agent() -> Agent:
    return Agent("a", model=ScriptedModel(["done"]))


def given(tmp_path: Path) -> dict[str, Signing]:
    file, public = tmp_path / "key.pem", tmp_path / "key.pub"
    file.write_bytes(PEM)
    public.write_bytes(PUBLIC_PEM)
    return {
        "raw": Signing(RAW),
        "PEM": Signing(PEM),
        "PEM as text": Signing(PEM.decode()),
        "a file": Signing(file),
        "its name": Signing(str(file)),
        "elsewhere": Signing(KEY.sign, public_key=PUBLIC_RAW),
        "elsewhere, public PEM": Signing(KEY.sign, public_key=public),
        "a signer": Signing(PrivateKey(RAW)),
    }


WAYS = ["raw", "PEM", "PEM as text", "a file", "its name", "elsewhere", "elsewhere, public PEM", "a signer"]


@pytest.mark.parametrize("how", WAYS)
def test_a_host_signs_for_what_it_stored(opened: Open, tmp_path: Path, how: str) -> None:
    path = tmp_path / "runs.db"
    runtime = opened(path, agents=[agent()], signing=given(tmp_path)[how])
    runtime.start("a", "hi").result(DEADLINE_S)
    assert runtime.close()
    reader = read_journal(path)
    for key in (PUBLIC_PEM, PUBLIC_RAW, PEM):
        check = HeadsCheck(Path(f"{path}.heads"), [PublicKey(key)])
        assert list(Inspection(reader, heads=check).of_everything()) == []
        assert check.signed_to == reader.head() > 0
    reader.close()


def test_anchors_go_to_the_hosts_own_place_too(opened: Open, tmp_path: Path) -> None:
    lines: list[str] = []
    for sink in (lines.append, tmp_path / "elsewhere.jsonl"):
        runtime = opened(tmp_path / "runs.db", agents=[agent()], signing=Signing(RAW, every_events=1, sink=sink))
        runtime.start("a", "hi").result(DEADLINE_S)
        assert runtime.close()
    told = [*lines, *(tmp_path / "elsewhere.jsonl").read_text().splitlines()]
    assert told == (tmp_path / "runs.db.heads").read_text().splitlines()


def test_it_is_signed_for_after_some_events_or_some_time(opened: Open, tmp_path: Path) -> None:
    told: queue.Queue[str] = queue.Queue()
    runtime = opened(tmp_path / "runs.db", agents=[agent()], signing=Signing(RAW, every_s=0.01, sink=told.put))
    runtime.start("a", "hi").result(DEADLINE_S)
    head = runtime.journal.head()
    while json.loads(told.get(timeout=DEADLINE_S))["position"] != head:
        pass


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"short", "expected an Ed25519 private key"),
        (PUBLIC_PEM, "expected an Ed25519 private key"),
        (
            X25519PrivateKey.from_private_bytes(RAW).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "got X25519PrivateKey",
        ),
        (7, "expected PEM, 32 bytes or the path of a PEM file, got int"),
        (KEY.sign, "a key elsewhere is given by a function and its public half"),
    ],
)
def test_a_key_that_is_none_is_told_before_anything_is_opened(
    opened: Open, tmp_path: Path, wrong: Any, says: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        opened(tmp_path / "runs.db", signing=Signing(wrong))
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"signing": "key.pem", "path": "runs.db"}, "expected a Signing"),
        ({"signing": Signing(RAW)}, "expected a journal that is stored"),
        ({"signing": Signing(RAW, every_events=0), "path": "runs.db"}, "every_events: expected a number"),
        ({"signing": Signing(RAW, every_s=-1), "path": "runs.db"}, "every_s: expected seconds"),
        ({"signing": Signing(RAW, sink=7), "path": "runs.db"}, "sink: expected a function or the path"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_told(
    opened: Open, tmp_path: Path, arguments: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=says):
        opened(**arguments)
    assert not (tmp_path / "runs.db").exists()


def test_a_missing_file_of_a_key_is_told(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "runs.db", signing=Signing(tmp_path / "none.pem"))


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    for signing in given(tmp_path).values():
        assert RAW.hex() not in repr(signing)
        assert repr(RAW)[2:-1] not in repr(signing)
        assert "PRIVATE KEY" not in repr(signing)
