"""What journal tests share: a run that writes itself, appends that can be waited for, faulty connections."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest

from executus.errors import JournalError
from executus.events import (
    GENESIS,
    AgentPrint,
    Event,
    Fact,
    Limits,
    NoteLogged,
    RunFinished,
    RunInfo,
    RunStarted,
    RunStats,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolStarted,
)
from executus.events.codec import Stored, encode_event
from executus.journal import sqlite as sqlite_module
from executus.ports import Journal

PATIENCE_S = 30.0
"""How long a test waits for what must come."""


class Sent:
    """An append whose answer can be waited for."""

    def __init__(self, run_id: str, expected: int, stored: Sequence[Stored], request_key: str = "") -> None:
        self.run_id, self.expected, self.stored, self.request_key = run_id, expected, stored, request_key
        self.answers: list[JournalError | None] = []
        self._answered = threading.Event()

    def done(self, error: JournalError | None) -> None:
        self.answers.append(error)
        self._answered.set()

    def answer(self) -> JournalError | None:
        """Wait for the answer and return it."""
        assert self._answered.wait(PATIENCE_S), "never acknowledged"
        return self.answers[0]

    def ok(self) -> list[Event]:
        """Wait; the append must have been stored."""
        error = self.answer()
        if error is not None:
            raise error
        return [one.event for one in self.stored]


def started(run_id: str) -> RunStarted:
    return RunStarted(
        info=RunInfo(run_id=run_id, name="test"),
        agent=AgentPrint(name="tester", model="scripted", instructions="be brief"),
        limits=Limits(),
        input=(Text("go"),),
    )


def note(number: int = 0, text: str = "") -> NoteLogged:
    return NoteLogged(type="test", payload={"number": number, "text": text})


def finished() -> RunFinished:
    return RunFinished(stats=RunStats(status="ok", output="done"), by="model")


def step(number: int, text: str = "thinking") -> list[Fact]:
    """The four facts of a step with one tool call."""
    call = f"{number}.0"
    return [
        StepStarted(step=number, model="scripted"),
        StepCompleted(step=number, reply=(Text(text), ToolCall("c", "look", "{}"))),
        ToolStarted(call=call, name="look", effect="pure"),
        ToolFinished(call=call, result=text),
    ]


class RunLog:
    """One run as its owner writes it: knows the version and hash it stands at."""

    def __init__(self, journal: Journal, run_id: str | None = None) -> None:
        self.journal = journal
        self.run_id = run_id or str(uuid4())
        self.version = 0
        self.hash = GENESIS
        self.events: list[Event] = []

    def encode(self, *facts: Fact) -> list[Stored]:
        """The next events, without moving on."""
        out: list[Stored] = []
        version, previous = self.version, self.hash
        for fact in facts:
            version += 1
            stored = encode_event(
                fact,
                run_id=self.run_id,
                version=version,
                previous=previous,
                at_us=1_700_000_000_000_000 + version,
                elapsed_ms=version * 10,
                cause="test",
                epoch=self.journal.epoch,
            )
            previous = stored.event.hash
            out.append(stored)
        return out

    def send(self, *facts: Fact, request_key: str = "") -> Sent:
        """Append `facts` and move on as if it went well, as an actor does."""
        return self.send_stored(self.encode(*facts), request_key=request_key)

    def send_stored(self, stored: Sequence[Stored], request_key: str = "") -> Sent:
        sent = Sent(self.run_id, self.version, stored, request_key)
        if stored:
            self.version, self.hash = stored[-1].event.version, stored[-1].event.hash
            self.events += [one.event for one in stored]
        self.journal.append(sent)
        return sent

    def write(self, *facts: Fact, request_key: str = "") -> list[Event]:
        """Append `facts` and wait until they are durable."""
        return self.send(*facts, request_key=request_key).ok()

    def start(self) -> RunLog:
        self.write(started(self.run_id))
        return self


def a_run(journal: Journal, notes: int = 0) -> RunLog:
    """A run with a start and some notes, stored."""
    run = RunLog(journal).start()
    if notes:
        run.write(*(note(number) for number in range(notes)))
    return run


class FaultyConnection:
    """A connection that does `fault` before the statements that `picks` picks; everything else is SQLite's."""

    def __init__(self, real: sqlite3.Connection, picks: Callable[[str], bool], fault: Callable[[str], None]) -> None:
        self._real, self._picks, self._fault = real, picks, fault

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self._picks(sql):
            self._fault(sql)
        return self._real.execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self._picks(sql):
            self._fault(sql)
        return self._real.executemany(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def disk_error(sql: str) -> None:
    """What SQLite raises when the disk fails."""
    error = sqlite3.OperationalError(f"disk I/O error at {sql.split()[0]}")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise error


class Faults:
    """Faults that a journal's write connections meet. `due(sql)` decides, statement by statement."""

    def __init__(self) -> None:
        self.due: Callable[[str], bool] = lambda _: False
        self.fault: Callable[[str], None] = disk_error
        self.opened = 0
        self.last: sqlite3.Connection | None = None

    @classmethod
    def planted(cls, monkeypatch: pytest.MonkeyPatch) -> Faults:
        """In every write connection that is opened from now on."""
        made, real_open = cls(), sqlite_module.open_for_writing

        def open_for_writing(path: str) -> FaultyConnection:
            made.opened += 1
            made.last = real_open(path)
            return FaultyConnection(made.last, lambda sql: made.due(sql), lambda sql: made.fault(sql))

        monkeypatch.setattr(sqlite_module, "open_for_writing", open_for_writing)
        return made

    def commit_then_fail(self, sql: str) -> None:
        """A fault at COMMIT: it works, and reports a failure."""
        assert self.last is not None
        self.last.execute("COMMIT")
        disk_error(sql)
