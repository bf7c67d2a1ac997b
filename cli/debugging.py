"""`executus debug`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from ..debugger import app, serve
from .opening import find_run, reading
from .program import Misuse
from .shapes import print_json


def debug_runs(db: Path, what: str | None, *, port: int, opened: bool, as_json: bool) -> None:
    """Serve the debugger until Ctrl-C."""
    path = ""
    if what is not None and Path(what).is_file():
        db = Path(what)
        what = None
    with reading(db) as journal:
        if what is not None:
            path = f"run/{find_run(journal, what)}"

        def told(address: str) -> None:
            if as_json:
                print_json({"type": "debugger", "url": address})
            else:
                click.echo(f"looking at {db}: {address}\nCtrl-C ends it.")
            if opened and _has_windows():
                webbrowser.open(address)

        try:
            serve(app(journal, artifacts=Path(f"{db}-artifacts")), port=port, path=path, told=told)
        except OSError as error:
            raise Misuse(f"port {port} cannot be had: {error.strerror}") from error


def _has_windows() -> bool:
    """Whether a browser would open beside the terminal, and not in it."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
