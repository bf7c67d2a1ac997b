"""Facts become bytes and come back; bytes that were touched are found out, and nothing else ever happens."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from any_fact import any_fact, known_fact
from hypothesis import given, settings
from hypothesis import strategies as st

from executus.errors import LogCorrupt
from executus.events import FACTS, GENESIS, Event, Fact, NoteLogged, Opaque, RunResumed, StepStarted, codec
from executus.events.clean import clean_json
from executus.events.codec import BLOB_BYTES, HASH_BYTES, Stored, decode_event, decode_fact, encode_event, verify_hash
from executus.events.registry import TAGS, tag_of
from executus.events.upcasts import upcast

RUN = "01890000-0000-7000-8000-00000000abcd"


def no_blobs(_: bytes) -> None:
    return None


def encode(fact: Fact, *, version: int = 1, previous: bytes = GENESIS, run_id: str = RUN, **rest: Any) -> Stored:
    told = {"at_us": 1_700_000_000_000_000, "elapsed_ms": 12, "cause": "SteerRun by alice", "epoch": 3, **rest}
    return encode_event(fact, run_id=run_id, version=version, previous=previous, **told)


def decode(stored: Stored, state: bytes | None = None, tag: str | None = None) -> Event:
    blob = {} if stored.blob is None else dict([stored.blob])
    return decode_event(
        RUN,
        stored.event.version,
        stored.event.tag if tag is None else tag,
        stored.state if state is None else state,
        position=7,
        blob=blob.get,
    )


# ------------------------------------------------------------------ there and back


@given(any_fact)
def test_every_fact_comes_back_as_it_was(fact: Fact) -> None:
    stored = encode(fact)
    event = decode(stored)
    assert event == msgspec.structs.replace(stored.event, position=7)
    assert type(event.fact) is type(fact)
    assert encode(event.fact).state == stored.state, "and is written again byte for byte"


@given(known_fact)
def test_a_fold_reads_the_same_fact_without_the_envelope(fact: Fact) -> None:
    stored = encode(fact)
    blob = {} if stored.blob is None else dict([stored.blob])
    assert decode_fact(RUN, 1, stored.event.tag, stored.state, blob=blob.get) == (fact, 12)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.text(max_size=9), st.integers(0, 1 << 40))
def test_the_envelope_comes_back_as_it_was(at_us: int, elapsed_ms: int, cause: str, epoch: int) -> None:
    event = decode(encode(StepStarted(step=1), at_us=at_us, elapsed_ms=elapsed_ms, cause=cause, epoch=epoch))
    assert (event.at_us, event.elapsed_ms, event.cause, event.epoch) == (at_us, elapsed_ms, cause, epoch)


def test_nothing_that_is_stored_names_python() -> None:
    for struct, _ in FACTS.values():
        assert not any(word in tag_of_kind(struct) for word in (".", ":", "executus", struct.__name__))
    assert b"executus" not in encode(StepStarted(step=1)).state
    assert b"StepStarted" not in encode(StepStarted(step=1)).state


def tag_of_kind(struct: Any) -> str:
    return TAGS[struct]


def test_a_run_id_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        encode(StepStarted(step=1), run_id="no-uuid")


# ------------------------------------------------------------------ the chain


@given(st.lists(known_fact, min_size=2, max_size=5), st.data())
@settings(max_examples=50)
def test_whatever_is_altered_the_chain_shows_it(facts: list[Fact], data: st.DataObject) -> None:
    log: list[Stored] = []
    previous = GENESIS
    for version, fact in enumerate(facts, 1):
        log.append(encode(fact, version=version, previous=previous))
        previous = log[-1].event.hash
    previous = GENESIS
    for stored in log:
        verify_hash(stored.event, stored.state, previous)
        previous = stored.event.hash
    index = data.draw(st.integers(0, len(log) - 1))
    stored = log[index]
    before = GENESIS if index == 0 else log[index - 1].event.hash
    at = data.draw(st.integers(0, len(stored.state) - 1))
    altered = bytearray(stored.state)
    altered[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(LogCorrupt, match="chain"):
        verify_hash(stored.event, bytes(altered), before)


@pytest.mark.parametrize("change", [{"version": 2}, {"tag": "run-finished"}, {"run_id": RUN.replace("abcd", "abce")}])
def test_an_event_in_another_place_breaks_the_chain(change: dict[str, Any]) -> None:
    stored = encode(StepStarted(step=1))
    with pytest.raises(LogCorrupt):
        verify_hash(msgspec.structs.replace(stored.event, **change), stored.state, GENESIS)
    with pytest.raises(LogCorrupt):
        verify_hash(stored.event, stored.state, bytes([1] * HASH_BYTES))


# ------------------------------------------------------------------ damaged bytes


@given(any_fact, st.data())
def test_damaged_bytes_are_corrupt_or_another_fact_and_never_another_exception(fact: Fact, data: st.DataObject) -> None:
    stored = encode(fact)
    state = bytearray(stored.state)
    for _ in range(data.draw(st.integers(1, 4))):
        if not state:
            break
        at = data.draw(st.integers(0, len(state) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "drop", "double"])):
            case "flip":
                state[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del state[at:]
            case "drop":
                del state[at]
            case _:
                state[at:at] = state[: at + 1]
    try:
        event = decode(stored, bytes(state))
    except LogCorrupt:
        return
    assert isinstance(event.fact, (*[struct for struct, _ in FACTS.values()], Opaque))


@given(st.binary(max_size=200), st.sampled_from([*FACTS, "run-teleported", "", "a.b:c"]))
def test_any_bytes_at_all_are_corrupt_or_a_fact(state: bytes, tag: str) -> None:
    try:
        decode_event(RUN, 1, tag, state, position=1, blob=no_blobs)
    except LogCorrupt:
        pass


def test_bytes_nested_without_end_are_corrupt() -> None:
    with pytest.raises(LogCorrupt):
        decode(encode(StepStarted(step=1)), bytes(HASH_BYTES) + b"\x81\xa1p" + b"\x91" * 100_000)


@pytest.mark.parametrize("tag", FACTS)
def test_the_bytes_of_one_fact_under_the_tag_of_another_are_corrupt_or_that_other(tag: str) -> None:
    stored = encode(NoteLogged(type="host", payload={"a": 1}))
    try:
        event = decode(stored, tag=tag)
    except LogCorrupt:
        return
    assert isinstance(event.fact, FACTS[tag][0])


# ------------------------------------------------------------------ blobs


def big() -> Stored:
    return encode(NoteLogged(type="host", payload={"text": "x" * BLOB_BYTES}))


def test_a_large_payload_is_kept_out_of_line_under_its_hash() -> None:
    stored = big()
    assert stored.blob is not None
    digest, content = stored.blob
    assert hashlib.sha256(content).digest() == digest
    assert len(stored.state) < 1000
    assert content[:100] in stored.state, "its head stays in the event"
    assert decode(stored).fact == stored.event.fact


def test_a_payload_at_the_limit_stays_in_line() -> None:
    empty = len(msgspec.msgpack.encode(NoteLogged(type="host", payload={"text": "x" * 60_000}))) - 60_000
    at_the_limit = encode(NoteLogged(type="host", payload={"text": "x" * (BLOB_BYTES - empty)}))
    over_it = encode(NoteLogged(type="host", payload={"text": "x" * (BLOB_BYTES - empty + 1)}))
    assert at_the_limit.blob is None
    assert over_it.blob is not None


@pytest.mark.parametrize(("blob", "what"), [(None, "missing"), (b"something else", "altered")])
def test_a_blob_that_is_missing_or_altered_is_found_out(blob: bytes | None, what: str) -> None:
    stored = big()
    with pytest.raises(LogCorrupt, match=what):
        decode_event(RUN, 1, stored.event.tag, stored.state, position=1, blob=lambda _: blob)


# ------------------------------------------------------------------ other versions


def repacked(stored: Stored, **changes: Any) -> bytes:
    """The stored event with parts of its body replaced, as another version would have written it."""
    body = msgspec.msgpack.decode(stored.state[HASH_BYTES:])
    return stored.state[:HASH_BYTES] + msgspec.msgpack.encode({**body, **changes})


def test_an_unknown_tag_is_kept_byte_for_byte() -> None:
    stored = encode(StepStarted(step=4))
    event = decode(stored, tag="step-dreamt")
    assert event.fact == Opaque(tag="step-dreamt", schema=1, payload=msgspec.msgpack.encode({"step": 4}))
    assert tag_of(event.fact) == "step-dreamt"


def test_a_large_fact_of_an_unknown_tag_is_kept_byte_for_byte() -> None:
    stored = big()
    assert stored.blob is not None
    event = decode(stored, tag="note-sung")
    assert event.fact == Opaque(tag="note-sung", schema=1, payload=stored.blob[1])


def test_a_newer_schema_of_a_known_tag_is_kept_and_not_guessed_at() -> None:
    stored = encode(StepStarted(step=4))
    event = decode(stored, repacked(stored, s=2))
    assert isinstance(event.fact, Opaque)
    assert (event.fact.tag, event.fact.schema) == ("step-started", 2)


def test_fields_of_a_newer_version_are_ignored() -> None:
    stored = encode(StepStarted(step=4))
    state = repacked(stored, p={"step": 4, "mood": "good"}, q="new in the envelope")
    assert decode(stored, state).fact == StepStarted(step=4)


@pytest.mark.parametrize("schema", [0, -1, "1", None, 1.5])
def test_a_schema_that_was_never_written_is_corrupt(schema: Any) -> None:
    stored = encode(StepStarted(step=4))
    with pytest.raises(LogCorrupt):
        decode(stored, repacked(stored, s=schema))


STEPS = {
    ("run-resumed", 1): lambda payload: {"why": payload["reason"], "epoch": payload["epoch"] + 1},
    ("run-resumed", 2): lambda payload: {"reason": payload["why"], "epoch": payload["epoch"]},
}
"""Schema 1 looks like today's and counted epochs from 0; schema 2 had another name for the reason."""


