"""`Calls` on the real world: one event loop for what is async, bounded threads for what blocks."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from math import inf
from typing import Any, TypeVar, cast, get_args

from msgspec import structs

from ..errors import (
    ContentWithheld,
    ExtraMissing,
    JournalError,
    JournalUnavailable,
    ModelRefused,
    ModelUnavailable,
    RuntimeClosed,
)
from ..events import StopReason, Thinking, ToolCall
from ..ports import (
    Agent,
    ArtifactStore,
    Critic,
    Delivery,
    Ids,
    Journal,
    Model,
    ModelRequest,
    Palette,
    Parcel,
    Prices,
    Reply,
    Tool,
    ToolContext,
)
from ..ports.saying import said
from ..projections import OpenCall, PlanCalls
from ..projections.ledger import cost_usd
from ..projections.trace import Trace
from ..redaction.vault import Vault
from .calls import Loaded, find_tool, plan_call
from .delegating import ChildOrder, Delegation, delegations, order_of, plan_delegation
from .limits import Call, TimeLimits
from .loop import LoopThread, TaskOnLoop
from .outputs import misfit
from .ownership import wait_until_held
from .parcel import Handed, hand_over, not_handed
from .pooled import Cancellable, Scheduler
from .pricing import contained
from .reconciling import read_answer, read_failure, unknown, who_to_ask
from .reusing import Recordings
from .reviews import Reviewer
from .room import WaitingRoom
from .run.intake import clean_reply
from .run.messages import (
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ToolPlan,
)
from .shown import Shown
from .threads import ThreadPool
from .verdicts import Reviewed

log = logging.getLogger("executus.calls")

T = TypeVar("T")

LOADING_THREADS = 2
LOAD_S = 60.0
"""Seconds in which a run's log must have been read and folded."""
DELIVERY_THREADS = 32
STOPS: tuple[str, ...] = get_args(StopReason)
MOST_TOKENS = 1 << 53
LONGEST_PAUSE_S = 86_400.0
"""A provider that asks us to wait longer than a day is asked again after one."""


