"""What every run of a runtime shares, and what a run tells its supervisor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ...ports import Clock, Critic, Desk, Ids, Journal
from ...redaction.vault import Vault
from ..address import Address
from ..calls import Calls
from ..children import ChildCall
from ..delegating import ChildOrder
from ..observers import Observers
from ..pooled import Cancellable, Scheduler
from ..probation import Failed, TakenUp
from .asking import RunAppend
from .messages import AcceptGrant, AcceptRefusal

if TYPE_CHECKING:
    from .actor import RunActor


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every run of a runtime shares. tell_supervisor: where a run says that it is over, lost, or wants a child.
    tell_recoverer: where it is said that a run is to be, or was, taken up, or was set aside. budget: reserves with
    callers' budgets. critic_of: who watches a run. observers: tells critics' actors. desk: what a tool may ask of its
    run. sleep_after_s: a run that has waited so long for a person gives up its actor. vault: the host's secrets, masked
    in every fact.
    """

    journal: Journal
    calls: Calls
    scheduler: Scheduler
    clock: Clock
    ids: Ids
    tell_supervisor: Callable[[RunOver | RunLost | WantChild | Recover], None]
    budget: Reserver | None = None
    critic_of: Callable[[Address], Critic | None] | None = None
    observers: Observers | None = None
    desk: Callable[[RunActor, str], Desk] | None = None
    sleep_after_s: float = 60.0
    vault: Vault = field(default_factory=Vault)
    tell_recoverer: Callable[[TakeUp | TakenUp | Failed], None] | None = None


class Reserver(Protocol):
    """Where a run reserves with its caller's budget."""

    def reserve(
        self,
        address: Address,
        step: int,
        attempt: int,
        context_tokens: int,
        reply: Callable[[AcceptGrant | AcceptRefusal], None],
    ) -> Cancellable:
        """Ask for room for one model call that begins with about `context_tokens`; answered by `reply`, once."""
        ...

    def give_up(self, run_id: str) -> None:
        """The run was set aside: what is held back for it is free."""
        ...


class Recover(msgspec.Struct, frozen=True):
    """Order to the supervisor: take up an unfinished run of an earlier host."""

    address: Address


class TakeUp(msgspec.Struct, frozen=True):
    """Order to the recoverer: have a child or an orphan of an earlier host taken up, by its rules. version: of its log,
    0 if that is not known.
    """

    address: Address
    version: int = 0


class RunOver(msgspec.Struct, frozen=True):
    """Report: the run's end is durable."""

    address: Address


class RunLost(msgspec.Struct, frozen=True):
    """Report: the actor failed with `error` and stopped.

    appends: what may or may not have been stored, in order. poison: the message it failed on, if its own code did.
    """

    address: Address
    error: BaseException
    appends: tuple[RunAppend, ...] = ()
    poison: Any = None


class WantChild(msgspec.Struct, frozen=True):
    """Order to the supervisor: start the child, or find the one that was started before."""

    call: ChildCall
    order: ChildOrder | str
