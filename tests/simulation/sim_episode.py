"""One whole episode of the simulated world, from boot to the last run's end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim_client import Client
from sim_host import Host
from sim_oracles import judge
from sim_sleep import Sleepers, judge_owners
from sim_world import Bugs, HostCrash, World

from executus.errors import RunQuarantined

KIND_AFTER_S = 150.0
"""Virtual seconds after which faults stop (liveness)."""
GIVE_UP_STEPS = 60_000


@dataclass
class Episode:
    """What came of a seed. problems: promises that were broken, empty for a correct system."""

    seed: int
    problems: list[str]
    steps: int
    crashes: int
    takeovers: int
    """By another host, while the one before still lived."""
    virtual_s: float
    trace: str
    facts: frozenset[str]
    """Tags of all that happened."""
    faults: dict[str, int]
    """What went wrong, and how often."""


def episode(
    seed: int,
    bugs: Bugs | None = None,
    give_up: int = GIVE_UP_STEPS,
    made: Callable[[World], None] = lambda world: None,
) -> Episode:
    """Live through one seed: faults for a while, then none until everything is over. made: told of the world."""
    world = World(seed, bugs)
    made(world)
    client = Client(world)
    host = Host(world)
    sleepers = Sleepers(world, client)
    steps = crashes = 0
    settled_for = 0
    while steps < give_up:
        steps += 1
        world.kind = world.awake() > KIND_AFTER_S
        try:
            busy = host.scheduler.step()
            if world.crashing:
                raise HostCrash
            if world.rng.random() < 0.05 or not busy:
                client.act(host)
            while world.births:
                client.birth(host, world.births.pop())
            if not busy:
                world.now += world.rng.random() * 2
            if world.strikes("crash between turns", world.personality.crash / 50):
                raise HostCrash
            if world.strikes("close", world.personality.closes / 50):
                host.close()
            if world.governance.suspends and world.strikes("sleep", world.governance.suspends / 50):
                host.sleep(world.rng.choice((5.0, 300.0, 4_000.0)))
            if host.closing_for:
                host.closing_for += 1
                if host.closing_for > 40:
                    raise HostCrash  # it has closed: the process ends
            if world.rng.random() < 0.001 and world.purses.window != "hour":
                world.note("wall clock set")
                world.wall_skew += world.rng.uniform(-3600, 3600)
        except HostCrash:
            crashes += 1
            world.host_died()
            world.crashing = False
            world.now += world.rng.random() * 5
            host = Host(world)
        host = sleepers.turn(host)
        if steps % 64 == 0:
            world.trace.update(f"{world.now:.6f}:{len(world.disk.rows)}".encode())
        if steps % 8 == 0:
            settled_for = settled_for + 1 if not sleepers.all and settled(world, client, host) else 0
            if settled_for > 25 or (settled_for > 3 and host.scheduler.idle and not host.directory):
                break
    problems = world.problems + judge(world, client, host) + judge_owners(world)
    for row in world.disk.rows:
        world.trace.update(row[3])
    facts = frozenset(row[2] for row in world.disk.rows)
    trace, faults = world.trace.hexdigest(), dict(world.faults)
    return Episode(seed, problems, steps, crashes, sleepers.takeovers, world.now, trace, facts, faults)


def settled(world: World, client: Client, host: Host) -> bool:
    """Every wish is granted and over, and nobody works any more; a run that was set aside stays so."""
    if host.closing_for or not all(wish.told for wish in client.wishes):
        return False
    if any(address.end is None for address in host.directory.values()):
        return False
    if not world.kind and host.directory:
        return False
    if host.courier is not None and any(True for _ in world.outbox.owed()):
        return False
    heads = world.disk.heads
    return all(wish.told in heads and (heads[wish.told].over or set_aside(host, wish.told)) for wish in client.wishes)


def set_aside(host: Host, run_id: str) -> bool:
    """Whether the run is visibly quarantined."""
    address = host.directory.get(run_id)
    return address is not None and isinstance(address.end, RunQuarantined)
