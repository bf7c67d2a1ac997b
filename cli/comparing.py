"""`executus diff` and `executus blame`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from ..projections.changes import Change
from ..projections.moments import Moment
from ..projections.shown import place_of, pointer
from ..travel import Divergence, blame, diff, diff_runs
from .looking_back import moment_line, print_messages, version_of
from .opening import find_run, reading
from .program import Misuse
from .shapes import print_json
from .travel_shapes import difference_shape, divergence_shape, is_wide, write_shape
from .words import WIDE_ENOUGH, cut, many, one_line, screen_width, short

MOMENTS = 20
"""Moments between two versions that are listed without --full."""
ELSEWHERE = ("/version", "/elapsed_ms", "/transcript/messages")
"""What is told in other words."""
BOOKKEEPING = ("/state/asked", "/state/context_tokens", "/transcript/asked", "/transcript/answers", "/transcript/heard")
"""What follows from the messages; shown with --full."""


def print_difference(db: Path, digits: str, m: str, n: str, *, full: bool, as_json: bool) -> None:
    """Print what changed in a run between two of its versions."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        found = diff(journal, run_id, version_of(journal, run_id, m), version_of(journal, run_id, n))
    if as_json:
        print_json(difference_shape(found))
        return
    width = screen_width()
    _heading(f"run {short(run_id)}, from version {found.m} to {found.n}: {many(len(found.moments), 'event')}")
    listed = found.moments if full else found.moments[:MOMENTS]
    for one in listed:
        click.echo(moment_line(one, width))
    if len(listed) < len(found.moments):
        click.echo(click.style(f"({len(found.moments) - len(listed):,} more; --full shows all)", dim=True))
    left = ELSEWHERE if full else ELSEWHERE + BOOKKEEPING
    _heading("state")
    _print_changes([one for one in found.changes if not one.path.startswith(left)], full)
    if found.unsaid:
        _heading(f"no longer in the conversation: {many(len(found.unsaid), 'message')}")
        print_messages(found.unsaid, full)
    if found.said:
        _heading(f"said: {many(len(found.said), 'message')}")
        print_messages(found.said, full)


def print_divergence(db: Path, digits_a: str, digits_b: str, *, full: bool, as_json: bool) -> None:
    """Print where two runs part."""
    with reading(db) as journal:
        run_a, run_b = find_run(journal, digits_a), find_run(journal, digits_b)
        found = diff_runs(journal, run_a, run_b)
    if as_json:
        print_json(divergence_shape(found))
        return
    if found.source:
        source = "the first" if found.source == run_a else "the second" if found.source == run_b else found.source
        _heading(f"both are the same up to version {found.common} of {source}")
    if found.given:
        _heading("started differently")
        _print_changes(found.given, full)
    since = (
        f"{many(found.alike, 'fact')} alike" if found.source else f"after the start {many(found.alike, 'fact')} alike"
    )
    if not found.parts:
        _heading(f"{since}, and nothing else that matters")
        return
    _heading(f"{since}; then")
    width = screen_width()
    for name, run_id, told in (("−", run_a, found.a), ("+", run_b, found.b)):
        line = _side(told, max(20, width - 12))
        click.echo(click.style(f"{name} {short(run_id)}", fg="red" if name == "−" else "green") + f"  {line}")
    if found.changes:
        _heading("what is different in it")
        _print_changes(found.changes, full)
    if found.calls or found.call_a or found.call_b:
        _print_calls(found, full)


def _print_calls(found: Divergence, full: bool) -> None:
    """The first tool calls that differ, whatever was said beside them."""
    if found.call_a is None and found.call_b is None:
        _heading(f"{many(found.calls, 'tool call')} asked for, the same in both")
        return
    _heading(f"{many(found.calls, 'tool call')} asked for alike; then")
    width = WIDE_ENOUGH if full else screen_width()
    for name, run_id, call in (("−", found.run_a, found.call_a), ("+", found.run_b, found.call_b)):
        line = click.style("no more", dim=True)
        if call is not None:
            line = cut(
                one_line(f"version {call.version}: {call.call} {call.name} {call.arguments}"), max(20, width - 12)
            )
        click.echo(click.style(f"{name} {short(run_id)}", fg="red" if name == "−" else "green") + f"  {line}")


def _side(told: Moment | None, width: int) -> str:
    return click.style("has no more", dim=True) if told is None else moment_line(told, width).lstrip()


def _heading(text: str) -> None:
    click.echo(click.style(one_line(text), bold=True))


def _print_changes(changes: Iterable[Change], full: bool) -> None:
    width = screen_width()
    none = True
    for one in changes:
        none = False
        path = one_line(one.path.removeprefix("/state").removeprefix("/").replace("/", ".") or "all")
        room = max(20, width - 4)
        if one.op == "replace":
            before, after = _value(one.before), _value(one.after)
            if full or len(path) + len(before) + len(after) + 8 <= width:
                was, now = click.style(before, fg="red"), click.style(after, fg="green")
                click.echo(f"  ~ {path}: {was} → {now}")
            else:
                click.echo(f"  ~ {path}")
                click.echo(click.style(f"    − {cut(before, room - 4)}", fg="red"))
                click.echo(click.style(f"    + {cut(after, room - 4)}", fg="green"))
        else:
            sign, colour, value = ("+", "green", one.after) if one.op == "add" else ("−", "red", one.before)
            line = f"{sign} {path}: {_value(value)}"
            click.echo("  " + click.style(line if full else cut(line, room), fg=colour))
    if none:
        click.echo(click.style("  (nothing else)", dim=True))


def _value(value: Any) -> str:
    return one_line(msgspec.json.encode(value).decode())


# ------------------------------------------------------------------ blame


def print_blame(db: Path, digits: str, path: str, version: str, *, full: bool, as_json: bool) -> None:
    """Print who wrote what stands at a place of a run's state."""
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        try:
            place = pointer(place_of(path))
        except ValueError as error:
            raise Misuse(f"blame: {error}") from None
        found = blame(journal, run_id, path, version_of(journal, run_id, version))
    if as_json:
        for write in found:
            print_json(write_shape(run_id, place, write))
        return
    if not found:
        click.echo(f"nothing ever changed {place}; look at its names with `executus at {short(run_id)} last --json`")
        return
    _heading(f"{place} of run {short(run_id)}")
    width = screen_width()
    for number, write in enumerate(found):
        by = f" by {write.by}" if write.by else ""
        head = f"{write.version:>5}  {write.tag}{by}"
        click.echo(f"{head}: {cut(one_line(write.title), max(20, width - len(head) - 2))}")
        if is_wide(write):
            _print_changes(write.changes, full)
            continue
        room = max(20, width - 9)
        for sign, colour, there, value in (
            ("−", "red", write.op == "remove" or (number == 0 and write.op == "replace"), write.before),
            ("+", "green", write.op != "remove", write.after),
        ):
            if there:
                text = _value(value)
                click.echo("       " + click.style(f"{sign} {text if full else cut(text, room)}", fg=colour))
