import base64
import json
from typing import Any

import msgspec
import pytest

from executus.adapters.chat import NotAChatMessage, from_chat, to_chat
from executus.adapters.recordings import Recording, facts_of, read_recordings
from executus.errors import ImportRefused
from executus.events import Fact, Image, RunFinished, RunStarted, Text, ToolCall, ToolFinished, ToolStarted
from executus.events.codec import encode_event
from executus.events.envelope import GENESIS
from executus.projections import RunState, Transcript, evolve, evolve_transcript, outstanding, stats

RUN = "0192f000-0000-7000-8000-000000000001"

SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi."}


def asks(*ids: str, content: str | None = None) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "look", "arguments": '{"at":  1.0}'}} for i in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def answers(call: str, text: str = "seen") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "name": "look", "content": text}


def one(messages: list[dict[str, Any]]) -> Recording:
    [recording] = read_recordings(json.dumps([{"id": "c", "messages": messages}]), "file.json")
    return recording


def retold(facts: list[Fact]) -> list[dict[str, Any]]:
    transcript = Transcript()
    for fact in facts:
        transcript = evolve_transcript(transcript, fact)
    return to_chat(transcript.messages)


CONVERSATIONS = {
    "a question and its answer": [SYSTEM, HELLO, ANSWER],
    "no instructions": [HELLO, ANSWER],
    "the assistant begins": [ANSWER, HELLO, ANSWER],
    "the user has the last word": [SYSTEM, HELLO, ANSWER, HELLO],
    "a tool has the last word": [HELLO, asks("a"), answers("a")],
    "a call that is never answered": [HELLO, asks("a")],
    "two calls at once": [HELLO, asks("a", "b", content="Looking."), answers("a"), answers("b", ""), ANSWER],
    "the same id in two steps": [HELLO, asks("a"), answers("a"), asks("a"), answers("a"), ANSWER],
    "the user says two things": [HELLO, HELLO, ANSWER],
    "the assistant says two things": [HELLO, ANSWER, ANSWER],
    "instructions later on": [SYSTEM, HELLO, ANSWER, SYSTEM, HELLO, ANSWER],
    "instructions only": [SYSTEM],
    "empty texts": [
        {"role": "system", "content": ""},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": ""},
    ],
    "nothing said at all": [HELLO, {"role": "assistant", "content": None}],
    "an image": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"png").decode()},
                },
            ],
        },
        ANSWER,
    ],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_transcript_of_an_imported_run_is_the_recording(messages: list[dict[str, Any]]) -> None:
    assert retold(facts_of(one(messages), RUN, 7)) == messages


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_an_imported_run_follows_the_rules_of_live_ones(messages: list[dict[str, Any]]) -> None:
    facts = facts_of(one(messages), RUN, 7)
    assert isinstance(facts[0], RunStarted)
    assert facts[0].imported_from == "file.json#1"
    assert sum(isinstance(fact, RunFinished) for fact in facts) == 1
    started: set[str] = set()
    state, before = RunState(), RunState()
    for fact in facts:
        if isinstance(fact, ToolStarted):
            started.add(fact.call)
        if isinstance(fact, ToolFinished):
            started.remove(fact.call)
        before, state = state, evolve(state, fact)
    last = facts[-1]
    assert isinstance(last, RunFinished)
    assert last.stats == stats(before, "ok", "", 0)
    assert state.over
    assert outstanding(state) == []
    assert last.by == (
        "model" if messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1] else "import"
    )


def test_calls_half_answered_at_the_end_have_an_unknown_outcome() -> None:
    told = retold(facts_of(one([HELLO, asks("a", "b"), answers("b")]), RUN, 7))
    assert told[2]["content"] == "the recording ends before its result"
    assert told[3] == answers("b")


def test_results_in_another_order_are_put_into_the_order_of_the_calls() -> None:
    told = retold(facts_of(one([HELLO, asks("a", "b"), answers("b", "2"), answers("a", "1"), ANSWER]), RUN, 7))
    assert told[2:4] == [answers("a", "1"), answers("b", "2")]


def test_arguments_of_calls_are_kept_verbatim() -> None:
    message = from_chat(asks("a"))
    assert message.parts == (ToolCall("a", "look", '{"at":  1.0}'),)


def test_arguments_that_were_recorded_parsed_become_text_again() -> None:
    call = {"id": "a", "function": {"name": "look", "arguments": {"at": "Jüterbog"}}}
    assert from_chat({"role": "assistant", "tool_calls": [call]}).parts == (
        ToolCall("a", "look", '{"at": "Jüterbog"}'),
    )


