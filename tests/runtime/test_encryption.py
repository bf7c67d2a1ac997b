"""A sealed journal: what is said in runs is on no disk in the clear, and goes on after a restart with the key only."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, FunctionModel, Gate, ThreadModel, said, wait_for
from sealing_support import KEY, OTHER_KEY, encryption, files_with

from executus import Agent, Image, InputFile, ModelRequest, Reply, Run, Runtime, Text, tool
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.files.stager import DirectoryStager
from executus.adapters.keys.sources import KeyFile
from executus.errors import ContentWithheld, FileRefused, KeyRefused, KeysMissing, MessageRefused
from executus.events import TOMBSTONE, ArtifactStored, ContentErased, InputStaged, ToolCall, Usage
from executus.journal import read_journal, verify_run
from executus.ports import ArtifactStore, Parcel, ToolContext
from executus.projections import fold

WORDS = {
    "input": "canary-input-7d1f",
    "instructions": "canary-instructions-02ac",
    "reply": "canary-reply-93be",
    "arguments": "canary-arguments-5c20",
    "result": "canary-result-e811",
    "note": "canary-note-4b9a",
    "error": "canary-error-66d3",
    "steering": "canary-steering-c0f5",
    "artifact": "canary-artifact-18e7",
    "artifact name": "canary-artifact-name-f2d4",
    "attachment": "canary-attachment-aa31",
    "attachment name": "canary-attachment-name-7e6c",
    "image": "canary-image-d9b2",
    "reason": "canary-reason-3f80",
    "inputs": "canary-inputs-b47e",
    "child": "canary-child-2a6d",
    "large": "canary-large-0e5b",
}


@tool
def look(what: str, ctx: ToolContext) -> str:
    """Look at something."""
    assert ctx.desk is not None
    ctx.desk.keep(f"{WORDS['artifact name']}.txt", WORDS["artifact"].encode())
    return f"{WORDS['result']} of {what}, " + WORDS["large"] * 5_000


def answer(request: ModelRequest) -> Reply:
    """Three steps: a tool, a child, and the last word."""
    usage = Usage(input=10, output=5, cost_usd=0.5)
    match request.step:
        case 1:
            arguments = f'{{"what": "{WORDS["arguments"]}"}}'
            return Reply((Text(WORDS["reply"]), ToolCall("c1", "look", arguments)), usage=usage)
        case 2:
            return Reply((ToolCall("c2", "agent__helper", f'{{"prompt": "{WORDS["child"]}"}}'),), usage=usage)
        case _:
            return Reply((Text(WORDS["reply"]),), usage=usage)


helper = Agent("helper", model=FunctionModel(lambda _: said(WORDS["child"])), description="Helps.")
worker = Agent(
    "worker", model=FunctionModel(answer), instructions=WORDS["instructions"], tools=[look], agents=["helper"]
)
talker = Agent("talker", model=FunctionModel(lambda _: said(WORDS["reply"])))


def open_runtime(folder: Path, key: Any = KEY, **rest: Any) -> Runtime:
    stager = DirectoryStager(folder / "attachments")
    return Runtime(folder / "runs.db", [worker, helper, talker], encryption=key, files=stager, **rest)


def a_life(runtime: Runtime, caller: str = "alice") -> Run:
    """A run with something said everywhere."""
    run = runtime.start(
        "worker",
        [Text(WORDS["input"]), Image("image/png", data=WORDS["image"].encode())],
        caller=caller,
        inputs={"word": WORDS["inputs"]},
        files=[InputFile(f"{WORDS['attachment name']}.txt", WORDS["attachment"].encode())],
    )
    assert run.result(DEADLINE_S).status == "ok"
    chat = runtime.start("talker", WORDS["input"], caller=caller, interactive=True)
    wait_for(chat, "input-awaited")
    chat.note("word", {"word": WORDS["note"]})
    chat.log_error(WORDS["error"])
    chat.send(WORDS["steering"], by="alice")
    wait_for(chat, "input-awaited", 2)
    chat.cancel(WORDS["reason"], by="alice")
    assert chat.result(DEADLINE_S).status == "cancelled"
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "host"
    made.mkdir(mode=0o700)
    return made


def read(folder: Path, key: bytes | None = KEY) -> Any:
    return read_journal(folder / "runs.db", encryption=None if key is None else encryption(key))


NUMBERS = (
    *("step", "tool_calls", "input_tokens", "output_tokens", "cost_usd"),
    *("status", "doing", "by", "caller", "runtime_ms"),
)


# ------------------------------------------------------------------ on the disk


def test_nothing_that_is_said_is_on_the_disk_while_the_host_lives_and_after(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        assert files_with(folder, WORDS.values()) == []
        assert runtime.artifact(run.artifacts()[0].sha256) == WORDS["artifact"].encode()
        assert run.result().output == WORDS["reply"]
    assert files_with(folder, WORDS.values()) == []


def test_the_words_of_this_test_are_all_there_without_encryption(folder: Path) -> None:
    with open_runtime(folder, None) as runtime:
        a_life(runtime)
        runtime.journal.close()
    found = {word for _, word in files_with(folder, WORDS.values())}
    assert found == set(WORDS.values())


def test_all_files_are_their_owners_alone(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        a_life(runtime)
        for path in folder.glob("runs.db*"):
            if path.is_file():
                assert path.stat().st_mode & 0o077 == 0, path
    assert (folder / "runs.db.keys").stat().st_mode & 0o777 == 0o600


def test_a_reader_with_the_key_reads_and_one_without_sees_numbers(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        whole = runtime.journal.load(run.id)
    with_key, without = read(folder), read(folder, None)
    try:
        assert with_key.load(run.id) == whole
        bare = without.load(run.id)
        assert bare.withheld == "locked"
        assert {event.content for event in without.read(run.id)} == {"clear", "locked"}
        for field in NUMBERS:
            assert getattr(bare.state, field) == getattr(whole.state, field)
        assert bare.state.output == TOMBSTONE
        assert verify_run(with_key, run.id) == verify_run(without, run.id) == []
        assert fold(with_key.read(run.id)) == whole
        assert fold(without.read(run.id)) == bare
    finally:
        with_key.close()
        without.close()


def test_runs_in_memory_are_not_sealed(folder: Path) -> None:
    with open_runtime(folder, durable=lambda _: False) as runtime:
        run = a_life(runtime)
        assert {event.content for event in runtime.journal.read(run.id)} == {"clear"}
        assert runtime.journal.stored.keyring.file.count() == (0, 0)  # type: ignore[attr-defined]
    assert files_with(folder, WORDS.values()) == []


def test_without_a_path_a_key_changes_nothing() -> None:
    with Runtime(None, [talker], encryption=KEY) as runtime:
        run = runtime.start("talker", "go")
        assert run.result(DEADLINE_S).output == WORDS["reply"]


# ------------------------------------------------------------------ restarts and keys


def test_a_sealed_run_goes_on_after_a_restart_with_the_key(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = runtime.start("talker", WORDS["input"], interactive=True)
        wait_for(run, "input-awaited")
    with open_runtime(folder) as runtime:
        again = runtime.run(run.id)
        again.end(WORDS["steering"])
        assert again.result(DEADLINE_S).output == WORDS["reply"]
    assert files_with(folder, WORDS.values()) == []


def test_without_the_key_a_sealed_run_stays_waiting_and_everything_else_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_runtime(folder) as runtime:
        waits = runtime.start("talker", WORDS["input"], interactive=True)
        wait_for(waits, "input-awaited")
    with caplog.at_level(logging.WARNING), open_runtime(folder, None) as runtime:
        assert runtime.run(waits.id).status == "waiting"
        assert "its key is not here; open the journal with the host's key" in runtime.run(waits.id).reason
        assert waits.id in caplog.text
        plain = runtime.start("talker", "in the clear")
        assert plain.result(DEADLINE_S).status == "ok"
        assert {event.content for event in runtime.journal.read(plain.id)} == {"clear"}
    with open_runtime(folder) as runtime:
        runtime.run(waits.id).end()
        assert runtime.run(waits.id).result(DEADLINE_S).status == "ok"
        assert runtime.run(plain.id).result(DEADLINE_S).output == WORDS["reply"]


def test_a_run_from_before_encryption_stays_in_the_clear_and_new_ones_are_sealed(folder: Path) -> None:
    with open_runtime(folder, None) as runtime:
        old = runtime.start("talker", "go", interactive=True)
        wait_for(old, "input-awaited")
    with open_runtime(folder) as runtime:
        runtime.run(old.id).end("the end")
        assert runtime.run(old.id).result(DEADLINE_S).status == "ok"
        new = runtime.start("talker", "go")
        new.result(DEADLINE_S)
        assert {event.content for event in runtime.journal.read(old.id)} == {"clear"}
        assert "sealed" in {event.content for event in runtime.journal.read(new.id)}
        assert verify_run(runtime.journal, old.id) == verify_run(runtime.journal, new.id) == []


def test_another_key_opens_nothing_and_changes_nothing(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        runtime.start("talker", "go").result(DEADLINE_S)
    before = {folder / name: (folder / name).read_bytes() for name in ("runs.db", "runs.db.keys")}
    with pytest.raises(KeyRefused, match="does not open"):
        open_runtime(folder, OTHER_KEY)
    with pytest.raises(KeyRefused, match="does not open"):
        read(folder, OTHER_KEY)
    assert {path: path.read_bytes() for path in before} == before
    with open_runtime(folder) as runtime:
        assert len(runtime.runs()) == 1


def test_a_missing_keys_file_is_asked_for_and_none_is_made_up(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = runtime.start("talker", WORDS["input"])
        run.result(DEADLINE_S)
    keys = folder / "runs.db.keys"
    kept = keys.read_bytes()
    keys.unlink()
    with pytest.raises(KeysMissing, match="is missing"):
        open_runtime(folder)
    assert not keys.exists()
    with open_runtime(folder, None) as runtime:
        assert runtime.run(run.id).result().output == TOMBSTONE
        with pytest.raises(MessageRefused, match="not in the keys file"):
            runtime.erase(run)
    keys.write_bytes(kept)
    with open_runtime(folder) as runtime:
        assert runtime.run(run.id).result().output == WORDS["reply"]


def test_the_keys_of_another_journal_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir(mode=0o700)
        with open_runtime(tmp_path / name) as runtime:
            runtime.start("talker", "go").result(DEADLINE_S)
    (tmp_path / "one" / "runs.db.keys").write_bytes((tmp_path / "two" / "runs.db.keys").read_bytes())
    with pytest.raises(KeysMissing, match="another journal"):
        open_runtime(tmp_path / "one")


def test_a_key_file_is_made_on_request_for_its_owner_alone(folder: Path, tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "host.key", create=True)
    assert (tmp_path / "host.key").stat().st_mode & 0o777 == 0o600
    with open_runtime(folder, key) as runtime:
        run = runtime.start("talker", "go")
        run.result(DEADLINE_S)
    with open_runtime(folder, KeyFile(tmp_path / "host.key")) as runtime:
        assert runtime.run(run.id).result().output == WORDS["reply"]


class Service:
    """A key service that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def wrap(self, key: bytes) -> bytes:
        self.asked += 1
        return bytes(byte ^ 7 for byte in key)

    def unwrap(self, wrapped: bytes) -> bytes:
        self.asked += 1
        return bytes(byte ^ 7 for byte in wrapped)


