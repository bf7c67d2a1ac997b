"""A host in the simulated world: one boot of the process, made of the real actors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sim_calls import AGENTS, SimCalls, SimCritic
from sim_deliveries import SimCourier
from sim_journal import SimJournal
from sim_purses import SimPrices
from sim_secrets import VAULT
from sim_world import HostCrash, SimClock, SimIds, SimScheduler, World

from executus.actors.address import Address
from executus.actors.budget_desk import BudgetDesk
from executus.actors.critic import give_critic
from executus.actors.observers import Observers
from executus.actors.recoverer import Recoverer, StopTakingUp, Surveyed
from executus.actors.run.actor import Doze, RunActor
from executus.actors.run.messages import EndByDeadline, ResumeRun
from executus.actors.run.surroundings import Surroundings
from executus.actors.supervisor import CloseDown, HostWoke, Supervisor
from executus.errors import Deposed, JournalError, JournalUnavailable
from executus.ports import Allowance
from executus.projections import Checkpoint
from executus.wiring import RunReserver, everything


class Poison(Exception):
    """A mistake of ours, in the middle of a decision."""


class SimRunActor(RunActor):
    """The real actor; now and then a decision of the poisoned run raises, as a bug of ours would."""

    world: World

    def decide(self, message: Any, now_ms: int) -> list[Any]:
        if isinstance(message, ResumeRun) and not message.woken and self.world.is_killer(self.address.run_id):
            self.world.note("killer")
            self.world.crashing = True
            raise HostCrash
        if self.world.strikes("poison", self.world.personality.poison):
            self.world.hurt.add(self.address.run_id)
            raise Poison("planted")
        return super().decide(message, now_ms)


def supervisor_of(world: World) -> Any:
    """The real supervisor, or the one with a mistake, which hires the world's own run actors."""
    actor = type("BoundRunActor", (world.bugs.run_actor or SimRunActor,), {"world": world})
    base = world.bugs.supervisor or Supervisor

    class BoundSupervisor(base):  # type: ignore[misc, valid-type]
        def hire(self, address: Address, loaded: Any) -> None:
            checkpoint: Checkpoint | None = None if loaded is None else loaded.checkpoint
            give_critic(self.around, address, taken_up=loaded is not None)
            actor.spawn(self.around, address, checkpoint)
            if loaded is not None and world.rushed():
                address.tell(EndByDeadline(at_ms=1))  # early, and before all that waits

        def wake(self, address: Address) -> None:
            if all(isinstance(message, Doze) for message in address._backlog or ()):
                world.problems.append("people: a run that sleeps was woken for nothing")
            super().wake(address)

    return BoundSupervisor


class Host:
    """One boot of the process."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.host = self
        self.scheduler = SimScheduler(world)
        self.journal = SimJournal(world, self.scheduler)
        self.clock = SimClock(world)
        self.directory: dict[str, Address] = {}
        self.calls = calls = SimCalls(world, self.journal, self.scheduler)
        self.closing_for = 0
        self.deposed: Deposed | None = None
        self.journal.when_stopped = self.depose
        self.observers = Observers()
        self.journal.follow(self.observers)
        self.budgets: BudgetDesk | None = None
        prices = None
        if world.governance.allowance:
            prices = SimPrices() if world.governance.priced else None
            self.budgets = (world.bugs.desk or BudgetDesk)(self.scheduler, self.clock, self, prices)
        around = Surroundings(
            self.journal,  # type: ignore[arg-type]
            calls,
            self.scheduler,
            self.clock,
            SimIds(world),
            lambda message: self.supervisor.actor_ref.tell(message),
            budget=None if self.budgets is None else RunReserver(self.budgets, prices),
            critic_of=self.critic_of,
            observers=self.observers,
            sleep_after_s=world.governance.sleep_after_s,
            vault=VAULT,
            tell_recoverer=lambda message: self.recoverer.tell(message),
        )
        if world.supervisor is None:
            world.supervisor = supervisor_of(world)
        self.supervisor = world.supervisor.spawn(around, self.directory)
        if self.budgets is not None:
            self.budgets.rebuild(everything(self.journal))  # type: ignore[arg-type]
            self.journal.follow(self.budgets)
            for payer, actor in self.budgets._actors.items():
                if actor.account.reserved().tokens != sum(world.purses.open[payer].values()):
                    world.problems.append(f"P8: after a restart something else is held back for {payer}")
        kind = world.bugs.recoverer or Recoverer
        self.recoverer = kind.spawn(around, self.directory, self.survey)
        try:
            if world.strikes("load fails", world.personality.load_fails):
                raise JournalUnavailable("cannot read now")
            found: Any = self.survey(self.journal)
        except JournalError as error:
            found = error
        self.recoverer.tell(Surveyed(found))
        self.courier: SimCourier | None = None
        if world.governance.delivered:
            self.courier = SimCourier(world, around)
            self.courier.start()

    def survey(self, journal: Any, only: str = "") -> Any:
        """What there is to take up."""
        return self.world.bugs.survey(journal, AGENTS)

    def critic_of(self, address: Address) -> SimCritic | None:
        """Who watches the run: the same at every boot."""
        fate = random.Random(f"{self.world.seed}: who watches {address.run_id}")
        if fate.random() >= self.world.governance.watched:
            return None
        if fate.random() < 0.05:
            raise RuntimeError("nobody knows")
        return SimCritic(self.world, address.run_id)

    def allowances(self, caller_id: str) -> Sequence[Allowance]:
        """What a caller may spend (`ports.Budget`)."""
        return (self.world.purses.allowance,)

    def sleep(self, seconds: float) -> None:
        """The machine sleeps for so long, and the host notices when it wakes."""
        self.world.sleep(seconds)
        self.supervisor.actor_ref.tell(HostWoke(seconds))

    def depose(self, error: Deposed) -> None:
        """Another host took over: let go of everything, as a runtime does."""
        self.deposed = error
        self.calls.stop_taking()
        self.recoverer.tell(StopTakingUp())
        self.supervisor.actor_ref.tell(CloseDown(error))

    def close(self) -> None:
        """Begin to close, as a runtime does; what is under way goes on for a while."""
        if not self.closing_for:
            self.closing_for = 1
            if self.courier is not None:
                self.courier.close()
            self.world.bugs.stop_taking(self.calls)
            self.recoverer.tell(StopTakingUp())
            self.supervisor.actor_ref.tell(CloseDown())
