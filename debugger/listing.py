"""Lists: the runs of the journal, and the moments and groups of one run, a window at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import HostUnreachable, RuntimeClosed, UnknownRun
from ..ports import LiveHost, RunSummary
from .answering import Refused, answer, number, word
from .line import BUCKETS
from .rows import run_row
from .shelf import Lined, Shelf

ROWS: Final = 20_000
"""Runs whose row is kept."""
SEARCHED: Final = ("run", "name", "agent", "says", "caller")
"""Fields of a row in which a text is looked for."""
BEHIND: Final = 5_000
"""Events that a line may lack and is still waited for, before a list is answered."""
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
            Route("/runs/{run}/when", self.when),
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
            with suppress(RuntimeClosed, UnknownRun, HostUnreachable):  # then the page is one to read
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
        row = run_row(self._shelf.journal, summary)
        with self._lock:
            self._rows[summary.run_id] = summary.version, row
            self._rows.move_to_end(summary.run_id)
            while len(self._rows) > ROWS:
                self._rows.popitem(last=False)
        return row

    # -------------------------------------------------------------- one run

    def line(self, request: Request) -> Response:
        """The timeline: marks by lane, what tools did, and what looks like a loop."""
        with self._lined(request) as lined:
            return answer(lined.line.shape(number(request, "buckets", BUCKETS, 10, 2_000)))

    def moments(self, request: Request) -> Response:
        """A window of the list of events that match `lane`, `tag`, `failed`, `tool`, `text`, `least` importance.

        The window begins at row `skip`, or after the version `after`, or has the version `around` in its middle.
        """
        limit = number(request, "limit", 100, 1, WINDOW)
        if not _filtered(request):
            run_id = request.path_params["run"]
            head, known = self._shelf.known(run_id)
            if head - known > BEHIND:  # its list is there at once, and need not wait until all of the log is looked at
                skip, row = _window(request, head, limit, lambda version: max(0, version - 1))
                return answer(_listed(head, head, skip, row, self._shelf.glance(run_id, skip, limit)))
        with self._lined(request) as lined:
            line = lined.line
            chosen = self._chosen(request, lined)
            versions = range(1, line.head + 1) if chosen is None else chosen
            skip, row = _window(request, len(versions), limit, lambda version: bisect_left(versions, version))
            rows = [line.row(line.moments[version - 1]) for version in versions[skip : skip + limit]]
            return answer(_listed(line.head, len(versions), skip, row, rows))

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

    def when(self, request: Request) -> Response:
        """The newest version at which the run's own clock showed at most `elapsed_ms`."""
        with self._lined(request) as lined:
            return answer({"version": lined.line.at_time(number(request, "elapsed_ms", 0))})

    def _lined(self, request: Request) -> Any:
        return self._shelf.lined(request.path_params["run"])

    def _chosen(self, request: Request, lined: Lined) -> list[int] | None:
        """The versions that match the filter, in order; None without a filter."""
        lane, tag, tool, text = (word(request, name) for name in ("lane", "tag", "tool", "text"))
        failed, least = word(request, "failed") == "1", number(request, "least", 0, most=2)
        if not _filtered(request):
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


def _filtered(request: Request) -> bool:
    """Whether the list is of some events only."""
    return any(word(request, name) for name in ("lane", "tag", "tool", "text")) or (
        word(request, "failed") == "1" or number(request, "least", 0, most=2) > 0
    )


def _window(request: Request, total: int, limit: int, place: Callable[[int], int]) -> tuple[int, int | None]:
    """Where the window begins, and the row of the version that it is around. place: the row of a version."""
    skip = number(request, "skip", 0)
    if "after" in request.query_params:
        skip = place(number(request, "after", 0) + 1)
    around = number(request, "around", 0)
    row = place(around) if around else None
    if row is not None:
        skip = max(0, min(row - limit // 2, total - limit))
    return skip, row


def _listed(head: int, total: int, skip: int, row: int | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"head": head, "total": total, "skip": skip, "row": row, "moments": rows}
