"""Where the socket of a host may be made: the library takes the place of any file, so it is looked at first."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Final

from ..errors import ListenRefused

MOST_PATH: Final = 107
"""Bytes of the path of a Unix socket."""


def check_path(path: str) -> None:
    """Whether a socket may be made at `path`: nothing is there, or a socket of ours that nobody listens on any more.

    Raises:
        ListenRefused: something else is there; it is left as it is.
    """
    if len(os.fsencode(path)) > MOST_PATH:
        raise ListenRefused(f"{path}: the path of a socket has at most {MOST_PATH} bytes; choose a shorter one")
    parent = Path(path).parent
    try:
        room = parent.stat()
    except OSError as error:
        raise ListenRefused(f"{path}: there is no directory {parent}") from error
    if not stat.S_ISDIR(room.st_mode):
        raise ListenRefused(f"{path}: there is no directory {parent}")
    if stat.S_IMODE(room.st_mode) & 0o022 and not room.st_mode & stat.S_ISVTX:
        raise ListenRefused(f"{path}: others may change {parent}, and put their own socket there; choose another place")
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenRefused(f"{path} is there already, and is no socket; it was left as it is")
    if found.st_uid != os.getuid():
        raise ListenRefused(f"{path} is another user's socket; it was left as it is")
    if is_answered(path):
        raise ListenRefused(f"somebody listens at {path} already")
    Path(path).unlink()


def is_answered(path: str) -> bool:
    """Whether anybody listens at this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
