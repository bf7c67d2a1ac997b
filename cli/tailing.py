"""`executus tail`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click

from ..events import Event
from ..journal import Subscription
from ..projections.telling import announce, tell
from .opening import find_run, reading
from .shapes import event_shape, print_json
from .words import coloured, cut, one_line, screen_width, short

PAGE = 1000


def tail_events(db: Path, digits: str | None, *, follow: bool, after: int | None, lines: int, as_json: bool) -> None:
    """Print events of one run or of all, from `after` or the last `lines` ones; with `follow`, go on as they come."""
    with reading(db) as journal:
        run_id = find_run(journal, digits) if digits is not None else None
        if after is None:
            if run_id is not None:
                summary = journal.run(run_id)
                head = summary.version if summary is not None else 0
            else:
                head = journal.head()
            after = max(0, head - lines)
        if follow:
            with Subscription(journal, run_id=run_id, after=after) as events:
                _print(events, as_json)
        elif run_id is not None:
            _print(journal.read(run_id, after), as_json)
        else:
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
