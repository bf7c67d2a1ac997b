"""`executus why`: what a run waits for, in words, and whose move it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import HostUnreachable, JournalError, UnknownRun
from ..ports import Journal
from ..projections.watching import Wait, Watched, watched_of
from .doctoring import HEADINGS
from .opening import find_run
from .reaching import Target, reached, without_host
from .shapes import iso, print_json
from .top import DID, child_name, wait_shape, word_shape
from .watching import NO_ROOM, Knows, knows_of
from .words import coloured, cut, harmless, moment, one_line, short, span

if TYPE_CHECKING:
    from ..wire.attached import Attached

MOST_LEVELS: Final = 20
"""Children below a run that are looked at."""
HEAD: Final = 120
"""Characters of arguments and errors that are shown."""


def why(target: Target, digits: str, *, as_json: bool) -> None:
    """Print what a run waits for."""
    with reached(target) as attached:
        run_id = find_run(attached.journal, digits)
        found = Asking(attached, target).of(run_id)
    if as_json:
        print_json({"type": "why", **found})
    else:
        _print(found)


class Asking:
    """Asks why runs of what is attached do not go on."""

    def __init__(self, attached: Attached, target: Target) -> None:
        self._journal: Journal = attached.journal
        self._knows: Knows = knows_of(attached, 0.0)
        self._note = without_host(attached)
        self._options = target.options
        self._now_us = time.time_ns() // 1000

    def of(self, run_id: str, level: int = 0) -> dict[str, Any]:
        """What the run `run_id` waits for, and of its children, what they do.

        Raises:
            LogCorrupt, JournalUnavailable: its log cannot be read.
        """
        log = self._journal.read(run_id)
        watched = watched_of(log)
        row, state = watched.row, watched.row.state
        status, because = knows_how(self._knows, watched)
        clock_ms = watched.clock_ms(self._now_us) if status in ("running", "waiting") else row.elapsed_ms
        left_ms = watched.left_ms(clock_ms)
        halted = status in ("quarantined", "suspended") or bool(because and because != NO_ROOM and status == "waiting")
        waits = [self._wait(wait, watched, clock_ms, level, halted) for wait in watched.waits]
        text, do = self._halt(run_id, status, because) if not state.over else (self._ended(watched), "")
        return {
            "run": run_id,
            "status": status,
            "agent": row.agent,
            "caller": row.info.caller_id,
            "step": state.step,
            "last_step": watched.last_step,
            "text": text,
            "do": do,
            "waits": waits,
            "deadline_in_s": None if left_ms is None else left_ms / 1000,
            "critic": None if watched.word is None else word_shape(watched.word),
            "note": self._note,
            "at": iso(self._now_us),
        }

    def _ended(self, watched: Watched) -> str:
        state = watched.row.state
        by = f", by {state.by}" if state.by else ""
        because = state.reason or state.error
        return f"it is over, with status {state.status}{by}" + (f": {because}" if because else "")

    def _halt(self, run_id: str, status: str, because: str) -> tuple[str, str]:
        """Why nobody is at work on it, and what to do; or nothing."""
        if status == "quarantined":
            return f"it is quarantined, taking it up failed: {because}", HEADINGS["quarantined"][1]
        if status == "suspended":
            return "it is suspended: no host runs it", HEADINGS["suspended"][1]
        if because == NO_ROOM:
            return (
                f"{NO_ROOM}: what is to come is not begun, for it could not be stored",
                "make room; it goes on by itself",
            )
        if because and not because.startswith("forked"):
            return f"nobody works on it: {because}", HEADINGS["waiting"][1]
        return "", ""

    def _wait(self, wait: Wait, watched: Watched, clock_ms: int, level: int, halted: bool) -> dict[str, Any]:
        text, do = self._told(wait, watched, clock_ms, halted)
        shape = wait_shape(wait, self._now_us) | {"text": text, "do": do}
        if wait.arguments:
            shape["arguments"] = wait.arguments
        if wait.kind == "child" and level < MOST_LEVELS:
            try:
                shape["child"] = self.of(wait.run_id, level + 1)
            except HostUnreachable:
                raise
            except (UnknownRun, IndexError):
                shape["child"] = None
            except JournalError as error:
                shape["child"] = {"run": wait.run_id, "status": "unreadable", "text": str(error), "waits": []}
        return shape

    def _told(self, wait: Wait, watched: Watched, clock_ms: int, halted: bool) -> tuple[str, str]:
        """What it waits for, and what somebody can do about it, if it is somebody's move."""
        state, run = watched.row.state, short(watched.row.run_id)
        since = f"since {span(max(0, self._now_us - wait.since_us) / 1e6)}"
        name, head = one_line(wait.name), cut(one_line(wait.arguments), HEAD)
        where = f"of step {state.step}"
        match wait.kind:
            case "model":
                attempt = f" (attempt {state.attempt})" if state.attempt > 1 else ""
                return f"the model's reply {where}, {since}{attempt}", ""
            case "retry":
                left_s = max(0, wait.retry_at_ms - clock_ms) / 1000
                when = "when a host runs it" if halted else f"in {span(left_s)}" if left_s else "now"
                what = f"attempt {state.attempt} to call the model {where} failed: {cut(one_line(state.error), HEAD)}"
                return f"{what}; attempt {state.attempt + 1} comes {when}", ""
            case "tool":
                return f"the tool {name}, {since}, call {wait.call}: {head}", ""
            case "asking":
                return f"what the tool {name} says of call {wait.call}, which a dead host left, {since}: {head}", ""
            case "child":
                return f"its child {child_name(wait)}, run {wait.run_id}, {since}: {head}", ""
            case "approval":
                asked = f': "{one_line(wait.question)}"' if wait.question else ""
                until = ""
                if wait.expires_at_us is not None:
                    silence = "no" if wait.default == "deny" else "yes"
                    until = f"; without an answer until {moment(wait.expires_at_us)} it is {silence}"
                do = f"executus approve {run} {wait.call}{self._options}"
                deny = f"executus deny {run} {wait.call} --reason …{self._options}"
                return f"somebody's yes to {name}, {since}{asked}: {head}{until}", f"{do}, or {deny}"
            case "message":
                return f"a person's next message, {since}", f"executus send {run} TEXT{self._options}"
            case "begin":
                return f"to be begun, {since}: it is a fork", f"executus begin {run}{self._options}"
            case "plan":
                return f"a look at the calls {where} that it inherited, {since}", ""
            case "budget":
                what = f"room in the budget of caller {one_line(watched.row.info.caller_id)!r}, {since}"
                return f"{what}, to call the model for step {state.step + 1}", f"executus budget{self._options}"
            case "step":
                return f"its next step, {since}: it is about to begin", ""


