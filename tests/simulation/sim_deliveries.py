"""Where the output of runs goes in the simulated world: the real courier, a receiver that fails, and oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sim_secrets import spoken
from sim_world import SimTimer, World

from executus.actors.courier import CourierActor
from executus.actors.deliveries import Courier
from executus.actors.errand import DeliveryTerms
from executus.actors.parcel import Handed
from executus.actors.run.surroundings import Surroundings
from executus.events import Delivered, DeliveryAttempted, DeliveryFailed, Event, RunFinished
from executus.ports import Parcel
from executus.projections.outbox import delivery_key

if TYPE_CHECKING:
    from sim_client import Client
    from sim_host import Host

TERMS = DeliveryTerms(attempts=4, first_s=1.0, last_s=20.0, timeout_s=10.0, at_once=2)


class SimCourier(Courier):
    """The real one, with the world's courier actor."""

    def __init__(self, world: World, around: Surroundings) -> None:
        store: Any = None  # nothing in this world makes a file
        self._journal = around.journal
        self._actor = (world.bugs.courier or CourierActor).spawn(around, store, store, TERMS)
        self._leave: Callable[[], None] | None = None


def deliver(host: Host, parcel: Parcel, timeout_s: float, reply: Callable[[Handed], None]) -> SimTimer:
    """The receiver takes the parcel, refuses it, or does not answer; or it takes it and nobody hears of it."""
    world = host.world
    receive(world, parcel)
    world.maybe_crash("in a delivery")
    fails = world.faulty() and world.rng.random() < world.governance.delivery_fails
    kind = world.rng.choice(("fails", "fails", "hangs", "refuses", "asks for time")) if fails else "takes"
    answers = {
        "takes": Handed(receipt=spoken(world, f"receiver {parcel.key}", "taken")),
        "fails": Handed(error=spoken(world, f"receiver {parcel.key} {parcel.attempt}", "busy")),
        "hangs": Handed(error="no answer in time"),
        "refuses": Handed(error="never", final=True),
        "asks for time": Handed(error="busy", retry_after_s=30.0),
    }
    delay = timeout_s if kind == "hangs" else world.rng.expovariate(1.0)
    if kind != "takes":
        world.note(f"delivery {kind}")
    else:
        world.taken.add(parcel.key)
    if world.rng.random() < world.personality.twice:
        host.scheduler.call_later(delay + world.rng.random(), lambda: reply(answers[kind]))
    return host.scheduler.call_later(delay, lambda: reply(answers[kind]))


def receive(world: World, parcel: Parcel) -> None:
    """What the receiver sees: the log holds the attempt, not yet its outcome, and the output it says."""
    run_id = parcel.info.run_id
    events = world.disk.events(run_id)
    said = [event.fact for event in events if isinstance(event.fact, (DeliveryAttempted, Delivered, DeliveryFailed))]
    end: Any = next((event.fact for event in events if isinstance(event.fact, RunFinished)), None)
    newest = said[-1] if said else None
    if not isinstance(newest, DeliveryAttempted) or newest.attempt != parcel.attempt:
        world.problems.append("deliveries: a parcel was handed over before its attempt was stored")
    if parcel.key != delivery_key(run_id) or (newest is not None and getattr(newest, "key", parcel.key) != parcel.key):
        world.problems.append("deliveries: a parcel has another key")
    if end is None or (end.stats.status, end.stats.output) != (parcel.status, parcel.output):
        world.problems.append("deliveries: a parcel holds something else than its run said")


def redeliver(client: Client, host: Host) -> None:
    """Somebody asks for the delivery of a run."""
    world = client.world
    over = [run_id for run_id, head in world.disk.heads.items() if head.over]
    if host.courier is None or not over or host.closing_for:
        return
    run_id = world.rng.choice(over)
    world.asked_again.add(run_id)

    def told(ack: Any) -> None:
        if ack.exception() is None:
            world.acked.append((run_id, ack.result()))

    host.courier.redeliver(run_id).add_done_callback(told)


def judge_deliveries(world: World, host: Host) -> list[str]:
    """Every wanted output is delivered or given up, and the log says how, attempt by attempt."""
    if host.courier is None:
        return []
    problems: list[str] = []
    for run_id in world.disk.logs:
        problems += judge_log(world, run_id, world.disk.events(run_id))
    return problems


def judge_log(world: World, run_id: str, events: list[Event]) -> list[str]:
    started: Any = events[0].fact
    problems: list[str] = []
    attempt = tries = 0
    newest: Any = None
    for event in events:
        fact = event.fact
        match fact:
            case DeliveryAttempted():
                tries = 1 if isinstance(newest, DeliveryFailed) and newest.retry_at_us is None else tries + 1
                if fact.attempt != attempt + 1 or isinstance(newest, Delivered):
                    problems.append("deliveries: an attempt out of turn")
                if tries > TERMS.attempts and run_id not in world.asked_again:
                    problems.append(f"deliveries: attempt {tries} of {TERMS.attempts}")
                attempt = fact.attempt
            case Delivered() | DeliveryFailed():
                given_up = isinstance(fact, DeliveryFailed) and fact.retry_at_us is None and tries >= TERMS.attempts
                if fact.attempt != attempt or (not isinstance(newest, DeliveryAttempted) and not given_up):
                    problems.append("deliveries: an outcome without its attempt")
            case _:
                continue
        newest = fact
    if isinstance(newest, Delivered) and delivery_key(run_id) not in world.taken:
        problems.append("deliveries: said to be delivered, and nobody has it")
    over = any(isinstance(event.fact, RunFinished) for event in events)
    settled = isinstance(newest, Delivered) or (isinstance(newest, DeliveryFailed) and newest.retry_at_us is None)
    if started.deliver and over and not settled:
        problems.append("deliveries: an output was neither delivered nor given up")
    if newest is not None and not started.deliver:
        problems.append("deliveries: an output that nobody wanted was delivered")
    return problems
