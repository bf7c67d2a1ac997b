"""What must be true of a journal whose hosts were killed, or whose machine lost its power."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_agents import reader_key  # beside this file

from executus.errors import JournalError
from executus.events import (
    ApprovalDenied,
    ApprovalGranted,
    ArtifactStored,
    CallerSteered,
    ChildFinished,
    ChildStarted,
    Delivered,
    DeliveryFailed,
    Event,
    InputReceived,
    RunFinished,
    RunResumed,
    RunStarted,
    Text,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolStarted,
)
from executus.events.facts import idempotency_key
from executus.journal import read_journal, verify_run
from executus.journal.views import all_definitions
from executus.journal.views.building import ViewStopped, check
from executus.journal.views.feed import Pages
from executus.journal.views.file import views_path

RETRIED = frozenset({"pure", "idempotent"})
"""Classes of which a call may be executed more than once."""


@dataclass
class Told:
    """What hosts noted, read a piece at a time; a line cut off by a kill cannot be, as each is one write."""

    folder: Path
    offset: int = 0
    events: list[tuple[str, int, str]] = field(default_factory=list)
    starts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    words: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    total: int = 0

    def read_on(self) -> list[tuple[str, int, str]]:
        """Take in what is new; return the events among it."""
        before = len(self.events)
        for line in lines_of(self.folder / "acks", self.offset):
            self.offset += len(line)
            self.take(line)
        return self.events[before:]

    def take(self, line: bytes) -> None:
        """Take in one acknowledgement."""
        self.total += 1
        kind, run_id, *rest = line.decode().split()
        match kind:
            case "event":
                self.events.append((run_id, int(rest[0]), rest[1]))
            case "start":
                self.starts[rest[0]].add(run_id)
            case "word":
                self.words.append((run_id, rest[0]))
            case "granted" | "denied":
                self.answers.append((run_id, rest[0], kind))
            case _:
                self.ends.append(run_id)


def lines_of(path: Path, offset: int = 0) -> list[bytes]:
    """The whole lines of a file from there on; none if there is no file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        return [line for line in file if line.endswith(b"\n")]


