"""Orders to a host from the command line: given once, and told in one line what became of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import click

from ..errors import JournalError, JournalUnavailable, MessageRefused
from .opening import find_run
from .program import Failure, Misuse, Unsettled
from .reaching import Target, reached
from .shapes import print_json
from .words import harmless, one_line

if TYPE_CHECKING:
    from ..wire.requests import Done, Order

LOOK = "look at it (`executus show RUN`, `executus audit --orders`) before you give it again"


def give(target: Target, kind: str, digits: str, *, by: str, dry_run: bool, as_json: bool, **fields: Any) -> None:
    """Give an order of this kind to a run, and print what became of it."""
    from ..wire.attached import order_of

    with reached(target, host=True) as attached:
        run_id = find_run(attached.journal, digits)
        with _sentences(run_id, kind):
            order = order_of(_kind(kind), by=by, check=dry_run, run=run_id, **fields)
            done = attached.give(order)
    _print(order, done, dry_run, as_json)


def start(target: Target, agent: str, text: str, *, by: str, dry_run: bool, as_json: bool, **fields: Any) -> None:
    """Have a run started, and print its id."""
    from ..wire.attached import order_of

    if text == "-":
        text = sys.stdin.read()
    with reached(target, host=True) as attached:
        session = attached.session
        if dry_run and session is not None and session.agents and agent not in session.agents:
            raise Misuse(f"the host has no agent {one_line(agent)!r}; it has {', '.join(session.agents)}")
        with _sentences("", "start"):
            order = order_of(_kind("start"), by=by, check=dry_run, agent=agent, input=text, **fields)
            done = attached.give(order)
    _print(order, done, dry_run, as_json)


def _kind(name: str) -> type[Order]:
    from ..wire import requests

    kinds: dict[str, type[Order]] = {
        "steer": requests.Steer,
        "send": requests.Send,
        "approve": requests.Approve,
        "deny": requests.Deny,
        "extend": requests.Extend,
        "raise": requests.Raise,
        "begin": requests.Begin,
        "cancel": requests.Cancel,
        "kill": requests.Kill,
        "start": requests.Start,
    }
    return kinds[name]


@contextlib.contextmanager
def _sentences(run_id: str, kind: str) -> Generator[None]:
    """Whatever speaks against an order, as one sentence."""
    try:
        yield
    except MessageRefused as refused:
        about = f"run {run_id} cannot take {kind!r}" if run_id else f"{kind!r} is refused"
        raise Failure(f"{about}: {refused.why}") from refused
    except TimeoutError as error:
        raise Unsettled(
            f"{kind} is given, and not yet carried out: {error or 'it is not yet durable'}; {LOOK}"
        ) from error
    except JournalUnavailable as error:
        if type(error) is JournalUnavailable:  # the host's own: the order reached it
            raise Unsettled(f"the host could not carry out {kind}: {error}; {LOOK}") from error
        raise
    except JournalError:
        raise
    except ValueError as error:
        raise Misuse(str(error)) from error


def _print(order: Order, done: Done, dry_run: bool, as_json: bool) -> None:
    kind = str(type(order).__struct_config__.tag)
    if as_json:
        print_json(
            {
                "type": "order",
                "order": kind,
                "id": order.id,
                "run": done.run,
                "by": order.by,
                "dry_run": dry_run,
                "status": done.status,
                "told": done.told,
            }
        )
    elif kind == "start" and not dry_run:
        click.echo(done.run)
    elif dry_run:
        click.echo(f"{harmless(done.told)}{f', run {done.run}' if done.run else ''}; nothing was done")
    else:
        status = f", which is {done.status} now" if done.status else ""
        click.echo(f"{kind}: done, run {done.run}{harmless(status)}")
