"""`executus demo`: a light host. One bounded run for each Python file of a directory, many at a time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import click

from ..adapters.keys.sources import key_of_environment
from ..errors import ExecutusError, RuntimeClosed
from ..events import Event
from ..ports import Agent, Model
from ..projections.overview import Overview, evolve_overview, overview
from ..runtime import Run, Runtime
from .board import REDRAW_S, Board, JsonBoard, LiveBoard, PlainBoard, summary_line
from .file_tools import file_tools, python_files
from .program import DEFAULT_DB, INTERRUPTED, OK, PROBLEM, Misuse
from .reviewer import NAME, question, stand_in
from .shapes import print_json
from .words import count, harmless, many, short, span

INSTRUCTIONS = """You review one Python file. Look at its outline, then at the places that matter, with your tools.
Answer with at most five findings, the most important first, each with its line and what to do. If there is nothing
worth changing, say so in one sentence."""

MAX_STEPS = 12
TIMEOUT_S = 300.0
CALLER = "demo"
SILENT_S = 5.0
"""Seconds without an event after which a run is asked whether it still lives."""


def demonstrate(
    directory: Path | None, *, model: str | None, limit: int, jobs: int, pace_s: float, db: Path, as_json: bool
) -> int:
    """Review the files and show it; returns the exit code."""
    root = directory if directory is not None else Path(__file__).parent.parent
    root = root.resolve()
    files = python_files(root)
    if not files:
        raise Misuse(f"there is no Python file in {root}; name another directory")
    left_out, files = len(files) - limit, files[:limit]
    agent = _agent(root, model, pace_s)
    if not as_json:
        reviewer = f"model {model}" if model else f"{NAME}, an offline stand-in that follows fixed rules (see --model)"
        more = f" (of {left_out + limit}; see --limit)" if left_out > 0 else ""
        click.echo(f"Reviewing {many(len(files), 'file')}{more} of {root}")
        click.echo(f"Reviewer: {reviewer}. Journal: {db}\n")
    board = _board(as_json)
    began = time.monotonic()
    with Runtime(db, agents=[agent], encryption=key_of_environment()) as runtime:
        swarm = _Swarm(runtime, agent, files, jobs)
        interrupted = swarm.work(board)
    _print_summary(swarm, time.monotonic() - began, db, as_json, interrupted, estimated=model is None)
    if interrupted:
        return INTERRUPTED
    return OK if all(row.status == "ok" for row in swarm.rows.values()) else PROBLEM


def _agent(root: Path, model: str | None, pace_s: float) -> Agent:
    chosen: str | Model = stand_in(pace_s)
    if model is not None:
        from ..adapters.models.providers import resolve_model

        try:
            chosen = resolve_model(model)
        except (ValueError, ExecutusError) as error:
            raise Misuse(str(error)) from error
    # The directory is in the name, so that a run which a crash left behind is only taken up over the same files.
    return Agent(
        f"reviewer of {root.name}",
        model=chosen,
        instructions=INSTRUCTIONS,
        tools=file_tools(root),
        max_steps=MAX_STEPS,
        timeout_s=TIMEOUT_S,
    )


def _board(as_json: bool) -> Board:
    if as_json:
        return JsonBoard()
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainBoard()
    from rich.console import Console

    return LiveBoard(Console())


class _Swarm:
    """The host's side: starts runs, at most `jobs` at a time, and folds what the journal tells into rows."""

    def __init__(self, runtime: Runtime, agent: Agent, files: list[str], jobs: int) -> None:
        self.rows: dict[str, Overview] = {}
        self._runtime = runtime
        self._agent = agent
        self._waiting = files[::-1]
        self._jobs = jobs
        self._runs: dict[str, Run] = {}
        self._given_up: set[str] = set()
        self._changed: set[str] = set()
        self._ended = threading.Event()
        """Set when a run is over, so that the next can start."""
        self._news = threading.Lock()
        self._events = runtime.events(after=runtime.journal.head())

    @property
    def not_started(self) -> int:
        """Files whose run has not begun."""
        return len(self._waiting)

    def work(self, board: Board) -> bool:
        """Run everything to its end; True if Ctrl-C ended it."""
        interrupted = False
        self._take_up()
        listener = threading.Thread(target=self._listen, name="executus-demo-events", daemon=True)
        listener.start()
        board.start(len(self._waiting) + len(self._runs))
        try:
            self._drive(board)
        except KeyboardInterrupt:
            interrupted = True
            self._cancel()
        finally:
            self._events.close()
            listener.join(5)
            self._show(board)
            board.stop()
        return interrupted

    def _drive(self, board: Board) -> None:
        drawn = 0.0
        while True:
            self._ended.clear()
            live = len(self._live())
            while self._waiting and live < self._jobs:
                self._start(self._waiting.pop())
                live += 1
            if not live:
                return
            if time.monotonic() - drawn >= REDRAW_S:
                drawn = time.monotonic()
                self._show(board)
            self._ended.wait(REDRAW_S)

    def _show(self, board: Board) -> None:
        with self._news:
            rows, changed, self._changed = dict(self.rows), self._changed, set()
        board.show(rows, changed)

    def _start(self, path: str) -> Run:
        run = self._runtime.start(
            self._agent.name, question(path), caller=CALLER, name=path, subject="demo", inputs={"file": path}
        )
        with self._news:
            self._runs[run.id] = run
        return run

    def _take_up(self) -> None:
        """Runs that an interrupted demo left behind were resumed at opening: show them too."""
        for summary in self._runtime.runs(unfinished=True):
            row = overview(self._runtime.journal.read(summary.run_id))
            if row.agent == self._agent.name:
                self.rows[summary.run_id] = row
                self._runs[summary.run_id] = self._runtime.run(summary.run_id)

    def _listen(self) -> None:
        try:
            for event in self._events:
                self._note(event)
        except RuntimeClosed:
            pass

    def _note(self, event: Event) -> None:
        with self._news:
            row = self.rows.get(event.run_id, Overview())
            if event.version == row.version + 1:
                self.rows[event.run_id] = row = evolve_overview(row, event)
                self._changed.add(event.run_id)
                if row.state.over:
                    self._ended.set()

    def _live(self) -> list[str]:
        with self._news:
            rows = {run_id: self.rows.get(run_id, Overview()) for run_id in self._runs if run_id not in self._given_up}
        live = [run_id for run_id, row in rows.items() if not row.state.over]
        for run_id in live:
            silent_s = time.time() - rows[run_id].changed_at_us / 1e6
            if silent_s > SILENT_S and self._runs[run_id].status == "quarantined":
                self._given_up.add(run_id)
        return [run_id for run_id in live if run_id not in self._given_up]

    def _cancel(self) -> None:
        for run_id in self._live():
            try:
                self._runs[run_id].cancel("interrupted with Ctrl-C", by=CALLER, timeout=5)
            except (ExecutusError, TimeoutError):
                continue  # it ended meanwhile, or stays resumable


