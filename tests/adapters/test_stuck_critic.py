"""A run that goes in circles or hangs is observed, then steered, then killed; one that makes progress is left alone."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from told_run import Call, ToldRun, live, rung

from executus.adapters.critics.stuck import StuckCritic
from executus.events import (
    ApprovalRequested,
    ChildStarted,
    CriticKilled,
    PhaseStarted,
    RunFinished,
    RunStats,
    ToolFinished,
    ToolRefused,
    ToolStarted,
)
from executus.ports import Continue, Critic, Kill, Steer

A: Call = ("look", '{"at": 1}', "a tree")
B: Call = ("listen", "{}", "nothing")


def fresh(number: int) -> Call:
    return ("look", f'{{"at": {number}}}', f"tree {number}")


# ------------------------------------------------------------------ the rules


def test_it_is_a_critic_that_looks_after_every_step() -> None:
    critic = StuckCritic()
    assert isinstance(critic, Critic)
    assert (critic.name, critic.every_steps, critic.every_s) == ("stuck", 1, 30.0)


def test_the_same_call_with_the_same_result_climbs_the_ladder() -> None:
    assert live(ToldRun(), StuckCritic(), [A] * 20) == [
        (4, "observe", "repeat"),
        (5, "steer", "repeat"),
        (8, "kill", "repeat"),
    ]


def test_three_times_the_same_is_not_yet_a_loop() -> None:
    run = ToldRun()
    assert live(run, StuckCritic(), [A, A, A, B, A, A, A, fresh(7), A, A, A]) == []


def test_polling_that_brings_new_output_is_progress() -> None:
    polls: list[Call] = [("status", "{}", f"{percent} %") for percent in range(60)]
    assert live(ToldRun(), StuckCritic(), polls) == []


def test_arguments_that_differ_beyond_what_is_shown_are_different() -> None:
    long = "x" * 5_000
    writes: list[Call] = [("write", f'{{"text": "{long}{number}"}}', "ok") for number in range(30)]
    assert live(ToldRun(), StuckCritic(), writes) == []


def test_order_of_keys_and_white_space_hide_no_loop() -> None:
    one: Call = ("look", '{"a": 1, "b": 2}', "x")
    two: Call = ("look", '{"b":2,"a":1}', "x")
    assert [done[1] for done in live(ToldRun(), StuckCritic(), [one, two, one, two])] == ["observe"]


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_a_cycle_is_found_when_it_came_three_times(length: int) -> None:
    turn = [fresh(number) for number in range(length)]
    done = live(ToldRun(), StuckCritic(stale=100), list(islice(cycle(turn), 40)))
    assert done[0] == (3 * length, "observe", "cycle")
    assert [one[1] for one in done] == ["observe", "steer", "kill"]


def test_an_alternation_whose_results_change_is_progress() -> None:
    steps: list[Call] = []
    for number in range(30):
        steps += [("press", '{"key": "down"}', "ok"), ("look", "{}", f"screen {number}")]
    assert live(ToldRun(), StuckCritic(), steps) == []


def test_a_long_or_ragged_circle_is_found_since_it_brings_nothing_new() -> None:
    turn = [fresh(number) for number in range(9)]
    done = live(ToldRun(), StuckCritic(), list(islice(cycle(turn), 60)))
    assert done[0] == (9 + 12, "observe", "nothing new")
    assert done[-1][1:] == ("kill", "nothing new")
    ragged = [turn[index] for index in (0, 1, 2, 0, 2, 1, 1, 0, 0, 2, 1, 0, 2, 2, 0, 1)]
    assert ("observe", "nothing new") in [one[1:] for one in live(ToldRun(), StuckCritic(), ragged)]


def test_one_new_result_ends_a_circle_without_news() -> None:
    turn = [fresh(number) for number in range(6)]
    steps = [*turn, *turn, turn[0], turn[1], turn[2], turn[3], turn[4], fresh(99), *turn, turn[2], turn[0], turn[4]]
    assert live(ToldRun(), StuckCritic(), steps) == []


def test_calls_made_at_once_are_no_loop_and_their_order_does_not_matter() -> None:
    assert live(ToldRun(), StuckCritic(), [[A, A, A, A, A, A]]) == []
    done = live(ToldRun(), StuckCritic(), [[A, B], [B, A], [A, B], [B, A]])
    assert done == [(4, "observe", "repeat")]


def test_a_tool_that_keeps_failing_the_same_way_is_noticed_whatever_its_arguments() -> None:
    fails: list[Call] = [("fetch", f"[{number}]", "401", True) for number in range(20)]
    assert live(ToldRun(), StuckCritic(), fails) == [
        (3, "observe", "same error"),
        (4, "steer", "same error"),
        (7, "kill", "same error"),
    ]
    assert live(ToldRun(), StuckCritic(), [(*call[:3],) for call in fails]) == []


def test_calls_that_were_refused_are_errors() -> None:
    run, critic = ToldRun(), StuckCritic()
    for number in range(3):
        run.asks("", ("fly", f"[{number}]"))
        run.put(ToolRefused(call=f"{number + 1}.0", name="fly", reason="there is no tool named 'fly'"))
    verdict = critic.review(run.trace, run.now)
    assert isinstance(verdict, Continue)
    assert verdict.evidence["rule"] == "same error"


def test_many_different_errors_in_a_row_are_noticed() -> None:
    fails: list[Call] = [("try", f"[{number}]", f"no {number}", True) for number in range(20)]
    done = live(ToldRun(), StuckCritic(), fails)
    assert done == [(8, "observe", "errors"), (9, "steer", "errors"), (12, "kill", "errors")]


def test_one_success_among_errors_is_progress() -> None:
    steps: list[Call] = []
    for number in range(10):
        steps += [("try", f"[{number}, {n}]", f"no {number} {n}", True) for n in range(7)] + [fresh(number)]
    assert live(ToldRun(), StuckCritic(), steps) == []
    half = [[("try", f"[{number}]", "no", True), fresh(number)] for number in range(20)]
    assert live(ToldRun(), StuckCritic(), half) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["I am done.", ""])
def test_the_same_words_without_a_call_are_noticed(words: str) -> None:
    run, critic = ToldRun(), StuckCritic()
    rungs = []
    for _ in range(7):
        run.asks(words).refuses("expected an object")
        verdict = critic.review(run.trace, run.now)
        rungs.append(rung(verdict))
        run.obey(verdict)
    assert rungs == ["", "", "observe", "steer", "", "", "kill"]


def test_output_that_is_refused_again_and_again_counts_as_errors() -> None:
    run, critic = ToldRun(), StuckCritic()
    for number in range(8):
        assert critic.review(run.trace, run.now) == Continue()
        run.asks(f"Try {number}.").refuses(f"wrong {number}")
    verdict = critic.review(run.trace, run.now)
    assert isinstance(verdict, Continue)
    assert verdict.evidence["rule"] == "errors"


def test_a_person_who_speaks_or_a_new_phase_ends_every_circle() -> None:
    run, critic = ToldRun(), StuckCritic()
    for _ in range(10):
        assert live(run, critic, [A, A, A]) == []
        run.person("Once more, please.")
    run = ToldRun(phases=("plan", "do"))
    run.put(PhaseStarted(phase="plan", index=0))
    assert live(run, critic, [A, A, A]) == []
    run.put(PhaseStarted(phase="do", index=1))
    assert live(run, critic, [A, A, A]) == []
    assert live(run, critic, [A]) == [(7, "observe", "repeat")]


def test_tools_that_were_excepted_are_neither_repetition_nor_progress() -> None:
    sleep: Call = ("sleep", '{"s": 60}', "ok")
    critic = StuckCritic(except_tools=["sleep"])
    assert live(ToldRun(), critic, [sleep] * 40) == []
    done = live(ToldRun(), critic, [A, sleep] * 4)
    assert done == [(7, "observe", "repeat")]


def test_a_step_under_way_is_not_judged() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [A, A, A])
    run.asks("", (A[0], A[1])).put(ToolStarted(call="4.0", name=A[0]))
    assert critic.review(run.trace, run.now) == Continue()
    run.put(ToolFinished(call="4.0", result=A[2]))
    assert rung(critic.review(run.trace, run.now)) == "observe"


def test_a_circle_is_still_seen_while_its_next_step_is_under_way() -> None:
    run = ToldRun().step(A).step(A).step(A).step(A).asks("", (A[0], A[1]))
    assert rung(StuckCritic().review(run.trace, run.now)) == "observe"


# ------------------------------------------------------------------ the ladder


def test_a_rung_names_its_rule_calls_hashes_count_and_steps() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [fresh(1), A, A, A])
    run.step(A)
    verdict = critic.review(run.trace, run.now)
    assert isinstance(verdict, Continue)
    [call] = verdict.evidence.pop("calls")
    assert call == {"name": "look", "arguments": '{"at": 1}', "result": run.trace.calls[-1].result_hash}
    assert verdict.evidence == {
        "critic": "stuck",
        "rule": "repeat",
        "since": 2,
        "rung": "observe",
        "count": 4,
        "steps": [2, 5],
    }
    assert "look" in verdict.text


def test_advice_names_the_tool_and_a_kill_says_why() -> None:
    run, critic = ToldRun(), StuckCritic()
    said: dict[str, str] = {}
    for _ in range(8):
        run.step(A)
        verdict = critic.review(run.trace, run.now)
        if isinstance(verdict, Steer):
            said["steer"] = verdict.text
        if isinstance(verdict, Kill):
            said["kill"] = verdict.reason
        run.obey(verdict)
    assert "look" in said["steer"]
    assert "5 times" in said["steer"]
    assert said["kill"] == "stuck, also after advice: look brought the same result 8 times in a row"


def test_no_rung_is_taken_twice_or_before_the_model_could_react() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [A, A, A, A])
    assert critic.review(run.trace, run.now) == Continue()
    live(run, critic, [A])
    for _ in range(2):
        assert critic.review(run.trace, run.now) == Continue()
        run.step(A)
    assert critic.review(run.trace, run.now) == Continue()
    run.step(A)
    assert rung(critic.review(run.trace, run.now)) == "kill"


def test_steps_that_were_already_asked_for_when_the_advice_came_do_not_count_against_the_model() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [A, A, A, A])
    run.step(A)
    verdict = critic.review(run.trace, run.now)
    assert rung(verdict) == "steer"
    run.asks("", (A[0], A[1])).put(ToolStarted(call="6.0", name=A[0]))
    run.obey(verdict).put(ToolFinished(call="6.0", result=A[2]))
    for expected in ("", "", "kill"):
        run.step(A)
        assert rung(critic.review(run.trace, run.now)) == expected


def test_a_run_that_recovers_and_gets_stuck_again_is_met_by_the_first_rung() -> None:
    run, critic = ToldRun(), StuckCritic()
    done = live(run, critic, [A, A, A, A, A, A, fresh(2), A, A, A, A, A, A])
    assert done == [
        (4, "observe", "repeat"),
        (5, "steer", "repeat"),
        (11, "observe", "repeat"),
        (12, "steer", "repeat"),
    ]


def test_a_run_that_gets_stuck_right_after_a_person_spoke_is_met_by_the_first_rung() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [A, A, A, A, A])
    run.person("Once more, please.")
    assert live(run, critic, [A, A, A, A]) == [(9, "observe", "repeat")]


def test_a_run_that_always_returns_to_its_loop_is_killed_in_the_end() -> None:
    steps = [A, A, A, A, A, B] * 10
    done = live(ToldRun(), StuckCritic(), steps)
    assert done[-1][1:] == ("kill", "nothing new")


def test_the_ladder_ends_where_the_host_says() -> None:
    assert [done[1] for done in live(ToldRun(), StuckCritic(at_most="observe"), [A] * 11)] == ["observe"]
    assert [done[1] for done in live(ToldRun(), StuckCritic(at_most="steer"), [A] * 11)] == ["observe", "steer"]


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([A] * 300, "repeat"),
        ([A, B] * 150, "cycle"),
        ([A, ("sleep", "{}", "ok")] * 150, "repeat"),
        ([("try", f"[{number}]", f"no {number}", True) for number in range(300)], "errors"),
    ],
)
def test_a_circle_longer_than_what_is_looked_at_is_still_one_circle(steps: list[Call], rule: str) -> None:
    done = live(ToldRun(), StuckCritic(at_most="steer", stale=500, except_tools={"sleep"}), steps)
    assert [one[1:] for one in done] == [("observe", rule), ("steer", rule)]


def test_two_critics_climb_ladders_of_their_own() -> None:
    run = ToldRun()
    live(run, StuckCritic(name="first"), [A, A, A, A])
    assert critic_says(run, "first") == ""
    assert critic_says(run, "second") == "observe"


def critic_says(run: ToldRun, name: str) -> str:
    return rung(StuckCritic(name=name).review(run.trace, run.now))


def test_who_relays_the_verdict_does_not_matter_to_the_ladder() -> None:
    run, critic = ToldRun(), StuckCritic()
    rungs = []
    for _ in range(5):
        run.step(A)
        verdict = critic.review(run.trace, run.now)
        rungs.append(rung(verdict))
        run.obey(verdict, by="critics")
    assert rungs == ["", "", "", "observe", "steer"]


def test_a_kill_that_is_already_written_down_is_not_repeated() -> None:
    run, critic = ToldRun(), StuckCritic()
    live(run, critic, [A] * 8)
    run.step(A)
    assert critic.review(run.trace, run.now) == Continue()
    assert run.trace.acts[-1].kind == "critic-killed"
    run.put(CriticKilled(reason="x", evidence={"rule": ["odd"], "since": None, "critic": 7}))
    assert critic.review(run.trace, run.now) == Continue()
    run.put(RunFinished(stats=RunStats(status="killed"), by="critic"))
    assert critic.review(run.trace, run.now) == Continue()


def test_evidence_can_be_stored() -> None:
    run = ToldRun()
    live(run, StuckCritic(), [A] * 12)
    assert len(run.trace.acts) == 3
    for act in run.trace.acts:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(act.evidence)) == act.evidence


@given(st.lists(st.integers(0, 2), max_size=40))
def test_a_verdict_is_a_function_of_trace_and_time(pattern: list[int]) -> None:
    run, critic = ToldRun(), StuckCritic()
    for number in pattern:
        run.step(("look", f"[{number}]", "x"))
        verdict = critic.review(run.trace, run.now)
        assert verdict == critic.review(run.trace, run.now)
        assert verdict == StuckCritic().review(run.trace, run.now)
        run.obey(verdict)
        acts = [(act.evidence["rule"], act.evidence["since"], act.evidence["rung"]) for act in run.trace.acts]
        assert len(acts) == len(set(acts)), "no rung of one condition is taken twice"
        for rule, since, name in acts:
            below = {"observe": [], "steer": ["observe"], "kill": ["observe", "steer"]}[name]
            assert all((rule, since, lower) in acts for lower in below)
        if isinstance(verdict, Kill):
            break


# ------------------------------------------------------------------ silence


def silent(critic: StuckCritic, run: ToldRun, at_s: float) -> str:
    verdict = critic.review(run.trace, at_s)
    run.now = at_s - 1
    run.obey(verdict)
    return rung(verdict)


def test_a_tool_that_says_nothing_climbs_the_ladder_by_time_and_is_named() -> None:
    run, critic = ToldRun(), StuckCritic(silence_s=100)
    run.asks("", ("build", '{"all": true}'), ("look", "{}"))
    run.put(
        ToolStarted(call="1.0", name="build"),
        ToolStarted(call="1.1", name="look"),
        ToolFinished(call="1.1", result="x"),
    )
    began = run.now
    assert silent(critic, run, began + 99) == ""
    verdict = critic.review(run.trace, began + 130)
    assert isinstance(verdict, Continue)
    assert verdict.evidence["rule"] == "silence"
    assert verdict.evidence["calls"] == [{"call": "1.0", "name": "build", "arguments": '{"all": true}'}]
    assert "build" in verdict.text
    assert silent(critic, run, began + 130) == "observe"
    assert silent(critic, run, began + 200) == ""
    assert silent(critic, run, began + 231) == "steer"
    assert silent(critic, run, began + 330) == ""
    assert silent(critic, run, began + 332) == "kill"


def test_any_sign_of_life_ends_the_silence() -> None:
    run, critic = ToldRun(), StuckCritic(silence_s=100)
    run.asks("", ("a", "{}"), ("b", "{}")).put(ToolStarted(call="1.0", name="a"), ToolStarted(call="1.1", name="b"))
    assert silent(critic, run, 120) == "observe"
    run.put(ToolFinished(call="1.1", result="x"))
    assert silent(critic, run, 200) == ""
    assert silent(critic, run, 230) == "observe"


def test_only_a_running_tool_can_be_silent() -> None:
    critic = StuckCritic(silence_s=100)
    idle = ToldRun().step(A)
    assert critic.review(idle.trace, 10_000) == Continue()
    asking = ToldRun().asks("", ("pay", "{}")).put(ApprovalRequested(call="1.0", name="pay"))
    assert critic.review(asking.trace, 10_000) == Continue()
    parent = ToldRun().asks("", ("agent__b", "{}")).put(ChildStarted(call="1.0", name="agent__b", run_id="r2"))
    assert critic.review(parent.trace, 10_000) == Continue()
    tool = ToldRun().asks("", ("build", "{}")).put(ToolStarted(call="1.0", name="build"))
    assert StuckCritic(silence_s=None).review(tool.trace, 10_000) == Continue()
    assert rung(critic.review(tool.trace, 10_000)) == "observe"


def test_a_trace_of_nothing_is_fine() -> None:
    assert StuckCritic().review(ToldRun().trace, 1e6) == Continue()


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"repeats": 1}, "repeats: expected a whole number ≥ 2, got 1"),
        ({"cycles": True}, "cycles"),
        ({"grace_steps": 0}, "grace_steps: expected a whole number ≥ 1, got 0"),
        ({"silence_s": 0}, "silence_s: expected seconds > 0 or None, got 0"),
        ({"silence_s": float("nan")}, "silence_s"),
        ({"at_most": "shout"}, "at_most: expected one of observe, steer, kill, got 'shout'"),
        ({"except_tools": "sleep"}, "except_tools: expected a collection of names"),
        ({"name": ""}, "name: expected a non-empty string"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        StuckCritic(**settings)


def test_fewer_repeats_can_be_asked_for_and_a_shorter_cycle_is_not_taken_for_a_longer_one() -> None:
    assert live(ToldRun(), StuckCritic(repeats=2), [A, A])[0] == (2, "observe", "repeat")
    assert live(ToldRun(), StuckCritic(repeats=20, stale=100), [A] * 19) == []
