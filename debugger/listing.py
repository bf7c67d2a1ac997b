"""Lists: the runs of the journal, and the moments and groups of one run, a window at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import JournalError, RuntimeClosed, UnknownRun
from ..events import RunInfo
from ..ports import LiveHost, RunSummary
from ..projections.overview import Overview, evolve_overview
from ..projections.run import RunState
from .answering import Refused, answer, number, word
from .shaping import cut
from .shelf import Lined, Shelf

ROWS: Final = 20_000
"""Runs whose row is kept."""
BUCKETS: Final = 400
"""Pieces of a timeline, unless the page asks for others."""
SEARCHED: Final = ("run", "name", "agent", "says", "caller")
"""Fields of a row in which a text is looked for."""
WINDOW: Final = 400
"""Rows of a list that are sent at once, at most."""


class Listing:
    """Lists. Each is made on a thread, since it reads the disk."""

    def __init__(self, shelf: Shelf, host: LiveHost | None) -> None:
        self._shelf = shelf
        self._host = host
        self._lock = Lock()
        self._rows: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    def routes(self) -> list[BaseRoute]:
        """Where each is asked for."""
        return [
            Route("/runs", self.runs),
            Route("/runs/{run}", self.run),
            Route("/runs/{run}/line", self.line),
            Route("/runs/{run}/moments", self.moments),
            Route("/runs/{run}/groups", self.groups),
            Route("/runs/{run}/next", self.next),
        ]

    # -------------------------------------------------------------- runs

    def runs(self, request: Request) -> Response:
        """Runs, newest first, with first position below `before`; only with `status`, of `agent`, or saying `text`."""
        status, agent, text = word(request, "status"), word(request, "agent"), word(request, "text").casefold()
        limit, before = number(request, "limit", 50, 1, 200), number(request, "before", 0)
        rows: list[dict[str, Any]] = []
        summaries = [one for one in self._shelf.journal.runs() if not before or one.first_position < before]
        left = False
        for summary in reversed(summaries):
            row = self._row(summary)
            if status and row["status"] != status:
                continue
            if agent and agent != row["agent"]:
                continue
            if text and not any(text in str(row[name]).casefold() for name in SEARCHED):
                continue
            if len(rows) == limit:
                left = True
                break
            rows.append(row)
        return answer({"runs": rows, "more": left, "total": len(summaries), "host": self._host is not None})

    def run(self, request: Request) -> Response:
        """One run: its row, and what a live host says of it."""
        run_id = self._found(request.path_params["run"])
        summary = self._shelf.journal.run(run_id)
        if summary is None:
            raise UnknownRun(run_id)
        live = None
        if self._host is not None:
            with suppress(RuntimeClosed, UnknownRun):  # then the page is one to read
                held = self._host.run(run_id)
                live = {"status": held.status, "reason": held.reason}
        return answer({**self._row(summary), "head": summary.version, "over": summary.over, "live": live})

    def _found(self, digits: str) -> str:
        """The id of the one run that ends with `digits`."""
        if len(digits) >= 36:
            return digits
        found = [one.run_id for one in self._shelf.journal.runs() if one.run_id.endswith(digits)]
        if len(found) != 1 or len(digits) < 4:
            raise Refused(f"{len(found)} runs have an id that ends with {digits[:40]!r}", 404)
        return found[0]

    def _row(self, summary: RunSummary) -> dict[str, Any]:
        with self._lock:
            version, kept = self._rows.get(summary.run_id, (0, {}))
        if version == summary.version:
            return kept
        row = self._made(summary)
        with self._lock:
            self._rows[summary.run_id] = summary.version, row
            self._rows.move_to_end(summary.run_id)
            while len(self._rows) > ROWS:
                self._rows.popitem(last=False)
        return row

    def _made(self, summary: RunSummary) -> dict[str, Any]:
        journal, run_id = self._shelf.journal, summary.run_id
        row, problem = Overview(info=RunInfo(run_id=run_id, name="")), ""
        try:
            [first] = journal.read(run_id, 0, 1)
            [last] = journal.read(run_id, summary.version - 1, 1)
            row = evolve_overview(row, first)
            row = msgspec.structs.replace(
                row,
                state=journal.load(run_id).state,
                version=last.version,
                changed_at_us=last.at_us,
                elapsed_ms=last.elapsed_ms,
            )
        except (JournalError, UnknownRun, ValueError) as error:
            problem = str(error)
        state: RunState = row.state
        return {
            "run": run_id,
            "name": cut(row.info.name, 200),
            "agent": row.agent,
            "model": row.model,
            "caller": row.info.caller_id,
            "parent": row.info.parent_run_id,
            "status": "unreadable" if problem else row.status,
            "doing": row.doing,
            "steps": state.step,
            "tool_calls": state.tool_calls,
            "input_tokens": state.input_tokens,
            "output_tokens": state.output_tokens,
            "cost_usd": state.cost_usd,
            "says": cut(problem or state.error or state.reason or state.output, 200),
            "by": state.by,
            "events": summary.version,
            "first_position": summary.first_position,
            "started_at_us": row.started_at_us,
            "changed_at_us": row.changed_at_us,
            "elapsed_ms": row.elapsed_ms,
            "imported_from": row.imported_from,
        }

    # -------------------------------------------------------------- one run

    def line(self, request: Request) -> Response:
        """The timeline: marks by lane, what tools did, and what looks like a loop."""
        with self._lined(request) as lined:
            line = lined.line
            return answer(
                {
                    "head": line.head,
                    "buckets": (buckets := number(request, "buckets", BUCKETS, 10, 2_000)),
                    "marks": line.marks(buckets),
                    "lanes": line.lanes(),
                    "wrong": sum(moment.wrong for moment in line.moments),
                    "elapsed_ms": line.moments[-1].elapsed_ms if line.moments else 0,
                    "tools": sorted(line.uses.values(), key=lambda use: -use.calls)[:50],
                    "loops": line.loops(),
                    "tags": sorted({moment.tag for moment in line.moments}),
                }
            )

    def moments(self, request: Request) -> Response:
        """A window of the list of events that match `lane`, `tag`, `failed`, `tool`, `text`, `least` importance.

        The window begins at row `skip`, or after the version `after`, or has the version `around` in its middle.
        """
        limit = number(request, "limit", 100, 1, WINDOW)
        with self._lined(request) as lined:
            line = lined.line
            chosen = self._chosen(request, lined)
            total = line.head if chosen is None else len(chosen)

            def place(version: int) -> int:
                return max(0, version - 1) if chosen is None else bisect_left(chosen, version)

            skip = number(request, "skip", 0)
            if "after" in request.query_params:
                skip = place(number(request, "after", 0) + 1)
            around = number(request, "around", 0)
            row = place(around) if around else None
            if row is not None:
                skip = max(0, min(row - limit // 2, total - limit))
            window = (
                line.moments[skip : skip + limit]
                if chosen is None
                else [line.moments[version - 1] for version in chosen[skip : skip + limit]]
            )
            rows = [{**msgspec.to_builtins(moment), "tool": line.tools[moment.version - 1]} for moment in window]
            return answer({"head": line.head, "total": total, "skip": skip, "row": row, "moments": rows})

    def groups(self, request: Request) -> Response:
        """A window of the list of groups: a step, a call, or an event by itself; those that match, as `moments`."""
        limit, around = number(request, "limit", 100, 1, WINDOW), number(request, "around", 0)
        with self._lined(request) as lined:
            groups = lined.line.groups
            chosen = self._chosen(request, lined)
            if chosen is not None:
                wanted = set(chosen)
                keys = {self._key(lined, version) for version in wanted}
                groups = [one for one in groups if one.first in wanted or (one.step, one.call) in keys - {(0, "")}]
            row = max(0, bisect_left(groups, around + 1, key=lambda one: one.first) - 1) if around else None
            skip = number(request, "skip", 0)
            if row is not None:
                skip = max(0, min(row - limit // 2, len(groups) - limit))
            return answer(
                {
                    "head": lined.line.head,
                    "total": len(groups),
                    "skip": skip,
                    "row": row,
                    "groups": groups[skip : skip + limit],
                }
            )

    @staticmethod
    def _key(lined: Lined, version: int) -> tuple[int, str]:
        moment = lined.line.moments[version - 1]
        return moment.step, moment.call

    def next(self, request: Request) -> Response:
        """The nearest "error", "critic" act or "limit" change after the version `after`, or before it with `back`."""
        what = word(request, "what")
        if what not in ("error", "critic", "limit"):
            raise Refused(f"what: expected error, critic or limit, got {what[:40]!r}")
        with self._lined(request) as lined:
            step = -1 if word(request, "back") == "1" else 1
            return answer({"version": lined.line.next(what, number(request, "after", 0), step)})

    def _lined(self, request: Request) -> Any:
        return self._shelf.lined(request.path_params["run"])

    def _chosen(self, request: Request, lined: Lined) -> list[int] | None:
        """The versions that match the filter, in order; None without a filter."""
        lane, tag, tool, text = (word(request, name) for name in ("lane", "tag", "tool", "text"))
        failed, least = word(request, "failed") == "1", number(request, "least", 0, most=2)
        if not (lane or tag or tool or text or failed or least):
            return None
        hits = lined.hits(self._shelf.journal, text) if text else None
        line = lined.line
        return [
            moment.version
            for moment, name in zip(line.moments, line.tools, strict=True)
            if (not lane or moment.lane == lane)
            and (not tag or moment.tag == tag)
            and (not tool or name == tool)
            and (not failed or moment.wrong)
            and moment.importance >= least
            and (hits is None or moment.version in hits)
        ]
