"""`executus history` and `executus at`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from ..events import Message, Text, Thinking, ToolCall, ToolResult
from ..ports import Journal
from ..projections import (
    AskTool,
    CallModel,
    CallTool,
    Checkpoint,
    Expire,
    Owed,
    PlanCalls,
    Reserve,
    RunChild,
    RunState,
    bounds,
    outstanding,
)
from ..projections.line import Line
from ..projections.moments import Moment
from ..travel import Member, Recording, family_at, shown, state_at
from .opening import find_run, reading
from .program import Misuse
from .shapes import iso, print_json
from .showing import LABEL_WIDTH, print_line
from .travel_shapes import member_shape, moment_shape
from .words import columns, cut, many, moment, one_line, screen_width, short, span

PAGE = 1000
NEWEST = 6
"""Messages of a conversation that are shown without --full."""
NUMBERED_WIDTH = 14
"""Columns of a message's number and speaker."""
LANE_COLOURS = {
    "run": "cyan",
    "step": "white",
    "tool": "blue",
    "child": "magenta",
    "critic": "yellow",
    "budget": "yellow",
    "people": "green",
    "host": "white",
    "delivery": "cyan",
}


def print_history(
    db: Path,
    digits: str,
    *,
    after: int,
    limit: int | None,
    lanes: tuple[str, ...],
    errors: bool,
    brief: bool,
    as_json: bool,
) -> None:
    """Print the moments of a run that are asked for."""
    with reading(db) as journal:
        recording = Recording(journal, find_run(journal, digits))
        chosen = (
            one
            for one in _moments(recording, after)
            if not ((lanes and one.lane not in lanes) or (errors and not one.wrong) or (brief and not one.importance))
        )
        width = screen_width()
        printed, newest = 0, after
        for one in chosen:
            if printed == limit:
                click.echo(f"(the first {printed}; go on with --after {newest})", err=True)
                return
            printed, newest = printed + 1, one.version
            if as_json:
                print_json(moment_shape(one))
            else:
                click.echo(moment_line(one, width))
        if not printed and not as_json:
            click.echo("no such moments" if lanes or errors or brief else "no moments", err=True)


def _moments(recording: Recording, after: int) -> Iterator[Moment]:
    while page := recording.moments(after, PAGE):
        yield from page
        after = page[-1].version


def moment_line(one: Moment, width: int) -> str:
    """A moment as one line of a terminal of this width."""
    head = f"{one.version:>5}  {span(one.elapsed_ms / 1000):>11}  "
    lane = f"{one.lane:<8}"
    mark = "✗" if one.wrong else " "
    text = cut(one_line(one.title), max(20, width - len(head) - len(lane) - 5))
    if one.wrong:
        text = click.style(text, fg="red")
    elif one.importance == 0:
        text = click.style(text, dim=True)
    elif one.importance == 2:
        text = click.style(text, bold=True)
    return f"{head}{click.style(lane, fg=LANE_COLOURS[one.lane])} {mark} {text}".rstrip()


def version_of(journal: Journal, run_id: str, text: str) -> int:
    """The version that a person means by `text`: a number that the run has, or "last".

    Raises:
        Misuse: it has no such version.
    """
    row = journal.run(run_id)
    head = row.version if row is not None else 0
    if text == "last":
        return head
    if not (text.isdecimal() and text.isascii()) or int(text) > head:
        raise Misuse(
            f"run {short(run_id)} has versions 0 (before its first event) to {head}, and last; not {one_line(text)!r}"
        )
    return int(text)


# ------------------------------------------------------------------ at


