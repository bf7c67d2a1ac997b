"""A host moves old runs to the archive while it works, and they are as they were for whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, stored
from sealing_support import KEY, files_with

from executus import Agent, Allowance, Runtime, ScriptedModel
from executus.errors import JournalError, RuntimeClosed
from executus.events import RunForked
from executus.journal import Inspection, SqliteJournal

Open = Callable[..., Runtime]


def agent(*words: str) -> Agent:
    return Agent("a", model=ScriptedModel(list(words) or ["done"] * 9), max_steps=5)


def test_runs_that_were_moved_are_read_followed_and_gone_on_from(opened: Open, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", agents=[agent("one", "two")])
    old = runtime.start("a", "first", request_id="r1", caller="alice")
    assert old.result(DEADLINE_S).output == "one"
    events = stored(old)
    runtime.start("a", "second").result(DEADLINE_S)
    assert runtime.compact(older_than_s=0).runs == 1
    assert stored(old) == events
    assert runtime.run(old.id).result(DEADLINE_S).output == "one"
    assert runtime.start("a", "first", request_id="r1", caller="alice").id == old.id
    successor = runtime.resume(old.id, "and then?")
    assert successor.result(DEADLINE_S).output == "two"
    assert any(isinstance(event.fact, RunForked) for event in stored(successor))
    said = [part.text for message in runtime.load(successor.id).transcript.messages for part in message.parts]  # type: ignore[union-attr]
    assert said[-4:] == ["first", "one", "and then?", "two"]


def test_a_host_opened_later_finds_what_was_moved_in_its_budget(opened: Open, tmp_path: Path) -> None:
    def open_one() -> Runtime:
        return opened(tmp_path / "runs.db", agents=[agent()], budget=[Allowance(window="total", tokens=10**9)])

    runtime = open_one()
    for _ in range(4):
        runtime.start("a", "hi", caller="alice").result(DEADLINE_S)
    spent = runtime.spending("alice")
    assert runtime.compact(older_than_s=0).runs == 3
    assert runtime.close()
    again = open_one()
    assert again.spending("alice") == spent
    assert again.spending("alice") != {}
    assert [event.position for event in SqliteJournal.scan(again._stored)] == list(range(1, again._stored.head() + 1))  # type: ignore[arg-type]


def test_a_journal_is_sound_after_its_runs_were_moved(opened: Open, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", agents=[agent()])
    runs = [runtime.start("a", "hi") for _ in range(3)]
    for run in runs:
        run.result(DEADLINE_S)
    moved = runtime.compact(older_than_s=0)
    assert moved.runs == 2
    assert isinstance(runtime._stored, SqliteJournal)
    assert list(Inspection(runtime._stored).of_everything()) == []
    assert runtime.compact(older_than_s=0).runs == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"older_than_s": -1},
        {"older_than_s": "90d"},
        {"older_than_s": float("nan")},
        {"caller": 7},
        {"statuses": "ok"},
        {"statuses": ["fine"]},
        {"keep": -1},
        {"keep": True},
    ],
)
def test_a_wrong_choice_is_told(opened: Open, tmp_path: Path, wrong: dict[str, Any]) -> None:
    runtime = opened(tmp_path / "runs.db")
    with pytest.raises((TypeError, ValueError), match=r"compact, .*: expected"):
        runtime.compact(**wrong)


def test_there_is_nothing_to_compact_in_memory_or_after_the_end(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="in memory"):
        opened().compact()
    runtime = opened(tmp_path / "runs.db")
    runtime.close()
    with pytest.raises(RuntimeClosed):
        runtime.compact()


def test_what_is_sealed_stays_sealed_in_the_archive_and_can_be_erased_there(opened: Open, tmp_path: Path) -> None:
    secret, large = "canary-said-5e1f", "canary-large-90ab" * 6_000

    def open_one(key: bytes | None = KEY) -> Runtime:
        model = ScriptedModel([f"{secret} {large}"])
        return opened(tmp_path / "runs.db", agents=[Agent("a", model=model)], encryption=key)

    runtime = open_one()
    old, other = (runtime.start("a", secret, caller="alice") for _ in range(2))
    for run in (old, other, runtime.start("a", secret)):
        run.result(DEADLINE_S)
    events = stored(old)
    assert runtime.compact(older_than_s=0).runs == 2
    assert stored(old) == events
    assert secret in runtime.run(old.id).result(DEADLINE_S).output
    assert files_with(tmp_path, [secret, "canary-large"]) == []
    erasure = runtime.erase(old.id)
    assert erasure.left == (), "nothing of it is left, in the archive too"
    assert {event.content for event in stored(old)} == {"erased", "clear"}
    assert secret in runtime.run(other.id).result(DEADLINE_S).output
    runtime.start("a", "hi").result(DEADLINE_S)
    assert runtime.compact(older_than_s=0).problems == []
    assert isinstance(runtime._stored, SqliteJournal)
    assert [one for one in Inspection(runtime._stored).of_everything() if not one.remark] == []
    assert runtime.close()
    without = open_one(None)
    assert secret not in without.run(other.id).result(DEADLINE_S).output
    without.start("a", "hi")
    assert without.compact(older_than_s=0).problems == [], "it needs no key"
