"""Sealed events: they open in their place with their key, and nowhere else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from any_fact import any_fact, known_fact
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.keys.aes import AesGcm
from executus.errors import LogCorrupt
from executus.events import (
    GENESIS,
    TOMBSTONE,
    ContentErased,
    Event,
    Fact,
    NoteLogged,
    Seal,
    StepStarted,
    ToolFinished,
    Withheld,
    at_rest,
    erased,
)
from executus.events.codec import (
    BLOB_BYTES,
    HASH_BYTES,
    Stored,
    decode_event,
    decode_fact,
    encode_event,
    sealed_blob,
    verify_hash,
)

RUN = "01890000-0000-7000-8000-00000000abcd"
OTHER = "01890000-0000-7000-8000-00000000abce"
SECRET = "the word that nobody may read"


class Key:
    """A run's key."""

    def __init__(self, number: int) -> None:
        self.key = bytes([number]) * 8
        self._cipher = AesGcm(bytes([number]) * 32)
        self.seal, self.unseal = self._cipher.seal, self._cipher.unseal


MINE, THEIRS = Key(1), Key(2)


def encode(fact: Fact, seal: Seal | Withheld | None = MINE, **rest: Any) -> Stored:
    told: dict[str, Any] = {"at_us": 1_700_000_000_000_000, "elapsed_ms": 12, "cause": "SteerRun by alice", "epoch": 3}
    told |= {"run_id": RUN, "version": 1, "previous": GENESIS, **rest}
    return encode_event(fact, seal=seal, **told)


def decode(stored: Stored, key: Seal | Withheld | None = MINE, state: bytes | None = None, **place: Any) -> Event:
    blob = {} if stored.blob is None else dict([stored.blob])
    where: dict[str, Any] = {"run_id": RUN, "version": 1, "tag": stored.event.tag, **place}
    return decode_event(
        where["run_id"],
        where["version"],
        where["tag"],
        stored.state if state is None else state,
        position=7,
        blob=blob.get,
        opener=None if key is None else lambda _run, _key: key,
    )


def spoken(text: str = SECRET) -> ToolFinished:
    return ToolFinished(call="1.0", result=text, took_ms=4)


# ------------------------------------------------------------------ there and back


@given(any_fact)
def test_every_sealed_fact_comes_back_as_it_was(fact: Fact) -> None:
    stored = encode(fact)
    assert decode(stored) == msgspec.structs.replace(stored.event, position=7)
    assert decode(stored).fact == fact
    blob = {} if stored.blob is None else dict([stored.blob])
    read = decode_fact(RUN, 1, stored.event.tag, stored.state, blob=blob.get, opener=lambda _run, _key: MINE)
    assert read == (fact, 12)


@given(known_fact)
def test_without_the_key_there_is_the_skeleton(fact: Fact) -> None:
    stored = encode(fact)
    for key, content in ((None, "locked"), ("locked", "locked"), ("erased", "erased")):
        event = decode(stored, key)  # type: ignore[arg-type]
        assert event.fact == erased(fact)
        assert event.content == (content if stored.key else "clear")
        assert event.hash == stored.event.hash


@given(known_fact)
def test_what_may_be_written_elsewhere_is_the_same_with_and_without_the_key(fact: Fact) -> None:
    stored = encode(fact)
    assert at_rest(decode(stored)).fact == at_rest(decode(stored, None)).fact == erased(fact)


def test_what_is_stored_in_the_clear_may_be_written_elsewhere_as_it_is() -> None:
    event = decode(encode(spoken(), None))
    assert (event.content, at_rest(event)) == ("clear", event)


def test_nothing_of_the_content_is_in_the_stored_bytes() -> None:
    stored = encode(spoken())
    assert SECRET.encode() not in stored.state
    assert decode(stored, None).fact == spoken(TOMBSTONE)


def test_a_large_payload_is_sealed_in_its_blob_and_leaves_no_head() -> None:
    stored = encode(spoken(SECRET + "x" * BLOB_BYTES))
    assert stored.blob is not None
    assert SECRET.encode() not in stored.state + stored.blob[1]
    assert sealed_blob(stored.state) == (MINE.key, stored.blob[0])
    assert len(stored.state) < 400
    assert decode(stored).fact == stored.event.fact


