"""Changes of a conversation that a fork goes on with: what they do, and that a provider takes what is left."""

from __future__ import annotations

import pytest
from any_life import Life, for_any_life
from hypothesis import strategies as st
from run_ledger import seen
from run_specs import CALL, completed

from executus.events import Image, Message, RunForked, StepStarted, Text, Thinking, ToolCall, ToolFinished, ToolStarted
from executus.projections import calls_of
from executus.projections.editing import DropFrom, Reword, Say, edited, with_instructions
from executus.projections.forking import inherited
from executus.testing import run_started

LOOKED = (
    run_started("Go.", instructions="Be brief."),
    StepStarted(step=1),
    completed(CALL),
    ToolStarted(call="1.0", name="look"),
    ToolFinished(call="1.0", result="nothing"),
    StepStarted(step=2),
    completed(Text("Done."), step=2),
)
"""0 system, 1 user, 2 assistant with a call, 3 its result, 4 last words."""


def fork() -> RunForked:
    return inherited("run-0", Life(LOOKED, 0).events).forked


def texts(forked: RunForked) -> list[str]:
    return [getattr(part, "text", "") for message in (*forked.messages, *forked.heard) for part in message.parts]


def test_a_message_says_something_else_and_keeps_its_calls() -> None:
    changed = edited(fork(), [Reword(1, "Stay."), Reword(2, "I must look."), Reword(3, "a treasure")])
    assert texts(changed) == ["Be brief.", "Stay.", "I must look.", "", "a treasure", "Done."]
    assert changed.messages[2].parts[1] == CALL
    assert changed.said == "stop"


def test_reasoning_and_images_stay() -> None:
    thought, image = Thinking("Hm.", signature="sig"), Image("image/png", data=b"x")
    said = RunForked(
        source="s",
        version=1,
        messages=(
            Message("user", (Text("a"), image, Text("b"))),
            Message("assistant", (thought, Text("c"), ToolCall("1", "look"))),
        ),
    )
    changed = edited(said, [Reword(0, "A"), Reword(1, "")])
    assert changed.messages[0].parts == (Text("A"), image)
    assert changed.messages[1].parts == (thought, ToolCall("1", "look"))


def test_what_is_dropped_is_gone_and_last_words_are_those_that_are_left() -> None:
    assert texts(edited(fork(), [DropFrom(4)])) == ["Be brief.", "Go.", "", "nothing"]
    assert edited(fork(), [DropFrom(4)]).said is None
    assert texts(edited(fork(), [DropFrom(2)])) == ["Be brief.", "Go."]


def test_what_is_said_ends_last_words() -> None:
    changed = edited(fork(), [Say("More."), Say((Text("And"), Text("more.")))])
    assert (changed.said, texts(changed)[-3:]) == (None, ["More.", "And", "more."])


def test_instructions_are_replaced_added_or_taken_away() -> None:
    assert texts(with_instructions(fork(), "Be long."))[:2] == ["Be long.", "Go."]
    without = with_instructions(fork(), "")
    assert texts(without)[0] == "Go."
    assert texts(with_instructions(without, "Be long."))[:2] == ["Be long.", "Go."]


@pytest.mark.parametrize("index", [-1, 5, 99])
def test_there_must_be_such_a_message(index: int) -> None:
    for edit in (Reword(index, "x"), DropFrom(index)):
        with pytest.raises(ValueError, match=f"no message {index}; the conversation has messages 0 to 4"):
            edited(fork(), [edit])


@for_any_life(st.data())
def test_whatever_is_dropped_no_call_is_left_without_its_result(life: Life, data: st.DataObject) -> None:
    events = life.events_with_the_end
    forked = inherited("run-0", events[: data.draw(st.integers(1, len(events)))]).forked
    index = data.draw(st.integers(0, max(0, len(forked.messages) - 1)))
    edits = [DropFrom(index), Say("And now?")]
    kept = forked.messages[:index]
    asked = next((place for place in reversed(range(len(kept))) if calls_of(kept[place].parts)), None)
    if asked is not None and len(kept) <= asked + len(calls_of(kept[asked].parts)):
        with pytest.raises(ValueError, match=f"have no results; drop from {asked}"):
            edited(forked, edits)
        return
    changed = edited(forked, edits)
    assert changed.messages == forked.messages[:index]
    assert (changed.answers, changed.said) == ((), None)
    seen([*changed.messages, *changed.heard])
