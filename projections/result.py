"""How a run ended, as its host sees it."""

from __future__ import annotations

import msgspec

from ..events import RunFinished, RunStats, Status


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: with which status, by whom and why; `output` is the model's last text, partial if stopped."""

    run_id: str
    status: Status
    output: str
    error: str
    by: str
    reason: str
    stats: RunStats

    @classmethod
    def of(cls, run_id: str, end: RunFinished) -> Result:
        """The result that `end` records."""
        stats = end.stats
        return cls(
            run_id=run_id,
            status=stats.status,
            output=stats.output,
            error=stats.error,
            by=end.by,
            reason=end.reason,
            stats=stats,
        )
