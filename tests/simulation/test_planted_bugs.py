"""Each mistake we could make is made on purpose here, and the simulation must notice it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sim_calls import SimCalls
from sim_host import SimRunActor
from sim_planted import found_in
from sim_world import Bugs, SimTimer

from executus.actors.run.asking import Asked, RunAppend
from executus.actors.run.messages import AcceptReply, CancelRun, EndByDeadline, ResumeRun, RunMessage
from executus.actors.supervisor import Supervisor
from executus.errors import JournalConflict, JournalError
from executus.events import TERMINAL_TAGS, Event, RunFinished
from executus.journal.rules import Head
from executus.ports import Append
from executus.projections import Wake


class ActsBeforeTheCommit(SimRunActor):
    """No durable intent: the world is touched as soon as it is decided."""

    def append(self, facts: list[Any], message: RunMessage, asked: Asked | None, now_ms: int) -> None:
        super().append(facts, message, asked, now_ms)
        if not self.actor_stopped.is_set():
            self.reconcile()


class AnswersBeforeTheCommit(SimRunActor):
    def append(self, facts: list[Any], message: RunMessage, asked: Asked | None, now_ms: int) -> None:
        if asked is not None:
            asked.accept(self.version + len(facts))
        super().append(facts, message, asked, now_ms)


class EndsTwice(SimRunActor):
    """Cancelling forgets to ask whether the run is over."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        facts = super().decide(message, now_ms)
        if self._end is not None and isinstance(message, (CancelRun, EndByDeadline)):
            return [self._end]
        return facts


class WritesAfterTheEnd(Bugs):
    """The journal's own backstop is missing."""

    run_actor = EndsTwice

    def refusal(self, append: Append, head: Head) -> JournalError | None:
        if append.stored[0].event.tag in TERMINAL_TAGS and head.over:
            return None
        return super().refusal(append, head)


