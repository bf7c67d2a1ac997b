"""`executus import`."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import click

from ..actors.run.asking import request_key_of
from ..adapters.recordings import Recording, facts_of, read_recordings
from ..adapters.system import SystemIds
from ..errors import ImportRefused, JournalError, RequestRepeated
from ..events import GENESIS, Fact
from ..events.codec import Stored, encode_event
from ..ports import Journal
from ..redaction import Redactor
from .opening import owning
from .program import OK, PROBLEM
from .shapes import print_json
from .words import harmless, many, one_line

CALLER = "import"
REDACTOR = Redactor()
"""Masks what shows as a secret by its shape or its name: a reader of somebody else's log has registered none."""
IN_FLIGHT = 64
"""Conversations that are being stored at once: enough to share commits, few enough to stay small."""
BIG_CHARACTERS = 4_000_000
"""A file from this size on gets a progress bar."""


class _Import:
    """One conversation on its way into the journal; `stored` gives None or the error."""

    def __init__(self, recording: Recording, run_id: str, events: list[Stored]) -> None:
        self.recording = recording
        self.run_id = run_id
        self.expected = 0
        self.stored: Sequence[Stored] = events
        self.request_key = request_key_of(CALLER, recording.digest)
        self.answer: Future[JournalError | None] = Future()

    def done(self, error: JournalError | None) -> None:
        """Told by the journal."""
        self.answer.set_result(error)


def import_file(db: Path, file: Path, *, error_prefix: str = "", as_json: bool) -> int:
    """Import the conversations of `file`; returns the exit code. error_prefix: what a tool's error begins with."""
    source = "standard input" if str(file) == "-" else file.name
    refused: ImportRefused | None = None
    new = known = events = 0
    try:
        text = _content(file, source)
    except ImportRefused as error:
        return _report(db, 0, 0, 0, error, as_json)
    with owning(db) as journal:
        imports = _stored(journal, _with_progress(read_recordings(text, source, error_prefix), len(text)))
        try:
            for one, run_id, is_new in imports:
                new, known = new + is_new, known + (not is_new)
                events += len(one.stored) if is_new else 0
                if as_json:
                    recording = one.recording
                    shape = {"type": "conversation", "conversation": recording.index, "id": recording.id}
                    print_json({**shape, "run": run_id, "new": is_new, "events": len(one.stored)})
        except ImportRefused as error:
            refused = error
    return _report(db, new, known, events, refused, as_json)


def _content(file: Path, source: str) -> str:
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ImportRefused(source, f"line {line}, byte {error.start}", "it is not text in UTF-8") from None


def _stored(journal: Journal, recordings: Iterator[Recording]) -> Iterator[tuple[_Import, str, bool]]:
    """(import, run id, whether it is new) of each conversation, when it is durable; also of those before a refusal."""
    ids = SystemIds()
    on_the_way: deque[_Import] = deque()
    refused: ImportRefused | None = None
    while True:
        try:
            recording = next(recordings, None)
            if recording is None:
                break
            one = _Import(recording, *_encoded(recording, ids.run_id(), journal))
        except ImportRefused as error:
            refused = error
            break
        journal.append(one)
        on_the_way.append(one)
        if len(on_the_way) >= IN_FLIGHT:
            yield _settled(on_the_way.popleft())
    while on_the_way:
        yield _settled(on_the_way.popleft())
    if refused is not None:
        raise refused


def _encoded(recording: Recording, run_id: str, journal: Journal) -> tuple[str, list[Stored]]:
    now_us = time.time_ns() // 1000
    events: list[Stored] = []
    previous = GENESIS
    seal = journal.seal(run_id, new=True)
    facts: list[Fact] = facts_of(recording, run_id, now_us, CALLER)
    for version, fact in enumerate(map(REDACTOR.struct, facts), 1):
        stored = encode_event(
            fact,
            run_id=run_id,
            version=version,
            previous=previous,
            at_us=now_us,
            elapsed_ms=0,
            cause=CALLER,
            epoch=journal.epoch,
            seal=seal,
        )
        previous = stored.event.hash
        events.append(stored)
    return run_id, events


def _settled(one: _Import) -> tuple[_Import, str, bool]:
    error = one.answer.result(60)
    if isinstance(error, RequestRepeated):
        return one, error.run_id, False
    if error is not None:
        raise error
    return one, one.run_id, True


def _with_progress(recordings: Iterator[Recording], characters: int) -> Iterator[Recording]:
    if characters < BIG_CHARACTERS or not sys.stderr.isatty():
        yield from recordings
        return
    with click.progressbar(length=characters, label="importing", file=sys.stderr) as bar:
        before = 0
        for recording in recordings:
            bar.update(recording.end - before)
            before = recording.end
            yield recording


def _report(db: Path, new: int, known: int, events: int, refused: ImportRefused | None, as_json: bool) -> int:
    if as_json:
        problem = {"place": refused.place, "why": refused.why} if refused is not None else None
        print_json({"type": "summary", "imported": new, "known": known, "events": events, "refused": problem})
    else:
        if new or refused is None:
            click.echo(f"imported {many(new, 'conversation')} ({many(events, 'event')}) into {db}")
        if known:
            click.echo(f"{many(known, 'conversation')} had been imported before; nothing was changed for them")
        if new:
            click.echo("look at them with: executus ps")
    if refused is None:
        return OK
    kept = f"{many(new + known, 'conversation')} before it {'is' if new + known == 1 else 'are'} kept"
    click.echo(f"executus: {harmless(one_line(str(refused)))}; {kept}", err=True)
    return PROBLEM
