"""Facts of runs that are more than one conversation: children, phases, and a run that goes on from another."""

from __future__ import annotations

from typing import Literal, final

from .shape import FactStruct
from .values import Edit, InputPart, Limits, Message, Status, StopReason, ToolResult, Totals

Reuse = Literal["never", "recorded"]
"""recorded: a model call that would be shown what the source's same step was shown is answered as that was."""


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

    Where it does not stand between two steps: answers: one for each call of the last message, None for the calls that
    this run is to make. said: why the model stopped, if the last message are its last words and nothing came of them
    yet. heard: what was said and no step has read. turn_from, phase_from: the step after which a person last spoke, and
    what was spent when the phase began; -1 and None count both from here.

    paused: it does nothing before `RunBegun`. reuse: where its replies may come from instead of the model. edits: what
    was made different on purpose.
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
    answers: tuple[ToolResult | None, ...] = ()
    said: StopReason | None = None
    heard: tuple[Message, ...] = ()
    turn_from: int = -1
    phase_from: Totals | None = None
    paused: bool = False
    reuse: Reuse = "never"
    edits: tuple[Edit, ...] = ()


@final
class RunBegun(FactStruct, frozen=True):
    """A fork that was paused was told to begin. waited_ms: how long it had waited for that."""

    by: str = ""
    waited_ms: int = 0
