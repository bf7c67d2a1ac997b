"""A recorded run as model and tools for a test: they answer as recorded, and say where the code under test departs."""

from __future__ import annotations

import difflib
import os
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from .errors import Departed
from .events import EffectClass, InputPart, Text
from .ports import Agent, Journal, ModelRequest, Phase, Reply, Tool, ToolContext, ToolMode, ToolSpec
from .projections.taping import Tape, TapeCall, lines_of, same_messages, shown_at, tape_of
from .projections.trace import arguments_hash

PAGE = 1_000
"""Events of a log read at once."""


def cassette(source: Journal | str | os.PathLike[str], run_id: str | None = None, *, strict: bool = True) -> Cassette:
    """The run `run_id` of a journal, or what `Cassette.save` has written, as a model and tools for a test.

    source: a journal, the path of one, or without `run_id` the path of a saved cassette. strict: the model must be
    shown exactly what it was shown; False lets messages differ, and holds only the calls of tools to the recording.

    Raises:
        UnknownRun, JournalError: the run cannot be read. OSError: the file cannot.
        ValueError: the file holds no cassette, or what was said in the run is locked or erased.
    """
    if run_id is None:
        if not isinstance(source, (str, os.PathLike)):
            raise ValueError("cassette: expected the id of a run of this journal")
        return Cassette(_loaded(Path(source)), strict=strict)
    if not isinstance(source, (str, os.PathLike)):
        return Cassette(_taped(source, run_id), strict=strict)

    from .journal import read_journal  # a saved cassette needs no database

    journal = read_journal(source)
    try:
        return Cassette(_taped(journal, run_id), strict=strict)
    finally:
        journal.close()


def _taped(journal: Journal, run_id: str) -> Tape:
    def events() -> Any:
        after = 0
        while page := journal.read(run_id, after, PAGE):
            yield from page
            after = page[-1].version

    return tape_of(events())


def _loaded(path: Path) -> Tape:
    try:
        tape = msgspec.json.decode(path.read_bytes(), type=Tape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} holds no cassette: {error}; of a journal, name a run too") from error
    if tape.format != 1:
        raise ValueError(f"{path} is a cassette of a newer executus (format {tape.format})")
    return tape


