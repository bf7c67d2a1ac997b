"""Who uses the simulated host: starts runs, asks again after a crash, gives orders, answers what tools ask for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from sim_calls import AGENTS
from sim_deliveries import redeliver
from sim_forks import begin, fork_off, go_on
from sim_host import Host
from sim_secrets import spoken
from sim_world import SimClock, SimIds, World

from executus.actors.address import Address
from executus.actors.printing import print_of
from executus.actors.run.asking import Asked, UrgentAsked
from executus.actors.run.messages import (
    ApproveCall,
    CancelRun,
    DenyCall,
    ExtendRun,
    KillRun,
    LogNote,
    RaiseCeiling,
    SendInput,
    StartRun,
    SteerRun,
)
from executus.actors.supervisor import Admit, HostWoke
from executus.admission import gated
from executus.events import Limits, RunInfo, RunStarted, Text
from executus.ports import Agent

RAISED: tuple[Any, ...] = ("steps", "tokens", "tool_calls")


@dataclass
class Wish:
    """A run that the client wants; it asks again with the same request id until it is told."""

    request: str
    interactive: bool
    agent: Agent
    limits: Limits
    caller: str = "client"
    deliver: bool = False
    told: str = ""
    asked: tuple[Host, Asked] | None = None
    """The start that is on its way."""
    refused: bool = False
    """The caller's budget had nothing left: the run is recorded as refused, and the request id is not used up."""


