"""3. Where it is kept: the event store on eventsourcing's recorders."""

if __name__ != "executus.journal":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.journal, not {__name__}")

from .memory import MemoryJournal
from .opening import open_journal
from .sqlite import SqliteJournal

__all__ = ["MemoryJournal", "SqliteJournal", "open_journal"]
