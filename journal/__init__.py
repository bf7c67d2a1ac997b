"""3. Where it is kept: the event store on eventsourcing's recorders."""

if __name__ != "executus.journal":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.journal, not {__name__}")

from .anchoring import Anchors, AnchorTerms
from .attesting import HeadsCheck
from .backup import BackedUp, back_up
from .beside import BesideJournal
from .compacting import Compacted, Compactor, compact, vacuum
from .findings import Finding
from .inspection import Inspection
from .keyring import Keyring
from .memory import MemoryJournal
from .opening import open_journal, read_journal
from .outside import OutsideReader
from .proof import phrases_found, remains
from .retention import Plan, Terms, plan, terms
from .router import Router
from .sqlite import SqliteJournal
from .subscription import Subscription
from .verify import verify_run

__all__ = [
    "AnchorTerms",
    "Anchors",
    "BackedUp",
    "BesideJournal",
    "Compacted",
    "Compactor",
    "Finding",
    "HeadsCheck",
    "Inspection",
    "Keyring",
    "MemoryJournal",
    "OutsideReader",
    "Plan",
    "Router",
    "SqliteJournal",
    "Subscription",
    "Terms",
    "back_up",
    "compact",
    "open_journal",
    "plan",
    "read_journal",
    "terms",
    "vacuum",
    "phrases_found",
    "remains",
    "verify_run",
]
