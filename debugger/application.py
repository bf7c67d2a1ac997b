"""The ASGI application: the page, its modules, and its data behind the token."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from ..errors import ExecutusError
from ..journal import read_journal
from ..ports import Journal, LiveHost
from .answering import Refused, on_error
from .artifacts import Artifacts
from .branching import Branching
from .feeding import Feeding
from .guarding import Doorman, TokenGate
from .listing import Listing
from .ordering import Ordering
from .page import page_files
from .seeing import Seeing
from .shelf import Shelf

SHORTEST_TOKEN: Final = 16


def application(
    journal: Journal | str | os.PathLike[str],
    host: LiveHost | None,
    token: str | None,
    hosts: Sequence[str],
    artifacts: str | os.PathLike[str] | None,
) -> Starlette:
    """See `opening.app`."""
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ValueError(f"app, token: expected at least {SHORTEST_TOKEN} characters, got {len(token)}")
    token = token if token is not None else secrets.token_urlsafe(24)
    folder = None if artifacts is None else Path(artifacts)
    if isinstance(journal, (str, os.PathLike)):
        folder = folder if folder is not None else Path(f"{os.fspath(journal)}-artifacts")
        journal = read_journal(journal)
    shelf = Shelf(journal)
    data = [
        *Listing(shelf, host).routes(),
        *Seeing(shelf).routes(),
        *Feeding(journal).routes(),
        *Ordering(host, Artifacts(folder)).routes(),
        *Branching(shelf, host).routes(),
    ]
    page = page_files()
    handlers = dict.fromkeys((Refused, ExecutusError, TimeoutError, ValueError, HTTPException), on_error)

    def asset(request: Request) -> Response:
        found = page.get(request.path_params.get("path") or "index.html")
        if found is None:
            raise HTTPException(404)
        content, kind = found
        return Response(content, media_type=kind)

    made = Starlette(
        routes=[
            Mount("/api", routes=data, middleware=[Middleware(TokenGate, token=token)]),
            Route("/", asset),
            Route("/assets/{path:path}", asset),
        ],
        middleware=[Middleware(Doorman, hosts=hosts, policy=policy(page["index.html"][0]))],
        exception_handlers={**handlers, Exception: on_error},
    )
    made.state.token = token
    made.state.journal = journal
    return made


def policy(page: bytes) -> str:
    """The content security policy: our own files, and the one import map that stands in the page."""
    inline = re.findall(rb'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in inline)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
