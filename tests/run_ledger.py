"""A second opinion on a run's log: its rules, what is owed and what was said, read off the list of facts alone."""

from __future__ import annotations

from typing import TypeVar

from executus.events import (
    ApprovalAwaited,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    BudgetExceeded,
    BudgetNoticed,
    CallerSteered,
    CancelRequested,
    CeilingRaised,
    ChildFinished,
    ChildStarted,
    ChildWaited,
    ChildWentOn,
    CriticKilled,
    CriticReviewed,
    CriticSteered,
    DeadlineExtended,
    ErrorLogged,
    Fact,
    FamilyAwaited,
    InputAwaited,
    InputReceived,
    Message,
    NoteLogged,
    Opaque,
    OutputRefused,
    PhaseFinished,
    PhaseStarted,
    ReconcileStarted,
    RunFinished,
    RunStarted,
    SoftTimeoutReached,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolResult,
    ToolStarted,
)

F = TypeVar("F", bound=Fact)

ANSWERS = (ApprovalGranted, ApprovalDenied, ApprovalExpired)
CLOSING = (*ANSWERS, ChildWentOn)
"""What ends a run's standing still for approvals or children."""
ORDERED = {"cancelled": CancelRequested, "killed": CriticKilled, "budget_exceeded": BudgetExceeded}
"""Ends that follow from what was said just before."""


