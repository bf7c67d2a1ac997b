"""Who may ask: the right host name, no foreign page, and for data the token. And what every answer is sent with."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answering import problem

TOKEN_HEADER: Final = "x-executus-token"  # noqa: S105 - the name of a header
FROM_HERE: Final = ("same-origin", "none")
"""What a browser says of a request that our own page made, or that a person typed."""


class Doorman:
    """Lets in what asks under one of `hosts` and does not come from another page; answers allow no outside resources.

    A name that somebody else's page resolves to this machine (DNS rebinding) is none of `hosts`.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], policy: str) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = {
            "content-security-policy": policy,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        why = self._why_not(Headers(scope=scope))
        await (problem(403, why) if why else self._app)(scope, receive, send_closed)

    def _why_not(self, headers: Headers) -> str:
        host = headers.get("host", "")
        name, _, port = host.rpartition(":")
        if (name if name and port.isdecimal() else host).lower() not in self._hosts:
            return f"this page is not served under the name {host!r}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return f"requests from the page {origin!r} are not answered"
        if headers.get("sec-fetch-site", "none") not in FROM_HERE and headers.get("sec-fetch-mode") != "navigate":
            return "requests from other pages are not answered"
        return ""


class TokenGate:
    """Lets in what carries the token in its header; everything that is or does something is behind it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get(TOKEN_HEADER, "")
            if not secrets.compare_digest(given.encode(), self._token):
                what = "the token is wrong" if given else "this needs the token"
                await problem(401, f"{what}: open the address that was printed when the debugger was started")(
                    scope, receive, send
                )
                return
        await self._app(scope, receive, send)
