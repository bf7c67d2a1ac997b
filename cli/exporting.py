"""`executus export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from ..adapters.shapes import event_shape
from ..debugger.recorded import recorded_page
from ..errors import FileRefused
from ..journal import OutsideReader
from ..travel.reading import checked, head_of, pages
from .opening import find_run, reading
from .program import Failure, Misuse
from .shapes import print_json
from .showing import content_of
from .words import harmless, many

STDOUT: Final = Path("-")


def export_run(
    db: Path, digits: str, *, html: Path | None, jsonl: Path | None, first: int, last: int | None, as_json: bool
) -> None:
    """Write a run as a page, as lines, or both, and say what was written."""
    wanted = [one for one in (html, jsonl) if one is not None]
    if not wanted:
        raise Misuse(f"export: say what to write: executus export {digits} --html FILE, or --jsonl FILE")
    if html == jsonl:
        raise Misuse("export: --html and --jsonl cannot be the same file")
    with reading(db) as journal:
        run_id = find_run(journal, digits)
        try:
            to = checked(run_id, head_of(journal, run_id) if last is None else last, head_of(journal, run_id))
            if first > to:
                raise ValueError(f"there is nothing from event {first} to event {to}")
            if html is not None:
                _write(html, [recorded_page(journal, run_id, first, to)])
        except ValueError as error:
            raise Misuse(f"export: {error}") from error
        except FileRefused as error:
            raise Misuse(f"export: {error} with --from and --to, or write --jsonl, which has no limit") from error
        if jsonl is not None:
            _write(jsonl, _lines(journal, run_id, first, to))
        withheld = content_of(journal.read(run_id, to - 1, 1)) if STDOUT not in wanted else "clear"
    if STDOUT in wanted:
        return
    told = {"type": "export", "run": run_id, "from": first, "to": to, "content": withheld}
    if as_json:
        print_json(told | {"files": [{"file": str(one), "bytes": one.stat().st_size} for one in wanted]})
        return
    for one in wanted:
        size = one.stat().st_size
        shown = f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.1f} kB"
        click.echo(harmless(f"{many(to - first + 1, 'event')} of run {run_id} in {one} ({shown})"))
    if withheld in ("locked", "erased"):
        why = "was erased" if withheld == "erased" else "is sealed, and its key is not here"
        click.echo(f"what was said in the run {why}: the file has what stays readable", err=True)


def _lines(journal: OutsideReader, run_id: str, first: int, to: int) -> Iterator[bytes]:
    for page in pages(journal, run_id, first - 1, to):
        yield b"".join(msgspec.json.encode(event_shape(event)) + b"\n" for event in page)


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    """The whole file, or what was there before."""
    if file == STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            with half.open("xb") as out:
                out.writelines(pieces)
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}") from error
