"""For embedders' own tests: given/when/then over a run's decisions, a clock that is set by hand, a scripted model, and
recorded runs as model and tools.

Nothing here touches a thread or the network, only `cassette` reads a file, and nothing needs pytest.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence
from typing import Any

from msgspec import NODEFAULT, structs

from .actors.run.decide import decide
from .actors.run.messages import RunMessage
from .actors.run.refusal import Refusal
from .adapters.models.scripted import ScriptedModel, attempts, call, say
from .cassettes import Cassette, cassette
from .errors import Departed
from .events import AgentPrint, Fact, Limits, Message, PhasePrint, RunInfo, RunStarted, Text
from .projections import RunState, Transcript, evolve, evolve_transcript, outstanding

SPEC_RUN_ID = "00000000-0000-7000-8000-000000000001"
"""The id of a run in a specification."""

UNTIMED = Limits(timeout_s=None)
"""The usual limits, without a deadline."""


def run_started(
    input: str = "Go.",
    *,
    instructions: str = "",
    limits: Limits = UNTIMED,
    max_steps: int | None = None,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
    phases: Sequence[PhasePrint] = (),
    interactive: bool = False,
    dry_run: bool = False,
    budgeted: bool = False,
) -> RunStarted:
    """The first fact of a run, with the given input and limits; without a deadline unless one is given.

    max_steps, timeout_s, max_attempts: in place of those in `limits`. phases: the parts the agent works in. budgeted:
    each model call waits for a grant of the caller's budget (`AcceptGrant`).
    """
    given = {"max_steps": max_steps, "timeout_s": timeout_s, "max_attempts": max_attempts}
    limits = structs.replace(limits, **{name: value for name, value in given.items() if value is not None})
    return RunStarted(
        info=RunInfo(run_id=SPEC_RUN_ID, name="spec", max_iterations=limits.max_steps),
        agent=AgentPrint(name="spec", model="scripted", instructions=instructions, phases=tuple(phases)),
        limits=limits,
        input=(Text(input),),
        interactive=interactive,
        dry_run=dry_run,
        budgeted=budgeted,
    )


class RunSpec:
    """A run as its facts have it, to be asked what it does about a message. Immutable: every method returns another.

    `RunSpec().given(run_started(), StepStarted(step=1)).when(CancelRun(by="alice")).then(...)`. After `then` the run
    has those facts too, so that a specification can go on with another `when`.
    """

    def __init__(self, facts: tuple[Fact, ...] = ()) -> None:
        self.facts = facts

    def given(self, *facts: Fact) -> RunSpec:
        """The run with these facts after those it has."""
        return RunSpec((*self.facts, *facts))

    def when(self, message: RunMessage, *, now_ms: int = 0) -> Decision:
        """Tell the run `message` when its own clock reads `now_ms`."""
        try:
            return Decision(self, message, decide(self.state, message, now_ms))
        except Refusal as refusal:
            return Decision(self, message, [], str(refusal))

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        state = RunState()
        for fact in self.facts:
            state = evolve(state, fact)
        return state

    @property
    def transcript(self) -> list[Message]:
        """The conversation as the next model call would be shown it."""
        transcript = Transcript()
        for fact in self.facts:
            transcript = evolve_transcript(transcript, fact)
        return list(transcript.messages)

    def owes(self, *keys: str) -> RunSpec:
        """Check what the world owes the run now, by key: `model:STEP:ATTEMPT`, `tool:CALL`, `child:CALL`,
        `plan:STEP`, `reserve:STEP:ATTEMPT`, `retry:STEP:ATTEMPT`, `expiry:CALL:US`, `deadline:MS`, `soft:MS`.

        Raises:
            AssertionError: it is something else.
        """
        owed = [one.key for one in outstanding(self.state)]
        if sorted(owed) != sorted(keys):
            raise AssertionError(f"expected the world to owe {_listed(keys)}; it owes {_listed(owed)}")
        return self


class Decision:
    """What a run answered to one message."""

    def __init__(self, before: RunSpec, message: RunMessage, facts: list[Fact], refused: str | None = None) -> None:
        self.before, self.message, self.facts, self.refused = before, message, tuple(facts), refused

    def then(self, *facts: Fact) -> RunSpec:
        """Check that the answer is exactly `facts`; the run with them is returned.

        Raises:
            AssertionError: it is something else; the message shows the difference, a field a line.
        """
        if self.refused is not None:
            raise AssertionError(f"{self._asked} was refused: {self.refused}\nexpected\n{_shown(facts)}")
        if self.facts != facts:
            diff = difflib.unified_diff(
                _shown(facts).splitlines(), _shown(self.facts).splitlines(), "expected", "decided", n=2, lineterm=""
            )
            raise AssertionError("\n".join((f"{self._asked} led to other facts", *diff)))
        return self.before.given(*self.facts)

    def then_nothing(self) -> RunSpec:
        """Check that the message changed nothing.

        Raises:
            AssertionError: it did, or it was refused.
        """
        if self.refused is not None:
            raise AssertionError(f"{self._asked} was refused: {self.refused}; expected nothing to happen")
        if self.facts:
            raise AssertionError(f"{self._asked} was expected to change nothing; it led to\n{_shown(self.facts)}")
        return self.before

    def then_refused(self, why: str) -> RunSpec:
        """Check that the sender is told a sentence that contains `why`, and nothing else happens.

        Raises:
            AssertionError: it was not refused, or for another reason.
        """
        if self.refused is None:
            raise AssertionError(f"{self._asked} was expected to be refused ({why!r}); it led to\n{_shown(self.facts)}")
        if why not in self.refused:
            raise AssertionError(f"{self._asked} was refused with {self.refused!r}; expected {why!r} in it")
        return self.before

    @property
    def _asked(self) -> str:
        return type(self.message).__name__


class VirtualClock:
    """`ports.Clock` that stands still until it is told to advance. Thread-safe.

    With a `Runtime`, timers that have become due are noticed within half a second of real time. wall_us: where the
    wall clock starts, microseconds since 1970 UTC.
    """

    def __init__(self, wall_us: int = 1_700_000_000_000_000) -> None:
        self._lock = threading.Lock()
        self._awake_us = 0
        self._wall_us = wall_us

    def monotonic(self) -> float:
        """Awake seconds since the clock was made."""
        return self._awake_us / 1e6

    def wall_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return self._wall_us

    def advance(self, seconds: float) -> None:
        """Let `seconds` of awake time pass, on the wall clock too.

        Raises:
            ValueError: `seconds` is negative; set the wall clock back with `set_wall`.
        """
        if not seconds >= 0:
            raise ValueError(f"advance: expected seconds ≥ 0, got {seconds!r}")
        with self._lock:
            self._awake_us += round(seconds * 1e6)
            self._wall_us += round(seconds * 1e6)

    def set_wall(self, wall_us: int) -> None:
        """Set the wall clock, as a person or NTP would: awake time does not notice."""
        with self._lock:
            self._wall_us = wall_us


def _listed(keys: Any) -> str:
    return ", ".join(sorted(keys)) or "nothing"


def _shown(facts: tuple[Fact, ...]) -> str:
    return "\n".join(map(_shown_fact, facts)) or "(nothing)"


def _shown_fact(fact: Fact) -> str:
    """A fact with a line for each field that differs from its default."""
    lines: list[str] = []
    for field in structs.fields(fact):
        value = getattr(fact, field.name)
        if field.default is NODEFAULT or value != field.default:
            lines.append(f"    {field.name}={value!r},")
    return "\n".join((f"{type(fact).__name__}(", *lines, ")"))


__all__ = [
    "SPEC_RUN_ID",
    "Cassette",
    "Decision",
    "Departed",
    "RunSpec",
    "ScriptedModel",
    "VirtualClock",
    "attempts",
    "call",
    "cassette",
    "run_started",
    "say",
]
