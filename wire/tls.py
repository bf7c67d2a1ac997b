"""TLS configurations, as the library wants them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .terms import ClientTls, ServerTls


def server_config(library: Any, tls: ServerTls) -> Any:
    """What a host of these terms shows and asks for."""
    return _config(
        library,
        tls,
        library.TLSConfig.MODE_SERVER,
        cert_key_file=str(tls.cert_key),
        ca_files=None if tls.ca is None else [str(tls.ca)],
        auth_mode=None if tls.ca is None else library.TLSConfig.AUTH_MODE_REQUIRED,
    )


def _config(library: Any, tls: ServerTls | ClientTls, mode: Any, **options: Any) -> Any:
    """The TLS configuration of these terms, one for each state of their files: whoever looks for its host makes many
    sockets.
    """
    files = [os.fspath(path) for path in (tls.ca, tls.cert_key) if path is not None]
    key = (tls, *[Path(path).stat().st_mtime_ns if Path(path).exists() else 0 for path in files])
    found = _configs.get(key)
    if found is None:
        # The library does not hold them: freed, they would be gone under a socket. And at the end it is gone before.
        kind = type("KeptConfig", (library.TLSConfig,), {"__del__": _stays})
        found = _configs.setdefault(key, kind(mode, **options))
    return found


def _stays(config: Any) -> None:
    """In place of a destructor."""


_configs: dict[object, Any] = {}


def client_config(library: Any, tls: ClientTls) -> Any:
    """What a client of these terms shows and checks."""
    try:
        return _config(
            library,
            tls,
            library.TLSConfig.MODE_CLIENT,
            server_name=tls.server_name,
            ca_files=[str(tls.ca)],
            cert_key_file=None if tls.cert_key is None else str(tls.cert_key),
        )
    except library.NNGException as error:
        raise ValueError(f"ClientTls: the certificates in {tls.ca} or {tls.cert_key} cannot be used: {error}") from None
