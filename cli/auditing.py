"""`executus audit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..journal import OutsideReader
from ..journal.views.asking import Chosen, audited_run, audited_runs, audited_sums
from ..journal.views.opening import current_views
from ..journal.views.reading import ViewsReader
from .bars import bar
from .listing import STATUSES
from .opening import find_run, hosted, reading
from .program import Misuse
from .shapes import iso, print_json
from .words import (
    WIDE_ENOUGH,
    age,
    coloured,
    columns,
    count,
    cut,
    harmless,
    many,
    moment,
    one_line,
    screen_width,
    short,
    span,
)

LABEL_WIDTH = 12

Cells = list[str]
Format = Callable[[dict[str, Any]], Sequence[str]]


@contextmanager
def stored_views(db: Path) -> Generator[tuple[OutsideReader, ViewsReader]]:
    """The journal and its views, up to date; what a reader should know of them is said on standard error."""
    with reading(db) as journal:
        assert isinstance(journal, OutsideReader)
        with (
            bar("views", journal.head()) as told,
            current_views(journal, hosted=hosted(journal), progress=told) as current,
        ):
            if current.remark:
                click.echo(harmless(f"({current.remark})"), err=True)
            yield journal, current.reader


def audit(db: Path, digits: str | None, chosen: Chosen, *, limit: int | None, full: bool, as_json: bool) -> None:
    """Print the audit trail of one run, or a table of runs with sums."""
    with stored_views(db) as (journal, views):
        alive = hosted(journal)
        if digits is not None:
            _print_run(audited_run(views, find_run(journal, digits)), alive, full, as_json)
        else:
            _print_runs(views, chosen, alive, limit, as_json)


def checked_statuses(statuses: tuple[str, ...]) -> tuple[str, ...]:
    """The statuses to look for in the table.

    Raises:
        Misuse: one is none that a stored run can have.
    """
    known = [one for one in STATUSES if one not in ("suspended", "unreadable")]
    for status in statuses:
        if status not in known:
            raise Misuse(f"{one_line(status)!r} is no status; there are {', '.join(known)}")
    return statuses


def _status(run: Mapping[str, Any], alive: bool) -> str:
    return "suspended" if run["status"] in ("running", "new") and not alive else str(run["status"])


# ------------------------------------------------------------------ many runs


def _print_runs(views: ViewsReader, chosen: Chosen, alive: bool, limit: int | None, as_json: bool) -> None:
    runs = audited_runs(views, chosen, limit)
    sums = {by: audited_sums(views, chosen, by) for by in ("all", "caller", "agent", "day")}
    if as_json:
        for run in runs:
            print_json({"type": "audit-run", **_told(run), "status": _status(run, alive)})
        for by, rows in sums.items():
            for row in rows:
                print_json({"type": "audit-sum", "by": by, **row})
        return
    if not runs:
        click.echo("no such runs", err=True)
        return
    print_table(
        ["RUN", "STATUS", "AGE", "CALLER", "AGENT", "STEPS", "TOOLS", "TOKENS", "USD", "TIME", "WHY"],
        [_run_cells(run, _status(run, alive)) for run in runs],
        numbers=("AGE", "STEPS", "TOOLS", "TOKENS", "USD", "TIME"),
        status=1,
    )
    total = sums["all"][0]["runs"]
    if limit is not None and total > limit:
        click.echo(f"(the newest {limit} of {total:,}; see more with --limit or --all; the sums are of all)", err=True)
    for by in ("caller", "agent", "day"):
        if len(sums[by]) > 1:
            click.echo()
            _print_sums(by.upper(), sums[by])
    click.echo()
    _print_sums("ALL", sums["all"])


def _run_cells(run: Mapping[str, Any], status: str) -> Cells:
    why = run["error"] or run["reason"] or (run["doing"] if status in ("running", "waiting") else run["output"])
    return [
        short(run["run_id"]),
        status,
        age(time.time() - run["started_us"] / 1e6) if run["started_us"] else "?",
        cut(one_line(run["caller"]), 24),
        cut(one_line(run["agent"]), 24),
        str(run["steps"]),
        str(run["tool_calls"]),
        count(run["tokens_in"] + run["tokens_out"]),
        usd(run["cost_usd"]),
        span(run["runtime_s"]),
        cut(one_line(why), 80),
    ]


def _print_sums(heading: str, rows: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        [heading, "RUNS", "OK", "NOT OK", "STEPS", "TOOLS", "TOKENS", "USD", "TIME"],
        [
            [
                cut(one_line(row["of"]), 40),
                f"{row['runs']:,}",
                f"{row['ok']:,}",
                f"{row['not_ok']:,}",
                count(row["steps"]),
                count(row["tool_calls"]),
                count(row["tokens_in"] + row["tokens_out"]),
                usd(row["cost_usd"]),
                span(row["runtime_s"]),
            ]
            for row in rows
        ],
        numbers=("RUNS", "OK", "NOT OK", "STEPS", "TOOLS", "TOKENS", "USD", "TIME"),
    )


# ------------------------------------------------------------------ one run


def _print_run(found: dict[str, list[dict[str, Any]]], alive: bool, full: bool, as_json: bool) -> None:
    [run] = found["runs"] or [{}]
    if not run:
        click.echo("no event of this run can be read", err=True)
        return
    if as_json:
        print_json({"type": "audit-run", **_told(run), "status": _status(run, alive)})
        for name, rows in found.items():
            if name != "runs":
                for row in rows:
                    print_json({"type": TYPES[name], **_told(row)})
        return
    width = WIDE_ENOUGH if full else screen_width()
    _print_header(run, _status(run, alive), sum(row["recorded"] for row in found["steps"]), width)
    for name, (head, format_) in SECTIONS.items():
        rows = found[name]
        if rows:
            click.echo()
            title = name.replace("_", " ")
            click.echo(click.style(f"{title} ({len(rows)})", bold=True))
            began = run["started_us"]
            cells = [[_since(began, row), *format_(row)] for row in rows]
            print_table(["AT", *head], cells, numbers=(), width=width)


def _since(began_us: int, row: Mapping[str, Any]) -> str:
    at = next((row[one] for one in ("at_us", "started_us", "requested_us") if row.get(one)), 0)
    return span(max(0, at - began_us) / 1e6) if at and began_us else "?"


def _print_header(run: Mapping[str, Any], status: str, recorded: int, width: int) -> None:
    ended = f", by {one_line(run['ended_by'])}" if run["ended_by"] else ""
    ended += f": {one_line(run['reason'])}" if run["reason"] else ""
    tokens = f"{run['tokens_in']:,} in, {run['tokens_out']:,} out"
    tokens += f" (thinking {run['tokens_thinking']:,})" if run["tokens_thinking"] else ""
    tokens += f", {run['cost_usd']:.4f} USD" if run["cost_usd"] else ""
    family = [
        f"{run['family_tokens']:,} tokens" if run["family_tokens"] else "",
        many(run["family_tool_calls"], "tool call") if run["family_tool_calls"] else "",
        f"{run['family_cost_usd']:.4f} USD" if run["family_cost_usd"] else "",
    ]
    steps = many(run["steps"], "step") + (f" ({recorded:,} recorded)" if recorded else "")
    asked = {
        "caller": run["caller"],
        "channel": run["channel"],
        "guild": run["guild"],
        "request": run["request_id"],
        "parent": run["parent_run_id"],
        "root": run["root_run_id"] if run["root_run_id"] != run["run_id"] else "",
        "forked from": f"{run['forked_from']}, version {run['forked_version']}" if run["forked_from"] else "",
        "made at": run["imported_from"],
    }
    fields = {
        "run": run["run_id"],
        "name": run["name"],
        "agent": f"{run['agent']}, model {run['model']}" if run["model"] else run["agent"],
        **asked,
        "started": moment(run["started_us"]) if run["started_us"] else "",
        "ended": moment(run["finished_us"]) if run["finished_us"] else "",
        "status": "",
        "doing": run["doing"],
        "work": f"{steps}, {many(run['tool_calls'], 'tool call')}, {span(run['runtime_s'])}",
        "waited": span(run["waited_s"]) if run["waited_s"] else "",
        "tokens": tokens,
        "children": ", ".join(one for one in family if one),
        "limits": f"{run['max_steps']} steps"
        + (f", {span(run['deadline_s'])}" if run["deadline_s"] is not None else ""),
        "resumed": many(run["resumed"], "time") if run["resumed"] else "",
        "unreadable": many(run["unreadable"], "event") if run["unreadable"] else "",
        "error": run["error"],
        "output": run["output"],
    }
    for label, text in fields.items():
        if label == "status":
            click.echo(f"{label:<{LABEL_WIDTH}}{coloured(status)}{ended}")
        elif text:
            click.echo(f"{label:<{LABEL_WIDTH}}{cut(one_line(text), max(40, width - LABEL_WIDTH))}")


def _step(row: dict[str, Any]) -> Sequence[str]:
    model = row["answered"] or row["model"]
    tokens = "recorded" if row["recorded"] else f"{count(row['tokens_in'])}+{count(row['tokens_out'])}"
    attempts = f"×{row['attempts']}" if row["attempts"] > 1 else ""
    return [
        f"{row['step']}{attempts}",
        row["status"],
        one_line(model),
        tokens,
        usd(row["cost_usd"] or 0.0),
        span(row["took_ms"] / 1000),
        one_line(row["error"] or row["stop"]),
    ]


def _tool(row: dict[str, Any]) -> Sequence[str]:
    said = row["error"] or (f"child {short(row['child_run_id'])}" if row["child_run_id"] else "")
    said = said or f"{row['result_chars']:,} characters"
    took = span(row["took_ms"] / 1000)
    return [row["call"], one_line(row["name"]), row["outcome"], row["effect"] or row["kind"], took, one_line(said)]


def _approval(row: dict[str, Any]) -> Sequence[str]:
    by = one_line(row["answered_by"])
    waited = span((row["answered_us"] - row["requested_us"]) / 1e6) if row["answered_us"] else ""
    return [row["call"], one_line(row["name"]), row["outcome"], by, waited, one_line(row["reason"] or row["question"])]


def _limit(row: dict[str, Any]) -> Sequence[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.6g}"

    moved = f"{number(row['was'])} → {number(row['became'])}" if row["was"] != row["became"] else number(row["was"])
    used = f"{number(row['spent'])} used" if row["spent"] is not None else ""
    scope = row["scope"] if not row["budget_window"] else f"{row['scope']}, {row['budget_window']}"
    return [row["what"], row["measure"], moved, used, one_line(row["done_by"]), scope, one_line(row["reason"])]


def _critic_act(row: dict[str, Any]) -> Sequence[str]:
    said = row["text"] + (f" {row['evidence']}" if row["evidence"] else "")
    return [row["act"], one_line(row["done_by"]), count(row["tokens"]), one_line(said)]


SECTIONS: dict[str, tuple[Cells, Format]] = {
    "phases": (["PHASE", "OUTPUT"], lambda row: [one_line(row["phase"]), f"{row['output_chars']:,} characters"]),
    "steps": (["STEP", "STATUS", "MODEL", "TOKENS", "USD", "TOOK", "WHY"], _step),
    "tools": (["CALL", "TOOL", "OUTCOME", "EFFECT", "TOOK", "SAID"], _tool),
    "approvals": (["CALL", "TOOL", "OUTCOME", "BY", "AFTER", "WHY"], _approval),
    "limit_changes": (["WHAT", "MEASURE", "LIMIT", "SPENT", "BY", "OF", "WHY"], _limit),
    "critic_acts": (["ACT", "BY", "TOKENS", "SAID"], _critic_act),
    "orders": (["ORDER", "BY", "SAID"], lambda row: [row["what"], one_line(row["given_by"]), one_line(row["text"])]),
    "errors": (["WHAT", "WHERE", "SAID"], lambda row: [row["what"], row["place"], one_line(row["text"])]),
    "notes": (["KIND", "PAYLOAD"], lambda row: [one_line(row["kind"]), one_line(row["payload"])]),
    "files": (
        ["KIND", "NAME", "TYPE", "BYTES"],
        lambda row: [row["kind"], one_line(row["name"]), one_line(row["media_type"]), f"{row['bytes']:,}"],
    ),
    "deliveries": (
        ["ATTEMPT", "OUTCOME", "SAID"],
        lambda row: [str(row["attempt"]), row["outcome"], one_line(row["error"] or row["receipt"])],
    ),
}
"""What is shown of the tables of one run, besides when."""

TYPES = {name: f"audit-{name.replace('_', '-').removesuffix('s')}" for name in SECTIONS}
TYPES["deliveries"] = "audit-delivery"
"""The `type` of the JSON objects of each."""


# ------------------------------------------------------------------ both


def usd(amount: float) -> str:
    """Dollars: "", "0.0042", "12.50"."""
    if not amount:
        return ""
    return f"{amount:.4f}" if amount < 1 else f"{amount:,.2f}"


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON: times as text beside no number, under the name without its unit."""
    told: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_us"):
            told[name.removesuffix("_us") + ("" if name.endswith("at_us") else "_at")] = iso(value) if value else None
        else:
            told["run" if name == "run_id" else name] = value
    return told


def print_table(
    head: Cells,
    rows: Sequence[Cells],
    *,
    numbers: Sequence[str],
    status: int | None = None,
    width: int | None = None,
) -> None:
    """Print rows in columns. numbers: headings whose cells stand on the right. status: the column that is coloured."""
    places = [index for index, heading in enumerate(head) if heading in numbers]
    for index, cells in enumerate(columns([head, *rows], right=places, width=width)):
        if index and status is not None:
            cells[status] = coloured(cells[status].strip(), cells[status])
        line = "  ".join(cells).rstrip()
        click.echo(line if index else click.style(line, bold=True))
