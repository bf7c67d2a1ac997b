"""What comes with a run and what it makes: images, attachments, artifacts."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from family_support import answers, boss
from runtime_support import DEADLINE_S, AsyncGate, facts, texts_heard, wait_for

from executus import Agent, Image, InputFile, Run, Runtime, ScriptedModel, Text, ToolContext, tool
from executus.adapters.files.stager import DirectoryStager, MemoryStager
from executus.adapters.models.scripted import call
from executus.adapters.tools.files import read_attachment, save_artifact
from executus.errors import FileRefused
from executus.events import ArtifactStored, InputStaged
from executus.journal import verify_run

NOTES = InputFile("notes.txt", b"the secret is 42", "text/plain")
PICTURE = InputFile("cat.png", b"\x89PNG a cat", "image/png")
SHA = hashlib.sha256(NOTES.content).hexdigest()


def reader(**options: Any) -> Agent:
    """Opens the first file it was told of, then says what was in it."""

    def answer(request: Any) -> Any:
        if request.step == 1:
            ids = [text.rpartition(" ")[2] for text in texts_heard(request) if text.startswith("Attached file: ")]
            return [call("read_attachment", file_id=ids[0])] if ids else "nothing attached"
        return f"read: {request.messages[-1].parts[0].text}"

    return Agent("reader", model=ScriptedModel(answer), tools=[read_attachment], **options)


def heard(run: Run) -> list[str]:
    """What the run was given, as text."""
    first: Any = facts(run)[0]
    return [part.text for part in first.input if isinstance(part, Text)]


# ------------------------------------------------------------------ attachments


@pytest.mark.parametrize("stored", [False, True])
def test_an_attachment_is_announced_by_its_id_and_a_tool_opens_it(opened: Any, tmp_path: Path, stored: bool) -> None:
    stager = DirectoryStager(tmp_path / "files") if stored else MemoryStager()
    runtime = opened(tmp_path / "runs.db" if stored else None, [reader()], files=stager)
    run = runtime.start("reader", "Read.", files=[NOTES])
    assert run.result(DEADLINE_S).output == "read: the secret is 42"
    (staged,) = [fact for fact in facts(run) if isinstance(fact, InputStaged)]
    assert (staged.name, staged.media_type, staged.size, staged.sha256) == ("notes.txt", "text/plain", 16, SHA)
    assert heard(run) == ["Read.", f"Attached file: notes.txt (text/plain, 16 bytes), file id {staged.file_id}"]
    assert stager.open(run.id, staged.file_id) == NOTES.content
    assert verify_run(runtime.journal, run.id) == []


def test_a_file_belongs_to_its_run_alone(opened: Any) -> None:
    stager = MemoryStager()
    runtime = opened(None, [reader()], files=stager)
    mine = runtime.start("reader", "Read.", files=[NOTES])
    mine.result(DEADLINE_S)
    (staged,) = [fact for fact in facts(mine) if isinstance(fact, InputStaged)]
    thief = runtime.start("reader", f"Attached file: x, file id {staged.file_id}")
    thief.result(DEADLINE_S)
    (answer,) = answers(thief)
    assert (answer.is_error, "has no file" in answer.text) == (True, True)


def test_images_go_to_the_model_and_are_never_staged(opened: Any) -> None:
    seen: list[Any] = []
    agent = Agent("a", model=ScriptedModel(lambda r: seen.extend(r.messages[0].parts) or "seen"))
    run = opened(None, [agent], files=MemoryStager()).start("a", "Look.", files=[PICTURE, NOTES])
    run.result(DEADLINE_S)
    assert seen[:2] == [Text("Look."), Image("image/png", PICTURE.content)]
    assert [fact.name for fact in facts(run) if isinstance(fact, InputStaged)] == ["notes.txt"]


def test_without_a_stager_files_are_ignored_and_images_are_not(opened: Any) -> None:
    run = opened(None, [reader()]).start("reader", "Read.", files=[NOTES, PICTURE])
    assert run.result(DEADLINE_S).output == "nothing attached"
    first: Any = facts(run)[0]
    assert first.input == (Text("Read."), Image("image/png", PICTURE.content))
    assert not any(isinstance(fact, InputStaged) for fact in facts(run))


class SlowStager:
    """Stages on the loop, when the gate is open."""

    def __init__(self) -> None:
        self.gate, self.kept = AsyncGate(), MemoryStager()

    async def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        await self.gate.pass_through()
        return self.kept.stage(run_id, agent, name, media_type, content)

    def open(self, run_id: str, file_id: str) -> bytes:
        return self.kept.open(run_id, file_id)


def test_a_stager_may_be_async_and_nothing_starts_before_it_is_done(opened: Any) -> None:
    stager = SlowStager()
    runtime = opened(None, [reader()], files=stager)
    with pytest.raises(TimeoutError, match="the attachments are not yet stored"):
        runtime.start("reader", "Read.", files=[NOTES], timeout=0.2)
    assert runtime.runs() == []
    stager.gate.open()
    assert runtime.start("reader", "Read.", files=[NOTES]).result(DEADLINE_S).output == "read: the secret is 42"
    later = asyncio.run(started(runtime))
    assert later.result(DEADLINE_S).output == "read: the secret is 42"


async def started(runtime: Runtime) -> Run:
    return await runtime.start_async("reader", "Read.", files=[NOTES])


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "CON", ".hidden", "a\nb", "a" * 300])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_bad_name_is_refused_and_nothing_is_started(opened: Any, tmp_path: Path, name: str, kind: str) -> None:
    runtime = opened(tmp_path / "runs.db", [reader()], files=DirectoryStager(tmp_path / "files"))
    files = [InputFile(name, b"x")]
    with pytest.raises(FileRefused, match="file name"):
        if kind == "sync":
            runtime.start("reader", "Read.", files=files)
        else:
            asyncio.run(runtime.start_async("reader", "Read.", files=files))
    assert (runtime.runs(), runtime.live_runs) == ([], 0)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (None, FileRefused, "the file stager answered None for 'notes.txt'; expected a file id"),
        (5, FileRefused, "the file stager answered 5 for 'notes.txt'; expected a file id"),
        (OSError("disk full"), OSError, "disk full"),
    ],
)
def test_what_a_stager_gets_wrong_is_told_and_nothing_is_started(
    opened: Any, answer: Any, error: type[Exception], says: str
) -> None:
    class Wrong(MemoryStager):
        def stage(self, *_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    runtime = opened(None, [reader()], files=Wrong())
    with pytest.raises(error, match=says):
        runtime.start("reader", "Read.", files=[NOTES])
    assert (runtime.runs(), runtime.live_runs) == ([], 0)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ("notes.txt", "start, files: expected a sequence of InputFile"),
        ([b"x"], "start, files: expected InputFile objects with bytes, got bytes"),
        ([InputFile("a", "text")], "start, files: expected InputFile objects with bytes"),  # type: ignore[arg-type]
        ([InputFile(5, b"x")], "name and media_type as strings"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_file_is_told_and_nothing_is_started(opened: Any, files: Any, says: str) -> None:
    runtime = opened(None, [reader()], files=MemoryStager())
    with pytest.raises(TypeError, match=says):
        runtime.start("reader", "Read.", files=files)
    assert runtime.runs() == []


def test_a_run_that_goes_on_from_another_opens_its_files_too(opened: Any) -> None:
    opens: list[Any] = []

    def answer(request: Any) -> Any:
        if request.step <= 3:
            return [call("read_attachment", file_id=texts_heard(request)[1].rpartition(" ")[2])]
        return "done"

    agent = Agent("reader", model=ScriptedModel(answer), tools=[read_attachment])
    runtime = opened(None, [agent], files=MemoryStager())
    run = runtime.start("reader", "Read.", files=[NOTES], limits={"max_steps": 1})
    for steps in (2, 3, 4):
        opens += answers(run) if run.result(DEADLINE_S) else []
        run = runtime.resume(run, limits={"max_steps": steps})
    assert run.result(DEADLINE_S).output == "done"
    assert [(one.text, one.is_error) for one in answers(run)] == [("the secret is 42", False)] * 3


def test_attachments_are_there_after_a_restart(opened: Any, tmp_path: Path) -> None:
    gate = AsyncGate()

    async def answer(request: Any) -> Any:
        if request.step == 1:
            if request.attempt == 1:
                await gate.pass_through()
            return [call("read_attachment", file_id=texts_heard(request)[1].rpartition(" ")[2])]
        return f"read: {request.messages[-1].parts[0].text}"

    agent = Agent("reader", model=ScriptedModel(answer), tools=[read_attachment])
    runtime = opened(tmp_path / "runs.db", [agent], files=DirectoryStager(tmp_path / "files"))
    run = runtime.start("reader", "Read.", files=[NOTES])
    gate.wait_entered()
    runtime.close()
    again = opened(tmp_path / "runs.db", [agent], files=DirectoryStager(tmp_path / "files")).run(run.id)
    assert again.result(DEADLINE_S).output == "read: the secret is 42"


# ------------------------------------------------------------------ artifacts


def maker() -> Agent:
    """Saves one text under two names."""
    calls = [call("save_artifact", name=name, text="made") for name in ("a.txt", "b.txt")]
    return Agent("maker", model=ScriptedModel([calls, "made it"]), tools=[save_artifact])


@pytest.mark.parametrize("stored", [False, True])
def test_what_a_run_makes_is_in_its_log_by_hash_and_kept_once(opened: Any, tmp_path: Path, stored: bool) -> None:
    where = tmp_path / "runs.db" if stored else None
    runtime = opened(where, [maker()])
    run = runtime.start("maker", "x")
    assert run.result(DEADLINE_S).status == "ok"
    address = hashlib.sha256(b"made").hexdigest()
    made = [(one.name, one.sha256, one.size, one.media_type) for one in run.artifacts()]
    assert sorted(made) == [("a.txt", address, 4, "text/plain"), ("b.txt", address, 4, "text/plain")]
    assert sorted(one.call for one in run.artifacts()) == ["1.0", "1.1"]
    assert runtime.artifact(address) == b"made"
    if stored:
        runtime.close()
        runtime = opened(where, [])
        assert runtime.artifact(address) == b"made"
        assert len(runtime.run(run.id).artifacts()) == 2
    with pytest.raises(FileRefused):
        runtime.artifact("0" * 64)


def test_an_artifact_is_in_the_log_before_the_result_of_its_call(opened: Any) -> None:
    @tool
    def draw(context: ToolContext) -> str:
        assert context.desk is not None
        return context.desk.keep("pixel.png", b"\x89PNG", "image/png")

    run = opened(None, [Agent("a", model=ScriptedModel([[call("draw")], "done"]), tools=[draw])]).start("a", "x")
    run.result(DEADLINE_S)
    kinds = [type(fact).__name__ for fact in facts(run)]
    assert kinds.index("ArtifactStored") < kinds.index("ToolFinished")
    assert answers(run)[0].text == run.artifacts()[0].sha256


def test_a_call_that_a_new_host_runs_again_makes_its_artifact_once(opened: Any, tmp_path: Path) -> None:
    gate = AsyncGate()

    @tool(effect="idempotent")
    async def draw(context: ToolContext) -> str:
        assert context.desk is not None
        kept = context.desk.keep("pixel.png", b"\x89PNG", "image/png")
        await gate.pass_through()
        return kept

    agent = Agent("a", model=ScriptedModel([[call("draw")], "done"]), tools=[draw])
    first = opened(tmp_path / "runs.db", [agent])
    run = first.start("a", "x")
    gate.wait_entered()
    wait_for(run, "artifact-stored")
    first.close()
    gate.open()
    again = opened(tmp_path / "runs.db", [agent]).run(run.id)
    assert again.result(DEADLINE_S).output == "done"
    assert [one.name for one in again.artifacts()] == ["pixel.png"]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "CON"])
def test_a_bad_name_of_an_artifact_is_told_to_the_model_and_nothing_is_kept(opened: Any, name: str) -> None:
    @tool
    def keep(context: ToolContext) -> str:
        assert context.desk is not None
        return context.desk.keep(name, b"x")

    run = opened(None, [Agent("a", model=ScriptedModel([[call("keep")], "done"]), tools=[keep])]).start("a", "x")
    assert run.result(DEADLINE_S).status == "ok"
    (answer,) = answers(run)
    assert answer.is_error
    assert answer.text.startswith("FileRefused: file name")
    assert not any(isinstance(fact, ArtifactStored) for fact in facts(run))


def test_what_a_child_makes_is_the_child_s(opened: Any) -> None:
    agents = [boss(call("agent__maker", prompt="x"), agents=["maker"]), maker()]
    run = opened(None, agents).start("boss", "go")
    run.result(DEADLINE_S)
    (child,) = run.children()
    assert (len(child.artifacts()), run.artifacts()) == (2, [])
