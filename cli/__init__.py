"""`executus …`: the command line. What a command needs is imported when it runs, so that `--help` is quick."""

if __name__ != "executus.cli":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.cli, not {__name__}")

from . import program_live as program_live
from . import program_recorded as program_recorded
from . import program_travel as program_travel
from .program import main

__all__ = ["main"]
