"""What runs inside a tool's own process: load the tool, call it once, answer, and die with the host."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from typing import IO, Any, Final

import msgspec

from ...events.clean import MAX_TEXT, clean_text
from ...redaction import Secret

RESULT: Final = 0
FAILED: Final = 1
UNLOADED: Final = 2

FRAME: Final = struct.Struct(">BIQ")
"""An answer's head: its kind, the bytes of an exception's name, the bytes of the text; then both in UTF-8."""

MAX_ANSWER_BYTES: Final = 4 * MAX_TEXT
_KEPT = MAX_TEXT - 256  # with the note about the cut it still fits a fact

_loading: socket.socket | None = None


def answer(line: socket.socket, order: IO[bytes]) -> None:
    """Take one call from `order`, answer it on `line`, and exit."""
    global _loading
    line.set_inheritable(False)
    _quiet_stdout()
    try:
        sent = pickle.load(order)  # noqa: S301 (from the host that started this process)
    except (EOFError, OSError, pickle.UnpicklingError):  # the host died before it had said what to do
        return
    threading.Thread(target=_die_with_the_host, args=(order,), name="executus-host", daemon=True).start()
    _loading = line
    try:
        call, arguments, context, secrets = pickle.loads(sent)  # noqa: S301
        given = {name: Secret(value).named(name) for name, value in secrets.items()}
        context = msgspec.structs.replace(context, secrets=given)
    except BaseException as error:
        _send(
            line, UNLOADED, "", f"the tool could not be loaded in its process: {type(error).__name__}: {_text(error)}"
        )
        return
    _loading = None
    try:
        result: Any = call(arguments, context)
        if not isinstance(result, str):
            raise TypeError(f"a tool in a process returns text, got {type(result).__name__}")
    except BaseException as error:
        _send(line, FAILED, type(error).__name__, _text(error))
    else:
        _send(line, RESULT, "", result)


def refuse_nested() -> None:
    """Called before another tool process is started: not while this one still loads the main script.

    Such a script starts its runs whenever it is imported and would do so without end.
    """
    if _loading is not None:
        _send(
            _loading,
            UNLOADED,
            "",
            "the main script starts its runs when it is imported, which a tool's process has to do; "
            'put that under `if __name__ == "__main__":`',
        )
        os._exit(1)


def _quiet_stdout() -> None:
    """Send standard output to standard error: the host's own may be a protocol or a table."""
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _die_with_the_host(order: IO[bytes]) -> None:
    order.read(1)  # returns when the host closes its end, or dies
    os.killpg(os.getpid(), signal.SIGKILL)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as again:
        return f"<str() failed with {type(again).__name__}>"


def _send(line: socket.socket, kind: int, name: str, text: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or replaced by the tool
            stream.flush()
    name_bytes = clean_text(name, 200).encode()
    text_bytes = clean_text(text, _KEPT).encode()
    line.sendall(FRAME.pack(kind, len(name_bytes), len(text_bytes)) + name_bytes + text_bytes)
