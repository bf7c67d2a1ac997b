"""What a host chooses run by run: recorded or not, durable or not, dry, which tier, where it came from; and what
becomes of runs whose journal cannot be opened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from family_support import Line, ask, begun, boss
from journal_support import Faults
from runtime_support import DEADLINE_S, AsyncGate, FunctionModel, everywhere, facts, said, stored, tags, wait_for

from executus import Agent, Allowance, Continue, InputFile, Runtime, ScriptedModel, Skill, tool
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.models.scripted import call
from executus.adapters.tools.files import save_artifact
from executus.errors import (
    BudgetSpent,
    FileRefused,
    JournalError,
    JournalInUse,
    JournalUnreadable,
    MessageRefused,
    Overloaded,
    UnknownRun,
)
from executus.events import ErrorLogged, RunInfo
from executus.journal import read_journal, verify_run

MARK = "zanzibar-7391"
"""What memory runs say; it must be in no file."""

HELLO = Agent("hello", model=ScriptedModel(lambda request: "Hello."))


@tool(effect="pure")
def look() -> str:
    """Look."""
    return f"saw {MARK}"


def secretive(**options: Any) -> list[Agent]:
    """A parent that says the mark, hears it from its tool, and hands it down to a child that does the same."""
    said_it = ScriptedModel([[MARK, call("look")], f"done {MARK}"])
    top = ScriptedModel([[MARK, call("look"), call("agent__below", prompt=MARK)], f"done {MARK}"])
    below = Agent("below", model=said_it, tools=[look])
    return [Agent("secretive", model=top, tools=[look], agents=["below"], **options), below]


def marked(folder: Path) -> list[str]:
    """Files below `folder` that hold the mark."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


def ids(runtime: Runtime) -> list[str]:
    """Of the stored runs."""
    return [row.run_id for row in runtime.runs()]


def gone(runtime: Runtime, run: Any) -> bool:
    """Whether nothing of the run's log can be seen, soon after its end."""
    until(lambda: runtime.journal.run(run.id) is None)
    for looking in (run.events, run.transcript, run.checkpoint, lambda: runtime.journal.read(run.id)):
        with pytest.raises(UnknownRun):
            looking()
    return run.id not in ids(runtime)


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so that no fact tells of."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def until_idle(runtime: Runtime) -> None:
    """Wait until no run is at work: a run's end is told to its host a moment earlier."""
    until(lambda: runtime.live_runs == 0)


