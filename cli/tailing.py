"""`executus tail`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import click

from ..events import Event
from ..ports import Journal
from ..projections.telling import announce, tell
from .opening import find_run, reading
from .reaching import Target, reached
from .shapes import event_shape, print_json
from .words import coloured, cut, one_line, screen_width, short

PAGE = 1000


def tail_events(
    target: Target, digits: str | None, *, follow: bool, after: int | None, lines: int, as_json: bool
) -> None:
    """Print events of one run or of all, from `after` or the last `lines` ones; with `follow`, go on as they come."""
    if not follow and not target.host:
        with reading(target.db) as journal:  # the file tells it without asking anybody
            _tail(journal, digits, after, lines, as_json)
        return
    with reached(target) as attached:
        if not follow:
            _tail(attached.journal, digits, after, lines, as_json)
            return
        run_id, after = _from(attached.journal, digits, after, lines)
        with attached.follow(run_id, since=after) as events:
            _print(events, as_json)


def _from(journal: Journal, digits: str | None, after: int | None, lines: int) -> tuple[str | None, int]:
    run_id = find_run(journal, digits) if digits is not None else None
    if after is not None:
        return run_id, after
    if run_id is not None:
        summary = journal.run(run_id)
        head = summary.version if summary is not None else 0
    else:
        head = journal.head()
    return run_id, max(0, head - lines)


def _tail(journal: Journal, digits: str | None, after: int | None, lines: int, as_json: bool) -> None:
    run_id, after = _from(journal, digits, after, lines)
    if run_id is not None:
        _print(journal.read(run_id, after), as_json)
        return
    while page := journal.scan(after, PAGE):
        _print(page, as_json)
        after = page[-1].position


def _print(events: Iterable[Event], as_json: bool) -> None:
    width = screen_width()
    for event in events:
        if as_json:
            print_json(event_shape(event))
        else:
            click.echo(_line(event, width))


def _line(event: Event, width: int) -> str:
    at = datetime.fromtimestamp(event.at_us / 1e6, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    head = f"{at}  {short(event.run_id)}  {event.version:>4}  "
    tag = f"{event.tag:<18}"
    told = "; ".join(f"{line.label.strip()}: {line.text[:2000]}" for line in tell(event.fact))
    text = cut(one_line(told or announce(event.fact)), max(10, width - len(head) - len(tag) - 2))
    status = getattr(event.fact, "status", None)
    return (head + (coloured(status, tag) if status else tag) + "  " + text).rstrip()
