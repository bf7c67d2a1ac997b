"""Progress of something long: a bar on a terminal, nothing in a pipe. On standard error, so that output stays whole."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

PATIENCE_S = 0.5
"""Seconds before a bar is worth showing."""


@contextmanager
def bar(label: str, total: int) -> Generator[Callable[[int], None]]:
    """A function to be told how far it is, from 0 to `total`."""
    if not sys.stderr.isatty() or total <= 0:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    began = time.monotonic()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )
    task = progress.add_task(label, total=total)

    def told(done: int) -> None:
        progress.update(task, completed=min(done, total))
        if not progress.live.is_started and time.monotonic() - began > PATIENCE_S:
            progress.start()

    try:
        yield told
    finally:
        progress.stop()
