"""Reaching a host from a command: its options, who it is reached as, and what is said when nobody answers."""

from __future__ import annotations

import functools
import getpass
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from ..errors import HostUnreachable
from .program import Misuse, Unopened, db_option, json_option
from .words import one_line

if TYPE_CHECKING:
    from ..wire.attached import Attached


@dataclass(frozen=True)
class Target:
    """A journal, or the address of a host, and what lets its reader in."""

    db: Path
    host: str = ""
    token: str = ""
    ca: Path | None = None
    server_name: str = "localhost"
    cert_key: Path | None = None

    @property
    def said(self) -> str:
        """As it was named."""
        return self.host or str(self.db)

    @property
    def options(self) -> str:
        """What has to follow a command that is to reach the same."""
        from .program import DEFAULT_DB

        if self.host:
            return f" --host {quote(self.host)}" + (f" --ca {quote(str(self.ca))}" if self.ca else "")
        return "" if self.db == DEFAULT_DB else f" --db {quote(str(self.db))}"


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--db`, `--json`, and where else a host may be: the command is given a `target`."""

    @functools.wraps(command)
    def aimed(
        *,
        db: Path,
        host: str,
        token: str,
        ca: Path | None,
        server_name: str,
        cert_key: Path | None,
        **rest: Any,
    ) -> Any:
        target = Target(db, host, token, ca, server_name, cert_key)
        return command(target=target, **rest)

    existing = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        json_option,
        click.option("--cert-key", type=existing, help="This client's certificate and key (PEM), if the host asks."),
        click.option("--server-name", default="localhost", show_default=True, help="As the host's certificate has it."),
        click.option("--ca", type=existing, help="What signed the host's certificate (PEM), for tls+tcp."),
        click.option(
            "--token",
            default="",
            metavar="TOKEN",
            help="Of a grant; better in EXECUTUS_TOKEN, where other users do not see it.",
        ),
        click.option(
            "--host", default="", metavar="ADDRESS", help="Instead of --db: ipc:///PATH, or tls+tcp://HOST:PORT."
        ),
        db_option,
    ):
        aimed = option(aimed)
    return aimed


@contextmanager
def reached(target: Target, *, host: bool = False) -> Generator[Attached]:
    """The host that has the journal open, or, without one, its file to read. host: there must be one.

    Raises:
        Unopened: there is neither, with what to do. Misuse: the address, or what lets its reader in, cannot be.
    """
    from ..wire import places
    from ..wire.attached import attach
    from ..wire.terms import ClientTls
    from .opening import encryption_here

    if not target.host and not target.db.exists() and places.card_in(places.room_of(target.db)) is None:
        what = "make one with `executus demo`, or name another with --db; `executus ps --hosts` lists hosts"
        raise Unopened(f"there is no journal at {target.db}; {what}")
    tls = None if target.ca is None else ClientTls(target.ca, target.server_name, target.cert_key)
    try:
        attached = attach(
            target.host or target.db, token=target.token, tls=tls, encryption=encryption_here(), host=host
        )
    except HostUnreachable as error:
        raise Unopened(f"{error}; {_what_to_do(target)}") from error
    except ValueError as error:
        raise Misuse(_as_options(str(error))) from error
    try:
        yield attached
    finally:
        attached.close()


def _as_options(why: str) -> str:
    """What the library says of its arguments, said of the options."""
    for argument, option in (("attach: ", ""), ("tls=ClientTls(ca=...)", "--ca FILE"), ("token=...", "--token")):
        why = why.replace(argument, option)
    return why


def _what_to_do(target: Target) -> str:
    if target.host:
        return "is it at work, and at this address? `executus ps --hosts` lists those of this user"
    from .opening import hosted, reading

    if target.db.exists():
        with reading(target.db) as journal:
            if hosted(journal):
                return 'a host is at work, but does not listen: have it opened with listen="ipc"'
    return "orders need a host that is at work; `executus why RUN` and `executus top` read the file without one"


def without_host(attached: Attached) -> str:
    """Why it is read from the file, or "" when a host answers."""
    from ..journal import OutsideReader
    from .opening import hosted

    if not isinstance(attached.journal, OutsideReader):
        return ""
    if hosted(attached.journal):
        return "a host has it open, but not for others; read from the file"
    return "no host has it open for others; read from the file"


def login_name() -> str:
    """The user's, or "" where there is none."""
    try:
        return one_line(getpass.getuser())[:64]
    except (OSError, KeyError, ImportError):
        return ""
