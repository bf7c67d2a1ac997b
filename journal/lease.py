"""Who may write: one host at a time, for as long as it renews its lease.

A lease is a row: the epoch, which grows with each opening; the boot, which names the opening; and the moment until
which nobody else may take over. It is checked inside every transaction, so it is no promise about clocks that keeps two
hosts apart: a lease that ran out too early costs a host its journal, and no event.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ..errors import Deposed
from .place import Boot, boots_here, provably_gone

LEASE_S = 10.0
"""For how long nobody else may take over from a host that says nothing."""

RENEW_AT: Final = 0.5
"""Part of a lease after which it is renewed: with the next commit, or by itself when there is none."""

READ_OWNER: Final = "SELECT * FROM owner"

_TAKE: Final = "UPDATE owner SET epoch = ?, pid = ?, since_us = ?, boot = ?, lease_until_us = ?"
_RENEW: Final = "UPDATE owner SET lease_until_us = ? WHERE epoch = ? AND boot = ?"
_CHECK: Final = "SELECT epoch, boot = ? FROM owner"

Standing: TypeAlias = Literal["none", "live", "late", "gone"]
"""none: nobody has the journal open. live: somebody has. late: its lease ran out: it stands still, or is gone. gone: it
died, or its machine did, without giving the journal up."""


def wall_us() -> int:
    """Microseconds since 1970 UTC: what hosts compare their leases by."""
    return time.time_ns() // 1000


def _since_boot() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic


since_boot: Final = _since_boot()
"""Seconds that pass also while the machine is suspended, and which nobody sets."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A journal's row about its host. Times are microseconds since 1970 UTC; lease_until_us 0: it was given up."""

    epoch: int = 0
    pid: int = 0
    since_us: int = 0
    boot: Boot = Boot()
    lease_until_us: int = 0

    def standing(self, path: str, here: Boot, *, locks_hold: bool = False) -> Standing:
        """Whether it still has the journal at `path`, as far as can be seen from `here`."""
        if not self.lease_until_us:
            return "none"
        if provably_gone(self.pid, self.boot, here, path, locks_hold=locks_hold):
            return "gone"
        left_s = (self.lease_until_us - wall_us()) / 1e6
        # A lease that reaches further than a lease can was given before the clock was set back: it says nothing.
        return "live" if 0 < left_s <= LEASE_S + 1 else "late"

    @property
    def who(self) -> str:
        """The host, for people."""
        since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(self.since_us / 1e6))
        return f"process {self.pid} since {since}"

    @property
    def until(self) -> str:
        """When its lease ends, for people."""
        return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(self.lease_until_us / 1e6 + 1))


def owner_of(row: Sequence[Any]) -> Owner:
    """The owner in a row of `READ_OWNER`, of any layout."""
    epoch, pid, since_us, *rest = row
    boot, lease_until_us = rest or ("", 0)  # layout 1 has no leases
    try:
        named = msgspec.json.decode(boot or "{}", type=Boot)
    except (msgspec.DecodeError, TypeError):
        named = Boot()
    return Owner(epoch=int(epoch), pid=int(pid), since_us=int(since_us), boot=named, lease_until_us=int(lease_until_us))


class Tenure:
    """This opening's ownership. The writer's thread checks and renews it; anybody may ask whether it is `held`."""

    def __init__(self, epoch: int, boot: Boot) -> None:
        self.epoch = epoch
        self.id = boot.id
        self.boot = msgspec.json.encode(boot).decode()
        self._until = since_boot()

    def begin(self, connection: sqlite3.Connection) -> float:
        """Write us down as the owner, in an open transaction; give `renewed` what this returns after its commit."""
        now, now_us = since_boot(), wall_us()
        connection.execute(_TAKE, (self.epoch, os.getpid(), now_us, self.boot, now_us + _lease_us()))
        return now

    def check(self, connection: sqlite3.Connection) -> None:
        """See that we are still the owner, in an open transaction.

        Raises:
            Deposed: somebody else is.
        """
        epoch, same = connection.execute(_CHECK, (self.boot,)).fetchone()
        self.compare(epoch, same)

    def compare(self, epoch: int, same: int) -> None:
        """See that the journal's epoch is ours, and its boot the `same`.

        Raises:
            Deposed: somebody else is the owner.
        """
        if epoch != self.epoch or not same:
            raise Deposed(self.epoch, epoch)

    @property
    def due(self) -> bool:
        """Whether it is time to renew it."""
        return since_boot() >= self._until - LEASE_S * RENEW_AT

    def due_in(self) -> float:
        """Seconds until then, not below 0."""
        return max(0.0, self._until - LEASE_S * RENEW_AT - since_boot())

    @property
    def held(self) -> bool:
        """Whether nobody can have taken over: False after this host stood still for longer than its lease, until it
        has renewed it.
        """
        return since_boot() < self._until

    def renew(self, connection: sqlite3.Connection) -> float:
        """Renew it in an open transaction that has checked it; give `renewed` what this returns after its commit."""
        now = since_boot()
        connection.execute(_RENEW, (wall_us() + _lease_us(), self.epoch, self.boot))
        return now

    def renewed(self, asked: float) -> None:
        """The transaction was committed in which it was renewed."""
        self._until = max(self._until, asked + LEASE_S)

    def renew_alone(self, connection: sqlite3.Connection) -> None:
        """Renew it in a transaction of its own. It need not survive a power cut: nor does its host.

        Raises:
            Deposed: somebody else is the owner.
            sqlite3.Error: it could not be stored; the connection must be dropped.
        """
        self.check(connection)  # without the lock, which an heir that is busy leaves to nobody for long
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            self.check(connection)
            asked = self.renew(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("PRAGMA synchronous = FULL")
        self.renewed(asked)

    def give_up(self, connection: sqlite3.Connection) -> bool:
        """The next host need not wait; False if there is one already."""
        return connection.execute(_RENEW, (0, self.epoch, self.boot)).rowcount == 1

    def opened(self) -> None:
        """It is ours, in this process."""
        boots_here.add(self.id)

    def ended(self) -> None:
        """It is nobody's any more, whatever the journal says."""
        boots_here.discard(self.id)


def _lease_us() -> int:
    return round(LEASE_S * 1e6)
