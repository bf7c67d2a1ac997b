"""Mutants of valid frames, some thousand of them; `benchmarks/fuzz_wire.py` tries a million."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wire_fuzz import Fuzz, quiet

from executus.errors import ControlRefused
from executus.wire import answering

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.bin"))
"""What once broke something, by what it was given to."""


@pytest.fixture
def fuzz(tmp_path: Path) -> Iterator[Fuzz]:
    log = logging.getLogger("executus")
    before = log.level
    quiet()
    tmp_path.chmod(0o700)
    one = Fuzz(20, tmp_path)
    yield one
    one.close()
    log.setLevel(before)


def test_nothing_escapes_and_what_is_refused_changes_nothing(fuzz: Fuzz) -> None:
    fuzz.go(6_000, anew_every=2_000)
    assert fuzz.broken == []
    reached = {name.partition(": ")[0] for name in fuzz.seen}
    assert reached == {"gate", "desk", "reply", "feed", "card", "review", "trace"}
    assert {"desk: Done", "desk: refused", "desk: unknown-run", "desk: forbidden", "feed: told"} <= set(fuzz.seen)


def test_a_refusal_that_changed_something_is_noticed(fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    really = answering.give

    def too_late(*arguments: Any) -> Any:
        really(*arguments)
        raise ControlRefused("forbidden", "after it was done")

    monkeypatch.setattr(answering, "give", too_late)
    fuzz.go(2_000)
    assert any("something has changed" in why for _, _, why in fuzz.broken)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_broke_something_does_so_no_more(fuzz: Fuzz, path: Path) -> None:
    fuzz.judge(path.stem.partition("-")[0], path.read_bytes())
    assert fuzz.broken == []
