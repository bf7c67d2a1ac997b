"""The port to the event store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from ..errors import JournalError
from ..events import Event, Seal, Withheld
from ..events.codec import Stored
from ..projections import Checkpoint


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run's row in the journal's index. version, position: of its newest event. over: a terminal fact is in."""

    run_id: str
    version: int
    first_position: int
    position: int
    over: bool
    hash: bytes


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not over, and its first event, or why that cannot be read."""

    summary: RunSummary
    first: Event | None = None
    problem: JournalError | None = None


QUARANTINE_AFTER = 3
"""Failed attempts to take a run up, in a row, after which it is not tried again until somebody says so."""

Standing: TypeAlias = Literal["trying", "failed", "waiting"]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands that a host should take up, kept in the store from before each attempt until it has succeeded.

    standing: an attempt is under way (or the host died in it), or the last one failed while the host lived, or it is
    not tried, for the reason `why`. attempts: those held against the run: it raised, or it alone was being taken up
    when the host died; one under way counts. company: how many runs were being taken up together in the attempt whose
    end nobody saw, this one included; 0 if there is none such. version: of the run when that attempt began. at_us: wall
    clock of the last change.
    """

    run_id: str
    standing: Standing
    attempts: int = 0
    company: int = 0
    version: int = 0
    at_us: int = 0
    why: str = ""

    @property
    def quarantined(self) -> bool:
        """Whether the run was set aside: for good until somebody says so, or by the last host that tried."""
        return self.standing == "failed" or self.attempts >= QUARANTINE_AFTER


def request_key_of(caller: str, request_id: str) -> str:
    """The key under which a journal remembers a request: request ids are a caller's own."""
    return f"{caller}\n{request_id}" if request_id else ""


class Append(Protocol):
    """One append on its way: facts of one run, in order, that are stored together or not at all.

    expected: the run's version before it. stored: the encoded events, versions expected+1, expected+2, …
    request_key: on a run's first append, the caller-scoped key of promise P3, or "".
    `done` is called exactly once, on a thread of the journal, never under a lock: with None after the commit is
    durable (by then the events carry their positions), or with the error. After an error other than `JournalConflict`,
    `RequestRepeated` and `Deposed` it is unknown what was stored: read again.
    """

    run_id: str
    expected: int
    stored: Sequence[Stored]
    request_key: str

    def done(self, error: JournalError | None) -> None:
        """Told once how it went."""
        ...


class Follower(Protocol):
    """Told what was committed, after it was: batches in order of position. Must return at once and never raise."""

    def __call__(self, events: Sequence[Event], /) -> None:
        """Take note of `events`."""
        ...


class Journal(Protocol):
    """The event store. Thread-safe. Append-only: positions grow and are never reused; readers see what is durable."""

    @property
    def epoch(self) -> int:
        """The ownership under which this journal appends; one higher at every opening by an owner."""
        ...

    @property
    def held(self) -> bool:
        """Whether nobody else can own this journal by now. False when this host has stood still for longer than its
        lease, until it has renewed it: what it has stored may be somebody else's to act on, so `confirm` first.
        """
        ...

    def short(self, run_id: str) -> str:
        """Why nothing new is to be begun for a run: what it leads to may find no room on the disk. "" if there is."""
        ...

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        """Look whether this host still owns the journal, inside a transaction; then call `told` once, on a thread of
        the journal, as `Append.done`.

        Raises:
            JournalUnavailable, Overloaded: as `append`; `told` is then not called.
        """
        ...

    def append(self, append: Append) -> None:
        """Queue an append; returns at once.

        Raises:
            JournalUnavailable: the journal is closed; `done` is then not called.
            Overloaded: its queue is full; `done` is then not called.
        """
        ...

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """With what the run's next events are encoded; None: in the clear. new: it has no events yet, and gets a key if
        this journal seals. root: of its family. files: for what the run stores elsewhere, which is sealed also when its
        events are in memory only. It does not wait for the disk for a new run, nor for one that was asked for before.
        """
        ...

    def read(self, run_id: str, after: int = 0, limit: int | None = None, *, verify: bool = False) -> list[Event]:
        """The run's events with version > `after`, in order; at most `limit`. `verify` checks the hash chain.

        Raises:
            UnknownRun: no such run.
            LogCorrupt: an event does not decode, is missing, or (with `verify`) the chain is broken.
        """
        ...

    def load(self, run_id: str) -> Checkpoint:
        """The fold of all the run's events, from the newest usable snapshot and the events after it.

        Raises:
            UnknownRun, LogCorrupt, UnknownFact: as `read`.
        """
        ...

    def scan(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events of all runs with position > `after`, in order of position; at most `limit`. One whose bytes do not
        decode comes as `Opaque` with schema -1, so that a reader can go on past it.
        """
        ...

    def head(self) -> int:
        """The highest position, 0 when empty."""
        ...

    def runs(self, *, unfinished: bool = False, after: int = 0, limit: int | None = None) -> list[RunSummary]:
        """Rows of the index by first position, ascending, with first position > `after`."""
        ...

    def run(self, run_id: str) -> RunSummary | None:
        """The row of one run, or None."""
        ...

    def find_request(self, request_key: str) -> str | None:
        """The run that a request key started, or None."""
        ...

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        """The runs that are not over, by first position, ascending, with first position > `after`."""
        ...

    def recoveries(self) -> list[Recovery]:
        """What is kept of attempts to take runs up that have not succeeded."""
        ...

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """Store each of `kept` in place of what is known of its run, and forget the runs `dropped`, in one transaction;
        returns at once. `done` is called once, on a thread of the journal, after it is durable or has failed.

        Raises:
            JournalUnavailable: the journal is closed; `done` is then not called.
        """
        ...

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Tell `follower` of every commit from now on; returns the function that ends it."""
        ...

    def close(self, timeout: float = 10.0) -> bool:
        """Store what is queued, then let go. Returns False if that took longer than `timeout` seconds."""
        ...
