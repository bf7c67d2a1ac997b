"""Time travel: looking at any run at any event, comparing, asking who did what. Reads the journal, and nothing else.

Nothing here executes a tool, asks a model, or changes a log: a past state is folded from facts.

    Recording(journal, run_id)       one run for random access: head, refresh(), events(), at(version), moments(),
                                     version_at(position), born(version)
    state_at(journal, run, version)  one checkpoint, without keeping anything
    history(journal, run)            [Moment], one for each event
    diff(journal, run, m, n)         Difference: changes, patch, messages said since, moments between
    diff_runs(journal, a, b)         Divergence: where two runs part, and what each did there
    blame(journal, run, path)        [Write]: every event that changed what stands at a place of the state
    Kin(journal, run)                a whole family of runs for random access: at(position) -> Family
    family_at(journal, run, pos)     Family, a tree of Member: all as of one global position
    search(journal, text, …)         Found, one for each event that matches
    lineage(journal, run)            Branch: the tree of runs that go on from one another
    shown(checkpoint)                the JSON shape that all of this speaks of
    moments(events)                  the same as `history`, of events at hand

All take a `ports.Journal`: a host's own, `journal.read_journal(path)` beside one, or one in memory.
"""

if __name__ != "executus.travel":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.travel, not {__name__}")

from ..projections.changes import Change, patch
from ..projections.moments import Lane, Moment, moment_of, moments
from ..projections.shown import place_of, pointer, shown
from ..projections.writes import Write
from .blaming import blame
from .descent import Branch, lineage
from .differing import Difference, diff
from .diverging import Call, Divergence, diff_runs
from .family import Family, Kin, Member, family_at
from .recording import Recording, history, state_at
from .searching import Found, search

__all__ = [
    "Branch",
    "Call",
    "Change",
    "Difference",
    "Divergence",
    "Family",
    "Found",
    "Kin",
    "Lane",
    "Member",
    "Moment",
    "Recording",
    "Write",
    "blame",
    "diff",
    "diff_runs",
    "family_at",
    "history",
    "lineage",
    "moment_of",
    "moments",
    "patch",
    "place_of",
    "pointer",
    "search",
    "shown",
    "state_at",
]
