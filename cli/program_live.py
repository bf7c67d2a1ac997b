"""The commands that look at a live host and steer it: `top`, `tail`, `why`, and the orders to a run."""

# ruff: noqa: D301  (click wants a real backspace before lines that are not to be wrapped)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .program import executus
from .reaching import Target, host_options

Command = TypeVar("Command", bound=Callable[..., Any])

MEASURES: Final = ("steps", "tool_calls", "tokens", "cost_usd", "seconds")


def order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who gives the order, whether it is meant, and to which host."""
    aimed = host_options(command)
    for option in (
        click.option("--dry-run", is_flag=True, help="Only ask the host whether it would be carried out."),
        click.option("--by", help="Who gives the order; is written down. Default: your login name."),
    ):
        aimed = option(aimed)
    return aimed


def reason_option(command: Command) -> Command:
    """`--reason`."""
    return click.option("--reason", default="", help="Why; is written down, and stays.")(command)


def _by(given: str | None) -> str:
    from .reaching import login_name

    return login_name() if given is None else given


def _order(kind: str, target: Target, run: str, by: str | None, dry_run: bool, as_json: bool, **fields: Any) -> None:
    from .ordering import give

    give(target, kind, run, by=_by(by), dry_run=dry_run, as_json=as_json, **fields)


# ------------------------------------------------------------------ looking


@executus.command(short_help="The unfinished runs, live: what each does now.")
@click.option("--caller", default="", help="Only runs of this caller.")
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show this many runs at most.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two pictures.",
)
@click.option(
    "--sort",
    type=click.Choice(["newest", "longest"]),
    default="newest",
    show_default=True,
    help="Started last first, or those that wait longest for one thing.",
)
@click.option("--once", is_flag=True, help="One picture, and end.")
@host_options
def top(caller: str, limit: int | None, interval: float, sort: str, once: bool, target: Target, as_json: bool) -> None:
    """Show every unfinished run: whose it is, its step and the last one it may make, what it does now and for how long,
    its tokens and cost, the time left to its deadline, and what its critic said last.

    On a terminal the picture is drawn again every --interval seconds, until Ctrl-C; in a pipe it is printed again. The
    rows are kept by following the host, so that looking costs it next to nothing. Without a host they are those of the
    file.

    \b
    Examples:
      executus top
      executus top --sort longest --caller alice
      executus top --once
      executus top --once --json | jq -r '.runs[] | select(.deadline_in_s < 60) | .run'
      EXECUTUS_TOKEN=… executus top --host tls+tcp://agents.example:7000 --ca ca.pem
    """
    from .top import top as show_top

    show_top(target, caller=caller, limit=limit, interval_s=interval, sort=sort, once=once, as_json=as_json)


@executus.command(short_help="Print the newest events.")
@click.argument("run", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on as events come; of one run, until it ends.")
@click.option(
    "--after", type=click.IntRange(min=0), help="Begin after this version of RUN, or position of the journal."
)
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="Begin with the last N events."
)
@host_options
def tail(run: str | None, follow: bool, after: int | None, lines: int, target: Target, as_json: bool) -> None:
    """Print the newest events of RUN, or of the whole journal, one a line.

    With --follow they come from the host, if one listens, and through its restarts; else from the file.

    \b
    Examples:
      executus tail --follow
      executus tail 9f3c21aa --after 0
      executus tail --follow --json | jq -c 'select(.tag=="run-finished")'
    """
    from .tailing import tail_events

    tail_events(target, run, follow=follow, after=after, lines=lines, as_json=as_json)


@executus.command(short_help="What a run waits for, and whose move it is.")
@click.argument("run")
@host_options
def why(run: str, target: Target, as_json: bool) -> None:
    """Say in words what RUN waits for: the model, a tool and for how long, somebody's yes and how to give it, a child
    and what that waits for, budget, room on the disk, or a host; and when its deadline is.

    It asks the host, if one listens, and else reads the file. `executus doctor` lists all runs that do not go on.

    \b
    Examples:
      executus why 9f3c21aa
      executus why 9f3c21aa --json | jq -r '.waits[].text'
    """
    from .why import why as tell_why

    tell_why(target, run, as_json=as_json)


# ------------------------------------------------------------------ orders


@executus.command(short_help="Give a run advice.")
@click.argument("run")
@click.argument("text")
@order_options
def steer(run: str, text: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Give RUN advice, which its model reads at the next step.

    \b
    Examples:
      executus steer 9f3c21aa "Leave the archive out; the summary is enough."
      executus steer 9f3c21aa "Be brief." --by ann
    """
    _order("steer", target, run, by, dry_run, as_json, text=text)


