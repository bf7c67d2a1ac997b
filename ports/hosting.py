"""The port to a live host: the orders that the debugger and other processes give. `Runtime` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from ..events import InputPart, Measure
from ..projections import RunState
from .overrides import Overrides


class LiveRun(Protocol):
    """A run of a live host. Every order returns when what it led to is durable, and raises `MessageRefused` when the
    run cannot take it, `TimeoutError` after `timeout` seconds.
    """

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    @property
    def status(self) -> str:
        """How the run stands, as `Run.status`."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not at work, or ""."""
        ...

    def state(self) -> RunState:
        """Where it stands, folded from its durable facts."""
        ...

    def send(self, message: str | Sequence[InputPart], *, by: str = "", timeout: float | None = 60.0) -> None:
        """Give it the person's next message."""
        ...

    def begin(self, *, by: str = "", timeout: float | None = 60.0) -> None:
        """Begin a fork, which waits for this."""
        ...

    def steer(self, text: str, *, by: str = "", timeout: float | None = 60.0) -> None:
        """Give advice that the model reads at its next step."""
        ...

    def extend(self, seconds: float, *, by: str = "", reason: str = "", timeout: float | None = 60.0) -> None:
        """Move the hard deadline."""
        ...

    def raise_ceiling(
        self, more: float, limit: Measure = "steps", *, by: str = "", reason: str = "", timeout: float | None = 60.0
    ) -> None:
        """Raise a limit by `more`."""
        ...

    def kill(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """End it with status "killed"."""
        ...

    def cancel(self, reason: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """End it with status "cancelled"."""
        ...

    def approve(self, call: str = "", *, by: str = "", timeout: float | None = 60.0) -> None:
        """Say yes to a call that waits for approval."""
        ...

    def deny(self, call: str = "", *, reason: str = "", by: str = "", timeout: float | None = 60.0) -> None:
        """Say no to it."""
        ...


class LiveHost(Protocol):
    """Whoever has the journal open and runs its runs."""

    def run(self, run_id: str) -> LiveRun:
        """One of its runs.

        Raises:
            UnknownRun: there is none with this id.
        """
        ...

    @property
    def live_runs(self) -> int:
        """How many are at work, or waiting."""
        ...

    def start(
        self,
        agent: str,
        input: str | Sequence[InputPart],
        *,
        caller: str = "",
        request_id: str = "",
        name: str = "",
        subject: str = "",
        interactive: bool = False,
        dry_run: bool = False,
        max_steps: int | None = None,
        timeout: float | None = 60.0,
    ) -> LiveRun:
        """Start a run of one of its agents.

        Raises:
            UnknownAgent, BudgetSpent, Overloaded, DiskFull: it cannot be started now. ValueError, TypeError.
        """
        ...

    def fork(
        self,
        run: str,
        at: int | None = None,
        *,
        overrides: Overrides | None = None,
        start: bool = False,
        by: str = "",
        reuse: Literal["never", "recorded"] = "never",
        timeout: float | None = 60.0,
    ) -> LiveRun:
        """A new run that goes on from where `run` stood after its event `at`; it waits to be begun, unless `start`.

        Raises:
            UnknownRun, UnknownAgent, MessageRefused: it cannot be forked here. ValueError, TypeError: a wrong override.
        """
        ...

    def artifact(self, sha256: str) -> bytes:
        """The bytes of an artifact, by its address.

        Raises:
            FileRefused: there is none, or it is damaged.
        """
        ...
