"""What the supervisor says again after an append of unknown outcome."""

from __future__ import annotations

from typing import Any, cast

from executus.actors.address import Address
from executus.actors.calls import Loaded
from executus.actors.run.asking import Asked, RunAppend
from executus.actors.run.messages import AcceptResult, CancelRun, EndByDeadline, EndWithParent, LogNote
from executus.actors.run.surroundings import RunLost
from executus.actors.supervisor import Supervisor
from executus.events import GENESIS, NoteLogged, RunInfo
from executus.events.codec import encode_event
from executus.ports import Agent

RUN = "01a2072f-d6e6-704e-8266-d40b2e85f841"


def an_append(message: Any, asked: Asked | None) -> RunAppend:
    stored = encode_event(
        NoteLogged(type="x"), run_id=RUN, version=5, previous=GENESIS, at_us=1, elapsed_ms=1, cause="", epoch=1
    )
    address = Address(RunInfo(run_id=RUN, name="a"), Agent("a", model="p:m"))
    return RunAppend(address, cast(Any, None), 4, [stored], message, asked, "")


def said_again(append: RunAppend, loaded: Loaded) -> list[Any]:
    lost = RunLost(Address(RunInfo(run_id=RUN, name="a"), Agent("a", model="p:m")), OSError("full"), (append,))
    return Supervisor.not_stored(cast(Any, None), lost, loaded)


def test_what_the_world_reported_is_said_again_though_an_order_waits_for_the_same_append() -> None:
    result = AcceptResult(call="1.0", text="done")
    append = an_append(result, None)
    order = Asked(CancelRun())
    append.asked.append(order)
    assert said_again(append, Loaded(run_id=RUN)) == [result, order]


def test_what_changed_nothing_because_of_an_append_is_said_again_if_that_was_not_stored() -> None:
    last, parents_end = EndByDeadline(at_ms=1), EndWithParent(status="killed")
    append = an_append(last, None)
    append.unheard.append(parents_end)
    assert said_again(append, Loaded(run_id=RUN)) == [last, parents_end]
    assert said_again(append, Loaded(run_id=RUN, hashes={5: append.stored[0].event.hash})) == []


def test_an_order_that_was_not_stored_is_said_again_once() -> None:
    order = Asked(LogNote(type="x"))
    assert said_again(an_append(order.message, order), Loaded(run_id=RUN)) == [order]


def test_what_was_stored_is_acknowledged_and_not_said_again() -> None:
    order = Asked(LogNote(type="x"))
    append = an_append(order.message, order)
    assert said_again(append, Loaded(run_id=RUN, hashes={5: append.stored[0].event.hash})) == []
    assert order.ack.result(0) == 5


def test_another_event_at_the_same_version_acknowledges_nothing() -> None:
    order = Asked(LogNote(type="x"))
    assert said_again(an_append(order.message, order), Loaded(run_id=RUN, hashes={5: bytes(32)})) == [order]
    assert not order.ack.done()
