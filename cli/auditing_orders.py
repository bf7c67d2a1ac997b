"""`executus audit --orders`: what other processes asked of a host, and what became of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from ..journal.order_book import orders_path, read_orders
from ..ports.orders import KeptOrder
from .moments import moment_us
from .opening import find_run, reading
from .shapes import iso, print_json
from .words import coloured, columns, cut, moment, one_line, short

HEADINGS = ["AT", "WHO", "FROM", "ORDER", "RUN", "FATE", "TOLD"]
COLOURS = {"done": "ok", "under way": "running", "unknown": "waiting"}
WORDS_WIDTH = 160


def audit_orders(
    db: Path, digits: str | None, *, since: str | None, until: str | None, limit: int | None, as_json: bool
) -> None:
    """Print what is kept of orders, oldest first; at most the `limit` newest ones."""
    from_us, to_us = moment_us("--since", since), moment_us("--until", until)
    run_id = None
    with reading(db) as journal:  # a journal has to be there
        if digits is not None:
            run_id = find_run(journal, digits)
        where = journal.path
    chosen: deque[KeptOrder] = deque(maxlen=limit)
    number = 0
    for one in _kept(where):
        wanted = run_id is None or one.run == run_id
        if wanted and (from_us is None or one.at_us >= from_us) and (to_us is None or one.at_us < to_us):
            chosen.append(one)
            number += 1
    if as_json:
        for one in chosen:
            print_json(_shape(one))
        return
    if not chosen:
        click.echo(
            f"no orders are kept in {orders_path(db)}" + (" that were asked for" if number == 0 else ""), err=True
        )
        return
    for index, cells in enumerate(columns([HEADINGS, *map(_cells, chosen)])):
        if index:
            fate = chosen[index - 1].fate
            cells[5] = coloured(COLOURS.get(fate, fate), cells[5])
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))
    if number > len(chosen):
        click.echo(f"(the newest {limit}; see more with --limit or --all)", err=True)


def _kept(where: str) -> Iterator[KeptOrder]:
    after = 0
    while page := read_orders(where, after):
        yield from page
        after = page[-1].number


def _cells(one: KeptOrder) -> list[str]:
    who = f"{one.grant}:{one.by}" if one.by else one.grant or "?"
    told = one.told if not one.kind else f"{one.kind}: {one.told}"
    if one.times > 1:
        told = f"{one.times} times, {told}"
    return [
        moment(one.at_us),
        cut(one_line(who), 24),
        cut(one_line(one.peer), 24),
        one_line(one.ask) or "?",
        short(one.run),
        one.fate,
        cut(one_line(told), WORDS_WIDTH),
    ]


def _shape(one: KeptOrder) -> dict[str, object]:
    return {
        "type": "outside-order",
        "number": one.number,
        "id": one.id,
        "at": iso(one.at_us),
        "grant": one.grant,
        "role": one.role,
        "by": one.by,
        "peer": one.peer,
        "ask": one.ask,
        "run": one.run,
        "fate": one.fate,
        "kind": one.kind,
        "told": one.told,
        "times": one.times,
    }