@pytest.fixture(params=["memory", "stored"])
def where(request: Any, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "runs.db"


# ------------------------------------------------------------------ recorded or not


def test_an_unrecorded_run_leaves_only_its_result(opened: Any, where: Any, tmp_path: Path) -> None:
    runtime = opened(where, secretive())
    run = runtime.start("secretive", MARK, record=False)
    first = run.result(DEADLINE_S)
    until_idle(runtime)
    assert (first.status, first.output) == ("ok", f"done {MARK}")
    assert run.result(DEADLINE_S) == first
    assert run.status == "ok"
    assert runtime.run(run.id).status == "ok"
    assert gone(runtime, run)
    with pytest.raises(MessageRefused, match="it is over, with status ok"):
        run.steer("too late")
    runtime.close()
    assert marked(tmp_path) == []


def test_an_unrecorded_run_is_seen_while_it_goes_on_and_its_children_leave_nothing_too(
    opened: Any, where: Any, tmp_path: Path
) -> None:
    line = Line()
    runtime = opened(where, line.agents)
    family = line.start(runtime, record=False)
    assert [run.status for run in family] == ["running"] * 3
    assert ids(runtime) == []
    with family[2].events() as events:
        line.gate.open()
        assert [event.tag for event in iter(lambda: next(events, None), None)][-1] == "run-finished"
    assert [run.result(DEADLINE_S).output for run in family] == ["done", "done", "bottom's words"]
    until_idle(runtime)
    assert all(gone(runtime, run) for run in family)


def test_the_record_is_chosen_by_what_is_known_of_the_run(opened: Any, where: Any) -> None:
    shown: list[RunInfo] = []

    def record(info: RunInfo) -> bool:
        shown.append(info)
        return info.caller_id != "mouse"

    runtime = opened(where, [HELLO], record=record)
    runs = [
        runtime.start("hello", "Hi", caller=caller, channel="c", guild="g", inputs={"n": 1})
        for caller in ("mouse", "alice")
    ]
    assert [run.result(DEADLINE_S).output for run in runs] == ["Hello."] * 2
    until_idle(runtime)
    assert ids(runtime) == [runs[1].id]
    assert [info.run_id for info in shown] == [run.id for run in runs]
    assert (shown[0].channel_id, shown[0].guild_id, shown[0].inputs) == ("c", "g", {"n": 1})


def test_what_a_start_asks_for_goes_before_what_the_runtime_chooses(opened: Any, where: Any) -> None:
    runtime = opened(where, [HELLO], record=lambda info: False, durable=lambda info: False)
    run = runtime.start("hello", "Hi", record=True, durable=True)
    other = runtime.start("hello", "Hi", record=True)
    assert [one.result(DEADLINE_S).output for one in (run, other)] == ["Hello."] * 2
    assert ids(runtime) == [run.id]
    assert tags(other)[-1] == "run-finished", "it was recorded, in memory"


def test_an_unrecorded_request_is_the_same_run_also_when_it_is_over(opened: Any, where: Any) -> None:
    runtime = opened(where, [HELLO])
    runs = everywhere(8, lambda number: runtime.start("hello", "Hi", caller="a", request_id="r", record=False))
    assert len({run.id for run in runs}) == 1
    runs[0].result(DEADLINE_S)
    until_idle(runtime)
    for record in (False, True):
        again = runtime.start("hello", "Hi", caller="a", request_id="r", record=record)
        assert again.id == runs[0].id
        assert again.result(DEADLINE_S).output == "Hello."
    assert ids(runtime) == []


# ------------------------------------------------------------------ durable or not


def test_a_run_that_is_not_durable_is_a_run_like_any_but_not_in_the_file(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", secretive())
    run = runtime.start("secretive", MARK, durable=False)
    plain = runtime.start("below", "Look.", record=True)
    assert run.result(DEADLINE_S).output == f"done {MARK}"
    plain.result(DEADLINE_S)
    (child,) = run.children()
    assert [one.status for one in (run, child)] == ["ok", "ok"]
    assert tags(run)[-1] == tags(child)[-1] == "run-finished"
    assert run.transcript()[-1].parts[0].text == f"done {MARK}"  # type: ignore[union-attr]
    assert verify_run(runtime.journal, run.id) == verify_run(runtime.journal, child.id) == []
    assert ids(runtime) == [plain.id]
    with runtime.events() as events:
        assert {event.run_id for event in events.poll()} == {plain.id}


def test_nothing_of_a_memory_run_and_its_children_is_in_a_file(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [*secretive(), HELLO], durable=lambda info: info.channel_id != "private")
    private, public = runtime.start("secretive", MARK, channel="private"), runtime.start("hello", "Hi")
    assert {private.result(DEADLINE_S).status, public.result(DEADLINE_S).status} == {"ok"}
    assert marked(tmp_path) == []
    runtime.close()
    assert marked(tmp_path) == []
    assert [row.run_id for row in read_journal(tmp_path / "runs.db").runs()] == [public.id]
    again = opened(tmp_path / "runs.db", secretive())
    with pytest.raises(UnknownRun):
        again.run(private.id)
    again.start("secretive", MARK).result(DEADLINE_S)
    again.close()
    assert marked(tmp_path) != [], "the mark of a durable run is found, so looking for it proves something"


def test_a_memory_run_ends_with_its_host_and_is_taken_up_by_nobody(opened: Any, tmp_path: Path) -> None:
    line = Line()
    runtime = opened(tmp_path / "runs.db", line.agents)
    family = line.start(runtime, durable=False)
    runtime.close()
    again = opened(tmp_path / "runs.db", line.agents)
    assert (again.live_runs, again.runs()) == (0, [])
    for run in family:
        with pytest.raises(UnknownRun):
            again.run(run.id)


def test_a_memory_run_takes_orders_and_waits_for_people_like_any(opened: Any, tmp_path: Path) -> None:
    echo = FunctionModel(lambda request: said(request.messages[-1].parts[0].text))
    runtime = opened(tmp_path / "runs.db", [Agent("echo", model=echo)], sleep_after_s=0.001)
    run = runtime.start("echo", "one", interactive=True, durable=False)
    wait_for(run, "input-awaited")
    address = runtime.address(run.id)
    until(lambda: address.asleep)
    run.note("seen", {"by": "me"})
    run.send("two")
    wait_for(run, "input-awaited", 2)
    run.end()
    assert run.result(DEADLINE_S).output == "two"
    assert "note-logged" in tags(run)
    assert ids(runtime) == []


def test_a_run_that_goes_on_from_a_memory_run_stays_in_memory(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", secretive(max_steps=1))
    run = runtime.start("secretive", MARK, durable=False)
    assert run.result(DEADLINE_S).status != "ok"
    after = runtime.resume(run, limits={"max_steps": 9})
    after.result(DEADLINE_S)
    assert MARK in str(facts(after))
    assert ids(runtime) == []
    runtime.close()
    assert marked(tmp_path) == []


def test_a_run_that_goes_on_from_another_is_chosen_for_anew(opened: Any, tmp_path: Path) -> None:
    chosen: list[str] = []

    def durable(info: RunInfo) -> bool:
        chosen.append(info.run_id)
        return len(chosen) == 1

    runtime = opened(tmp_path / "runs.db", [HELLO], durable=durable)
    run = runtime.start("hello", "Hi")
    run.result(DEADLINE_S)
    after = runtime.resume(run, "And now?")
    assert after.result(DEADLINE_S).output == "Hello."
    assert chosen == [run.id, after.id]
    assert ids(runtime) == [run.id]


def test_many_runs_are_each_kept_where_they_belong(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", secretive(), durable=lambda info: info.caller_id != "1")
    kinds = everywhere(20, lambda n: runtime.start("secretive", "go", caller=str(n % 3), record=n % 3 != 2))
    assert {run.result(DEADLINE_S).status for run in kinds} == {"ok"}
    until_idle(runtime)
    roots = [run for number, run in enumerate(kinds) if number % 3 == 0]
    expected = {run.id for run in roots} | {run.children()[0].id for run in roots}
    assert set(ids(runtime)) == expected
    assert all(verify_run(runtime.journal, run_id) == [] for run_id in expected)


# ------------------------------------------------------------------ choices that fail


def test_a_choice_that_fails_is_yes_and_is_logged(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(info: RunInfo) -> bool:
        raise LookupError("no such channel")

    runtime = opened(tmp_path / "runs.db", [HELLO], record=broken, durable=lambda info: "yes")
    with caplog.at_level(logging.ERROR, "executus.runtime"):
        run = runtime.start("hello", "Hi")
    assert run.result(DEADLINE_S).status == "ok"
    assert ids(runtime) == [run.id]
    assert [text.partition(" for run")[0] for text in caplog.messages] == ["choosing record", "choosing durable"]
    assert all(run.id in text for text in caplog.messages)


@pytest.mark.parametrize("choice", ["record", "durable"])
def test_a_choice_of_the_wrong_type_is_refused(opened: Any, choice: str) -> None:
    with pytest.raises(TypeError, match=f"Runtime, {choice}: expected a function of a RunInfo, got True"):
        Runtime(None, [HELLO], **{choice: True})
    runtime = opened(None, [HELLO])
    with pytest.raises(TypeError, match=f"start, {choice}: expected True, False or None, got 1"):
        runtime.start("hello", "Hi", **{choice: 1})
    assert runtime.live_runs == 0


class Full:
    """A stager without room."""

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        raise FileRefused("no room")

    def open(self, run_id: str, file_id: str) -> bytes:
        raise FileRefused("nothing here")


def test_a_start_that_is_refused_leaves_no_trace_of_the_choice(opened: Any) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> str:
        await gate.pass_through()
        return "done"

    agents = [Agent("slow", model=ScriptedModel(answer))]
    runtime = opened(None, agents, max_live_runs=1, files=Full())
    first = runtime.start("slow", "x", request_id="r", durable=False)
    for _ in range(3):
        assert runtime.start("slow", "x", request_id="r", durable=False).id == first.id
        with pytest.raises(Overloaded):
            runtime.start("slow", "x", record=False)
        with pytest.raises(FileRefused):
            runtime.start("slow", "x", record=False, files=[InputFile("a.pdf", b"x", "application/pdf")])
    assert list(runtime._beside._aside) == [first.id]
    gate.open()
    assert first.result(DEADLINE_S).output == "done"


# ------------------------------------------------------------------ what the other ports see of them


def test_memory_runs_are_paid_for_and_watched_like_the_others(opened: Any, tmp_path: Path) -> None:
    watched: list[str] = []

    class Watching:
        every_steps = 1

        def review(self, trace: Any, now: float) -> Any:
            watched.append(trace.info.run_id)
            return Continue()

    budget = [Allowance(window="total", tool_calls=4)]
    runtime = opened(tmp_path / "runs.db", secretive(), critic=Watching(), budget=budget)
    for choice in ({"record": False}, {"durable": False}):
        run = runtime.start("secretive", "go", caller="alice", **choice)
        assert run.result(DEADLINE_S).status in ("ok", "budget_exceeded")
        assert run.id in watched
    assert runtime.spending("alice")["total"].tool_calls >= 4
    with pytest.raises(BudgetSpent):
        runtime.start("secretive", "go", caller="alice")


def test_memory_runs_are_delivered_unless_they_are_not_recorded(opened: Any, tmp_path: Path) -> None:
    parcels: list[str] = []
    wanted: dict[str, bool] = {}

    def answer(request: Any) -> str:
        wanted[request.run_id] = runtime.journal.read(request.run_id)[0].fact.deliver
        return "Hello."

    delivery = CallbackDelivery(lambda parcel, store: parcels.append(parcel.info.run_id))
    runtime = opened(tmp_path / "runs.db", [Agent("hello", model=ScriptedModel(answer))], delivery=delivery)
    silent, run = runtime.start("hello", "Hi", record=False), runtime.start("hello", "Hi", durable=False)
    assert {one.result(DEADLINE_S).status for one in (silent, run)} == {"ok"}
    until(lambda: runtime.journal.read(run.id)[-1].tag == "delivered")
    assert parcels == [run.id]
    assert wanted == {silent.id: False, run.id: True}


# ------------------------------------------------------------------ dry, tier, inputs, channel and guild


def test_the_choices_of_a_start_are_in_its_record_and_reach_its_children(opened: Any, tmp_path: Path) -> None:
    named: list[str] = []

    class Named(ScriptedModel):
        async def reply(self, request: Any) -> Any:
            named.append(self.name)
            return await super().reply(request)

    parent = boss(ask("helper"), agents=["helper"])
    agents = [parent, Agent("helper", model=ScriptedModel(["words"]))]
    tiers = {"big": Named([[ask("helper")], "done"], name="big")}
    runtime = opened(tmp_path / "runs.db", agents, tiers=tiers)
    run = runtime.start(
        "boss", "go", tier="big", caller="alice", channel="c", guild="g", subject="s", name="n", inputs={"n": [1, "x"]}
    )
    assert run.result(DEADLINE_S).output == "done"
    assert named == ["big", "big"]
    runtime.close()
    again = opened(tmp_path / "runs.db", agents, tiers=tiers)
    kept = again.run(run.id)
    info = begun(kept).info
    assert (info.model_tier, info.inputs) == ("big", {"n": [1, "x"]})
    assert (info.caller_id, info.channel_id, info.guild_id) == ("alice", "c", "g")
    assert (info.subject_id, info.name) == ("s", "n")
    child = begun(kept.children()[0]).info
    assert (child.caller_id, child.channel_id, child.guild_id) == ("alice", "c", "g")


def test_a_dry_run_executes_no_tool_and_starts_no_child_and_says_so_in_its_record(opened: Any, tmp_path: Path) -> None:
    done: list[str] = []

    @tool
    def pay(to: str) -> str:
        """Pay."""
        done.append(to)
        return "paid"

    script = [[call("pay", to="bob"), call("agent__helper", prompt="x"), call("skill__sum")], "I would have paid."]
    agents = [Agent("payer", model=ScriptedModel(script), tools=[pay], agents=["helper"], skills=["sum"]), HELLO]
    agents.append(Agent("helper", model=ScriptedModel(["never"])))
    runtime = opened(tmp_path / "runs.db", agents, skills=[Skill("sum", instructions="Sum.")])
    run = runtime.start("payer", "Pay bob.", dry_run=True)
    result = run.result(DEADLINE_S)
    assert (result.status, result.output) == ("dry_run", "I would have paid.")
    runtime.close()
    kept = opened(tmp_path / "runs.db", agents).run(run.id)
    assert begun(kept).dry_run
    assert (kept.status, done, kept.children()) == ("dry_run", [], [])
    assert tags(kept).count("tool-refused") == 3
    assert "tool-started" not in tags(kept)


def test_choices_can_be_made_together(opened: Any, where: Any) -> None:
    runtime = opened(where, [HELLO], tiers={"big": ScriptedModel(["Big hello."])})
    run = runtime.start("hello", "Hi", durable=False, dry_run=True, tier="big", inputs={"n": 1}, channel="c")
    result = run.result(DEADLINE_S)
    assert (result.status, result.output) == ("dry_run", "Big hello.")
    started = begun(run)
    assert (started.dry_run, started.info.model_tier, started.info.inputs) == (True, "big", {"n": 1})
    assert ids(runtime) == []


# ------------------------------------------------------------------ a journal that cannot be opened


def other_program(path: Path) -> None:
    """Something that is no journal."""
    path.write_bytes(b"SQLite format 2\x00" + bytes(4096))


def a_folder(path: Path) -> None:
    """A folder where the file should be."""
    path.mkdir()


def no_folder(path: Path) -> None:
    """A file where the folder should be."""
    path.parent.rmdir()
    path.parent.write_bytes(b"in the way")


BROKEN = [other_program, a_folder, no_folder]


@pytest.fixture(params=BROKEN)
def broken(request: Any, tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "runs.db"
    request.param(path)
    return path


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def errors(run: Any) -> list[str]:
    return [fact.message for fact in facts(run) if isinstance(fact, ErrorLogged)]


def test_a_journal_that_cannot_be_opened_is_an_error(broken: Path, tmp_path: Path) -> None:
    before = everything_in(tmp_path)
    with pytest.raises((JournalError, OSError)) as caught:
        Runtime(broken, [HELLO])
    assert str(broken.parent) in str(caught.value)
    assert everything_in(tmp_path) == before


def test_a_host_may_go_on_without_a_journal_that_cannot_be_opened(
    opened: Any, broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = everything_in(tmp_path)
    with caplog.at_level(logging.ERROR, "executus.runtime"):
        runtime = opened(broken, [*secretive(), HELLO], degrade=True)
    assert len(caplog.messages) == 1
    assert "the journal cannot be opened; runs are kept in memory only" in caplog.messages[0]
    run = runtime.start("secretive", MARK)
    assert run.result(DEADLINE_S).output == f"done {MARK}"
    (told,) = errors(run)
    assert told.startswith("this run is kept in memory only: its journal could not be opened: ")
    assert str(broken.parent) in told
    assert tags(run)[:2] == ["run-started", "error-logged"], "before anything else happens"
    assert run.children()[0].id in ids(runtime)
    assert run.id in ids(runtime)
    runtime.close()
    assert everything_in(tmp_path) == before


def test_a_locked_journal_is_left_to_who_has_it(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    owner = opened(path, [HELLO])
    kept = owner.start("hello", "Hi")
    kept.result(DEADLINE_S)
    with pytest.raises(JournalInUse) as caught:
        Runtime(path, [HELLO])
    degraded = opened(path, [HELLO], degrade=True)
    run = degraded.start("hello", "Hi")
    assert run.result(DEADLINE_S).output == "Hello."
    assert str(caught.value) in errors(run)[0]
    assert ids(degraded) == [run.id]
    assert ids(owner) == [kept.id]
    owner.start("hello", "again").result(DEADLINE_S)
    with pytest.raises(UnknownRun):
        degraded.run(kept.id)


def test_a_degraded_runtime_keeps_artifacts_in_memory_too(opened: Any, tmp_path: Path) -> None:
    other_program(tmp_path / "runs.db")
    model = ScriptedModel([[call("save_artifact", name="a.txt", text=MARK)], "saved"])
    runtime = opened(tmp_path / "runs.db", [Agent("maker", model=model, tools=[save_artifact])], degrade=True)
    run = runtime.start("maker", "Make it.")
    assert run.result(DEADLINE_S).output == "saved"
    (artifact,) = run.artifacts()
    assert runtime.artifact(artifact.sha256) == MARK.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


def test_every_run_of_a_degraded_runtime_says_so_whatever_else_was_chosen(opened: Any, tmp_path: Path) -> None:
    other_program(tmp_path / "runs.db")
    runtime = opened(tmp_path / "runs.db", [HELLO], degrade=True, files=Keeping())
    plain = runtime.start("hello", "Hi", files=[InputFile("a.pdf", b"x", "application/pdf")])
    aside = runtime.start("hello", "Hi", durable=False)
    plain.result(DEADLINE_S)
    after = runtime.resume(plain, "And?")
    assert {run.result(DEADLINE_S).status for run in (plain, aside, after)} == {"ok"}
    assert [len(errors(run)) for run in (plain, aside, after)] == [1, 1, 1]
    assert "input-staged" in tags(plain)
    silent = runtime.start("hello", "Hi", record=False)
    assert silent.result(DEADLINE_S).status == "ok"


class Keeping:
    """A stager that takes everything."""

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        return f"{run_id}/{name}"

    def open(self, run_id: str, file_id: str) -> bytes:
        return b"x"


def test_a_journal_that_opens_is_used_though_the_host_would_do_without(opened: Any, tmp_path: Path) -> None:
    runtime = opened(tmp_path / "runs.db", [HELLO], degrade=True)
    run = runtime.start("hello", "Hi")
    run.result(DEADLINE_S)
    assert errors(run) == []
    runtime.close()
    assert stored(opened(tmp_path / "runs.db", [HELLO]).run(run.id))[-1].tag == "run-finished"


def test_a_wrong_path_is_a_mistake_of_the_host_and_no_reason_to_degrade() -> None:
    with pytest.raises(ValueError, match="journal path"):
        Runtime("", [HELLO], degrade=True)
    with pytest.raises(TypeError):
        Runtime(7, [HELLO], degrade=True)  # type: ignore[arg-type]


def test_a_damaged_journal_is_named_as_such(tmp_path: Path) -> None:
    other_program(tmp_path / "runs.db")
    with pytest.raises(JournalUnreadable, match="not an SQLite database"):
        Runtime(tmp_path / "runs.db", [HELLO])


def test_a_journal_that_fails_later_is_waited_for_and_not_replaced_by_memory(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, gate = Faults.planted(monkeypatch), AsyncGate()

    async def hold(request: Any) -> str:
        await gate.pass_through()
        return "held"

    agents = [HELLO, Agent("holding", model=ScriptedModel(hold))]
    runtime = opened(tmp_path / "runs.db", agents, degrade=True)
    run = runtime.start("holding", "Hi")
    gate.wait_entered()
    failed = threading.Event()

    def due(statement: str) -> bool:
        failed.set()
        return True

    faults.due = due
    gate.open()
    assert failed.wait(DEADLINE_S)
    with pytest.raises(TimeoutError, match="the run still waits to be admitted"):
        runtime.start("hello", "Hi", request_id="r1", timeout=0.3)
    faults.due = lambda statement: False
    assert run.result(DEADLINE_S).output == "held"
    late = runtime.start("hello", "Hi", request_id="r1")
    assert late.result(DEADLINE_S).output == "Hello."
    runtime.close()
    later = opened(tmp_path / "runs.db", agents)
    assert [later.run(one.id).status for one in (run, late)] == ["ok", "ok"]
    assert len(later.runs()) == 2
