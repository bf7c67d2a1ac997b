"""Search finds what was said, by whom it was said, and what went wrong, and passes by what cannot be read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from any_life import Life, for_any_life
from journal_support import RunLog, finished, step
from sealing_support import encryption
from travel_support import ReadOnly, written

from executus import Agent, Runtime, ScriptedModel
from executus.errors import LogCorrupt, UnknownRun
from executus.events import (
    ApprovalDenied,
    ApprovalRequested,
    Fact,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolRefused,
    ToolStarted,
)
from executus.journal import open_journal, read_journal
from executus.projections import fold
from executus.projections.moments import went_wrong
from executus.testing import SPEC_RUN_ID, run_started
from executus.travel import Recording, history, search, state_at

A, B = (f"00000000-0000-7000-8000-00000000000{number}" for number in (1, 2))

FACTS: list[Fact] = [
    run_started("Was kostet die STRASSE?"),
    StepStarted(step=1),
    StepCompleted(step=1, reply=(Text("Let me see."), ToolCall("a", "look", '{"q": "Straße"}'), ToolCall("b", "pay"))),
    ToolStarted(call="1.0", name="look"),
    ApprovalRequested(call="1.1", name="pay"),
    ToolFinished(call="1.0", result="The " + "very " * 40 + "Old Street.", is_error=True),
    ApprovalDenied(call="1.1", by="bob", reason="no"),
    ToolRefused(call="1.1", name="pay", reason="denied"),
    StepStarted(step=2),
    StepCompleted(step=2, reply=(Text("Done, old friend."), ToolCall("c", "look"))),
    ToolStarted(call="2.0", name="look"),
]


def versions(journal: Any, text: str = "", **what: Any) -> list[tuple[str, int]]:
    return [(found.run_id[-1], found.version) for found in search(journal, text, **what)]


def test_a_text_is_found_wherever_it_was_said() -> None:
    journal = written((A, FACTS), (B, [run_started("old")]))
    assert versions(journal, "OLD") == [("1", 6), ("1", 10), ("2", 1)]
    [first, second, third] = search(journal, "OLD")
    assert (first.where, first.hit) == ("/result", "Old")
    assert first.before.startswith("…")
    assert first.before.endswith("very ")
    assert first.after == " Street."
    assert (second.where, second.before, second.hit, second.after) == ("/reply/0/text", "Done, ", "old", " friend.")
    assert (third.where, third.position) == ("/input/0/text", 12)
    assert versions(journal, "straße") == [("1", 3)]
    assert versions(journal, "is_error") == [], "names of fields were not said"
    assert versions(journal, "v.ry") == [], "it is a text, no pattern"
    assert versions(journal, "never_retry") == [], "our own words were not said"
    assert versions(journal, "old", run_ids=[B]) == [("2", 1)]
    assert versions(journal, "old", after=10) == [("2", 1)]
    with pytest.raises(UnknownRun):
        versions(journal, run_ids=["00000000-0000-7000-8000-000000000009"])


def test_a_tool_is_followed_from_the_reply_to_the_outcome() -> None:
    journal = written((A, FACTS))
    assert versions(journal, tool="look") == [("1", 3), ("1", 4), ("1", 6), ("1", 10), ("1", 11)]
    assert versions(journal, tool="pay") == [("1", 3), ("1", 5), ("1", 7), ("1", 8)]
    assert versions(journal, "street", tool="pay") == []
    assert versions(journal, tool="pay", errors=True) == [("1", 7), ("1", 8)]
    assert versions(journal, tool="look", tag="tool-started") == [("1", 4), ("1", 11)]
    [found] = search(journal, tag="tool-refused")
    assert (found.where, found.hit, found.after) == ("", "", "1.1: not started: denied")


@for_any_life()
def test_errors_are_all_that_went_wrong(life: Life) -> None:
    journal = written((SPEC_RUN_ID, life.facts))
    wrong = [version for version, fact in enumerate(life.facts, 1) if went_wrong(fact)]
    assert [found.version for found in search(journal, errors=True)] == wrong
    assert [moment.version for moment in history(journal, SPEC_RUN_ID) if moment.wrong] == wrong


@for_any_life()
def test_searching_by_run_finds_what_searching_everywhere_does(life: Life) -> None:
    journal = written((SPEC_RUN_ID, life.facts))
    for what in ({"text": "WORDS"}, {"tool": "tool1"}, {"tag": "step-completed"}, {"errors": True, "text": "o"}):
        assert list(search(journal, **what)) == list(search(journal, run_ids=[SPEC_RUN_ID], **what))  # type: ignore[arg-type]


def test_a_damaged_event_is_shown_as_such_and_what_is_before_it_can_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    host = open_journal(path)
    log = RunLog(host).start()
    log.write(*step(1, "good words"), *step(2, "more words"), finished())
    host.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE stored_events SET state = x'00' WHERE originator_version = 4")
    connection.commit()
    connection.close()
    journal = ReadOnly(read_journal(path))
    told = history(journal, log.run_id)
    assert [moment.version for moment in told] == list(range(1, 11))
    assert [moment.version for moment in told if moment.tag == "damaged"] == [4]
    assert told[3].title == "this event is damaged and cannot be read"
    assert history(journal, log.run_id, 3, 2) == told[3:5]
    recording = Recording(journal, log.run_id)
    for version in (3, 0, 1, 2):
        assert recording.at(version) == fold(log.events[:version]) == state_at(journal, log.run_id, version)
    for version in (4, 5, 10):
        with pytest.raises(LogCorrupt, match="version 4"):
            recording.at(version)
        with pytest.raises(LogCorrupt, match="version 4"):
            state_at(journal, log.run_id, version)
    assert [found.version for found in search(journal, errors=True)] == [4]
    assert [found.version for found in search(journal, errors=True, run_ids=[log.run_id])] == [4]
    assert [found.version for found in search(journal, "words")] == [3, 5, 7, 9]


def test_what_is_sealed_is_found_with_the_key_only(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Runtime(path, [Agent("a", model=ScriptedModel(["hidden words"]))], encryption=encryption()) as runtime:
        assert runtime.start("a", "go").result(timeout=30).output == "hidden words"
    keyed, blind = read_journal(path, encryption=encryption()), read_journal(path)
    try:
        assert [found.tag for found in search(keyed, "hidden WORDS")] == ["step-completed", "run-finished"]
        assert list(search(blind, "hidden words")) == []
        [run] = blind.runs()
        contents = {moment.content for moment in history(blind, run.run_id)}
        assert contents == {"clear", "locked"}, "what says nothing is stored in the clear"
        assert Recording(blind, run.run_id).at(run.version).withheld == "locked"
    finally:
        keyed.close()
        blind.close()
