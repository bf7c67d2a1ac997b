"""Hosts in processes of their own, for tests of the wire, and a private directory whose paths are short enough."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call

FOR_EVER = 10**6


@pytest.fixture
def wire_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private directory for journals and sockets. A socket's path has at most 107 bytes; `tmp_path` may have more."""
    made = Path(tempfile.mkdtemp(prefix="exw-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    monkeypatch.delenv("EXECUTUS_TOKEN", raising=False)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@tool(effect="pure")
async def pause() -> str:
    """Takes a moment."""
    await asyncio.sleep(0.02)
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


def agents() -> list[Agent]:
    """ "pacer" steps without end, "patient" waits in its first step, "asker" asks for approval at each step."""
    terms: dict[str, Any] = {"max_steps": FOR_EVER, "timeout_s": 1e6}
    return [
        Agent(name, model=ScriptedModel(lambda request, one=one.spec.name: [call(one)]), tools=[one], **terms)
        for name, one in (("pacer", pause), ("patient", wait), ("asker", ask_first))
    ]


class HostProcess:
    """A host of the journal at `path` in a process of its own, ready, with one run of each of these agents. It ends
    when told to (`close`), by a signal (`kill`), or with this context.
    """

    def __init__(self, path: Path, *runs: str) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(path), *runs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"the host did not open: {self._process.communicate()[1]}")
        self.runs: list[str] = ready[1:]

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> str:
        """Have it close its runtime; what it said on standard error."""
        _, said = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, said
        return said

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; after a SIGKILL it is gone when this returns."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.communicate()

    def __enter__(self) -> HostProcess:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with suppress(ValueError):
            self._process.communicate()


def main() -> None:
    path, *names = sys.argv[1:]
    with Runtime(path, agents(), listen="ipc") as runtime:
        runs = [runtime.start(name, "go", request_id=f"{name} {number}").id for number, name in enumerate(names)]
        print("ready", *runs, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