class Log:
    """What is in the journal, read from outside while no host lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.db"
        self.position = 0
        self.hashes: dict[tuple[str, int], str] = {}

    def read_on(self) -> None:
        """Take in the events that are new."""
        if not self.path.exists():
            return
        with closing(read_journal(self.path, encryption=reader_key())) as reader:
            while page := reader.scan(self.position, 5000):
                for event in page:
                    self.hashes[event.run_id, event.version] = event.hash.hex()
                self.position = page[-1].position


@dataclass
class Findings:
    """What a full check saw. problems: broken promises, a sentence each."""

    problems: list[str] = field(default_factory=list)
    runs: int = 0
    over: int = 0
    events: int = 0
    resumed: int = 0
    unknown: int = 0
    executions: int = 0
    repeated: int = 0
    children: int = 0
    approvals: int = 0
    artifacts: int = 0
    parcels: int = 0
    handed: int = 0
    given_up: int = 0


@dataclass
class _Seen:
    """What the logs say, gathered for the questions below."""

    hashes: dict[tuple[str, int], str] = field(default_factory=dict)
    words: set[tuple[str, str]] = field(default_factory=set)
    answers: set[tuple[str, str, str]] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    finished: dict[str, int] = field(default_factory=dict)
    ends: dict[str, RunFinished] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    born: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    answered: list[tuple[str, ChildFinished]] = field(default_factory=list)
    artifacts: set[str] = field(default_factory=set)
    deliver: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)

    def take(self, event: Event, found: Findings) -> None:
        """Take in one event."""
        run_id = event.run_id
        self.hashes[run_id, event.version] = event.hash.hex()
        match event.fact:
            case RunStarted(info=info, deliver=deliver):
                self.parents[run_id] = info.parent_run_id
                if deliver:
                    self.deliver.add(run_id)
            case ToolStarted(call=call, name=name):
                self.started.add(idempotency_key(run_id, call))
                if name == "asked_for":
                    self.asked.add(idempotency_key(run_id, call))
            case ToolFinished(call=call):
                self.finished[idempotency_key(run_id, call)] = event.epoch
            case ToolOutcomeUnknown():
                found.unknown += 1
            case RunResumed():
                found.resumed += 1
            case CallerSteered(text=text):
                self.words.add((run_id, text))
            case InputReceived(input=(Text(text=text), *_)):
                self.words.add((run_id, text))
            case ApprovalGranted(call=call):
                self.answers.add((run_id, call, "granted"))
                self.granted.add(idempotency_key(run_id, call))
            case ApprovalDenied(call=call):
                self.answers.add((run_id, call, "denied"))
            case ChildStarted(run_id=child):
                self.born[run_id].append(child)
            case ChildFinished() as over:
                self.answered.append((run_id, over))
            case ArtifactStored(sha256=address):
                self.artifacts.add(address)
            case RunFinished() as end:
                self.ends[run_id] = end
            case Delivered():
                self.delivered.add(run_id)
            case DeliveryFailed(retry_at_us=None):
                found.given_up += 1
            case _:
                pass


def full_check(folder: Path, told: Told, *, at_rest: bool = False) -> Findings:
    """Read everything again, and compare. at_rest: the last host was left alone, so that nothing may be owed."""
    found, seen = Findings(), _Seen()
    problems = found.problems
    with closing(read_journal(folder / "runs.db", encryption=reader_key())) as reader:
        for row in reader.runs():
            found.runs += 1
            problems += [f"run {row.run_id}: {problem}" for problem in verify_run(reader, row.run_id)]
            for event in reader.read(row.run_id, verify=True):
                seen.take(event, found)
        found.over, found.events = len(seen.ends), len(seen.hashes)
        problems += lost(told.events, seen.hashes)
        problems += _told_and_missing(told, seen)
        for request, ids in told.starts.items():
            if len(ids) > 1:
                problems.append(f"request {request} started {len(ids)} runs: {sorted(ids)}")
            problems += [
                f"request {request}: run {one} was acknowledged and is not in the journal"
                for one in ids
                if (one, 1) not in seen.hashes
            ]
            caller = ("alice", "bob")[int(request[1:]) % 2]
            if reader.find_request(f"{caller}\n{request}") not in ids:
                problems.append(f"request {request} is not remembered as the run it started")
    _check_effects(folder, seen, found)
    _check_children(seen, found)
    _check_artifacts(folder, seen, found)
    _check_deliveries(folder, seen, found, at_rest=at_rest)
    if at_rest and found.over < found.runs:
        problems.append(f"{found.runs - found.over} runs are not over after a host that was left alone")
    return found


def lost(events: list[tuple[str, int, str]], hashes: dict[tuple[str, int], str]) -> list[str]:
    """Acknowledged events that the log lacks."""
    return [
        f"run {run_id}, version {version}: acknowledged, and "
        + ("not in the log" if (run_id, version) not in hashes else "different in the log")
        for run_id, version, digest in events
        if hashes.get((run_id, version)) != digest
    ]


def _told_and_missing(told: Told, seen: _Seen) -> list[str]:
    missing = "was acknowledged and is not in its log"
    return [
        *(f"run {run_id}: {word} {missing}" for run_id, word in told.words if (run_id, word) not in seen.words),
        *(f"run {one[0]}: {one[1]} {one[2]} {missing}" for one in told.answers if one not in seen.answers),
        *(f"run {run_id}: its end {missing}" for run_id in told.ends if run_id not in seen.ends),
    ]


def _check_effects(folder: Path, seen: _Seen, found: Findings) -> None:
    executions: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for line in lines_of(folder / "effects"):
        effect, key, epoch = line.decode().split()
        executions[key].append((effect, int(epoch)))
    for key, times in executions.items():
        found.executions += len(times)
        found.repeated += len(times) - 1
        effect = times[0][0]
        if key not in seen.started:
            found.problems.append(f"tool call {key} ran, and that it was about to is not in the log")
        if effect not in RETRIED and len(times) > 1:
            found.problems.append(f"tool call {key}, {effect}, is not to be run twice and ran {len(times)} times")
        if max(Counter(epoch for _, epoch in times).values()) > 1:
            found.problems.append(f"tool call {key} ran twice in one host")
        if key in seen.finished and max(epoch for _, epoch in times) > seen.finished[key]:
            found.problems.append(f"tool call {key} ran again after its result was stored")
    found.approvals = len(seen.answers)
    if unasked := seen.asked - seen.granted:
        found.problems.append(f"tool calls started without a yes: {sorted(unasked)[:3]}")


def _check_children(seen: _Seen, found: Findings) -> None:
    born = [child for children in seen.born.values() for child in children]
    found.children = len(born)
    if len(set(born)) != len(born):
        found.problems.append("two calls started one child")
    answered = Counter(over.run_id for _, over in seen.answered)
    found.problems += [f"child {child} answered {times} times" for child, times in answered.items() if times > 1]
    for parent, over in seen.answered:
        end = seen.ends.get(over.run_id)
        if end is None or end.status != over.status or not over.output.endswith(end.stats.output):
            said = "has no end" if end is None else f"ended {end.status!r}, {end.stats.output!r}"
            found.problems.append(
                f"run {parent} was told that its child {over.run_id} ended {over.status!r}, {over.output!r}; it {said}"
            )
    for child, parent in seen.parents.items():
        if parent and child not in seen.born.get(parent, ()):
            found.problems.append(f"run {child} calls itself a child of {parent}, which does not know it")


def _check_artifacts(folder: Path, seen: _Seen, found: Findings) -> None:
    found.artifacts = len(seen.artifacts)
    for address in seen.artifacts:
        try:
            content = (folder / "runs.db-artifacts" / address).read_bytes()
        except FileNotFoundError:
            found.problems.append(f"artifact {address[:12]} is in a log and not on the disk")
            continue
        if hashlib.sha256(content).hexdigest() != address:
            found.problems.append(f"artifact {address[:12]} is damaged")


def _check_deliveries(folder: Path, seen: _Seen, found: Findings, *, at_rest: bool) -> None:
    keys: dict[str, set[str]] = defaultdict(set)
    for line in lines_of(folder / "deliveries"):
        run_id, key, _, status = line.decode().split()
        keys[run_id].add(key)
        found.handed += 1
        if run_id not in seen.ends or seen.ends[run_id].status != status:
            found.problems.append(f"run {run_id} was delivered as {status}, which its log does not say")
    found.parcels = len(keys)
    found.problems += [
        f"run {run_id} was delivered under {sorted(some)}" for run_id, some in keys.items() if len(some) > 1
    ]
    found.problems += [f"run {one} is delivered by its log, and nobody got it" for one in seen.delivered - set(keys)]
    if at_rest and (owed := seen.deliver - seen.delivered):
        found.problems.append(f"{len(owed)} runs are not delivered after a host that was left alone")


def file_check(path: Path) -> list[str]:
    """SQLite's own opinion of the journal and of every other database beside it."""
    problems: list[str] = []
    for one in (path, *sorted(path.parent.glob(path.name + ".*"))):
        if one.suffix == ".new":  # never finished: the next host begins it again
            continue
        with suppress(OSError), one.open("rb") as file:
            if file.read(16) != b"SQLite format 3\x00":
                continue
            # What was cut off in the middle of its making is rolled back by whoever opens it next, to write.
            mode = "rw" if one != path and Path(f"{one}-journal").exists() else "ro"
            try:
                with closing(sqlite3.connect(f"file:{one}?mode={mode}", uri=True)) as connection:
                    said = [word for (word,) in connection.execute("PRAGMA integrity_check")]
            except sqlite3.Error as error:
                said = [str(error)]
            problems += [f"{one.name}: {word}" for word in said if word != "ok"]
    return problems


def views_check(path: Path, *, must_be_there: bool = False) -> list[str]:
    """Whether each stored view equals one that is built anew, at the position where it stands. One that is not there
    is made by the next host.
    """
    problems: list[str] = []
    builtin, _ = all_definitions(())
    with closing(read_journal(path, encryption=reader_key())) as journal:
        for definition in builtin:
            try:
                found = check(views_path(str(path)), definition, Pages(journal.scan), lambda *_: None)
            except JournalError as error:
                if must_be_there or isinstance(error, ViewStopped):
                    problems.append(f"view {definition.name}: {error}")
                continue
            if found.difference:
                problems.append(f"view {found.name} differs at position {found.position}: {found.difference}")
    return problems


def shown(found: Findings) -> dict[str, Any]:
    """The figures."""
    return {
        "runs": found.runs,
        "runs_over": found.over,
        "events": found.events,
        "resumed": found.resumed,
        "tool_executions": found.executions,
        "outcomes_unknown": found.unknown,
        "repeated_safe_calls": found.repeated,
        "children": found.children,
        "approvals_answered": found.approvals,
        "artifacts": found.artifacts,
        "parcels": found.parcels,
        "parcels_handed_over": found.handed,
        "parcels_given_up_for_a_while": found.given_up,
    }
