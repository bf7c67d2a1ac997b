"""Where hosts are found: a private directory of the user's, with a room for each journal.

In a room lie a host's sockets, its card (where it listens) and its operator's token. Whoever may read the room may
operate the host, so it is the user's alone, and nothing in it is believed that is not.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from ..errors import ListenRefused
from .socket_paths import is_answered

CARD: Final = "host.json"
TOKEN: Final = "operator.token"  # noqa: S105 - the name of a file
MOST_CARD: Final = 16_384


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host listens. boot: of this opening. journal: its path, "" for one in memory. control, feed: addresses.
    started_us: wall clock. program: version of executus.
    """

    boot: str
    pid: int
    control: str
    feed: str
    journal: str = ""
    started_us: int = 0
    program: str = ""


def hosts_home() -> Path:
    """The directory of all rooms. It need not exist."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and _is_private(Path(given)):
        return Path(given) / "executus"
    return Path(tempfile.gettempdir()) / f"executus-{os.getuid()}"


def room_of(journal: str | os.PathLike[str]) -> Path:
    """The room of the host of this journal: the same for every process of the user, by whatever path it is named."""
    path = os.path.realpath(journal)
    return hosts_home() / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def private_room(room: Path) -> Path:
    """Make the room, and make sure that it is the user's alone.

    Raises:
        ListenRefused: it is not, or cannot be made.
    """
    for directory in (room.parent, room):
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ListenRefused(f"{directory} cannot be made: {error.strerror or error}") from error
        if not _is_private(directory):
            raise ListenRefused(
                f"{directory} is not a directory that only its owner, this user, can enter (mode 0700); "
                "remove it, or listen at another address"
            )
    return room


def _is_private(directory: Path) -> bool:
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return mine and not stat.S_IMODE(found.st_mode) & 0o077


def sweep(room: Path) -> None:
    """Remove the sockets of hosts that are gone."""
    for path in room.iterdir():
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not is_answered(str(path)):
                path.unlink()
        except OSError:
            continue


def put(room: Path, name: str, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    there = room / name
    beside = room / f".{name}.{os.getpid()}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # also one that a host left behind
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    beside.replace(there)


def get(room: Path, name: str) -> bytes | None:
    """What lies there, if it is a small file of this user's in a private room."""
    if not _is_private(room):
        return None
    try:
        descriptor = os.open(room / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_size > MOST_CARD:
            return None
        return os.read(descriptor, MOST_CARD)
    finally:
        os.close(descriptor)


def card_in(room: Path) -> Card | None:
    """The card of the room's host, alive or not."""
    found = get(room, CARD)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found, type=Card)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_put_up(target: str) -> bool:
    """Whether a host of the journal at this path seems to listen. One that was killed has left its card, not more."""
    if target.startswith(("ipc://", "tls+tcp://", "tcp://")):
        return False
    card = card_in(room_of(target))
    return card is not None and (not card.control.startswith("ipc://") or is_answered(card.control[len("ipc://") :]))


def token_of(address: str) -> str:
    """The operator's token of the host at this address, if its card and its token are this user's; or ""."""
    return next((token_in(room) for room, card in all_cards() if card.control == address), "")


def token_in(room: Path) -> str:
    """The operator's token, or ""."""
    found = get(room, TOKEN)
    return "" if found is None else found.decode(errors="replace").strip()


def leave(room: Path, boot: str) -> None:
    """Take down the card and the token of one opening, unless another host has put up its own."""
    card = card_in(room)
    if card is not None and card.boot == boot:
        for name in (CARD, TOKEN):
            (room / name).unlink(missing_ok=True)


def all_cards() -> list[tuple[Path, Card]]:
    """Every room with a card, of hosts alive or not, by when they started."""
    home = hosts_home()
    if not _is_private(home):
        return []
    found = [(room, card) for room in home.iterdir() if (card := card_in(room)) is not None]
    return sorted(found, key=lambda one: one[1].started_us)