def test_a_key_service_is_asked_at_opening_and_not_for_each_run(folder: Path) -> None:
    service = Service()
    with open_runtime(folder, service) as runtime:
        asked = service.asked
        for _ in range(20):
            runtime.start("talker", "go").result(DEADLINE_S)
        assert service.asked == asked <= 3
    with open_runtime(folder, service) as runtime:
        assert runtime.runs()
        assert service.asked == asked + 1


def test_a_key_service_that_is_down_is_told_at_opening(folder: Path) -> None:
    class Down(Service):
        def unwrap(self, wrapped: bytes) -> bytes:
            raise ConnectionError("no route to the key service")

    with pytest.raises(KeyRefused, match="no route to the key service"):
        open_runtime(folder, Down())
    assert not (folder / "runs.db.keys").exists()


def test_the_host_key_can_be_changed_while_runs_live(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = runtime.start("talker", WORDS["input"], interactive=True)
        wait_for(run, "input-awaited")
        assert runtime.rotate_key(OTHER_KEY) == 1
        run.end(WORDS["steering"])
        assert run.result(DEADLINE_S).status == "ok"
        later = runtime.start("talker", WORDS["input"])
        later.result(DEADLINE_S)
    with pytest.raises(KeyRefused):
        open_runtime(folder, KEY)
    with open_runtime(folder, OTHER_KEY) as runtime:
        for one in (run, later):
            assert runtime.run(one.id).result().output == WORDS["reply"]
            assert verify_run(runtime.journal, one.id) == []


# ------------------------------------------------------------------ erasing


def erased_words(runtime: Runtime, run: Run) -> None:
    found = runtime.run(run.id)
    assert found.result().output == TOMBSTONE
    assert found.status == "ok"
    assert found.state().cost_usd == 1.5
    assert [type(fact) for fact in (event.fact for event in runtime.journal.read(run.id))][-1] is ContentErased


def test_an_erased_run_keeps_its_numbers_and_loses_its_words(folder: Path, tmp_path: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        before = runtime.journal.load(run.id)
        [child] = run.children()
        [artifact] = run.artifacts()
        erasure = runtime.erase(run, by="dpo", reason="asked by alice")
        assert erasure.left == ()
        assert set(erasure.runs) == {run.id, child.id}
        assert (erasure.artifacts, erasure.attachments) == (1, 1)
        assert erasure.blobs >= 1
        assert runtime.prove_erasure(erasure.runs, list(WORDS.values())) == []
        after = runtime.journal.load(run.id)
        for field in NUMBERS:
            assert getattr(after.state, field) == getattr(before.state, field), field
        assert verify_run(runtime.journal, run.id) == verify_run(runtime.journal, child.id) == []
        assert after == fold(runtime.journal.read(run.id, verify=True))
        last = runtime.journal.read(run.id)[-1]
        assert last.fact == ContentErased(by="dpo", reason="asked by alice")
        with pytest.raises(Exception, match="no artifact"):
            runtime.artifact(artifact.sha256)
    # not even with the host's key, and a copy of everything as it is now
    reader = read(folder)
    try:
        for one in (run.id, child.id):
            events = reader.read(one)
            assert {event.content for event in events} == {"clear", "erased"}
            spoken = repr([event.fact for event in events])
            assert not [word for word in WORDS.values() if word in spoken]
    finally:
        reader.close()
    assert files_with(folder, WORDS.values()) == []


def test_erasing_again_changes_nothing_and_is_proved_again(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        runtime.erase(run)
        version = runtime.journal.run(run.id)
        erasure = runtime.erase(run)
        assert erasure.left == ()
        assert runtime.journal.run(run.id) == version
        assert runtime.prove_erasure([run]) == []


def test_a_proof_is_no_proof_before_the_erasure(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        assert [one for one in runtime.prove_erasure([run]) if "its key is there" in one]
        assert [one for one in runtime.prove_erasure([run]) if "does not say that it was erased" in one]


def test_all_runs_of_a_caller_are_erased_and_no_others(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        mine, other = a_life(runtime, "alice"), a_life(runtime, "bob")
        plan = runtime.erase(caller="alice", dry_run=True)
        assert plan.dry_run
        assert runtime.run(mine.id).result().output == WORDS["reply"]
        erasure = runtime.erase(caller="alice")
        assert set(erasure.runs) == set(plan.runs)
        assert len(erasure.runs) == 3  # the run, its child and the chat
        assert runtime.run(mine.id).result().output == TOMBSTONE
        assert runtime.run(other.id).result().output == WORDS["reply"]
        assert runtime.artifact(other.artifacts()[0].sha256) == WORDS["artifact"].encode()


def test_a_run_that_goes_on_from_an_erased_one_is_erased_with_it(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        first = runtime.start("talker", WORDS["input"])
        first.result(DEADLINE_S)
        second = runtime.resume(first, WORDS["steering"])
        second.result(DEADLINE_S)
        assert set(runtime.erase(first).runs) == {first.id, second.id}
        with pytest.raises(MessageRefused, match="was erased"):
            runtime.resume(first, "go on")


def test_a_live_run_is_refused_until_it_is_cancelled(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = runtime.start("talker", "go", interactive=True, caller="alice")
        wait_for(run, "input-awaited")
        for ask in ({"run": run}, {"caller": "alice"}):
            with pytest.raises(MessageRefused, match="cancel it first"):
                runtime.erase(**ask)  # type: ignore[arg-type]
        run.cancel()
        assert runtime.erase(run).left == ()


def test_a_child_of_a_live_run_is_refused(folder: Path) -> None:
    gate = Gate()

    def slow(request: ModelRequest) -> Reply:
        if request.step == 1:
            return Reply((ToolCall("c", "agent__helper", '{"prompt": "go"}'),))
        gate.pass_through()
        return said("done")

    class Slow(FunctionModel):
        def reply(self, request: ModelRequest) -> Reply:  # type: ignore[override]
            return slow(request)

    parent = Agent("parent", model=Slow(slow), agents=["helper"])
    with Runtime(folder / "runs.db", [parent, helper], encryption=KEY) as runtime:
        run = runtime.start("parent", "go")
        gate.wait_entered()
        [child] = run.children()
        with pytest.raises(MessageRefused, match="cancel that first"):
            runtime.erase(child)
        gate.open()
        run.result(DEADLINE_S)
        assert runtime.erase(child).left == ()


def test_a_run_in_the_clear_is_refused_and_told_why(folder: Path) -> None:
    with open_runtime(folder, None) as runtime:
        run = runtime.start("talker", "go", caller="alice")
        run.result(DEADLINE_S)
    with open_runtime(folder) as runtime:
        sealed = runtime.start("talker", "go", caller="alice")
        sealed.result(DEADLINE_S)
        with pytest.raises(MessageRefused, match="stored in the clear"):
            runtime.erase(run.id)
        erasure = runtime.erase(caller="alice")
        assert erasure.runs == (sealed.id,)
        [left] = erasure.left
        assert run.id in left
        assert "stored in the clear" in left


def test_a_wrong_argument_is_told(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        for wrong in ({}, {"run": "x", "caller": "y"}):
            with pytest.raises(ValueError, match="a run or a caller"):
                runtime.erase(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected 32 bytes"):
        open_runtime(folder, "a password")
    with pytest.raises(ValueError, match="expected 32 bytes"):
        open_runtime(folder, b"short")


def test_who_follows_and_lags_sees_no_erased_word(folder: Path) -> None:
    with open_runtime(folder) as runtime, runtime.events() as events:
        run = a_life(runtime)
        first = next(iter(events))  # the rest of the page is read and waits to be handed out
        assert first.version == 1
        runtime.erase(run)
        runtime.erase(caller="alice")
        total = runtime.journal.head()
        rest = [next(events) for _ in range(total - 1)]
        assert [event.position for event in rest] == list(range(2, total + 1))
        spoken = repr([event.fact for event in rest])
        assert not [word for word in WORDS.values() if word in spoken]


def test_the_key_of_an_erased_run_is_gone_from_memory(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        runtime.run(run.id).transcript()
        runtime.erase(run)
        assert runtime.journal.seal(run.id) == "erased"
        assert run.transcript()[-1].parts == (Text(TOMBSTONE),)


def test_names_of_staged_and_stored_files_are_erased_and_ids_stay(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        [before] = [event.fact for event in runtime.journal.read(run.id) if isinstance(event.fact, InputStaged)]
        assert before.name == f"{WORDS['attachment name']}.txt"
        runtime.erase(run)
        facts = [event.fact for event in runtime.journal.read(run.id)]
        [staged] = [fact for fact in facts if isinstance(fact, InputStaged)]
        assert (staged.file_id, staged.size, staged.name, staged.sha256) == (before.file_id, before.size, TOMBSTONE, "")
        [stored] = [fact for fact in facts if isinstance(fact, ArtifactStored)]
        assert stored.name == TOMBSTONE


def test_other_runs_go_on_while_one_is_erased(folder: Path) -> None:
    gate = Gate()

    def held(_: ModelRequest) -> Reply:
        gate.pass_through()
        return said(WORDS["reply"])

    busy = Agent("busy", model=ThreadModel(held))
    with Runtime(folder / "runs.db", [talker, busy], encryption=KEY) as runtime:
        working = runtime.start("busy", WORDS["input"])
        gate.wait_entered()
        for _ in range(5):
            done = runtime.start("talker", WORDS["input"])
            done.result(DEADLINE_S)
            assert runtime.erase(done).left == ()
        gate.open()
        assert working.result(DEADLINE_S).output == WORDS["reply"]
        assert runtime.run(working.id).transcript()[-1].parts == (Text(WORDS["reply"]),)


def view_rows(folder: Path) -> dict[str, list[Any]]:
    """Everything in the stored views, by table; without what tells when they were made."""
    connection = sqlite3.connect(folder / "runs.db.views")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {table: sorted(connection.execute(f'SELECT * FROM "{table}"'), key=repr) for table in tables}
    connection.close()
    return {table: rows[table] for table in ("runs", "steps", "tools", "orders", "notes", "errors", "files")}


def test_views_hold_skeletons_only_and_are_the_same_with_and_without_the_key(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        a_life(runtime)
        assert runtime.views is not None
        assert runtime.views.wait(timeout=DEADLINE_S)
    with_key = view_rows(folder)
    assert TOMBSTONE in repr(with_key)
    assert len(with_key["runs"]) == 3
    for path in folder.glob("runs.db.views*"):
        path.unlink()
    with open_runtime(folder, None) as runtime:
        assert runtime.views is not None
        assert runtime.views.wait(timeout=DEADLINE_S)
    assert view_rows(folder) == with_key


def test_output_that_is_owed_is_not_delivered_once_it_is_erased_and_never_as_a_tombstone(folder: Path) -> None:
    parcels: list[Parcel] = []
    gate = Gate()

    def deliver(parcel: Parcel, _: ArtifactStore) -> None:
        parcels.append(parcel)
        if len(parcels) == 1:
            gate.pass_through()
            raise ConnectionError("not now")

    with open_runtime(folder, delivery=CallbackDelivery(deliver)) as runtime:
        run = runtime.start("talker", "go")
        run.result(DEADLINE_S)
        gate.wait_entered()
        runtime.erase(run)
        gate.open()
        wait_until(lambda: is_withheld(runtime, run))
        assert "not now" not in repr(runtime.journal.read(run.id)), "what is said later is not stored either"
        assert verify_run(runtime.journal, run.id) == []
    with open_runtime(folder, delivery=CallbackDelivery(deliver)) as runtime:
        runtime.start("talker", "go").result(DEADLINE_S)
    assert {parcel.output for parcel in parcels} == {WORDS["reply"]}
    assert len([parcel for parcel in parcels if parcel.info.run_id == run.id]) == 1


def test_without_the_key_nothing_is_delivered_and_with_it_again_everything(folder: Path) -> None:
    delivered: list[str] = []

    def deliver(parcel: Parcel, _: ArtifactStore) -> None:
        delivered.append(parcel.output)

    def fail(parcel: Parcel, _: ArtifactStore) -> None:
        raise ConnectionError("not now")

    with open_runtime(folder, delivery=CallbackDelivery(fail)) as runtime:
        run = runtime.start("talker", "go")
        run.result(DEADLINE_S)
        wait_until(lambda: "delivery-failed" in {event.tag for event in runtime.journal.read(run.id)})
    with open_runtime(folder, None, delivery=CallbackDelivery(deliver)) as runtime, pytest.raises(ContentWithheld):
        runtime.redeliver(run.id)
    assert delivered == []
    with open_runtime(folder, delivery=CallbackDelivery(deliver)) as runtime:
        runtime.redeliver(run.id)
        wait_until(lambda: bool(delivered))
    assert delivered == [WORDS["reply"]]


def is_withheld(runtime: Runtime, run: Run) -> bool:
    try:
        runtime.redeliver(run)
    except ContentWithheld:
        return True
    return False


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_artifact_of_another_run_stays(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        first, second = a_life(runtime, "alice"), a_life(runtime, "bob")
        [mine], [theirs] = first.artifacts(), second.artifacts()
        assert mine.sha256 != theirs.sha256, "the same content has an address of its own in each run"
        assert mine.size == theirs.size == len(WORDS["artifact"])
        runtime.erase(first)
        with pytest.raises(FileRefused):
            runtime.artifact(mine.sha256)
        assert runtime.artifact(theirs.sha256) == WORDS["artifact"].encode()


def test_a_copy_of_an_artifact_from_before_is_unreadable_after(folder: Path) -> None:
    with open_runtime(folder) as runtime:
        run = a_life(runtime)
        [artifact] = run.artifacts()
        kept = (folder / "runs.db-artifacts" / artifact.sha256).read_bytes()
        runtime.erase(run)
        (folder / "runs.db-artifacts" / artifact.sha256).write_bytes(kept)
        with pytest.raises(FileRefused, match="was erased"):
            runtime.artifact(artifact.sha256)