class CallRunner:
    """`actors.calls.Calls` for a runtime. resolve: finds the model that a name, or "tier:NAME", means; may be slow (it
    imports). palette, tiers: what delegates are resolved with. prices: what a reply costs whose provider does not say.
    vault: the secrets that tools are given, masked in what a model says.
    """

    def __init__(
        self,
        journal: Journal,
        scheduler: Scheduler,
        ids: Ids,
        resolve: Callable[[str], Model],
        tool_threads: int,
        *,
        wall_us: Callable[[], int] = lambda: 0,
        palette: Palette | None = None,
        tiers: Mapping[str, str | Model] | None = None,
        prices: Prices | None = None,
        vault: Vault | None = None,
    ) -> None:
        self._wall_us = wall_us
        self._palette = palette
        self._tiers = dict(tiers or {})
        self._price = None if prices is None else contained(prices)
        self._vault = Vault() if vault is None else vault
        self._journal = journal
        self._scheduler = scheduler
        self._ids = ids
        self._resolve = resolve
        self._models: dict[str, Model] = {}
        self._limits = TimeLimits(scheduler)
        self._loop = LoopThread()
        self._loop.call(scheduler.lend)
        self._threads = ThreadPool("tools", tool_threads)
        self._loading = ThreadPool("loading", LOADING_THREADS)
        self._recordings = Recordings(journal)
        self._room = WaitingRoom(journal, scheduler)
        self._reviewer = Reviewer(self._limits, self._loop)
        self._delivering = ThreadPool("delivery", DELIVERY_THREADS)  # a hung delivery costs no tool its thread
        self._closed = False

    # -------------------------------------------------------------- models

    def model(
        self,
        agent: Agent,
        request: ModelRequest,
        reply: Callable[[AcceptReply | AcceptModelFailure], None],
        reuses: str = "",
    ) -> Cancellable:
        """See `Calls.model`."""
        call = Call(reply, self._limits)
        if self._journal.short(request.run_id):
            self._room.enter(call, request.run_id, lambda: self._begin_model(agent, request, call, reuses))
        else:
            self._begin_model(agent, request, call, reuses)
        return call

    def _begin_model(self, agent: Agent, request: ModelRequest, call: Call, reuses: str) -> None:
        if self._closed:
            return
        timeout_s = agent.model_timeout_s
        if timeout_s is not None:

            def late() -> AcceptModelFailure:
                return self._failure(request, ModelUnavailable(f"no answer within {timeout_s:g} s"))

            self._limits.watch(call, timeout_s, late)
        self._begin(call, self._ask(agent, request, call, reuses))

    def _begin(self, call: Call, coroutine: Coroutine[Any, Any, None]) -> None:
        task = TaskOnLoop(self._loop, coroutine)
        call.carry(task)
        self._loop.call(task.begin)

    async def _ask(self, agent: Agent, request: ModelRequest, call: Call, reuses: str) -> None:
        began = self._scheduler.awake()
        try:
            if not self._journal.held and not await self._regained(call):
                return
            entries: dict[str, Delegation] = {}
            if agent.agents or agent.skills:
                entries = await delegations(agent, request.caller_id, self._palette, self._tiers)
                specs = (*request.tools, *(entry.spec for entry in entries.values()))
                request = structs.replace(request, tools=specs)
            recorded: Reply | None = None
            if reuses:
                look = partial(self._recordings.find, reuses, agent, request)
                recorded = cast("Reply | None", await self._in_thread(look, self._loading))
            reply = recorded if recorded is not None else await self._reply(agent, request)
        except BaseException as error:  # also what would end the loop: SystemExit in a model is its failure
            if isinstance(error, asyncio.CancelledError) and (call.over or self._closed):
                raise
            if not self._closed:
                call.answer(self._failure(request, error))
        else:
            plans = tuple(self._plan(agent, entries, part) for part in reply.parts if type(part) is ToolCall)
            call.answer(
                AcceptReply(
                    step=request.step,
                    attempt=request.attempt,
                    reply=reply,
                    plans=plans,
                    misfit=None if plans or agent.output is None else misfit(reply, agent.output),
                    took_ms=round((self._scheduler.awake() - began) * 1000),
                    recorded=recorded is not None,
                )
            )

    async def _reply(self, agent: Agent, request: ModelRequest) -> Reply:
        """What the model says, checked, masked and priced."""
        model = agent.model_key
        if isinstance(model, str):
            model = self._models.get(model) or await self._found(model)
        shown: Shown | None = None
        if request.on_delta is not None:
            shown = Shown(self._vault.redactor, request.on_delta)
            request = structs.replace(request, on_delta=shown)
        if inspect.iscoroutinefunction(model.reply):
            reply = await model.reply(request)
        else:
            answer = await self._in_thread(partial(model.reply, request))
            reply = await answer if inspect.isawaitable(answer) else answer
        if not isinstance(reply, Reply):
            raise ModelRefused(f"model {model.name} returned {type(reply).__name__}; expected Reply")
        priced: Reply = self._priced(_checked(self._vault.redactor.texts(reply), model), model)
        if shown is not None:
            shown.close()
        return priced

    def plan(self, agent: Agent, owed: PlanCalls, caller_id: str, reply: Callable[[AcceptPlans], None]) -> Cancellable:
        """See `Calls.plan`."""
        call = Call(reply, self._limits)
        if not self._closed:
            self._begin(call, self._look_at(agent, owed, caller_id, call))
        return call

    async def _look_at(self, agent: Agent, owed: PlanCalls, caller_id: str, call: Call) -> None:
        try:
            entries = await delegations(agent, caller_id, self._palette, self._tiers)
            plans = tuple([self._plan(agent, entries, asked) for asked in owed.asked])
        except BaseException as error:  # also what would end the loop
            if isinstance(error, asyncio.CancelledError) and (call.over or self._closed):
                raise
            why = f"it could not be prepared: {said(error, name=True)}"
            plans = tuple([ToolPlan(refusal=why) for _ in owed.asked])
        call.answer(AcceptPlans(step=owed.step, plans=plans))

    async def _regained(self, call: Call) -> bool:
        """See `wait_until_held`; for what is begun on the loop. False if nobody wants it any more."""
        await self._in_thread(partial(wait_until_held, self._journal, partial(self._is_over, call)), self._loading)
        return not self._is_over(call)

    def _is_over(self, call: Call) -> bool:
        return call.over or self._closed

    def _plan(self, agent: Agent, entries: Mapping[str, Delegation], asked: ToolCall) -> ToolPlan:
        entry = entries.get(asked.name)
        if entry is None:
            return plan_call(agent, asked, self._wall_us())
        return plan_delegation(entry, asked.arguments, self._ids.run_id)

    def _priced(self, reply: Reply, model: Model) -> Reply:
        """The reply with its cost, if a price is known and the provider did not say."""
        if self._price is None or reply.usage.cost_usd is not None:
            return reply
        cost = cost_usd(self._price, model.name, reply.model, reply.usage)
        if cost is None:
            return reply
        return structs.replace(reply, usage=structs.replace(reply.usage, cost_usd=cost))

    def child(
        self, agent: Agent, name: str, arguments: str, caller_id: str, reply: Callable[[ChildOrder | str], None]
    ) -> Cancellable:
        """Resolve the palette entry of the tool `name`; answers with what to start, or why it cannot be."""
        call = Call(reply, self._limits)
        if not self._closed:
            self._begin(call, self._resolve_child(agent, name, arguments, caller_id, call))
        return call

    async def _resolve_child(self, agent: Agent, name: str, arguments: str, caller_id: str, call: Call) -> None:
        try:
            entry = (await delegations(agent, caller_id, self._palette, self._tiers)).get(name)
            answer: ChildOrder | str = f"{name} no longer exists"
            if entry is not None:
                answer = order_of(entry, arguments) if entry.child is not None else entry.why
        except BaseException as error:  # also what would end the loop
            if isinstance(error, asyncio.CancelledError) and (call.over or self._closed):
                raise
            answer = f"{name} could not be started: {said(error, name=True)}"
        call.answer(answer)

    async def _found(self, name: str) -> Model:
        model = await self._in_thread(partial(self._resolve, name))
        self._models[name] = model
        return cast(Model, model)

    async def _in_thread(self, call: Callable[[], Any], pool: ThreadPool | None = None) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            elif isinstance(error, (StopIteration, asyncio.CancelledError)) or not isinstance(error, Exception):
                future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
            else:
                future.set_exception(error)

        threads = self._threads if pool is None else pool
        job = threads.submit(call, lambda result, error: self._loop.call(partial(settle, result, error)))
        try:
            return await future
        except asyncio.CancelledError:
            job.cancel()
            raise

    def _failure(self, request: ModelRequest, error: BaseException) -> AcceptModelFailure:
        passing = isinstance(error, (ModelUnavailable, OSError, TimeoutError))
        ours = isinstance(error, (ModelUnavailable, ModelRefused, ExtraMissing))
        return AcceptModelFailure(
            step=request.step,
            attempt=request.attempt,
            error=said(error, name=not ours),
            final=not passing,
            retry_after_s=_pause_s(error.retry_after_s) if isinstance(error, ModelUnavailable) else None,
            jitter=self._ids.jitter(),
        )

    # -------------------------------------------------------------- tools

    def tool(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptResult | AcceptUnknown], None]
    ) -> Cancellable:
        """Run the tool that `call` names."""
        doing = Call(reply, self._limits)
        if self._journal.short(context.run_id):
            self._room.enter(doing, context.run_id, lambda: self._begin_tool(agent, call, context, doing))
        else:
            self._begin_tool(agent, call, context, doing)
        return doing

    def _begin_tool(self, agent: Agent, call: OpenCall, context: ToolContext, doing: Call) -> None:
        if self._closed:
            return
        tool = find_tool(agent, call.name)
        if tool is None:  # a host that no longer has it took the run up
            doing.answer(AcceptResult(call=call.call, text=f"the tool {call.name} no longer exists", is_error=True))
            return
        try:
            context = self._with_secrets(tool, context)
        except LookupError as error:
            doing.answer(AcceptResult(call=call.call, text=f"{call.name} was not run: {error}", is_error=True))
            return
        if tool.mode == "thread":
            began = self._scheduler.awake()

            def run() -> Any:
                if not self._journal.held:
                    wait_until_held(self._journal, partial(self._is_over, doing))
                    if self._is_over(doing):
                        raise RuntimeClosed("nobody wants this call any more")  # an error after the close is not told
                self._time(doing, call, tool)  # from here: waiting in line for a thread is not the tool's time
                return tool.call(call.arguments, context)

            doing.carry(self._threads.submit(run, partial(self._tool_done, doing, call, began)))
        else:
            self._time(doing, call, tool)
            self._begin(doing, self._run_tool(tool, call, context, doing, self._scheduler.awake()))

    def _with_secrets(self, tool: Tool | None, context: ToolContext) -> ToolContext:
        """The context with the secrets that the tool needs.

        Raises:
            LookupError: one of them is not registered.
        """
        names: tuple[str, ...] = tuple(getattr(tool, "secrets", ()))  # a tool that is `ports.NeedsSecrets`
        return structs.replace(context, secrets={name: self._vault.get(name) for name in names}) if names else context

    def reconcile(
        self, agent: Agent, call: OpenCall, context: ToolContext, reply: Callable[[AcceptReconciled], None]
    ) -> Cancellable:
        """Ask the tool that `call` names what became of the call."""
        asking = Call(reply, self._limits)
        if self._closed:
            return asking
        who = who_to_ask(agent, call)
        if isinstance(who, str):
            asking.answer(unknown(call, who))
            return asking
        try:
            context = self._with_secrets(find_tool(agent, call.name), context)
        except LookupError as error:
            asking.answer(unknown(call, f"{call.name} was not asked what became of it: {error}"))
            return asking
        ask, seconds = who
        late = f"{call.name} did not say within {seconds:g} s what became of it"
        self._limits.watch(asking, seconds, lambda: unknown(call, late))
        self._begin(asking, self._ask_tool(ask, call, context, asking))
        return asking

    async def _ask_tool(self, ask: Callable[..., Any], call: OpenCall, context: ToolContext, asking: Call) -> None:
        try:
            if inspect.iscoroutinefunction(ask):
                answer: Any = await ask(call.arguments, context)
            else:
                answer = await self._in_thread(partial(ask, call.arguments, context))
                if inspect.isawaitable(answer):
                    answer = await answer
            told = read_answer(call, answer)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (asking.over or self._closed):
                raise
            if self._closed:  # as likely as not because of the close: the next host asks again
                return
            told = read_failure(call, error)
        asking.answer(told)

    def _time(self, doing: Call, call: OpenCall, tool: Tool) -> None:
        if tool.timeout_s is not None and not doing.over:
            self._limits.watch(doing, tool.timeout_s, lambda: _late(call, tool))

    async def _run_tool(self, tool: Tool, call: OpenCall, context: ToolContext, doing: Call, began: float) -> None:
        try:
            if not self._journal.held and not await self._regained(doing):
                return
            result: Any = tool.call(call.arguments, context)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (doing.over or self._closed):
                raise  # being called off at the close is no outcome: the next host sees what is owed
            self._tool_done(doing, call, began, None, error)
        else:
            self._tool_done(doing, call, began, result, None)

    def _tool_done(self, doing: Call, call: OpenCall, began: float, result: Any, error: BaseException | None) -> None:
        if self._closed and error is not None:  # as likely as not because of the close
            return
        self._scheduler.lend()
        if inspect.isawaitable(result):
            _close(result)
            error = TypeError(f"tool {call.name} returned an awaitable from a thread; declare it async")
        text = said(result if error is None else error, name=error is not None)
        doing.answer(
            AcceptResult(
                call=call.call,
                text=text,
                is_error=error is not None,
                took_ms=round((self._scheduler.awake() - began) * 1000),
            )
        )

    # -------------------------------------------------------------- logs

    def load(self, run_id: str, versions: tuple[int, ...], reply: Callable[[Loaded], None]) -> None:
        """Read and fold a run's log on a thread of its own pool, which no hung tool can block. One that takes longer
        than `LOAD_S` is given up with its thread.
        """
        call = Call(reply, self._limits)
        late = JournalError(f"its log could not be read within {LOAD_S:g} s")

        def read() -> Loaded:
            self._limits.watch(call, LOAD_S, lambda: Loaded(run_id=run_id, error=late))
            checkpoint = self._journal.load(run_id)
            if checkpoint.withheld is not None:  # it would go on from tombstones
                raise ContentWithheld(run_id, checkpoint.withheld)
            self._journal.seal(run_id)  # read here, it is at hand when the actor needs it
            hashes: dict[int, bytes] = {}
            if versions:
                tail = self._journal.read(run_id, after=min(versions) - 1)
                hashes = {event.version: event.hash for event in tail if event.version in versions}
            return Loaded(run_id=run_id, checkpoint=checkpoint, hashes=hashes)

        def told(loaded: Any, error: BaseException | None) -> None:
            if isinstance(loaded, Loaded):
                call.answer(loaded)
            else:
                why = error if isinstance(error, Exception) else JournalError(repr(error))
                call.answer(Loaded(run_id=run_id, error=why))

        call.carry(self._loading.submit(read, told))

    def look_up(self, read: Callable[[Journal], T], reply: Callable[[T | Exception], None]) -> None:
        """Read something in the journal, on the same pool."""

        def told(found: Any, error: BaseException | None) -> None:
            if error is not None:
                found = error if isinstance(error, Exception) else JournalUnavailable(repr(error))
            reply(found)

        self._loading.submit(partial(read, self._journal), told)

    # -------------------------------------------------------------- reviews

    def review(
        self, critic: Critic, by: str, trace: Trace, now: float, timeout_s: float, reply: Callable[[Reviewed], None]
    ) -> Cancellable:
        """Ask a critic, on the loop or on threads that no tool uses."""
        if self._closed:
            return Call(reply, self._limits)
        return self._reviewer.review(critic, by, trace, now, timeout_s, reply)

    # -------------------------------------------------------------- deliveries

    def deliver(
        self,
        delivery: Delivery,
        parcel: Parcel,
        artifacts: ArtifactStore,
        timeout_s: float,
        reply: Callable[[Handed], None],
    ) -> Cancellable:
        """Hand a parcel to the host's delivery; waiting in line for a thread counts, so that there is an answer."""
        call = Call(reply, self._limits)
        if not self._closed:
            late = Handed(error=f"no answer within {timeout_s:g} s; it was given up")
            self._limits.watch(call, timeout_s, lambda: late)
            self._begin(call, self._deliver(delivery, parcel, artifacts, call))
        return call

    async def _deliver(self, delivery: Delivery, parcel: Parcel, artifacts: ArtifactStore, call: Call) -> None:
        try:
            if not self._journal.held and not await self._regained(call):
                return
            in_thread = partial(self._in_thread, pool=self._delivering)
            handed = await hand_over(delivery, parcel, artifacts, in_thread)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (call.over or self._closed):
                raise
            if self._closed:  # as likely as not because of the close: the next host delivers
                return
            handed = not_handed(error)
        call.answer(handed)

    # -------------------------------------------------------------- end

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The runtime's event loop."""
        return self._loop.loop

    def owns(self, thread: threading.Thread) -> bool:
        """Whether `thread` is the loop's: blocking it would stop every model and async tool."""
        return thread is self._loop.thread

    def stop_taking(self) -> None:
        """Begin nothing any more: before anything is called off, or it would be begun a second time."""
        self._closed = True

    def close(self, timeout: float) -> bool:
        """Call everything off; False if code on the loop does not let go in time."""
        self.stop_taking()
        self._threads.close()
        self._loading.close()
        self._delivering.close()
        self._reviewer.close()
        return self._loop.close(timeout)


