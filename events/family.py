"""Facts of runs that are more than one conversation: children, phases, and a run that goes on from another."""

from __future__ import annotations

from typing import Literal, final

from .shape import FactStruct
from .values import InputPart, Limits, Message, Status, Totals


@final
class ChildStarted(FactStruct, frozen=True):
    """The call is a run of its own, `run_id`, about to be started with `limits`, carved from what this run has left."""

    call: str
    name: str
    run_id: str
    kind: Literal["agent", "skill"] = "agent"
    limits: Limits = Limits()


@final
class ChildFinished(FactStruct, frozen=True):
    """The child is over; its `output` answers the call. spent: by the child and its own children."""

    call: str
    run_id: str
    status: Status
    output: str = ""
    spent: Totals = Totals()


@final
class ChildWaited(FactStruct, frozen=True):
    """The child waits for a person, with everything that is under way of it."""

    call: str
    run_id: str


@final
class ChildWentOn(FactStruct, frozen=True):
    """The child waits no more. waited_ms: how long this whole run stood still for it, on its own clock."""

    call: str
    run_id: str
    waited_ms: int = 0


@final
class FamilyAwaited(FactStruct, frozen=True):
    """Everything under way, children among it, waits for people: the run stands still, from `since_ms` of its own
    clock, until a child goes on or somebody answers.
    """

    since_ms: int


@final
class PhaseStarted(FactStruct, frozen=True):
    """The run enters a phase, with a conversation of its own that begins with `instructions` and `input`.

    at_ms: the run's own clock, waiting not counted.
    """

    phase: str
    index: int
    instructions: str = ""
    input: tuple[InputPart, ...] = ()
    at_ms: int = 0


@final
class PhaseFinished(FactStruct, frozen=True):
    """The phase is over; `output` is handed on to the later ones."""

    phase: str
    output: str = ""


@final
class OutputRefused(FactStruct, frozen=True):
    """The model's final words do not fit the schema that was asked for; it is told `reason` and tries again."""

    reason: str


@final
class RunForked(FactStruct, frozen=True):
    """This run goes on from event `version` of `source`, and carries all it needs of it.

    hash: of that event. messages: the conversation so far. outputs, phase: finished phases with their outputs in
    order, and the one to go on with. totals: what was spent before, which limits count and statistics do not.
    noticed: the notices the model was already given. inputs are inherited, effects never repeated.
    """

    source: str
    version: int
    hash: bytes = b""
    messages: tuple[Message, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    phase: str = ""
    totals: Totals = Totals()
    noticed: tuple[str, ...] = ()
    output: str = ""
