"""What a host does to its journal's file beside appending: small works on the writer's thread, between batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Chore(Generic[T]):
    """`work` with the write connection, in a transaction of its own, or with `alone` outside of any.

    answer: resolves with what `work` returns once that is durable, or with the error. It must be short: appends wait
    meanwhile. size: bytes that it writes, about.
    """

    def __init__(self, work: Callable[[sqlite3.Connection], T], *, size: int = 0, alone: bool = False) -> None:
        self.work, self.size, self.alone = work, size, alone
        self.answer: Future[T] = Future()

    def perform(self, connection: sqlite3.Connection, check: Callable[[sqlite3.Connection], None]) -> None:
        """Do it, and answer. check: see `lease.Tenure.check`.

        Raises:
            Deposed: another host took over; nothing was done.
            sqlite3.Error: it is unknown what was stored, and the connection must be dropped.
        """
        execute = connection.execute
        try:
            if self.alone:
                check(connection)
                done = self.work(connection)
            else:
                execute("BEGIN IMMEDIATE")
                check(connection)
                done = self.work(connection)
                execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                execute("ROLLBACK")
            self.fail(error)
            raise
        self.answer.set_result(done)

    def fail(self, error: BaseException) -> None:
        """It was not done, or nobody knows."""
        if not self.answer.done():
            self.answer.set_exception(error)


AnyChore = Chore[Any]