def _print_summary(swarm: _Swarm, took_s: float, db: Path, as_json: bool, interrupted: bool, estimated: bool) -> None:
    rows = swarm.rows
    guess = " (estimated)" if estimated else ""
    statuses = Counter(str(row.status) for row in rows.values())
    states = [row.state for row in rows.values()]
    steps, calls = sum(state.step for state in states), sum(state.tool_calls for state in states)
    tokens_in, tokens_out = sum(state.input_tokens for state in states), sum(state.output_tokens for state in states)
    if as_json:
        print_json(
            {
                "type": "summary",
                "runs": dict(statuses),
                "steps": steps,
                "tool_calls": calls,
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "seconds": round(took_s, 3),
                "interrupted": interrupted,
                "not_started": swarm.not_started,
                "db": str(db),
            }
        )
        return
    if interrupted:
        missing = f", {many(swarm.not_started, 'file')} not begun" if swarm.not_started else ""
        click.echo(f"\nInterrupted: the runs at work were cancelled{missing}; the journal is whole.")
    click.echo(
        f"\n{many(len(rows), 'run')}: {summary_line(statuses)}. {many(steps, 'step')}, {many(calls, 'tool call')}, "
        f"{count(tokens_in)} tokens in, {count(tokens_out)} out{guess}, in {span(took_s)}."
    )
    if not rows:
        return
    where = "" if db == DEFAULT_DB else f" --db {db}"
    worth = max(rows.values(), key=lambda row: (row.status != "ok", row.state.tool_calls, len(row.state.output)))
    click.echo("\nNext:")
    for command, what in (
        (f"executus ps{where}", "every run, newest first"),
        (f"executus show {short(worth.run_id)}{where}", f"what the reviewer did with {worth.info.name}"),
        (f"executus audit{where}", "who asked for what, what was done, what it cost"),
        (f"executus verify{where}", "check every log from its first event"),
    ):
        click.echo(f"  {harmless(command):<34}  {harmless(what)}")
