"""`executus backtest` and `executus cassette`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ..adapters.critics.stuck import StuckCritic
from ..backtesting import backtest
from ..ports import Allowance
from ..ports.allowances import checked_allowances
from ..projections.backtesting import Backtest
from .bars import bar
from .moments import moment_us
from .named import imported
from .opening import find_run, reading
from .program import Misuse
from .shapes import print_json
from .words import cut, harmless, many, one_line, screen_width


def run_backtest(
    db: Path,
    runs: tuple[str, ...],
    *,
    critic: str | None,
    settings: tuple[str, ...],
    every: tuple[int | None, float | None],
    allowed: tuple[str, ...],
    caller: str | None,
    agent: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Try the critic, the allowances, or both, and print what came of it."""
    if critic is None and not allowed:
        raise Misuse("nothing to try: name a critic with --critic, or an allowance with --allow")
    if critic is None and (settings or every != (None, None)):
        raise Misuse("--set, --every-steps and --every-s are about a critic: name it with --critic")
    tried = None if critic is None else _critic(critic, settings, every)
    allowances = [_allowance(one) for one in allowed]
    since_us = moment_us("--since", since)
    if runs and (caller, agent, since) != (None, None, None):
        raise Misuse("name runs, or choose them with --caller, --agent and --since")
    came = _HowFar()
    with reading(db) as journal, bar("backtest", journal.head()) as told:

        def progress(done: int, total: int) -> None:
            came.events, came.total = done, total
            told(done)

        try:
            found = backtest(
                journal,
                critic=tried,
                budget=allowances or None,
                runs=[find_run(journal, run) for run in runs] if runs else None,
                since=None if since_us is None else datetime.fromtimestamp(since_us / 1e6, UTC),
                caller=caller,
                agent=agent,
                progress=progress,
            )
        except KeyboardInterrupt:
            click.echo(f"executus: interrupted after {came}; a backtest writes nothing", err=True)
            raise
        except ValueError as error:
            raise Misuse(str(error)) from error
    _print(found, as_json)


@dataclass
class _HowFar:
    events: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.events:,} of {many(self.total, 'event')}" if self.total else "nothing"


def _print(found: Backtest, as_json: bool) -> None:
    if as_json:
        for row in found.rows:
            print_json({"type": "backtest-run", **msgspec.to_builtins(row)})
        for run_id, why in found.unreadable:
            print_json({"type": "problem", "run": run_id, "version": 0, "position": 0, "problem": why})
        totals: dict[str, Any] = msgspec.to_builtins(found.totals)
        print_json({"type": "summary", "critic": found.critic, "budget": found.budget, **totals})
        return
    width = screen_width()
    for line in found.table().splitlines():
        click.echo(cut(harmless(line), width))


def _critic(spec: str, settings: tuple[str, ...], every: tuple[int | None, float | None]) -> Any:
    values: dict[str, Any] = {}
    for one in settings:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise Misuse(f"--set: expected NAME=VALUE, got {one_line(one)!r}")
        try:
            values[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            values[name] = value
    made: Any = StuckCritic if spec == "stuck" else imported("--critic", spec)
    try:
        if isinstance(made, type):
            made = made(**values)
        elif values:
            raise Misuse(f"--set: {one_line(spec)} is no class, so that it takes no settings")
    except (TypeError, ValueError) as error:
        raise Misuse(f"--critic {one_line(spec)}: {error}") from error
    if not callable(getattr(made, "review", None)) and not callable(made):
        raise Misuse(f"--critic {one_line(spec)}: expected a critic, which has a method review(trace, now)")
    try:
        for name, often in zip(("every_steps", "every_s"), every, strict=True):
            if often is not None:
                setattr(made, name, often)
    except AttributeError as error:
        raise Misuse(f"--critic {one_line(spec)}: how often it is asked cannot be changed: {error}") from error
    return made


def _allowance(text: str) -> Allowance:
    window, colon, rest = text.partition(":")
    name, equals, number = rest.partition("=")
    if not colon or not equals or name not in ("tokens", "cost_usd", "runtime_s", "tool_calls"):
        raise Misuse(f"--allow: expected WINDOW:LIMIT=N, such as day:tokens=100000, got {one_line(text)!r}")
    try:
        most: Any = int(number) if name in ("tokens", "tool_calls") else float(number)
        limits: dict[str, Any] = {"window": window, name: most}
        [allowance] = checked_allowances([Allowance(**limits)])
    except (TypeError, ValueError) as error:
        raise Misuse(f"--allow {one_line(text)}: {error}") from error
    return allowance


def write_cassette(db: Path, run: str, output: Path, *, as_json: bool) -> None:
    """Write the run as a cassette."""
    from ..cassettes import cassette

    with reading(db) as journal:
        tape = cassette(journal, find_run(journal, run))
    tape.save(output)
    told = {"type": "cassette", "run": tape.tape.run_id, "file": str(output), "steps": len(tape.tape.steps)}
    if as_json:
        print_json(told | {"bytes": output.stat().st_size})
    else:
        click.echo(f"{len(tape.tape.steps)} steps of run {tape.tape.run_id} in {harmless(str(output))}")
