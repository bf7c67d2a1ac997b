from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executus.adapters.palette.folders import SkillFolders
from executus.adapters.palette.skill_text import MOST_FRONT_MATTER, read_skill_text
from executus.adapters.tools.functions import tool
from executus.ports import Palette, Skill, ToolContext
from executus.ports.delegation import check_inputs

CONTEXT = ToolContext("run", "1.0", "run:1.0", "ann")

PDF = """\
---
name: pdf-processing
description: Extract PDF text, fill forms, merge files. Use when handling PDFs.
license: Apache-2.0
compatibility: Requires poppler
metadata:
  author: example-org
  version: "1.0"
allowed-tools: Read Bash(git:*)
---

# PDF

See [the guide](references/GUIDE.md).
"""


@tool
def Read(path: str) -> str:
    """Read."""
    return path


@tool
def Bash(command: str) -> str:
    """Run."""
    return command


def folder(root: Path, name: str, text: str | None = None, **files: str) -> Path:
    place = root / name
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(skill_text(name) if text is None else text)
    for file, content in files.items():
        (place / f"{file}.md").write_text(content)
    return place


def skill_text(name: str, description: str = "Does it.", more: str = "", body: str = "Do it.") -> str:
    return f"---\nname: {name}\ndescription: {description}\n{more}---\n{body}\n"


def named(palette: SkillFolders) -> list[str]:
    return [skill.name for skill in palette.skills()]


def found(palette: SkillFolders, name: str) -> Skill:
    skill = palette.skill("ann", name)
    assert skill is not None
    return skill


def reader_of(skill: Skill) -> Callable[[str], str]:
    (read,) = (one for one in skill.tools if one.spec.name == "read_skill_file")

    def call(path: str) -> str:
        answer = read.call(json.dumps({"path": path}), CONTEXT)
        assert isinstance(answer, str)
        return answer

    return call


# ------------------------------------------------------------------ the format


def test_a_whole_skill_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = folder(tmp_path, "pdf-processing", PDF)
    palette = SkillFolders(tmp_path, tools={"Read": Read, "Bash(git:*)": Bash})
    assert isinstance(palette, Palette)
    (skill,) = palette.skills()
    assert skill.name == "pdf-processing"
    assert skill.description.startswith("Extract PDF text")
    assert skill.instructions == "# PDF\n\nSee [the guide](references/GUIDE.md)."
    assert [one.spec.name for one in skill.tools] == ["Read", "Bash"]
    assert skill.source == str(place / "SKILL.md")
    assert palette.skill("ann", "pdf-processing") is skill
    assert palette.skill("ann", "gone") is None
    assert palette.agent("ann", "pdf-processing") is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + skill_text("s"),
        skill_text("s").replace("\n", "\r\n"),
        "---\nname: s\ndescription: >\n  Does\n  it.\n---\nDo it.",
        "---\nname: 's'\ndescription: \"Does it.\"\nversion: 1.0\ndate: 2026-01-01\n---   \n\n\nDo it.\n\n",
    ],
)
def test_the_same_skill_may_be_written_in_many_ways(text: str) -> None:
    read = read_skill_text(text)
    assert (read.name, read.description.strip(), read.instructions) == ("s", "Does it.", "Do it.")


def test_a_description_with_a_colon_needs_no_quotes() -> None:
    read = read_skill_text('---\nname: s\ndescription: Use when: the "user" asks\nlicense: MIT\n---\n')
    assert read.description == 'Use when: the "user" asks'


