"""The commands that start from what was recorded: `fork`, `backtest`, `cassette`, `export`, `debug`. No run changes."""

# ruff: noqa: D301  (click wants a real backspace before lines that are not to be wrapped)

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .program import db_option, executus, json_option

WRITTEN: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""A file to be written; "-" is standard output."""


@executus.command(short_help="Go on from any event of a run.")
@click.argument("run")
@click.option("--at", type=int, metavar="VERSION", help="The event to go on from; by default the newest.")
@click.option("--say", multiple=True, metavar="TEXT", help="What a person says next; may be repeated.")
@click.option(
    "--reword",
    "reworded",
    multiple=True,
    metavar="N=TEXT",
    help="What message N says instead, as `executus at` numbers them; may be repeated.",
)
@click.option("--drop-from", type=click.IntRange(min=0), metavar="N", help="Leave out message N and all after it.")
@click.option("--model", metavar="NAME", help="Another model.")
@click.option("--instructions", metavar="TEXT", help="Other instructions.")
@click.option(
    "--tools", metavar="NAME,…", help='The only tools that stay, agent__NAME and skill__NAME too; "" for none.'
)
@click.option("--agent", metavar="MODULE:NAME", help="Another agent, an Agent that is imported from there.")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="Another limit, such as steps=20; may be repeated."
)
@click.option(
    "--result", "results", multiple=True, metavar="CALL=TEXT", help="What the tool of a call answered instead."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be inherited; also while a host is writing.")
@db_option
@json_option
def fork(
    run: str,
    at: int | None,
    say: tuple[str, ...],
    reworded: tuple[str, ...],
    drop_from: int | None,
    model: str | None,
    instructions: str | None,
    tools: str | None,
    agent: str | None,
    limits: tuple[str, ...],
    results: tuple[str, ...],
    dry_run: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Make a new run that goes on from where RUN stood after its event VERSION (`executus show RUN --events`).

    It inherits results, never effects: calls that were not started are its to make, pure ones that were under way are
    made again, the outcome of others is told as unknown. It waits until a host begins it that has its agent; with
    --agent, that is one that has an agent of that name. RUN is not touched. No host may have the journal open, except
    for --dry-run; in a live one say Runtime.fork.

    \b
    Examples:
      executus fork 9f3c21aa --at 12 --dry-run
      executus fork 9f3c21aa --at 12 --say "Look at the logs first." --limit steps=30
      executus fork 9f3c21aa --at 12 --result "3.0=the file is empty"
      executus fork 9f3c21aa --at 12 --tools read_file,search
      executus fork 9f3c21aa --at 12 --agent my_host.agents:careful
      executus fork 9f3c21aa --at 12 --reword "1=Read the newest log first."
    """
    from .forking import fork_run

    fork_run(
        db,
        run,
        at=at,
        say=say,
        reworded=reworded,
        drop_from=drop_from,
        model=model,
        instructions=instructions,
        tools=tools,
        agent=agent,
        limits=limits,
        results=results,
        dry_run=dry_run,
        as_json=as_json,
    )


@executus.command(short_help="Try a critic or a budget on recorded runs.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--critic", metavar="MODULE:NAME", help="A critic of yours, imported from there; or: stuck.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the critic, as in repeats=3; may be repeated.",
)
@click.option("--every-steps", type=click.IntRange(min=1), help="Ask the critic after every so many steps.")
@click.option("--every-s", type=click.FloatRange(min=0.1), help="Ask it every so many seconds of a run's own clock.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="WINDOW:LIMIT=N",
    help="What each caller might have spent, as in day:tokens=100000; windows run, hour, day, month, total; limits"
    " tokens, cost_usd, runtime_s, tool_calls; may be repeated.",
)
@click.option("--caller", help="Only runs of this caller.")
@click.option("--agent", help="Only runs of this agent.")
@click.option("--since", metavar="WHEN", help="Only runs started since: 3d, 12h, 2026-01-31, 2026-01-31T12:00.")
@db_option
@json_option
def backtest(
    runs: tuple[str, ...],
    critic: str | None,
    settings: tuple[str, ...],
    every_steps: int | None,
    every_s: float | None,
    allowed: tuple[str, ...],
    caller: str | None,
    agent: str | None,
    since: str | None,
    db: Path,
    as_json: bool,
) -> None:
    """Tell what a critic or a budget would have done to each RUN, or to all: whom it would have steered and killed,
    what that would have saved, and which good runs it would have cost.

    The recorded facts are told to it at their recorded times. No model and no tool is called, nothing is written, and a
    host may be running. A run counts as stuck if it did not end ok, or its recording carries a reward of 0.

    \b
    Examples:
      executus backtest --critic stuck
      executus backtest --critic stuck --set repeats=3 --set grace_steps=1 --since 7d
      executus backtest --critic my_host.critics:Patience --caller alice
      executus backtest --allow day:tokens=200000 --allow run:cost_usd=0.5 --json | jq .saved
    """
    from .backtesting import run_backtest

    run_backtest(
        db,
        runs,
        critic=critic,
        settings=settings,
        every=(every_steps, every_s),
        allowed=allowed,
        caller=caller,
        agent=agent,
        since=since,
        as_json=as_json,
    )


