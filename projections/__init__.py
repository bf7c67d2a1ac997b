"""2. What it adds up to: pure folds over facts."""

if __name__ != "executus.projections":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.projections, not {__name__}")

from .fold import Checkpoint, advance, fold
from .grown import Grown
from .run import CallModel, CallTool, OpenCall, Owed, RunState, Wake, deadline_ms, ended, evolve, outstanding, stats
from .transcript import Transcript, evolve_transcript

__all__ = [
    "CallModel",
    "CallTool",
    "Checkpoint",
    "Grown",
    "OpenCall",
    "Owed",
    "RunState",
    "Transcript",
    "Wake",
    "advance",
    "deadline_ms",
    "ended",
    "evolve",
    "evolve_transcript",
    "fold",
    "outstanding",
    "stats",
]
