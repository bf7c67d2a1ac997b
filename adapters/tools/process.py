"""Runs one call of a plain tool in a child process, so that it can be stopped whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

import msgspec

from ...ports import ToolContext
from . import process_child
from .process_child import FAILED, FRAME, MAX_ANSWER_BYTES, RESULT

MAX_PROCESSES = 64
"""Tool processes of one event loop at the same time; further calls wait for their turn."""

GRACE_S = 5.0
"""Seconds to wait for the end of a killed process, and for the rest of an answer after its process ended."""

_BOOTSTRAP = """
import pickle, socket, sys
line = socket.socket(fileno=int(sys.argv[1]))
order = line.makefile("rb")
try:
    sys.path[:], sys.argv[:] = pickle.load(order)
except (EOFError, OSError, pickle.UnpicklingError):
    sys.exit()  # the host died before it had said what to do
from executus.adapters.tools.process_child import answer
answer(line, order)
"""


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class ToolProcessFailed(Exception):
    """The tool's process gave no result: the tool raised there (the class then has the name of what it raised), or the
    process ended first. The text is for the model.
    """


async def run_in_process(call: Callable[[str, ToolContext], str], arguments: str, context: ToolContext) -> str:
    """Run `call(arguments, context)` in a new process and return its result, cut to what a fact holds.

    The child is a fresh interpreter: it is sent `call` pickled, imports the module it comes from, and has no file or
    socket of this process except standard error, where its standard output goes too; `context.desk` is None there, and
    secrets come through the pipe that the order comes through, which nobody else can read. It
    leads its own session. When the call is over, cancelled, or this process dies, it is killed with everything it
    started, except what left its process group.

    Raises:
        ToolProcessFailed: `call` raised, could not be loaded there, or its process ended without an answer.
        TypeError, ValueError: `call` cannot be found or rebuilt by another process; says what was expected.
        OSError: no process could be started.
    """
    process_child.refuse_nested()
    order = _order(call, arguments, context)
    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Semaphore(MAX_PROCESSES)):
        return await _run(order)


async def _run(order: bytes) -> str:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = await asyncio.create_subprocess_exec(
            *(_python(), "-P", "-c", _BOOTSTRAP, str(theirs.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()  # only the child holds it now, so that its end is our end of file
        ended = asyncio.ensure_future(process.wait())
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours.dup())
            try:
                writer.write(order)
                answer = asyncio.ensure_future(_answer(reader))
                try:
                    await asyncio.wait({answer, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if not answer.done():
                        _kill_group(process.pid)  # what it left behind may hold the line open
                        await asyncio.wait({answer}, timeout=GRACE_S)
                    found = answer.result() if answer.done() else None
                finally:
                    answer.cancel()
            finally:
                writer.close()
        finally:
            _kill_group(process.pid)
            ended.cancel()
            await _reap(process)
    if found is None:
        raise ToolProcessFailed(_last_words(process.returncode))
    kind, name, text = found
    if kind == RESULT:
        return text
    # Told to the model by its name, like an exception of a tool in this process.
    raise (type(name, (ToolProcessFailed,), {}) if kind == FAILED else ToolProcessFailed)(text)


def _order(call: Callable[[str, ToolContext], str], arguments: str, context: ToolContext) -> bytes:
    secrets = {name: secret.reveal() for name, secret in context.secrets.items()}
    context = msgspec.structs.replace(context, desk=None, secrets={})  # the desk belongs to this process
    try:
        order = pickle.dumps((call, arguments, context, secrets))
    except ValueError:
        raise
    except Exception as error:
        raise TypeError(f"{call!r} cannot be sent to a child process: {error}") from error
    return pickle.dumps((sys.path, sys.argv)) + pickle.dumps(order)


def _python() -> str:
    if not sys.executable:
        raise ValueError("no Python interpreter is known (sys.executable is empty): a tool process cannot be started")
    return sys.executable


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str, str] | None:
    try:
        kind, name_size, size = FRAME.unpack(await reader.readexactly(FRAME.size))
        if size > MAX_ANSWER_BYTES:
            return FAILED, "OverflowError", f"the tool's process sent an answer of {size} bytes"
        name = (await reader.readexactly(name_size)).decode("utf-8", "replace")
        return kind, name, (await reader.readexactly(size)).decode("utf-8", "replace")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _kill_group(leader: int) -> None:
    # After the leader is reaped its number stays taken for as long as the group has members.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Wait for a killed process to end, so that no zombie stays; not for ever, as a disk wait may hold it.

    Further cancellation waits as well: a host that closes cancels a task, and then all tasks once more.
    """
    cancelled = False
    deadline = asyncio.get_running_loop().time() + GRACE_S
    with contextlib.suppress(TimeoutError):
        while process.returncode is None:
            try:
                async with asyncio.timeout_at(deadline):
                    await process.wait()
            except asyncio.CancelledError:
                cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def _last_words(code: int | None) -> str:
    if code is None:
        return "the tool's process gave no answer and could not be ended"
    if code >= 0:
        return f"the tool's process ended with exit code {code} and gave no answer"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
    return f"the tool's process was killed by {name}{hint}, and gave no answer"
