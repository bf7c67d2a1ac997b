"""What a host holds in its hands: a run, and the result of one."""

if __name__ != "executus.handles":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.handles, not {__name__}")

from ..projections.result import Result
from .parts import as_parts
from .run import Run, RunStatus
from .waiting import wait, wait_async

__all__ = ["Result", "Run", "RunStatus", "as_parts", "wait", "wait_async"]
