"""Forking from a moment that somebody looks at, through a live host."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import MessageRefused
from ..ports import LiveHost, Overrides
from ..projections.editing import DropFrom, MessageEdit, Reword, Say
from ..travel.reading import checked
from .answering import Refused, answer
from .foreseeing import foreseen
from .ordering import BY, TIMEOUT_S, body_of, hosted
from .shelf import Shelf


class Rewording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of the conversation, by its index, and what it is to say."""

    index: int
    text: str


class Fork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fork as the page asks for it; what is not given is as it was. drop_from: index of the first message that is
    left out. results: texts by call ("3.0"). say: what a person says next. start: begin at once.
    """

    at: int
    model: str | None = None
    agent: str | None = None
    instructions: str | None = None
    tools: tuple[str, ...] | None = None
    limits: dict[str, int | float | None] = {}
    reword: tuple[Rewording, ...] = ()
    drop_from: int | None = None
    say: str = ""
    results: dict[str, str] = {}
    reuse: Literal["never", "recorded"] = "never"
    start: bool = False
    by: str = BY

    def overrides(self) -> Overrides:
        """What is to be different."""
        edits: list[MessageEdit] = [Reword(one.index, one.text) for one in self.reword]
        edits += [] if self.drop_from is None else [DropFrom(self.drop_from)]
        edits += [Say(self.say)] if self.say else []
        return Overrides(
            model=self.model,
            agent=self.agent,
            instructions=self.instructions,
            tools=self.tools,
            limits=self.limits,
            messages=edits,
            results=self.results,
        )


class Branching:
    """Forks runs of `host`, and tells before what a fork would inherit."""

    def __init__(self, shelf: Shelf, host: LiveHost | None) -> None:
        self._shelf = shelf
        self._host = host

    def routes(self) -> list[BaseRoute]:
        """Where."""
        return [
            Route("/runs/{run}/fork", self.fork, methods=["POST"]),
            Route("/runs/{run}/fork/preview", self.preview, methods=["POST"]),
        ]

    async def preview(self, request: Request) -> Response:
        """What the same fork would inherit and do, or why it `cannot` be; makes none, and needs no host."""
        asked = await _asked(request)
        return answer(await asyncio.to_thread(self._foreseen, request.path_params["run"], asked))

    def _foreseen(self, run_id: str, asked: Fork) -> dict[str, Any]:
        journal = self._shelf.journal
        with self._shelf.lined(run_id) as lined:
            at = checked(run_id, asked.at, lined.line.head)
            later = sum(one.tag == "step-completed" for one in lined.line.moments[at:])
        events = journal.read(run_id, 0, at) if at else []
        try:
            return foreseen(run_id, events, asked.overrides(), later)
        except (ValueError, MessageRefused) as error:  # what was asked is answered: it cannot be
            return {"cannot": str(error)}

    async def fork(self, request: Request) -> Response:
        """Fork, answered with the new run when it is durable."""
        host = hosted(self._host)
        asked = await _asked(request)
        try:
            run = await asyncio.to_thread(
                host.fork,
                request.path_params["run"],
                asked.at,
                overrides=asked.overrides(),
                start=asked.start,
                by=asked.by,
                reuse=asked.reuse,
                timeout=TIMEOUT_S,
            )
        except TypeError as error:
            raise Refused(str(error)) from error
        return answer({"run": run.id, "status": await asyncio.to_thread(lambda: run.status)})


async def _asked(request: Request) -> Fork:
    body = await body_of(request)
    try:
        return msgspec.json.decode(body, type=Fork)
    except msgspec.DecodeError as error:
        raise Refused(f"not a fork: {error}") from None