def test_a_rule_in_the_body_ends_nothing() -> None:
    assert read_skill_text("---\nname: s\ndescription: d\n---\na\n---\nb").instructions == "a\n---\nb"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected front matter"),
        ("name: s\n", "expected front matter"),
        ("---\nname: s\ndescription: d\n", "does not end"),
        ("---\n- name\n---\n", "expected the front matter to be a YAML mapping"),
        ("---\n---\n", "expected the front matter to be a YAML mapping"),
        ("---\ndescription: d\n---\n", "name: expected text .*, got nothing"),
        ("---\nname: 12\ndescription: d\n---\n", "name: expected text .*, got 12"),
        ("---\nname: s\n---\n", "description: expected text .*, got nothing"),
        ("---\nname: s\ndescription: '  '\n---\n", "description: expected text"),
        ("---\nname: s\ndescription: yes\n---\n", "description: expected text .*, got True"),
        ("---\nname: a b\ndescription: d\n---\n", "name: expected 1 to 57 of A-Z a-z 0-9 _ -, got 'a b'"),
        (f"---\nname: {'a' * 58}\ndescription: d\n---\n", "name: expected 1 to 57"),
        ("---\nname: s\ndescription: [d\n---\n", "not YAML in line 3"),
        ("---\nname: s\nmetadata: a: b\ndescription: d\n---\n", "not YAML in line 3: .*quote text that has"),
        ("---\nname: s\nx: !!python/object/apply:os.getcwd []\n---\n", "not YAML in line 3: could not determine"),
        ("---\na: &a [1]\nb: *a\n---\n", "YAML aliases"),
        (f"---\na: {'[' * 50}\n---\n", "nested too deeply"),
        ("---\nx: \x07\n---\n", "not YAML"),
        (skill_text("s", more="inputs:\n  on: string\n"), "JSON has no form for"),
        ("---\n? [a]\n: b\n---\n", "not YAML"),
        ("---\nname: s\ndescription: d\ndate: 2026-99-99\n---\n", "month must be"),
        (f"---\nname: s\ndescription: d\nx: {'y' * MOST_FRONT_MATTER}\n---\n", "16384 at most"),
        (skill_text("s", more="allowed-tools: 3\n"), "allowed-tools: expected names"),
        (skill_text("s", more="allowed-tools: [Read, 3]\n"), "allowed-tools: expected names"),
        (skill_text("s", more="inputs: city\n"), "inputs: expected a mapping"),
        (skill_text("s", more="inputs:\n  city: text\n"), "inputs, city: expected a JSON Schema or one of string"),
        (skill_text("s", more="inputs:\n  city: 3\n"), "inputs, city: expected"),
    ],
)
def test_what_is_wrong_with_a_skill_is_said_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_skill_text(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "written",
    ["Read Bash(git add:*)", "Read, Bash(git add:*)", "[Read, 'Bash(git add:*)']", "\n  - Read\n  - Bash(git add:*)"],
)
def test_allowed_tools_are_words_or_a_list(written: str) -> None:
    assert read_skill_text(skill_text("s", more=f"allowed-tools: {written}\n")).allowed_tools == (
        "Read",
        "Bash(git add:*)",
    )


# ------------------------------------------------------------------ inputs


def test_a_skill_without_inputs_takes_a_request(tmp_path: Path) -> None:
    folder(tmp_path, "s")
    inputs = found(SkillFolders(tmp_path), "s").inputs
    assert inputs == {"type": "object", "properties": {"request": {"type": "string"}}}


@pytest.mark.parametrize("indent", ["", "  "], ids=["at the top", "in metadata"])
def test_inputs_are_types_or_schemas_by_name(indent: str) -> None:
    lines = [
        "inputs:",
        "  city: string",
        "  days: integer?",
        "  pace: {type: string, enum: [slow, fast], default: slow}",
    ]
    more = "".join(f"{indent}{line}\n" for line in lines)
    inputs = read_skill_text(skill_text("s", more=f"metadata:\n{more}" if indent else more)).inputs
    assert inputs is not None
    assert inputs["properties"] == {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "pace": {"type": "string", "enum": ["slow", "fast"], "default": "slow"},
    }
    assert inputs["required"] == ["city"]
    assert check_inputs(inputs, '{"city": "Bonn"}') is None
    assert "`mood` is not allowed" in str(check_inputs(inputs, '{"city": "Bonn", "mood": 1}'))


def test_inputs_may_be_a_whole_json_schema() -> None:
    more = "inputs:\n  type: object\n  properties:\n    city: {type: string}\n"
    inputs = read_skill_text(skill_text("s", more=more)).inputs
    assert inputs == {"type": "object", "properties": {"city": {"type": "string"}}}


def test_an_input_may_be_called_type() -> None:
    inputs = read_skill_text(skill_text("s", more="inputs:\n  type: object\n  size: string\n")).inputs
    assert inputs is not None
    assert inputs["required"] == ["type", "size"]


# ------------------------------------------------------------------ tools


def test_a_skill_gets_no_tools_it_does_not_name(tmp_path: Path) -> None:
    folder(tmp_path, "s")
    assert found(SkillFolders(tmp_path, tools={"Read": Read}), "s").tools == ()


