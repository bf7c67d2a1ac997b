"""The questions that commands ask of the stored views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .reading import ViewsReader

RUN_PARTS: Final = (
    ("phases", "place"),
    ("steps", "step"),
    ("tools", "started_us, call"),
    ("approvals", "requested_us, call"),
    ("limit_changes", "version"),
    ("critic_acts", "version"),
    ("orders", "version"),
    ("errors", "version"),
    ("notes", "version"),
    ("files", "version"),
    ("deliveries", "attempt"),
)
"""The tables that tell of one run, each with the order of its rows."""


class Chosen(msgspec.Struct, frozen=True):
    """Which runs. since_us, until_us: started from here on, and before; wall clock, microseconds."""

    caller: str | None = None
    agent: str | None = None
    statuses: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition on `runs`, and its parameters."""
        conditions: list[str] = []
        parameters: list[Any] = []
        for condition, value in (
            ("caller = ?", self.caller),
            ("agent = ?", self.agent),
            ("started_us >= ?", self.since_us),
            ("started_us < ?", self.until_us),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        if self.statuses:
            conditions.append(f"status IN ({', '.join('?' * len(self.statuses))})")
            parameters += self.statuses
        return " AND ".join(conditions) or "1", parameters


def audited_runs(views: ViewsReader, chosen: Chosen, limit: int | None) -> list[dict[str, Any]]:
    """Rows of `runs`, the newest first."""
    where, parameters = chosen.where()
    sql = f"SELECT * FROM runs WHERE {where} ORDER BY started_us DESC, run_id DESC LIMIT ?"
    return views.rows(sql, [*parameters, -1 if limit is None else limit])


_SUMS: Final = (
    "count(*) AS runs, sum(status = 'ok') AS ok,"
    " sum(status NOT IN ('ok', 'dry_run', 'new', 'running', 'waiting')) AS not_ok,"
    " sum(steps) AS steps, sum(tool_calls) AS tool_calls, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,"
    " sum(tokens_thinking) AS tokens_thinking, sum(cost_usd) AS cost_usd, sum(runtime_s) AS runtime_s"
)

_GROUPS: Final = {
    "all": "''",
    "caller": "caller",
    "agent": "agent",
    "day": "date(started_us / 1000000, 'unixepoch')",
}


def audited_sums(views: ViewsReader, chosen: Chosen, by: str) -> list[dict[str, Any]]:
    """Sums over the chosen runs, by "all", "caller", "agent" or "day" (UTC); what costs most comes first, days in
    order. The column `of` says whose sums they are.
    """
    where, parameters = chosen.where()
    order = "of" if by == "day" else "cost_usd DESC, tokens_in + tokens_out DESC, runs DESC, of"
    return views.rows(
        f"SELECT {_GROUPS[by]} AS of, {_SUMS} FROM runs WHERE {where} GROUP BY of ORDER BY {order}", parameters
    )


def audited_run(views: ViewsReader, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Everything that the audit trail has of one run, by table; "runs" has its one row, or none."""
    found = {"runs": views.rows("SELECT * FROM runs WHERE run_id = ?", [run_id])}
    for name, order in RUN_PARTS:
        found[name] = views.rows(f"SELECT * FROM {name} WHERE run_id = ? ORDER BY {order}", [run_id])
    return found


SPANS: Final = ("hour", "day", "month", "total")


def spent_by_callers(views: ViewsReader, caller: str | None, spans: Sequence[str]) -> list[dict[str, Any]]:
    """What callers spent in the windows that end now, by caller and in the order of `spans`; with what is held back."""
    order = " ".join(f"WHEN '{span}' THEN {number}" for number, span in enumerate(SPANS))
    where, parameters = ("1", []) if caller is None else ("s.caller = ?", [caller])
    return views.rows(
        "SELECT s.caller, s.span, s.tokens, s.cost_usd, s.runtime_s, s.tool_calls,"
        " coalesce(h.calls, 0) AS held_calls, coalesce(h.tokens, 0) AS held_tokens,"
        " coalesce(h.cost_usd, 0.0) AS held_usd"
        " FROM spent_now s LEFT JOIN held_now h ON h.caller = s.caller"
        f" WHERE {where} AND s.span IN ({', '.join('?' * len(spans))})"
        f" ORDER BY s.caller, CASE s.span {order} END",
        [*parameters, *spans],
    )


def spent_by_families(views: ViewsReader, caller: str | None) -> list[dict[str, Any]]:
    """What families of runs spent that are not over, the dearest first, with what is held back for them."""
    where, parameters = ("1", []) if caller is None else ("f.caller = ?", [caller])
    return views.rows(
        "SELECT f.caller, 'run' AS span, f.root_run_id, f.live_runs, f.tokens, f.cost_nano_usd / 1e9 AS cost_usd,"
        " f.runtime_ms / 1e3 AS runtime_s, f.tool_calls, count(h.run_id) AS held_calls,"
        " coalesce(sum(h.tokens), 0) AS held_tokens, coalesce(sum(h.cost_nano_usd), 0) / 1e9 AS held_usd"
        " FROM spending_families f LEFT JOIN held_back h ON h.caller = f.caller AND h.root_run_id = f.root_run_id"
        f" WHERE {where} GROUP BY f.caller, f.root_run_id ORDER BY f.tokens DESC, f.root_run_id",
        parameters,
    )
