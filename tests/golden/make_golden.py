"""Write down what later versions must be able to read: `python tests/golden/make_golden.py log|sealed|tags`.

`log` makes `log-VERSION.db`, its neutral dump and what it adds up to, once a version: a golden log is never made again.
`sealed` makes `sealed-VERSION.db` with its keys file, the same lives in a sealed journal, one of them erased.
`tags` records the shapes of facts after one was added; it refuses if a change would break old logs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from golden_shapes import broken_by, shapes, told_of_run  # noqa: E402
from governed_lives import going_on, governed  # noqa: E402
from journal_support import Sent  # noqa: E402
from msgspec import structs  # noqa: E402
from msgspec.structs import fields  # noqa: E402
from sealing_support import encryption  # noqa: E402

import executus  # noqa: E402
from executus.actors.run.asking import request_key_of  # noqa: E402
from executus.events import (  # noqa: E402
    FACTS,
    GENESIS,
    AgentPrint,
    CallerSteered,
    CancelRequested,
    ContentErased,
    ErrorLogged,
    Fact,
    Image,
    InputAwaited,
    InputReceived,
    Limits,
    NoteLogged,
    Opaque,
    ReconcileStarted,
    RunFinished,
    RunInfo,
    RunResumed,
    RunStarted,
    RunStats,
    StepCompleted,
    StepFailed,
    StepStarted,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    ToolOutcomeUnknown,
    ToolReconciled,
    ToolRefused,
    ToolStarted,
    Usage,
)
from executus.events.codec import Stored, encode_event  # noqa: E402
from executus.journal import SqliteJournal, open_journal  # noqa: E402

RUNS = [f"01890000-0000-7000-8000-00000000000{number}" for number in range(1, 7)]


def started(run_id: str, **rest: Any) -> RunStarted:
    info = RunInfo(
        run_id=run_id,
        name="golden",
        subject_id="skill:review",
        caller_id="alice",
        channel_id="channel-7",
        guild_id="guild-9",
        parent_run_id="01890000-0000-7000-8000-0000000000ff",
        model_tier="small",
        inputs={"pr": 7, "labels": ["a", None, True, 1.5], "deep": {"ключ": "значение"}},
        request_id=f"request-{run_id[-1]}",
        started_at_us=1_700_000_000_000_000,
        max_iterations=3,
    )
    agent = AgentPrint(
        name="reviewer", model="openai:gpt-5-mini", instructions="Be brief.", tools=("look", "pay"), fingerprint="0f1e"
    )
    given = (Text("Look at this 🙂."), Image("image/png", data=b"\x89PNG"), Image("image/png", url="https://x.test/i"))
    limits = Limits(max_steps=3, timeout_s=60.5, max_attempts=2)
    return RunStarted(**{"info": info, "agent": agent, "limits": limits, "input": given, **rest})  # type: ignore[arg-type]


CALLS = (ToolCall("id-0", "look", '{"at": 1}'), ToolCall("id-1", "pay", "{not json"), ToolCall("id-2", "dream"))
THOUGHT = Thinking("Hm.", signature="sig", id="t1", provider="anthropic", extra={"n": 1})
USAGE = Usage(input=100, output=20, thinking=5, cache_read=7, cache_write=3, cost_usd=0.25)


def whole_life() -> list[Fact]:
    stats = RunStats(
        status="error",
        output="Let me look.",
        error="the ceiling of 3 steps is reached",
        steps=2,
        tool_calls=2,
        runtime_s=1.25,
        input_tokens=110,
        output_tokens=22,
        thinking_tokens=5,
        cost_usd=0.25,
    )
    return [
        started(RUNS[0]),
        StepStarted(step=1, model="openai:gpt-5-mini"),
        StepFailed(step=1, attempt=1, error="busy", kind="unavailable", retry_at_ms=900),
        StepStarted(step=1, attempt=2),
        StepCompleted(
            step=1,
            reply=(THOUGHT, Text("Let me look."), *CALLS),
            usage=USAGE,
            stop="tool_calls",
            model="gpt-5-mini-2025",
            response_id="resp-1",
            took_ms=350,
        ),
        ToolStarted(call="1.0", name="look", effect="pure"),
        ToolStarted(call="1.1", name="pay"),
        ToolRefused(call="1.2", name="dream", reason="there is no tool named 'dream'"),
        CallerSteered(text="Slower, please.", by="alice"),
        RunResumed(reason="a new host took over", epoch=2),
        ReconcileStarted(call="1.1", attempt=1),
        ToolReconciled(call="1.1", attempt=1, happened=False),
        RunResumed(reason="a new host took over", epoch=3),
        ToolOutcomeUnknown(call="1.1", reason="the host stopped"),
        ToolFinished(call="1.0", result="zażółć gęślą jaźń", is_error=True, took_ms=4),
        StepStarted(step=2),
        StepCompleted(step=2, reply=(), usage=Usage(input=10, output=2), stop="length"),
        RunFinished(stats=stats, by="ceiling", reason="the ceiling of 3 steps is reached"),
        NoteLogged(type="host", payload={"stars": 5}),
        ErrorLogged(message="the channel is gone"),
        ContentErased(by="bob", reason="alice asked for it"),
    ]


def conversation() -> list[Fact]:
    stats = RunStats(status="cancelled", output="Yes?", steps=2, runtime_s=9.0)
    return [
        started(RUNS[1], interactive=True, imported_from="chats.json 1", input=()),
        StepStarted(step=1),
        StepCompleted(step=1, reply=(Text("Yes?"),)),
        InputAwaited(since_ms=500),
        InputReceived(input=(Text("More."),), by="bob", waited_ms=4_000, role="system"),
        StepStarted(step=2),
        StepFailed(step=2, attempt=1, error="gone", kind="interrupted", retry_at_ms=5_000),
        StepStarted(step=2, attempt=2),
        StepFailed(step=2, attempt=2, error="bad key", kind="refused"),
        CancelRequested(by="bob", reason="enough"),
        RunFinished(stats=stats, by="bob", reason="enough"),
    ]


def unfinished() -> list[Fact]:
    return [
        started(RUNS[2], dry_run=True),
        StepStarted(step=1),
        StepCompleted(step=1, reply=(ToolCall("id-0", "look"), ToolCall("id-1", "look"))),
        ToolStarted(call="1.0", name="look", effect="idempotent"),
        ToolStarted(call="1.1", name="look", effect="reconcilable"),
        ToolFinished(call="1.1", result="a long line 🙂\n" * 6_000),
    ]


def newer() -> list[Fact]:
    return [
        started(RUNS[3]),
        StepStarted(step=1),
        Opaque(tag="run-teleported", schema=3, payload=b"\x81\xa2to\xa4Mars"),
    ]


def second_version() -> list[list[Fact]]:
    """What 0.2.0 added."""
    first, last = started(RUNS[4], budgeted=True, deliver=True), started(RUNS[5])
    info = structs.replace(first.info, root_run_id="01890000-0000-7000-8000-0000000000fe", depth=1)
    return [governed(first, info, RUNS[5]), going_on(last, RUNS[4])]


def encoded(seal_of: Callable[[str], Any] = lambda run_id: None) -> list[list[Stored]]:
    runs: list[list[Stored]] = []
    for run_id, facts in zip(
        RUNS, (whole_life(), conversation(), unfinished(), newer(), *second_version()), strict=True
    ):
        stored: list[Stored] = []
        seal = seal_of(run_id)
        for version, fact in enumerate(facts, 1):
            stored.append(
                encode_event(
                    fact,
                    run_id=run_id,
                    version=version,
                    previous=stored[-1].event.hash if stored else GENESIS,
                    at_us=1_700_000_000_000_000 + version * 1_000,
                    elapsed_ms=version * 100,
                    cause="SteerRun by alice" if isinstance(fact, CallerSteered) else "",
                    epoch=1,
                    seal=seal,
                )
            )
        runs.append(stored)
    return runs


def check_that_nothing_is_left_out(runs: list[list[Stored]]) -> None:
    """Every fact is there, and every field of it at least once with another value than its default."""
    facts = [one.event.fact for stored in runs for one in stored]
    for tag, (struct, _) in FACTS.items():
        here = [fact for fact in facts if type(fact) is struct]
        assert here, f"no {tag} in the golden log"
        for field in fields(struct):
            values = [getattr(fact, field.name) for fact in here]
            assert any(value != field.default for value in values), f"{tag}.{field.name} is never set"


def make_log() -> None:
    name = f"log-{executus.__version__}"
    if (HERE / f"{name}.db").exists():
        sys.exit(f"{name}.db exists: a golden log is never made again")
    runs = encoded()
    check_that_nothing_is_left_out(runs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made" / f"{name}.db"
        path.parent.mkdir()
        journal = open_journal(path)
        for run_id, stored in zip(RUNS, runs, strict=True):
            append = Sent(run_id, 0, stored, request_key_of("alice", f"request-{run_id[-1]}"))
            journal.append(append)
            append.ok()
        told = {run_id: told_of_run(journal.read(run_id), journal.load(run_id)) for run_id in RUNS}
        assert journal.close()
        shutil.copyfile(path, HERE / f"{name}.db")
    write(HERE / f"{name}.json", told)
    dump = [
        {
            "run_id": one.event.run_id,
            "version": one.event.version,
            "tag": one.event.tag,
            "state": b64encode(one.state).decode(),
            "blob": None if one.blob is None else b64encode(zlib.compress(one.blob[1], 9)).decode(),
        }
        for stored in runs
        for one in stored
    ]
    write(HERE / f"{name}.dump.json", dump)


def make_sealed() -> None:
    name = f"sealed-{executus.__version__}"
    if (HERE / f"{name}.db").exists():
        sys.exit(f"{name}.db exists: a golden log is never made again")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made" / f"{name}.db"
        path.parent.mkdir()
        journal = open_journal(path, encryption=encryption())
        assert isinstance(journal, SqliteJournal)
        for run_id, stored in zip(RUNS, encoded(lambda run_id: journal.seal(run_id, new=True)), strict=True):
            append = Sent(run_id, 0, stored, request_key_of("alice", f"request-{run_id[-1]}"))
            journal.append(append)
            append.ok()
        assert journal.keyring is not None
        journal.keyring.destroy(RUNS[:1], 1)
        told = {run_id: told_of_run(journal.read(run_id), journal.load(run_id)) for run_id in RUNS}
        assert journal.close()
        for ending in (".db", ".db.keys"):
            shutil.copyfile(path.with_name(name + ending), HERE / (name + ending))
    write(HERE / f"{name}.json", told)


def make_tags() -> None:
    path = HERE / "tags.json"
    new = shapes()
    if path.exists() and (problems := broken_by(json.loads(path.read_text()), new)):
        sys.exit("\n".join(problems))
    write(path, new)


def write(path: Path, what: Any) -> None:
    path.write_text(json.dumps(what, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    print(path.name)


if __name__ == "__main__":
    {"log": make_log, "sealed": make_sealed, "tags": make_tags}[sys.argv[1]]()
