"""The debugger with a server of its own, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette

LET_GO_S: Final = 1
"""Seconds that open connections are given at the end."""


def serve_app(app: Starlette, port: int, path: str, told: Callable[[str], None]) -> None:
    """See `opening.serve`."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=LET_GO_S,
            ),
            lambda: told(f"{address}#/{path}{'&' if '?' in path else '?'}token={app.state.token}"),
        )
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        self._begun()