def knows_how(knows: Knows, watched: Watched) -> tuple[str, str]:
    """How it stands; of a run that is over, what its log says."""
    return (str(watched.row.status), "") if watched.row.state.over else knows.of(watched)


# ------------------------------------------------------------------ printing


def _print(found: dict[str, Any]) -> None:
    step = f"step {found['step']} of at most {found['last_step']}"
    caller = f" for {one_line(found['caller'])}" if found["caller"] else ""
    click.echo(
        f"{found['run']}  {coloured(found['status'])}  {one_line(found['agent'])}{caller}, {step}"
        + (f"  ({found['note']})" if found["note"] else "")
    )
    _print_waits(found, "  ")
    left_s = found["deadline_in_s"]
    if left_s is not None:
        stands = "; its clock stands still" if found["status"] == "suspended" or _stands_still(found) else ""
        told = f"its deadline is in {span(left_s)}{stands}" if left_s > 0 else "its deadline has passed; it ends"
        click.echo(f"  {told}")
    if found["critic"] is not None:
        critic = found["critic"]
        said = f": {one_line(critic['text'])}" if critic["text"] else ""
        click.echo(f"  last, {one_line(critic['by'])} {DID[critic['tag']]}{said}")


def _stands_still(found: dict[str, Any]) -> bool:
    """Whether people are all that it waits for, itself or in its children: no deadline counts that."""
    waits = found["waits"]
    return bool(waits) and all(
        one["kind"] in ("approval", "message", "begin")
        or (one["kind"] == "child" and bool(one.get("child")) and _stands_still(one["child"]))
        for one in waits
    )


def _print_waits(found: dict[str, Any], margin: str) -> None:
    text = one_line(found["text"])
    if text:
        click.echo(f"{margin}{text}")
        if found.get("do"):
            click.echo(f"{margin}{click.style('→', fg='yellow')} {harmless(found['do'])}")
    halted = bool(text) and found["status"] in ("suspended", "quarantined")
    for one in found["waits"]:
        what = one["text"].partition(", since ") if halted else None
        told = f"it would go on with {what[0]}" if what else f"waits for {one['text']}"
        click.echo(f"{margin}{told}")
        if one["do"]:
            click.echo(f"{margin}{click.style('→', fg='yellow')} {harmless(one['do'])}")
        child = one.get("child")
        if child:
            click.echo(f"{margin}  {short(child['run'])}  {coloured(child['status'])}")
            _print_waits(child, margin + "    ")
        elif "child" in one:
            click.echo(f"{margin}  it is about to be started")
    if not found["waits"] and not text:
        click.echo(f"{margin}it waits for nothing; it has just begun")
