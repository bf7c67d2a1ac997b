"""The commands of `executus`, their options and help; what each does is in the module of its name."""

# ruff: noqa: D301  (click wants a real backspace before lines that are not to be wrapped)

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from ..errors import (
    ExecutusError,
    ImportRefused,
    JournalError,
    LogCorrupt,
    OutcomeUnknown,
    UnknownFact,
    UnknownRun,
)

OK: Final = 0
PROBLEM: Final = 1
USAGE: Final = 2
NO_JOURNAL: Final = 3
UNSETTLED: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES = """\b
Exit codes:
  0    done, nothing wrong
  1    a problem was found: a run failed, a log does not verify, an import was refused,
       something needs a person
  2    wrong usage, or no such run
  3    the journal cannot be opened, or no host answers
  4    an order was given, and it is not known whether it was carried out
  130  interrupted with Ctrl-C
  141  the reader of the output went away (as in `| head`)"""

DEFAULT_DB = Path(".executus") / "runs.db"

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """One sentence on standard error, and an exit code: here, that a problem was found."""

    exit_code = PROBLEM

    def show(self, file: Any = None) -> None:
        """Print the sentence; without a traceback, and harmless to the terminal."""
        from .words import harmless

        click.echo(f"executus: {harmless(self.format_message())}", err=True)


class Misuse(Failure):
    """The command cannot be meant like that."""

    exit_code = USAGE


class Unopened(Failure):
    """There is no journal to work with."""

    exit_code = NO_JOURNAL


class Unsettled(Failure):
    """An order was given, and nobody can say now whether it was carried out."""

    exit_code = UNSETTLED


class Commands(click.Group):
    """A group that turns our errors into one sentence and an exit code, and lets a broken pipe pass quietly."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every way to fail leaves through here."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What is still buffered would raise again when the interpreter flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            ctx.exit(BROKEN_PIPE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (ImportRefused, LogCorrupt, UnknownFact) as error:
            raise Failure(str(error)) from error
        except UnknownRun as error:
            raise Misuse(str(error)) from error
        except JournalError as error:
            raise Unopened(str(error)) from error
        except OutcomeUnknown as error:
            raise Unsettled(str(error)) from error
        except ExecutusError as error:
            raise Failure(str(error)) from error


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows "?"
            stream.reconfigure(errors="replace")
    executus(prog_name="executus")
    raise AssertionError("click leaves by itself")


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"executus {version('executus')}")
        ctx.exit()


def db_option(command: Command) -> Command:
    """`--db PATH`."""
    return click.option(
        "--db",
        type=click.Path(path_type=Path),
        envvar="EXECUTUS_DB",
        default=DEFAULT_DB,
        show_default=True,
        show_envvar=True,
        help="The journal.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")(command)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@click.pass_context
def executus(ctx: click.Context) -> None:
    """Agent runs that are written down as they happen: run them, look at them, check them.

    \b
    Begin with:
      executus demo            review the Python files of a directory, one run each
      executus ps              list runs, newest first
      executus top             what the runs of a live host do now
      executus why RUN         what it waits for; then `steer`, `approve`, `extend`, `kill`
      executus show RUN        read one run; the last digits of its id are enough
      executus verify          check every log from its first event
      executus debug           step through runs in the browser
      executus doctor          list what is stuck, and what to do about it
      executus history RUN     what happened, moment by moment; then `at`, `diff` and `blame`
      executus search TEXT     find where something was said
      executus audit           who asked for what, what was done, what it cost
      executus backtest        try a critic or a budget on what was recorded

    Reading commands are safe at any time, also while a host is writing.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


