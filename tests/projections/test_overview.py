import pytest

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.events import Event
from executus.projections import fold
from executus.projections.overview import Overview, evolve_overview, overview


@tool(effect="pure")
def look() -> str:
    "Look."
    return "seen"


@pytest.fixture
def log() -> list[Event]:
    model = ScriptedModel([["I look.", call("look"), call("look")], "Done."])
    with Runtime(agents=[Agent("looker", model=model, tools=[look])]) as runtime:
        return list(runtime.start("looker", "Look!", caller="alice", name="first look").events())


def test_a_row_says_what_the_run_does_at_every_moment(log: list[Event]) -> None:
    row, told = Overview(), []
    for event in log:
        row = evolve_overview(row, event)
        told.append((event.tag, row.status, row.doing))
    by_tag = {tag: (status, doing) for tag, status, doing in told}
    assert by_tag["step-started"] == ("running", "model")
    assert by_tag["tool-started"] == ("running", "look, look")
    assert by_tag["run-finished"] == ("ok", "")


def test_a_row_knows_who_and_when(log: list[Event]) -> None:
    row = overview(log)
    assert (row.run_id, row.agent, row.model, row.info.name) == (log[0].run_id, "looker", "scripted", "first look")
    assert row.info.caller_id == "alice"
    assert (row.started_at_us, row.changed_at_us) == (log[0].at_us, log[-1].at_us)
    assert row.version == len(log)


def test_a_row_goes_on_from_any_point_and_agrees_with_the_fold_of_the_run(log: list[Event]) -> None:
    whole = overview(log)
    assert whole.state == fold(log).state
    for cut in range(len(log) + 1):
        assert overview(log[cut:], overview(log[:cut])) == whole
