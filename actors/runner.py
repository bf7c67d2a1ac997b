"""`Calls` on the real world: one event loop for what is async, bounded threads for what blocks."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from math import inf
from typing import Any, cast, get_args

from ..errors import ExtraMissing, JournalUnavailable, ModelRefused, ModelUnavailable
from ..events import StopReason, Thinking, ToolCall
from ..ports import Agent, Ids, Journal, Model, ModelRequest, Reply, Tool, ToolContext
from ..projections import OpenCall
from .calls import Loaded, find_tool, plan_call, said
from .limits import Call, TimeLimits
from .loop import LoopThread, TaskOnLoop
from .pooled import Cancellable, Scheduler
from .run.intake import clean_reply
from .run.messages import AcceptModelFailure, AcceptReply, AcceptResult, AcceptUnknown
from .threads import ThreadPool

log = logging.getLogger("executus.calls")

LOADING_THREADS = 2
STOPS: tuple[str, ...] = get_args(StopReason)
MOST_TOKENS = 1 << 53
LONGEST_PAUSE_S = 86_400.0
"""A provider that asks us to wait longer than a day is asked again after one."""


class CallRunner:
    """`actors.calls.Calls` for a runtime. resolve: finds the model that a name means; may be slow (it imports)."""

    def __init__(
        self, journal: Journal, scheduler: Scheduler, ids: Ids, resolve: Callable[[str], Model], tool_threads: int
    ) -> None:
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
        self._closed = False

    # -------------------------------------------------------------- models

    def model(
        self, agent: Agent, request: ModelRequest, reply: Callable[[AcceptReply | AcceptModelFailure], None]
    ) -> Cancellable:
        """Ask the agent's model."""
        call = Call(reply, self._limits)
        if self._closed:
            return call
        timeout_s = agent.model_timeout_s
        if timeout_s is not None:

            def late() -> AcceptModelFailure:
                return self._failure(request, ModelUnavailable(f"no answer within {timeout_s:g} s"))

            self._limits.watch(call, timeout_s, late)
        self._begin(call, self._ask(agent, request, call))
        return call

    def _begin(self, call: Call, coroutine: Coroutine[Any, Any, None]) -> None:
        task = TaskOnLoop(self._loop, coroutine)
        call.carry(task)
        self._loop.call(task.begin)

    async def _ask(self, agent: Agent, request: ModelRequest, call: Call) -> None:
        began = self._scheduler.awake()
        try:
            model = agent.model
            if isinstance(model, str):
                model = self._models.get(model) or await self._found(model)
            if inspect.iscoroutinefunction(model.reply):
                reply = await model.reply(request)
            else:
                answer = await self._in_thread(partial(model.reply, request))
                reply = await answer if inspect.isawaitable(answer) else answer
            if not isinstance(reply, Reply):
                raise ModelRefused(f"model {model.name} returned {type(reply).__name__}; expected Reply")
            reply = _checked(reply, model)
        except BaseException as error:  # also what would end the loop: SystemExit in a model is its failure
            if isinstance(error, asyncio.CancelledError) and (call.over or self._closed):
                raise
            if not self._closed:
                call.answer(self._failure(request, error))
        else:
            plans = tuple(plan_call(agent, part) for part in reply.parts if type(part) is ToolCall)
            call.answer(
                AcceptReply(
                    step=request.step,
                    attempt=request.attempt,
                    reply=reply,
                    plans=plans,
                    took_ms=round((self._scheduler.awake() - began) * 1000),
                )
            )

    async def _found(self, name: str) -> Model:
        model = await self._in_thread(partial(self._resolve, name))
        self._models[name] = model
        return cast(Model, model)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
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

        job = self._threads.submit(call, lambda result, error: self._loop.call(partial(settle, result, error)))
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
        if self._closed:
            return doing
        tool = find_tool(agent, call.name)
        if tool is None:  # a host that no longer has it took the run up
            doing.answer(AcceptResult(call=call.call, text=f"the tool {call.name} no longer exists", is_error=True))
            return doing
        if tool.mode == "thread":
            began = self._scheduler.awake()

            def run() -> Any:
                self._time(doing, call, tool)  # from here: waiting in line for a thread is not the tool's time
                return tool.call(call.arguments, context)

            doing.carry(self._threads.submit(run, partial(self._tool_done, doing, call, began)))
        else:
            self._time(doing, call, tool)
            self._begin(doing, self._run_tool(tool, call, context, doing, self._scheduler.awake()))
        return doing

    def _time(self, doing: Call, call: OpenCall, tool: Tool) -> None:
        if tool.timeout_s is not None and not doing.over:
            self._limits.watch(doing, tool.timeout_s, lambda: _late(call, tool))

    async def _run_tool(self, tool: Tool, call: OpenCall, context: ToolContext, doing: Call, began: float) -> None:
        try:
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
        """Read and fold a run's log on a thread of its own pool, which no hung tool can block."""

        def read() -> Loaded:
            checkpoint = self._journal.load(run_id)
            hashes: dict[int, bytes] = {}
            if versions:
                tail = self._journal.read(run_id, after=min(versions) - 1)
                hashes = {event.version: event.hash for event in tail if event.version in versions}
            return Loaded(run_id=run_id, checkpoint=checkpoint, hashes=hashes)

        def told(loaded: Any, error: BaseException | None) -> None:
            if isinstance(loaded, Loaded):
                reply(loaded)
            else:
                why = error if isinstance(error, Exception) else JournalUnavailable(repr(error))
                reply(Loaded(run_id=run_id, error=why))

        self._loading.submit(read, told)

    # -------------------------------------------------------------- end

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