@executus.command(short_help="Review the Python files of a directory.")
@click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", metavar="PROVIDER:NAME", help="A real model instead of the offline stand-in.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Review this many files at most."
)
@click.option("--jobs", type=click.IntRange(1, 256), default=12, show_default=True, help="Runs at a time.")
@click.option(
    "--pace",
    type=click.FloatRange(0, 60),
    default=0.15,
    show_default=True,
    help="Seconds the stand-in takes for a step, so that there is something to see.",
)
@db_option
@json_option
def demo(
    directory: Path | None, model: str | None, limit: int, jobs: int, pace: float, db: Path, as_json: bool
) -> None:
    """Review the Python files of DIRECTORY, one run each, many at a time.

    Without DIRECTORY it reviews executus itself. The tools are real: they read files and nothing but files of that
    directory. The reviewer is an offline stand-in that follows fixed rules; name a real model with --model.
    Ctrl-C cancels the runs and leaves a whole journal.

    \b
    Examples:
      executus demo
      executus demo src --limit 20
      executus demo . --model openai:gpt-5-mini --jobs 4
      executus demo --json | jq -r 'select(.status=="ok") | .output'
    """
    from .demo import demonstrate

    code = demonstrate(directory, model=model, limit=limit, jobs=jobs, pace_s=pace, db=db, as_json=as_json)
    click.get_current_context().exit(code)


@executus.command()
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", help="Only runs with this status; may be repeated."
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show this many runs at most.")
@click.option("--all", "everything", is_flag=True, help="Show every run.")
@click.option("--hosts", is_flag=True, help="Instead: this user's hosts that listen, of any journal.")
@db_option
@json_option
def ps(statuses: tuple[str, ...], limit: int, everything: bool, hosts: bool, db: Path, as_json: bool) -> None:
    """List runs, newest first.

    A status is one of ok, error, timeout, killed, cancelled, budget_exceeded and dry_run for a run that is over, else
    running, waiting (for a person, or for what `executus doctor` says), quarantined (attempts to take it up failed),
    suspended (no host is running it) or unreadable.

    \b
    Examples:
      executus ps
      executus ps --status error --status timeout --all
      executus ps --json | jq -r .run
      executus ps --hosts
    """
    if hosts:
        from .hosting import list_hosts

        list_hosts(as_json=as_json)
        return
    from .listing import list_runs

    list_runs(db, statuses=statuses, limit=None if everything else limit, as_json=as_json)


@executus.command(short_help="Read one run.")
@click.argument("run")
@click.option("--full", is_flag=True, help="Cut nothing.")
@click.option("--events", is_flag=True, help="Show the stored facts instead of the conversation.")
@db_option
@json_option
def show(run: str, full: bool, events: bool, db: Path, as_json: bool) -> None:
    """Read one run: who, what, how it ended, and the conversation.

    RUN is a run id, or the first or last digits of one, as long as no other run has the same.

    \b
    Examples:
      executus show 9f3c21aa
      executus show 9f3c21aa --full | less
      executus show 9f3c21aa --events --json
    """
    from .showing import show_run

    show_run(db, run, full=full, events=events, as_json=as_json)


@executus.command("import", short_help="Take in recorded conversations.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["chat"]), default="chat", show_default=True, help="What FILE holds."
)
@click.option(
    "--error-prefix",
    default="",
    metavar="TEXT",
    help='A tool\'s result that begins with TEXT, such as "Error: ", is an error.',
)
@db_option
@json_option
def import_(file: Path, form: str, error_prefix: str, db: Path, as_json: bool) -> None:
    """Take recorded conversations into the journal, each as a run that was made elsewhere.

    FILE holds chat-completions messages: an array of conversations ({"id": …, "messages": […]}), one conversation, an
    array of messages, or JSON Lines of these. Importing a conversation again changes nothing. At the first thing that
    is wrong the import stops and names the place; what came before is kept. "-" reads standard input.

    A tool's result is an error if its message has "is_error": true or "status": "error". Where a recorder marks errors
    in the text only, say how: --error-prefix. Whether a text sounds like an error is not guessed.

    \b
    Examples:
      executus import conversations.json
      executus import conversations.json --error-prefix "Error: "
      zcat big.jsonl.gz | executus import -
    """
    from .importing import import_file

    del form  # one so far
    click.get_current_context().exit(import_file(db, file, error_prefix=error_prefix, as_json=as_json))