def test_a_run_waits_before_a_person_speaks_again() -> None:
    facts = facts_of(one([HELLO, ANSWER, HELLO, HELLO, ANSWER, SYSTEM]), RUN, 7)
    kinds = [type(fact).__name__ for fact in facts if type(fact).__name__.startswith("Input")]
    assert kinds == ["InputAwaited", "InputReceived", "InputReceived", "InputAwaited", "InputReceived"]


def test_images_keep_their_bytes_or_their_address() -> None:
    content = CONVERSATIONS["an image"][0]
    assert from_chat(content).parts == (
        Text("What is this?"),
        Image("image/png", url="https://example.org/cat.png"),
        Image("image/png", data=b"png"),
    )


def test_whatever_text_a_recording_holds_its_facts_can_be_encoded() -> None:
    bad = "\ud800 and \x00"
    recording = one([{"role": "user", "content": bad}, asks(bad, content=bad), answers(bad, bad)])
    recording = msgspec.structs.replace(recording, source=bad)
    for fact in facts_of(recording, RUN, 7):
        encode_event(fact, run_id=RUN, version=1, previous=GENESIS, at_us=0, elapsed_ms=0, cause="", epoch=1)


def test_what_else_a_conversation_says_is_kept_as_the_inputs_of_the_run() -> None:
    text = json.dumps({"messages": [HELLO], "reward": 1.0, "model": "m", "tools": [{"function": {"name": "look"}}]})
    [recording] = read_recordings(text, "f")
    started = facts_of(recording, RUN, 7)[0]
    assert isinstance(started, RunStarted)
    assert started.info.inputs == {"reward": 1.0}
    assert started.agent.model == "m"
    assert started.agent.tools == ("look",)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (json.dumps([{"messages": [HELLO]}, {"messages": [ANSWER]}]), 2),
        (json.dumps({"messages": [HELLO]}), 1),
        (json.dumps([HELLO, ANSWER]), 1),
        (json.dumps([[HELLO], [HELLO, ANSWER]]), 2),
        (json.dumps({"messages": [HELLO]}) + "\n\n" + json.dumps({"messages": [ANSWER]}) + "\n", 2),
        (json.dumps([HELLO, ANSWER]) + "\n" + json.dumps([HELLO]), 2),
        (json.dumps([{"role": "user", "content": "kept", "messages": [HELLO]}]), 1),
    ],
)
def test_every_common_shape_of_file_is_read(text: str, count: int) -> None:
    assert [recording.index for recording in read_recordings(text, "f")] == list(range(1, count + 1))


GOOD = json.dumps({"id": "good", "messages": [HELLO, ANSWER]})


@pytest.mark.parametrize(
    ("text", "good", "place", "why"),
    [
        ("", 0, "line 1", "empty"),
        ("  \n ", 0, "line 1", "empty"),
        ("[]", 0, "line 1", "no conversation"),
        ("hello", 0, "line 1, column 1", "not JSON"),
        ("3", 0, "conversation 1 (line 1)", "an object with 'messages'"),
        (f"[{GOOD},\n {GOOD[:40]}", 1, "line 2, column 42", "ends in the middle of a conversation"),
        (f'{GOOD}\n{{"messages": ', 1, "line 2, column 13", "ends in the middle of a conversation"),
        (f"[{GOOD},\n {GOOD}", 2, "line 2", "the file ends before the closing ']'"),
        (f"[{GOOD}\n {GOOD}]", 1, "line 2, column 2", "expected ',' or ']'"),
        (f"{GOOD}\n{{'a': 1}}", 1, "line 2, column 2", "not JSON"),
        (f"{GOOD}\n" + "[" * 100_000, 1, "line 2", "nested too deeply"),
        (f"{GOOD}\n[{'9' * 5000}]", 1, "line 2, column 2", "not readable"),
        (f"[{GOOD}, 7]", 1, "conversation 2 (line 1)", "an object with 'messages'"),
        (f"[{GOOD},\n{{}}]", 1, "conversation 2 (line 2)", "an object with 'messages'"),
        (f'[{GOOD}, {{"id": "x", "messages": []}}]', 1, "conversation 2 (x)", "no messages"),
    ],
)
def test_a_wrong_file_is_refused_at_its_place_and_what_came_before_is_kept(
    text: str, good: int, place: str, why: str
) -> None:
    kept: list[Recording] = []
    with pytest.raises(ImportRefused) as caught:
        for recording in read_recordings(text, "f"):
            kept.append(recording)
    assert len(kept) == good
    assert caught.value.place.startswith(place)
    assert why in caught.value.why
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("text", "expected a message"),
        ({"content": "x"}, "role: expected one of system, developer, user"),
        ({"role": "robot", "content": "x"}, 'got "robot"'),
        ({"role": ["user"], "content": "x"}, "role: expected one of"),
        ({"role": "user"}, "content of a user message"),
        ({"role": "user", "content": 3}, "content: expected text"),
        ({"role": "user", "content": ["x"]}, "expected parts with 'type'"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, '"input_audio" is not known'),
        ({"role": "user", "content": [{"type": "text"}]}, "text: expected text, got nothing"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "image_url: expected"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}, "data:TYPE;base64"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:a/b;base64,#"}]}, "does not decode"),
        ({"role": "assistant", "tool_calls": {}}, "tool_calls: expected a list"),
        ({"role": "assistant", "tool_calls": ["x"]}, "expected objects with 'id' and 'function'"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}, "name: expected text"),
        ({"role": "tool", "content": "x"}, "tool_call_id: expected text"),
    ],
)
def test_a_wrong_message_is_refused_with_what_was_expected(message: object, why: str) -> None:
    with pytest.raises(NotAChatMessage, match=why.replace("(", r"\(")):
        from_chat(message)
    with pytest.raises(ImportRefused) as caught:
        list(read_recordings(json.dumps([{"id": "x", "messages": [HELLO, message]}]), "f"))
    assert caught.value.place == "conversation 1 (x), message 2"


