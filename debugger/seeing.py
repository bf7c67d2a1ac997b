"""Looking at one run: what the page asks for when somebody stands at a moment of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ..adapters.shapes import event_shape
from ..events import Event
from ..projections.changes import changed
from ..projections.shown import place_of
from ..travel import diff_runs, lineage, search
from ..travel.reading import checked, head_of
from .answering import Refused, answer, number, word
from .shaping import (
    bounds_shape,
    branch_shape,
    changes_shape,
    cut,
    member_shape,
    messages_shape,
    state_shape,
)
from .shelf import Shelf
from .watching import watch_shape, write_shape

MESSAGES: Final = 40
"""Messages of the conversation that come with a moment, the newest."""
WRITES: Final = 200
"""Writes of a place that are told, the newest."""
WATCHED: Final = 20
"""Places that are watched at once."""
FOUND: Final = 200
"""Hits of a search that are told."""


class Seeing:
    """The questions about one run. Each is answered on a thread, since it reads the disk."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def routes(self) -> list[BaseRoute]:
        """Where each is asked."""
        run = "/runs/{run}"
        return [
            Route(f"{run}/at/{{version:int}}", self.moment),
            Route(f"{run}/messages", self.messages),
            Route(f"{run}/events/{{version:int}}", self.event),
            Route(f"{run}/diff", self.diff),
            Route(f"{run}/blame", self.blame),
            Route(f"{run}/watch", self.watch),
            Route(f"{run}/family", self.family),
            Route(f"{run}/lineage", self.lineage),
            Route(f"{run}/export.jsonl", self.export),
            Route("/compare", self.compare),
            Route("/search", self.search),
        ]

    def moment(self, request: Request) -> Response:
        """State, event, newest messages and limits at a version, and what changed since version `against`, by default
        the one before.
        """
        version = request.path_params["version"]
        with self._open(request) as book:
            recording = book.recording
            checkpoint = recording.at(version)
            against = number(request, "against", max(0, version - 1), most=recording.head)
            before = recording.at(against)
            event = recording.event(version) if version else None
            messages = checkpoint.transcript.messages
            difference = changes_shape(changed(before, checkpoint))
            return answer(
                {
                    "run": recording.run_id,
                    "head": recording.head,
                    "version": version,
                    "against": against,
                    "event": cut(event_shape(event)) if event is not None else None,
                    "shown": state_shape(checkpoint),
                    "bounds": bounds_shape(checkpoint),
                    "messages": messages_shape(messages, max(0, len(messages) - MESSAGES), MESSAGES),
                    "heard": messages_shape(checkpoint.transcript.heard, 0, MESSAGES)["messages"],
                    "diff": difference,
                }
            )

    def messages(self, request: Request) -> Response:
        """A piece of the conversation as it was at a version."""
        with self._open(request) as book:
            at = number(request, "at", book.recording.head, most=book.recording.head)
            said = book.recording.at(at).transcript.messages
            skip, limit = number(request, "skip", 0), number(request, "limit", MESSAGES, 1, 200)
            return answer(messages_shape(said, skip, limit))

    def event(self, request: Request) -> Response:
        """The whole of an event."""
        with self._open(request) as book:
            return answer(event_shape(book.recording.event(request.path_params["version"])))

    def diff(self, request: Request) -> Response:
        """What changed from version `from` to version `to`, and what was said since."""
        with self._open(request) as book:
            head = book.recording.head
            first, last = number(request, "from", 0, most=head), number(request, "to", head, most=head)
            before, after = book.recording.at(first), book.recording.at(last)
            return answer({"from": first, "to": last, **changes_shape(changed(before, after))})

    def blame(self, request: Request) -> Response:
        """Every event up to `at` that wrote the value at `path`, newest first."""
        path = word(request, "path")
        place = place_of(path)
        if not place:
            raise Refused("path: expected a place in the state, such as /state/step")
        run_id = request.path_params["run"]
        head = head_of(self._shelf.journal, run_id)
        at = checked(run_id, number(request, "at", 0) or head, head)
        with self._shelf.writings(run_id) as writings:
            [found] = writings.of(self._shelf.journal, [place], at, at)
            found = found[: bisect_right(found, at, key=lambda one: one.version)]
        newest = found[: -WRITES - 1 : -1]
        return answer({"path": path, "total": len(found), "writes": [write_shape(one) for one in newest]})

    def watch(self, request: Request) -> Response:
        """What stands at each `path` after version `at`, who wrote it last, and where it changes next."""
        paths = [one[:1000] for one in request.query_params.getlist("path") if one.strip()][:WATCHED]
        places: list[tuple[str, ...]] = []
        shapes: list[dict[str, Any]] = []
        for path in paths:
            try:
                places.append(place_of(path))
                shapes.append({"path": path})
            except ValueError as error:  # the others can still be shown
                shapes.append({"path": path, "error": str(error)})
        with self._open(request) as book, self._shelf.writings(request.path_params["run"]) as writings:
            at = number(request, "at", book.recording.head, most=book.recording.head)
            checkpoint = book.recording.at(at)
            written = writings.of(self._shelf.journal, places, at, book.recording.head)
            found = iter(zip(places, written, strict=True))
            for index, shape in enumerate(shapes):
                if "error" not in shape:
                    place, these = next(found)
                    shapes[index] = watch_shape(shape["path"], place, checkpoint, these)
        return answer({"version": at, "watches": shapes})

    def family(self, request: Request) -> Response:
        """The whole family of the run as it stood at the position of its version `at`."""
        with self._open(request) as book:
            recording = book.recording
            at = number(request, "at", recording.head, most=recording.head)
            position = recording.event(at).position if at else 0
            return answer({"position": position, "root": member_shape(book.kin().at(position).root)})

    def lineage(self, request: Request) -> Response:
        """The tree of runs that go on from one another."""
        return answer(branch_shape(lineage(self._shelf.journal, request.path_params["run"])))

    def compare(self, request: Request) -> Response:
        """Where the runs `a` and `b` part."""
        found = diff_runs(self._shelf.journal, word(request, "a"), word(request, "b"))
        shape: dict[str, Any] = msgspec.to_builtins(found)
        return answer({**cut(shape), "same": found.same})

    def search(self, request: Request) -> Response:
        """The events that say `text`, of one `run` or of all; the first of them."""
        text, tool, tag = word(request, "text"), word(request, "tool"), word(request, "tag")
        errors = word(request, "failed") == "1"
        if not (text or tool or tag or errors):
            raise Refused("text: expected something to look for")
        run = word(request, "run")
        found = search(
            self._shelf.journal,
            text,
            tool=tool,
            tag=tag,
            errors=errors,
            run_ids=[run] if run else None,
            after=number(request, "after", 0),
        )
        hits: list[Any] = []
        for hit in found:
            hits.append(hit)
            if len(hits) == FOUND:
                break
        return answer({"found": hits, "more": len(hits) == FOUND})

    def export(self, request: Request) -> Response:
        """The whole log, one event a line, as `executus show --events --json` prints it."""
        journal, run = self._shelf.journal, request.path_params["run"]
        first = journal.read(run, 0, 500)

        def lines() -> Iterator[bytes]:
            page: list[Event] = first
            while page:
                yield b"".join(msgspec.json.encode(event_shape(event)) + b"\n" for event in page)
                page = journal.read(run, page[-1].version, 500)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def _open(self, request: Request) -> Any:
        return self._shelf.open(request.headers.get("x-executus-page", "")[:40], request.path_params["run"])
