"""`executus backup`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import click

from ..journal import back_up
from .opening import reading
from .shapes import print_json
from .words import harmless

MANY_BYTES = 200_000_000


def back_up_journal(db: Path, file: Path, *, as_json: bool) -> None:
    """Copy the journal and say what was made."""
    with reading(db) as journal, _progress(db) as tick:
        done = back_up(journal, file, tick=tick)
    sizes = {one: one.stat().st_size for one in done.files}
    if as_json:
        made = [{"file": str(one), "bytes": size} for one, size in sizes.items()]
        print_json({"type": "summary", "position": done.position, "files": made})
        return
    for one, size in sizes.items():
        click.echo(harmless(f"{one} ({size / 1e6:,.1f} MB)"))
    click.echo(f"everything up to position {done.position}; check it with `executus verify --db {harmless(str(file))}`")
    for ending, what in ((".keys", "keys, without which sealed content cannot be read"), ("-artifacts", "artifacts")):
        beside = db.with_name(db.name + ending)
        if beside.exists():
            click.echo(harmless(f"not copied: {beside.name} ({what})"), err=True)


@contextmanager
def _progress(db: Path) -> Generator[Callable[[int, int], None]]:
    if db.stat().st_size < MANY_BYTES or not sys.stderr.isatty():
        yield lambda done, all_: None
        return
    with click.progressbar(length=1000, label="copying", file=sys.stderr) as bar:
        yield lambda done, all_: bar.update(done * 1000 // max(1, all_) - bar.pos)
