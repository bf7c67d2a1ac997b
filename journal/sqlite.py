"""The journal in an SQLite file: one host writes, durable before acknowledged; its threads read beside the writer."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import DiskFull, ForkedProcess, JournalError, JournalInUse, JournalUnavailable, JournalUnreadable
from ..events import Seal, Withheld
from ..events.codec import run_id_bytes, sealed_blob
from ..ports import Append, Encryption, Follower, Recovery
from ..projections import Checkpoint
from . import files, forks
from .archive import Archive
from .checkpoints import BUSY_MS, WAL_BYTES
from .chores import Chore
from .followers import Followers
from .keyring import Keyring, hosted_keyring
from .layout import (
    APPLICATION_ID,
    EVENTS_TABLE,
    PAGE_BYTES,
    TABLE_NAMES,
    check_sqlite,
    missing_tables,
    upgrade_statements,
)
from .lease import READ_OWNER, Tenure, owner_of
from .outside import OutsideReader
from .place import Boot, this_boot
from .reading import LogReader
from .recorder import EventsRecorder, ReadConnections, ReadStore, create_statements
from .recoveries import keep_recoveries
from .snapshots import WORTH_IT, Snapshot
from .space import Space, is_full
from .writer import Nothing, Writer

log = logging.getLogger("executus.journal")

T = TypeVar("T")


def open_for_writing(path: str) -> sqlite3.Connection:
    """The write connection: every commit is on the disk when it returns (P1), and nothing checkpoints behind our back.

    Raises:
        sqlite3.Error: it cannot be opened, or not in this mode.
    """
    connection = sqlite3.connect(
        Path(path).as_uri() + "?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
    )
    try:
        execute = connection.execute
        execute("PRAGMA trusted_schema = OFF")
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA fullfsync = ON")  # macOS: through the drive's own cache
        execute("PRAGMA checkpoint_fullfsync = ON")
        execute("PRAGMA cache_size = -16384")
        execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten: snapshots, and what is erased
        mode = execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal" or execute("PRAGMA synchronous").fetchone()[0] != 2:
            raise sqlite3.OperationalError(f"write-ahead logging is not on: journal mode {mode!r}")
        execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        return connection
    except BaseException:
        connection.close()
        raise


def open_for_reading(path: str) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    connection = sqlite3.connect(
        Path(path).as_uri() + "?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def create_file(path: str) -> None:
    """Put an empty journal at `path`: built beside it, then renamed, so that a crash leaves all of it or nothing.

    Raises:
        OSError, sqlite3.Error: it could not be built.
    """
    new = path + ".new"
    with suppress(FileNotFoundError):
        Path(new).unlink()
    files.create_private(new)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in (*create_statements(), *upgrade_statements(1)):
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    Path(new).rename(path)
    files.sync_directory(str(Path(path).parent))


def switch_to_wal(path: str) -> None:
    """Put a journal that was restored from `VACUUM INTO` back into write-ahead mode; the guard would forbid it."""
    connection = sqlite3.connect(Path(path).as_uri() + "?mode=rw", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


class SqliteJournal(LogReader):
    """A `Journal` in the file `path`, of which this process is the one host until `close`.

    max_queued: appends that may wait for the disk. keep_free_bytes: see `space.Space`. Missing directories are created
    for their owner alone, and so are the files. After a failed commit the connection is reopened by itself. encryption:
    new runs are sealed, and sealed ones opened; their keys are in `PATH.keys`.

    Raises:
        JournalInUse: another host, or this process, has it open, or its lease has not run out and it may live.
        JournalTooNew, JournalUnreadable: it is no journal of ours; nothing was changed.
        KeyRefused, KeysMissing: the host's key does not fit, or the keys are gone; nothing was changed.
        DiskFull: there is no room to begin.
        ForkedProcess: this process was forked while a journal was open.
        JournalError: the linked SQLite is too old.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_queued: int = 100_000,
        encryption: Encryption | None = None,
        keep_free_bytes: int | None = None,
    ) -> None:
        forks.check()
        check_sqlite()
        self.path = files.resolve(path)
        self._forked = False
        self._encryption = encryption
        self.keyring: Keyring | None = None
        self._lock = files.HostLock(self.path)
        self._guard = self._index_guard = -1
        self._tenure = Tenure(0, Boot())
        try:
            self._own()
            connection = self._take_over()
            self._index_guard = files.hold_index(self.path)
        except BaseException:
            self._let_go()
            raise
        self._followers = Followers()
        self._connections = ReadConnections(self.path, lambda: open_for_reading(self.path))
        self._space = Space(self.path, keep_free_bytes)
        super().__init__(self._ask, Archive.of(self.path, OutsideReader))
        self.recorder = EventsRecorder(ReadStore(self._connections), EVENTS_TABLE)
        self._writer = Writer(
            lambda: open_for_writing(self.path),
            lambda: files.FileWatch(self.path),
            self._writer_ended,
            connection=connection,
            tenure=self._tenure,
            space=self._space,
            page_bytes=PAGE_BYTES,
            followers=self._followers,
            max_queued=max_queued,
            keys=self.keyring,
        )
        forks.register(self)

    # -------------------------------------------------------------- opening

    def _own(self) -> None:
        """Take the host lock and the guard, creating the file if there is none. What is not ours stays as it is."""
        self._lock.take(create=False)
        header = None
        if Path(self.path).exists():
            header = files.read_header(self.path)
            self._guard = header.descriptor
        try:
            if header is None:
                files.make_directory(self.path)
            self._lock.take(create=True)
            if header is None or header.empty:
                create_file(self.path)
                if header is not None:
                    os.close(header.descriptor)
                self._guard = files.read_header(self.path).descriptor
            elif not header.wal:
                switch_to_wal(self.path)
        except (OSError, sqlite3.Error) as error:
            if is_full(error) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
                raise DiskFull(self.path, "the disk is full: it cannot be set up") from error
            raise JournalUnreadable(self.path, f"it cannot be set up: {error}") from error
        files.hold_shared_range(self._guard, self.path)

    def _take_over(self) -> sqlite3.Connection:
        """Open the write connection and begin a new epoch, unless another host's lease forbids it."""
        connection = None
        try:
            connection = open_for_writing(self.path)
            layout = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if missing := missing_tables((row[0] for row in connection.execute(TABLE_NAMES)), layout):
                raise JournalUnreadable(self.path, f"it is damaged: no table {missing}")
            self._begin(connection, layout)
            connection.execute(f"SELECT max(rowid) FROM {EVENTS_TABLE}").fetchone()
            return connection
        except (sqlite3.Error, TypeError, ValueError) as error:
            if connection is not None:
                connection.close()
            if is_full(error):
                why = "the disk is full: no host can begin here, but it can be read"
                raise DiskFull(self.path, why) from error
            raise JournalUnreadable(self.path, _why(error)) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    def _begin(self, connection: sqlite3.Connection, layout: int) -> None:
        here = this_boot(self._lock.inode, os.fstat(self._guard).st_ino)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            owner = owner_of(connection.execute(READ_OWNER).fetchone())
            if _is_locked(error) and owner.standing(self.path, here) in ("live", "late"):
                who = f"{owner.who}, which stands still in the middle of a commit"
                raise JournalInUse(self.path, who) from error
            raise
        for statement in upgrade_statements(layout):
            connection.execute(statement)
        owner = owner_of(connection.execute(READ_OWNER).fetchone())
        if owner.standing(self.path, here, locks_hold=self._lock.holds()) == "live":
            if owner.pid == os.getpid():  # closing this descriptor would drop the locks of the other one's connections
                files.keep(self._guard)
                self._guard = -1
            raise JournalInUse(self.path, owner.who, owner.until)
        known = connection.execute("SELECT id FROM keyring").fetchone()
        self.keyring = hosted_keyring(self.path, known and known[0], self._encryption)
        if self.keyring is not None and self.keyring.id and known is None:
            connection.execute("INSERT INTO keyring VALUES (?)", (self.keyring.id,))
        tenure = Tenure(owner.epoch + 1, here)
        asked = tenure.begin(connection)
        connection.execute("COMMIT")
        tenure.renewed(asked)
        tenure.opened()
        self._tenure = tenure

    # -------------------------------------------------------------- the journal

    @property
    def epoch(self) -> int:
        """See `ports.Journal.epoch`."""
        return self._tenure.epoch

    @property
    def held(self) -> bool:
        """See `ports.Journal.held`."""
        return self._tenure.held

    def short(self, run_id: str) -> str:
        """See `ports.Journal.short`."""
        return self._space.pauses

    def no_room(self) -> DiskFull | None:
        """Why no run is to be started: the disk is nearly full. None if there is room."""
        self._space.look()
        if self._space.refuses:
            self._space.look(again=True)  # nobody is refused for what was true a moment ago
        why = self._space.refuses
        return DiskFull(self.path, why) if why else None

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        """See `ports.Journal.confirm`."""
        self._check_process()
        self._writer.put(Nothing(told))

    def when_stopped(self, told: Callable[[JournalError], None]) -> None:
        """Call `told` once, on the journal's thread, if it stops for good: another host took over, or its files were
        taken away. By then nothing more is stored.
        """
        self._writer.when_stopped(told)

    def _ask(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        self._check_process()
        return self._connections.query(sql, parameters)

    def _check_process(self) -> None:
        if self._forked:
            raise ForkedProcess("this journal")

    def append(self, append: Append) -> None:
        """See `ports.Journal.append`."""
        self._check_process()
        self._writer.put(append)

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """See `ports.Journal.seal`."""
        keyring = self.keyring
        if keyring is None:
            return None
        found = keyring.seal(run_id, new=new)
        if found is None and not new and self.is_sealed(run_id):  # its key is lost; nothing may follow in the clear
            found = "locked"
            keyring.remember(run_id, found)
        return found

    def load(self, run_id: str) -> Checkpoint:
        """See `ports.Journal.load`. A fold of more than 2,000 events leaves a snapshot for the next time, but not of a
        sealed run.
        """
        start = self._snapshot(run_id)
        begin = start.checkpoint if start is not None else Checkpoint()
        checkpoint = self._load_from(run_id, begin)
        worth_it = checkpoint.version - begin.version > WORTH_IT and not checkpoint.state.read_only
        if worth_it and not (self.keyring is not None and self.is_sealed(run_id)):
            self._writer.put_snapshot(Snapshot(run_id, checkpoint))
        return checkpoint

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """See `ports.Journal.keep_recoveries`."""
        self._check_process()
        keep_recoveries(self._writer.put_chore, kept, dropped, done, self._may_be_sealed)

    def _may_be_sealed(self, run_id: str) -> bool:
        try:
            return self.keyring is not None and self.seal(run_id) is not None
        except (JournalError, ValueError):
            return True

    def maintain(self, work: Callable[[sqlite3.Connection], T], *, size: int = 0, alone: bool = False) -> T:
        """Have `work` done with the write connection, and wait until what it did is durable; see `Chore`. For this
        room's own modules.

        Raises:
            JournalUnavailable: the journal is closed. Deposed: another host took over.
            Exception: what `work` raised; nothing of it is stored.
        """
        self._check_process()
        chore = Chore(work, size=size, alone=alone)
        self._writer.put_chore(chore)
        return chore.answer.result()

    def delete_content(self, run_ids: Sequence[str]) -> int:
        """Delete the sealed blobs and the snapshots of these runs; returns the number of blobs. A sealed blob is of one
        event only.

        Raises:
            JournalUnavailable: it could not be done now. Deposed: another host took over.
        """
        blobs: list[tuple[bytes]] = []
        for run_id in run_ids:
            for _, _, _, state in self.rows(run_id):
                with suppress(ValueError, msgspec.MsgspecError, RecursionError):
                    address = sealed_blob(state)[1] if isinstance(state, bytes) else None
                    if address is not None:
                        blobs.append((address,))

        def delete(connection: sqlite3.Connection) -> int:
            keys = [(run_id_bytes(run_id),) for run_id in run_ids]
            connection.executemany("DELETE FROM snapshots WHERE originator_id = ?", keys)
            connection.executemany("DELETE FROM recoveries WHERE run_id = ?", keys)
            return connection.executemany("DELETE FROM blobs WHERE sha256 = ?", blobs).rowcount if blobs else 0

        try:
            deleted = self.maintain(delete, size=len(blobs) * PAGE_BYTES)
            if blobs and self.archive is not None and self.archive.exists:
                deleted += self._delete_archived(self.archive.path, blobs)
            return deleted
        except sqlite3.Error as error:
            raise JournalUnavailable(f"blobs could not be deleted now: {error}") from error

    @staticmethod
    def _delete_archived(path: str, blobs: list[tuple[bytes]]) -> int:
        """Delete the same from the archive; it is emptied of what its log still holds when it is closed."""
        archive = SqliteJournal(path)
        try:
            sql = "DELETE FROM blobs WHERE sha256 = ?"
            return archive.maintain(lambda connection: connection.executemany(sql, blobs).rowcount)
        finally:
            archive.close()

    def empty_log(self) -> bool:
        """Copy the write-ahead log into the database and cut it to nothing; False if a reader holds it.

        Raises:
            JournalUnavailable: it could not be done now. Deposed: another host took over.
        """

        def empty(connection: sqlite3.Connection) -> bool:
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

        try:
            return self.maintain(empty, alone=True)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"the write-ahead log could not be emptied now: {error}") from error

    @property
    def guard(self) -> int:
        """A descriptor of the database that stays open: closing another one would drop SQLite's locks."""
        return self._guard

    def follow(self, follower: Follower) -> Callable[[], None]:
        """See `ports.Journal.follow`."""
        self._check_process()
        return self._followers.join(follower)

    # -------------------------------------------------------------- closing

    def close(self, timeout: float = 10.0) -> bool:
        """See `ports.Journal.close`. May be repeated, from any thread; on the journal's own it only begins."""
        self._check_process()
        self._writer.end()
        if self._writer.is_current_thread():
            return False
        return self._writer.finished.wait(timeout)

    def _writer_ended(self) -> None:
        """On the writer's thread, after the last commit: readers, then the guard, then the lock."""
        self._followers.end()
        if self.archive is not None:
            self.archive.close()
        self._connections.close(then=self._let_go)

    def _let_go(self) -> None:
        if self.keyring is not None:
            self.keyring.close()
        self._tenure.ended()
        guards, self._guard, self._index_guard = (self._guard, self._index_guard), -1, -1
        for guard in guards:
            if guard >= 0:
                os.close(guard)  # after the last SQLite connection: this drops its locks
        self._lock.release()
        forks.unregister(self)

    def left_behind(self) -> list[object]:
        """In a forked child: this journal is the parent's. Its lock must not live on in the child."""
        self._forked = True
        forks.left_in_use()
        self._lock.abandon()
        guards, self._guard, self._index_guard = (self._guard, self._index_guard), -1, -1
        for guard in guards:
            if guard >= 0:
                os.close(guard)
        keys = [] if self.keyring is None or self.keyring.file is None else self.keyring.file.left_behind()
        return [*self._writer.everything(), *self._connections.everything(), *keys]


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _why(error: Exception) -> str:
    if _is_locked(error):
        return "another program holds it locked"
    if isinstance(error, sqlite3.OperationalError):
        return str(error)
    return f"it is damaged: {error}"