class Client:
    """Starts runs, repeats itself after a crash, and now and then gives orders."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[Host, Asked]] = []
        self.forks = 0
        self.forked: dict[str, tuple[Host, Asked]] = {}
        """Forks that may still wait to be begun, each with the order that makes it, and who was given that."""
        self.forking = random.Random(f"{world.seed}: forks")
        self.chats: list[str] = []
        """Interactive runs among them."""
        rng = world.rng
        self.wishes = [
            self.wish(f"r{number}", rng.random() < 0.2, rng.randint(2, 6)) for number in range(world.personality.runs)
        ]

    def wish(self, request: str, interactive: bool, max_steps: int) -> Wish:
        """What else is drawn does not come from the world's own source: see `Governance`."""
        governance = self.world.governance
        fate = random.Random(f"{self.world.seed}: {request}")
        agent = AGENTS["sim"]
        limits: dict[str, Any] = {"max_steps": max_steps, "timeout_s": agent.timeout_s}
        if fate.random() < governance.delegates * 1.3:
            agent = AGENTS[fate.choice(("boss", "boss", "mid"))]
            limits["max_steps"] = max_steps + 2
        elif fate.random() < governance.phased:
            agent = AGENTS["staged"]
            limits["max_steps"] = agent.max_steps
        if fate.random() < governance.limited:
            limits["max_tokens"] = fate.choice((None, fate.randint(20, 200)))
            limits["max_tool_calls"] = fate.choice((None, fate.randint(1, 12)))
        if fate.random() < governance.soft:
            limits["soft_timeout_s"] = fate.uniform(1, 60)
            limits["raise_steps_to"] = fate.choice((None, max_steps + 1))
            limits["extend_to_s"] = fate.choice((None, 150.0))
        caller = fate.choice(("client", "client", "other")) if governance.allowance else "client"
        return Wish(request, interactive, agent, Limits(**limits), caller, fate.random() < governance.delivered)

    def act(self, host: Host) -> None:
        rng, governance = self.world.rng, self.world.governance
        if governance.forked and fork_off(self, host):
            return
        if self.forked and begin(self, host):
            return
        if governance.any and rng.random() < 0.5:
            self.govern(host)
            return
        wish = rng.choice(self.wishes)
        if not wish.told:
            self.start(host, wish)
            return
        if governance.resumed and self.world.faulty() and rng.random() < governance.resumed / 4:
            go_on(self, host)
            return
        if governance.delivered and self.world.faulty() and rng.random() < 0.05:
            redeliver(self, host)
            return
        if self.chats and rng.random() < 0.3:
            address = host.directory.get(rng.choice(self.chats))
            if address is not None:
                self.order(host, address, Asked(SendInput(input=(Text("go on"),))))
            return
        address = host.directory.get(wish.told)
        if address is None or rng.random() > self.world.personality.orders + (0.3 if wish.interactive else 0):
            return
        kind = rng.random()
        if wish.interactive and (kind < 0.5 or self.world.kind):
            self.order(host, address, Asked(SendInput(input=(Text("go on"),))))
        elif kind < 0.7:
            self.steer(host, address)
        elif kind < 0.8:
            self.order(
                host,
                address,
                Asked(LogNote(type="host", payload={"n": [spoken(self.world, f"host {self.world.now}", "1")]})),
            )
        elif kind < 0.86:
            self.order(host, address, UrgentAsked(CancelRun(by="client", reason="enough")))

    # -------------------------------------------------------------- orders

    def govern(self, host: Host) -> None:
        """Answer what tools ask for, or give an order to any run, a child too."""
        rng, world = self.world.rng, self.world
        # In the end, what nobody answers must expire by itself.
        pending = [key for key, one in world.approvals.items() if not world.kind or one.expires_at_us is None]
        if pending and (world.kind or rng.random() < 0.4):
            run_id, call = rng.choice(pending)
            address = host.directory.get(run_id)
            if address is not None:
                self.answer(host, address, call)
            return
        if rng.random() > world.governance.orders or not host.directory:
            return
        address = rng.choice([*host.directory.values()])
        kind = rng.random()
        if kind < 0.06:
            self.order(host, address, UrgentAsked(KillRun(reason="no more", by="client")))
        elif kind < 0.1:
            self.order(host, address, UrgentAsked(CancelRun(by="client", reason="enough")))
        elif kind < 0.3:
            self.order(host, address, Asked(ExtendRun(seconds=rng.uniform(1, 60), by="client")))
        elif kind < 0.5:
            self.order(host, address, Asked(RaiseCeiling(limit=rng.choice(RAISED), more=2, by="client")))
        elif kind < 0.6:
            slept_s = rng.uniform(2, 60)
            host.supervisor.actor_ref.tell(HostWoke(slept_s))
        else:
            self.steer(host, address)

    def birth(self, host: Host, run_id: str) -> None:
        """Now and then, a run is stopped while its child is being born."""
        rng = self.world.rng
        if rng.random() > self.world.governance.orders / 2:
            return
        stop = rng.choice((KillRun(reason="no more", by="client"), CancelRun(by="client", reason="enough")))

        def order() -> None:
            address = host.directory.get(run_id)
            if address is not None:
                self.order(host, address, UrgentAsked(stop))

        host.scheduler.call_later(rng.random() * 1.5, order)

    def answer(self, host: Host, address: Address, call: str) -> None:
        """Yes or no; now and then twice, or both."""
        rng = self.world.rng
        for _ in range(2 if rng.random() < 0.2 else 1):
            if rng.random() < 0.6:
                self.world.answers.add((address.run_id, call, "yes"))
                self.order(host, address, Asked(ApproveCall(call=call, by="client")))
            else:
                self.world.answers.add((address.run_id, call, "no"))
                self.order(host, address, Asked(DenyCall(call=call, by="client", reason="no")))

    def steer(self, host: Host, address: Address) -> None:
        text = f"advice {self.world.rng.getrandbits(32)}"
        asked = Asked(SteerRun(text=text, by="client"))
        asked.ack.add_done_callback(
            lambda ack: None if ack.exception() else self.world.steers.append((address.run_id, text))
        )
        self.order(host, address, asked)

    def order(self, host: Host, address: Address, asked: Asked) -> None:
        def told(ack: Any) -> None:
            if ack.exception() is None:
                self.world.acked.append((address.run_id, ack.result()))

        asked.ack.add_done_callback(told)
        self.asked.append((host, asked))
        address.tell(asked)

    # -------------------------------------------------------------- starts

    def start(self, host: Host, wish: Wish) -> None:
        run_id = SimIds(self.world).run_id()
        agent, now_us = wish.agent, SimClock(self.world).wall_us()
        started = RunStarted(
            info=RunInfo(run_id=run_id, name=agent.name, caller_id=wish.caller, request_id=wish.request),
            agent=print_of(agent),
            limits=wish.limits,
            input=(Text("begin"),),
            interactive=wish.interactive,
            deliver=wish.deliver,
        )
        order = Admit(Address(started.info, agent), started, Asked(StartRun(started=started)))
        if host.budgets is not None:
            if wish.asked is not None and wish.asked[0] is host and not wish.asked[1].ack.done():
                return  # it may still be let in
            if f"{wish.caller}\n{wish.request}" not in self.world.disk.requests:
                order = gated(order, host.budgets, now_us)
        asked = order.asked
        wish.asked = (host, asked)
        refused = isinstance(asked.message, StartRun) and asked.message.refused is not None

        def told(ack: Any) -> None:
            error = ack.exception()
            if error is None:
                wish.told, wish.refused = wish.told or run_id, wish.refused or refused
                self.world.acked.append((run_id, ack.result()))
            elif getattr(error, "run_id", "") and type(error).__name__ == "RequestRepeated":
                wish.told = wish.told or error.run_id

        asked.ack.add_done_callback(told)
        self.asked.append((host, asked))
        host.supervisor.actor_ref.tell(order)
