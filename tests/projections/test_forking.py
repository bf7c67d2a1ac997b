"""What a fork inherits, at every version of every life: where its source stood, and never an effect."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from any_life import Life, folded, for_any_life, lived_on
from hypothesis import strategies as st
from run_ledger import seen
from run_specs import CALL, PAY, completed

from executus.actors.run.decide import decide
from executus.actors.run.messages import BeginRun, StartRun
from executus.events import (
    ApprovalAwaited,
    ApprovalRequested,
    BudgetExceeded,
    CancelRequested,
    ChildStarted,
    CriticKilled,
    Event,
    Fact,
    InputAwaited,
    OutputRefused,
    RunBegun,
    RunFinished,
    RunForked,
    RunStarted,
    StepCompleted,
    StepStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolResult,
    ToolStarted,
)
from executus.journal import read_journal
from executus.projections import RunState, Transcript, evolve_transcript, fold, outstanding, spent
from executus.projections.forking import CANCELLED, UNKNOWN, Inherited, inherited
from executus.testing import run_started

GOLDEN = Path(__file__).parent.parent / "golden"
LOGS = sorted(GOLDEN.glob("log-*.db"))
BEGUN: tuple[Fact, ...] = (run_started("Go.", instructions="Be brief."), StepStarted(step=1))


def what(*facts: Fact) -> Inherited:
    return inherited("run-0", Life(facts, 0).events)


def states(start: RunStarted, fork: RunForked) -> tuple[RunState, Transcript]:
    """Where a run stands that has just been forked."""
    transcript = Transcript()
    for fact in (start, fork):
        transcript = evolve_transcript(transcript, fact)
    return folded((start, fork)), transcript


# ------------------------------------------------------------------ every version stands where its source stood


def stood(events: Sequence[Event]) -> list[Event]:
    """`events` without an end, and without the orders that led to it."""
    kept = list(events)
    for place, event in enumerate(kept):
        if isinstance(event.fact, RunFinished):
            kept = kept[:place]
            break
    while isinstance(kept[-1].fact, (CancelRequested, CriticKilled, BudgetExceeded)):
        kept.pop()
    return kept


def stands_where_its_source_stood(events: Sequence[Event]) -> None:
    """The fork of the last of `events` differs from it in nothing but what the rules settle."""
    start = events[0].fact
    assert isinstance(start, RunStarted)
    found = inherited("run-0", events)
    source = fold(stood(events))
    was, said = source.state, source.transcript
    state, transcript = states(start, found.forked)

    assert (found.forked.version, found.forked.hash) == (source.version, source.hash)
    assert (state.doing, state.governed.paused) == ("waiting", True)
    assert (state.output, state.phase, state.governed.outputs) == (was.output, was.phase, was.governed.outputs)
    assert state.governed.noticed == was.governed.noticed
    assert (state.interactive, state.dry_run) == (was.interactive, was.dry_run)
    assert not state.open_calls
    assert not state.governed.children
    assert not state.governed.approvals

    failed = was.doing == "tools" and bool(was.error)
    unanswered = was.doing in ("model", "backoff") or failed
    pure = [one.call for one in was.open_calls if one.effect == "pure"]
    before, now = spent(was), spent(state)
    assert (now.steps, now.tool_calls) == (before.steps - unanswered, before.tool_calls - len(pure))
    assert (now.tokens, now.cost_usd) == (before.tokens, before.cost_usd)
    assert state.step == was.step - unanswered
    assert state.turn_from == min(was.turn_from, state.step)
    if was.phase:
        assert state.governed.phase_from == was.governed.phase_from

    open_slots = [index for index, one in enumerate(said.answers) if one is None]
    told = {int(call.partition(".")[2]) for call in (*found.unknown, *found.cancelled)}
    to_make = {int(call.partition(".")[2]) for call in found.to_make}
    assert told | to_make == set(open_slots)
    assert not told & to_make
    assert {f"{was.step}.{index}" for index in to_make} == set(state.governed.unplanned)
    assert set(found.unknown) == {one.call for one in was.open_calls} - set(pure)
    assert set(found.cancelled) == {one.call for one in was.governed.children}
    assert transcript.heard == said.heard
    kept = list(said.messages)
    assert list(transcript.messages)[: len(kept)] == kept
    if to_make:
        assert list(transcript.messages) == kept
        assert transcript.asked == state.asked == said.asked
        for index, answer in enumerate(transcript.answers):
            assert answer == said.answers[index] or (index in told and answer is not None and answer.is_error)
    else:
        results = [message.parts[0] for message in list(transcript.messages)[len(kept) :]]
        assert len(results) == (len(said.asked) if told else 0)
        for index, result in enumerate(results):
            assert isinstance(result, ToolResult)
            assert result == said.answers[index] or (index in told and result.text in (UNKNOWN, CANCELLED))


@for_any_life()
def test_a_fork_of_any_life_stands_where_that_stood_at_every_version(life: Life) -> None:
    events = life.events_with_the_end
    for version in range(1, len(events) + 1):
        stands_where_its_source_stood(events[:version])


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A directory with copies of the golden logs."""
    place = tmp_path / "journal"
    place.mkdir(mode=0o700)
    for path in LOGS:
        shutil.copyfile(path, place / path.name)
        (place / path.name).chmod(0o600)
    return place


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_fork_of_any_golden_log_stands_where_that_stood_at_every_version(path: Path, golden: Path) -> None:
    journal = read_journal(golden / path.name)
    try:
        versions = 0
        for row in journal.runs():
            events = journal.read(row.run_id)
            for version in range(1, len(events) + 1):
                if fold(events[:version]).state.read_only:
                    continue
                stands_where_its_source_stood(events[:version])
                versions += 1
        assert versions > 20
    finally:
        journal.close()


