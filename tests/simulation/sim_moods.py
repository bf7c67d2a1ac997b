"""What sets one seed apart from another: how unkind its world is, and what its runs have beyond a model and tools."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from functools import cached_property

from executus.projections.ledger import SpendWindow


@dataclass
class Personality:
    """How unkind this seed is; drawn once, so that seeds differ in kind and not only in detail."""

    runs: int
    commit_fails: float
    crash: float
    longest_wait_s: float
    """How long a message may wait while the clock goes on: in half of the worlds the actors' thread is slow, in the
    others it may be stuck for minutes, so that deadlines pass unseen."""
    closes: float
    rival: float
    load_fails: float
    model_fails: float
    model_hangs: float
    tool_hangs: float
    tool_fails: float
    twice: float
    orders: float
    poison: float

    @classmethod
    def drawn(cls, rng: random.Random) -> Personality:
        def often(limit: float) -> float:
            return rng.random() * limit if rng.random() < 0.5 else 0.0

        return cls(
            runs=rng.randint(1, 4),
            commit_fails=often(0.25),
            crash=often(0.2),
            longest_wait_s=1.0 if rng.random() < 0.5 else float("inf"),
            closes=often(0.2),
            rival=often(0.15),
            load_fails=often(0.3),
            model_fails=often(0.3),
            model_hangs=often(0.1),
            tool_hangs=often(0.15),
            tool_fails=often(0.3),
            twice=often(0.3),
            orders=often(0.9),
            poison=often(0.05),
        )


@dataclass
class Governance:
    """What runs of this seed have beyond a model and tools. A quarter of the worlds has nothing of it.

    Drawn from a source of its own: what a seed was before there was any of this, it still is.
    """

    watched: float = 0.0
    """How many runs have a critic."""
    hostile: float = 0.0
    """How many reviews raise, hang, are late, are told twice or make no sense."""
    allowance: int = 0
    """Model calls that each caller may pay; 0: there are no budgets."""
    delegates: float = 0.0
    palette_fails: float = 0.0
    asks: float = 0.0
    phased: float = 0.0
    limited: float = 0.0
    orders: float = 0.0
    soft: float = 0.0
    delivered: float = 0.0
    """How many runs have their output delivered."""
    delivery_fails: float = 0.0
    resumed: float = 0.0
    """How many runs that are over somebody goes on from."""
    forked: float = 0.0
    """How many runs, at any of their events, somebody forks."""
    suspends: float = 0.0
    """How often the machine sleeps, while its wall clock goes on."""
    sleep_after_s: float = 60.0
    window: SpendWindow = "total"
    """Over which callers' allowances hold, and whether they are of dollars."""
    priced: bool = False

    @classmethod
    def drawn(cls, seed: int) -> Governance:
        rng = random.Random(f"{seed}: governance")
        if rng.random() < 0.25:
            return cls()

        def often(limit: float, least: float = 0.0) -> float:
            return least + rng.random() * (limit - least) if rng.random() < 0.5 else 0.0

        governance = cls(
            watched=often(1.0, 0.3),
            hostile=often(0.8),
            allowance=rng.randint(1, 14) if rng.random() < 0.4 else 0,
            delegates=often(0.7, 0.2),
            palette_fails=often(0.2),
            asks=often(0.6, 0.1),
            phased=often(0.5),
            limited=often(0.7),
            orders=often(0.6),
            soft=often(1.0),
            sleep_after_s=rng.choice((0.5, 3.0, 20.0, 60.0)),
        )
        # Drawn last, and each from the same place whatever came before: what a seed was, it still is.
        governance.delivered = often(1.0, 0.3)
        governance.delivery_fails = often(0.6)
        governance.resumed = often(0.6, 0.2)
        governance.suspends = often(0.4, 0.1)
        governance.window = rng.choice(("total", "total", "hour", "run"))
        governance.priced = rng.random() < 0.4
        governance.forked = often(0.8, 0.3)
        return governance

    @cached_property
    def any(self) -> bool:
        """Whether there is any of it."""
        settings = ("sleep_after_s", "window", "priced")
        return any(getattr(self, one.name) for one in fields(self) if one.name not in settings)


@dataclass
class Hazards:
    """What makes taking runs up dangerous. Half of the worlds have nothing of it; it has a source of its own too."""

    killers: float = 0.0
    """How many runs kill the host whenever they are taken up."""
    bent: float = 0.0
    """How many runs have logs that do not fold."""
    wires: float = 0.0
    """How many tool calls are of a tool that can be asked what became of them."""
    dumb: float = 0.0
    """How many of these questions are not answered."""

    @classmethod
    def drawn(cls, seed: int) -> Hazards:
        rng = random.Random(f"{seed}: hazards")
        if rng.random() < 0.5:
            return cls()

        def often(limit: float) -> float:
            return rng.random() * limit if rng.random() < 0.5 else 0.0

        return cls(killers=often(0.5), bent=often(0.2), wires=often(0.8), dumb=often(0.6))


FAULTS = frozenset(
    {
        *(
            f"crash {where}"
            for where in ("before a commit", "after a commit", "in a tool", "at a birth", "in a delivery")
        ),
        *(f"critic {how}" for how in ("raises", "hangs", "late", "twice", "nonsense")),
        *(f"delivery {how}" for how in ("fails", "hangs", "refuses", "asks for time")),
        "answer twice",
        "close",
        "crash between turns",
        "commit fails",
        "commit fails and is stored",
        "crash after keeping",
        "host stands still",
        "keeping fails",
        "killer",
        "log bent",
        "load fails",
        "look-up fails",
        "model fails",
        "model hangs",
        "palette fails",
        "poison",
        "rival",
        "sleep",
        "takeover",
        "timer early",
        "tool fails",
        "tool given up",
        "tool hangs",
        "wall clock set",
    }
)
"""Everything that can go wrong in a world. What never does in many seeds tests nothing: `benchmarks/seeds.py` tells."""

NEVER_HERE = frozenset({"artifact-stored", "content-erased", "error-logged", "input-staged", "output-refused"})
"""Tags of facts that no world leads to: their causes are not simulated."""
