"""What another process can ask of a host, and what it is answered: two closed unions.

Every bound here is checked before anything is looked at. Nothing in a request is of an open type, so that no nesting
and no size that fits a frame can cost more than reading it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec

from ..events import Measure
from ..ports import RunSummary
from ..ports.orders import KeptOrder
from .frames import WireEvent
from .rights import Role

VERSION: Final = 1
"""Of the protocol. A host answers no other."""

FRAME_BYTES: Final = 64 * 1024
"""A host takes no larger frame."""

REPLY_BYTES: Final = 64 << 20
"""A client takes no larger one: one event with all its texts fits."""

PAGE_BYTES: Final = 1 << 20
"""After so many bytes of events a page ends; a larger event is a page of its own."""

PAGE_EVENTS: Final = 512

VERDICT_BYTES: Final = 48_000
"""A critic's verdict has at most so many, as JSON."""

Digits: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]
Label: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Words: TypeAlias = Annotated[str, msgspec.Meta(max_length=4096)]
Input: TypeAlias = Annotated[str, msgspec.Meta(max_length=32_768)]
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000)]
OrderId: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True):
    """What all requests have. needs: the least role that may ask it."""

    needs: ClassVar[Role] = "viewer"


# ------------------------------------------------------------------ reading


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """Who is there? The only request that needs no token: it tells nothing about runs."""


class Who(Request, frozen=True, kw_only=True, tag="who"):
    """Who the grant makes you, and what can be started."""


class Head(Request, frozen=True, kw_only=True, tag="head"):
    """The highest position."""


class ListRuns(Request, frozen=True, kw_only=True, tag="runs"):
    """Rows of the index, as `Journal.runs`."""

    unfinished: bool = False
    after: Whole = 0
    limit: Limit = 1000


class FindRun(Request, frozen=True, kw_only=True, tag="run"):
    """The row of one run, as `Journal.run`."""

    run: Digits


class ReadRun(Request, frozen=True, kw_only=True, tag="read"):
    """Events of one run with version > `after`."""

    run: Digits
    after: Whole = 0
    limit: Limit = PAGE_EVENTS


class ReadAll(Request, frozen=True, kw_only=True, tag="scan"):
    """Events of all runs with position > `after`."""

    after: Whole = 0
    limit: Limit = PAGE_EVENTS


class Standing(Request, frozen=True, kw_only=True, tag="standing"):
    """How a run stands in this host, and why it is not at work."""

    run: Digits


class ListOrders(Request, frozen=True, kw_only=True, tag="orders"):
    """What is kept of orders, oldest first, with numbers > `after`."""

    needs = "operator"
    after: Whole = 0
    limit: Limit = 1000


class Outcome(Request, frozen=True, kw_only=True, tag="outcome"):
    """What became of an order that was given before."""

    id: OrderId


# ------------------------------------------------------------------ orders


class Order(Request, frozen=True, kw_only=True):
    """What all orders have. id: of this order; given twice with the same, it is carried out once. by: who gives it, in
    the client's own words, noted behind the grant's name. check: only say whether it would be carried out.
    """

    id: OrderId
    by: Label = ""
    check: bool = False


class RunOrder(Order, frozen=True, kw_only=True):
    """An order to one run."""

    run: Digits


class Steer(RunOrder, frozen=True, kw_only=True, tag="steer"):
    """Advice that the model reads at its next step."""

    needs = "steerer"
    text: Words


class Send(RunOrder, frozen=True, kw_only=True, tag="send"):
    """The person's next message to an interactive run."""

    needs = "steerer"
    text: Input


class Approve(RunOrder, frozen=True, kw_only=True, tag="approve"):
    """Yes to a call that waits for it."""

    needs = "steerer"
    call: Label = ""


class Deny(RunOrder, frozen=True, kw_only=True, tag="deny"):
    """No to it."""

    needs = "steerer"
    call: Label = ""
    reason: Words = ""


class Extend(RunOrder, frozen=True, kw_only=True, tag="extend"):
    """More seconds before the hard deadline; an owner only up to the run's cap."""

    needs = "owner"
    seconds: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    reason: Words = ""


class Raise(RunOrder, frozen=True, kw_only=True, tag="raise"):
    """More of a limit; an owner only steps, up to the run's cap."""

    needs = "owner"
    more: Annotated[float, msgspec.Meta(gt=0, le=1e15)]
    limit: Measure = "steps"
    reason: Words = ""


class Begin(RunOrder, frozen=True, kw_only=True, tag="begin"):
    """Begin a fork."""

    needs = "owner"


class Cancel(RunOrder, frozen=True, kw_only=True, tag="cancel"):
    """End it as its caller's wish."""

    needs = "owner"
    reason: Words = ""


class Kill(RunOrder, frozen=True, kw_only=True, tag="kill"):
    """End it."""

    needs = "owner"
    reason: Words = ""


