"""What tests of attached processes share: a short private directory, processes that say what they do, and a run that
does one step at a time."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime_support import DEADLINE_S

from executus import Agent, ScriptedModel, tool
from executus.adapters.models.scripted import call

HERE = Path(__file__).parent


@contextmanager
def short_room() -> Iterator[Path]:
    """A directory of a short name, for sockets, that is also where hosts are found."""
    folder = Path(tempfile.mkdtemp(prefix="x"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


class Talker:
    """A Python program in a process of its own, whose lines are waited for."""

    def __init__(self, program: str, *arguments: object) -> None:
        command = [sys.executable, "-W", "error", str(HERE / program), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def wait_for(self, start: str) -> str:
        """The next line that begins so."""
        while True:
            line = self._coming.get(timeout=DEADLINE_S)
            assert line is not None, f"it ended without {start!r}; it said {self.lines}"
            self.lines.append(line)
            if line.startswith(start):
                return line

    def say(self, line: str = "") -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Turnstile:
    """Lets one tool call through for each `turn`."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)

    def turn(self, times: int = 1) -> None:
        """Let so many through."""
        self._turns.release(times)

    def wait_entered(self) -> None:
        """Wait until one more call waits here."""
        assert self._waiting.acquire(timeout=DEADLINE_S)

    def agent(self, name: str = "clerk", steps: int = 3, **settings: Any) -> Agent:
        """An agent of so many steps with a call that waits here, and a last one."""

        @tool(effect="pure")
        def stand(number: int) -> str:
            """Wait for your turn."""
            self._waiting.release()
            assert self._turns.acquire(timeout=DEADLINE_S)
            return f"stood {number}"

        def answer(request: Any) -> Any:
            return call("stand", number=request.step) if request.step <= steps else "done"

        return Agent(name, model=ScriptedModel(answer), tools=[stand], **settings)
