"""A host in the simulated world, its client, and one whole episode from boot to the last run's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim_oracles import judge
from sim_world import Bugs, HostCrash, SimCalls, SimClock, SimIds, SimJournal, SimScheduler, World

from executus.actors.address import Address
from executus.actors.run.actor import Asked, RunActor, Surroundings, UrgentAsked, request_key_of
from executus.actors.run.messages import CancelRun, LogNote, SendInput, StartRun, SteerRun
from executus.actors.supervisor import Admit, CloseDown, Recover, Supervisor
from executus.events import AgentPrint, Limits, RunInfo, RunStarted, Text
from executus.ports import Agent
from executus.projections import Checkpoint

AGENT = Agent("sim", model="sim:model", timeout_s=120.0)
KIND_AFTER_S = 150.0
"""Virtual seconds after which faults stop (liveness)."""
GIVE_UP_STEPS = 60_000


class Poison(Exception):
    """A mistake of ours, in the middle of a decision."""


class SimRunActor(RunActor):
    """The real actor; now and then a decision of the poisoned run raises, as a bug of ours would."""

    world: World

    def decide(self, message: Any, now_ms: int) -> list[Any]:
        if self.world.faulty() and self.world.rng.random() < self.world.personality.poison:
            self.world.hurt.add(self.address.run_id)
            raise Poison("planted")
        return super().decide(message, now_ms)


class Host:
    """One boot of the process."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.host = self
        self.scheduler = SimScheduler(world)
        self.journal = SimJournal(world, self.scheduler)
        self.directory: dict[str, Address] = {}
        self.calls = calls = SimCalls(world, self.journal, self.scheduler)
        self.closing_for = 0
        around = Surroundings(
            self.journal,  # type: ignore[arg-type]
            calls,
            self.scheduler,
            SimClock(world),
            SimIds(world),
            lambda message: self.supervisor.actor_ref.tell(message),
        )
        actor = type("BoundRunActor", (world.bugs.run_actor or SimRunActor,), {"world": world})
        base = world.bugs.supervisor or Supervisor

        class BoundSupervisor(base):  # type: ignore[misc, valid-type]
            def hire(self, address: Address, loaded: Any) -> None:
                checkpoint: Checkpoint | None = None if loaded is None else loaded.checkpoint
                actor.spawn(self.around, address, checkpoint)

        self.supervisor = BoundSupervisor.spawn(around, self.directory)
        for run_id, head in world.disk.heads.items():
            if head.version and not head.over:
                self.supervisor.actor_ref.tell(Recover(Address(RunInfo(run_id=run_id, name="sim"), AGENT)))

    def close(self) -> None:
        """Begin to close, as a runtime does; what is under way goes on for a while."""
        if not self.closing_for:
            self.closing_for = 1
            self.world.bugs.stop_taking(self.calls)
            self.supervisor.actor_ref.tell(CloseDown())


@dataclass
class Wish:
    """A run that the client wants; it asks again with the same request id until it is told."""

    request: str
    interactive: bool
    max_steps: int
    told: str = ""


