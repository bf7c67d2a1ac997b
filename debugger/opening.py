"""How the debugger is made: as an application for somebody's server, or with a server of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import ExtraMissing
from ..ports import Journal, LiveHost

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a page on this machine is asked for."""


def app(
    journal: Journal | str | os.PathLike[str],
    host: LiveHost | None = None,
    *,
    token: str | None = None,
    hosts: Sequence[str] = LOOPBACK,
    artifacts: str | os.PathLike[str] | None = None,
) -> Starlette:
    """Make the debugger as an ASGI application, to be served (`serve`), or mounted by a host under any path.

    journal: a host's own (`Runtime.journal`), or the path of one, which is opened for reading only. host: who runs its
    runs, for the buttons that act (a `Runtime`); without it nothing can be changed. token: what every request for data
    must carry; by default a new one. It is `app(...).state.token`, and the page takes it from the fragment of its
    address: `https://…/executus/#token=TOKEN`. hosts: names, without a port, under which the page may be asked for.
    artifacts: the folder of artifacts, if no host is given; by default the one beside the path.

    Raises:
        ExtraMissing: the extra `debug` is not installed.
        JournalUnreadable, JournalTooNew, KeyRefused: the file is not a journal that can be read here.
        ValueError: a token shorter than 16 characters.
    """
    try:
        from .application import application
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return application(journal, host, token, hosts, artifacts)


def serve(made: Starlette, *, port: int = 0, path: str = "", told: Callable[[str], None] = print) -> None:
    """Serve what `app` made on loopback until Ctrl-C. port: 0 takes a free one. path: what the page shows first, as
    "run/ID". told: is given the address to open, with the token, once the page can be loaded.

    Raises:
        ExtraMissing: the extra `debug` is not installed. OSError: the port is taken.
    """
    try:
        from .serving import serve_app
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    serve_app(made, port, path, told)


def _missing(error: ModuleNotFoundError) -> Exception:
    if (error.name or "").split(".")[0] in ("starlette", "uvicorn", "sse_starlette", "anyio"):
        return ExtraMissing("the debugger", "debug")
    return error
