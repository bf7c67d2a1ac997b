"""The JSON that `--json` prints: one object a line, told apart by its `type`; docs/cli.md lists the fields.

Fields are only ever added. Times are ISO 8601 in UTC, ids and hashes text, bytes base64.
"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ..adapters.shapes import event_shape, iso
from ..projections.overview import Overview


def print_json(value: dict[str, Any]) -> None:
    """Print one object on one line."""
    click.echo(msgspec.json.encode(value).decode())


def run_shape(row: Overview, status: str, why: str = "") -> dict[str, Any]:
    """A run, as `ps`, `show` and `demo` print it. why: it is not at work."""
    state, info = row.state, row.info
    return {
        "type": "run",
        "run": row.run_id,
        "name": info.name,
        "agent": row.agent,
        "model": row.model,
        "caller": info.caller_id,
        "status": status,
        "by": state.by,
        "reason": state.reason,
        "error": state.error,
        "doing": row.doing,
        "why": why,
        "steps": state.step,
        "tool_calls": state.tool_calls,
        "input_tokens": state.input_tokens,
        "output_tokens": state.output_tokens,
        "thinking_tokens": state.thinking_tokens,
        "cost_usd": state.cost_usd,
        "started_at": iso(row.started_at_us),
        "changed_at": iso(row.changed_at_us),
        "elapsed_s": row.elapsed_ms / 1000,
        "output": state.output,
        "imported_from": row.imported_from,
        "events": row.version,
    }


__all__ = ["event_shape", "iso", "print_json", "run_shape"]
