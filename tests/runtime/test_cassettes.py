"""A recorded run answers a test as it was recorded, and says at which step the code under test departs, and how."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, wait_for

from executus import Agent, ModelRequest, Phase, Runtime, ScriptedModel, Text, tool
from executus.adapters.models.scripted import call
from executus.cli.importing import import_file
from executus.events import Message
from executus.journal import read_journal
from executus.projections import fold
from executus.testing import Cassette, Departed, cassette

GOLDEN = Path(__file__).parents[1] / "golden"

WEATHER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the weather in Jena and Gera?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Jena", "days": 1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "a", "name": "weather", "content": "rain"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "b", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Gera"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "b", "name": "weather", "content": "sun"},
    {"role": "assistant", "content": "Rain and sun."},
]


@pytest.fixture
def weather(tmp_path: Path) -> Cassette:
    """A tape of an imported conversation."""
    (tmp_path / "conversations.json").write_text(json.dumps(WEATHER))
    db = tmp_path / "runs.db"
    assert import_file(db, tmp_path / "conversations.json", as_json=True) == 0
    reader = read_journal(db)
    try:
        return cassette(reader, reader.runs()[0].run_id)
    finally:
        reader.close()


def played(tape: Cassette, **changes: Any) -> Any:
    with Runtime(agents=[tape.agent(**changes)]) as runtime:
        return runtime.start(tape.tape.agent.name, tape.input).result(DEADLINE_S)


def test_a_recorded_run_plays_as_it_was(weather: Cassette) -> None:
    with weather as tape:
        result = played(tape)
    assert (result.status, result.output) == ("ok", "Rain and sun.")
    weather.check()


def test_it_plays_from_a_file_too_for_any_number_of_runs_sync_and_async(weather: Cassette, tmp_path: Path) -> None:
    weather.save(tmp_path / "weather.json")
    assert len((tmp_path / "weather.json").read_bytes()) < 10_000
    tape = cassette(tmp_path / "weather.json")
    assert tape.tape == weather.tape

    async def many() -> list[str]:
        async with Runtime(agents=[tape.agent()]) as runtime:
            runs = [await runtime.start_async("recorded", tape.input) for _ in range(3)]
            return [(await run).output for run in runs]

    assert asyncio.run(many()) == ["Rain and sun."] * 3
    assert played(tape).output == "Rain and sun."
    tape.check()


def test_a_changed_prompt_departs_at_the_first_step_and_shows_how(weather: Cassette) -> None:
    with pytest.raises(Departed) as departed, weather as tape:
        assert played(tape, instructions="Be verbose.").status == "error"
    assert departed.value.step == 1
    assert "-system: Be brief." in departed.value.diff
    assert "+system: Be verbose." in departed.value.diff
    assert played(cassette_of(weather, strict=False), instructions="Be verbose.").output == "Rain and sun."


def cassette_of(tape: Cassette, strict: bool) -> Cassette:
    return Cassette(tape.tape, strict=strict)


def test_a_result_that_is_not_the_recorded_one_departs_at_the_next_step(weather: Cassette) -> None:
    @tool(effect="pure", name="weather")
    def other(city: str, days: int = 1) -> str:
        """Weather."""
        return "rain" if city == "Jena" else "snow"

    assert played(weather, tools=[other]).status == "error"
    assert weather.departed is not None
    assert weather.departed.step == 3
    assert "-tool: weather answered: sun" in str(weather.departed)
    assert "+tool: weather answered: snow" in str(weather.departed)


def test_a_call_that_was_not_recorded_departs_and_names_what_was(weather: Cassette) -> None:
    asked = ScriptedModel([[call("weather", city="Kiel")], "done"])
    played(weather, model=asked)
    with pytest.raises(Departed, match="at step 1 weather was called as the recording has it never") as departed:
        weather.check()
    assert '-weather({"city": "Jena", "days": 1})' in departed.value.diff
    assert '+weather({"city":"Kiel"})' in departed.value.diff


def test_the_same_call_counts_whatever_the_order_of_its_keys_and_only_as_often_as_recorded(weather: Cassette) -> None:
    [weather_tool] = weather.tools
    again: Any = weather_tool
    assert asyncio.run(again.call('{"days":1,"city":"Jena"}')) == "rain"
    with pytest.raises(Departed, match="only 1 times"):
        asyncio.run(again.call('{"days":1,"city":"Jena"}'))


def test_more_and_fewer_steps_than_recorded_depart(weather: Cassette) -> None:
    request = ModelRequest(messages=[Message("user", (Text("more"),))], step=4)
    with pytest.raises(Departed, match="the recording has 3 steps, and step 4 was asked for"):
        asyncio.run(weather.model.reply(request))
    short = cassette_of(weather, strict=True)
    with pytest.raises(Departed, match="step 1 was never asked for"):
        short.check()


def test_a_live_run_with_an_error_a_refusal_advice_and_phases_plays_as_it_was(tmp_path: Path) -> None:
    @tool(effect="pure")
    def look(at: int) -> str:
        """Look."""
        if at == 2:
            raise ValueError("too far: away")
        return f"tree {at}"

    model = ScriptedModel(
        [
            [call("look", at=1), call("look", at=2)],
            [call("look", at="x"), call("fly")],
            "a plan",
            [call("look", at=1)],
            "done",
        ]
    )
    phases = [Phase("plan", instructions="Plan.", tools=[look]), Phase("do", instructions="Do.", tools=[look])]
    agent = Agent("walker", model=model, phases=phases, tools=[look], timeout_s=60)
    with Runtime(tmp_path / "runs.db", [agent]) as runtime:
        run = runtime.start("walker", "Walk.")
        assert run.result(DEADLINE_S).status == "ok"
    with cassette(tmp_path / "runs.db", run.id) as tape:
        result = played(tape)
    assert (result.status, result.output) == ("ok", "done")
    assert [step.phase for step in tape.tape.steps] == ["plan", "plan", "plan", "do", "do"]


def test_children_come_back_as_recorded_results(tmp_path: Path) -> None:
    agents = [
        Agent("boss", model=ScriptedModel([[call("agent__helper", prompt="look")], "done"]), agents=["helper"]),
        Agent("helper", model=ScriptedModel(["found"])),
    ]
    with Runtime(tmp_path / "runs.db", agents) as runtime:
        run = runtime.start("boss", "go")
        assert run.result(DEADLINE_S).output == "done"
    with cassette(tmp_path / "runs.db", run.id) as tape:
        assert played(tape).output == "done"
    assert [(one.name, one.result) for one in tape.tape.calls] == [("agent__helper", "found")]


def test_what_people_said_is_to_be_said_again(tmp_path: Path) -> None:
    agent = Agent("talker", model=ScriptedModel(["yes?", "so?", "bye"]))

    def talk(made: Agent, path: Path | None) -> Any:
        with Runtime(path, [made]) as runtime:
            run = runtime.start("talker", "Hello", interactive=True)
            wait_for(run, "input-awaited")
            run.send("and?")
            wait_for(run, "input-awaited", 2)
            run.end("bye")
            return run, run.result(DEADLINE_S)

    run, _ = talk(agent, tmp_path / "runs.db")
    with cassette(tmp_path / "runs.db", run.id) as tape:
        assert tape.said == ["and?", "bye"]
        assert talk(tape.agent(), None)[1].status == "ok"


def test_what_was_masked_stays_masked(tmp_path: Path) -> None:
    agent = Agent("a", model=ScriptedModel(["the key is hunter2hunter2"]))
    with Runtime(tmp_path / "runs.db", [agent], secrets={"key": "hunter2hunter2"}) as runtime:
        run = runtime.start("a", "hunter2hunter2?")
        run.result(DEADLINE_S)
    cassette(tmp_path / "runs.db", run.id).save(tmp_path / "tape.json")
    assert "hunter2" not in (tmp_path / "tape.json").read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("log-*.db")))
def test_every_golden_run_can_be_taped_and_answers_what_it_was_asked(name: str, tmp_path: Path) -> None:
    copied = tmp_path / "golden.db"
    copied.write_bytes((GOLDEN / f"{name}.db").read_bytes())
    copied.chmod(0o600)
    reader = read_journal(copied)
    taped = advised = 0
    try:
        for row in reader.runs():
            tape = cassette(reader, row.run_id)
            for number, step in enumerate(tape.tape.steps, 1):
                events = reader.read(row.run_id)
                [at] = [
                    event.version
                    for event in events
                    if event.tag == "step-completed" and event.fact.step == step.step  # type: ignore[union-attr]
                ]
                shown = list(fold(events[: at - 1]).transcript.messages)
                asides = tape.tape.asides[step.conversation]
                advised += any(aside < step.shown for aside in asides)
                for messages in (shown, [one for index, one in enumerate(shown) if index not in asides]):
                    reply = asyncio.run(tape.model.reply(ModelRequest(messages=messages, step=number)))
                    assert reply.parts == step.reply
                taped += 1
            assert tape.departed is None
    finally:
        reader.close()
    assert taped
    assert advised or name == "log-0.1.0", "advice that nobody gives again is not missed"


def test_a_file_that_is_no_cassette_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no cassette"):
        cassette(tmp_path / "x.json")
