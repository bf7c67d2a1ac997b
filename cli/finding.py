"""`executus search`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from ..events import FACTS
from ..travel import Found, search
from .opening import find_run, reading
from .program import Misuse
from .shapes import print_json
from .travel_shapes import found_shape
from .words import cut, one_line, screen_width, short


def print_found(
    db: Path,
    text: str,
    *,
    tool: str,
    errors: bool,
    tag: str,
    runs: tuple[str, ...],
    after: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the events that match."""
    if tag and tag not in FACTS:
        raise Misuse(f"{one_line(tag)!r} is no kind of fact; there are {', '.join(sorted(FACTS))}")
    with reading(db) as journal:
        chosen = [find_run(journal, digits) for digits in runs] or None
        found = search(journal, text, tool=tool, errors=errors, tag=tag, run_ids=chosen, after=after)
        width = screen_width()
        none = True
        for one in islice(found, limit):
            none = False
            if as_json:
                print_json(found_shape(one))
            else:
                click.echo(_line(one, width))
        if none and not as_json:
            click.echo("nothing was found", err=True)
        elif limit is not None and next(found, None) is not None:
            click.echo(f"(the first {limit}; see more with --limit or --all)", err=True)


def _line(one: Found, width: int) -> str:
    head = f"{short(one.run_id)}  {one.version:>5}  {one.tag:<18}  "
    room = max(30, width - len(head))
    before, hit, after = one_line(one.before), one_line(one.hit), one_line(one.after)
    if one.before[-1:].isspace() and before:
        before += " "
    if one.after[:1].isspace() and after:
        after = " " + after
    hit = cut(hit, room)
    side = max(0, room - len(hit))
    if len(before) + len(after) > side:
        kept = max(side // 2, side - len(after))
        before = "…" + before[len(before) - kept + 1 :] if 1 < kept < len(before) else before if kept > 1 else ""
        after = cut(after, side - len(before))
    return (head + before + (click.style(hit, bold=True, fg="yellow") if hit else "") + after).rstrip()
