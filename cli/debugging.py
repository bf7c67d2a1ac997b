"""`executus debug`."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..debugger import app, serve
from ..errors import FileRefused, HostUnreachable, MessageRefused
from ..ports import LiveRun, Overrides
from .opening import find_run, reading
from .program import Misuse
from .shapes import print_json

if TYPE_CHECKING:
    from ..wire.attached import Attached


class Elsewhere:
    """A host of another process, as the page's `LiveHost`: what it orders goes over the wire."""

    def __init__(self, attached: Attached, artifacts: Path) -> None:
        self._attached, self._artifacts = attached, artifacts

    @property
    def live_runs(self) -> int:
        """See `LiveHost`; what was known when this was made."""
        session = self._attached.session
        return 0 if session is None else session.live_runs

    def run(self, run_id: str) -> LiveRun:
        """See `LiveHost`. Whether there is one is only asked when it is looked at, or ordered."""
        from ..wire.remote_run import RemoteRun

        return RemoteRun(self._attached, run_id)

    def start(self, agent: str, input: Any, **options: Any) -> LiveRun:
        """See `LiveHost`."""
        return self._attached.start(agent, input, **options)

    def fork(self, run: str, at: int | None = None, *, overrides: Overrides | None = None, **options: Any) -> LiveRun:
        """Not over the wire: what is made different may be code.

        Raises:
            MessageRefused: always, with where forks are made.
        """
        why = "forks are made where the host is: its own page, Runtime.fork, or `executus fork` while it is closed"
        raise MessageRefused(run, "fork", why)

    def artifact(self, sha256: str) -> bytes:
        """See `LiveHost`; from the folder beside the journal.

        Raises:
            FileRefused: there is none there.
        """
        path = self._artifacts / sha256
        if not path.is_file() or path.is_symlink():
            raise FileRefused(f"there is no artifact {sha256[:16]}… beside the journal")
        return path.read_bytes()


@contextmanager
def elsewhere(db: Path) -> Generator[Elsewhere | None]:
    """The host that has the journal open and listens, or None: then the page can only be read."""
    from ..wire import places

    if places.card_in(places.room_of(db)) is None:
        yield None
        return
    from ..wire.attached import attach

    try:
        attached = attach(db, host=True)
    except (HostUnreachable, ValueError):  # it is gone, or lets in only who has a token of its own
        yield None
        return
    with attached:
        yield Elsewhere(attached, Path(f"{db}-artifacts"))


def debug_runs(db: Path, what: str | None, *, port: int, opened: bool, as_json: bool) -> None:
    """Serve the debugger until Ctrl-C."""
    path = ""
    if what is not None and Path(what).is_file():
        db = Path(what)
        what = None
    with reading(db) as journal, elsewhere(db) as host:
        if what is not None:
            path = f"run/{find_run(journal, what)}"

        def told(address: str) -> None:
            if as_json:
                print_json({"type": "debugger", "url": address, "host": host is not None})
            else:
                with_it = ", with its live host" if host is not None else ""
                click.echo(f"looking at {db}{with_it}: {address}\nCtrl-C ends it.")
            if opened and _has_windows():
                webbrowser.open(address)

        try:
            serve(app(journal, host, artifacts=Path(f"{db}-artifacts")), port=port, path=path, told=told)
        except OSError as error:
            raise Misuse(f"port {port} cannot be had: {error.strerror}") from error


def _has_windows() -> bool:
    """Whether a browser would open beside the terminal, and not in it."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
