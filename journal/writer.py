"""The one writer: a thread with one connection that stores everybody's appends, as many as wait in one transaction."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

from ..errors import Deposed, DiskFull, JournalError, JournalUnavailable, Overloaded
from ..events import Event
from ..events.codec import Stored
from ..ports import Append
from .aftermath import Unsure
from .batch import Heads, NotStored, Outcome, store
from .checkpoints import WalKeeper
from .chores import AnyChore
from .files import FileWatch
from .followers import Followers, acknowledge
from .keyring import Keyring
from .lease import Tenure
from .snapshots import Snapshot, snapshot_row
from .space import PROBE_S, Space

log = logging.getLogger("executus.journal")

BATCH_APPENDS = 2000
BATCH_BYTES = 8 << 20
"""A transaction takes no more than this, so that its commit stays short."""

IDLE_S = 1.0
"""Seconds without work after which the write-ahead log is emptied."""

LOOK_AGAIN_S = 0.05
LAST_LOOK_S = 2.0
"""Pause before a commit that failed to report is looked for again; it doubles, up to the last."""

GIVE_UP_MS = 500
"""How long a closing writer waits for another program that holds the write lock."""

WAITING_SNAPSHOTS = 8


class Nothing:
    """An append of nothing, which is answered as soon as a transaction has found this host the owner."""

    run_id, expected, request_key = str(UUID(int=0)), 0, ""
    stored: Sequence[Stored] = ()

    def __init__(self, told: Callable[[JournalError | None], None]) -> None:
        self._told = told

    def done(self, error: JournalError | None) -> None:
        """See `ports.Append`."""
        self._told(error)


class Writer:
    """Stores appends in the order they come. Thread-safe.

    connect: opens the write connection. watch: looks at the files, after the connection has written once. ended:
    called at the end, on the writer's thread, after its connection is closed.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        watch: Callable[[], FileWatch],
        ended: Callable[[], None],
        *,
        connection: sqlite3.Connection,
        tenure: Tenure,
        space: Space,
        page_bytes: int,
        followers: Followers,
        max_queued: int,
        keys: Keyring | None = None,
    ) -> None:
        self._connect = connect
        self._make_watch = watch
        self._ended = ended
        self._connection: sqlite3.Connection | None = connection
        self._watch = watch()
        self._tenure = tenure
        self._space = space
        self._followers = followers
        self._max_queued = max_queued
        self._keys = keys
        self._wal = WalKeeper(page_bytes, self._watch.check(), space.wal_bytes)
        self._wake = threading.Condition(threading.Lock())
        self._queue: deque[Append] = deque()
        self._snapshots: deque[Snapshot] = deque(maxlen=WAITING_SNAPSHOTS)
        self._chores: deque[AnyChore] = deque()
        self._idle = False
        self._closing = False
        self._broken: JournalError | None = None
        self._told_of_stop: Callable[[JournalError], None] | None = None
        self._heads: Heads = {}
        self._news: list[Event] = []
        """What is stored and not yet told to followers, in order."""
        self._unsure: Unsure | None = None
        """A commit that failed to report, and that nobody has looked for yet: followers are told nothing before."""
        self._pause_s = LOOK_AGAIN_S
        self.finished = threading.Event()
        self._thread = threading.Thread(target=self._work, name="executus-journal", daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- from any thread

    def put(self, append: Append) -> None:
        """Queue an append; see `ports.Journal.append` for what it raises."""
        with self._wake:
            if self._closing:
                raise JournalUnavailable("the journal is closed")
            if len(self._queue) >= self._max_queued:
                raise Overloaded("appends waiting for the disk", self._max_queued, "max_queued of open_journal")
            self._queue.append(append)
            if self._idle:
                self._idle = False
                self._wake.notify()

    def put_snapshot(self, snapshot: Snapshot) -> None:
        """Store a snapshot when there is nothing better to do; of too many, the oldest are dropped."""
        with self._wake:
            if not self._closing:
                self._snapshots.append(snapshot)
                self._idle = False
                self._wake.notify()

    def put_chore(self, chore: AnyChore) -> None:
        """Do `chore` between two batches.

        Raises:
            JournalUnavailable: the journal is closed.
        """
        with self._wake:
            if self._closing:
                raise JournalUnavailable("the journal is closed")
            self._chores.append(chore)
            self._idle = False
            self._wake.notify()

    def end(self) -> None:
        """Take no more; store what is queued, then close. `finished` is set when that is done."""
        with self._wake:
            self._closing = True
            self._idle = False
            self._wake.notify()

    def when_stopped(self, told: Callable[[JournalError], None]) -> None:
        """See `SqliteJournal.when_stopped`."""
        with self._wake:
            self._told_of_stop = told
            broken = self._broken
        if broken is not None:  # it stopped before anybody asked
            self._say_stopped()

    def is_current_thread(self) -> bool:
        """Whether the caller runs on the writer's own thread."""
        return threading.current_thread() is self._thread

    def everything(self) -> list[object]:
        """What must not be destroyed in a forked child."""
        return [self._connection, self._thread]

    # -------------------------------------------------------------- on the writer's thread

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                if batch:
                    self._settle(batch, self._store(batch))
                self._tidy(idle=not batch)
        finally:
            self._close()

    def _next(self) -> list[Append] | None:
        """The next appends, as many as wait and fit one transaction; [] for time to tidy; None at the end."""
        with self._wake:
            queue = self._queue
            if not queue and not self._closing and not self._snapshots and not self._chores:
                self._idle = True
                while self._idle:
                    if not self._wake.wait(self._patience_s()):
                        self._idle = False
            if not queue:
                return None if self._closing and not self._chores else []
            batch: list[Append] = []
            size = 0
            while queue and len(batch) < BATCH_APPENDS and size < BATCH_BYTES:
                append = queue.popleft()
                batch.append(append)
                size += _content_bytes(append)
            self._batch_bytes = size
            return batch

    def _patience_s(self) -> float | None:
        """How long to wait for work before there is something to tidy."""
        if self._broken is not None:
            return None
        if self._connection is None:
            return self._pause_s
        renewal_s = self._tenure.due_in()
        if self._space.pauses:
            return min(PROBE_S, renewal_s)
        return min(IDLE_S, renewal_s) if self._wal.dirty else renewal_s

    def _store(self, batch: list[Append], *, again: bool = False) -> list[Outcome]:
        """Store `batch`; every append gets an answer, whatever happens. again: it failed before, in company."""
        if self._broken is not None:
            return [self._broken] * len(batch)
        try:
            outcomes = self._transaction(batch)
        except Deposed as error:
            self._stop(error)
            return [error] * len(batch)
        except NotStored as error:
            if error.mine and not again:  # one of them is poison: find it without failing the others
                return [outcome for append in batch for outcome in self._store([append], again=True)]
            if error.mine:
                return [JournalUnavailable(f"this append cannot be stored: {error.cause!r}")]
            self._drop()
            return self._all_failed(batch, error.cause)
        except Unsure as unsure:
            self._drop()
            self._unsure, self._pause_s = unsure, LOOK_AGAIN_S
            return self._all_failed(batch, unsure.cause)
        except Exception as error:
            self._drop()
            return self._all_failed(batch, error)
        try:
            size = self._watch.check()
        except (JournalUnavailable, OSError) as error:
            broken = error if isinstance(error, JournalUnavailable) else JournalUnavailable(str(error))
            self._stop(broken)
            return [broken] * len(batch)
        self._space.wrote()
        self._wal.wrote(self._batch_bytes, len({append.run_id for append in batch}), size)
        if self._followers:
            self._news += [
                stored.event
                for append, outcome in zip(batch, outcomes, strict=True)
                if outcome is None
                for stored in append.stored
            ]
        return outcomes

    def _transaction(self, batch: list[Append]) -> list[Outcome]:
        keep_keys = None if self._keys is None else self._keys.store
        return store(self._connected(), self._tenure, batch, self._heads, keep_keys)

    def _connected(self) -> sqlite3.Connection:
        """The connection, opened again after a failure; by then followers know what became of the last commit."""
        if self._connection is None:
            self._connection = self._connect()
            self._watch = self._make_watch()
        unsure = self._unsure
        if unsure is not None:
            if not self._tenure.held:  # what looks also checkpoints, and only the owner may
                self._tenure.renew_alone(self._connection)
            stored = unsure.was_stored(self._connection)
            self._unsure = None
            if stored:
                log.warning("%d events are stored whose commit had reported a failure", len(unsure.events))
                self._news += unsure.events
        return self._connection

    def _ready(self) -> bool:
        """See that there is a connection and that the lease holds; whether that went well. What became of a commit
        that failed to report is found out with it, without waiting for the next one.
        """
        try:
            connection = self._connected()
            if self._tenure.due or self._space.full:
                self._tenure.renew_alone(connection)
                self._wal.rewrote()
                self._space.wrote()
        except Deposed as error:
            self._stop(error)
            return False
        except Exception as error:
            if not self._space.failed(error):
                log.warning("the journal cannot be written now: %s", error)
            self._pause_s = min(self._pause_s * 2, LAST_LOOK_S)
            self._drop()
            return False
        finally:
            self._tell()
        self._pause_s = LOOK_AGAIN_S
        return True

    def _all_failed(self, batch: list[Append], error: Exception) -> list[Outcome]:
        if self._space.failed(error):
            return [DiskFull(self._space.path, self._space.pauses)] * len(batch)
        log.error("the journal could not store %d appends: %s", len(batch), error)
        return [JournalUnavailable(f"the journal could not store this now: {error}")] * len(batch)

    def _stop(self, error: JournalError) -> None:
        log.critical("the journal stops: %s", error)
        self._broken = error
        self._say_stopped()

    def _say_stopped(self) -> None:
        told, self._told_of_stop = self._told_of_stop, None
        if told is not None and self._broken is not None:
            try:
                told(self._broken)
            except BaseException:
                log.exception("telling that the journal stopped failed")

    def _drop(self) -> None:
        """Throw the connection away: what it thinks of its transaction is worth nothing after a failure."""
        connection, self._connection = self._connection, None
        if connection is not None:
            for what in (connection.rollback, connection.close):
                try:
                    what()
                except Exception as error:
                    log.warning("the journal's failed connection: %s", error)

    def _settle(self, batch: list[Append], outcomes: list[Outcome]) -> None:
        for append, outcome in zip(batch, outcomes, strict=True):
            if self._keys is not None and outcome is not None and append.expected == 0:
                self._keys.forget(append.run_id)
            acknowledge(append, outcome)
        self._tell()

    def _tell(self) -> None:
        """Tell followers what is stored and new."""
        if self._news:
            news, self._news = self._news, []
            self._followers.tell(news)

    def _tidy(self, *, idle: bool) -> None:
        """Chores between batches: snapshots when idle, checkpoints when due."""
        if self._chores:
            self._do(self._chores.popleft())
        if self._broken is not None:
            self._snapshots.clear()
            return
        self._space.look()
        if not idle and self._connection is not None and not (self._wal.due or self._tenure.due or self._space.tight):
            return
        spare = idle or self._space.tight  # the log's file is room that is needed
        if not self._ready() or self._space.full:
            return
        try:
            if idle and self._snapshots:
                self._keep_snapshot(self._snapshots.popleft())
            elif self._connection is not None and (self._wal.due or (spare and self._wal.dirty)):
                self._wal.checkpoint(self._connection, empty=spare)
        except Exception as error:
            if isinstance(error, Deposed):
                self._stop(error)
            elif not self._space.failed(error):
                log.warning("the journal's chores: %s", error)
            self._drop()

    def _do(self, chore: AnyChore) -> None:
        """Do one chore; whoever waits for it is told, whatever happens."""
        if self._broken is not None:
            chore.fail(self._broken)
            return
        try:
            chore.perform(self._connected(), self._tenure.check)
            self._wal.wrote(chore.size, 1, self._watch.check())
        except Deposed as error:
            self._stop(error)
        except Exception as error:
            chore.fail(error)
            log.warning("the journal's chores: %s", error)
            self._drop()
        self._tell()

    def _keep_snapshot(self, snapshot: Snapshot) -> None:
        connection = self._connection
        if connection is None:
            return
        row = snapshot_row(snapshot)
        connection.execute("BEGIN IMMEDIATE")
        self._tenure.check(connection)
        connection.execute("DELETE FROM snapshots WHERE originator_id = ?", (row[0],))
        connection.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?)", row)
        connection.execute("COMMIT")
        self._wal.wrote(len(row[3]), 1, 0)

    def _close(self) -> None:
        with self._wake:
            self._closing = True
            left = list(self._queue)
            self._queue.clear()
            undone = list(self._chores)
            self._chores.clear()
        for chore in undone:
            chore.fail(JournalUnavailable("the journal is closed"))
        if left:  # only after a bug in this file; nobody may wait for ever
            self._settle(left, [JournalUnavailable("the journal's writer stopped")] * len(left))
        connection, self._connection = self._give_up(), None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                log.warning("the journal's write connection at its end: %s", error)
        try:
            self._ended()
        finally:
            self.finished.set()

    def _give_up(self) -> sqlite3.Connection | None:
        """Let the next host begin at once, and leave it an empty log; return the connection, if there is one."""
        if self._broken is not None or not ((self._connection is not None and self._tenure.held) or self._ready()):
            return self._connection
        assert self._connection is not None
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {GIVE_UP_MS}")
            if self._tenure.give_up(self._connection):
                self._wal.checkpoint(self._connection, empty=True)
        except Exception as error:
            log.warning("the journal could not be given up in peace: %s", error)
        return self._connection


def _content_bytes(append: Append) -> int:
    size = 0
    try:
        for stored in append.stored:
            size += len(stored.state)
            if stored.blob is not None:
                size += len(stored.blob[1])
    except Exception:  # something that is no append: it is refused, with the reason, when it is to be stored
        return 0
    return size