@executus.command(short_help="Give an interactive run a message.")
@click.argument("run")
@click.argument("text")
@order_options
def send(run: str, text: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Give RUN, which is interactive, the person's next message.

    \b
    Examples:
      executus send 9f3c21aa "Yes, the second one."
    """
    _order("send", target, run, by, dry_run, as_json, text=text)


@executus.command(short_help="Give a run more time.")
@click.argument("run")
@click.argument("seconds", type=click.FloatRange(min=0, min_open=True))
@reason_option
@order_options
def extend(run: str, seconds: float, reason: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Move the hard deadline of RUN by so many SECONDS.

    \b
    Examples:
      executus extend 9f3c21aa 600
      executus extend 9f3c21aa 600 --reason "the mirror is slow today"
    """
    _order("extend", target, run, by, dry_run, as_json, seconds=seconds, reason=reason)


@executus.command("raise", short_help="Give a run more of a limit.")
@click.argument("run")
@click.argument("more", type=click.FloatRange(min=0, min_open=True))
@click.option("--limit", type=click.Choice(MEASURES), default="steps", show_default=True, help="Which limit.")
@reason_option
@order_options
def raise_(
    run: str, more: float, limit: str, reason: str, by: str | None, dry_run: bool, target: Target, as_json: bool
) -> None:
    """Raise a limit of RUN by MORE.

    \b
    Examples:
      executus raise 9f3c21aa 10
      executus raise 9f3c21aa 50000 --limit tokens
      executus raise 9f3c21aa 0.5 --limit cost_usd --dry-run
    """
    _order("raise", target, run, by, dry_run, as_json, more=more, limit=limit, reason=reason)


@executus.command(short_help="Say yes to a call that waits for it.")
@click.argument("run")
@click.argument("call", default="")
@order_options
def approve(run: str, call: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Say yes to the CALL of RUN that waits for approval; without CALL, to the only one. `executus why RUN` names them.

    \b
    Examples:
      executus approve 9f3c21aa
      executus approve 9f3c21aa 3.0 --by ann
    """
    _order("approve", target, run, by, dry_run, as_json, call=call)


@executus.command(short_help="Say no to a call that waits for a yes.")
@click.argument("run")
@click.argument("call", default="")
@click.option("--reason", default="", help="Why; the model is told.")
@order_options
def deny(run: str, call: str, reason: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Say no to the CALL of RUN that waits for approval; without CALL, to the only one.

    \b
    Examples:
      executus deny 9f3c21aa --reason "not before Monday"
      executus deny 9f3c21aa 3.0
    """
    _order("deny", target, run, by, dry_run, as_json, call=call, reason=reason)


@executus.command(short_help="End a run, as its caller's wish.")
@click.argument("run")
@reason_option
@order_options
def cancel(run: str, reason: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """End RUN with status "cancelled"; one that is over stays as it is.

    \b
    Examples:
      executus cancel 9f3c21aa --reason "asked twice"
    """
    _order("cancel", target, run, by, dry_run, as_json, reason=reason)


@executus.command(short_help="End a run that should not go on.")
@click.argument("run")
@reason_option
@order_options
def kill(run: str, reason: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """End RUN with status "killed"; one that is over stays as it is.

    \b
    Examples:
      executus kill 9f3c21aa --reason "it deletes what it should read"
      executus kill 9f3c21aa --dry-run
    """
    _order("kill", target, run, by, dry_run, as_json, reason=reason)


@executus.command(short_help="Begin a fork.")
@click.argument("run")
@order_options
def begin(run: str, by: str | None, dry_run: bool, target: Target, as_json: bool) -> None:
    """Begin RUN, a fork that waits to be begun.

    \b
    Examples:
      executus fork 9f3c21aa --at 12 --limit steps=40
      executus begin 77d01b42
    """
    _order("begin", target, run, by, dry_run, as_json)


@executus.command(short_help="Have a host start a run.")
@click.argument("agent")
@click.argument("text", metavar="INPUT")
@click.option("--caller", default="", help="Whose run it is.")
@click.option("--name", default="", help="A name for people.")
@click.option(
    "--request-id", default="", metavar="ID", help="Of what asked for it: started twice with the same, it is one run."
)
@click.option("--interactive", is_flag=True, help="It waits for the next message instead of ending.")
@click.option("--max-steps", type=click.IntRange(1, 1_000_000), help="Steps at most; default: the agent's.")
@order_options
def start(
    agent: str,
    text: str,
    caller: str,
    name: str,
    request_id: str,
    interactive: bool,
    max_steps: int | None,
    by: str | None,
    dry_run: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Have the host start a run of AGENT with INPUT, and print its id. "-" reads INPUT from standard input.

    \b
    Examples:
      executus start desk "research tea" --caller alice
      executus tail --follow "$(executus start desk 'research tea')"
      executus start desk - --request-id order-4711 < question.txt
    """
    from .ordering import start as give_start

    give_start(
        target,
        agent,
        text,
        by=_by(by),
        dry_run=dry_run,
        as_json=as_json,
        caller=caller,
        name=name,
        request_id=request_id,
        interactive=interactive,
        max_steps=max_steps,
    )