@for_any_life(st.data())
def test_a_fork_lives_on_and_so_does_a_fork_of_it(life: Life, data: st.DataObject) -> None:
    events = life.events_with_the_end
    found = inherited("run-0", events[: data.draw(st.integers(1, len(events)))])
    start: Any = life.facts[0]
    born = decide(RunState(), StartRun(started=start, forked=found.forked, begin=BeginRun()), 0)
    lived: Life = data.draw(st.composite(lambda draw: lived_on(draw, born))())
    transcript = Transcript()
    for fact in lived.facts:
        transcript = evolve_transcript(transcript, fact)
        if isinstance(fact, StepStarted):
            seen(list(transcript.messages))
    steps = [fact.step for fact in lived.facts if isinstance(fact, StepStarted) and fact.attempt == 1]
    first = found.forked.totals.steps + 1
    assert steps == list(range(first, first + len(steps)))
    calls = [fact.call for fact in lived.facts if isinstance(fact, (ToolStarted, ChildStarted))]
    assert len(calls) == len(set(calls))
    assert not set(calls) & {*found.unknown, *found.cancelled}
    again = lived.events_with_the_end
    for version in range(2, len(again) + 1):
        stands_where_its_source_stood(again[:version])


# ------------------------------------------------------------------ and goes on as it would have


@for_any_life()
def test_a_fork_does_nothing_until_it_is_begun(life: Life) -> None:
    events = life.events_with_the_end
    for version in range(1, len(events) + 1):
        found = inherited("run-0", events[:version])
        facts = decide(RunState(), StartRun(started=life.facts[0], forked=found.forked), 0)  # type: ignore[arg-type]
        assert facts == [life.facts[0], found.forked]
        assert outstanding(folded(facts)) == []


@for_any_life()
def test_a_fork_that_is_begun_makes_what_it_inherited_or_does_what_its_source_did_next(life: Life) -> None:
    events = life.events_with_the_end
    for version in range(1, len(events) + 1):
        found = inherited("run-0", events[:version])
        start = life.facts[0]
        facts = [start, found.forked]
        then = decide(folded(facts), BeginRun(by="ann"), 50)
        assert then[0] == RunBegun(by="ann", waited_ms=50)
        after = folded([*facts, *then])
        assert not after.governed.paused
        kinds = {one.key.partition(":")[0] for one in outstanding(after)}
        if found.to_make:
            assert "plan" in kinds
            assert len(then) == 1
        else:
            assert after.over or after.awaits_message or kinds & {"model", "reserve"}
        if not after.over:
            assert decide(after, BeginRun(), 60) == []
        following = life.facts[version:]
        if following and isinstance(following[0], OutputRefused):
            continue  # only somebody with the agent in hand knows that its last words did not fit
        real = [fact for fact in following if isinstance(fact, (StepStarted, RunFinished, InputAwaited))]
        own = [fact for fact in then if isinstance(fact, (StepStarted, RunFinished, InputAwaited))]
        if isinstance(events[version - 1].fact, StepCompleted) and not found.to_make and real and own:
            assert type(own[0]) is type(real[0])


