"""The commands that look back: `history`, `at`, `diff`, `blame`, `lineage`, `search`. They only read."""

# ruff: noqa: D301  (click wants a real backspace before lines that are not to be wrapped)

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .program import Misuse, db_option, executus, json_option

LANES: Final = ("run", "step", "tool", "child", "critic", "budget", "people", "host", "delivery")


@executus.command(short_help="What happened in a run, moment by moment.")
@click.argument("run")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Begin after this version.")
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Print this many moments at most.")
@click.option("--lane", "lanes", multiple=True, type=click.Choice(LANES), help="Only this lane; may be repeated.")
@click.option("--errors", is_flag=True, help="Only what went wrong.")
@click.option("--brief", is_flag=True, help="Leave out what only announces the next thing.")
@db_option
@json_option
def history(
    run: str,
    after: int,
    limit: int | None,
    lanes: tuple[str, ...],
    errors: bool,
    brief: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Print what happened in RUN, one moment a line: its version, the run's own clock, whose moment it was, and what it
    says.

    A version is the number of an event in its run; `executus at` and `executus diff` take it. Lanes are run, step (the
    model), tool, child, critic, budget, people, host and delivery. What went wrong is red, and marked with "✗".

    \b
    Examples:
      executus history 9f3c21aa --brief
      executus history 9f3c21aa --errors
      executus history 9f3c21aa --lane critic --lane budget
      executus history 9f3c21aa --json | jq -r 'select(.wrong) | .version'
    """
    from .looking_back import print_history

    print_history(db, run, after=after, limit=limit, lanes=lanes, errors=errors, brief=brief, as_json=as_json)


@executus.command("at", short_help="A run as it stood at one version.")
@click.argument("run")
@click.argument("version")
@click.option("--full", is_flag=True, help="The whole conversation, and cut nothing.")
@click.option("--family", is_flag=True, help="Instead: the whole family of RUN, as it stood at that moment.")
@db_option
@json_option
def at(run: str, version: str, full: bool, family: bool, db: Path, as_json: bool) -> None:
    """Show RUN as it stood after the event VERSION: where it was, what it waited for, how much of each limit was used,
    and the conversation that the model would be shown next.

    VERSION is a number that `executus history` shows, 0 for before the first event, or "last". --json prints the whole
    state, in which `executus blame` and `executus diff` name places.

    \b
    Examples:
      executus at 9f3c21aa 12
      executus at 9f3c21aa last --full
      executus at 9f3c21aa 12 --family
      executus at 9f3c21aa 12 --json | jq .state.limits
    """
    from .looking_back import print_family, print_state

    if family:
        print_family(db, run, version, as_json=as_json)
    else:
        print_state(db, run, version, full=full, as_json=as_json)


@executus.command("diff", short_help="What changed between two versions, or where two runs part.")
@click.argument("run")
@click.argument("first", metavar="M | RUN_B")
@click.argument("second", metavar="N", required=False)
@click.option("--full", is_flag=True, help="Cut nothing.")
@db_option
@json_option
def diff(run: str, first: str, second: str | None, full: bool, db: Path, as_json: bool) -> None:
    """Show what changed in RUN between its versions M and N; or, of two runs, where they part and what each did there.

    Two runs are compared by what was asked, said, done and decided, not by times, ids and cost. A run that goes on from
    the other is compared from where it left it, others from after their start; how they were started differently is
    told first. --json has the changes as a JSON Patch (RFC 6902), too. The exit code
    is 0 also if there are differences.

    \b
    Examples:
      executus diff 9f3c21aa 12 16
      executus diff 9f3c21aa 0 last
      executus diff 9f3c21aa 77d01b42
      executus diff 9f3c21aa 12 16 --json | jq .patch
    """
    from .comparing import print_difference, print_divergence

    if second is not None:
        print_difference(db, run, first, second, full=full, as_json=as_json)
    elif first.isdecimal() and len(first) < 4:
        raise Misuse(f"diff: give two versions (executus diff {run} {first} last), or two runs")
    else:
        print_divergence(db, run, first, full=full, as_json=as_json)


@executus.command(short_help="Which events wrote a part of a run's state.")
@click.argument("run")
@click.argument("path")
@click.option("--at", "version", metavar="VERSION", default="last", help="Only up to this version.")
@click.option("--full", is_flag=True, help="Cut nothing.")
@db_option
@json_option
def blame(run: str, path: str, version: str, full: bool, db: Path, as_json: bool) -> None:
    """List every event of RUN that changed what stands at PATH of its state, newest last: what was there, what came, by
    whom.

    PATH is a place in what `executus at RUN VERSION --json` prints, with dots or as a JSON pointer. The names of the
    state need no way there: status, output, limits.max_steps, deadline_ms, cost_usd, messages, messages.3.

    \b
    Examples:
      executus blame 9f3c21aa status
      executus blame 9f3c21aa limits.max_steps
      executus blame 9f3c21aa /transcript/messages/3 --at 40
      executus blame 9f3c21aa deadline_ms --json | jq -r .by
    """
    from .comparing import print_blame

    print_blame(db, run, path, version, full=full, as_json=as_json)


@executus.command(short_help="The tree of forks that a run belongs to.")
@click.argument("run")
@click.option("--full", is_flag=True, help="Cut nothing.")
@db_option
@json_option
def lineage(run: str, full: bool, db: Path, as_json: bool) -> None:
    """Draw the tree of runs that go on from one another, with RUN in it: of each, at which event it left the run above,
    what was made different in it, and how it stands or ended.

    RUN itself has a "*". A run that others go on from and that this journal does not have is "not here". The first
    events of every run of the journal are looked at. --json prints one object a run, those above first.

    \b
    Examples:
      executus lineage 9f3c21aa
      executus lineage 9f3c21aa --full
      executus lineage 9f3c21aa --json | jq -r 'select(.above != null) | [.run, .version, .status] | @tsv'
      executus lineage 9f3c21aa --json | jq '{run, edits}'
    """
    from .descent import print_lineage

    print_lineage(db, run, full=full, as_json=as_json)


@executus.command(short_help="Find events by text, tool, kind or error.")
@click.argument("text", default="")
@click.option("--tool", default="", metavar="NAME", help="Only about calls of this tool.")
@click.option("--errors", is_flag=True, help="Only what went wrong.")
@click.option("--tag", default="", metavar="TAG", help="Only this kind of fact, such as critic-steered.")
@click.option("--run", "runs", multiple=True, metavar="RUN", help="Only in this run; may be repeated.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="POSITION",
    help="Only after this position of the journal.",
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Print this many at most.")
@click.option("--all", "everything", is_flag=True, help="Print all.")
@db_option
@json_option
def search(
    text: str,
    tool: str,
    errors: bool,
    tag: str,
    runs: tuple[str, ...],
    after: int,
    limit: int,
    everything: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Find events in which TEXT was said, by anybody, in any run: one line each, oldest first, with what stands around
    it.

    Upper and lower case are the same. Without TEXT, every event that the options choose. What is sealed is found only
    with its key.

    \b
    Examples:
      executus search "refund"
      executus search --errors --run 9f3c21aa
      executus search timeout --tool fetch_page
      executus search --tag critic-steered --all --json | jq -r .run
    """
    from .finding import print_found

    if not (text or tool or errors or tag or runs):
        raise Misuse("search: say what to look for: a TEXT, --tool, --errors, --tag or --run")
    limited = None if everything else limit
    print_found(db, text, tool=tool, errors=errors, tag=tag, runs=runs, after=after, limit=limited, as_json=as_json)
