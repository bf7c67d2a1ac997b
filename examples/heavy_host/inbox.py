"""A receiver of webhooks: takes what is rightly signed, each key once, and keeps it on disk."""

import hashlib
import hmac
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from executus.adapters.delivery.webhook import signature

OLDEST_S = 300
"""A request that was signed longer ago may be a recorded one."""


class NotTaken(Exception):
    """The request is not from who should have sent it."""


class Inbox:
    """Parcels by key, a file each in `folder`. It may be told the same parcel again, also after a crash."""

    def __init__(self, folder: Path, secret: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._secret = folder, secret.encode()

    def take(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Keep the parcel; returns whether it is new.

        Raises:
            NotTaken: the signature is missing, wrong or old.
        """
        key, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        right = signature(self._secret, key, stamp, body)
        if not hmac.compare_digest(right.encode(), headers.get("webhook-signature", "").encode()):
            raise NotTaken("the signature is not that of this inbox's secret")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > OLDEST_S:
            raise NotTaken("the request was signed too long ago")
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".new-") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json")
            except FileExistsError:
                return False
        return True

    def parcels(self) -> list[dict[str, Any]]:
        """Everything that was taken, oldest first."""
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [msgspec.json.decode(file.read_bytes()) for file in files]