@executus.command(short_help="Move old runs to the archive.")
@click.option(
    "--older-than", default="90d", show_default=True, metavar="AGE", help="Only families whose newest event is older."
)
@click.option("--caller", help="Only runs of this caller.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(["ok", "error", "timeout", "killed", "cancelled", "budget_exceeded", "dry_run"]),
    multiple=True,
    help="Only runs with this status; may be repeated.",
)
@click.option(
    "--keep", type=click.IntRange(min=0), default=0, show_default=True, help="Let this many of the newest stay."
)
@click.option("--yes", is_flag=True, help="Do it, instead of saying what would be done.")
@click.option("--vacuum", is_flag=True, help="Give the room back to the disk, too.")
@db_option
@json_option
def compact(
    older_than: str,
    caller: str | None,
    statuses: tuple[str, ...],
    keep: int,
    yes: bool,
    vacuum: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Move finished runs out of the journal to its archive, the file beside it that ends with .archive.

    Whole families move, when all of them are over, delivered and old enough. Every command still shows them. Without
    --yes nothing is changed. A host that has the journal open does it with Runtime.compact instead.

    \b
    Examples:
      executus compact
      executus compact --older-than 30d --status ok --yes
      executus compact --keep 1000 --yes --vacuum
    """
    import time

    from ..journal import terms
    from .compacting import compact_runs, seconds_of

    chosen = terms(time.time_ns() // 1000, seconds_of(older_than), caller, statuses, keep)
    click.get_current_context().exit(compact_runs(db, chosen, really=yes, shrink=vacuum, as_json=as_json))


@executus.command(short_help="Copy the journal to another file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@db_option
@json_option
def backup(file: Path, db: Path, as_json: bool) -> None:
    """Copy the journal to FILE as it stands at one moment, also while a host is writing it.

    Its archive and its anchors are copied beside FILE. To restore, open the copy like any other journal. Stored views
    are made again by whoever opens it; artifacts and keys are not in a journal and are not copied.

    \b
    Examples:
      executus backup backups/monday.db
      executus verify --db backups/monday.db
    """
    from .backing_up import back_up_journal

    back_up_journal(db, file, as_json=as_json)


@executus.command(short_help="Check every log.")
@click.argument("run", required=False)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    default=0,
    metavar="POSITION",
    help="Only runs with events after this position of the journal.",
)
@click.option("--deep", is_flag=True, help="Let SQLite compare every index with its table, too.")
@click.option(
    "--public-key",
    "keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Check what was signed with this key (PEM) against the journal, too; may be repeated.",
)
@click.option(
    "--heads",
    type=click.Path(path_type=Path),
    help="The file of signed anchors; without it, the one beside the journal, which ends with .heads.",
)
@db_option
@json_option
def verify(
    run: str | None, since: int, deep: bool, keys: tuple[Path, ...], heads: Path | None, db: Path, as_json: bool
) -> None:
    """Check RUN, or the whole journal: hash chains, no gaps, one end, and that folding each log again gives the same.

    Each problem names the run, and the first version and position where it shows. The file, the index of runs, payloads
    kept out of line, snapshots and the archive are checked with the journal.

    \b
    Examples:
      executus verify
      executus verify 9f3c21aa
      executus verify --since 1200000
      executus verify --public-key host.pub --heads /elsewhere/anchors.jsonl
      executus verify --json | jq -r 'select(.type=="problem") | .problem'
    """
    from .verifying import verify_runs

    click.get_current_context().exit(
        verify_runs(db, run, since=since, deep=deep, keys=keys, heads=heads, as_json=as_json)
    )


@executus.command(short_help="Who asked for what, what was done, what it cost.")
@click.argument("run", required=False)
@click.option("--caller", help="Only runs of this caller.")
@click.option("--agent", help="Only runs of this agent.")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", help="Only runs with this status; may be repeated."
)
@click.option("--since", metavar="WHEN", help="Only runs started since: 3d, 12h, 2026-01-31, 2026-01-31T12:00.")
@click.option("--until", metavar="WHEN", help="Only runs started before.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="List this many runs at most.")
@click.option("--all", "everything", is_flag=True, help="List every run.")
@click.option("--full", is_flag=True, help="Cut nothing to the width of the screen.")
@click.option("--orders", is_flag=True, help="Instead: what was ordered from outside, and what became of it.")
@db_option
@json_option
def audit(
    run: str | None,
    caller: str | None,
    agent: str | None,
    statuses: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
    everything: bool,
    full: bool,
    orders: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Print the audit trail: of RUN everything that was done, moved and said; without RUN a table of runs, with sums by
    caller, agent and day.

    It is read from the stored views (the file PATH.views beside the journal), which are brought up to date first when
    no host does that. They are plain SQL tables: `sqlite3 runs.db.views` reads them too.

    --orders lists what other processes ordered or asked of a host and were refused, oldest first, of RUN or of all.

    \b
    Examples:
      executus audit --since 1d
      executus audit --orders --since 1h
      executus audit --caller alice --status error --all
      executus audit 9f3c21aa
      executus audit --json | jq -c 'select(.type=="audit-sum" and .by=="agent")'
    """
    if orders:
        from .auditing_orders import audit_orders

        if caller is not None or agent is not None or statuses:
            raise Misuse("audit --orders: choose by RUN, --since and --until")
        audit_orders(db, run, since=since, until=until, limit=None if everything else limit, as_json=as_json)
        return
    from ..journal.views.asking import Chosen
    from .auditing import audit as print_audit
    from .auditing import checked_statuses
    from .moments import moment_us

    chosen = Chosen(caller, agent, checked_statuses(statuses), moment_us("--since", since), moment_us("--until", until))
    print_audit(db, run, chosen, limit=None if everything else limit, full=full, as_json=as_json)


@executus.command(short_help="What callers spent, and what is held back.")
@click.option("--caller", help="Only this caller.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    type=click.Choice(["hour", "day", "month", "total", "run"]),
    help="Only this window; may be repeated. run: families of runs that are not over. Default: all but run.",
)
@db_option
@json_option
def budget(caller: str | None, windows: tuple[str, ...], db: Path, as_json: bool) -> None:
    """Print what each caller spent in the last hour, day, month (30 days) and in all, and what is held back for model
    calls under way.

    Dollars are those that the log tells: what the provider said, or what the host's prices said at the time. What a
    caller may spend is the host's business and not in the log.

    \b
    Examples:
      executus budget
      executus budget --caller alice --window day
      executus budget --window run
      executus budget --json | jq -r 'select(.window=="month") | [.caller, .cost_usd] | @tsv'
    """
    from .budgeting import budget as print_budget

    print_budget(db, caller, windows, as_json=as_json)


@executus.command(short_help="Build the stored views anew, or check them.")
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--check", "checking", is_flag=True, help="Change nothing: compare what is stored with what is built.")
@click.option(
    "--views",
    "own",
    multiple=True,
    metavar="MODULE:NAME",
    help="Views of your own, imported from there; may be repeated.",
)
@db_option
@json_option
def rebuild(views: tuple[str, ...], checking: bool, own: tuple[str, ...], db: Path, as_json: bool) -> None:
    """Build the stored views anew from the journal: each VIEW named, or all.

    A view is built beside the old one, which stays readable and is replaced at the end in one step; Ctrl-C leaves it as
    it was. A live host keeps its views itself: close it first. --check works beside a live host: it builds somewhere
    else, compares row by row at the same position, and names the first difference.

    \b
    Examples:
      executus rebuild
      executus rebuild --check
      executus rebuild model_use --views my_host.views:ModelUseView
    """
    from .rebuilding import rebuild_views

    click.get_current_context().exit(rebuild_views(db, views, own, checking=checking, as_json=as_json))


@executus.command(short_help="Erase what was said in a run.")
@click.argument("run", required=False)
@click.option("--caller", default="", metavar="CALLER", help="Instead of RUN: every run of this caller.")
@click.option("--by", default="command line", show_default=True, help="Who erases; is written down, and stays.")
@click.option("--reason", default="", help="Why; is written down, and stays.")
@click.option(
    "--files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the host's DirectoryStager keeps attachments, so that they are deleted too.",
)
@click.option("--prove", is_flag=True, help="Look at what is stored afterwards, and tell what speaks against it.")
@click.option(
    "--phrase", "phrases", multiple=True, help="With --prove: a text that may be in no file; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be erased, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@db_option
@json_option
def erase(
    run: str | None,
    caller: str,
    by: str,
    reason: str,
    files: Path | None,
    prove: bool,
    phrases: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Erase for ever what was said in RUN, or in all runs of a caller: with children, and with runs that go on from it.

    Their keys are destroyed. Statuses, counts, tokens, cost, names and times stay, and who erased when. Only runs that
    are over and were stored sealed can be erased. The journal must not be in use: a live host calls Runtime.erase.

    \b
    Examples:
      executus erase 9f3c21aa --dry-run
      executus erase 9f3c21aa --reason "asked by the customer" --prove
      executus erase --caller alice --yes --json
    """
    from .erasing import erase_runs

    code = erase_runs(
        db,
        run,
        caller=caller,
        by=by,
        reason=reason,
        files=files,
        phrases=phrases,
        prove=prove,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    click.get_current_context().exit(code)


@executus.command(short_help="The key that a journal is sealed with.")
@click.option("--create", type=click.Path(path_type=Path), metavar="PATH", help="Make a key file, for its owner alone.")
@click.option(
    "--rotate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Seal the journal's keys with the key in this file instead.",
)
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Copy the file of the runs' keys.",
)
@db_option
@json_option
def keys(create: Path | None, rotate: Path | None, backup: Path | None, db: Path, as_json: bool) -> None:
    """Tell which key the journal is sealed with, and of how many runs; or make a key, change it, or save what it opens.

    To change it, its present key must be in EXECUTUS_KEY or EXECUTUS_KEY_FILE. What was said is not encrypted anew:
    whoever has the old key and an old copy of the keys file can read it. A backup is one such copy: what is erased
    later can be read with it, so keep it apart from the journal's backups, and not for long.

    \b
    Examples:
      executus keys
      executus keys --create ~/.config/executus.key
      EXECUTUS_KEY_FILE=old.key executus keys --rotate new.key
      executus keys --backup keys-monday.db
    """
    from .keys import back_up_keys, make_key, rotate_keys, show_keys

    if sum(one is not None for one in (create, rotate, backup)) > 1:
        raise Misuse("--create, --rotate or --backup, one at a time")
    if create is not None:
        code = make_key(create, as_json=as_json)
    elif rotate is not None:
        code = rotate_keys(db, rotate, as_json=as_json)
    elif backup is not None:
        code = back_up_keys(db, backup, as_json=as_json)
    else:
        code = show_keys(db, as_json=as_json)
    click.get_current_context().exit(code)


@executus.command(short_help="List what is stuck, and what to do about it.")
@click.option("--retry", "retried", multiple=True, metavar="RUN", help="Let the next host take RUN up again.")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=7,
    show_default=True,
    help="List unknown outcomes and dead letters of so many days.",
)
@db_option
@json_option
def doctor(retried: tuple[str, ...], days: float, db: Path, as_json: bool) -> None:
    """List every run that does not go on by itself, and tool calls and deliveries that somebody should look at.

    Each comes with since when, why, and what to do. The exit code is 1 if something needs a person. It only reads, also
    while a host is writing, except for --retry, which forgets what is held against a quarantined run: then no host may
    have the journal open; to a live one say Runtime.retry(run).

    \b
    Examples:
      executus doctor
      executus doctor --json | jq -r 'select(.kind=="quarantined") | .run'
      executus doctor --retry 9f3c21aa
    """
    from .doctoring import examine, retry_runs

    if retried:
        retry_runs(db, retried, as_json=as_json)
        return
    click.get_current_context().exit(examine(db, days=days, as_json=as_json))
