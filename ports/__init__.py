"""What executus needs from the world, as Protocols. Every one is optional; adapters do not inherit from them.

Also here: what crosses those ports, and `Agent`, what a host asks to be run. Nothing here names a library of ours.
"""

if __name__ != "executus.ports":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.ports, not {__name__}")

from .agents import MOST, NOBODY, Agent, Delegate, Phase, Progress, Skill, is_seconds
from .budget import Allowance, Budget, Window
from .family import Palette
from .files import ArtifactStore, Delivery, FileStager, InputFile, Parcel
from .hosting import LiveHost, LiveRun
from .journal import (
    QUARANTINE_AFTER,
    Append,
    Follower,
    Journal,
    Recovery,
    RunSummary,
    Unfinished,
    request_key_of,
)
from .models import Delta, Model, ModelRequest, Prices, Reply, ToolSpec
from .overrides import Overrides
from .sealing import Cipher, Encryption, KeySource
from .supervision import Continue, Critic, Extend, Judged, Kill, Raise, Review, Steer, Verdict
from .system import Clock, Ids
from .tools import (
    ApprovalTerms,
    AsksFirst,
    CannotTell,
    Desk,
    DidNotHappen,
    Happened,
    NeedsSecrets,
    Reconciled,
    Reconciles,
    Tool,
    ToolContext,
    ToolMode,
)
from .views import View, ViewStanding

__all__ = [
    "Agent",
    "Allowance",
    "Append",
    "ApprovalTerms",
    "ArtifactStore",
    "AsksFirst",
    "Budget",
    "CannotTell",
    "Cipher",
    "Clock",
    "Continue",
    "Critic",
    "Delegate",
    "Delivery",
    "Delta",
    "Desk",
    "DidNotHappen",
    "Encryption",
    "Extend",
    "FileStager",
    "Follower",
    "Happened",
    "Ids",
    "InputFile",
    "Journal",
    "Judged",
    "KeySource",
    "Kill",
    "LiveHost",
    "LiveRun",
    "MOST",
    "NOBODY",
    "Model",
    "ModelRequest",
    "NeedsSecrets",
    "Overrides",
    "Palette",
    "Parcel",
    "Phase",
    "Prices",
    "Progress",
    "QUARANTINE_AFTER",
    "Raise",
    "Reconciled",
    "Reconciles",
    "Recovery",
    "Reply",
    "Review",
    "RunSummary",
    "Skill",
    "Steer",
    "Tool",
    "ToolContext",
    "ToolMode",
    "ToolSpec",
    "Unfinished",
    "Verdict",
    "View",
    "ViewStanding",
    "Window",
    "is_seconds",
    "request_key_of",
]
