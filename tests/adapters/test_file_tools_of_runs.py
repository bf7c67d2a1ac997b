from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.files.artifacts import MemoryArtifacts
from executus.adapters.files.stager import MemoryStager
from executus.adapters.models.scripted import call
from executus.adapters.tools.files import LONGEST_PART, read_attachment, save_artifact
from executus.adapters.tools.functions import FunctionTool
from executus.errors import FileRefused
from executus.ports import Tool, ToolContext

RUN = "0190a0a0-0000-7000-8000-000000000001"


class FileDesk:
    """A desk of one run, over the shipped stores in memory."""

    def __init__(self) -> None:
        self.stager, self.artifacts = MemoryStager(), MemoryArtifacts()
        self.kept: list[tuple[str, str]] = []

    def status(self) -> dict[str, Any]:
        raise NotImplementedError

    def open_file(self, file_id: str) -> bytes:
        return self.stager.open(RUN, file_id)

    def keep(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> str:
        self.kept.append((name, media_type))
        return self.artifacts.put(content)

    def stage(self, content: bytes) -> str:
        return self.stager.stage(RUN, "agent", "notes", "text/plain", content)


def ask(one: FunctionTool[..., Any], desk: FileDesk | None, **arguments: object) -> str:
    told = one.call(json.dumps(arguments), ToolContext(RUN, "1.0", f"{RUN}:1.0", desk=desk))
    assert isinstance(told, str)
    return told


def read(content: bytes, **arguments: object) -> str:
    desk = FileDesk()
    return ask(read_attachment, desk, file_id=desk.stage(content), **arguments)


# ------------------------------------------------------------------ reading


def test_a_short_text_comes_as_it_is() -> None:
    assert read("Grüße,\r\nzwei Zeilen\n".encode()) == "Grüße,\r\nzwei Zeilen\n"


def test_a_long_text_comes_in_parts_and_each_says_where_the_next_begins() -> None:
    content = "äbcdefghij".encode()
    assert read(content, limit=4) == "äbcd\n[characters 0 to 3 of 10; the next part: offset=4]"
    assert read(content, offset=4, limit=4) == "efgh\n[characters 4 to 7 of 10; the next part: offset=8]"
    assert read(content, offset=8, limit=4) == "ij\n[characters 8 to 9 of 10, the end]"


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), min_size=1), st.integers(1, 9))
def test_the_parts_of_a_text_are_the_text(text: str, limit: int) -> None:
    desk, found, offset = FileDesk(), "", 0
    file_id = desk.stage(text.encode())
    while offset < len(text):
        told = ask(read_attachment, desk, file_id=file_id, offset=offset, limit=limit)
        part = told[:limit]
        found += part
        offset += limit
        if 0 < offset < len(text):
            assert told.endswith(f"; the next part: offset={offset}]")
    assert found[: len(text)] == text


def test_past_the_end_there_is_nothing() -> None:
    assert read(b"abc", offset=3) == "[3 characters in all: nothing at offset 3]"
    assert read(b"") == "[0 characters in all: nothing at offset 0]"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_how_a_text_is_written(encoding: str) -> None:
    assert read("año 😀".encode(encoding)) == "año 😀"


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"\0" * 100,
        "año".encode("latin-1"),
        b"\xff\xfea",
        "wide".encode("utf-32"),
    ],
)
def test_what_is_not_text_is_refused_with_its_size(content: bytes) -> None:
    with pytest.raises(
        FileRefused, match=f"{len(content)} bytes that are not text in UTF-8 or UTF-16; it needs a tool"
    ):
        read(content)


@given(st.binary())
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        assert "\0" not in read(content)
    except FileRefused:
        pass


@pytest.mark.parametrize("file_id", ["file-0000000000000000", "../../etc/passwd", "", "\0"])
def test_a_file_that_the_run_does_not_have_is_refused(file_id: str) -> None:
    with pytest.raises(FileRefused):
        ask(read_attachment, FileDesk(), file_id=file_id)


@pytest.mark.parametrize("wrong", [{"offset": -1}, {"limit": 0}, {"limit": LONGEST_PART + 1}])
def test_a_part_that_cannot_be_is_explained_to_the_model(wrong: dict[str, int]) -> None:
    assert "do not fit" in str(read_attachment.check(json.dumps({"file_id": "x", **wrong})))


# ------------------------------------------------------------------ writing


def test_an_artifact_is_stored_under_its_address() -> None:
    desk = FileDesk()
    told = json.loads(ask(save_artifact, desk, name="größe.md", text="# Größe\n", media_type="text/markdown"))
    content = "# Größe\n".encode()
    assert told == {"name": "größe.md", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert desk.artifacts.get(told["sha256"]) == content
    assert desk.kept == [("größe.md", "text/markdown")]


def test_an_artifact_is_plain_text_unless_it_says_otherwise() -> None:
    desk = FileDesk()
    ask(save_artifact, desk, name="a.txt", text="")
    assert desk.kept == [("a.txt", "text/plain")]


@pytest.mark.parametrize(
    ("name", "media_type", "why"),
    [
        ("../up.txt", "text/plain", "it has a separator"),
        ("", "text/plain", "it is empty"),
        ("a.txt", "text/plain\r\nX-Evil: 1", "media type"),
        ("a.txt", "", "media type"),
    ],
)
def test_a_bad_name_or_kind_is_refused_and_nothing_is_stored(name: str, media_type: str, why: str) -> None:
    desk = FileDesk()
    with pytest.raises(FileRefused, match=re.escape(why)):
        ask(save_artifact, desk, name=name, text="x", media_type=media_type)
    assert desk.kept == []


# ------------------------------------------------------------------ both


def test_without_a_desk_they_say_that_files_cannot_be_reached() -> None:
    with pytest.raises(FileRefused, match="the files of the run cannot be reached"):
        ask(read_attachment, None, file_id="file-0000000000000000")
    with pytest.raises(FileRefused, match="the files of the run cannot be reached"):
        ask(save_artifact, None, name="a.txt", text="x")


def test_a_run_keeps_what_its_model_saves() -> None:
    script = [call("save_artifact", name="tea.md", text="# Tea"), "done"]
    with Runtime(agents=[Agent("writer", model=ScriptedModel(script), tools=[save_artifact])]) as rt:
        run = rt.start("writer", "Write.", timeout_s=60.0)
        assert run.result(timeout=60).status == "ok"
        (kept,) = run.artifacts()
    assert (kept.name, kept.media_type, kept.size, kept.call) == ("tea.md", "text/plain", 5, "1.0")
    assert kept.sha256 == hashlib.sha256(b"# Tea").hexdigest()


def test_reading_is_pure_and_saving_may_be_repeated() -> None:
    assert isinstance(read_attachment, Tool)
    assert isinstance(save_artifact, Tool)
    assert (read_attachment.effect, save_artifact.effect) == ("pure", "idempotent")
