"""Orders to a live host: what the buttons of the page do. Nothing else in this room changes anything."""

from __future__ import annotations

import asyncio
import re
from typing import Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import FileRefused
from ..events import Measure
from ..ports import LiveHost, LiveRun
from .answering import Refused, answer
from .artifacts import Artifacts

BY: Final = "debugger"
"""Who gives the order, unless the page says who."""
BODY: Final = 100_000
"""Bytes of an order, at most."""
TIMEOUT_S: Final = 30.0
ADDRESS: Final = re.compile(r"[0-9a-f]{64}")


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="order", forbid_unknown_fields=True):
    """What all orders have. by: who gives it."""

    by: str = BY


class Steer(Order, frozen=True, tag="steer"):
    """Advice for the model."""

    text: str


class Extend(Order, frozen=True, tag="extend"):
    """More time."""

    seconds: float
    reason: str = ""


class Raise(Order, frozen=True, tag="raise"):
    """More of a limit."""

    more: int | float
    limit: Measure = "steps"
    reason: str = ""


class Kill(Order, frozen=True, tag="kill"):
    """The end."""

    reason: str = ""


class Cancel(Order, frozen=True, tag="cancel"):
    """The end, as its caller's wish."""

    reason: str = ""


class Approve(Order, frozen=True, tag="approve"):
    """Yes to a call."""

    call: str = ""


class Begin(Order, frozen=True, tag="begin"):
    """A fork begins."""


class Deny(Order, frozen=True, tag="deny"):
    """No to it."""

    call: str = ""
    reason: str = ""


AnyOrder: TypeAlias = Steer | Extend | Raise | Kill | Cancel | Approve | Deny | Begin


class Ordering:
    """Gives orders to `host`, and reads artifacts."""

    def __init__(self, host: LiveHost | None, artifacts: Artifacts) -> None:
        self._host = host
        self._artifacts = artifacts

    def routes(self) -> list[BaseRoute]:
        """Where."""
        return [
            Route("/runs/{run}/orders", self.order, methods=["POST"]),
            Route("/artifacts/{sha256}", self.artifact),
        ]

    async def order(self, request: Request) -> Response:
        """Give one order, answered when what it led to is durable."""
        host = hosted(self._host)
        body = await body_of(request)
        try:
            order = msgspec.json.decode(body, type=AnyOrder)
        except msgspec.DecodeError as error:
            raise Refused(f"not an order: {error}") from None
        run = await asyncio.to_thread(host.run, request.path_params["run"])
        await asyncio.to_thread(_give, run, order)
        return answer({"done": True, "status": await asyncio.to_thread(lambda: run.status)})

    def artifact(self, request: Request) -> Response:
        """The bytes of an artifact. A browser that opens it saves it, whatever it is."""
        sha256 = request.path_params["sha256"]
        if not ADDRESS.fullmatch(sha256):
            raise Refused("an artifact's address is 64 hexadecimal digits", 404)
        try:
            content = self._host.artifact(sha256) if self._host is not None else self._artifacts.get(sha256)
        except OSError as error:
            raise FileRefused(f"the artifact {sha256[:16]}… cannot be read: {error.strerror}") from error
        headers = {"content-disposition": f'attachment; filename="{sha256[:16]}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)


def hosted(host: LiveHost | None) -> LiveHost:
    """The host.

    Raises:
        Refused: there is none.
    """
    if host is None:
        raise Refused("there is no live host behind this page: it can only be read", 409)
    return host


async def body_of(request: Request) -> bytes:
    """What is sent with an order.

    Raises:
        Refused: it is not JSON by its own word, as what another page can send without asking, or too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("expected an order as application/json", 415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            raise Refused(f"an order has at most {BODY:,} bytes", 413)
    return bytes(body)


def _give(run: LiveRun, order: AnyOrder) -> None:
    match order:
        case Steer():
            run.steer(order.text, by=order.by, timeout=TIMEOUT_S)
        case Extend():
            run.extend(order.seconds, by=order.by, reason=order.reason, timeout=TIMEOUT_S)
        case Raise():
            run.raise_ceiling(order.more, order.limit, by=order.by, reason=order.reason, timeout=TIMEOUT_S)
        case Kill():
            run.kill(order.reason, by=order.by, timeout=TIMEOUT_S)
        case Cancel():
            run.cancel(order.reason, by=order.by, timeout=TIMEOUT_S)
        case Approve():
            run.approve(order.call, by=order.by, timeout=TIMEOUT_S)
        case Begin():
            run.begin(by=order.by, timeout=TIMEOUT_S)
        case Deny():
            run.deny(order.call, reason=order.reason, by=order.by, timeout=TIMEOUT_S)
