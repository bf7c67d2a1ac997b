"""2. What it adds up to: pure folds over facts."""

if __name__ != "executus.projections":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.projections, not {__name__}")

from .bounds import (
    Bound,
    bounds,
    deadline_ms,
    exceeded,
    notices,
    reached,
    self_status,
    soft_timeout_ms,
    tool_calls_left,
    worked_ms,
)
from .fold import Checkpoint, advance, fold
from .grown import Grown
from .owed import AskTool, CallModel, CallTool, Expire, Owed, PlanCalls, Reserve, RunChild, Wake, outstanding
from .run import (
    NOT_BEGUN,
    Doing,
    Governed,
    OpenCall,
    OpenChild,
    PendingApproval,
    RunState,
    calls_of,
    ended,
    evolve,
    notice_key,
    own,
    spent,
    stats,
)
from .trace import Trace, evolve_trace, trace_of
from .transcript import Transcript, estimated_tokens, evolve_transcript

__all__ = [
    "NOT_BEGUN",
    "AskTool",
    "Bound",
    "CallModel",
    "CallTool",
    "Checkpoint",
    "Doing",
    "Expire",
    "Governed",
    "Grown",
    "OpenCall",
    "OpenChild",
    "Owed",
    "PendingApproval",
    "PlanCalls",
    "Reserve",
    "RunChild",
    "RunState",
    "Trace",
    "Transcript",
    "Wake",
    "advance",
    "bounds",
    "calls_of",
    "deadline_ms",
    "ended",
    "estimated_tokens",
    "evolve",
    "evolve_trace",
    "evolve_transcript",
    "exceeded",
    "fold",
    "notice_key",
    "notices",
    "outstanding",
    "own",
    "reached",
    "self_status",
    "soft_timeout_ms",
    "spent",
    "stats",
    "tool_calls_left",
    "trace_of",
    "worked_ms",
]
