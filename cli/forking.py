"""`executus fork`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..adapters.keys.sources import key_of_environment
from ..errors import JournalInUse, MessageRefused
from ..events import Text
from ..forking import fork_of
from ..ports import Agent, Overrides
from ..projections.editing import DropFrom, Reword, Say
from ..projections.forking import Inherited
from ..runtime import Runtime
from .descent import edit_line
from .named import imported
from .opening import find_run, reading
from .program import Misuse, Unopened
from .shapes import print_json
from .words import cut, many, one_line, screen_width

SHORT: Final = {
    "steps": "max_steps",
    "tool_calls": "max_tool_calls",
    "tokens": "max_tokens",
    "cost_usd": "max_cost_usd",
    "seconds": "timeout_s",
}
"""What `--limit` takes beside the names of `events.Limits`."""


def fork_run(
    db: Path,
    digits: str,
    *,
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
    as_json: bool,
) -> None:
    """Make a fork that waits, or tell what one would inherit."""
    overrides = Overrides(
        model=model,
        instructions=instructions,
        tools=None if tools is None else _tools(tools),
        agent=None if agent is None else _agent(agent),
        limits=dict(_limit(one) for one in limits),
        messages=(
            *[_reword(one) for one in reworded],
            *([] if drop_from is None else [DropFrom(drop_from)]),
            *[Say(one) for one in say],
        ),
        results=dict(_result(one) for one in results),
    )
    with reading(db) as journal:
        source = find_run(journal, digits)
        try:
            _, found = fork_of(source, journal.read(source), at, {}, {}, "", 0, overrides=overrides, elsewhere=True)
        except (ValueError, MessageRefused) as error:
            raise Misuse(str(error)) from error
    if dry_run:
        _tell(found, "", as_json)
        return
    try:
        with Runtime(db, resume=False, views=None, encryption=key_of_environment()) as runtime:
            run = runtime.fork(source, at, overrides=overrides, elsewhere=True)
    except JournalInUse as error:
        raise Unopened(f"{error}; a run of a live host is forked in that host: Runtime.fork(run, at)") from error
    _tell(found, run.id, as_json)


def _limit(given: str) -> tuple[str, Any]:
    name, equals, text = given.partition("=")
    value: Any = None
    if text != "none":
        try:
            value = float(text) if "." in text or "e" in text.lower() else int(text)
        except ValueError:
            equals = ""
    if not equals:
        raise Misuse(f"--limit {one_line(given)}: expected NAME=NUMBER or NAME=none, such as steps=20")
    return SHORT.get(name, name), value


def _tools(given: str) -> tuple[str, ...]:
    names = tuple([one.strip() for one in given.split(",")]) if given.strip() else ()
    if "" in names:
        raise Misuse(f'--tools {one_line(given)}: expected NAME,NAME,…, or "" for none')
    return names


def _agent(spec: str) -> Agent:
    found = imported("--agent", spec)
    if not isinstance(found, Agent):
        raise Misuse(f"--agent {one_line(spec)}: expected an Agent there, found {one_line(repr(found)[:80])}")
    return found


def _result(given: str) -> tuple[str, str]:
    call, equals, text = given.partition("=")
    if not equals or not call:
        raise Misuse(f"--result {one_line(given)}: expected CALL=TEXT, such as 3.0=rain")
    return call, text


def _reword(given: str) -> Reword:
    index, equals, text = given.partition("=")
    if not equals or not (index.isdecimal() and index.isascii()):
        raise Misuse(f"--reword {one_line(given)}: expected N=TEXT, such as 3=In Jena.; executus at numbers messages")
    return Reword(int(index), text)


def _tell(found: Inherited, run_id: str, as_json: bool) -> None:
    forked = found.forked
    if as_json:
        print_json(_shape(found, run_id))
        return
    totals = forked.totals
    spent = [many(totals.steps, "step"), many(totals.tool_calls, "tool call"), many(totals.tokens, "token")]
    if run_id:
        click.echo(f"run {run_id} goes on from {forked.source}, version {forked.version}")
    else:
        click.echo(f"would go on from {forked.source}, version {forked.version}")
    click.echo(f"inherits   {many(len(forked.messages), 'message')}; its limits count {', '.join(spent)}")
    if forked.phase:
        click.echo(f"phase      {one_line(forked.phase)}")
    for label, calls in _calls(found).items():
        if calls:
            click.echo(f"{label:<11}{', '.join(calls)}")
    if forked.said is not None:
        click.echo("ends       with the source's last words, unless something is said (--say)")
    elif not found.to_make:
        click.echo(f"next       the model's reply for step {totals.steps + 1}, the first that is paid for")
    for edit in forked.edits:
        click.echo(f"different  {cut(edit_line(edit), max(40, screen_width() - 11))}")
    if run_id:
        click.echo('begin it in a host that has its agent: runtime.run("' + run_id + '").begin()')


def _calls(found: Inherited) -> dict[str, Sequence[str]]:
    return {
        "to make": found.to_make,
        "unknown": found.unknown,
        "cancelled": found.cancelled,
        "given": found.replaced,
    }


def _shape(found: Inherited, run_id: str) -> dict[str, Any]:
    forked = found.forked
    return {
        "type": "fork",
        "run": run_id or None,
        "source": forked.source,
        "version": forked.version,
        "messages": len(forked.messages),
        "heard": ["".join([part.text for part in one.parts if isinstance(part, Text)]) for one in forked.heard],
        "phase": forked.phase,
        "steps": forked.totals.steps,
        "tool_calls": forked.totals.tool_calls,
        "tokens": forked.totals.tokens,
        **{label.replace(" ", "_"): list(calls) for label, calls in _calls(found).items()},
        "ends": forked.said is not None,
        "edits": [{"what": one.what, "before": one.before, "after": one.after} for one in forked.edits],
        "paused": True,
    }