def test_the_same_content_sealed_twice_has_nothing_in_common() -> None:
    first, second = encode(spoken("x" * BLOB_BYTES)), encode(spoken("x" * BLOB_BYTES))
    assert first.blob is not None
    assert second.blob is not None
    assert first.blob[0] != second.blob[0]


def test_a_fact_without_content_is_stored_as_it_is() -> None:
    assert encode(StepStarted(step=1)).state == encode(StepStarted(step=1), None).state


@pytest.mark.parametrize("why", ["locked", "erased"])
def test_of_a_sealed_run_without_its_key_nothing_is_ever_stored_in_the_clear(why: Withheld) -> None:
    stored = encode(NoteLogged(type="host", payload={"text": SECRET}), why)
    assert SECRET.encode() not in stored.state
    assert decode(stored, None).fact == stored.event.fact == NoteLogged(type="host")


def test_that_content_was_erased_is_said_in_the_clear() -> None:
    fact = ContentErased(by="the data protection officer", reason="asked by alice")
    assert decode(encode(fact, MINE), None).fact == fact
    assert decode(encode(fact, "erased"), None).fact == fact


# ------------------------------------------------------------------ in no other place


@pytest.mark.parametrize("place", [{"run_id": OTHER}, {"version": 2}, {"tag": "note-logged"}])
def test_content_that_was_moved_does_not_open(place: dict[str, Any]) -> None:
    with pytest.raises(LogCorrupt, match="does not"):
        decode(encode(spoken()), **place)


def test_content_does_not_open_with_another_key() -> None:
    with pytest.raises(LogCorrupt, match="sealed with another key"):
        decode(encode(spoken()), THEIRS)


def rebuilt(stored: Stored, **changes: Any) -> bytes:
    """The stored event with parts of its body replaced and a hash that fits."""
    body = msgspec.msgpack.decode(stored.state[HASH_BYTES:])
    return stored.state[:HASH_BYTES] + msgspec.msgpack.encode({**body, **changes})


SWAPPED = ("x", "z", "t", "e", "c", "o", "s", "k")


@pytest.mark.parametrize("part", SWAPPED)
def test_no_part_of_a_sealed_event_can_be_exchanged_for_that_of_another(part: str) -> None:
    mine = encode(spoken())
    other = encode(
        ToolFinished(call="1.0", result="other", is_error=True), at_us=5, elapsed_ms=6, cause="else", epoch=9, version=2
    )
    body = msgspec.msgpack.decode(other.state[HASH_BYTES:]) | {"s": 2, "k": b"otherkey"}
    with pytest.raises(LogCorrupt, match="does not open"):
        decode(mine, state=rebuilt(mine, **{part: body[part]}))


@given(known_fact, st.data())
def test_no_bit_of_a_sealed_event_can_be_altered_unseen(fact: Fact, data: st.DataObject) -> None:
    stored = encode(fact)
    altered = bytearray(stored.state)
    altered[data.draw(st.integers(HASH_BYTES, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(LogCorrupt, match="chain"):
        verify_hash(stored.event, bytes(altered), GENESIS)
    try:
        event = decode(stored, state=bytes(altered))
    except LogCorrupt:
        return
    if event.content == "sealed":  # it opened: then what was altered is what nobody reads, such as the name of a field
        assert event.fact == fact


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 27, b"x" * 100])
def test_bytes_that_nobody_sealed_do_not_open(sealed: bytes) -> None:
    stored = encode(spoken())
    with pytest.raises(LogCorrupt):
        decode(stored, state=rebuilt(stored, x=sealed))


def test_a_blob_of_a_sealed_event_is_needed_with_the_key_and_not_without() -> None:
    stored = encode(spoken("x" * BLOB_BYTES))

    def read(key: Seal | Withheld) -> Event:
        return decode_event(
            RUN, 1, stored.event.tag, stored.state, position=1, blob=lambda _: None, opener=lambda _run, _key: key
        )

    with pytest.raises(LogCorrupt, match="missing"):
        read(MINE)
    assert read("erased").fact == spoken(TOMBSTONE)
