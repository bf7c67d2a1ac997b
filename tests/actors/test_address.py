"""A run's address, while the actor behind it comes, goes and sleeps."""

from __future__ import annotations

import threading
from typing import Any

from executus.actors.address import Address
from executus.actors.mailbox import Mailbox
from executus.actors.run.asking import Asked
from executus.actors.run.messages import CancelRun, LogError
from executus.errors import RuntimeClosed
from executus.events import RunInfo
from executus.ports import Agent

WORD = LogError(message="a word")


def new_address() -> Address:
    return Address(RunInfo(run_id="r", name="r"), Agent("a", model="none:none"))


class Watched(Mailbox):
    """Notes who could already have put something into it when a message came."""

    __slots__ = ("address", "found")

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address
        self.found: list[tuple[Any, bool]] = []

    def put(self, envelope: Any, /) -> None:
        self.found.append((envelope.message, self.address._mailbox is self))
        super().put(envelope)


def test_what_waited_for_an_actor_is_in_its_mailbox_before_anybody_finds_that() -> None:
    address = new_address()
    address.tell("first")
    address.prepend(["resume"])
    mailbox = Watched(address)
    address.attach(mailbox)
    address.tell("later")
    assert mailbox.found == [("resume", False), ("first", False), ("later", True)]
    assert mailbox.close() == ["resume", "first", "later"]


def test_a_message_that_comes_while_the_actor_comes_stays_behind_what_waited() -> None:
    for _ in range(200):
        address = new_address()
        address.prepend([f"waits {number}" for number in range(20)])
        mailbox = Mailbox()
        sender = threading.Thread(target=address.tell, args=("later",))
        sender.start()
        address.attach(mailbox)
        sender.join()
        assert mailbox.close()[-1] == "later"


def test_a_run_that_is_over_for_its_host_is_not_woken() -> None:
    address, woken = new_address(), []
    address.wake = woken.append
    address.sleep([])
    address.finish(RuntimeClosed("the runtime is closing"))
    asked = Asked(CancelRun())
    address.tell(WORD)
    address.tell(asked)
    assert woken == []
    assert isinstance(asked.ack.exception(), RuntimeClosed)


def test_a_run_that_sleeps_is_woken_once_whoever_writes() -> None:
    address, woken = new_address(), []
    address.wake = woken.append
    address.sleep([])
    address.tell(WORD)
    address.tell(WORD)
    assert (woken, address.asleep) == ([address], False)


def test_whoever_follows_is_told_how_it_stands_and_every_change_once() -> None:
    address, told = new_address(), []
    address.stands(False)
    address.keep_waiting(told.append)
    for waits in (False, True, True, False):
        address.stands(waits)
    again: list[bool] = []
    address.keep_waiting(again.append)
    address.stands(True)
    assert (told, again) == ([False, True, False], [False, True])


def test_nobody_is_told_of_a_run_of_which_nothing_is_known() -> None:
    told: list[bool] = []
    new_address().keep_waiting(told.append)
    assert told == []
