"""Mistakes to plant in a host that is killed: what finds none of them proves nothing.

Run by itself it plants one after the other, has `kill_loop.py` look for it, and says after how many kills it was found.
Those that no kill can show, as only a power cut does, are left to `power_cuts.py`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from executus.actors.run import actor, decide, people
from executus.journal.sqlite import SqliteJournal


class _Shadow:
    """An append whose outcome was already told."""

    def __init__(self, append: Any) -> None:
        self.run_id, self.expected, self.stored = append.run_id, append.expected, append.stored
        self.request_key = append.request_key

    def done(self, error: Any) -> None:
        """Nobody is told."""


def acknowledge_early() -> None:
    """Say that it is stored, then store it."""
    append = SqliteJournal.append

    def early(self: SqliteJournal, one: Any) -> None:
        append(self, _Shadow(one))  # type: ignore[arg-type]
        one.done(None)

    SqliteJournal.append = early  # type: ignore[method-assign]


def act_before_intent() -> None:
    """Begin what is owed before the facts that say so are stored."""
    append = actor.RunActor.append

    def eager(self: actor.RunActor, *arguments: Any) -> None:
        append(self, *arguments)
        self.reconcile()

    actor.RunActor.append = eager  # type: ignore[method-assign]


def run_again() -> None:
    """After a crash, take every tool for one that may be run again."""
    resumed = decide._resumed

    def careless(state: Any, message: Any, now_ms: int) -> Any:
        return resumed(
            replace(state, open_calls=tuple(replace(one, effect="pure") for one in state.open_calls)), message, now_ms
        )

    decide._resumed = careless


def forget_results() -> None:
    """Lose the results of tools that were stored: fold them as if they had not come."""
    from executus.events import ToolFinished
    from executus.journal import reading

    evolve = reading.evolve

    def forgetful(state: Any, fact: Any) -> Any:
        return state if isinstance(fact, ToolFinished) and len(state.open_calls) > 1 else evolve(state, fact)

    reading.evolve = forgetful


def forget_children() -> None:
    """Lose the ends of children that were stored, so that their parents are told again."""
    from executus.events import ChildFinished
    from executus.journal import reading

    evolve = reading.evolve
    reading.evolve = lambda state, fact: state if isinstance(fact, ChildFinished) else evolve(state, fact)


def take_no_for_yes() -> None:
    """Start a call whose approval was denied."""
    from executus.events import ToolRefused, ToolStarted

    denied = people.denied

    def deaf(state: Any, message: Any, now_ms: int) -> Any:
        facts = denied(state, message, now_ms)
        return [ToolStarted(call=one.call, name=one.name) if isinstance(one, ToolRefused) else one for one in facts[:2]]

    people.denied = deaf


def lose_parcels() -> None:
    """Write down that a parcel was taken, and hand it over only sometimes."""
    from executus.actors.courier import CourierActor
    from executus.actors.parcel import Handed

    hand = CourierActor.hand

    def careless(self: Any, errand: Any, attempt: int) -> None:
        if random.random() < 0.9:
            hand(self, errand, attempt)
        else:
            errand.at = "handing"
            self.come_back(errand, Handed(receipt="surely"))

    CourierActor.hand = careless  # type: ignore[method-assign]


def new_keys() -> None:
    """Give each attempt of a delivery a key of its own."""
    from executus.actors.courier import CourierActor

    hand = CourierActor.hand

    def renamed(self: Any, errand: Any, attempt: int) -> None:
        errand.log = replace(errand.log, parcel=replace(errand.log.parcel, key=f"{errand.run_id}:{attempt}"))
        hand(self, errand, attempt)

    CourierActor.hand = renamed  # type: ignore[method-assign]


def miscount() -> None:
    """Keep some events from the budget's ledger."""
    from executus.actors.budget_desk import BudgetDesk

    told = BudgetDesk.__call__

    def deaf(self: BudgetDesk, events: Any) -> None:
        told(self, [event for event in events if event.tag != "step-completed" or event.version % 16 != 4])

    BudgetDesk.__call__ = deaf  # type: ignore[method-assign]


def synchronous_normal() -> None:
    """Say that it is stored when the system has it, before the disk has."""
    from executus.journal import sqlite

    opened = sqlite.open_for_writing

    def relaxed(path: str) -> Any:
        connection = opened(path)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    sqlite.open_for_writing = relaxed


def unsynced_artifacts() -> None:
    """Say that an artifact is safe without putting it, or its name, on the disk."""
    from executus.adapters.files import folders

    folders.sync = lambda descriptor: None


BUGS: dict[str, Callable[[], None]] = {
    "acknowledge-early": acknowledge_early,
    "act-before-intent": act_before_intent,
    "run-again": run_again,
    "forget-results": forget_results,
    "forget-children": forget_children,
    "take-no-for-yes": take_no_for_yes,
    "lose-parcels": lose_parcels,
    "new-keys": new_keys,
    "miscount": miscount,
    "synchronous-normal": synchronous_normal,
    "unsynced-artifacts": unsynced_artifacts,
}


def plant(name: str) -> None:
    """Plant the bug of that name in this process."""
    BUGS[name]()


ONLY_POWER_CUTS = frozenset({"synchronous-normal", "unsynced-artifacts"})


def main() -> int:
    """Plant each; 1 if one was not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="kills in which each must be found (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments to kill at (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    loop = Path(__file__).resolve().parent / "kill_loop.py"
    found: dict[str, int | None] = {}
    for name in sorted(BUGS.keys() - ONLY_POWER_CUTS):
        order = [sys.executable, str(loop), "--json", "--plant", name, "--kills", str(options.kills)]
        order += ["--seed", str(options.seed), "--runs", "30", "--window", "0.5", "--check-every", "2"]
        done = subprocess.run(order, stdout=subprocess.PIPE, text=True, check=False)
        figures = json.loads(done.stdout)
        found[name] = figures["kills"] if done.returncode == 1 else None
        if not options.json:
            print(f"{name:20} {'NOT FOUND' if found[name] is None else f'found after {found[name]} kills'}", flush=True)
    if options.json:
        print(json.dumps({"seed": options.seed, "found_after_kills": found}))
    return 1 if None in found.values() else 0


if __name__ == "__main__":
    sys.exit(main())
