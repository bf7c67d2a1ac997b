"""A forked child must not touch its parent's journal: SQLite's locks, threads and descriptors do not survive a fork.

After a fork every journal that was open is marked, so that each call raises `ForkedProcess`. Its connections are
kept alive for ever in the child: a destructor would wait for mutexes of threads that no longer exist, or close a
file under the parent. Nor can the child open a journal of its own: SQLite has mutexes for the whole process, and one
that a thread of the parent held at that moment is held for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ForkedProcess


class Forkable(Protocol):
    """Something of one process only. Compared by identity."""

    def left_behind(self) -> list[object]:
        """Called once in a forked child, without any lock: mark yourself, return what must never be destroyed."""
        ...


_open: dict[int, Forkable] = {}
_in_use = False
_immortal: list[Callable[[Any], None]] = []


def register(journal: Forkable) -> None:
    """Tell `journal` when a child is forked, until `unregister`."""
    if not _immortal:  # ctypes costs milliseconds, and in the child an import could find its lock taken
        import ctypes

        _immortal.append(lambda thing: ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing)))
    _open[id(journal)] = journal


def unregister(journal: Forkable) -> None:
    """Undo `register`; harmless when repeated."""
    _open.pop(id(journal), None)


def left_in_use() -> None:
    """In a forked child: threads of the parent were at work in SQLite."""
    global _in_use
    _in_use = True


def check() -> None:
    """Whether this process can open a journal.

    Raises:
        ForkedProcess: it was forked while one was open, and has not begun another program since.
    """
    if _in_use:
        raise ForkedProcess("SQLite in a process that was forked while a journal was open")


def _in_child() -> None:
    for journal in list(_open.values()):
        for thing in (journal, *journal.left_behind()):
            _immortal[0](thing)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
