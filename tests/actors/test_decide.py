"""What a run does about each message: what it yields, what stops it, what it ignores."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace
from run_specs import CALL, PAY, after_steps, completed, reply

from executus.actors.run.decide import FIRST_BACKOFF_S, LAST_BACKOFF_S
from executus.actors.run.messages import (
    FROM_PEOPLE,
    AcceptChild,
    AcceptChildWait,
    AcceptGrant,
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptRefusal,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApproveCall,
    BeginRun,
    CancelRun,
    ChargeReview,
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
    CallerSteered,
    CancelRequested,
    ErrorLogged,
    InputAwaited,
    InputReceived,
    NoteLogged,
    Opaque,
    RunFinished,
    RunResumed,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolRefused,
    ToolStarted,
    Usage,
)
from executus.ports import Reply
from executus.testing import RunSpec, run_started

NEW = RunSpec()
ASKED = NEW.given(run_started(max_steps=3, timeout_s=60.0), StepStarted(step=1))
"""A model call is owed."""
WORKING = ASKED.given(
    StepCompleted(step=1, reply=(CALL, PAY), stop="tool_calls"),
    ToolStarted(call="1.0", name="look", effect="pure"),
    ToolStarted(call="1.1", name="pay", effect="never_retry"),
)
"""Two tools are under way."""
BACKOFF = ASKED.given(StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=700))
CHAT = NEW.given(run_started(max_steps=2, timeout_s=60.0, interactive=True), StepStarted(step=1))
WAITING = CHAT.given(StepCompleted(step=1, reply=(Text("Yes?"),)), InputAwaited(since_ms=500))
OVER = WORKING.given(RunFinished(stats=RunStats(status="ok", steps=1, tool_calls=2), by="model"))
NEWER = WORKING.given(Opaque(tag="run-teleported", schema=1, payload=b"\x80"))
EVERYWHERE = [ASKED, WORKING, BACKOFF, CHAT, WAITING]


# ------------------------------------------------------------------ StartRun


def test_a_start_admits_the_run_and_begins_its_first_step() -> None:
    started = run_started(timeout_s=60.0)
    NEW.when(StartRun(started=started)).then(started, StepStarted(step=1)).owes("model:1:1", "deadline:60000")


@pytest.mark.parametrize("run", [*EVERYWHERE, OVER])
def test_a_start_of_a_started_run_changes_nothing(run: RunSpec) -> None:
    run.when(StartRun(started=run_started())).then_nothing()


# ------------------------------------------------------------------ AcceptReply


def test_a_reply_without_calls_finishes_the_run() -> None:
    ASKED.when(reply(Text("Done.")), now_ms=1500).then(
        completed(Text("Done.")), RunFinished(stats=after_steps(1, output="Done.", runtime_s=1.5), by="model")
    ).owes()


def test_a_reply_with_calls_starts_each_of_them_in_the_same_commit() -> None:
    plans = (ToolPlan("pure"), ToolPlan("never_retry"))
    ASKED.when(reply(CALL, PAY, plans=plans)).then(
        completed(CALL, PAY),
        ToolStarted(call="1.0", name="look", effect="pure"),
        ToolStarted(call="1.1", name="pay", effect="never_retry"),
    ).owes("tool:1.0", "tool:1.1", "deadline:60000")


def test_a_call_that_cannot_be_started_is_refused_and_the_others_go_on() -> None:
    plans = (ToolPlan(refusal="there is no tool named 'look'"), ToolPlan("idempotent"))
    ASKED.when(reply(CALL, PAY, plans=plans)).then(
        completed(CALL, PAY),
        ToolRefused(call="1.0", name="look", reason="there is no tool named 'look'"),
        ToolStarted(call="1.1", name="pay", effect="idempotent"),
    ).owes("tool:1.1", "deadline:60000")


def test_a_reply_whose_calls_are_all_refused_leads_to_the_next_step_at_once() -> None:
    ASKED.when(reply(CALL, plans=(ToolPlan(refusal="no"),))).then(
        completed(CALL), ToolRefused(call="1.0", name="look", reason="no"), StepStarted(step=2)
    )


def test_a_dry_run_executes_no_tool_and_ends_as_a_dry_run() -> None:
    dry = NEW.given(run_started(dry_run=True), StepStarted(step=1))
    after = dry.when(reply(CALL, plans=(ToolPlan("pure"),))).then(
        completed(CALL),
        ToolRefused(call="1.0", name="look", reason="dry run: the tool was not executed"),
        StepStarted(step=2),
    )
    after.when(reply(Text("Would."), step=2)).then(
        completed(Text("Would."), step=2),
        RunFinished(
            stats=RunStats(
                status="dry_run", output="Would.", steps=2, input_tokens=10, output_tokens=6, thinking_tokens=2
            ),
            by="model",
        ),
    )


@pytest.mark.parametrize("stop", ["content_filter", "refusal"])
def test_a_reply_that_the_provider_cut_off_is_an_error(stop: str) -> None:
    facts = ASKED.when(AcceptReply(step=1, attempt=1, reply=Reply((), stop=stop))).facts  # type: ignore[arg-type]
    assert isinstance(facts[-1], RunFinished)
    assert (facts[-1].status, facts[-1].stats.error) == ("error", f"the model stopped with {stop}")


def test_a_reply_that_ran_out_of_tokens_finishes_the_run_and_says_so() -> None:
    facts = ASKED.when(AcceptReply(step=1, attempt=1, reply=Reply((Text("So lo"),), stop="length"))).facts
    assert isinstance(facts[-1], RunFinished)
    assert (facts[-1].status, facts[-1].reason) == ("ok", "the model stopped with length")


def test_advice_given_while_the_model_spoke_is_read_before_the_run_ends() -> None:
    ASKED.given(CallerSteered(text="Wait!")).when(reply(Text("Done."))).then(
        completed(Text("Done.")), StepStarted(step=2)
    )


def test_an_interactive_run_waits_instead_of_ending() -> None:
    CHAT.when(reply(Text("Yes?")), now_ms=500).then(completed(Text("Yes?")), InputAwaited(since_ms=500)).owes()


@pytest.mark.parametrize(
    "late", [reply(Text("x"), step=2), reply(Text("x"), attempt=2), reply(Text("x"), step=0)], ids=repr
)
def test_an_answer_to_another_call_is_ignored(late: AcceptReply) -> None:
    ASKED.when(late).then_nothing()


@pytest.mark.parametrize("run", [NEW, WORKING, BACKOFF, WAITING, OVER])
def test_an_answer_that_nobody_waits_for_is_ignored(run: RunSpec) -> None:
    run.when(reply(Text("x"))).then_nothing()


# ------------------------------------------------------------------ AcceptModelFailure


def failed(**rest: object) -> AcceptModelFailure:
    return AcceptModelFailure(**{"step": 1, "attempt": 1, "error": "busy", **rest})  # type: ignore[arg-type]


def test_a_failure_that_may_pass_is_tried_again_after_a_pause() -> None:
    pause_ms = round(FIRST_BACKOFF_S * 500)  # without jitter, half of it
    ASKED.when(failed(), now_ms=100).then(
        StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=100 + pause_ms)
    ).owes("retry:1:1", "deadline:60000")


def test_the_provider_may_name_the_pause() -> None:
    ASKED.when(failed(retry_after_s=7.0), now_ms=100).then(
        StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=7100)
    )


def test_pauses_double_up_to_a_limit() -> None:
    run = NEW.given(run_started(max_attempts=20), StepStarted(step=1))
    pauses = []
    for attempt in range(1, 15):
        (fact,) = run.when(failed(attempt=attempt, jitter=0.999999)).facts
        assert isinstance(fact, StepFailed)
        pauses.append(fact.retry_at_ms)
        run = run.given(fact, StepStarted(step=1, attempt=attempt + 1))
    full = [round(min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2**n) * 1000) for n in range(14)]
    assert pauses == full


def test_a_final_failure_ends_the_run() -> None:
    ASKED.when(failed(final=True, error="bad key"), now_ms=100).then(
        StepFailed(step=1, attempt=1, error="bad key", kind="refused"),
        RunFinished(
            stats=RunStats(status="error", error="bad key", steps=1, runtime_s=0.1), by="model", reason="bad key"
        ),
    )


def test_the_last_attempt_ends_the_run() -> None:
    run = NEW.given(run_started(max_attempts=1), StepStarted(step=1))
    why = "busy"
    run.when(failed()).then(
        StepFailed(step=1, attempt=1, error="busy", kind="unavailable"),
        RunFinished(stats=RunStats(status="error", error=why, steps=1), by="model", reason=why),
    )


def test_an_attempt_that_a_crash_interrupted_does_not_count_against_the_limit() -> None:
    run = NEW.given(
        run_started(max_attempts=2),
        StepStarted(step=1),
        StepFailed(step=1, attempt=1, error="gone", kind="interrupted", retry_at_ms=0),
        StepStarted(step=1, attempt=2),
    )
    (fact,) = run.when(failed(attempt=2)).facts
    assert isinstance(fact, StepFailed)
    assert fact.retry_at_ms is not None


@pytest.mark.parametrize("run", [NEW, WORKING, BACKOFF, WAITING, OVER])
def test_a_failure_that_nobody_waits_for_is_ignored(run: RunSpec) -> None:
    run.when(failed()).then_nothing()


# ------------------------------------------------------------------ RetryStep


def test_after_the_pause_the_step_is_tried_again() -> None:
    BACKOFF.when(RetryStep(step=1, attempt=1)).then(StepStarted(step=1, attempt=2)).owes("model:1:2", "deadline:60000")


@pytest.mark.parametrize("run", [NEW, ASKED, WORKING, WAITING, OVER, BACKOFF.given(StepStarted(step=1, attempt=2))])
def test_a_pause_that_is_no_longer_awaited_is_ignored(run: RunSpec) -> None:
    run.when(RetryStep(step=1, attempt=1)).then_nothing()


def test_the_pause_of_another_attempt_is_ignored() -> None:
    BACKOFF.when(RetryStep(step=1, attempt=2)).then_nothing()


# ------------------------------------------------------------------ AcceptResult, AcceptUnknown


def test_a_result_is_kept_and_the_others_are_awaited() -> None:
    WORKING.when(AcceptResult(call="1.1", text="paid", took_ms=4)).then(
        ToolFinished(call="1.1", result="paid", took_ms=4)
    ).owes("tool:1.0", "deadline:60000")


def test_the_last_outcome_leads_to_the_next_step() -> None:
    WORKING.when(AcceptUnknown(call="1.1", reason="gave up")).then(
        ToolOutcomeUnknown(call="1.1", reason="gave up")
    ).when(AcceptResult(call="1.0", text="boom", is_error=True)).then(
        ToolFinished(call="1.0", result="boom", is_error=True), StepStarted(step=2)
    )


def test_at_the_ceiling_the_last_outcome_ends_the_run() -> None:
    run = NEW.given(
        run_started(max_steps=1),
        StepStarted(step=1),
        completed(Text("Let me look."), CALL),
        ToolStarted(call="1.0", name="look"),
    )
    why = "the ceiling of 1 steps is reached"
    stats = after_steps(1, status="error", error=why, output="Let me look.", tool_calls=1)
    run.when(AcceptResult(call="1.0", text="seen")).then(
        ToolFinished(call="1.0", result="seen"), RunFinished(stats=stats, by="ceiling", reason=why)
    )


@pytest.mark.parametrize("message", [AcceptResult(call="1.0", text="x"), AcceptUnknown(call="1.0", reason="x")])
@pytest.mark.parametrize(
    "run", [NEW, ASKED, BACKOFF, WAITING, OVER, WORKING.given(ToolFinished(call="1.0", result=""))]
)
def test_a_second_outcome_of_a_call_is_ignored(run: RunSpec, message: RunMessage) -> None:
    run.when(message).then_nothing()


def test_the_outcome_of_a_call_that_was_refused_is_ignored() -> None:
    run = ASKED.given(
        completed(CALL, PAY), ToolRefused(call="1.0", name="look", reason=""), ToolStarted(call="1.1", name="pay")
    )
    run.when(AcceptResult(call="1.0", text="x")).then_nothing()


# ------------------------------------------------------------------ ResumeRun

RESUME = ResumeRun(epoch=2, reason="a new host took over")
RESUMED = RunResumed(reason="a new host took over", epoch=2)


def test_a_resumed_run_asks_the_model_again() -> None:
    ASKED.when(RESUME, now_ms=900).then(
        RESUMED,
        StepFailed(
            step=1,
            attempt=1,
            error="the host stopped before the answer was stored",
            kind="interrupted",
            retry_at_ms=900,
        ),
        StepStarted(step=1, attempt=2),
    ).owes("model:1:2", "deadline:60000")


def test_a_resumed_run_waits_for_an_answer_that_is_still_on_its_way() -> None:
    ASKED.when(replace(RESUME, in_flight=frozenset({"model:1:1"}))).then(RESUMED).owes("model:1:1", "deadline:60000")


def test_a_resumed_run_runs_safe_tools_again_and_calls_the_others_unknown() -> None:
    facts = WORKING.when(RESUME).facts
    assert [type(fact) for fact in facts] == [RunResumed, ToolOutcomeUnknown]
    assert isinstance(facts[1], ToolOutcomeUnknown)
    assert facts[1].call == "1.1"
    WORKING.given(*facts).owes("tool:1.0", "deadline:60000")


def test_when_no_call_may_be_run_again_the_next_step_begins() -> None:
    run = ASKED.given(completed(CALL), ToolStarted(call="1.0", name="look", effect="never_retry"))
    facts = run.when(RESUME).facts
    assert [type(fact) for fact in facts] == [RunResumed, ToolOutcomeUnknown, StepStarted]


@pytest.mark.parametrize("effect", ["pure", "idempotent"])
def test_a_safe_call_stays_owed_when_a_run_is_resumed(effect: str) -> None:
    run = ASKED.given(completed(CALL), ToolStarted(call="1.0", name="look", effect=effect))  # type: ignore[arg-type]
    run.when(RESUME).then(RESUMED).owes("tool:1.0", "deadline:60000")


def test_a_tool_that_still_runs_is_not_called_unknown() -> None:
    WORKING.when(replace(RESUME, in_flight=frozenset({"tool:1.1"}))).then(RESUMED)


@pytest.mark.parametrize("run", [BACKOFF, WAITING])
def test_a_run_that_waits_goes_on_waiting_when_it_is_resumed(run: RunSpec) -> None:
    run.when(RESUME).then(RESUMED)


def test_a_run_whose_next_step_was_never_stored_takes_it_when_it_is_resumed() -> None:
    WORKING.given(ToolFinished(call="1.0", result=""), ToolFinished(call="1.1", result="")).when(RESUME).then(
        RESUMED, StepStarted(step=2)
    )


@pytest.mark.parametrize("run", [NEW, OVER])
def test_there_is_nothing_to_resume_before_the_start_and_after_the_end(run: RunSpec) -> None:
    run.when(RESUME).then_nothing()


# ------------------------------------------------------------------ EndByDeadline


@pytest.mark.parametrize("run", [ASKED, WORKING, BACKOFF, CHAT])
def test_the_deadline_ends_a_run_and_keeps_what_it_has(run: RunSpec) -> None:
    facts = run.when(EndByDeadline(at_ms=60_000), now_ms=60_000).facts
    assert [type(fact) for fact in facts] == [RunFinished]
    assert isinstance(facts[0], RunFinished)
    assert (facts[0].status, facts[0].by, facts[0].reason) == ("timeout", "deadline", "the deadline of 60 s is over")
    assert facts[0].stats.tool_calls == run.state.tool_calls
    run.given(*facts).owes()


def test_an_early_alarm_is_ignored() -> None:
    ASKED.when(EndByDeadline(at_ms=60_000), now_ms=59_999).then_nothing()


def test_waiting_for_a_person_moves_the_deadline() -> None:
    run = WAITING.when(SendInput(input=(Text("Hm."),)), now_ms=30_500).then(
        InputReceived(input=(Text("Hm."),), waited_ms=30_000), StepStarted(step=2)
    )
    run.owes("model:2:1", "deadline:90000")
    run.when(EndByDeadline(at_ms=60_000), now_ms=60_000).then_nothing()


@pytest.mark.parametrize("run", [NEW, WAITING, OVER, NEW.given(run_started(), StepStarted(step=1))])
def test_a_run_without_work_or_without_a_deadline_ignores_the_alarm(run: RunSpec) -> None:
    run.when(EndByDeadline(at_ms=60_000), now_ms=1 << 40).then_nothing()


# ------------------------------------------------------------------ people


@pytest.mark.parametrize("run", [ASKED, WORKING, BACKOFF, CHAT])
def test_advice_is_kept_for_the_next_step(run: RunSpec) -> None:
    run.when(SteerRun(text="Slower.", by="bob")).then(CallerSteered(text="Slower.", by="bob"))


def test_a_run_that_waits_for_a_person_takes_no_advice() -> None:
    WAITING.when(SteerRun(text="x")).then_refused("use send")


def test_input_wakes_an_interactive_run_that_waits() -> None:
    WAITING.when(SendInput(input=(Text("No."),), by="bob"), now_ms=900).then(
        InputReceived(input=(Text("No."),), by="bob", waited_ms=400), StepStarted(step=2)
    )


def test_input_to_a_busy_interactive_run_waits_for_its_next_step() -> None:
    CHAT.when(SendInput(input=(Text("And?"),)), now_ms=900).then(InputReceived(input=(Text("And?"),)))


def test_every_word_of_a_person_raises_the_ceiling() -> None:
    run = WAITING
    for step in range(2, 9):  # max_steps is 2, counted from the person's last word
        run = run.when(SendInput(input=(Text("more"),)), now_ms=500).then(
            InputReceived(input=(Text("more"),)), StepStarted(step=step)
        )
        run = run.given(completed(Text("well"), step=step), InputAwaited(since_ms=500))


def test_a_run_that_is_not_interactive_takes_no_input() -> None:
    ASKED.when(SendInput(input=(Text("x"),))).then_refused("not interactive")


def test_an_interactive_run_that_waits_can_be_ended_with_last_words() -> None:
    WAITING.when(EndRun(input=(Text("Bye."),), by="bob"), now_ms=700).then(
        InputReceived(input=(Text("Bye."),), by="bob", waited_ms=200),
        RunFinished(
            stats=RunStats(status="ok", output="Yes?", steps=1, runtime_s=0.7), by="bob", reason="ended by the caller"
        ),
    )


def test_only_an_interactive_run_that_waits_can_be_ended() -> None:
    CHAT.when(EndRun()).then_refused("busy")
    ASKED.when(EndRun()).then_refused("use cancel")


@pytest.mark.parametrize("run", EVERYWHERE)
def test_cancelling_ends_the_run_and_says_who_and_why(run: RunSpec) -> None:
    facts = run.when(CancelRun(by="bob", reason="enough"), now_ms=800).facts
    assert facts[0] == CancelRequested(by="bob", reason="enough")
    assert isinstance(facts[1], RunFinished)
    assert (facts[1].status, facts[1].by, facts[1].reason) == ("cancelled", "bob", "enough")
    run.given(*facts).owes()


@pytest.mark.parametrize("message", [EndRun(), CancelRun()])
def test_ending_a_run_that_is_over_changes_nothing(message: RunMessage) -> None:
    OVER.when(message).then_nothing()


@pytest.mark.parametrize("message", [SteerRun(text="x"), SendInput(input=(Text("x"),))])
def test_a_run_that_is_over_cannot_be_spoken_to(message: RunMessage) -> None:
    OVER.when(message).then_refused("it is over, with status ok")


# ------------------------------------------------------------------ the host


@pytest.mark.parametrize("run", [*EVERYWHERE, OVER])
def test_notes_and_errors_may_be_logged_at_any_time(run: RunSpec) -> None:
    run.when(LogNote(type="host", payload={"n": 1})).then(NoteLogged(type="host", payload={"n": 1}))
    run.when(LogError(message="oh")).then(ErrorLogged(message="oh"))


ORDERS: list[RunMessage] = [
    BeginRun(),
    SteerRun(text="x"),
    ExtendRun(seconds=5.0),
    RaiseCeiling(limit="steps", more=2),
    KillRun(reason="x"),
    ApproveCall(call="1.0"),
    DenyCall(call="1.0"),
    SendInput(input=(Text("x"),)),
    EndRun(),
    CancelRun(),
    LogNote(type="x"),
    LogError(message="x"),
]
"""Of people. What each of them does is specified here, in test_decide_supervision.py and in test_decide_people.py."""
VERDICTS: list[RunMessage] = [
    SteerRun(text="x", critic=True),
    ObserveRun(text="x"),
    ExtendRun(seconds=5.0, critic=True),
    RaiseCeiling(limit="steps", more=2, critic=True),
    KillRun(reason="x", critic=True),
    ChargeReview(usage=Usage(1, 1)),
    LoseCritic(reason="x"),
]
"""Of critics: test_decide_supervision.py."""
REPORTS: list[RunMessage] = [
    AcceptPlans(step=1, plans=()),
    StartRun(started=run_started()),
    RESUME,
    reply(Text("x")),
    failed(),
    AcceptResult(call="1.0", text="x"),
    AcceptUnknown(call="1.0", reason="x"),
    AcceptReconciled(call="1.0", attempt=1),
    AcceptChild(call="1.0", run_id="x", status="ok"),
    AcceptChildWait(call="1.0", run_id="x", waits=True),
    AcceptGrant(step=2, attempt=1),
    AcceptRefusal(step=2, attempt=1, measure="tokens", limit=1, spent=1),
    RetryStep(step=1, attempt=1),
    EndByDeadline(at_ms=60_000),
    ReachSoftTimeout(at_ms=60_000),
    ExpireApproval(call="1.0", now_us=1 << 60),
    EndWithParent(status="killed"),
]
"""Of the world: here, in test_decide_limits.py and in test_decide_family.py."""
NEWS: list[RunMessage] = [
    NoteSleep(slept_s=9.0),
    StoreArtifact(artifact=ArtifactStored(sha256="0f", name="x", media_type="text/plain", size=1)),
]
"""Each of these is a new thing every time it is said."""


@pytest.mark.parametrize("message", ORDERS, ids=lambda message: type(message).__name__)
def test_a_run_that_has_not_started_takes_no_orders(message: RunMessage) -> None:
    NEW.when(message).then_refused("it has not started")


@pytest.mark.parametrize("message", ORDERS, ids=lambda message: type(message).__name__)
def test_a_log_of_a_newer_version_takes_no_orders(message: RunMessage) -> None:
    NEWER.when(message).then_refused("upgrade")


@pytest.mark.parametrize("message", [*REPORTS, *VERDICTS, *NEWS], ids=lambda message: type(message).__name__)
def test_a_log_of_a_newer_version_takes_no_reports_and_owes_nothing(message: RunMessage) -> None:
    NEWER.when(message, now_ms=1 << 40).then_nothing().owes()


@pytest.mark.parametrize(
    "message", [*REPORTS, EndRun(), CancelRun(), KillRun()], ids=lambda message: type(message).__name__
)
@pytest.mark.parametrize("run", [NEW, *EVERYWHERE, OVER])
def test_saying_it_twice_changes_nothing(run: RunSpec, message: RunMessage) -> None:
    if isinstance(message, ResumeRun):
        message = replace(message, in_flight=frozenset({"model:1:1", "model:1:2", "tool:1.0", "tool:1.1"}))
    decided = run.when(message, now_ms=60_000)
    after = run.given(*decided.facts)
    again = after.when(message, now_ms=60_000)
    if isinstance(message, ResumeRun):  # every resume is a fact of its own; it settles nothing a second time
        assert all(isinstance(fact, RunResumed) for fact in again.facts)
    elif decided.refused is None:
        again.then_nothing()


def test_every_kind_of_message_is_specified() -> None:
    every = [*ORDERS, *VERDICTS, *REPORTS, *NEWS]
    assert {type(message) for message in every} == set(get_args(RunMessage))
    assert {type(message) for message in ORDERS} == set(FROM_PEOPLE)
