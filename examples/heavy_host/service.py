"""The web service: what callers may ask of the runtime over HTTP, and how it is answered."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from inbox import Inbox, NotTaken
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from executus import BudgetSpent, Event, ExecutusError, InputFile, Run, Runtime
from executus.errors import FileRefused, MessageRefused, UnknownAgent, UnknownRun
from executus.events import Measure
from executus.journal import Subscription
from executus.projections import self_status

MOST_BYTES = 16 * 2**20
"""Of a request's body."""

STATUS = {BudgetSpent: 429, UnknownRun: 404, UnknownAgent: 422, FileRefused: 422, MessageRefused: 409}
"""How an error is answered; any other of the runtime's means that it cannot serve now."""

T = TypeVar("T")


# ------------------------------------------------------------------ what may be asked


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A run to start. files: with their content in base64."""

    input: str
    agent: str = "desk"
    request_id: str = ""
    name: str = ""
    channel: str = ""
    guild: str = ""
    inputs: dict[str, Any] = {}
    files: list[InputFile] = []
    tier: str = ""
    dry_run: bool = False
    deliver: bool = True
    record: bool | None = None
    durable: bool | None = None
    limits: dict[str, Any] = {}


class Advice(msgspec.Struct, forbid_unknown_fields=True):
    """What the model should read at its next step."""

    text: str


class Stop(msgspec.Struct, forbid_unknown_fields=True):
    """Why a run should end."""

    reason: str = ""


class MoreTime(msgspec.Struct, forbid_unknown_fields=True):
    """Seconds that the deadline moves."""

    seconds: float
    reason: str = ""


class MoreOf(msgspec.Struct, forbid_unknown_fields=True):
    """A higher limit."""

    more: float
    limit: Measure = "steps"
    reason: str = ""


class Verdict(msgspec.Struct, forbid_unknown_fields=True):
    """A person's answer to a call that waits for it."""

    answer: Literal["grant", "deny"]
    reason: str = ""


def _more_of(run: Run, asked: MoreOf, by: str) -> Awaitable[None]:
    more = int(asked.more) if asked.more.is_integer() and asked.limit != "cost_usd" else asked.more
    return run.raise_ceiling_async(more, asked.limit, by=by, reason=asked.reason)


Order: TypeAlias = tuple[type[msgspec.Struct], Callable[[Run, Any, str], Awaitable[None]]]
ORDERS: dict[str, Order] = {
    "steer": (Advice, lambda run, asked, by: run.steer_async(asked.text, by=by)),
    "cancel": (Stop, lambda run, asked, by: run.cancel_async(asked.reason, by=by)),
    "kill": (Stop, lambda run, asked, by: run.kill_async(asked.reason, by=by)),
    "extend": (MoreTime, lambda run, asked, by: run.extend_async(asked.seconds, by=by, reason=asked.reason)),
    "raise": (MoreOf, _more_of),
}


# ------------------------------------------------------------------ how it is answered