def test_tools_that_are_not_there_are_named_and_the_others_picked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path, "s", skill_text("s", more="allowed-tools: Fly Read Bash(git:*)\n"))
    palette = SkillFolders(tmp_path, tools={"Read": Read, "Bash": Bash})
    assert [one.spec.name for one in found(palette, "s").tools] == ["Read"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "no tools Fly, Bash(git:*), which it asks for; given: Bash, Read" in record.getMessage()


def test_a_skill_reads_the_files_of_its_folder(tmp_path: Path) -> None:
    place = folder(tmp_path, "s")
    (place / "references").mkdir()
    (place / "references" / "GUIDE.md").write_text("Turn left.")
    read = reader_of(found(SkillFolders(tmp_path), "s"))
    assert read("references/GUIDE.md") == "Turn left."
    assert read("./references/../references/GUIDE.md") == "Turn left."
    (place / "references" / "GUIDE.md").write_text("Turn right.")
    assert read("references/GUIDE.md") == "Turn right."
    with pytest.raises(ValueError, match=r"no file guide.md in this skill; it has: references/GUIDE.md"):
        read("guide.md")


def test_a_skill_reads_nothing_outside_its_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "skills", "s", extra="Here.")
    folder(tmp_path / "skills", "neighbour")
    secret = tmp_path / "secret.md"
    secret.write_text("secret")
    (place / "link.md").symlink_to(secret)
    (place / "up").symlink_to(tmp_path)
    (place / "loop").symlink_to(place / "loop")
    (place / ".env").write_text("KEY=secret")
    (place / "picture.md").write_bytes(b"\xff\xfe\x00")
    (place / "large.md").write_bytes(b"x" * 300_000)
    os.mkfifo(place / "pipe.md")
    read = reader_of(found(SkillFolders(tmp_path / "skills"), "s"))
    assert read("extra.md") == "Here."
    refusals = {
        str(secret): "leads out of",
        "../../secret.md": "leads out of",
        "../neighbour/SKILL.md": "leads out of",
        "link.md": "leads out of",
        "up/secret.md": "leads out of",
        "loop": "loop",
        ".env": "hidden files are not read",
        "picture.md": "not text in UTF-8",
        "large.md": "larger than the 262144 bytes",
        "pipe.md": "not a plain file",
        ".": "not a plain file",
        "\0": "null",
    }
    for path, why in refusals.items():
        with pytest.raises((ValueError, OSError), match=why):
            read(path)


def test_a_folder_with_nothing_more_has_nothing_to_read(tmp_path: Path) -> None:
    place = folder(tmp_path, "s")
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("")
    assert found(SkillFolders(tmp_path), "s").tools == ()


def test_a_hosts_own_reader_goes_before_ours(tmp_path: Path) -> None:
    @tool(name="read_skill_file")
    def own(path: str) -> str:
        """Read."""
        return "mine"

    folder(tmp_path, "s", skill_text("s", more="allowed-tools: read_skill_file\n"), extra="ours")
    (only,) = found(SkillFolders(tmp_path, tools={"read_skill_file": own}), "s").tools
    assert only is own


# ------------------------------------------------------------------ many folders, bad folders


def test_one_bad_folder_never_hides_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = folder(tmp_path, "outside")
    root = tmp_path / "skills"
    folder(root, "a-good")
    folder(root, "bad-yaml", "---\n[\n---\n")
    folder(root, "bad-text", "").joinpath("SKILL.md").write_bytes(b"---\nname: \xff\n---\n")
    folder(root, "bad-large", skill_text("bad-large", body="x" * 300_000))
    folder(root, "bad-twin", skill_text("a-good"))
    (root / "bad-escape").symlink_to(outside)
    (root / "bad-link").mkdir()
    (root / "bad-link" / "SKILL.md").symlink_to(outside / "SKILL.md")
    (root / "bad-pipe").mkdir()
    os.mkfifo(root / "bad-pipe" / "SKILL.md")
    (root / "bad-dir" / "SKILL.md").mkdir(parents=True)
    (root / "bad-loop").mkdir()
    (root / "bad-loop" / "SKILL.md").symlink_to(root / "bad-loop" / "SKILL.md")
    (root / "no-skill").mkdir()
    (root / ".hidden").symlink_to(outside)
    (root / "README.md").write_text("not a folder")
    folder(root, "z-good")
    palette = SkillFolders(root)
    assert named(palette) == ["a-good", "z-good"]
    said = {record.getMessage().split()[2].rsplit("/")[-1]: record.getMessage() for record in caplog.records}
    assert sorted(said) == sorted(place.name for place in root.glob("bad-*"))
    assert len(caplog.records) == len(said)
    assert all("skipped: " in line and "\n" not in line for line in said.values())
    assert "leads out of" in said["bad-escape"]
    assert "leads out of" in said["bad-link"]
    assert "not a plain file" in said["bad-pipe"]
    assert f"{root / 'a-good' / 'SKILL.md'} has the name a-good already" in said["bad-twin"]


def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    real = folder(tmp_path / "root" / "shelf", "s")
    (tmp_path / "root" / "s").symlink_to(real)
    assert named(SkillFolders(tmp_path / "root")) == ["s"]


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    folder(tmp_path / "release-1", "s", skill_text("s", "One."))
    folder(tmp_path / "release-2", "s", skill_text("s", "Two."))
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "release-1")
    palette = SkillFolders(current)
    assert found(palette, "s").description == "One."
    current.unlink()
    current.symlink_to(tmp_path / "release-2")
    assert found(palette, "s").description == "Two."


