"""Mistakes about keys, made on purpose: the simulation must notice each."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sim_episode import episode
from sim_host import SimRunActor
from sim_world import Bugs

SEARCHED = 5_000


class KeepsKeysLate(Bugs):
    """A run's key is stored after its first event: a crash in between loses what was said."""

    keys_first = False


class ForgetsItsKey(SimRunActor):
    """An actor that was rebuilt goes on in the clear."""

    def seal(self, first: Any) -> Any:
        return super().seal(first) if self.version == 0 or self._seal_known else None


def with_actor(kind: type) -> Bugs:
    bugs = Bugs()
    bugs.run_actor = kind
    return bugs


PLANTED = {
    "KeepsKeysLate": KeepsKeysLate,
    "ForgetsItsKey": lambda: with_actor(ForgetsItsKey),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        found = next((seed for seed in range(SEARCHED) if episode(seed, PLANTED[name](), give_up=8_000).problems), None)
    finally:
        logging.disable(logging.NOTSET)
    assert found is not None, f"{name} went unnoticed in {SEARCHED} seeds"