def test_an_upcast_goes_one_schema_at_a_time() -> None:
    old = {"reason": "boot", "epoch": 1}
    assert upcast("run-resumed", 1, 3, old, STEPS) == {"reason": "boot", "epoch": 2}
    assert upcast("run-resumed", 2, 3, {"why": "boot", "epoch": 2}, STEPS) == {"reason": "boot", "epoch": 2}
    assert upcast("run-resumed", 3, 3, old, STEPS) is old


def test_an_upcast_that_was_forgotten_is_a_mistake_and_says_which() -> None:
    with pytest.raises(KeyError, match="run-resumed"):
        upcast("run-resumed", 1, 3, {}, {})


@pytest.mark.parametrize(
    ("schema", "payload"),
    [(1, {"reason": "boot", "epoch": 1}), (2, {"why": "boot", "epoch": 2}), (3, {"reason": "boot", "epoch": 2})],
)
def test_a_log_of_an_older_schema_reads_as_the_fact_of_today(
    monkeypatch: pytest.MonkeyPatch, schema: int, payload: dict[str, Any]
) -> None:
    def read(tag: str, found: int, today: int, old: dict[str, Any]) -> dict[str, Any]:
        return upcast(tag, found, today, old, STEPS)

    monkeypatch.setitem(FACTS, "run-resumed", (RunResumed, 3))
    monkeypatch.setitem(codec._decoders, "run-resumed", (codec._decoders["run-resumed"][0], 3))
    monkeypatch.setitem(codec._decode_whole, "run-resumed", codec._whole_decoder("run-resumed"))
    monkeypatch.setattr(codec, "upcast", read)
    stored = encode(RunResumed(reason="boot", epoch=2))
    state = repacked(stored, s=schema, p=payload)
    assert decode(stored, state).fact == RunResumed(reason="boot", epoch=2)
    assert decode_fact(RUN, 1, "run-resumed", state, blob=no_blobs)[0] == RunResumed(reason="boot", epoch=2)


def test_what_was_cleaned_can_always_become_a_fact() -> None:
    payload = clean_json({"a\ud800": [float("nan"), 1 << 80, b"\xff", {"\x00": None}]})
    assert decode(encode(NoteLogged(type="host", payload=payload))).fact == NoteLogged(type="host", payload=payload)