# ------------------------------------------------------------------ the rules, one by one


def test_a_model_call_without_its_answer_is_made_as_the_same_step() -> None:
    found = what(*BEGUN)
    then = decide(folded([BEGUN[0], found.forked]), BeginRun(), 0)
    assert then == [RunBegun(), StepStarted(step=1)]


def test_what_was_asked_for_and_not_started_is_the_forks_to_make() -> None:
    found = what(*BEGUN, completed(CALL, PAY), ToolStarted(call="1.0", name="look"))
    assert (found.to_make, found.unknown) == (("1.1",), ("1.0",))
    assert found.forked.answers == (ToolResult("c1", "look", UNKNOWN, True), None)


def test_a_pure_call_is_made_again_and_counted_once() -> None:
    found = what(*BEGUN, completed(CALL), ToolStarted(call="1.0", name="look", effect="pure"))
    assert found.to_make == ("1.0",)
    assert found.forked.totals.tool_calls == 0


@pytest.mark.parametrize("effect", ["idempotent", "reconcilable", "never_retry"])
def test_no_other_call_is_made_again(effect: str) -> None:
    found = what(*BEGUN, completed(CALL), ToolStarted(call="1.0", name="look", effect=effect))  # type: ignore[arg-type]
    assert (found.to_make, found.unknown) == ((), ("1.0",))
    assert found.forked.messages[-1].parts == (ToolResult("c1", "look", UNKNOWN, True),)


def test_a_person_is_asked_anew() -> None:
    found = what(*BEGUN, completed(PAY), ApprovalRequested(call="1.0", name="pay"), ApprovalAwaited(since_ms=0))
    assert found.to_make == ("1.0",)


def test_a_fork_of_a_fork_inherits_the_calls_that_were_never_made() -> None:
    first = what(*BEGUN, completed(CALL, PAY), ToolStarted(call="1.0", name="look"))
    second = what(BEGUN[0], first.forked)
    assert (second.to_make, second.forked.answers) == (("1.1",), first.forked.answers)


def test_last_words_are_last_words_in_the_fork() -> None:
    found = what(*BEGUN, completed(Text("Done.")))
    assert found.forked.said == "stop"
    then = decide(folded([BEGUN[0], found.forked]), BeginRun(), 0)
    assert isinstance(then[-1], RunFinished)
    assert (then[-1].status, then[-1].stats.output) == ("ok", "Done.")


# ------------------------------------------------------------------ results given instead


def test_a_result_may_be_given_for_a_call_whatever_became_of_it() -> None:
    life = Life((*BEGUN, completed(CALL, PAY), ToolStarted(call="1.0", name="look")), 0)
    found = inherited("run-0", life.events, {"1.0": "seen", "1.1": "paid"})
    assert [message.parts[0] for message in found.forked.messages[-2:]] == [
        ToolResult("c1", "look", "seen"),
        ToolResult("c2", "pay", "paid"),
    ]
    assert (found.to_make, found.unknown, found.replaced) == ((), (), ("1.0", "1.1"))


def test_a_result_of_an_earlier_step_may_be_another() -> None:
    done = (ToolStarted(call="1.0", name="look"), ToolFinished(call="1.0", result="nothing"))
    life = Life((*BEGUN, completed(CALL), *done, StepStarted(step=2), completed(PAY, step=2)), 0)
    found = inherited("run-0", life.events, {"1.0": "a treasure"})
    assert found.forked.messages[3].parts == (ToolResult("c1", "look", "a treasure"),)
    assert found.to_make == ("2.0",)


def test_a_result_for_a_call_that_is_not_there_is_refused() -> None:
    for call in ("9.9", "1.7", "one", "1.x", ""):
        with pytest.raises(ValueError, match=r"is not in the conversation; those that are: 1\.0"):
            inherited("run-0", Life((*BEGUN, completed(CALL)), 0).events, {call: "x"})


def test_an_unknown_outcome_of_the_source_stays_one() -> None:
    asked = completed(ToolCall("c1", "look"))
    gone = (ToolStarted(call="1.0", name="look"), ToolOutcomeUnknown(call="1.0", reason="who knows"))
    found = what(*BEGUN, asked, *gone)
    assert found.forked.messages[-1].parts == (ToolResult("c1", "look", "who knows", True),)