class Ledger:
    """Keeps count of a list of facts, in their order."""

    def __init__(self, facts: list[Fact]) -> None:
        self.facts = facts
        self.steps: list[StepStarted] = [fact for fact in facts if isinstance(fact, StepStarted)]
        self.completed = [fact for fact in facts if isinstance(fact, StepCompleted)]
        self.started = [fact.call for fact in facts if isinstance(fact, ToolStarted)]
        self.refused = [fact.call for fact in facts if isinstance(fact, ToolRefused)]
        self.closed = [fact.call for fact in facts if isinstance(fact, (ToolFinished, ToolOutcomeUnknown))]
        self.born = [fact for fact in facts if isinstance(fact, ChildStarted)]
        self.gone = [fact for fact in facts if isinstance(fact, ChildFinished)]
        self.requested = [fact for fact in facts if isinstance(fact, ApprovalRequested)]
        self.answered = [fact.call for fact in facts if isinstance(fact, ANSWERS)]
        self.ends = [index for index, fact in enumerate(facts) if isinstance(fact, RunFinished)]

    def check(self) -> None:
        """The rules of every log, whatever happened to the run."""
        if not self.facts:
            return
        assert isinstance(self.facts[0], RunStarted), "a log begins with the start"
        assert sum(isinstance(fact, RunStarted) for fact in self.facts) == 1
        assert len(self.ends) <= 1, "a run ends once"
        if self.ends:
            after = self.facts[self.ends[0] + 1 :]
            assert all(isinstance(fact, (NoteLogged, ErrorLogged)) for fact in after), "nothing but notes after the end"
            self.check_the_end()
        self.check_steps()
        self.check_calls()
        self.check_reconciling()
        self.check_waiting()
        self.check_approvals()
        self.check_limits()
        self.check_supervision()
        self.check_phases()

    def check_steps(self) -> None:
        last: StepStarted | None = None
        for fact in self.steps:
            if last is None:
                assert (fact.step, fact.attempt) == (1, 1)
            else:
                assert (fact.step, fact.attempt) in ((last.step + 1, 1), (last.step, last.attempt + 1))
            last = fact
        numbers = [fact.step for fact in self.completed]
        assert numbers == list(range(1, len(numbers) + 1)), "every step is completed once, in order"
        waiting: tuple[int, int] | None = None
        for fact in self.facts:
            match fact:
                case StepStarted():
                    assert waiting is None, "one model call at a time"
                    waiting = (fact.step, fact.attempt)
                case StepCompleted():
                    assert waiting is not None
                    assert waiting[0] == fact.step, "a step is completed by its own answer"
                    waiting = None
                case StepFailed():
                    assert waiting == (fact.step, fact.attempt), "an attempt fails once"
                    waiting = None
                case _:
                    pass

    def check_calls(self) -> None:
        assert len(self.started) == len(set(self.started)), "a call is started once"
        assert len(self.closed) == len(set(self.closed)), "a call has at most one outcome"
        assert set(self.closed) <= set(self.started), "an outcome has an intent"
        children, over = [fact.call for fact in self.born], [fact.call for fact in self.gone]
        assert len(over) == len(set(over)), "a child is over once"
        assert set(over) <= set(children), "only a child that was born is over"
        kinds = (set(self.started), set(self.refused), set(children))
        assert len(set.union(*kinds)) == sum(map(len, kinds)), "a call is one thing"
        under_way: set[str] = set()
        for index, fact in enumerate(self.facts):
            match fact:
                case StepCompleted():
                    asked = [part for part in fact.reply if isinstance(part, ToolCall)]
                    answered = self.facts[index + 1 : index + 1 + len(asked)]
                    for number, (call, told) in enumerate(zip(asked, answered, strict=True)):
                        taken_up = (ToolStarted, ToolRefused, ApprovalRequested, ChildStarted)
                        assert isinstance(told, taken_up), "each call is taken up in the same commit"
                        assert (told.call, told.name) == (f"{fact.step}.{number}", call.name)
                case ToolStarted() | ChildStarted() | ApprovalRequested():
                    under_way.add(fact.call)
                case ToolFinished() | ToolOutcomeUnknown() | ChildFinished():
                    under_way.remove(fact.call)
                case ToolRefused():
                    under_way.discard(fact.call)
                case StepStarted():
                    assert not under_way, "every call is answered before the model is asked again"
                case _:
                    pass

    def check_reconciling(self) -> None:
        asking: dict[str, int] = {}
        for index, fact in enumerate(self.facts):
            match fact:
                case ReconcileStarted():
                    assert fact.call in self.started
                    assert asking.get(fact.call, 0) <= 0, "asked once at a time"
                    assert fact.attempt == 1 - asking.get(fact.call, 0), "askings are counted"
                    asking[fact.call] = fact.attempt
                case ToolReconciled():
                    assert asking.get(fact.call) == fact.attempt, "an answer is to the newest question"
                    asking[fact.call] = -fact.attempt
                    then = self.facts[index + 1] if fact.happened else None
                    assert then is None or (isinstance(then, ToolFinished) and then.call == fact.call)
                case _:
                    pass

    def check_waiting(self) -> None:
        """A run stands still only while everything under way of it waits."""
        calls: set[str] = set()
        waits: dict[str, bool] = {}
        for index, fact in enumerate(self.facts):
            match fact:
                case ToolStarted():
                    calls.add(fact.call)
                case ToolFinished() | ToolOutcomeUnknown():
                    calls.discard(fact.call)
                case ChildStarted():
                    waits[fact.call] = False
                case ChildWaited():
                    assert not waits[fact.call], "a child begins to wait once"
                    waits[fact.call] = True
                case ChildWentOn():
                    assert waits[fact.call], "only a child that waits goes on"
                    assert not fact.waited_ms or self._stood_still(index), "what was waited had begun"
                    waits[fact.call] = False
                case ChildFinished():
                    assert not waits.pop(fact.call), "a child that is over waits no more"
                case FamilyAwaited():
                    assert waits, "nobody waits for children that are not there"
                    assert not calls, "a run whose own call runs does not stand still"
                    assert all(waits.values()), "nor one whose child works"
                case _:
                    pass

    def _stood_still(self, index: int) -> bool:
        opened = (FamilyAwaited, *CLOSING)
        before = [fact for fact in self.facts[:index] if isinstance(fact, opened)]
        return bool(before) and isinstance(before[-1], FamilyAwaited)

    def check_approvals(self) -> None:
        requests = {fact.call: fact for fact in self.requested}
        assert len(self.answered) == len(set(self.answered)), "the first answer counts"
        assert set(self.answered) <= set(requests), "nobody answers what was not asked"
        for index, fact in enumerate(self.facts):
            if isinstance(fact, ANSWERS):
                yes = isinstance(fact, ApprovalGranted)
                if isinstance(fact, ApprovalExpired):
                    yes = requests[fact.call].default == "grant"
                then = self.facts[index + 1]
                assert isinstance(then, ToolStarted if yes else ToolRefused), "an answer has its consequence"
                assert then.call == fact.call
            elif isinstance(fact, ToolStarted) and fact.call in requests:
                before = self.facts[index - 1]
                assert isinstance(before, (ApprovalGranted, ApprovalExpired)), "nothing starts without its yes"

    def check_limits(self) -> None:
        start = self._start()
        step = since = failures = calls = tokens = 0
        most_steps, most_calls = start.limits.max_steps, start.limits.max_tool_calls
        most_tokens = start.limits.max_tokens
        for fact in self.facts:
            match fact:
                case InputReceived():
                    since = step
                case CeilingRaised():
                    assert fact.new > fact.old
                    match fact.limit:
                        case "steps":
                            most_steps = round(fact.new)
                        case "tool_calls":
                            most_calls = round(fact.new)
                        case "tokens":
                            most_tokens = round(fact.new)
                        case _:
                            pass
                case StepStarted():
                    if fact.step != step:
                        failures = 0
                        assert most_tokens is None or tokens < most_tokens, "no step without tokens left for one"
                        assert most_calls is None or calls < most_calls, "nor without tool calls left"
                    step = fact.step
                    assert step - since <= most_steps, "the ceiling holds"
                case StepCompleted():
                    tokens += fact.usage.input + fact.usage.output
                case ToolStarted() | ChildStarted():
                    calls += 1
                    assert most_calls is None or calls <= most_calls, "the tool calls of the whole family are limited"
                case ChildFinished():
                    calls += fact.spent.tool_calls
                    tokens += fact.spent.tokens
                    assert most_calls is None or calls <= most_calls, "a child was given what there was"
                case StepFailed():
                    failures += fact.kind != "interrupted"
                    assert failures <= start.limits.max_attempts, "attempts are counted"
                    if fact.kind == "unavailable" and fact.retry_at_ms is None:
                        assert failures == start.limits.max_attempts, "no attempt is given away"
                case _:
                    pass

    def check_supervision(self) -> None:
        start = self._start()
        limits = start.limits
        notices = [(fact.phase, fact.measure, fact.fraction) for fact in self._all(BudgetNoticed)]
        assert len(notices) == len(set(notices)), "the model is told once"
        assert all(fraction in limits.notice_at for _, _, fraction in notices)
        assert len(self._all(SoftTimeoutReached)) <= 1, "the soft timeout is reached once"
        deadline = 0 if limits.timeout_s is None else round(limits.timeout_s * 1000)
        cap = 2 * deadline if limits.extend_to_s is None else round(limits.extend_to_s * 1000)
        for fact in self.facts:
            if isinstance(fact, DeadlineExtended):
                assert fact.until_ms > deadline, "a deadline only moves away"
                assert fact.by != "critic" or fact.until_ms <= cap, "a critic extends up to its cap"
                deadline = fact.until_ms
            elif isinstance(fact, CeilingRaised) and fact.by == "critic":
                assert fact.limit == "steps", "a critic raises nothing but steps"
                assert fact.new <= (limits.raise_steps_to or 2 * limits.max_steps), "and up to its cap"

    def check_phases(self) -> None:
        names = [phase.name for phase in self._start().agent.phases]
        begun = [fact.phase for fact in self._all(PhaseStarted)]
        assert begun == names[: len(begun)], "phases come in order"
        finished = [fact.phase for fact in self._all(PhaseFinished)]
        assert set(finished) <= set(begun)
        for end in self._all(RunFinished):
            if end.by == "model" and end.status in ("ok", "dry_run"):
                assert finished == names, "and none is left out"
        for phase, index in ((fact.phase, n) for n, fact in enumerate(self.facts) if isinstance(fact, PhaseStarted)):
            before = self.facts[index - 1]
            first = phase == names[0]
            assert isinstance(before, RunStarted if first else PhaseFinished), "one ends before the next begins"

    def check_the_end(self) -> None:
        end = self.facts[self.ends[0]]
        assert isinstance(end, RunFinished)
        said = ["".join(part.text for part in fact.reply if isinstance(part, Text)) for fact in self.completed]
        stats = end.stats
        used = [fact.usage for fact in (*self.completed, *self._all(CriticReviewed))]
        assert stats.output == next((text for text in reversed(said) if text), "")
        assert stats.steps == len({fact.step for fact in self.steps})
        assert stats.tool_calls == len(self.started) + len(self.born)
        assert stats.input_tokens == sum(usage.input for usage in used)
        assert stats.output_tokens == sum(usage.output for usage in used)
        assert stats.thinking_tokens == sum(usage.thinking for usage in used)
        assert end.family.tokens == sum(fact.spent.tokens for fact in self.gone)
        assert end.family.tool_calls == sum(fact.spent.tool_calls for fact in self.gone)
        assert end.by
        if end.by == "parent":
            assert stats.status not in ("ok", "dry_run", "error")
            return
        assert (stats.status in ("error", "budget_exceeded")) == bool(stats.error)
        if end.by == "model" and stats.status in ("ok", "dry_run"):
            spoken = self._latest(StepStarted, CallerSteered, CriticSteered, InputReceived, OutputRefused)
            assert isinstance(spoken, StepStarted), "nobody's words are left unread"
        before = self.facts[self.ends[0] - 1]
        for status, kind in ORDERED.items():
            assert (stats.status == status) == isinstance(before, kind)

    def owed(self) -> list[str]:
        """What the world owes after the last fact, by key."""
        if not self.facts or self.ends or any(isinstance(fact, Opaque) for fact in self.facts):
            return []
        start = self._start()
        pending = [fact for fact in self.requested if fact.call not in self.answered]
        owed = [f"expiry:{one.call}:{one.expires_at_us}" for one in pending if one.expires_at_us is not None]
        over = {fact.call for fact in self.gone}
        children = [f"child:{fact.call}" for fact in self.born if fact.call not in over]
        if self._waits(pending, children):
            return [*owed, *children]
        under_way = [self._about(call) for call in self.started if call not in self.closed]
        under_way += children
        latest = self._latest(StepStarted, StepCompleted, StepFailed)
        if isinstance(latest, StepStarted):
            under_way.append(f"model:{latest.step}:{latest.attempt}")
        elif isinstance(latest, StepFailed):
            again = f"reserve:{latest.step}:{latest.attempt + 1}"
            under_way.append(again if start.budgeted else f"retry:{latest.step}:{latest.attempt}")
        elif start.budgeted and not under_way:
            under_way.append(f"reserve:{self.steps[-1].step + 1 if self.steps else 1}:1")
        assert under_way, "a run that is not over and waits for nobody is owed something"
        return [*owed, *under_way, *self._timers()]

    def _about(self, call: str) -> str:
        """What is owed of an open call: its result, or, while it is asked about, what became of it."""
        asked = self._latest_about(call)
        return f"reconcile:{call}:{asked.attempt}" if isinstance(asked, ReconcileStarted) else f"tool:{call}"

    def _latest_about(self, call: str) -> ReconcileStarted | ToolReconciled | None:
        about = [one for kind in (ReconcileStarted, ToolReconciled) for one in self._all(kind) if one.call == call]
        return max(about, key=self.facts.index, default=None)

    def _waits(self, pending: list[ApprovalRequested], children: list[str]) -> bool:
        """Whether a person must speak before anything goes on."""
        standing: Fact | None = None
        for fact in self.facts:
            if isinstance(fact, (InputAwaited, ApprovalAwaited, FamilyAwaited)):
                standing = fact
            elif isinstance(fact, (StepStarted, *CLOSING)) or (
                isinstance(fact, InputReceived) and isinstance(standing, InputAwaited)
            ):
                standing = None
        assert not isinstance(standing, ApprovalAwaited) or pending
        assert bool(children) == isinstance(standing, FamilyAwaited) or not standing
        return standing is not None

    def _timers(self) -> list[str]:
        start = self._start()
        waited = sum(fact.waited_ms for fact in self.facts if isinstance(fact, (InputReceived, *CLOSING)))
        dues: list[int] = []
        if start.limits.timeout_s is not None:
            dues.append(round(start.limits.timeout_s * 1000))
        dues = [fact.until_ms for fact in self._all(DeadlineExtended)][-1:] or dues
        for begun in self._all(PhaseStarted)[-1:]:
            timeout_s = start.agent.phases[begun.index].timeout_s
            if timeout_s is not None:
                dues.append(begun.at_ms + round(timeout_s * 1000))
        timers = [f"deadline:{min(dues) + waited}"] if dues else []
        if start.limits.soft_timeout_s is not None and not self._all(SoftTimeoutReached):
            timers.append(f"soft:{round(start.limits.soft_timeout_s * 1000) + waited}")
        return timers

    def _start(self) -> RunStarted:
        start = self.facts[0]
        assert isinstance(start, RunStarted)
        return start

    def _all(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def _latest(self, *kinds: type) -> Fact | None:
        return next((fact for fact in reversed(self.facts) if isinstance(fact, kinds)), None)


UNITS = {"steps": "steps", "tool_calls": "tool calls", "tokens": "tokens", "cost_usd": "dollars", "seconds": "seconds"}


def expected_transcript(facts: list[Fact]) -> list[Message]:
    """The conversation: a reply, then the answers to all its calls, then what was said before the next step."""
    outcomes: dict[str, tuple[str, bool]] = {}
    for fact in facts:
        match fact:
            case ToolFinished():
                outcomes[fact.call] = fact.result, fact.is_error
            case ToolOutcomeUnknown() | ToolRefused():
                outcomes[fact.call] = fact.reason, True
            case ChildFinished(status="ok"):
                outcomes[fact.call] = fact.output, False
            case ChildFinished():
                told = f"It ended with status {fact.status}. {fact.output}"
                outcomes[fact.call] = told, fact.status != "dry_run"
            case _:
                pass
    messages: list[Message] = []
    heard: list[Message] = []
    for fact in facts:
        match fact:
            case RunStarted():
                messages.append(Message("system", (Text(fact.agent.instructions),)))
                messages.append(Message("user", fact.input))
            case PhaseStarted():
                messages = [Message("system", (Text(fact.instructions),)), Message("user", fact.input)]
            case CallerSteered() | CriticSteered():
                heard.append(Message("user", (Text(fact.text),)))
            case OutputRefused():
                heard.append(Message("user", (Text(fact.reason),)))
            case BudgetNoticed():
                whose = f"phase {fact.phase}" if fact.phase else "this run"
                told = f"{fact.spent:.6g} of {fact.limit:.6g} {UNITS[fact.measure]} ({fact.spent / fact.limit:.0%})"
                text = f"Notice: {whose} has used {told}. Finish within what is left."
                heard.append(Message("user", (Text(text),)))
            case InputReceived():
                heard.append(Message("user", fact.input))
            case StepStarted() | RunFinished():
                messages += heard
                heard = []
            case StepCompleted():
                messages.append(Message("assistant", fact.reply))
                asked = [part for part in fact.reply if isinstance(part, ToolCall)]
                names = [f"{fact.step}.{index}" for index in range(len(asked))]
                if all(name in outcomes for name in names):
                    for call, name in zip(asked, names, strict=True):
                        messages.append(Message("tool", (ToolResult(call.id, call.name, *outcomes[name]),)))
            case _:
                pass
    return messages


def seen(messages: list[Message]) -> None:
    """What every provider asks of the messages it is shown."""
    due: list[str] = []
    for message in messages:
        if message.role == "tool":
            (result,) = message.parts
            assert isinstance(result, ToolResult)
            assert due, "an answer follows its call"
            assert due.pop(0) == result.id, "answers come in the order of their calls"
        else:
            assert not due, "every call is answered before anybody else speaks"
            due = [part.id for part in message.parts if isinstance(part, ToolCall)]
    assert not due, "every call is answered before the model is asked again"