@executus.command(short_help="Keep a run as a file to test with.")
@click.argument("run")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JSON file.")
@db_option
@json_option
def cassette(run: str, output: Path, db: Path, as_json: bool) -> None:
    """Write RUN to a small JSON file, from which a test has the recorded model and tools: no key, no database.

    In the test: tape = executus.testing.cassette("FILE"). Secrets that were masked in the run stay masked.

    \b
    Examples:
      executus cassette 9f3c21aa -o tests/refund.json
    """
    from .backtesting import write_cassette

    write_cassette(db, run, output, as_json=as_json)


@executus.command(short_help="A run as a page in one file, or as JSON Lines.")
@click.argument("run")
@click.option("--html", type=WRITTEN, metavar="FILE", help="The page, in this file.")
@click.option("--jsonl", type=WRITTEN, metavar="FILE", help="The events, one a line, in this file.")
@click.option("--from", "first", type=click.IntRange(min=1), default=1, help="Begin with this event.")
@click.option("--to", "last", type=click.IntRange(min=1), help="End with this event; by default the newest.")
@db_option
@json_option
def export(
    run: str, html: Path | None, jsonl: Path | None, first: int, last: int | None, db: Path, as_json: bool
) -> None:
    """Write RUN into a file, for who does not have the journal: as a page to read, or as JSON Lines; "-" is standard
    output.

    The page is the debugger's, in one file: it opens from a disk or as the artifact of a build, loads nothing, and goes
    to any event, with the conversation, the state, and what changed, as they were. Whoever has the file can read all
    that was said. Secrets that were masked stay masked; what is sealed is in it only if the key was given. Artifacts
    and other runs are not in it. A page holds 20,000 events; of a longer run choose a part.

    The lines are those of `executus show RUN --events --json`.

    \b
    Examples:
      executus export 9f3c21aa --html run.html
      executus export 9f3c21aa --html part.html --from 3000 --to 4000
      executus export 9f3c21aa --jsonl - | jq -c 'select(.tag=="tool-finished")'
    """
    from .exporting import export_run

    export_run(db, run, html=html, jsonl=jsonl, first=first, last=last, as_json=as_json)


@executus.command(short_help="Look at runs in the browser.")
@click.argument("what", required=False, metavar="[DB|RUN]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--open/--no-open", "opened", default=True, help="Open the page in a browser.")
@db_option
@json_option
def debug(what: str | None, port: int, opened: bool, db: Path, as_json: bool) -> None:
    """Serve a page on this machine that shows every run at any of its moments: step through it, see what changed and
    who changed it, compare moments and runs, follow a run that is at work. It only reads. Ctrl-C ends it.

    The printed address holds a token, without which the page shows nothing. From another machine, forward the port:
    ssh -L 8400:127.0.0.1:8400 HOST. Needs an extra: pip install 'executus[debug]'.

    \b
    Examples:
      executus debug
      executus debug runs.db
      executus debug 9f3c21aa --no-open
      executus debug --port 8400 --no-open
    """
    from .debugging import debug_runs

    debug_runs(db, what, port=port, opened=opened, as_json=as_json)
