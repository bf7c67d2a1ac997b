"""On which terms a host listens: where, and who is let in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .rights import ROLES, Role
from .signing import TOKEN_BYTES, grant_of, new_token

if TYPE_CHECKING:
    from ..adapters.critics.outside import OutsideCritic

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_PORT: Final = 65_534
OPERATOR: Final = "operator"
"""The grant that every host makes for whoever may read its private directory."""


@dataclass(frozen=True)
class Grant:
    """Lets whoever has its token in. name: who the log says gave an order. role: "viewer" reads; "steerer" also
    advises and approves; "owner" also starts, stops and gives more, of its caller's runs and up to their caps;
    "operator" may do everything. caller: only the runs of this caller are seen; an owner must have one. token: made if
    it is not given; hand it over once, the host keeps only what checks it.

    Raises:
        ValueError: a name, role, caller or token that cannot be.
    """

    name: str
    role: Role = "viewer"
    caller: str = ""
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"Grant, name: expected 1 to 64 letters, digits, - or _, got {self.name!r}")
        if self.role not in ROLES:
            raise ValueError(f"Grant, role: expected one of {', '.join(ROLES)}, got {self.role!r}")
        if not isinstance(self.token, str) or not self.token.isascii() or not (self.token or "x").isprintable():
            raise ValueError("Grant, token: expected printable ASCII characters")
        if not isinstance(self.caller, str):
            raise TypeError(f"Grant, caller: expected a string, got {self.caller!r}")
        if self.role == "owner" and not self.caller:
            raise ValueError("Grant: an owner owns the runs of one caller; name it")
        if self.role == "operator" and self.caller:
            raise ValueError("Grant: an operator is bound to no caller; make it an owner")
        if not self.token:
            object.__setattr__(self, "token", new_token(self.name))
        elif grant_of(self.token) != self.name or len(self.token) < len(self.name) + TOKEN_BYTES:
            why = f"expected {self.name!r}, a dot and at least {TOKEN_BYTES} characters nobody can guess"
            raise ValueError(f"Grant, token: {why}")


@dataclass(frozen=True)
class ServerTls:
    """How a host proves who it is, and whom it lets connect. cert_key: a PEM file with certificate and private key.
    ca: a PEM file with what signed the clients' certificates; without it every client may connect; each needs a token.
    """

    cert_key: str | Path
    ca: str | Path | None = None


@dataclass(frozen=True)
class ClientTls:
    """How a client checks a host. ca: a PEM file with what signed its certificate. server_name: as the certificate has
    it. cert_key: a PEM file with the client's own certificate and key, if the host asks for one.
    """

    ca: str | Path
    server_name: str = "localhost"
    cert_key: str | Path | None = None


@dataclass(frozen=True)
class Listen:
    """Where a host listens, and to whom.

    address: "ipc": in a private directory that clients find by the journal's path. "ipc:///PATH": there; the feed is
    at PATH.feed. "tls+tcp://HOST:PORT": with `tls` and at least one grant; the feed is at the next port. Nothing is
    ever sent over a network in the clear. grants: who else is let in; over ipc the operator's token lies in the private
    directory. critics: those that other processes provide, where they are not the runtime's critic itself. peers:
    connections at once.

    Raises:
        TypeError, ValueError: an address, or terms, that cannot be.
    """

    address: str = "ipc"
    grants: Sequence[Grant] = ()
    tls: ServerTls | None = None
    critics: Sequence[OutsideCritic] = ()
    peers: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.address, str):
            raise TypeError(f"Listen, address: expected a string, got {self.address!r}")
        for critic in self.critics:
            _check_outside(critic)
        if self.address.startswith("tcp://"):
            raise ValueError("Listen: tcp is only listened on with TLS; say tls+tcp:// and give tls=ServerTls(...)")
        known = self.address == "ipc" or self.address.startswith(("ipc:///", "tls+tcp://"))
        if not known:
            what = "'ipc', 'ipc:///PATH' or 'tls+tcp://HOST:PORT'"
            raise ValueError(f"Listen, address: expected {what}, got {self.address!r}")
        if self.is_tcp and self.tls is None:
            raise ValueError("Listen: tls+tcp:// needs tls=ServerTls(cert_key=...)")
        if self.is_tcp and not self.grants:
            raise ValueError("Listen: over a network somebody must be let in by a token: grants=[Grant(...)]")
        if self.is_tcp and not re.fullmatch(r"tls\+tcp://[^/:]+:\d{1,5}", self.address):
            raise ValueError(f"Listen, address: expected tls+tcp://HOST:PORT, got {self.address!r}")
        if self.is_tcp and int(self.address.rpartition(":")[2]) > MOST_PORT:
            raise ValueError(f"Listen, address: expected a port up to {MOST_PORT}; the feed is at the next one")
        if self.tls is not None and not self.is_tcp:
            raise ValueError("Listen: tls is for tls+tcp://; a socket of this machine has none")
        if not all(isinstance(grant, Grant) for grant in self.grants):
            raise TypeError(f"Listen, grants: expected Grant(...), got {self.grants!r}")
        names = [grant.name for grant in self.grants]
        if len(set(names)) != len(names) or OPERATOR in names:
            raise ValueError(f"Listen, grants: each needs a name of its own, and none is {OPERATOR!r}")
        critics = [critic.name for critic in self.critics]
        if len(set(critics)) != len(critics):
            raise ValueError("Listen, critics: each needs a name of its own")
        if type(self.peers) is not int or not 1 <= self.peers <= 1000:
            raise ValueError(f"Listen, peers: expected 1 to 1000, got {self.peers!r}")

    @property
    def is_tcp(self) -> bool:
        """Whether it is a network address."""
        return self.address.startswith("tls+tcp://")


def _check_outside(critic: object) -> None:
    from ..adapters.critics.outside import OutsideCritic

    if not isinstance(critic, OutsideCritic):
        raise TypeError(f"Listen, critics: expected an OutsideCritic, got {critic!r}")


def listen_of(given: str | Listen) -> Listen:
    """The terms, from an address alone.

    Raises:
        ValueError, TypeError: they cannot be.
    """
    if isinstance(given, Listen):
        return given
    if isinstance(given, str):
        return Listen(given)
    raise TypeError(f"Runtime, listen: expected an address or Listen(...), got {given!r}")