def test_a_root_may_be_the_skill(tmp_path: Path) -> None:
    assert named(SkillFolders(folder(tmp_path, "s"))) == ["s"]


def test_the_first_root_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path / "mine", "s", skill_text("s", "Mine."))
    folder(tmp_path / "theirs", "s", skill_text("s", "Theirs."))
    folder(tmp_path / "theirs", "t")
    palette = SkillFolders(tmp_path / "mine", tmp_path / "theirs")
    assert [skill.description for skill in palette.skills()] == ["Mine.", "Does it."]
    assert len(caplog.records) == 1


def test_more_skills_than_the_limit_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        folder(tmp_path, name)
    assert named(SkillFolders(tmp_path, max_skills=2)) == ["a", "b"]
    (record,) = caplog.records
    assert f"skill folder {tmp_path / 'c'} and those after it left out: max_skills is 2" in record.getMessage()
    caplog.clear()
    assert named(SkillFolders(tmp_path, max_skills=3)) == ["a", "b", "c"]
    assert caplog.records == []


def test_folders_that_cannot_be_used_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one folder"):
        SkillFolders()
    with pytest.raises(ValueError, match="gone is not a folder"):
        SkillFolders(tmp_path / "gone")
    with pytest.raises(ValueError, match="numbers ≥ 1"):
        SkillFolders(tmp_path, max_skills=0)
    wrong: Any = {"Read": "read"}
    with pytest.raises(TypeError, match="tools, 'Read': expected a @tool function or a Tool, got 'read'"):
        SkillFolders(tmp_path, tools=wrong)


# ------------------------------------------------------------------ a long life


def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    folder(tmp_path, "s")
    palette = SkillFolders(tmp_path)
    assert found(palette, "s") is found(palette, "s")


def test_an_edit_is_seen_at_the_next_look(tmp_path: Path) -> None:
    file = folder(tmp_path, "s") / "SKILL.md"
    palette = SkillFolders(tmp_path)
    palette.skills()
    file.write_text(skill_text("renamed", "Does something else."))
    assert named(palette) == ["renamed"]


def test_an_edit_of_the_same_size_is_seen(tmp_path: Path) -> None:
    file = folder(tmp_path, "s", skill_text("s", "One.")) / "SKILL.md"
    palette = SkillFolders(tmp_path)
    palette.skills()
    before = file.stat()
    file.write_text(skill_text("s", "Two."))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size
    assert found(palette, "s").description == "Two."


def test_folders_come_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "skills"
    old = folder(root, "old")
    palette = SkillFolders(root)
    assert named(palette) == ["old"]
    folder(root, "new")
    assert named(palette) == ["new", "old"]
    (old / "SKILL.md").unlink()
    assert named(palette) == ["new"]
    assert caplog.records == []
    root.rename(tmp_path / "away")
    assert (named(palette), named(palette)) == ([], [])
    (record,) = caplog.records
    assert f"skills of {root} left out" in record.getMessage()
    (tmp_path / "away").rename(root)
    assert named(palette) == ["new"]


def test_a_bad_folder_is_reported_once_until_that_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = folder(tmp_path, "s", "nothing") / "SKILL.md"
    palette = SkillFolders(tmp_path)
    assert (named(palette), named(palette)) == ([], [])
    assert len(caplog.records) == 1
    file.write_text("---\nname: s\n---\n")
    assert (named(palette), named(palette)) == ([], [])
    assert len(caplog.records) == 2
    file.write_text(skill_text("s"))
    assert named(palette) == ["s"]
    file.write_text("nothing")
    assert named(palette) == []
    assert len(caplog.records) == 3


def test_many_threads_may_look_while_folders_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    steady = folder(tmp_path, "steady")
    file = folder(tmp_path, "edited") / "SKILL.md"
    palette = SkillFolders(tmp_path)
    over = threading.Event()
    wrong: list[BaseException | str] = []

    def look() -> None:
        try:
            while not over.is_set():
                if found(palette, "steady").source != str(steady / "SKILL.md"):
                    wrong.append("another folder")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        fresh = file.with_name("fresh")
        fresh.write_text(skill_text("edited", f"Edit {number}."))
        fresh.replace(file)
        assert found(palette, "edited").description == f"Edit {number}."
    over.set()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert caplog.records == []


def test_aliases_cannot_make_a_skill_huge() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(ValueError, match="aliases"):
        read_skill_text(f"---\na0: &a0 [x]\n{levels}---\n")


def test_without_yaml_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from executus.adapters.palette.folders import SkillFolders\n"
        "from executus.errors import ExtraMissing\n"
        "try: SkillFolders('.')\n"
        "except ExtraMissing as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "reading SKILL.md folders needs an extra: pip install 'executus[skills]'"