class Client:
    """Starts runs, repeats itself after a crash, and now and then gives orders."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[Host, Asked]] = []
        rng = world.rng
        self.wishes = [
            Wish(f"r{number}", rng.random() < 0.2, rng.randint(2, 6)) for number in range(world.personality.runs)
        ]

    def act(self, host: Host) -> None:
        rng = self.world.rng
        wish = rng.choice(self.wishes)
        if not wish.told:
            self.start(host, wish)
            return
        address = host.directory.get(wish.told)
        if address is None or rng.random() > self.world.personality.orders + (0.3 if wish.interactive else 0):
            return
        kind = rng.random()
        if wish.interactive and (kind < 0.5 or self.world.kind):
            self.order(host, address, Asked(SendInput(input=(Text("go on"),))))
        elif kind < 0.7:
            text = f"advice {rng.getrandbits(32)}"
            asked = Asked(SteerRun(text=text, by="client"))
            asked.ack.add_done_callback(
                lambda ack: None if ack.exception() else self.world.steers.append((address.run_id, text))
            )
            self.order(host, address, asked)
        elif kind < 0.8:
            self.order(host, address, Asked(LogNote(type="host", payload={"n": 1})))
        elif kind < 0.86:
            self.order(host, address, UrgentAsked(CancelRun(by="client", reason="enough")))

    def order(self, host: Host, address: Address, asked: Asked) -> None:
        def told(ack: Any) -> None:
            if ack.exception() is None:
                self.world.acked.append((address.run_id, ack.result()))

        asked.ack.add_done_callback(told)
        self.asked.append((host, asked))
        address.tell(asked)

    def start(self, host: Host, wish: Wish) -> None:
        run_id = SimIds(self.world).run_id()
        started = RunStarted(
            info=RunInfo(run_id=run_id, name="sim", caller_id="client", request_id=wish.request),
            agent=AgentPrint(name="sim", model="sim:model", instructions="be brief"),
            limits=Limits(max_steps=wish.max_steps, timeout_s=AGENT.timeout_s),
            input=(Text("begin"),),
            interactive=wish.interactive,
        )
        asked = Asked(StartRun(started=started))

        def told(ack: Any) -> None:
            error = ack.exception()
            if error is None:
                wish.told = wish.told or run_id
                self.world.acked.append((run_id, ack.result()))
            elif getattr(error, "run_id", "") and type(error).__name__ == "RequestRepeated":
                wish.told = wish.told or error.run_id

        asked.ack.add_done_callback(told)
        self.asked.append((host, asked))
        host.supervisor.actor_ref.tell(Admit(Address(RunInfo(run_id=run_id, name="sim"), AGENT), started, asked))


@dataclass
class Episode:
    """What came of a seed. problems: promises that were broken, empty for a correct system."""

    seed: int
    problems: list[str]
    steps: int
    crashes: int
    virtual_s: float
    trace: str


def episode(seed: int, bugs: Bugs | None = None, give_up: int = GIVE_UP_STEPS) -> Episode:
    """Live through one seed: faults for a while, then none until everything is over."""
    world = World(seed, bugs)
    client = Client(world)
    host = Host(world)
    steps = crashes = 0
    settled_for = 0
    while steps < give_up:
        steps += 1
        world.kind = world.now > KIND_AFTER_S
        try:
            busy = host.scheduler.step()
            if world.crashing:
                raise HostCrash
            if world.rng.random() < 0.05 or not busy:
                client.act(host)
            if not busy:
                world.now += world.rng.random() * 2
            if world.faulty() and world.rng.random() < world.personality.crash / 50:
                raise HostCrash
            if world.faulty() and world.rng.random() < world.personality.closes / 50:
                host.close()
            if host.closing_for:
                host.closing_for += 1
                if host.closing_for > 40:
                    raise HostCrash  # it has closed: the process ends
            if world.rng.random() < 0.001:
                world.wall_skew += world.rng.uniform(-3600, 3600)
        except HostCrash:
            crashes += 1
            world.crashing = False
            world.now += world.rng.random() * 5
            host = Host(world)
        if steps % 64 == 0:
            world.trace.update(f"{world.now:.6f}:{len(world.disk.rows)}".encode())
        settled_for = settled_for + 1 if settled(world, client, host) else 0
        if settled_for > 200:
            break
    problems = world.problems + judge(world, client, host)
    for row in world.disk.rows:
        world.trace.update(row[3])
    return Episode(seed, problems, steps, crashes, world.now, world.trace.hexdigest())


def settled(world: World, client: Client, host: Host) -> bool:
    """Every wish is granted and over."""
    heads = world.disk.heads
    return all(
        wish.told and wish.told in heads and heads[wish.told].over and wish.told not in host.directory
        for wish in client.wishes
    )


__all__ = ["Bugs", "Client", "Episode", "Host", "SimRunActor", "episode", "request_key_of"]
