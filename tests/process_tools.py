"""Tools that behave badly, each in its own way; a child process imports them from here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

from executus import Secret, secret
from executus.adapters.tools.functions import tool
from executus.adapters.tools.process import run_in_process
from executus.ports import DidNotHappen, Happened, ToolContext, ToolSpec


@tool(mode="process", effect="pure")
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool(mode="process")
def key(context: ToolContext) -> str:
    return f"{context.run_id} {context.call} {context.key} {context.caller_id}"


@tool(mode="process")
def desk(context: ToolContext) -> str:
    return repr(context.desk)


@tool(mode="process")
def fail(text: str) -> str:
    raise FileNotFoundError(text)


@tool(mode="process")
def leave(code: int) -> str:
    os._exit(code)


@tool(mode="process")
def exits() -> str:
    sys.exit(3)


@tool(mode="process")
def die(number: int) -> str:
    os.kill(os.getpid(), number)
    return "still here"


@tool(mode="process")
def chatter() -> str:
    print("printed by a tool", flush=True)
    subprocess.run([sys.executable, "-c", "print('printed by its child')"], check=True)
    return "done"


@tool(mode="process")
def stdin_text() -> str:
    return sys.stdin.read()


@tool(mode="process")
def large(characters: int) -> str:
    return "é" * characters


@tool(mode="process")
def hang(where: Path) -> str:
    """Start a grandchild that outlives it, say so in the pipe `where`, and never return; deaf to polite signals."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = os.fork()
    if not grandchild:
        while True:
            time.sleep(60)
    where.write_text(f"{os.getpid()} {grandchild}\n")
    while True:
        time.sleep(60)


@tool(mode="process")
def orphan(where: Path, code: int = -1) -> str:
    """Leave a grandchild behind that holds every file of the tool; then return, or exit with `code`."""
    grandchild = os.fork()
    if not grandchild:
        while True:
            time.sleep(60)
    where.write_text(str(grandchild))
    if code >= 0:
        os._exit(code)
    return "done"


@tool(mode="process")
def open_files() -> list[str]:
    """What this process has open beside its standard streams and its line to the host."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            found.append(f"{number.name} {number.readlink()}")
        except OSError:
            continue  # the listing itself
    return found


@tool(mode="process")
def session() -> list[int]:
    return [os.getpid(), os.getsid(0), os.getpgrp()]


def plain(text: str) -> str:
    """Made a tool elsewhere."""
    return text.upper()


class Shout:
    """A tool that is no function."""

    spec = ToolSpec("shout", "", {"type": "object"})
    effect = "pure"
    mode = "process"
    timeout_s = None

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def check(self, arguments: str) -> str | None:
        return None

    def call(self, arguments: str, context: ToolContext) -> Awaitable[str]:
        return run_in_process(self.shout, arguments, context)

    def shout(self, arguments: str, context: ToolContext) -> str:
        return arguments + self.mark


@tool(mode="process", effect="pure")
def prove(code: str, token: Secret = secret("github")) -> str:
    """What the tool's process knows of the secret, and where from."""
    with Path("/proc/self/environ").open("rb") as environment, Path("/proc/self/cmdline").open("rb") as line:
        seen = token.reveal().encode() in environment.read() + line.read()
    return f"{code} {len(token.reveal())} {token} {seen}"


@tool(mode="process")
def spill(token: Secret = secret("github")) -> str:
    raise ValueError(f"rejected {token.reveal()}")


def ledger(book: Path) -> list[str]:
    """The lines of a book, none if there is no book."""
    return book.read_text().splitlines() if book.exists() else []


def look_up(book: Path, context: ToolContext) -> Happened | DidNotHappen:
    """Whether the payment of this key is in the book."""
    found = any(line.split()[0] == context.key for line in ledger(book))
    return Happened("found in the book") if found else DidNotHappen()


@tool(mode="process", effect="reconcilable", reconcile=look_up)
def pay_from_process(book: Path, hang: bool, context: ToolContext) -> str:
    """Write a line into `book`, and hang if nobody was here before."""
    before = book.with_suffix(".before").exists()
    book.with_suffix(".before").touch()
    with book.open("a") as file:
        file.write(f"{context.key} {os.getpid()}\n")
    while hang and not before:
        time.sleep(60)
    return "written again"
