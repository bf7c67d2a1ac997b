"""Views of the log kept as plain SQL tables, in a file beside the journal: derived, and made again at any time."""

if __name__ != "executus.journal.views":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.journal.views, not {__name__}")

from .stored import StoredViews, all_definitions
from .taking_up import taken_up_outbox, taken_up_spending

__all__ = ["StoredViews", "all_definitions", "taken_up_outbox", "taken_up_spending"]
