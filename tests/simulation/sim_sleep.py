"""Hosts that stand still: shorter than their lease, and go on; or longer, and find that another host took over."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim_host import Host
from sim_world import HostCrash, World

from executus.actors.supervisor import HostWoke

if TYPE_CHECKING:
    from sim_client import Client

LEASE_S = 10.0
MOST_STEPS = 400
"""Turns in which a deposed host must have found out and let go."""


@dataclass
class Sleeper:
    """A host that was taken over from. slept_at: when it stopped, in awake time, so that what the machine sleeps
    meanwhile does not count twice; wakes_at: when it goes on, and does not know.
    """

    host: Host
    slept_at: float
    wakes_at: float
    turns: int = 0


class Sleepers:
    """Stops the host now and then; drawn from a source of its own, so that what a seed was, it still is."""

    def __init__(self, world: World, client: Client) -> None:
        self.world, self.client = world, client
        self.rng = random.Random(f"{world.seed}: pauses")
        self.often = self.rng.random() / 30 if self.rng.random() < 0.4 else 0.0
        self.all: list[Sleeper] = []
        self.takeovers = 0

    def turn(self, host: Host) -> Host:
        """Called after each turn of `host`; returns the host that has the journal now."""
        world = self.world
        if world.faulty() and not host.closing_for and len(self.all) < 3 and self.rng.random() < self.often:
            host = self.stop(host)
        for sleeper in [*self.all]:
            if world.now >= sleeper.wakes_at and self.rng.random() < 0.4:
                self.go_on(sleeper)
        return host

    def stop(self, host: Host) -> Host:
        """The host stands still, and the clock goes on."""
        world = self.world
        world.note("host stands still")
        left_s = self.rng.uniform(LEASE_S / 2, LEASE_S)  # of its lease, which it renews when half of it is over
        gap_s = self.rng.uniform(0, 2 * LEASE_S)
        slept_at = world.awake()
        began, world.now = world.now, world.now + min(gap_s, left_s)
        if gap_s <= left_s:
            world.stood_still.append((slept_at, gap_s))
            self.wake(host, gap_s, lapsed=False)
            return host
        if self.rng.random() < 0.3:  # nobody was there to take over
            world.now = began + gap_s
            world.stood_still.append((slept_at, gap_s))
            self.wake(host, gap_s, lapsed=True)
            return host
        world.note("takeover")
        self.takeovers += 1
        self.all.append(Sleeper(host, slept_at, began + gap_s))
        world.host_died()  # as far as the next one knows
        return Host(world)

    def wake(self, host: Host, gap_s: float, *, lapsed: bool) -> None:
        """It goes on: its timers do not count the gap, and it is told of it, sooner or later."""
        host.scheduler.slept += gap_s
        if lapsed:
            host.journal.doubtful = True
        host.scheduler.call_later(self.rng.random(), lambda: host.supervisor.actor_ref.tell(HostWoke(gap_s)))
        host.scheduler.call_later(self.rng.uniform(0, LEASE_S / 2), host.journal.renew)

    def go_on(self, sleeper: Sleeper) -> None:
        """A turn of a host that was taken over from."""
        world, host = self.world, sleeper.host
        if not sleeper.turns:
            self.wake(host, world.awake() - sleeper.slept_at, lapsed=True)
        # Time is the other host's to pass: a jump to this one's next timer would hold that one up.
        soon = host.scheduler.soon
        if not soon and host.deposed is None:
            return
        sleeper.turns += 1
        current, world.host = world.host, host
        try:
            busy = soon and host.scheduler.step()
            if world.crashing:
                raise HostCrash
        except HostCrash:
            world.crashing = False
            self.all.remove(sleeper)
            return
        finally:
            world.host = current
        if host.deposed is not None and (not busy or sleeper.turns > MOST_STEPS):
            self.all.remove(sleeper)
            if host.directory:
                world.problems.append("P6: a deposed host did not let go of its runs")
            if any(where is host and not asked.ack.done() for where, asked in self.client.asked):
                world.problems.append("P6: an order to a host that was deposed was never answered")
        elif sleeper.turns > MOST_STEPS:
            self.all.remove(sleeper)
            world.problems.append("P6: a host that was taken over from did not find out")


def judge_owners(world: World) -> list[str]:
    """No two hosts append in turns (P6)."""
    newest = 0
    for epoch in world.disk.by:
        if epoch and epoch < newest:
            return ["P6: a host that was taken over from appended"]
        newest = max(newest, epoch)
    return []
