"""The views that every stored journal has, with the sums over them that are asked for most."""

from __future__ import annotations

from typing import Final

from ...events import facts, family, people, supervision, values
from ...events import files as file_facts
from ...projections import audit, auditing, ledger, outbox, outgoing, rolling, rows, spending
from ...projections.ledger import Price
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
    sum(recorded) AS recorded,
    sum(attempts) AS attempts,
    sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out,
    sum(tokens_thinking) AS tokens_thinking,
    sum(cost_usd) AS cost_usd,
    sum(took_ms) AS took_ms,
    max(took_ms) AS longest_ms"""

_SPENT: Final = """
    sum(tokens) AS tokens,
    sum(cost_nano_usd) / 1e9 AS cost_usd,
    sum(runtime_ms) / 1e3 AS runtime_s,
    sum(tool_calls) AS tool_calls"""

_NOW_S: Final = "CAST(strftime('%s', 'now') AS INTEGER)"

_DAY: Final = "date(started_us / 1000000, 'unixepoch')"

AUDIT_SUMS: Final = (
    ("runs_by_caller", f"SELECT caller, {_COUNTS} FROM runs GROUP BY caller"),
    ("runs_by_agent", f"SELECT agent, {_COUNTS} FROM runs GROUP BY agent"),
    ("runs_by_day", f"SELECT {_DAY} AS day, {_COUNTS} FROM runs GROUP BY day"),
    ("tools_by_name", f"SELECT name, kind, {_CALLS} FROM tools GROUP BY name, kind"),
    ("models_by_name", f"SELECT model, {_STEPS} FROM steps GROUP BY model"),
)
"""A run counts on the day (UTC) on which it started."""

BUDGET_SUMS: Final = (
    (
        "spent_now",
        f"""SELECT caller, span, {_SPENT} FROM spending
            WHERE span = 'total' OR bucket >= CASE span
                WHEN 'hour' THEN {_NOW_S} / 60 - 60
                WHEN 'day' THEN {_NOW_S} / 900 - 96
                ELSE {_NOW_S} / 3600 - 720 END
            GROUP BY caller, span""",
    ),
    (
        "held_now",
        """SELECT caller, count(*) AS calls, sum(tokens) AS tokens, sum(cost_nano_usd) / 1e9 AS cost_usd
            FROM held_back GROUP BY caller""",
    ),
)
"""Spent in the window that ends now, as allowances count it; and held back for calls under way."""

PURSE: Final = "purse"
"""The name of the view that a host with prices keeps for itself."""

_LEDGER = (ledger, rolling, spending)

_FACTS = (facts, family, people, supervision, values, file_facts, rows)
"""Sources that every built-in view depends on: a change of one has the view built anew."""


def audit_view() -> Definition:
    """The audit trail."""
    return defined(auditing.AuditView(), sums=AUDIT_SUMS, sources=(*_FACTS, audit, auditing))


def budget_view() -> Definition:
    """What callers spent and hold back, by what the log says that calls cost."""
    return defined(spending.SpendingView(), sums=BUDGET_SUMS, sources=(*_FACTS, *_LEDGER))


def purse_view(price: Price, version: str) -> Definition:
    """The same by a host's own prices: for its next opening with the same `version` of them, and for nobody else."""
    view = spending.SpendingView(price, name=PURSE, prefix=f"{PURSE}_")
    return defined(view, sources=(*_FACTS, *_LEDGER), more=version)


def outbox_view() -> Definition:
    """Which runs owe a delivery."""
    return defined(outgoing.OutboxView(), sources=(*_FACTS, outbox, outgoing))


def builtin_views() -> list[Definition]:
    """Those that every stored journal has, whoever opens it."""
    return [audit_view(), budget_view(), outbox_view()]
