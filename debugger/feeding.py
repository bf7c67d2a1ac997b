"""What happens now, as server-sent events: a page that lost its connection goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import JournalError, UnknownRun
from ..journal import Subscription
from ..ports import Journal
from ..projections.moments import moment_of
from .answering import Refused, number

GATHER_S: Final = 0.1
"""Seconds in which events are gathered into one message, so that a busy run costs a page ten messages a second."""
TOLD: Final = 100
"""Moments that one message holds, the newest; the page reads the others when it shows them."""
OPEN: Final = 64
"""Feeds that are open at once, at most."""


class Feeding:
    """The feeds of one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open = 0

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [Route("/feed", self.all), Route("/runs/{run}/feed", self.run)]

    async def run(self, request: Request) -> Response:
        """The moments of a run after the version that the page knows, and those to come; also after the run's end."""
        run_id = request.path_params["run"]
        if await asyncio.to_thread(self._journal.run, run_id) is None:
            raise UnknownRun(run_id)
        return self._response(run_id, _known(request))

    async def all(self, request: Request) -> Response:
        """Which runs have new events, from the position that the page knows on, by default from now."""
        known = _known(request)
        return self._response(None, known if known >= 0 else await asyncio.to_thread(self._journal.head))

    def _response(self, run_id: str | None, after: int) -> Response:
        if self._open >= OPEN:
            raise Refused("too many pages follow this journal; close some", 503)
        return EventSourceResponse(self._told(run_id, max(0, after)), ping=15, headers={"cache-control": "no-store"})

    async def _told(self, run_id: str | None, after: int) -> AsyncIterator[dict[str, Any]]:
        self._open += 1
        try:
            yield {"event": "open", "data": "{}"}
            async with Subscription(self._journal, run_id=run_id, after=after, notes=True) as events:
                async for first in events:
                    await asyncio.sleep(GATHER_S)
                    batch = [first, *await asyncio.to_thread(events.poll)]
                    last = batch[-1]
                    if run_id is not None:
                        shape: dict[str, Any] = {
                            "head": last.version,
                            "moments": [moment_of(event) for event in batch[-TOLD:]],
                        }
                    else:
                        shape = {"runs": {event.run_id: event.version for event in batch}}
                    yield {
                        "event": "moments" if run_id is not None else "runs",
                        "id": str(last.version if run_id is not None else last.position),
                        "data": msgspec.json.encode(shape).decode(),
                    }
        except (JournalError, UnknownRun) as error:
            yield {"event": "problem", "data": msgspec.json.encode({"error": str(error)}).decode()}
        finally:
            self._open -= 1


def _known(request: Request) -> int:
    given = request.headers.get("last-event-id", "")
    if given.isascii() and given.isdecimal() and len(given) < 18:
        return int(given)
    return number(request, "after", -1, least=-1)
