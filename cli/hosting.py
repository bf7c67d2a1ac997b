"""`executus ps --hosts`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from .shapes import iso, print_json
from .words import age, coloured, columns, one_line

if TYPE_CHECKING:
    from ..wire.attached import HostSeen

HEADINGS = ["PID", "UP", "LIVE", "STATE", "JOURNAL", "ADDRESS"]


def list_hosts(*, as_json: bool) -> None:
    """Print the hosts of this user that listen on this machine, alive or gone without a word."""
    from ..wire.attached import hosts

    found = hosts()
    if as_json:
        for one in found:
            print_json(
                {
                    "type": "host",
                    "pid": one.card.pid,
                    "journal": one.card.journal,
                    "address": one.card.control,
                    "feed": one.card.feed,
                    "answers": one.answers,
                    "why": _why(one),
                    "live_runs": one.live_runs if one.answers else None,
                    "started_at": iso(one.card.started_us),
                    "program": one.card.program,
                }
            )
        return
    if not found:
        click.echo('no host of this user listens; Runtime(path, listen="ipc") does', err=True)
        return
    rows = [HEADINGS]
    for one in found:
        card = one.card
        live = str(one.live_runs) if one.answers else "?"
        up = age(time.time() - card.started_us / 1e6)
        rows.append(
            [str(card.pid), up, live, _state(one), one_line(card.journal) or "(in memory)", one_line(card.control)]
        )
    for index, cells in enumerate(columns(rows, right=(0, 1, 2))):
        if index:
            cells[3] = coloured("running" if found[index - 1].answers else "suspended", cells[3])
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))
        if index and not found[index - 1].answers:
            click.echo(f"  {one_line(_why(found[index - 1]))}")


def _state(one: HostSeen) -> str:
    if one.answers:
        return "answers"
    if _is_gone(one):
        return "gone"
    return "needs a token" if one.card.control.startswith("tls+tcp://") else "silent"


def _why(one: HostSeen) -> str:
    """Why it does not answer, or ""."""
    if _is_gone(one):
        return f"process {one.card.pid} is gone without closing; the next host of its journal goes on with its runs"
    return one.why


def _is_gone(one: HostSeen) -> bool:
    if one.answers:
        return False
    try:
        os.kill(one.card.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