def print_state(db: Path, digits: str, version: str, *, full: bool, as_json: bool) -> None:
    """Print a run as it stood at one version."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        number = version_of(journal, run_id, version)
        head = version_of(journal, run_id, "last")
        checkpoint = state_at(journal, run_id, number)
        told = Recording(journal, run_id).moments(number - 1, 1) if number else []
    if as_json:
        at_us = told[0].at_us if told else 0
        shape = {"type": "state", "run": run_id, "at": iso(at_us) if at_us else None, **shown(checkpoint)}
        print_json(shape | {"owed": [_owed(one, checkpoint.state) for one in outstanding(checkpoint.state)]})
        return
    _print_header(run_id, checkpoint, told[0] if told else None, head)
    _print_messages(checkpoint, full)


def _print_header(run_id: str, checkpoint: Checkpoint, told: Moment | None, head: int) -> None:
    state = checkpoint.state
    used = [
        f"{bound.measure.replace('_', ' ')} {_number(bound.used)} of {_number(bound.limit)}"
        + (f" (phase {bound.phase})" if bound.phase else "")
        + (f" since a person spoke, {state.step} in all" if bound.measure == "steps" and state.turn_from else "")
        for bound in bounds(state, checkpoint.elapsed_ms)
    ]
    status: str = state.status or {"new": "new", "waiting": "waiting"}.get(state.doing, "running")
    by = f", by {state.by}" if state.by else ""
    because = f": {state.reason or state.error}" if state.reason or state.error else ""
    withheld = {"locked": "its key is not here: set EXECUTUS_KEY or EXECUTUS_KEY_FILE", "erased": "erased"}
    tokens = f"{state.input_tokens:,} in, {state.output_tokens:,} out"
    if state.cost_usd:
        tokens += f", {state.cost_usd:.4f} USD"
    fields = {
        "run": run_id,
        "version": f"{checkpoint.version} of {head}" + (f": {told.title}" if told else ": before the first event"),
        "at": f"{moment(told.at_us)}, {span(checkpoint.elapsed_ms / 1000)} after the start" if told else "",
        "status": f"{status}{by}{because}",
        "phase": state.phase,
        "owed": "; ".join(_owed(one, state) for one in outstanding(state)),
        "used": ", ".join(used) if told else "",
        "tokens": tokens if told else "",
        "content": withheld.get(checkpoint.withheld or "", ""),
    }
    for label, text in fields.items():
        if text:
            click.echo(f"{label:<{LABEL_WIDTH}}{one_line(text)}")
    click.echo()


def _number(number: float) -> str:
    return f"{number:,.6g}" if number < 1_000_000 else f"{number:,.0f}"


def _owed(owed: Owed, state: RunState) -> str:
    """What the world owes the run, in words."""
    match owed:
        case CallModel():
            return f"the model's reply for step {owed.step}" + (f", attempt {owed.attempt}" if owed.attempt > 1 else "")
        case CallTool():
            return f"the result of {owed.call.name} ({owed.call.call})"
        case AskTool():
            return f"what became of {owed.call.name} ({owed.call.call})"
        case PlanCalls():
            return f"a look at the calls of step {owed.step}"
        case RunChild():
            return f"the end of {owed.child.name} ({owed.child.call}), run {short(owed.child.run_id)}"
        case Reserve():
            return f"room in the caller's budget for step {owed.step}"
        case Expire():
            return f"an answer about {owed.call} before {moment(owed.at_us)}"
        case _:
            what = {"retry": "another attempt", "deadline": "the deadline", "soft": "the critic's look"}[owed.what]
            return f"{what} at {span(owed.at_ms / 1000)}"


def _print_messages(checkpoint: Checkpoint, full: bool) -> None:
    messages = checkpoint.transcript.messages
    chosen = messages if full else messages[-NEWEST:]
    if len(chosen) < len(messages):
        hidden = many(len(messages) - len(chosen), "earlier message")
        click.echo(click.style(f"({hidden}; --full shows all)", dim=True))
    print_messages([*chosen, *checkpoint.transcript.heard], full, first=len(messages) - len(chosen))


def print_messages(messages: Iterable[Message], full: bool, first: int | None = None) -> None:
    """Print messages as a conversation. first: the number of the first one, if they are to be numbered, as `executus
    blame RUN messages.N` and `executus fork --reword N=TEXT` count them.
    """
    width = screen_width()
    for index, message in enumerate(messages):
        for part, line in enumerate(_lines(message)):
            if first is None:
                print_line(line, width, full)
                continue
            number = first + index if part == 0 else ""
            label = f"{number:>4}  {line.label}" if part == 0 or line.label else ""
            print_line(line._replace(label=label), width, full, NUMBERED_WIDTH)


def _lines(message: Message) -> Iterator[Line]:
    label = {"assistant": "model", "tool": ""}.get(message.role, message.role)
    for part in message.parts:
        match part:
            case Text():
                yield Line(label, part.text, "said")
            case Thinking():
                yield Line(label, f"(thinks) {part.text}", "said")
            case ToolCall():
                yield Line(label, f"{part.name} {part.arguments}", "call")
            case ToolResult():
                yield Line(label, part.text, "wrong" if part.is_error else "result")
            case _:
                yield Line(label, f"[image {part.url or part.media_type}]", "said")
        label = ""


# ------------------------------------------------------------------ a family


def print_family(db: Path, digits: str, version: str, *, as_json: bool) -> None:
    """Print the family of a run as it stood when the run was at one version."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        number = version_of(journal, run_id, version)
        position = journal.read(run_id, number - 1, 1)[0].position if number else 0
        family = family_at(journal, run_id, position)
    if as_json:
        print_json({"type": "family", "position": position, "root": member_shape(family.root)})
        return
    rows = list(_rows(family.root, "", ""))
    heading = ["RUN", "STATUS", "VERSION", "STEP", "CALL", "AGENT", "NOW"]
    for index, cells in enumerate(columns([heading, *rows], right=(2, 3))):
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))


def _rows(member: Member, lead: str, below: str) -> Iterator[list[str]]:
    state = member.checkpoint.state
    owed = [one for one in outstanding(state) if isinstance(one, (CallModel, CallTool, RunChild, AskTool, Reserve))]
    now = "; ".join(_owed(one, state) for one in owed)
    name, call = one_line(member.name), member.call
    yield [lead + short(member.run_id), member.status, str(member.version), str(state.step), call, name, one_line(now)]
    for index, child in enumerate(member.children):
        last = index == len(member.children) - 1
        yield from _rows(child, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))