@pytest.mark.parametrize(
    ("messages", "place", "why"),
    [
        ([HELLO, asks("a"), HELLO], "message 3", "before the tool call 'a' was answered"),
        ([HELLO, asks("a", "b"), answers("a"), ANSWER], "message 4", "before the tool call 'b' was answered"),
        ([HELLO, answers("a")], "message 2", "a tool call 'a', which the reply before it did not make"),
        ([HELLO, asks("a"), answers("a"), answers("a")], "message 4", "a tool call 'a'"),
        ([HELLO, asks("a"), answers("z")], "message 3", "a tool call 'z'"),
    ],
)
def test_messages_that_cannot_follow_each_other_are_refused(
    messages: list[dict[str, Any]], place: str, why: str
) -> None:
    with pytest.raises(ImportRefused) as caught:
        facts_of(one(messages), RUN, 7)
    assert caught.value.place == f"conversation 1 (c), {place}"
    assert why in caught.value.why


def test_the_digest_tells_conversations_apart_by_id_and_content() -> None:
    a, b, c = (
        next(iter(read_recordings(json.dumps({"id": i, "messages": m}), "f"))).digest
        for i, m in (("1", [HELLO]), ("2", [HELLO]), ("1", [ANSWER]))
    )
    assert len({a, b, c}) == 3
    [again] = read_recordings(json.dumps([{"messages": [HELLO], "id": "1"}]), "elsewhere")
    assert again.digest == a


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ({"is_error": True}, True),
        ({"status": "error"}, True),
        ({"is_error": False, "status": "success"}, False),
        ({"is_error": "yes", "status": None}, False),
        ({}, False),
    ],
)
def test_a_result_that_is_marked_as_an_error_is_one(more: dict[str, Any], failed: bool) -> None:
    messages = [HELLO, asks("a"), answers("a", "Error: no seats") | more, ANSWER]
    [finished] = [fact for fact in facts_of(one(messages), RUN, 7) if isinstance(fact, ToolFinished)]
    assert (finished.result, finished.is_error) == ("Error: no seats", failed)


def test_results_that_begin_with_the_prefix_are_errors_and_no_others() -> None:
    texts = {"a": "Error: no seats", "b": "No Error: here", "c": "error: small"}
    messages = [HELLO, asks(*texts), *[answers(call, text) for call, text in texts.items()], ANSWER]
    [recording] = read_recordings(json.dumps(messages), "f", "Error: ")
    finished = [fact for fact in facts_of(recording, RUN, 7) if isinstance(fact, ToolFinished)]
    assert [fact.is_error for fact in finished] == [True, False, False]
    assert retold(facts_of(recording, RUN, 7)) == messages


def test_a_conversation_with_errors_by_prefix_is_another_one_and_one_without_is_the_same() -> None:
    failed, fine = ([HELLO, asks("a"), answers("a", text), ANSWER] for text in ("Error: no", "yes"))
    for messages, same in ((failed, False), (fine, True)):
        [plain] = read_recordings(json.dumps(messages), "f")
        [marked] = read_recordings(json.dumps(messages), "f", "Error: ")
        assert (plain.digest == marked.digest) is same
