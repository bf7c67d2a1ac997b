"""A child run as its parent's actor sees it: it answers once, and ends when its parent does."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

from ..errors import RunQuarantined
from ..events import RunFinished, RunInfo, RunStarted, Status, Text, Totals
from ..events.clean import clean_json, clean_text
from ..ports import Delegate, Progress
from ..projections import OpenChild
from .address import Address
from .delegating import ChildOrder
from .pooled import Cancellable
from .printing import print_of
from .run.messages import AcceptChild, AcceptChildWait, EndWithParent

log = logging.getLogger("executus.actors")

NAMES = 4_096


class ChildCall:
    """A call of a parent that is a run of its own (`Cancellable`).

    Calling it off ends the child if the parent has ended; if only the runtime closes, the child's log is left alone.
    """

    def __init__(self, parent: Address, child: OpenChild, budgeted: bool) -> None:
        self.parent = parent
        self.child = child
        self.budgeted = budgeted
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._finished: Future[RunFinished] | None = None
        self._looking: Cancellable | None = None
        self.over = False
        self.delegate: Delegate | None = None

    # -------------------------------------------------------------- towards the child

    def carry(self, looking: Cancellable) -> None:
        """What to call off while the child is not yet there."""
        self._looking = looking
        if self.over:
            looking.cancel()

    def follow(self, address: Address) -> None:
        """The child is at `address`, its start on the way: wait for its end, or end it if the parent has meanwhile."""
        finished = address.finished()
        with self._lock:
            self._address, self._finished = address, finished
            over = self.over
        if over:
            self._end_child(address)
            finished.cancel()
        else:
            address.keep_waiting(self._waits)
            finished.add_done_callback(self._told)

    def cancel(self) -> None:
        """The parent is over, or wants it no more: the child ends too, also one that is only being born."""
        with self._lock:
            self.over = True
            address, finished = self._address, self._finished
        if self._looking is not None:
            self._looking.cancel()
        if finished is not None:
            finished.cancel()
        if address is not None:
            self._end_child(address)

    def _end_child(self, address: Address) -> None:
        end = self.parent.ending
        if end is None:
            return
        # Not urgent: it must not overtake the message that starts the child.
        reason = f"its parent ended with status {end.status}: {end.reason}"[:NAMES]
        address.tell(EndWithParent(status=end.status, reason=reason))

    # -------------------------------------------------------------- towards the parent

    def fail(self, why: str) -> None:
        """There will be no child."""
        self._answer("error", why, Totals())

    def _told(self, finished: Future[RunFinished]) -> None:
        if finished.cancelled():
            return
        error = finished.exception()
        if error is None:
            self.finish(finished.result())
        elif isinstance(error, RunQuarantined):
            self.fail(str(error))
        # else the runtime closes: the next host sees what is owed

    def _waits(self, waits: bool) -> None:
        """The child waits for a person, or goes on; told again after a restart, which changes nothing."""
        if not self.over:
            self.parent.tell(AcceptChildWait(call=self.child.call, run_id=self.child.run_id, waits=waits))

    def finish(self, end: RunFinished) -> None:
        """The child is over."""
        stats = end.stats
        self.progress("finished", FINISHED.get(stats.status, "⚠️"))
        spent = end.family.plus(
            Totals(
                steps=stats.steps,
                tool_calls=stats.tool_calls,
                tokens=stats.input_tokens + stats.output_tokens,
                cost_usd=stats.cost_usd,
            )
        )
        output = stats.output if stats.status == "ok" else "\n".join(filter(None, (end.reason, stats.output)))
        self._answer(stats.status, output, spent)

    def _answer(self, status: Status, output: str, spent: Totals) -> None:
        if not self.over:
            self.parent.tell(
                AcceptChild(call=self.child.call, run_id=self.child.run_id, status=status, output=output, spent=spent)
            )

    def progress(self, event: str, emoji: str = "") -> None:
        """Tell whoever delegated; whatever that raises stays here."""
        told = None if self.delegate is None else self.delegate.on_progress
        if told is not None:
            try:
                told(Progress(self.child.run_id, event, emoji))
            except BaseException:
                log.warning("run %s: on_progress raised", self.child.run_id, exc_info=True)


FINISHED = {"ok": "✅", "killed": "🛑", "cancelled": "🛑", "timeout": "⏰", "budget_exceeded": "💸", "dry_run": "📝"}


def child_started(call: ChildCall, order: ChildOrder, now_us: int) -> RunStarted:
    """The first fact of the child: its place in the family, and the limits that its parent carved for it."""
    parent: RunInfo = call.parent.info
    child, agent = call.child, order.agent
    info = RunInfo(
        run_id=child.run_id,
        name=clean_text(agent.name, NAMES),
        subject_id=clean_text(agent.name, NAMES),
        caller_id=parent.caller_id,
        channel_id=parent.channel_id,
        guild_id=parent.guild_id,
        parent_run_id=parent.run_id,
        root_run_id=parent.root_run_id or parent.run_id,
        depth=parent.depth + 1,
        model_tier=agent.tier,
        inputs=clean_json(dict(order.inputs)),
        started_at_us=now_us,
        max_iterations=child.limits.max_steps,
    )
    return RunStarted(
        info=info,
        agent=print_of(agent),
        limits=child.limits,
        input=(Text(clean_text(order.input)),),
        budgeted=call.budgeted,
    )
