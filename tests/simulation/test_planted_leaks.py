"""A funnel that leaves one kind of message out is noticed, whichever it is."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from sim_episode import episode
from sim_host import SimRunActor
from sim_secrets import spoken
from sim_world import Bugs, World

from executus.actors.courier import CourierActor
from executus.actors.run.messages import AcceptModelFailure, AcceptResult, AcceptUnknown, KillRun, LogNote
from executus.events import CriticKilled, NoteLogged, RunFinished, StepFailed, ToolFinished, ToolOutcomeUnknown
from executus.redaction.vault import Vault

SEARCHED = 5_000


class LeavesOut(SimRunActor):
    """Some kinds of messages, and what they lead to, are not masked."""

    kinds: tuple[type, ...] = ()

    def redact(self, told: Any) -> Any:
        return told if isinstance(told, self.kinds) else super().redact(told)


KINDS: dict[str, tuple[type, ...]] = {
    "results of tools": (AcceptResult, ToolFinished),
    "outcomes that are unknown": (AcceptUnknown, ToolOutcomeUnknown),
    "errors of models": (AcceptModelFailure, StepFailed),
    "notes of the host": (LogNote, NoteLogged),
    "verdicts": (KillRun, CriticKilled, RunFinished),
    "everything": (object,),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_funnel_with_a_hole_is_found(name: str) -> None:
    bugs = Bugs()
    bugs.run_actor = type("WithAHole", (LeavesOut,), {"kinds": KINDS[name]})
    logging.disable(logging.CRITICAL)
    try:
        lives = (episode(seed, bugs, give_up=8_000).problems for seed in range(SEARCHED))
        found = next((problems for problems in lives if problems), [])
    finally:
        logging.disable(logging.NOTSET)
    assert [problem for problem in found if problem.startswith("P15")] != []


class SaysReceiptsAsTheyAre(CourierActor):
    """The courier writes facts of its own; it forgets to mask them."""

    def say(self, errand: Any, fact: Any) -> None:
        around, self.around = self.around, replace(self.around, vault=Vault())
        try:
            super().say(errand, fact)
        finally:
            self.around = around


def test_a_courier_that_masks_nothing_is_found() -> None:
    bugs = Bugs()
    bugs.courier = SaysReceiptsAsTheyAre
    logging.disable(logging.CRITICAL)
    try:
        lives = (episode(seed, bugs, give_up=8_000).problems for seed in range(SEARCHED))
        found = next((problems for problems in lives if any(one.startswith("P15") for one in problems)), [])
    finally:
        logging.disable(logging.NOTSET)
    assert found != []


@pytest.mark.parametrize("kinds", [(AcceptResult,), (ToolFinished,)], ids=["message", "fact"])
def test_either_look_is_enough(kinds: tuple[type, ...]) -> None:
    """Masked as it comes in, and again when it is put together: one hole alone lets nothing through here."""
    bugs = Bugs()
    bugs.run_actor = type("WithHalfAHole", (LeavesOut,), {"kinds": kinds})
    logging.disable(logging.CRITICAL)
    try:
        problems = [one for seed in range(60) for one in episode(seed, bugs).problems]
    finally:
        logging.disable(logging.NOTSET)
    assert [one for one in problems if one.startswith("P15")] == []


def test_the_secret_is_said_by_everybody_in_some_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[World] = []

    class Kept(World):
        def __init__(self, seed: int, bugs: Bugs | None = None) -> None:
            super().__init__(seed, bugs)
            worlds.append(self)

    monkeypatch.setattr("sim_episode.World", Kept)
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(150):
            episode(seed)
    finally:
        logging.disable(logging.NOTSET)
    said = set().union(*(world.spoken for world in worlds))
    assert said >= {"tool", "model", "clock", "critic", "host", "receiver"}
    assert spoken(World(3), "somebody", "x") == spoken(World(3), "somebody", "x")
