"""A second opinion on a run's log: its rules, what is owed and what was said, read off the list of facts alone."""

from __future__ import annotations

from executus.events import (
    BudgetNoticed,
    CallerSteered,
    CancelRequested,
    ErrorLogged,
    Fact,
    InputAwaited,
    InputReceived,
    Message,
    NoteLogged,
    Opaque,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolResult,
    ToolStarted,
)
from executus.projections.transcript import notice_text


class Ledger:
    """Keeps count of a list of facts, in their order."""

    def __init__(self, facts: list[Fact]) -> None:
        self.facts = facts
        self.steps: list[StepStarted] = [fact for fact in facts if isinstance(fact, StepStarted)]
        self.completed = [fact for fact in facts if isinstance(fact, StepCompleted)]
        self.started = [fact.call for fact in facts if isinstance(fact, ToolStarted)]
        self.refused = [fact.call for fact in facts if isinstance(fact, ToolRefused)]
        self.closed = [fact.call for fact in facts if isinstance(fact, (ToolFinished, ToolOutcomeUnknown))]
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
        self.check_limits()

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
        assert not set(self.started) & set(self.refused)
        open_calls: set[str] = set()
        for index, fact in enumerate(self.facts):
            match fact:
                case StepCompleted():
                    asked = [part for part in fact.reply if isinstance(part, ToolCall)]
                    answered = self.facts[index + 1 : index + 1 + len(asked)]
                    for number, (call, told) in enumerate(zip(asked, answered, strict=True)):
                        assert isinstance(told, (ToolStarted, ToolRefused)), "each call is taken up in the same commit"
                        assert (told.call, told.name) == (f"{fact.step}.{number}", call.name)
                case ToolStarted():
                    open_calls.add(fact.call)
                case ToolFinished() | ToolOutcomeUnknown():
                    open_calls.remove(fact.call)
                case StepStarted():
                    assert not open_calls, "every call is answered before the model is asked again"
                case _:
                    pass

    def check_limits(self) -> None:
        start = self.facts[0]
        assert isinstance(start, RunStarted)
        step = since = failures = 0
        for fact in self.facts:
            match fact:
                case InputReceived():
                    since = step
                case StepStarted():
                    if fact.step != step:
                        failures = 0
                    step = fact.step
                    assert step - since <= start.limits.max_steps, "the ceiling holds"
                case StepFailed():
                    failures += fact.kind != "interrupted"
                    assert failures <= start.limits.max_attempts, "attempts are counted"
                    if fact.kind == "unavailable" and fact.retry_at_ms is None:
                        assert failures == start.limits.max_attempts, "no attempt is given away"
                case _:
                    pass

    def check_the_end(self) -> None:
        end = self.facts[self.ends[0]]
        assert isinstance(end, RunFinished)
        said = ["".join(part.text for part in fact.reply if isinstance(part, Text)) for fact in self.completed]
        stats = end.stats
        assert stats.output == next((text for text in reversed(said) if text), "")
        assert stats.steps == len({fact.step for fact in self.steps})
        assert stats.tool_calls == len(self.started)
        assert stats.input_tokens == sum(fact.usage.input for fact in self.completed)
        assert stats.output_tokens == sum(fact.usage.output for fact in self.completed)
        assert stats.thinking_tokens == sum(fact.usage.thinking for fact in self.completed)
        assert (stats.status == "error") == bool(stats.error)
        assert end.by
        if end.by == "model" and stats.status in ("ok", "dry_run"):
            spoken = self._latest(StepStarted, CallerSteered, InputReceived)
            assert isinstance(spoken, StepStarted), "nobody's words are left unread"
        before = self.facts[self.ends[0] - 1]
        assert (stats.status == "cancelled") == isinstance(before, CancelRequested)

    def owed(self) -> list[str]:
        """What the world owes after the last fact, by key."""
        if not self.facts or self.ends or any(isinstance(fact, Opaque) for fact in self.facts):
            return []
        start = self.facts[0]
        assert isinstance(start, RunStarted)
        waits = isinstance(self._latest(StepStarted, InputAwaited), InputAwaited)
        if waits:
            return []
        owed = [f"tool:{call}" for call in self.started if call not in self.closed]
        latest = self._latest(StepStarted, StepCompleted, StepFailed)
        if isinstance(latest, StepStarted):
            owed.append(f"model:{latest.step}:{latest.attempt}")
        elif isinstance(latest, StepFailed):
            owed.append(f"retry:{latest.step}:{latest.attempt}")
        assert owed, "a run that is not over and waits for nobody is owed something"
        if start.limits.timeout_s is not None:
            waited = sum(fact.waited_ms for fact in self.facts if isinstance(fact, InputReceived))
            owed.append(f"deadline:{round(start.limits.timeout_s * 1000) + waited}")
        return owed

    def _latest(self, *kinds: type) -> Fact | None:
        return next((fact for fact in reversed(self.facts) if isinstance(fact, kinds)), None)


def expected_transcript(facts: list[Fact]) -> list[Message]:
    """The conversation: a reply, then the answers to all its calls, then what people said before the next step."""
    outcomes: dict[str, tuple[str, bool]] = {}
    for fact in facts:
        match fact:
            case ToolFinished():
                outcomes[fact.call] = fact.result, fact.is_error
            case ToolOutcomeUnknown() | ToolRefused():
                outcomes[fact.call] = fact.reason, True
            case _:
                pass
    messages: list[Message] = []
    heard: list[Message] = []
    for fact in facts:
        match fact:
            case RunStarted():
                messages.append(Message("system", (Text(fact.agent.instructions),)))
                messages.append(Message("user", fact.input))
            case CallerSteered():
                heard.append(Message("user", (Text(fact.text),)))
            case BudgetNoticed():
                heard.append(Message("user", (Text(notice_text(fact)),)))
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
