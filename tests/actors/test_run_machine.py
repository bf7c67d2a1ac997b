"""The whole run machine under random messages: stale, repeated and lost ones, crashes at any point, newer logs.

What must hold is computed here from the facts alone, by code that shares nothing with the folds it checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from run_ledger import Ledger, expected_transcript, seen

from executus.actors.run.decide import Refusal, decide
from executus.actors.run.messages import (
    FROM_PEOPLE,
    AcceptChild,
    AcceptChildWait,
    AcceptGrant,
    AcceptModelFailure,
    AcceptReconciled,
    AcceptRefusal,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApprovalPlan,
    ApproveCall,
    CancelRun,
    ChargeReview,
    ChildPlan,
    DenyCall,
    EndByDeadline,
    EndRun,
    EndWithParent,
    ExpireApproval,
    ExtendRun,
    KillRun,
    LogError,
    LogNote,
    LoseCritic,
    NoteSleep,
    ObserveRun,
    RaiseCeiling,
    ReachSoftTimeout,
    ResumeRun,
    RetryStep,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
    StoreArtifact,
    ToolPlan,
)
from executus.events import (
    ArtifactStored,
    Event,
    Fact,
    Limits,
    Message,
    Opaque,
    PhasePrint,
    RunFinished,
    RunResumed,
    SoftTimeoutReached,
    Text,
    ToolCall,
    Totals,
    Usage,
    tag_of,
)
from executus.events.codec import decode_event, encode_event
from executus.ports import Reply
from executus.projections import (
    AskTool,
    CallModel,
    CallTool,
    Checkpoint,
    Expire,
    RunChild,
    RunState,
    Wake,
    deadline_ms,
    ended,
    fold,
    outstanding,
    soft_timeout_ms,
)
from executus.testing import SPEC_RUN_ID, run_started

REFUSED = (*FROM_PEOPLE, StoreArtifact)
SAID_ONCE_MORE = (
    SteerRun,
    SendInput,
    LogNote,
    LogError,
    ResumeRun,
    ObserveRun,
    ExtendRun,
    RaiseCeiling,
    ChargeReview,
    LoseCritic,
    NoteSleep,
    StoreArtifact,
)
"""Each of these is a new thing every time it is said."""

EFFECTS = st.sampled_from(["pure", "idempotent", "reconcilable", "never_retry", "never_retry"])
STARTED = EFFECTS.map(lambda effect: ToolPlan(effect))  # type: ignore[arg-type]
ASKED = st.builds(
    lambda effect, expires, default: ToolPlan(effect, approval=ApprovalPlan(expires, default)),
    EFFECTS,
    st.sampled_from([None, 50]),
    st.sampled_from(["deny", "grant"]),
)
CHILDREN = st.sampled_from(
    [ToolPlan(child=ChildPlan("child", "agent", Limits(max_tool_calls=calls))) for calls in (None, 1, 4)]
)
PLANS = st.one_of(STARTED, STARTED, ASKED, ASKED, CHILDREN, CHILDREN, st.just(ToolPlan(refusal="no such tool")))
RARELY = st.sampled_from([False] * 5 + [True])
LIMITS = st.builds(
    Limits,
    max_steps=st.sampled_from([9, 3, 2, 1]),
    max_attempts=st.integers(1, 3),
    timeout_s=st.sampled_from([None, 20.0, 1000.0]),
    soft_timeout_s=st.sampled_from([None, None, 5.0]),
    max_tool_calls=st.sampled_from([None, None, 1, 5]),
    max_tokens=st.sampled_from([None, None, 30]),
    max_depth=st.sampled_from([3, 3, 3, 0]),
    raise_steps_to=st.sampled_from([None, 4]),
    extend_to_s=st.sampled_from([None, 25.0]),
    notice_at=st.sampled_from([(), (0.5,), (0.25, 0.75)]),
)
PHASES = st.sampled_from(
    [
        (),
        (),
        (
            PhasePrint(name="plan", instructions="Plan.", max_steps=2, timeout_s=10.0),
            PhasePrint(name="write", instructions="Write.", max_tool_calls=2),
        ),
    ]
)
OPTIONS = st.fixed_dictionaries(
    {
        "limits": LIMITS,
        "phases": PHASES,
        "interactive": st.booleans(),
        "dry_run": RARELY,
        "budgeted": st.sampled_from([False, False, True]),
    }
)
MOODS = st.sampled_from(["willing", "unwilling", "away", "away"])
"""Of the person who is asked."""
AFTER_THE_END = 4
"""How many more messages a run gets after its end, before the next one begins."""

USAGE = st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9), thinking=st.integers(0, 9))
OFTEN_CURRENT = st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1])
"""How far a message is from the step or attempt under way."""


def answers(message: RunMessage) -> str | None:
    """What the world owed that `message` brings, by key."""
    match message:
        case AcceptReply() | AcceptModelFailure():
            return f"model:{message.step}:{message.attempt}"
        case AcceptResult() | AcceptUnknown():
            return f"tool:{message.call}"
        case AcceptReconciled():
            return f"reconcile:{message.call}:{message.attempt}"
        case RetryStep():
            return f"retry:{message.step}:{message.attempt}"
        case AcceptChild():
            return f"child:{message.call}"
        case AcceptGrant() | AcceptRefusal():
            return f"reserve:{message.step}:{message.attempt}"
        case _:
            return None


class RunMachine(RuleBasedStateMachine):
    """A run, its log in commits, its clock, and everything that was ever said to it."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[dict[str, Any]] = []
        self.begin()

    def begin(self) -> None:
        """A run that nothing has happened to."""
        self.commits: list[tuple[int, list[Fact]]] = []
        self.now_ms = 0
        self.said: list[RunMessage] = []
        self.views: list[tuple[Checkpoint, list[Message]]] = []
        self.words = 0
        self.after_the_end = 0
        self.checkpoint = Checkpoint()

    # -------------------------------------------------------------- telling

    @property
    def facts(self) -> list[Fact]:
        return [fact for _, facts in self.commits for fact in facts]

    @property
    def state(self) -> RunState:
        return self.checkpoint.state

    def events(self) -> list[Event]:
        """The log as a journal would give it back: encoded, chained and decoded."""
        events: list[Event] = []
        previous = bytes(32)
        for elapsed_ms, facts in self.commits:
            for fact in facts:
                version = len(events) + 1
                stored = encode_event(
                    fact,
                    run_id=SPEC_RUN_ID,
                    version=version,
                    previous=previous,
                    at_us=0,
                    elapsed_ms=elapsed_ms,
                    cause="",
                    epoch=1,
                )
                previous = stored.event.hash
                event = decode_event(
                    SPEC_RUN_ID, version, stored.event.tag, stored.state, position=version, blob=lambda _: None
                )
                assert event.fact == fact
                events.append(event)
        return events

    def tell(self, message: RunMessage) -> list[Fact]:
        before = self.checkpoint
        awaited = Ledger(self.facts).owed()
        try:
            facts = decide(before.state, message, self.now_ms)
        except Refusal:
            assert isinstance(message, REFUSED), "only people are refused"
            assert not getattr(message, "critic", False), "and critics are not people"
            facts = []
        assert before == self.checkpoint
        if before.state.over:
            assert not [fact for fact in facts if type(fact).__name__ not in ("NoteLogged", "ErrorLogged")]
        key = answers(message)
        if key is not None:
            asked_about = isinstance(message, (AcceptResult, AcceptUnknown)) and any(
                one.call == message.call and one.asking for one in before.state.open_calls
            )  # then its result is taken, if it comes after all
            assert bool(facts) == (key in awaited or asked_about), f"{message} is taken if and only if it is awaited"
        self.said.append(message)
        self.after_the_end += self.state.over or self.state.read_only
        if facts:
            self.commit(facts)
        if not isinstance(message, SAID_ONCE_MORE):
            try:
                again = decide(self.state, message, self.now_ms)
            except Refusal:
                again = []
            assert again == [], f"{message} twice led to more"
        return facts

    def commit(self, facts: list[Fact]) -> None:
        version = self.checkpoint.version
        events = [
            Event(run_id=SPEC_RUN_ID, version=version + n, tag=tag_of(fact), fact=fact, elapsed_ms=self.now_ms)
            for n, fact in enumerate(facts, 1)
        ]
        self.commits.append((self.now_ms, facts))
        self.checkpoint = fold(events, self.checkpoint)
        self.views.append((self.checkpoint, list(self.checkpoint.transcript.messages)))

    def word(self) -> str:
        """Something nobody has said before, so that it can be counted."""
        self.words += 1
        return f"word {self.words}"

    def begin_anew(self) -> None:
        started = run_started("Go.", instructions="Be brief.", **self.options[0])
        self.tell(StartRun(started=started))

    # -------------------------------------------------------------- what happens

    @initialize(options=st.lists(OPTIONS, min_size=3, max_size=3), orders_first=RARELY)
    def start(self, options: list[dict[str, Any]], orders_first: bool) -> None:
        self.options = options
        if orders_first:
            for order in (SteerRun(text="x"), CancelRun(), EndRun(), LogNote(type="x"), LogError(message="x")):
                assert self.tell(order) == [], "nothing may happen before the start"
        self.begin_anew()

    @invariant()
    def a_run_that_is_long_over_makes_room_for_another(self) -> None:
        if self.after_the_end >= AFTER_THE_END:
            self.check_the_whole_log()
            self.begin()
            self.options = [*self.options[1:], self.options[0]]
            self.begin_anew()

    @rule(
        calls=st.sampled_from([0, 0, 1, 2, 2, 3]).flatmap(lambda size: st.lists(PLANS, min_size=size, max_size=size)),
        stop=st.sampled_from(["stop", "stop", "stop", "length", "refusal", "content_filter"]),
        usage=USAGE,
        step_off=OFTEN_CURRENT,
        attempt_off=OFTEN_CURRENT,
        silent=st.booleans(),
        fits=st.sampled_from([True, True, True, False]),
    )
    def model_answers(
        self, calls: list[ToolPlan], stop: Any, usage: Usage, step_off: int, attempt_off: int, silent: bool, fits: bool
    ) -> None:
        parts: list[Any] = [] if silent else [Text(self.word())]
        parts += [ToolCall(f"id{index}", f"tool{index}") for index in range(len(calls))]
        self.tell(
            AcceptReply(
                step=self.state.step + step_off,
                attempt=self.state.attempt + attempt_off,
                reply=Reply(tuple(parts), usage, "tool_calls" if calls else stop),
                plans=tuple(calls),
                misfit=None if fits else self.word(),
            )
        )

    @rule(times=st.integers(2, 6), plans=st.lists(PLANS, min_size=1, max_size=3), mood=MOODS)
    def the_world_does_its_part(self, times: int, plans: list[ToolPlan], mood: str) -> None:
        """What is owed comes in time, one after the other, and so do a person's answers, unless they are away."""
        for number in range(times):
            state = self.state
            owed = [one for one in outstanding(state) if not isinstance(one, (Wake, Expire))]
            if state.doing == "backoff" and not state.governed.budgeted:
                self.go_on(state.step, state.attempt)
            elif owed:
                self.answer(owed[number % len(owed)], plans[: number % (len(plans) + 1)])
            elif state.governed.approvals:
                self.answer_request(state.governed.approvals[-1].call, mood)
            elif mood != "away" and state.interactive:
                self.tell(SendInput(input=(Text(self.word()),)))

    def answer(self, owed: Any, plans: list[ToolPlan]) -> None:
        """One thing that is owed, given as it was asked for."""
        match owed:
            case CallModel():
                calls = [ToolCall(f"id{index}", f"tool{index}") for index in range(len(plans))]
                reply = Reply((Text(self.word()), *calls), Usage(2, 1), "tool_calls" if calls else "stop")
                self.tell(AcceptReply(step=owed.step, attempt=owed.attempt, reply=reply, plans=tuple(plans)))
            case CallTool():
                self.tell(AcceptResult(call=owed.call.call, text=self.word()))
            case AskTool():
                call = owed.call
                happened = call.asked % 2 == 0
                self.tell(AcceptReconciled(call=call.call, attempt=call.asked, happened=happened, text=self.word()))
            case RunChild():
                child = owed.child
                spent = Totals(tool_calls=child.limits.max_tool_calls or 0)
                output = self.word()
                self.tell(AcceptChild(call=child.call, run_id=child.run_id, status="ok", output=output, spent=spent))
            case _:
                self.tell(AcceptGrant(step=owed.step, attempt=owed.attempt, tokens=9))

    @rule(
        final=RARELY,
        retry_after_s=st.sampled_from([None, 0.0, 5.0]),
        jitter=st.floats(0, 1, exclude_max=True),
        attempt_off=OFTEN_CURRENT,
    )
    def model_fails(self, final: bool, retry_after_s: float | None, jitter: float, attempt_off: int) -> None:
        self.tell(
            AcceptModelFailure(
                step=self.state.step,
                attempt=self.state.attempt + attempt_off,
                error="busy",
                final=final,
                retry_after_s=retry_after_s,
                jitter=jitter,
            )
        )

    @precondition(lambda self: self.state.step > 0)
    @rule(step_off=OFTEN_CURRENT, index=st.integers(0, 3), unknown=st.booleans(), is_error=st.booleans())
    def tool_answers(self, step_off: int, index: int, unknown: bool, is_error: bool) -> None:
        call = f"{self.state.step + step_off}.{index}"
        if unknown:
            self.tell(AcceptUnknown(call=call, reason=self.word()))
        else:
            self.tell(AcceptResult(call=call, text=self.word(), is_error=is_error))

    @precondition(lambda self: self.state.open_calls)
    @rule(pick=st.integers(0, 9))
    def open_tool_answers(self, pick: int) -> None:
        calls = self.state.open_calls
        self.tell(AcceptResult(call=calls[pick % len(calls)].call, text=self.word()))

    @precondition(lambda self: any(call.asked for call in self.state.open_calls))
    @rule(pick=st.integers(0, 9), attempt_off=OFTEN_CURRENT, said=st.sampled_from(["yes", "no", "no", "dunno"]))
    def asked_tool_answers(self, pick: int, attempt_off: int, said: str) -> None:
        calls = [call for call in self.state.open_calls if call.asked]
        call = calls[pick % len(calls)]
        self.tell(
            AcceptReconciled(
                call=call.call,
                attempt=call.asked + attempt_off,
                happened=said == "yes",
                text=self.word(),
                unknown="nobody knows" if said == "dunno" else None,
            )
        )

    @rule(times=st.integers(1, 3))
    def model_stays_down(self, times: int) -> None:
        for _ in range(times):
            step, attempt = self.state.step, self.state.attempt
            self.tell(AcceptModelFailure(step=step, attempt=attempt, error="down"))
            self.go_on(step, attempt)

    @rule(turns=st.integers(1, 3), thought_ms=st.sampled_from([0, 700]), early=st.booleans())
    def people_talk(self, turns: int, thought_ms: int, early: bool) -> None:
        for _ in range(turns):
            if early:
                self.tell(SteerRun(text=self.word(), by="bob"))
            reply = Reply((Text(self.word()),))
            self.tell(AcceptReply(step=self.state.step, attempt=self.state.attempt, reply=reply))
            self.now_ms += thought_ms
            self.tell(SendInput(input=(Text(self.word()),), by="bob"))

    @rule(attempt_off=OFTEN_CURRENT)
    def pause_is_over(self, attempt_off: int) -> None:
        self.go_on(self.state.step, self.state.attempt + attempt_off)

    def go_on(self, step: int, attempt: int) -> None:
        """After a pause: by a timer, or by the caller's budget."""
        if self.state.governed.budgeted:
            self.tell(AcceptGrant(step=step, attempt=attempt + 1))
        else:
            self.tell(RetryStep(step=step, attempt=attempt))

    @precondition(lambda self: self.state.governed.budgeted)
    @rule(step_off=OFTEN_CURRENT, room=st.sampled_from([True] * 9 + [False]))
    def budget_answers(self, step_off: int, room: bool) -> None:
        step = self.state.step + 1 + step_off
        if room:
            self.tell(AcceptGrant(step=step, attempt=1, tokens=9))
        else:
            self.tell(AcceptRefusal(step=step, attempt=1, measure="tokens", limit=9, spent=9, window="day"))

    @precondition(lambda self: self.state.governed.children)
    @rule(pick=st.integers(0, 9), status=st.sampled_from(["ok", "error", "killed", "dry_run"]), spent=st.integers(0, 9))
    def child_is_over(self, pick: int, status: Any, spent: int) -> None:
        children = self.state.governed.children
        child = children[pick % len(children)]
        most = child.limits.max_tool_calls
        totals = Totals(tool_calls=spent if most is None else min(spent, most), tokens=spent)
        output = self.word()
        self.tell(AcceptChild(call=child.call, run_id=child.run_id, status=status, output=output, spent=totals))

    @precondition(lambda self: self.state.governed.children)
    @rule(pick=st.integers(0, 9), waits=st.booleans(), every=st.booleans())
    def child_waits(self, pick: int, waits: bool, every: bool) -> None:
        children = self.state.governed.children
        for child in children if every else [children[pick % len(children)]]:
            self.tell(AcceptChildWait(call=child.call, run_id=child.run_id, waits=waits))

    @precondition(lambda self: self.state.governed.approvals)
    @rule(pick=st.integers(0, 9), mood=MOODS)
    def person_answers(self, pick: int, mood: str) -> None:
        approvals = self.state.governed.approvals
        self.answer_request(approvals[pick % len(approvals)].call, mood)

    def answer_request(self, call: str, mood: str) -> None:
        if mood == "away":
            assert self.tell(ExpireApproval(call=call, now_us=49)) == [], "nothing expires before its time"
            self.tell(ExpireApproval(call=call, now_us=50))
        elif mood == "willing":
            self.tell(ApproveCall(call=call, by="alice"))
        else:
            self.tell(DenyCall(call=call, by="alice", reason="no"))

    @rule(
        order=st.sampled_from(["steer", "observe", "extend", "raise", "charge", "lose"]),
        size=st.integers(1, 40),
        critic=st.booleans(),
    )
    def supervision_speaks(self, order: str, size: int, critic: bool) -> None:
        by = "critic" if critic else "ops"
        messages: dict[str, RunMessage] = {
            "steer": SteerRun(text=self.word(), by=by, critic=critic),
            "observe": ObserveRun(text="hm"),
            "extend": ExtendRun(seconds=float(size), by=by, critic=critic),
            "raise": RaiseCeiling(limit="steps", more=size, by=by, critic=critic),
            "charge": ChargeReview(usage=Usage(size, size)),
            "lose": LoseCritic(reason="it raised"),
        }
        self.tell(messages[order])

    @rule(critic=st.booleans(), sure=RARELY)
    def supervision_kills(self, critic: bool, sure: bool) -> None:
        if sure:
            was_over, was_read_only = self.state.over, self.state.read_only
            self.tell(KillRun(reason="enough", by="critic" if critic else "ops", critic=critic))
            assert was_over or was_read_only or self.state.status == "killed"

    @rule(status=st.sampled_from(["killed", "timeout", "ok"]), sure=st.sampled_from([False] * 11 + [True]))
    def parent_is_over(self, status: Any, sure: bool) -> None:
        if sure:
            self.tell(EndWithParent(status=status))

    @rule(what=st.sampled_from(["error", "note", "sleep", "artifact"]))
    def host_reports(self, what: str) -> None:
        artifact = ArtifactStored(sha256="0f", name="x", media_type="text/plain", size=1)
        messages: dict[str, RunMessage] = {
            "error": LogError(message="oh"),
            "note": LogNote(type="host", payload={"n": 1}),
            "sleep": NoteSleep(slept_s=9.0),
            "artifact": StoreArtifact(artifact=artifact),
        }
        self.tell(messages[what])

    @rule(ms=st.sampled_from([0, 1, 300, 5_000, 30_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def alarm(self) -> None:
        due = deadline_ms(self.state)
        works = not self.state.over and self.state.doing != "waiting" and not self.state.read_only
        facts = self.tell(EndByDeadline(at_ms=due or 0))
        late = due is not None and works and self.now_ms >= due
        assert bool(facts) == late
        if late:
            assert self.state.status == "timeout"

    @rule()
    def soft_alarm(self) -> None:
        works = not self.state.over and self.state.doing != "waiting" and not self.state.read_only
        due = soft_timeout_ms(self.state)
        facts = self.tell(ReachSoftTimeout(at_ms=due or 0))
        late = due is not None and works and self.now_ms >= due
        assert facts == ([SoftTimeoutReached(at_ms=due or 0)] if late else [])

    @rule(thought_ms=st.sampled_from([0, 700]))
    def person_sends(self, thought_ms: int) -> None:
        self.now_ms += thought_ms
        self.tell(SendInput(input=(Text(self.word()),), by="alice"))

    @rule(last_words=st.booleans(), sure=RARELY)
    def person_ends(self, last_words: bool, sure: bool) -> None:
        if sure:
            self.tell(EndRun(input=(Text(self.word()),) if last_words else (), by="alice"))

    @rule(sure=RARELY)
    def person_cancels(self, sure: bool) -> None:
        if sure:
            was_over, was_read_only = self.state.over, self.state.read_only
            self.tell(CancelRun(by="alice", reason="enough"))
            assert was_over or was_read_only or self.state.status == "cancelled"

    @rule(keep=st.lists(st.booleans(), min_size=4, max_size=4))
    def host_resumes(self, keep: list[bool]) -> None:
        self.resume(keep)

    @rule(lost=st.integers(1, 3), keep=st.lists(st.booleans(), min_size=4, max_size=4))
    def host_crashes(self, lost: int, keep: list[bool]) -> None:
        """The newest commits were never stored; whatever was said because of them may still arrive later."""
        del self.commits[max(1, len(self.commits) - lost) :]
        self.now_ms = self.commits[-1][0]
        self.views.clear()
        self.checkpoint = fold(self.events())
        self.resume(keep)

    def resume(self, keep: list[bool]) -> None:
        owed = [one.key for one in outstanding(self.state)]
        in_flight = frozenset(key for key, kept in zip(owed, keep, strict=False) if kept)
        open_before = {f"tool:{call.call}": call for call in self.state.open_calls}
        facts = self.tell(ResumeRun(epoch=2, reason="again", in_flight=in_flight))
        if facts:
            assert isinstance(facts[0], RunResumed)
            owed = [one.key for one in outstanding(self.state)]
            for key, call in open_before.items():
                may_run_again = call.effect in ("pure", "idempotent") or key in in_flight
                assert (key in owed) == may_run_again
                asked = call.asking or (call.effect == "reconcilable" and not may_run_again)
                assert asked == any(one.startswith(f"reconcile:{call.call}:") for one in owed)

    @precondition(lambda self: self.said)
    @rule(pick=st.integers(0, 1_000))
    def old_message_arrives_again(self, pick: int) -> None:
        message = self.said[pick % len(self.said)]
        if not isinstance(message, ResumeRun):  # those come from the supervisor alone, once
            self.tell(message)

    @rule(sure=st.sampled_from([False] * 14 + [True]))
    def newer_version_wrote_something(self, sure: bool) -> None:
        if sure and not self.state.over:
            self.commit([Opaque(tag="run-teleported", schema=1, payload=b"\x81\xa1x\x01")])

    # -------------------------------------------------------------- what always holds

    @invariant()
    def the_log_obeys_the_rules(self) -> None:
        Ledger(self.facts).check()

    @invariant()
    def what_is_owed_follows_from_the_log(self) -> None:
        owed = [one.key for one in outstanding(self.state)]
        assert len(owed) == len(set(owed))
        assert sorted(owed) == sorted(Ledger(self.facts).owed())

    @invariant()
    def the_transcript_is_what_was_said(self) -> None:
        messages = list(self.checkpoint.transcript.messages)
        assert messages == expected_transcript(self.facts)
        if any(one.key.startswith("model:") for one in outstanding(self.state)):
            seen(messages)

    @invariant()
    def the_end_tells_what_happened(self) -> None:
        ends = [fact for fact in self.facts if isinstance(fact, RunFinished)]
        assert ended(self.state) == (ends[0] if ends else None)

    @invariant()
    def older_views_stay_as_they_were(self) -> None:
        for view, messages in self.views[-8:]:
            assert list(view.transcript.messages) == messages

    def teardown(self) -> None:
        self.check_the_whole_log()

    def check_the_whole_log(self) -> None:
        events = self.events()
        whole = fold(events)
        assert (whole.state, whole.transcript) == (self.checkpoint.state, self.checkpoint.transcript)
        for cut in range(len(events) + 1):
            assert fold(events[cut:], fold(events[:cut])) == whole


RunMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class TestEveryLifeOfARun(RunMachine.TestCase):  # type: ignore[name-defined,misc]
    """Hypothesis looks for a life that breaks a rule."""

    runTest: Callable[[], None]
