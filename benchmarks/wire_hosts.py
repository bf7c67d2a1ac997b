"""Hosts that other processes follow and steer, for the scripts about the wire: their agents, and processes of them.

Processes are forked from one that has loaded everything and opened nothing: that is quick, and they end as any Python
program does.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pynng  # noqa: F401 - loaded before anybody is forked; no socket is made here

import executus.wire.attached
import executus.wire.host  # noqa: F401 - the same
from executus import Agent, ModelRequest, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call

FOR_EVER: Final = 10**6
PATIENCE_S: Final = 30.0


@contextmanager
def home(folder: Path | None = None) -> Iterator[Path]:
    """A new private directory for a journal, with one for sockets in it, whose path is short: a socket's must be."""
    was, maker = os.environ.get("XDG_RUNTIME_DIR"), os.getpid()
    made = Path(tempfile.mkdtemp(prefix="exw-", dir=folder))
    os.environ["XDG_RUNTIME_DIR"] = str(made)
    try:
        yield made
    finally:
        if os.getpid() == maker:
            shutil.rmtree(made, ignore_errors=True)
            if was is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = was


# ------------------------------------------------------------------ agents


@tool(effect="pure")
async def pause() -> str:
    """Takes a moment."""
    await asyncio.sleep(0.05)
    return "paused"


@tool(effect="pure")
async def wait() -> str:
    """Never returns."""
    await asyncio.sleep(FOR_EVER)
    return ""


@tool(effect="pure", approval=True)
async def ask_first() -> str:
    """Waits for somebody's yes."""
    return "granted"


def _always(name: str) -> Callable[[ModelRequest], Any]:
    return lambda request: [call(name)]


def agents() -> list[Agent]:
    """The "pacer" steps twenty times a second, the "patient" waits, the "asker" asks for approval at each step."""
    return [
        Agent("pacer", model=ScriptedModel(_always("pause")), tools=[pause], max_steps=FOR_EVER, timeout_s=1e6),
        Agent("patient", model=ScriptedModel(_always("wait")), tools=[wait], max_steps=FOR_EVER, timeout_s=1e6),
        Agent("asker", model=ScriptedModel(_always("ask_first")), tools=[ask_first], max_steps=FOR_EVER, timeout_s=1e6),
    ]


# ------------------------------------------------------------------ processes


class Pipe:
    """Lines to and from whoever is at the other end."""

    def __init__(self, up: int, down: int) -> None:
        self.up, self.down = up, down

    def tell(self, word: str) -> None:
        """One line to the other side."""
        with suppress(BrokenPipeError):
            os.write(self.down, word.encode() + b"\n")

    def hear(self, patience_s: float = PATIENCE_S) -> str:
        """One line of the other side; "" if it ended or said nothing for so long."""
        line = b""
        until = time.monotonic() + patience_s
        while not line.endswith(b"\n"):
            if not select.select([self.up], [], [], max(0.0, until - time.monotonic()))[0]:
                return ""
            found = os.read(self.up, 1)
            if not found:
                return ""
            line += found
        return line.decode().strip()


class Child(Pipe):
    """A process that was begun here. errors: the file that its standard error goes to."""

    def __init__(self, pid: int, up: int, down: int, errors: Path) -> None:
        super().__init__(up, down)
        self.pid, self.errors = pid, errors
        self.code: int | None = None

    @property
    def said(self) -> str:
        """What it wrote to its standard error."""
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it is still there."""
        if self.code is None:
            os.kill(self.pid, number)

    def ended(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether it ends within so many seconds; `code` is its exit code then."""
        until = time.monotonic() + patience_s
        while self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
                os.close(self.up)
                os.close(self.down)
                break
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)
        return True

    def end(self) -> None:
        """Kill it, if it is still there."""
        self.kill()
        self.ended()


class Nursery:
    """Begins processes, each forked from one that has loaded everything, opened nothing, and stands at the outermost
    line of its program: so each ends as any Python program does, and begins in no time. script: what they run; its
    `main` calls `born`. Linux: whoever makes one becomes the parent of them all.
    """

    def __init__(self, script: str, folder: Path) -> None:
        if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0):  # PR_SET_CHILD_SUBREAPER
            raise OSError("this process cannot become the parent of its children's children")
        self._folder, self._count = folder, 0
        self._mine, other = socket.socketpair()
        command = [sys.executable, script, BORN, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()])
        other.close()

    def begin(self, role: str, *words: str) -> Child:
        """A new process in this role."""
        self._count += 1
        errors = self._folder / f"said-{self._count}.txt"
        theirs_up, down = os.pipe()
        up, theirs_down = os.pipe()
        stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        job = json.dumps([os.environ.get("XDG_RUNTIME_DIR", ""), role, *words]).encode()
        socket.send_fds(self._mine, [job], [theirs_up, theirs_down, stderr])
        pid = int(self._mine.recv(64) or b"0")
        for one in (theirs_up, theirs_down, stderr):
            os.close(one)
        if not pid:
            raise RuntimeError("the nursery is gone")
        return Child(pid, up, down, errors)

    def close(self) -> None:
        """No more."""
        self._mine.close()
        self._process.wait(PATIENCE_S)


BORN: Final = "--born"


def born() -> tuple[Pipe, list[str]] | None:
    """Called first thing by a script: None in its driver, and in each process that a `Nursery` begins its pipe and its
    words, the role first.
    """
    if sys.argv[1:2] != [BORN]:
        return None
    mine = socket.socket(fileno=int(sys.argv[2]))
    while True:
        job, fds, _, _ = socket.recv_fds(mine, 65_536, 3)
        if not job:
            os._exit(0)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for one in fds:
                os.close(one)
            continue
        child = os.fork()
        if child:
            mine.send(str(child).encode())
            os._exit(0)
        mine.close()
        up, down, stderr = fds
        os.dup2(stderr, 2)
        os.close(stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["XDG_RUNTIME_DIR"], *words = json.loads(job)
        return Pipe(up, down), words


def serve(pipe: Pipe, path: str, *runs: str) -> None:
    """What a host does: listens, with one run of each of these agents, each under its own request, until it ends."""
    with suppress(KeyboardInterrupt), Runtime(path, agents(), listen="ipc") as runtime:
        for number, name in enumerate(runs):
            runtime.start(name, "go", request_id=f"{name}-{number}")
        pipe.tell("ready")
        while True:
            time.sleep(0.5)


def host(nursery: Nursery, path: Path, *runs: str) -> Child:
    """A host (role "serve") of the journal at `path`, ready."""
    made = nursery.begin("serve", str(path), *runs)
    if made.hear() != "ready":
        made.end()
        raise RuntimeError(f"a host did not open: {made.said}")
    return made


def report(figures: dict[str, Any], as_json: bool) -> int:
    """Print what a script has found, and which promises broke; the script's exit code."""
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "problems":
                print(f"{name.replace('_', ' '):28} {value}")
        for problem in figures["problems"]:
            print(f"BROKEN: {problem}")
        print("no promise was broken" if not figures["violations"] else "a promise was broken")
    return 1 if figures["violations"] else 0
