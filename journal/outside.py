"""Reading a journal from another process, beside a live host or when nobody has it open: no lock, no change.

How the file is opened depends on what lies beside it. With a write-ahead log and its index there may be a host, and
SQLite's own read-only mode is right. With neither, the database is complete and is read as immutable, since the
read-only mode would create both. With a log and no index (a copied journal), a private copy of both is read.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ForkedProcess, JournalError, JournalTooNew, JournalUnavailable, JournalUnreadable
from ..events import Seal, Withheld
from ..ports import Append, Encryption, Follower, Recovery
from . import files, forks
from .archive import Archive
from .checkpoints import BUSY_MS
from .followers import Followers
from .keyring import outside_keyring
from .layout import APPLICATION_ID, LAYOUT, TABLE_NAMES, check_sqlite, missing_tables
from .lease import READ_OWNER, Owner, Standing, owner_of
from .place import this_boot
from .reading import LogReader
from .recorder import fetched

log = logging.getLogger("executus.journal")

POLL_S = 0.05
"""Seconds between two looks for new commits while somebody follows."""

PAGE = 1000
"""Events told at once."""

HEADER_BYTES = 512
"""No SQLite database is smaller than its smallest page."""

Found = tuple[Any, ...]
"""What lies there: "alone", "shared" or "copied", and the marks by which a change of the files is seen."""


class OutsideReader(LogReader):
    """The reading half of `ports.Journal` over the file `path`; `append` raises. Thread-safe.

    encryption: what opens sealed runs; without it they are read without their content.

    Raises:
        JournalTooNew, JournalUnreadable: it is no journal of ours.
        KeyRefused: the host's key does not open its keys.
        JournalError: the linked SQLite is too old.
    """

    def __init__(self, path: str | os.PathLike[str], *, encryption: Encryption | None = None) -> None:
        forks.check()
        check_sqlite()
        self.path = files.resolve(path)
        super().__init__(self._ask, Archive.of(self.path, OutsideReader))
        self._lock = threading.Lock()
        self._idle: list[tuple[Found, sqlite3.Connection]] = []
        self._copies: list[tempfile.TemporaryDirectory[str]] = []
        self._followers = Followers()
        self._closed = threading.Event()
        self._forked = False
        self._polling: threading.Thread | None = None
        self._check_identity()
        try:
            self.keyring = outside_keyring(self.path, encryption)
        except JournalError:
            self._drop_idle()
            raise
        forks.register(self)

    def _check_identity(self) -> None:
        try:
            self._look()
            size = Path(self.path).stat().st_size
            if size < HEADER_BYTES:
                raise JournalUnreadable(self.path, "it is not an SQLite database" if size else "it is empty")
            application = self._ask("PRAGMA application_id")[0][0]
            layout = self._ask("PRAGMA user_version")[0][0]
            if application != APPLICATION_ID:
                raise JournalUnreadable(self.path, "it is an SQLite database of another program")
            if layout > LAYOUT:
                raise JournalTooNew(self.path, layout, LAYOUT)
            if missing := missing_tables((row[0] for row in self._ask(TABLE_NAMES)), layout):
                raise JournalUnreadable(self.path, f"it is damaged: no table {missing}")
        except sqlite3.Error as error:
            self._drop_idle()
            raise JournalUnreadable(self.path, f"it is damaged: {error}") from error
        except JournalError:
            self._drop_idle()
            raise

    # -------------------------------------------------------------- connections

    def _look(self) -> Found:
        try:
            database = os.stat(self.path)  # noqa: PTH116 - three looks a query
        except OSError as error:
            raise JournalUnreadable(self.path, error.strerror or str(error)) from error
        if not stat.S_ISREG(database.st_mode):
            what = "a directory" if stat.S_ISDIR(database.st_mode) else "no regular file"
            raise JournalUnreadable(self.path, f"it is {what}")
        wal = _stat(self.path + "-wal")
        if wal is not None and _stat(self.path + "-shm") is not None:
            return "shared", database.st_ino, wal.st_ino
        marks = database.st_ino, database.st_size, database.st_mtime_ns
        if wal is None or wal.st_size == 0:
            return "alone", *marks
        return "copied", *marks, wal.st_size, wal.st_mtime_ns

    def _connect(self, found: Found) -> sqlite3.Connection:
        path, how = self.path, "mode=ro"
        if found[0] == "alone":
            how = "mode=ro&immutable=1"
        elif found[0] == "copied":
            copy = tempfile.TemporaryDirectory(prefix="executus-")
            self._copies.append(copy)
            path = os.path.join(copy.name, "journal")  # noqa: PTH118
            for ending in ("", "-wal"):
                shutil.copyfile(self.path + ending, path + ending)
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?{how}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement. What is read while the files change from one kind to another is read again."""
        if self._forked:
            raise ForkedProcess("this journal")
        for _ in range(10):
            if self._closed.is_set():
                raise JournalUnavailable("the journal is closed")
            found = self._look()
            connection = self._lend(found)
            try:
                rows = fetched(connection, sql, parameters)
                same = self._look() == found
            except BaseException as error:
                connection.close()
                if isinstance(error, sqlite3.Error) and self._look() != found:
                    continue
                raise
            if same:
                with self._lock:
                    self._idle.append((found, connection))
                return rows
            connection.close()
        raise JournalUnavailable(f"{self.path} is being replaced again and again")

    def copy_to(self, copy: sqlite3.Connection, tick: Callable[[int, int], None], pages: int) -> None:
        """Copy the whole database, as it stands at one moment, into the empty one that `copy` has open. tick: told how
        many pages of how many are copied, after every so many `pages`.

        Raises:
            JournalUnavailable: it changed from one kind to another again and again. sqlite3.Error: as SQLite does.
        """
        for _ in range(10):
            found = self._look()
            connection = self._connect(found)
            try:
                connection.execute("BEGIN")  # or each piece could be of another moment, and begin all over again
                connection.execute("SELECT count(*) FROM owner").fetchone()
                connection.backup(copy, pages=pages, progress=lambda _, left, all_: tick(all_ - left, all_), sleep=0)
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                if self._look() == found:
                    raise
                continue
            finally:
                connection.close()
            if self._look() == found:
                return
        raise JournalUnavailable(f"{self.path} is being replaced again and again")

    def _lend(self, found: Found) -> sqlite3.Connection:
        stale: list[sqlite3.Connection] = []
        chosen = None
        with self._lock:
            while self._idle and chosen is None:
                what, connection = self._idle.pop()
                if what == found:
                    chosen = connection
                else:
                    stale.append(connection)
        for connection in stale:
            connection.close()
        return chosen if chosen is not None else self._connect(found)

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            copies, self._copies = self._copies, []
        for _, connection in idle:
            connection.close()
        for copy in copies:
            copy.cleanup()

    # -------------------------------------------------------------- the journal

    @property
    def epoch(self) -> int:
        """The epoch of the newest owner."""
        return int(self._rows("SELECT epoch FROM owner")[0][0])

    def owner(self) -> Owner:
        """The newest owner."""
        rows = self._rows(READ_OWNER)
        return owner_of(rows[0]) if rows else Owner()

    def standing(self) -> Standing:
        """Whether a host has the journal open now, as far as can be seen from here."""
        here = this_boot(0, Path(self.path).stat().st_ino)
        return self.owner().standing(self.path, here)

    @property
    def held(self) -> bool:
        """Never: this owns nothing."""
        return False

    def short(self, run_id: str) -> str:
        """Never: this begins nothing."""
        return ""

    def confirm(self, told: Callable[[JournalError | None], None]) -> NoReturn:
        """Never possible here.

        Raises:
            JournalError: always.
        """
        raise JournalError(f"{self.path} is open for reading only")

    def append(self, append: Append) -> NoReturn:
        """Never possible here.

        Raises:
            JournalError: always.
        """
        raise JournalError(f"{self.path} is open for reading only; nothing was stored")

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> NoReturn:
        """Never possible here.

        Raises:
            JournalError: always.
        """
        raise JournalError(f"{self.path} is open for reading only; nothing was stored")

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        """Nothing is appended here."""
        return "locked"

    def follow(self, follower: Follower) -> Callable[[], None]:
        """See `ports.Journal.follow`; told at most 50 ms later than a host's own followers."""
        at = self.head()
        leave = self._followers.join(follower)
        with self._lock:
            if self._polling is None:
                self._polling = threading.Thread(target=self._poll, args=(at,), name="executus-tail", daemon=True)
                self._polling.start()
        return leave

    def _poll(self, at: int) -> None:
        seen: object = None
        lent: tuple[Found, sqlite3.Connection] | None = None
        while not self._closed.wait(POLL_S):
            try:
                found = self._look()
                if lent is None or lent[0] != found:
                    if lent is not None:
                        lent[1].close()
                    lent = None
                    lent = found, self._connect(found)
                now = found, lent[1].execute("PRAGMA data_version").fetchone()[0]
                while now != seen and (page := self.scan(at, PAGE)):
                    at = page[-1].position
                    self._followers.tell(page)
                seen = now
            except (JournalError, OSError, sqlite3.Error) as error:
                if not self._closed.is_set() and seen is not None:
                    log.warning("%s cannot be followed now: %s", self.path, error)
                seen = None
        if lent is not None:
            lent[1].close()

    def close(self, timeout: float = 10.0) -> bool:
        """End it; `timeout` is not needed."""
        if self._forked:
            raise ForkedProcess("this journal")
        if not self._closed.is_set():
            self._closed.set()
            forks.unregister(self)
            self._followers.end()
            self._drop_idle()
            if self.archive is not None:
                self.archive.close()
        return True

    def left_behind(self) -> list[object]:
        """In a forked child: its connections are the parent's."""
        self._forked = True
        return list(self._idle)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - three looks a query
    except FileNotFoundError:
        return None