class Start(Order, frozen=True, kw_only=True, tag="start"):
    """Start a run of an agent that the host has. caller: whose; a grant that is bound to a caller starts only its own.
    request_id: as `Runtime.start`; without one it is the order's id.
    """

    needs = "owner"
    agent: Name
    input: Input
    caller: Name = ""
    request_id: Name = ""
    name: Name = ""
    subject: Name = ""
    interactive: bool = False
    dry_run: bool = False
    max_steps: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


# ------------------------------------------------------------------ critics in other processes


class NextReview(Request, frozen=True, kw_only=True, tag="next-review"):
    """Wait for the next review that the host wants of the critic of this name."""

    needs = "operator"
    critic: Label
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=5)] = 5.0


class GiveReview(Request, frozen=True, kw_only=True, tag="give-review"):
    """The verdict of a review, or why there is none. verdict: JSON, as `wire.reviews` writes it."""

    needs = "operator"
    critic: Label
    review: OrderId
    verdict: Annotated[str, msgspec.Meta(max_length=VERDICT_BYTES)] = ""
    error: Words = ""


AnyRequest: TypeAlias = (
    Hello
    | Who
    | Head
    | ListRuns
    | FindRun
    | ReadRun
    | ReadAll
    | Standing
    | Outcome
    | ListOrders
    | Steer
    | Send
    | Approve
    | Deny
    | Extend
    | Raise
    | Begin
    | Cancel
    | Kill
    | Start
    | NextReview
    | GiveReview
)

READS: Final = (Who, Head, ListRuns, FindRun, ReadRun, ReadAll, Standing, Outcome, ListOrders)

URGENT: Final = (Kill, Cancel)
"""Never kept waiting by a limit of rate or of how many orders are under way."""


# ------------------------------------------------------------------ replies


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="reply"):
    """What all replies have."""


class Welcome(Reply, frozen=True, kw_only=True, tag="welcome"):
    """A host. boot: of this opening, for which requests are signed. now_us: its clock: a client's may be off."""

    version: int
    boot: Label
    now_us: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    program: str


class Session(Reply, frozen=True, kw_only=True, tag="session"):
    """Who the grant makes you. agents: what can be started."""

    grant: str
    role: Role
    caller: str = ""
    agents: tuple[str, ...] = ()
    live_runs: int = 0


class Number(Reply, frozen=True, kw_only=True, tag="number"):
    """A position."""

    value: int


class Rows(Reply, frozen=True, kw_only=True, tag="rows"):
    """Rows of the index. next: to be asked for after; 0 at the end."""

    runs: tuple[RunSummary, ...]
    next: int = 0


class Found(Reply, frozen=True, kw_only=True, tag="found"):
    """One row, or that there is none."""

    run: RunSummary | None = None


class Page(Reply, frozen=True, kw_only=True, tag="page"):
    """Events in order. at: where the next page begins. more: whether there is one now."""

    events: tuple[WireEvent, ...]
    at: int
    more: bool = False


class Stands(Reply, frozen=True, kw_only=True, tag="stands"):
    """As `Run.status` and `Run.reason`."""

    status: str
    reason: str = ""


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """It was carried out, and is durable; with `check`, it would be. run: what it was about, or was started."""

    run: str
    status: str = ""
    told: str = ""


class Unheard(Reply, frozen=True, kw_only=True, tag="unheard"):
    """No order of this id was ever taken here."""


class Orders(Reply, frozen=True, kw_only=True, tag="kept"):
    """What is kept of orders."""

    orders: tuple[KeptOrder, ...]


class ReviewWanted(Reply, frozen=True, kw_only=True, tag="review"):
    """A review that is wanted, or with `id` "" none. trace: JSON, as `wire.reviews` writes it."""

    id: str = ""
    trace: str = ""
    now: float = 0.0
    until_s: float = 0.0


Kind: TypeAlias = Literal[
    "malformed",
    "oversize",
    "version",
    "unauthenticated",
    "expired",
    "replayed",
    "forbidden",
    "too-many",
    "busy",
    "closing",
    "unknown-run",
    "unknown-agent",
    "refused",
    "invalid",
    "budget-spent",
    "not-yet",
    "unknown",
    "failed",
]
"""Why something is refused. invalid: nobody could take it. not-yet: it may still be carried out. unknown: it may
have been.
"""


class Refused(Reply, frozen=True, kw_only=True, tag="refused"):
    """It was not done. why: a sentence for people. run: what it was about. names: what is known instead."""

    kind: Kind
    why: str
    run: str = ""
    names: tuple[str, ...] = ()


AnyReply: TypeAlias = (
    Welcome | Session | Number | Rows | Found | Page | Stands | Done | Unheard | Orders | ReviewWanted | Refused
)
