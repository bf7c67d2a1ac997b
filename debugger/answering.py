"""Answers: JSON as msgspec writes it, and every error as a sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..errors import (
    ExecutusError,
    FileRefused,
    JournalUnavailable,
    LogCorrupt,
    MessageRefused,
    RuntimeClosed,
    UnknownFact,
    UnknownRun,
)

log = logging.getLogger("executus.debugger")

STATUSES: Final[Mapping[type[Exception], int]] = {
    UnknownRun: 404,
    FileRefused: 404,
    MessageRefused: 409,
    LogCorrupt: 422,
    UnknownFact: 422,
    JournalUnavailable: 503,
    RuntimeClosed: 503,
    TimeoutError: 504,
    ValueError: 400,  # the library looks at what is asked: versions, places
    ExecutusError: 422,
}
"""The first that fits."""


class Refused(Exception):
    """The request cannot be meant like that; `sentence` says why."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


def answer(value: Any, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(status: int, sentence: str) -> Response:
    """An error as JSON."""
    return answer({"error": sentence}, status)


def on_error(_: Request, error: Exception) -> Response:
    """What is answered instead of an exception."""
    if isinstance(error, Refused):
        return problem(error.status, error.sentence)
    if isinstance(error, HTTPException):
        return problem(error.status_code, f"{error.detail.lower()}: there is nothing at this address")
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return problem(status, str(error) or "it took too long")
    log.error("a request failed", exc_info=error)
    return problem(500, f"the debugger failed: {type(error).__name__}; its log says more")


def number(request: Request, name: str, default: int, least: int = 0, most: int = 2**53) -> int:
    """A whole number of the query, brought within `least` and `most`.

    Raises:
        Refused: it is no number.
    """
    given = request.query_params.get(name)
    if given is None or given == "":
        return default
    try:
        return max(least, min(most, int(given)))
    except ValueError:
        raise Refused(f"{name}: expected a whole number, got {given[:40]!r}") from None


def word(request: Request, name: str, default: str = "") -> str:
    """A text of the query, at most 1,000 characters."""
    return request.query_params.get(name, default)[:1000]