def answer(value: object, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    """Say why not, in the error's own sentence."""
    said: dict[str, Any] = {"error": str(error)}
    if isinstance(error, HTTPException):
        return answer({"error": error.detail}, error.status_code)
    if isinstance(error, BudgetSpent):
        said["run"] = error.run_id
    return answer(said, next((code for kind, code in STATUS.items() if isinstance(error, kind)), 503))


def caller_of(request: Request) -> str:
    """Who asks. Whoever puts this service on a network lets a proxy set the header after checking who it is."""
    caller = request.headers.get("x-caller", "")
    if not caller:
        raise HTTPException(401, "say who calls, in the header x-caller")
    return caller


async def body_of(request: Request) -> bytes:
    """The request's body, if it is not too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a request may have {MOST_BYTES} bytes")
    return bytes(body)


def read(body: bytes, kind: type[T]) -> T:
    """What the body asks for."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, str(error)) from error


def shown_event(event: Event) -> dict[str, Any]:
    """An event as followers get it."""
    fact = msgspec.to_builtins(event.fact)
    return {"run": event.run_id, "version": event.version, "tag": event.tag, "at_us": event.at_us, "fact": fact}


def shown_run(run: Run) -> dict[str, Any]:
    """A run in one row."""
    state = run.state()
    return {
        "run": run.id,
        "agent": state.agent,
        "caller": state.caller,
        "parent": state.governed.parent,
        "status": run.status,
        "output": state.output,
    }


def shown_approvals(run: Run) -> list[dict[str, Any]]:
    """The calls that wait for somebody's yes."""
    return [{"run": run.id, **msgspec.to_builtins(one)} for one in run.approvals()]


# ------------------------------------------------------------------ the service


class Service:
    """The endpoints. Plain ones run on threads of the server, since they read the journal."""

    def __init__(self, runtime: Runtime, inbox: Inbox) -> None:
        self.runtime, self.inbox = runtime, inbox

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/runs", self.start, methods=["POST"]),
                Route("/runs", self.runs),
                Route("/runs/{run}", self.run),
                Route("/runs/{run}/events", self.events),
                Route("/runs/{run}/artifacts", self.artifacts),
                Route("/runs/{run}/artifacts/{sha256}", self.artifact),
                Route("/runs/{run}/approvals/{call}", self.approve, methods=["POST"]),
                Route("/runs/{run}/{order}", self.order, methods=["POST"]),
                Route("/events", self.all_events),
                Route("/approvals", self.approvals),
                Route("/spending", self.spending),
                Route("/inbox", self.receive, methods=["POST"]),
                Route("/inbox", self.received),
            ],
            exception_handlers={ExecutusError: refused, HTTPException: refused, TimeoutError: refused},
        )

    async def start(self, request: Request) -> Response:
        """Start a run. The answer comes when it is on disk."""
        caller = caller_of(request)
        asked = msgspec.structs.asdict(read(await body_of(request), Asked))
        try:
            run = await self.runtime.start_async(asked.pop("agent"), asked.pop("input"), caller=caller, **asked)
        except (TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from error
        return answer({"run": run.id}, 201)

    async def order(self, request: Request) -> Response:
        """Steer, cancel, kill, extend or raise. The answer comes when what it led to is on disk."""
        by, name = caller_of(request), request.path_params["order"]
        if name not in ORDERS:
            raise HTTPException(404, f"no order {name!r}; there are: {', '.join(ORDERS)}")
        kind, obey = ORDERS[name]
        asked = read(await body_of(request), kind)
        run = await asyncio.to_thread(self._run, request)
        try:
            await obey(run, asked, by)
        except (TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from error
        return answer({"run": run.id, "done": name})

    async def approve(self, request: Request) -> Response:
        """Say yes or no to a call."""
        by, call = caller_of(request), request.path_params["call"]
        asked = read(await body_of(request), Verdict)
        run = await asyncio.to_thread(self._run, request)
        if asked.answer == "grant":
            await run.approve_async(call, by=by)
        else:
            await run.deny_async(call, by=by, reason=asked.reason)
        return answer({"run": run.id, "call": call, "done": asked.answer})

    def runs(self, request: Request) -> Response:
        """Runs in the order they started, a page at a time."""
        after, limit = number(request, "after", 0), min(number(request, "limit", 100), 1000)
        rows = self.runtime.runs(after=after, limit=limit)
        found = [shown_run(self.runtime.run(row.run_id)) for row in rows]
        return answer({"runs": found, "next": rows[-1].first_position if rows else after})

    def run(self, request: Request) -> Response:
        """How a run stands."""
        run = self._run(request)
        checkpoint = run.checkpoint()
        state = checkpoint.state
        return answer(
            {
                **shown_run(run),
                "by": state.by,
                "reason": state.reason,
                "error": state.error,
                "children": [shown_run(child) for child in run.children()],
                "approvals": shown_approvals(run),
                "self_status": self_status(state, checkpoint.elapsed_ms),
            }
        )

    async def events(self, request: Request) -> Response:
        """The run's facts as server-sent events: those that are there, then live, until its end."""
        run = await asyncio.to_thread(self._run, request)
        return followed(lambda: run.events(begin(request)), lambda event: event.version)

    async def all_events(self, request: Request) -> Response:
        """The facts of all runs as server-sent events, their deliveries too, until the service closes."""
        return followed(lambda: self.runtime.events(begin(request)), lambda event: event.position)

    def artifacts(self, request: Request) -> Response:
        """What the run made."""
        return answer([msgspec.to_builtins(one) for one in self._run(request).artifacts()])

    def artifact(self, request: Request) -> Response:
        """The content of one of them; never shown as a page, since a model wrote it."""
        sha256 = request.path_params["sha256"]
        if all(one.sha256 != sha256 for one in self._run(request).artifacts()):
            raise HTTPException(404, "this run made no such artifact")
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(self.runtime.artifact(sha256), media_type="application/octet-stream", headers=headers)

    def approvals(self, request: Request) -> Response:
        """Every call of any run that waits for somebody's yes."""
        runs = {run.id: run for run, _ in self.runtime.waiting()}
        return answer([one for run in runs.values() for one in shown_approvals(run)])

    def spending(self, request: Request) -> Response:
        """What the caller has spent."""
        return answer(self.runtime.spending(caller_of(request)))

    async def receive(self, request: Request) -> Response:
        """Take a parcel."""
        body = await body_of(request)
        try:
            new = await asyncio.to_thread(self.inbox.take, request.headers, body)
        except NotTaken as error:
            raise HTTPException(401, str(error)) from error
        return answer({"new": new})

    def received(self, request: Request) -> Response:
        """The parcels that were taken."""
        return answer(self.inbox.parcels())

    def _run(self, request: Request) -> Run:
        return self.runtime.run(request.path_params["run"])


def followed(follow: Callable[[], Subscription], place: Callable[[Event], int]) -> Response:
    """Server-sent events; `place` is what a client that lost its connection goes on from."""

    async def lines() -> AsyncGenerator[bytes]:
        with follow() as events:
            async for event in events:
                shown = msgspec.json.encode(shown_event(event))
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (place(event), event.tag.encode(), shown)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def begin(request: Request) -> int:
    """After which event a follower wants to begin."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isascii() and last.isdigit() else number(request, "after", 0)


def number(request: Request, name: str, otherwise: int) -> int:
    """A number of the query."""
    text = request.query_params.get(name, str(otherwise))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise HTTPException(400, f"{name}: expected a number, got {text!r}")
    return int(text)