class RunsUnsafeToolsAgain(SimRunActor):
    """Resuming takes every started call for one that may be run again."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, ResumeRun):
            every = {f"tool:{call.call}" for call in self.state.open_calls}
            message = replace(message, in_flight=message.in_flight | every)
        return super().decide(message, now_ms)


class ForgetsWhatItReadLast(SimRunActor):
    """The rebuilt state lacks the newest fact."""

    def __init__(self, around: Any, address: Any, checkpoint: Any = None) -> None:
        if checkpoint is not None and checkpoint.version > 1:
            events = around.journal.read(address.run_id)
            from executus.projections import fold

            older = fold(events[:-1])
            checkpoint = replace(checkpoint, state=older.state, transcript=older.transcript)
        super().__init__(around, address, checkpoint)


class IgnoresFailedAppends(SimRunActor):
    def settle(self, append: RunAppend) -> None:
        append.error = None
        super().settle(append)


class FailsInSilence(SimRunActor):
    """Nobody is told that the actor stopped."""

    def failed(self, error: BaseException, message: Any) -> None:
        self.mailbox.close()


class HasNoDeadline(SimRunActor):
    def begin(self, owed: Any) -> Any:
        if isinstance(owed, Wake) and owed.what == "deadline":
            return SimTimer(lambda: None)
        return super().begin(owed)


class ActsBeforeItIsTakenUp(SimRunActor):
    """A rebuilt actor starts what looks owed before the resume has settled what is unknown."""

    def __init__(self, around: Any, address: Any, checkpoint: Any = None) -> None:
        super().__init__(around, address, checkpoint)
        self._taken_up = True


class TakesAnyAnswer(SimRunActor):
    """A late answer to an earlier call is taken for the answer to this one."""

    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        if isinstance(message, AcceptReply):
            message = replace(message, step=self.state.step, attempt=self.state.attempt)
        return super().decide(message, now_ms)


class CountsWrong(SimRunActor):
    def decide(self, message: RunMessage, now_ms: int) -> list[Any]:
        return [
            replace(fact, stats=replace(fact.stats, tool_calls=fact.stats.tool_calls + 1))
            if isinstance(fact, RunFinished)
            else fact
            for fact in super().decide(message, now_ms)
        ]


class ForgetsTheRequest(SimRunActor):
    """The request id does not reach the journal."""

    def append(self, facts: list[Any], message: RunMessage, asked: Asked | None, now_ms: int) -> None:
        if self.version == 0 and asked is not None:
            started = facts[0]
            facts[0] = replace(started, info=replace(started.info, request_id=""))
            message = replace(message, started=facts[0])  # type: ignore[type-var]
        super().append(facts, message, asked, now_ms)


class TakesNeighboursDown(SimRunActor):
    """One run's failure is everybody's."""

    def failed(self, error: BaseException, message: Any) -> None:
        super().failed(error, message)
        supervisor = self.world.host.supervisor
        for address in list(supervisor.directory.values()):
            supervisor.set_aside(address, None, "a neighbour failed")


class SaysEverythingAgain(Supervisor):
    """What was stored after all is said again."""

    def not_stored(self, lost: Any, loaded: Any) -> list[Any]:
        return [one for append in lost.appends for one in (append.asked or [append.message])] if lost else []


class ReconcilesAfterItsEnd(SimRunActor):
    """A run that the closing runtime has let go of still starts what looks as if it were not under way."""

    def reconcile(self) -> None:
        end, self.address.end = self.address.end, None
        try:
            super().reconcile()
        finally:
            self.address.end = self.address.end or end


class BeginsWhileItCloses(Bugs):
    """Calls are still taken while the runtime closes."""

    run_actor = ReconcilesAfterItsEnd

    def stop_taking(self, calls: SimCalls) -> None:
        pass


class SaysNothingAgain(Supervisor):
    """What was not stored is dropped."""

    def not_stored(self, lost: Any, loaded: Any) -> list[Any]:
        return []


class TakesWhatFits(Bugs):
    """The journal looks at the version alone, so a second append on top of one that was refused may get in."""

    def refusal(self, append: Append, head: Head) -> JournalError | None:
        return (
            JournalConflict(append.run_id, append.expected, head.version) if append.expected != head.version else None
        )


class TakesEverything(Bugs):
    def refusal(self, append: Append, head: Head) -> JournalError | None:
        return None


class NeverLooksAgain(Bugs):
    """What a commit that failed to report has stored is never told."""

    def found(self, stored: list[Event]) -> list[Event]:
        return []


class NeverLooksAtTheOwner(Bugs):
    """The epoch is not checked inside the append."""

    def owns(self, mine: int, found: int) -> bool:
        return True


class ActsAfterASleep(Bugs):
    """What was stored before the host stood still is done, whoever may have taken over meanwhile."""

    def held(self, doubtful: bool) -> bool:
        return True


def with_actor(kind: type) -> Bugs:
    bugs = Bugs()
    bugs.run_actor = kind
    return bugs


def with_supervisor(kind: type) -> Bugs:
    bugs = Bugs()
    bugs.supervisor = kind
    return bugs


PLANTED = {
    kind.__name__: (lambda kind=kind: with_actor(kind))
    for kind in (
        ActsBeforeTheCommit,
        AnswersBeforeTheCommit,
        RunsUnsafeToolsAgain,
        ForgetsWhatItReadLast,
        IgnoresFailedAppends,
        FailsInSilence,
        HasNoDeadline,
        ActsBeforeItIsTakenUp,
        TakesAnyAnswer,
        CountsWrong,
        ForgetsTheRequest,
        TakesNeighboursDown,
    )
} | {
    "SaysEverythingAgain": lambda: with_supervisor(SaysEverythingAgain),
    "BeginsWhileItCloses": BeginsWhileItCloses,
    "SaysNothingAgain": lambda: with_supervisor(SaysNothingAgain),
    "WritesAfterTheEnd": WritesAfterTheEnd,
    "TakesWhatFits": TakesWhatFits,
    "TakesEverything": TakesEverything,
    "NeverLooksAgain": NeverLooksAgain,
    "NeverLooksAtTheOwner": NeverLooksAtTheOwner,
    "ActsAfterASleep": ActsAfterASleep,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    assert found_in(PLANTED[name]) is not None, f"{name} went unnoticed"
