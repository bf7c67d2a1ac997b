"""A secret that the simulated world says now and then, written in some way, and the oracle that looks for it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
from planted_secrets import WRITTEN, leaks

from executus.redaction.vault import Vault

if TYPE_CHECKING:
    from sim_world import World

SECRET = "zQ8/simulated+Horse_42"
VAULT = Vault({"sim": SECRET})
SAID = 0.25
"""How often a text has the secret in it."""

_WAYS = {way: write(SECRET) for way, write in WRITTEN.items()}


def spoken(world: World, what: str, text: str) -> str:
    """`text`, now and then with the secret behind it. What is said depends on seed and `what` alone."""
    fate = random.Random(f"{world.seed}: {what} says")
    if fate.random() >= SAID:
        return text
    world.spoken.add(what.partition(" ")[0])
    return f"{text} {_WAYS[fate.choice(sorted(_WAYS))]} "


def judge_secrets(world: World) -> list[str]:
    """Of what was said, no byte of the secret is on disk, and none in a fact, sealed or not (P15)."""
    problems: list[str] = []
    for row, event in zip(world.disk.rows, world.disk.decoded, strict=True):
        for way in leaks(SECRET, row[3].decode("latin-1") + msgspec.msgpack.encode(event.fact).decode("latin-1")):
            problems.append(f"P15: a {event.tag} of {event.run_id} has the secret in it ({way})")
    return problems
