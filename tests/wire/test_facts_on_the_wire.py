"""Events come off the wire as they went on it, whatever the fact, and frames of the feed leave no gap unsaid."""

from __future__ import annotations

from itertools import pairwise

import any_fact
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executus.errors import LogCorrupt
from executus.events import Content, Event
from executus.wire import frames
from executus.wire.frames import Frame, decode_frame, encode_frame, frames_of, off_the_wire, on_the_wire
from executus.wire.remote import RemoteJournal

whole = st.integers(0, 1 << 53)
contents = st.sampled_from(["clear", "sealed", "locked", "erased"])


def event_of(fact: any_fact.Fact, position: int = 1) -> Event:
    tag = frames.payload_of(fact)[0]
    return Event(run_id="r", version=position, tag=tag, fact=fact, position=position, at_us=2, hash=b"h" * 32)


@given(any_fact.any_fact)
@settings(max_examples=400, deadline=None)
def test_every_fact_comes_off_the_wire_as_it_went_on_it(fact: any_fact.Fact) -> None:
    event = event_of(fact)
    sent = decode_frame(encode_frame(Frame("b", 0, 1, (on_the_wire(event),))))
    assert off_the_wire(sent.events[0]) == event


@given(whole, whole, whole, whole, st.text(max_size=9), st.binary(max_size=40), contents)
def test_so_does_its_envelope(
    position: int, at_us: int, elapsed_ms: int, epoch: int, cause: str, hash: bytes, content: Content
) -> None:
    event = Event(
        run_id="r",
        version=3,
        tag="note-logged",
        fact=any_fact.Opaque(tag="note-logged", schema=9, payload=b"\x80"),
        position=position,
        at_us=at_us,
        elapsed_ms=elapsed_ms,
        cause=cause,
        epoch=epoch,
        hash=hash,
        content=content,
    )
    assert off_the_wire(on_the_wire(event)) == event


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91" * 5_000, b"\x81\xa4text\xa2\xff\xfe", b"\x80"])
def test_a_payload_that_does_not_decode_is_said_so(payload: bytes) -> None:
    sent = on_the_wire(event_of(any_fact.Opaque(tag="run-started", schema=1, payload=payload)))
    with pytest.raises(LogCorrupt):
        off_the_wire(sent)


sizes = st.lists(st.integers(0, 700), min_size=1, max_size=12)


@given(sizes, st.integers(300, 900))
def test_frames_tell_of_every_event_or_that_it_is_there(texts: list[int], most: int) -> None:
    events = [
        event_of(any_fact.Opaque(tag="note-logged", schema=9, payload=b"\xc4" * size), 10 + number)
        for number, size in enumerate(texts)
    ]
    made = frames_of("b", 9, events, most)
    assert made[0].after == 9
    assert made[-1].last == events[-1].position
    assert all(one.last == other.after for one, other in pairwise(made))
    told = [one.position for frame in made for one in frame.events]
    assert told == [event.position for event in events if frames.size_of(on_the_wire(event)) <= most]
    assert all(len(encode_frame(frame)) <= most for frame in made)


@given(sizes, st.lists(st.booleans(), min_size=12, max_size=12), st.integers(300, 900))
def test_whatever_is_lost_of_the_feed_a_listener_knows_that_something_is_missing(
    texts: list[int], kept: list[bool], most: int
) -> None:
    events = [
        event_of(any_fact.Opaque(tag="note-logged", schema=9, payload=b"\xc4" * size), 1 + number)
        for number, size in enumerate(texts)
    ]
    heard: list[int] = []
    lagged: list[int] = []
    journal = RemoteJournal(None, lambda: lagged.append(len(heard)))  # type: ignore[arg-type]
    journal._followers.join(lambda some: heard.extend(event.position for event in some))
    at = 0
    came = [frame for frame, here in zip(frames_of("b", 0, events, most), kept, strict=False) if here]
    for frame in [*came, Frame("b", events[-1].position, events[-1].position)]:
        at = journal._take(frame, at)
    assert at == events[-1].position
    assert heard == sorted(set(heard))
    assert lagged or heard == [event.position for event in events]


def test_a_frame_that_comes_twice_is_told_once() -> None:
    heard: list[int] = []
    journal = RemoteJournal(None)  # type: ignore[arg-type]
    journal._followers.join(lambda some: heard.extend(event.position for event in some))
    (one,) = frames_of("b", 0, [event_of(any_fact.Opaque(tag="x", schema=9, payload=b"\x80"), 1)])
    at = journal._take(one, 0)
    assert journal._take(one, at) == 1
    assert heard == [1]
