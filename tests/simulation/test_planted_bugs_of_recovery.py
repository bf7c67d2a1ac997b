"""Mistakes in taking runs up and in asking tools, made on purpose; the simulation must notice each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sim_host import SimRunActor
from sim_planted import found_in

from executus.actors import recoverer
from executus.actors.probation import Failed
from executus.actors.recoverer import Recoverer
from executus.actors.recovering import Group
from executus.actors.run.messages import AcceptReconciled, ResumeRun, RunMessage
from executus.events import ReconcileStarted
from executus.ports import Recovery


class CountsAfterwards(Recoverer):
    """An attempt is counted when it has failed: one that kills the host never is."""

    def store(self, kept: Any, dropped: Any, done: Any) -> None:
        kept = tuple(one for one in kept if one.standing != "trying")
        if kept or dropped:
            super().store(kept, dropped, done)
        else:
            done(None)


class BlamesEverybody(Recoverer):
    """Whoever was near when the host died is held to account."""

    def begin_next(self) -> None:
        real, recoverer.before_the_attempt = recoverer.before_the_attempt, blaming
        try:
            super().begin_next()
        finally:
            recoverer.before_the_attempt = real


def blaming(group: Group, known: Any, versions: Any, now_us: int, others: int = 0) -> list[Recovery]:
    return [
        Recovery(
            run_id=one.run_id,
            standing="trying",
            attempts=(known[one.run_id].attempts if one.run_id in known else 0) + 1,
            company=len(group.addresses) + others,
            version=versions.get(one.run_id, 0),
        )
        for one in group.addresses
    ]


class LooksOnce(Recoverer):
    """The journal cannot be read at opening: so be it."""

    def look(self) -> None:
        pass


class DropsWhatCannotBeKept(Recoverer):
    """That an attempt is made cannot be stored: the runs are forgotten."""

    def kept(self, message: Any) -> None:
        if message.error is None:
            super().kept(message)
        else:
            self.beginning = None
            self.begin_next()


class TriesTheQuarantined(Recoverer):
    """What was set aside is tried at every boot."""

    def take_up(self, addresses: Any, others: Any = (), *, first: bool = False) -> None:
        for run_id, known in list(self.known.items()):
            self.known[run_id] = replace(known, attempts=min(known.attempts, 2))
        super().take_up(addresses, others, first=first)


class HoldsNothingAgainstFailures(Recoverer):
    """What a host survives is forgotten, and the run not even set aside for the next one to see."""

    def failed_attempt(self, report: Failed) -> None:
        pass


class AsksNobodyAfterOrphans(Recoverer):
    """Children of parents that are over are left alone."""

    def ask_after(self, parent: str) -> None:
        pass


class RunsWhatHappened(SimRunActor):
    """What the tool said is not listened to: the call is run again."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptReconciled) and message.happened:
            message = replace(message, happened=False)
        return super().decide(message, now_ms)


class RunsInsteadOfAsking(SimRunActor):
    """Resuming takes a tool that could be asked for one that may be run again."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, ResumeRun):
            wires = {f"tool:{one.call}" for one in self.state.open_calls if one.effect == "reconcilable"}
            message = replace(message, in_flight=message.in_flight | wires)
        return super().decide(message, now_ms)


class RunsWhileItAsks(SimRunActor):
    """The question is put, and the call is run without waiting for the answer."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        return [one for one in super().decide(message, now_ms) if not isinstance(one, ReconcileStarted)]


@pytest.mark.parametrize(
    "kind",
    [
        CountsAfterwards,
        BlamesEverybody,
        LooksOnce,
        DropsWhatCannotBeKept,
        TriesTheQuarantined,
        HoldsNothingAgainstFailures,
        AsksNobodyAfterOrphans,
        RunsWhatHappened,
        RunsInsteadOfAsking,
        RunsWhileItAsks,
    ],
)
def test_a_planted_bug_is_found(kind: type) -> None:
    assert found_in(kind) is not None
