"""The outbox of all runs, against what the facts of each run say by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from executus.actors.parcel import sending_log
from executus.events import (
    AgentPrint,
    ArtifactStored,
    Delivered,
    DeliveryAttempted,
    DeliveryFailed,
    Event,
    Fact,
    Limits,
    NoteLogged,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    StepStarted,
    Text,
    tag_of,
)
from executus.projections.outbox import DELIVERY_TAGS, Outbox, Sending, delivery_key, evolve_sending, outbox


def run_id(number: int) -> str:
    return str(UUID(int=number))


def started(number: int, deliver: bool) -> RunStarted:
    return RunStarted(
        info=RunInfo(run_id=run_id(number), name=f"run {number}"),
        agent=AgentPrint(name="a", model="m"),
        limits=Limits(),
        input=(Text("go"),),
        deliver=deliver,
    )


FINISHED = RunFinished(stats=RunStats(status="error", output="half", error="it broke"), by="model", reason="it broke")


@st.composite
def lives(draw: st.DrawFn, number: int) -> list[Fact]:
    """A run up to any point of its life, with notes anywhere, given up and tried anew any number of times."""
    deliver = draw(st.booleans())
    life: list[Fact] = [started(number, deliver), StepStarted(step=1)]
    life += [ArtifactStored(sha256="ab" * 32, name="a.txt", media_type="text/plain", size=2)] * draw(st.integers(0, 2))
    life.append(FINISHED)
    if deliver:
        for attempt in range(1, draw(st.integers(0, 6)) + 1):
            life.append(DeliveryAttempted(attempt=attempt, key=delivery_key(run_id(number))))
            how = draw(st.sampled_from(["again", "again", "crash", "dead", "delivered"]))
            if how == "again":
                life.append(DeliveryFailed(attempt=attempt, error="down", retry_at_us=attempt * 1000))
            elif how == "dead":
                life.append(DeliveryFailed(attempt=attempt, error="gone"))
            elif how == "delivered":
                life.append(Delivered(attempt=attempt, receipt="r"))
                break
    for _ in range(draw(st.integers(0, 2))):
        life.insert(draw(st.integers(1, len(life))), NoteLogged(type="n"))
    return life[: draw(st.integers(1, len(life)))]


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """The lives of a few runs in one journal, mixed in any way that keeps each in order."""
    left = {number: draw(lives(number)) for number in range(draw(st.integers(1, 4)))}
    at = dict.fromkeys(left, 0)
    events: list[Event] = []
    while any(at[number] < len(life) for number, life in left.items()):
        number = draw(st.sampled_from([number for number, life in left.items() if at[number] < len(life)]))
        fact = left[number][at[number]]
        at[number] += 1
        events.append(Event(run_id=run_id(number), version=at[number], tag=tag_of(fact), fact=fact))
    return events


def owed_by_hand(events: Iterable[Event]) -> dict[str, int]:
    """Run id -> attempts so far of every run that owes a delivery: looked up in the facts, not folded."""
    runs: dict[str, list[Fact]] = {}
    for event in events:
        runs.setdefault(event.run_id, []).append(event.fact)
    owed: dict[str, int] = {}
    for id_, facts in runs.items():
        first = facts[0]
        assert isinstance(first, RunStarted)
        news = [fact for fact in facts if isinstance(fact, (DeliveryAttempted, Delivered, DeliveryFailed))]
        last = news[-1] if news else None
        done = isinstance(last, Delivered) or (isinstance(last, DeliveryFailed) and last.retry_at_us is None)
        if first.deliver and FINISHED in facts and not done:
            owed[id_] = sum(isinstance(fact, DeliveryAttempted) for fact in facts)
    return owed


def owed(box: Outbox) -> dict[str, int]:
    return {id_: sending.attempts for id_, sending in box.owed()}


@given(logs())
def test_the_outbox_owes_what_the_facts_say_at_every_moment(events: list[Event]) -> None:
    box = Outbox()
    for number, event in enumerate(events, start=1):
        box.apply(event)
        assert owed(box) == owed_by_hand(events[:number])


@given(logs(), st.data())
def test_after_any_prefix_the_outbox_equals_a_rebuild_whatever_was_told_again(
    events: list[Event], data: st.DataObject
) -> None:
    live = Outbox()
    told = 0
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, told))
        told = data.draw(st.integers(told, len(events)))
        for event in events[start:told]:
            live.apply(event)
        assert live == outbox(events[:told])


@given(logs(), st.data())
def test_what_is_told_ahead_of_its_time_is_made_good_by_reading_up_to_it(
    events: list[Event], data: st.DataObject
) -> None:
    live = Outbox()
    ahead = data.draw(st.integers(0, len(events)))
    for event in (*events[ahead:], *events):
        live.apply(event)
    assert live == outbox(events)


@given(logs())
def test_the_outbox_needs_only_the_facts_about_deliveries(events: list[Event]) -> None:
    assert outbox(event for event in events if event.tag in DELIVERY_TAGS) == outbox(events)


@given(logs())
def test_each_run_alone_says_the_same_as_the_outbox_of_all(events: list[Event]) -> None:
    box = outbox(events)
    for id_ in {event.run_id for event in events}:
        alone = sending_log([event for event in events if event.run_id == id_]).sending
        kept = box.get(id_)
        if kept is None:
            assert not alone.wanted or alone.settled
        else:
            assert kept == alone


@given(logs())
def test_only_runs_with_something_still_to_deliver_are_kept(events: list[Event]) -> None:
    wanted = {event.run_id for event in events if isinstance(event.fact, RunStarted) and event.fact.deliver}
    over = {event.run_id for event in events if isinstance(event.fact, RunFinished)}
    assert len(outbox(events)) == len(wanted - over) + len(owed_by_hand(events))


def sending(*facts: Fact) -> Sending:
    found = Sending()
    for fact in facts:
        found = evolve_sending(found, fact)
    return found


def attempts(first: int, last: int) -> Sequence[Fact]:
    return [
        fact
        for attempt in range(first, last + 1)
        for fact in (
            DeliveryAttempted(attempt=attempt, key="k"),
            DeliveryFailed(attempt=attempt, error="down", retry_at_us=attempt),
        )
    ]


def test_after_a_dead_letter_attempts_go_on_counting_and_a_round_begins_anew() -> None:
    dead = (started(1, True), FINISHED, *attempts(1, 2), DeliveryFailed(attempt=2, error="gone"))
    again = sending(*dead, *attempts(3, 4))
    assert (again.attempts, again.tries, again.owed) == (4, 2, True)
    assert (sending(*dead).tries, sending(*dead).owed) == (2, False)


def test_an_attempt_without_an_outcome_is_owed_at_once() -> None:
    cut = sending(started(1, True), FINISHED, *attempts(1, 1), DeliveryAttempted(attempt=2, key="k"))
    assert cut.open
    assert cut.owed
    assert cut.retry_at_us is None


def test_a_fact_that_is_stored_already_changes_nothing() -> None:
    facts = [started(1, True), FINISHED, *attempts(1, 2), DeliveryAttempted(attempt=3, key="k")]
    for last in (*facts[2:], DeliveryFailed(attempt=3, error="x"), Delivered(attempt=3)):
        upto = [*facts[: facts.index(last)], last] if last in facts else [*facts, last]
        assert evolve_sending(sending(*upto), last) == sending(*upto)
        assert evolve_sending(sending(*upto[:-1]), last) != sending(*upto[:-1])


def test_the_parcel_is_what_the_log_says() -> None:
    artifact = ArtifactStored(sha256="ab" * 32, name="a.txt", media_type="text/plain", size=2)
    facts: list[Fact] = [started(7, True), artifact, StepStarted(step=1), artifact, FINISHED, NoteLogged(type="n")]
    events = [
        Event(run_id=run_id(7), version=n, tag=tag_of(fact), fact=fact, elapsed_ms=n * 10, hash=bytes([n]) * 32)
        for n, fact in enumerate(facts, start=1)
    ]
    log = sending_log(events)
    assert (log.version, log.hash, log.elapsed_ms) == (6, bytes([6]) * 32, 60)
    parcel = log.parcel
    assert parcel is not None
    assert parcel.key == f"{run_id(7)}:delivery"
    assert (parcel.status, parcel.output, parcel.error) == ("error", "half", "it broke")
    assert (parcel.info.name, parcel.stats, parcel.artifacts) == ("run 7", FINISHED.stats, (artifact, artifact))
    assert sending_log(events[:4]).parcel is None


def test_the_key_of_a_run_is_for_ever() -> None:
    assert delivery_key("R") == "R:delivery"
