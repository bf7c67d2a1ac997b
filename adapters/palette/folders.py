"""A palette of skills that lie on disk as folders with a SKILL.md, read again when they change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ...ports import Agent, Skill, Tool
from .skill_files import has_more_files, read_confined, skill_file_tool
from .skill_text import SkillText, need_yaml, read_skill_text

log = logging.getLogger("executus.palette")

MOST_ENTRIES = 10_000
"""Entries of one root that are looked at."""


@dataclass(frozen=True)
class _Folder:
    """A folder as it was read. seen: which version of its SKILL.md."""

    seen: tuple[int, ...]
    skill: Skill | None
    complaints: tuple[str, ...] = ()


class SkillFolders:
    """Skills from the folders in each root, or from a root that is itself such a folder.

    tools: what a skill's `allowed-tools` may name, by exactly that name: `Bash(git:*)` is not `Bash`. A skill without
    `allowed-tools` gets none of them. A skill whose folder has more files gets `read_skill_file`.
    max_skills: read at most; more are left out. max_file_bytes: of one file. Names: the first root wins.

    Every look-up looks at the disk (about 10 µs a folder) and reads what changed since; thread-safe. A folder that
    cannot be used is skipped, with one line at level ERROR on the logger "executus.palette" until that changes. What
    does not end the use of a skill, such as a tool that is not there, is told the same way. The same skills are there
    for every caller.

    Raises:
        ValueError: no root, a root that is no folder, or a limit below 1.
        TypeError: something in `tools` that is no tool.
        ExtraMissing: PyYAML is not installed.
    """

    def __init__(
        self,
        *roots: str | Path,
        tools: Mapping[str, Tool] | None = None,
        max_skills: int = 200,
        max_file_bytes: int = 256 * 1024,
    ) -> None:
        need_yaml()
        self._roots = tuple(Path(root).absolute() for root in roots)
        if not self._roots:
            raise ValueError("SkillFolders: expected at least one folder")
        for root in self._roots:
            if not root.is_dir():
                raise ValueError(f"SkillFolders: {root} is not a folder")
        if max_skills < 1 or max_file_bytes < 1:
            raise ValueError("SkillFolders, max_skills and max_file_bytes: expected numbers ≥ 1")
        self._tools = dict(tools or {})
        for name, one in self._tools.items():
            if not isinstance(one, Tool):
                raise TypeError(f"SkillFolders, tools, {name!r}: expected a @tool function or a Tool, got {one!r}")
        self._max_skills, self._max_file_bytes = max_skills, max_file_bytes
        self._lock = threading.Lock()
        self._read: dict[str, _Folder] = {}
        self._told: frozenset[str] = frozenset()

    def agent(self, caller_id: str, name: str) -> Agent | None:
        """None: folders hold skills only."""
        return None

    def skill(self, caller_id: str, name: str) -> Skill | None:
        """The skill of that name, as its folder says now."""
        return self._now().get(name)

    def skills(self) -> tuple[Skill, ...]:
        """Every skill that can be used now, by name."""
        found = self._now()
        return tuple(found[name] for name in sorted(found))

    def _now(self) -> dict[str, Skill]:
        with self._lock:
            read: dict[str, _Folder] = {}
            skills: dict[str, Skill] = {}
            complaints: list[str] = []
            for root in self._roots:
                self._look(root, read, skills, complaints)
            for complaint in complaints:
                if complaint not in self._told:
                    log.error("%s", complaint)
            self._read, self._told = read, frozenset(complaints)
            return skills

    def _look(self, root: Path, read: dict[str, _Folder], skills: dict[str, Skill], complaints: list[str]) -> None:
        """Add what is under `root` now."""
        try:
            inside = root.resolve()
            places = list(_places(root))
        except OSError as error:
            complaints.append(f"skills of {root} left out: {error}")
            return
        if len(places) > MOST_ENTRIES:
            complaints.append(f"{root} has more than {MOST_ENTRIES} entries; the others are not looked at for skills")
        for place in sorted(places[:MOST_ENTRIES]):
            seen = _version(f"{place}/SKILL.md")
            if seen is None or place in read:
                continue
            if len(read) == self._max_skills:
                complaints.append(f"skill folder {place} and those after it left out: max_skills is {self._max_skills}")
                return
            folder = self._read.get(place)
            if folder is None or folder.seen != seen:
                folder = self._folder(Path(place), inside, seen)
            read[place] = folder
            complaints.extend(folder.complaints)
            if folder.skill is None:
                continue
            first = skills.setdefault(folder.skill.name, folder.skill)
            if first is not folder.skill:
                complaints.append(f"skill folder {place} skipped: {first.source} has the name {first.name} already")

    def _folder(self, place: Path, inside: Path, seen: tuple[int, ...]) -> _Folder:
        try:
            folder = place.resolve()
            text = read_skill_text(read_confined(inside, place / "SKILL.md", self._max_file_bytes))
            tools, unknown = self._pick(text)
            if has_more_files(folder) and all(one.spec.name != "read_skill_file" for one in tools):
                tools.append(skill_file_tool(folder, self._max_file_bytes))
            skill = _skill(text, tools, str(place / "SKILL.md"))
        except (OSError, ValueError) as error:
            return _Folder(seen, None, (f"skill folder {place} skipped: {error}",))
        if not unknown:
            return _Folder(seen, skill)
        have = ", ".join(sorted(self._tools)) or "none"
        complaint = f"skill folder {place}: no tools {', '.join(unknown)}, which it asks for; given: {have}"
        return _Folder(seen, skill, (complaint,))

    def _pick(self, text: SkillText) -> tuple[list[Tool], list[str]]:
        """The tools a skill may use, and the names of those that are not there."""
        picked = {one.spec.name: one for name in text.allowed_tools if (one := self._tools.get(name)) is not None}
        return list(picked.values()), [name for name in text.allowed_tools if name not in self._tools]


def _skill(text: SkillText, tools: list[Tool], source: str) -> Skill:
    skill = Skill(
        text.name, description=text.description, instructions=text.instructions, tools=tuple(tools), source=source
    )
    return skill if text.inputs is None else replace(skill, inputs=text.inputs)


def _places(root: Path) -> Iterator[str]:
    """The folders that may be skills; one more than are looked at, so that it shows. Plain strings: every look-up
    comes here, and a `Path` costs ten times what the disk does.
    """
    if (root / "SKILL.md").exists():
        yield str(root)
        return
    with os.scandir(root) as entries:
        for entry in islice(entries, MOST_ENTRIES + 1):
            if not entry.name.startswith("."):
                yield entry.path


def _version(file: str) -> tuple[int, ...] | None:
    """What changes when the file does; None if there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()  # reading it will say why not
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
