"""An event as the JSON that is given to others: by the command line and by the debugger. Fields are only ever added.

Times are ISO 8601 in UTC, ids and hashes text, bytes base64.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from ..events import Event


def event_shape(event: Event) -> dict[str, Any]:
    """An event with its envelope. `fact` has the fields of the fact, defaults left out."""
    fact = msgspec.to_builtins(event.fact)
    return {
        "type": "event",
        "run": event.run_id,
        "version": event.version,
        "position": event.position,
        "tag": event.tag,
        "at": iso(event.at_us),
        "elapsed_s": event.elapsed_ms / 1000,
        "cause": event.cause,
        "epoch": event.epoch,
        "hash": event.hash.hex(),
        "content": event.content,
        "fact": fact,
    }


def iso(at_us: int) -> str:
    """A wall clock time in UTC."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
