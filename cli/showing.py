"""`executus show`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from ..adapters.chat import to_chat
from ..events import Content, ContentErased, Event
from ..projections import fold
from ..projections.line import Line
from ..projections.overview import Overview, overview
from ..projections.telling import tell
from .opening import find_run, hosted, reading
from .shapes import event_shape, iso, print_json, run_shape
from .standing import Standings
from .words import coloured, cut, harmless, many, moment, one_line, screen_width, span

LABEL_WIDTH = 9
SAID_LINES = 12
"""Lines of one text of a person or the model that are shown without --full."""


def show_run(db: Path, digits: str, *, full: bool, events: bool, as_json: bool) -> None:
    """Print one run."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        log = journal.read(run_id)
        row = overview(log)
        status, why = Standings(journal, hosted(journal)).of(row)
    if events and as_json:
        for event in log:
            print_json(event_shape(event))
    elif as_json:
        shape = run_shape(row, status, why) | {"content": content_of(log), "erased": _erased_shape(log)}
        print_json(shape | {"messages": to_chat(fold(log).transcript.messages)})
    else:
        _print_header(row, status, why, _told_of_content(log))
        if events:
            _print_events(log, full)
        else:
            _print_conversation(log, full)


def content_of(log: Iterable[Event]) -> Content:
    """How the content of a run is stored and was read."""
    found: Content = "clear"
    for event in log:
        if event.content != "clear":
            found = event.content
    return found


def _erasure(log: Iterable[Event]) -> tuple[ContentErased, Event] | None:
    return next(((event.fact, event) for event in log if isinstance(event.fact, ContentErased)), None)


def _erased_shape(log: Iterable[Event]) -> dict[str, str] | None:
    found = _erasure(log)
    return None if found is None else {"by": found[0].by, "reason": found[0].reason, "at": iso(found[1].at_us)}


def _told_of_content(log: list[Event]) -> str:
    found = _erasure(log)
    if found is not None:
        fact, event = found
        because = f": {fact.reason}" if fact.reason else ""
        return f"erased by {fact.by or 'the host'} at {moment(event.at_us)}{because}"
    match content_of(log):
        case "clear":
            return ""
        case "sealed":
            return "sealed"
        case "locked":
            return "sealed, and its key is not here: set EXECUTUS_KEY or EXECUTUS_KEY_FILE to read it"
        case "erased":
            return "its key is destroyed"


def _print_header(row: Overview, status: str, why: str, content: str) -> None:
    state, info = row.state, row.info
    ended = f", by {one_line(state.by)}" if state.by else f" ({row.doing})" if row.doing else ""
    ended += f": {one_line(state.reason or why)}" if state.reason or why else ""
    tokens = f"{state.input_tokens:,} in, {state.output_tokens:,} out"
    if state.thinking_tokens:
        tokens += f" (thinking {state.thinking_tokens:,})"
    if state.cost_usd:
        tokens += f", {state.cost_usd:.4f} USD"
    fields = {
        "run": row.run_id,
        "name": info.name,
        "agent": f"{row.agent}, model {row.model}" if row.model else row.agent,
        "caller": info.caller_id,
        "from": row.imported_from,
        "started": moment(row.started_at_us),
        "status": "",
        "work": f"{many(state.step, 'step')}, {many(state.tool_calls, 'tool call')}, {span(row.elapsed_ms / 1000)}",
        "tokens": tokens,
        "error": state.error,
        "content": content,
    }
    for label, text in fields.items():
        if label == "status":
            click.echo(f"{label:<{LABEL_WIDTH}}{coloured(status)}{ended}")
        elif text:
            click.echo(f"{label:<{LABEL_WIDTH}}{one_line(text)}")
    click.echo()


def _print_conversation(log: Iterable[Event], full: bool) -> None:
    width = screen_width()
    for event in log:
        for line in tell(event.fact):
            print_line(line, width, full)


def print_line(line: Line, width: int, full: bool, label_width: int = LABEL_WIDTH) -> None:
    """Print what somebody said or what happened, as a line of a conversation. label_width: columns for who it was."""
    said = line.kind == "said"
    mark = {"call": "→ ", "result": "← ", "wrong": "✗ "}.get(line.kind, "")
    text = harmless(line.text.replace("\r\n", "\n")) if full or said else one_line(line.text)
    texts = text.expandtabs(4).rstrip().split("\n") or [""]
    hidden = 0
    if not full:
        hidden = max(0, len(texts) - SAID_LINES)
        texts = [cut(one, max(20, width - label_width - len(mark))) for one in texts[:SAID_LINES]]
    if hidden:
        texts.append(click.style(f"({many(hidden, 'more line')}; --full shows all)", dim=True))
    label = harmless(line.label.replace("\n", " "))
    if len(label) >= label_width:  # what people wrote may have a long name
        click.echo(click.style(label, bold=said))
        label = ""
    for index, one in enumerate(texts):
        shown = f"{mark if index == 0 else ' ' * len(mark)}{one}"
        if line.kind == "wrong":
            shown = click.style(shown, fg="red")
        elif line.kind in ("result", "host"):
            shown = click.style(shown, dim=True)
        head = f"{label if index == 0 else '':<{label_width}}"
        click.echo((click.style(head, bold=said) + shown).rstrip())


def _print_events(log: Iterable[Event], full: bool) -> None:
    import msgspec

    width = screen_width()
    for event in log:
        head = f"{event.version:>5}  {span(event.elapsed_ms / 1000):>10}  {event.tag:<18}"
        fact = one_line(msgspec.json.encode(event.fact).decode())
        click.echo(f"{head} {fact if full else cut(fact, max(20, width - len(head) - 1))}")
