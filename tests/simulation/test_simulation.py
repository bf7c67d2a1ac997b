"""The real actors in a seeded world: whatever goes wrong in it, the promises hold."""

from __future__ import annotations

import logging
import os

import pytest
from sim_episode import episode

SEEDS = int(os.environ.get("EXECUTUS_SEEDS", "2000"))
SLICES = 20


@pytest.fixture(autouse=True)
def _quiet() -> object:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(SLICES))
def test_every_promise_holds_in_every_seed(part: int) -> None:
    for seed in range(part, SEEDS, SLICES):
        problems = episode(seed).problems
        assert not problems, f"seed {seed}: {problems}"


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_the_same_seed_is_the_same_world(seed: int) -> None:
    assert episode(seed) == episode(seed)


def test_the_seeds_are_unkind_enough() -> None:
    lives = [episode(seed) for seed in range(200)]
    assert sum(life.crashes for life in lives) > 200
    assert sum(life.takeovers for life in lives) > 100
    assert sum(life.virtual_s for life in lives) > 50_000