class Cassette:
    """A recorded run to test with. `model` and `tools` are for one agent or many; each run plays the tape by itself.

    As a context manager it checks at the end that the tape was played as recorded, and to its end. Thread-safe.
    """

    def __init__(self, tape: Tape, *, strict: bool = True) -> None:
        self.tape = tape
        self.strict = strict
        self.departed: Departed | None = None
        """The first departure."""
        self._lock = threading.Lock()
        self._played: dict[str, int] = {}
        self._given: dict[tuple[str, str], TapeCall] = {}
        self._used: Counter[tuple[str, str, str]] = Counter()
        self.model = TapeModel(self)
        names = dict.fromkeys((*tape.agent.tools, *(call.name for call in tape.calls)))
        self.tools: list[Tool] = [TapeTool(self, name) for name in names]

    @property
    def input(self) -> tuple[InputPart, ...]:
        """What the run was started with."""
        return self.tape.input

    @property
    def said(self) -> list[str]:
        """What people said after the start, as text."""
        return ["".join([part.text for part in parts if isinstance(part, Text)]) for parts in self.tape.said]

    def agent(self, **changes: Any) -> Agent:
        """The recorded agent with the tape's model and tools, and `changes` in place of its fields.

        Types that outputs must fit are not recorded: pass `output=` or `phases=` if the agent has them.
        """
        made, limits = self.tape.agent, self.tape.limits
        by_name = {tool.spec.name: tool for tool in self.tools}
        fields: dict[str, Any] = {
            "name": made.name,
            "model": self.model,
            "instructions": made.instructions,
            "tools": self.tools,
            **msgspec.structs.asdict(limits),
        }
        if self.tape.imported:  # nobody was told of limits there
            fields["notice_at"] = ()
        if made.phases:
            fields["phases"] = [
                Phase(
                    phase.name,
                    instructions=phase.instructions,
                    tools=[by_name[name] for name in phase.tools if name in by_name],
                    max_steps=phase.max_steps,
                    timeout_s=phase.timeout_s,
                    max_tool_calls=phase.max_tool_calls,
                    max_tokens=phase.max_tokens,
                    max_cost_usd=phase.max_cost_usd,
                )
                for phase in made.phases
            ]
        name = changes.pop("name", fields.pop("name"))
        return Agent(name, **(fields | changes))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tape as a JSON file, which `cassette(path)` reads.

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(self.tape), indent=1) + b"\n")

    def check(self) -> None:
        """Check that the tape was played as recorded, and to its end.

        Raises:
            Departed: it was not; with the first departure.
        """
        if self.departed is not None:
            raise self.departed
        played, steps = max(self._played.values(), default=0), len(self.tape.steps)
        if played < steps:
            raise Departed(played + 1, f"the recording has {steps} steps, and step {played + 1} was never asked for")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or self.departed is not None:
            self.check()

    # -------------------------------------------------------------- playing

    def departs(self, step: int, what: str, diff: str = "") -> Departed:
        """Note a departure; the first one is kept and returned."""
        with self._lock:
            if self.departed is None:
                self.departed = Departed(step, what, diff)
            return self.departed

    def answer(self, request: ModelRequest) -> Reply:
        """The recorded reply to `request`.

        Raises:
            Departed: the recording was asked something else, or no more.
        """
        if self.departed is not None:
            raise self.departed
        steps = self.tape.steps
        with self._lock:
            number = request.step or self._played.get(request.run_id, 0) + 1
        if number > len(steps):
            raise self.departs(
                number,
                f"the recording has {len(steps)} steps, and step {number} was asked for",
                _diff((), lines_of(list(request.messages)[-1:])),
            )
        step = steps[number - 1]
        expected, asides = shown_at(self.tape, step)
        if self.strict and not same_messages(expected, asides, request.messages):
            what = f"at step {number} the model was shown something else"
            raise self.departs(number, what, _diff(lines_of(expected), lines_of(request.messages)))
        with self._lock:
            self._played[request.run_id] = max(number, self._played.get(request.run_id, 0))
        return Reply(step.reply, step.usage, step.stop, step.model)

    def refusal(self, name: str, arguments: str) -> str | None:
        """Why the recorded run was not let make this call, if it was not."""
        wanted = arguments_hash(arguments)
        outcomes = [one for one in self.tape.calls if one.name == name and arguments_hash(one.arguments) == wanted]
        return outcomes[0].result if outcomes and all(one.outcome == "refused" for one in outcomes) else None

    def result(self, name: str, arguments: str, context: ToolContext | None) -> TapeCall:
        """The recorded outcome of the next such call.

        Raises:
            Departed: there is none.
        """
        run_id, call = ("", "") if context is None else (context.run_id, context.call)
        wanted = arguments_hash(arguments)
        with self._lock:
            if call and (run_id, call) in self._given:  # the same call again, after a crash
                return self._given[run_id, call]
            like = [
                one
                for one in self.tape.calls
                if one.name == name and arguments_hash(one.arguments) == wanted and one.outcome != "refused"
            ]
            key = (run_id, name, wanted)
            if self._used[key] < len(like):
                found = like[self._used[key]]
                self._used[key] += 1
                if call:
                    self._given[run_id, call] = found
                return found
            step = int(call.partition(".")[0]) if call else self._played.get(run_id, 0)
        recorded = [f"{one.name}({one.arguments})" for one in self.tape.calls if one.call.startswith(f"{step}.")]
        times = f"only {len(like)} times" if like else "never"
        what = f"at step {step} {name} was called as the recording has it {times}"
        raise self.departs(step, what, _diff(recorded, [f"{name}({arguments})"]))


def _diff(expected: Sequence[str], came: Sequence[str]) -> str:
    return "\n".join(difflib.unified_diff(expected, came, "recorded", "came", n=2, lineterm=""))


class TapeModel:
    """Answers each step as recorded; for any number of runs."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette
        self.name = cassette.tape.agent.model or "recorded"

    async def reply(self, request: ModelRequest) -> Reply:
        """The recorded reply.

        Raises:
            Departed: the recording was asked something else, or no more.
        """
        return self._cassette.answer(request)


class TapeTool:
    """Gives the recorded results of one tool, of the same calls in their order; a recorded error is raised again."""

    effect: EffectClass = "pure"
    mode: ToolMode = "async"
    timeout_s: float | None = None

    def __init__(self, cassette: Cassette, name: str) -> None:
        self._cassette = cassette
        self.spec = ToolSpec(name, "as recorded", {"type": "object"})

    def check(self, arguments: str) -> str | None:
        """Why the recorded run was not let make this call, or None."""
        return self._cassette.refusal(self.spec.name, arguments)

    async def call(self, arguments: str, context: ToolContext | None = None) -> str:
        """The recorded result.

        Raises:
            Departed: the recording has no such call, or none more. Exception: the call failed in the recording.
        """
        found = self._cassette.result(self.spec.name, arguments, context)
        if found.outcome == "ok":
            return found.result
        kind, _, text = found.result.partition(": ")  # errors are told as "Kind: text"
        error: Exception = type(kind or "Error", (Exception,), {})(text)
        raise error
