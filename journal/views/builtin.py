"""The views that every stored journal has, with the sums over them that are asked for most."""

from __future__ import annotations

from typing import Final

from ...events import facts, family, people, supervision, values
from ...events import files as file_facts
from ...projections import audit, auditing, rows
from .definition import Definition, defined

_COUNTS: Final = """
    count(*) AS runs,
    sum(status = 'ok') AS ok,
    sum(status IN ('new', 'running')) AS running,
    sum(status = 'waiting') AS waiting,
    sum(status IN ('error', 'timeout', 'killed', 'cancelled', 'budget_exceeded')) AS not_ok,
    sum(steps) AS steps,
    sum(tool_calls) AS tool_calls,
    sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out,
    sum(tokens_thinking) AS tokens_thinking,
    sum(cost_usd) AS cost_usd,
    sum(runtime_s) AS runtime_s,
    min(started_us) AS first_us,
    max(changed_us) AS last_us"""

_CALLS: Final = """
    count(*) AS calls,
    sum(outcome = 'ok') AS ok,
    sum(outcome = 'error') AS errors,
    sum(outcome = 'refused') AS refused,
    sum(outcome = 'unknown') AS unknown,
    sum(took_ms) AS took_ms,
    max(took_ms) AS longest_ms"""

_STEPS: Final = """
    count(*) AS steps,
    sum(attempts) AS attempts,
    sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out,
    sum(tokens_thinking) AS tokens_thinking,
    sum(cost_usd) AS cost_usd,
    sum(took_ms) AS took_ms,
    max(took_ms) AS longest_ms"""

_DAY: Final = "date(started_us / 1000000, 'unixepoch')"

AUDIT_SUMS: Final = (
    ("runs_by_caller", f"SELECT caller, {_COUNTS} FROM runs GROUP BY caller"),
    ("runs_by_agent", f"SELECT agent, {_COUNTS} FROM runs GROUP BY agent"),
    ("runs_by_day", f"SELECT {_DAY} AS day, {_COUNTS} FROM runs GROUP BY day"),
    ("tools_by_name", f"SELECT name, kind, {_CALLS} FROM tools GROUP BY name, kind"),
    ("models_by_name", f"SELECT model, {_STEPS} FROM steps GROUP BY model"),
)
"""A run counts on the day (UTC) on which it started."""

_FACTS = (facts, family, people, supervision, values, file_facts, rows)
"""Sources that every built-in view depends on: a change of one has the view built anew."""


def audit_view() -> Definition:
    """The audit trail."""
    return defined(auditing.AuditView(), sums=AUDIT_SUMS, sources=(*_FACTS, audit, auditing))


def builtin_views() -> list[Definition]:
    """All of them."""
    return [audit_view()]