def _late(call: OpenCall, tool: Tool) -> AcceptResult | AcceptUnknown:
    gave_up = f"no result within {tool.timeout_s:g} s; it was given up"
    if call.effect in ("pure", "idempotent"):
        return AcceptResult(call=call.call, text=f"{call.name}: {gave_up}", is_error=True)
    return AcceptUnknown(call=call.call, reason=f"{call.name}: {gave_up}, and whether it took effect is unknown")


def _checked(reply: Reply, model: Model) -> Reply:
    """The reply, cleaned, and of the types it declares: another would be stored and could never be read again."""
    try:
        reply = clean_reply(reply)
        for part in reply.parts:
            if type(part) is Thinking and part.extra is not None and not isinstance(part.extra, dict):
                raise ValueError(f"thinking, extra: expected a dict or None, got {part.extra!r}")
        usage = reply.usage
        counts = (usage.input, usage.output, usage.thinking, usage.cache_read, usage.cache_write)
        for count in counts:
            if type(count) is not int or not 0 <= count < MOST_TOKENS:
                raise ValueError(f"usage: expected whole numbers of tokens ≥ 0, got {count!r}")
        cost = usage.cost_usd
        if cost is not None and not (type(cost) in (int, float) and 0 <= cost < MOST_TOKENS):
            raise ValueError(f"usage, cost_usd: expected dollars ≥ 0 or None, got {cost!r}")
        if reply.stop not in STOPS:
            raise ValueError(f"stop: expected one of {', '.join(STOPS)}, got {reply.stop!r}")
    except Exception as error:
        raise ModelRefused(f"model {model.name} returned a malformed Reply: {said(error, name=True)}") from error
    return reply


def _pause_s(seconds: Any) -> float | None:
    """What a provider asks us to wait, if it is a time."""
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < inf:
        return None
    return min(float(seconds), LONGEST_PAUSE_S)


def _close(awaitable: Awaitable[Any]) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
