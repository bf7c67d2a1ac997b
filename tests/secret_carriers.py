"""A runtime that is told something in every place where text from outside can come in, and all that it left behind."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from runtime_support import DEADLINE_S, FunctionModel, wait_for

from executus import Agent, Delta, Image, InputFile, Phase, Runtime, Steer, Text, ToolContext, tool
from executus.adapters.delivery.directory import DirectoryDelivery
from executus.adapters.files.stager import DirectoryStager
from executus.errors import ExecutusError, ModelUnavailable
from executus.events import Delivered, Fact, Thinking, ToolCall, Usage
from executus.ports import ApprovalTerms, Continue, Judged, Reply, ToolSpec

CARRIERS = (
    *(
        "input",
        "image address",
        "image bytes",
        "inputs",
        "key of inputs",
        "caller",
        "request id",
        "run name",
        "channel",
    ),
    *("instructions", "phase instructions", "file name", "file kind", "reply", "thinking", "signature", "extra"),
    *("call id", "call name", "arguments", "response id", "tool result", "tool error", "refused check", "question"),
    *("model error", "artifact name", "child input", "child output", "critic advice", "critic notice", "evidence"),
    *("key of evidence", "critic model", "critic error", "approved by", "denied because", "steer", "steered by"),
    *(
        "note type",
        "note",
        "key of note",
        "logged error",
        "cancelled because",
        "receipt",
        "delivery error",
        "last words",
    ),
    *("log line", "host error", "delta"),
)
"""Where text from outside comes in."""

NAMES_OF_FILES = ("file name", "artifact name")
ONE_LINE = ("caller",)


class Told(dict[str, str]):
    """What is said where; elsewhere a few plain words."""

    def __missing__(self, carrier: str) -> str:
        return f"plain {carrier}"


class Critic:
    """Notices, advises, and once fails."""

    every_steps = 1

    def __init__(self, told: Told) -> None:
        self.told, self.calls = told, 0

    def review(self, trace: Any, now: float) -> Any:
        self.calls += 1
        told = self.told
        evidence = {told["key of evidence"]: [told["evidence"]]}
        if trace.info.name == "hung":
            return Continue(told["critic notice"], evidence=evidence)
        if self.calls == 1:
            return Judged(Steer(told["critic advice"], evidence=evidence), Usage(1, 1), told["critic model"])
        raise RuntimeError(told["critic error"])


class Post:
    """Fails once, then delivers to a directory."""

    def __init__(self, told: Told, root: Path) -> None:
        self.told, self.calls, self.inner = told, 0, DirectoryDelivery(root)

    def deliver(self, parcel: Any, artifacts: Any) -> str:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError(self.told["delivery error"])
        self.inner.deliver(parcel, artifacts)
        return self.told["receipt"]


class Picky:
    """A tool that takes no arguments."""

    spec = ToolSpec("picky", "", {"type": "object"})
    effect = "pure"
    mode = "thread"
    timeout_s = None

    def __init__(self, told: Told) -> None:
        self.told = told

    def check(self, arguments: str) -> str | None:
        return self.told["refused check"]

    def call(self, arguments: str, context: Any) -> str:
        return ""


def live(folder: Path, told: Mapping[str, str], secrets: Mapping[str, str], **options: Any) -> dict[str, bytes]:
    """Live through a few runs in which everything in `told` is said; returns all that can be found afterwards, by what
    it is: files, facts, deltas, log lines, what callers were told.
    """
    told = Told(told)
    root = folder / "host"
    logs = io.StringIO()
    handler = logging.StreamHandler(logs)
    logger = logging.getLogger("executus")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with patch("executus.actors.critic.FIRST_PAUSE_S", 0.01):
            found = _live(root, told, secrets, options)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    found["log lines"] = logs.getvalue().encode()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        found[f"name {name}"] = name.encode()
        if path.is_file():
            found[f"file {name}"] = path.read_bytes()
    return found


def _live(root: Path, told: Told, secrets: Mapping[str, str], options: dict[str, Any]) -> dict[str, bytes]:
    @tool
    def speak(text: str) -> str:
        return told["tool result"]

    @tool
    def fail() -> str:
        try:
            raise KeyError(told["tool error"])
        except KeyError as error:
            raise ValueError(told["tool error"]) from error

    @tool(approval=ApprovalTerms(question=told["question"]))
    def ask() -> str:
        return "asked"

    @tool
    def keep(context: ToolContext) -> str:
        assert context.desk is not None
        return context.desk.keep(told["artifact name"], b"content")

    deltas: list[Delta] = []
    calls = (
        ToolCall(told["call id"], "speak", json.dumps({"text": told["arguments"]})),
        ToolCall("c2", "fail", "{}"),
        ToolCall("c3", "ask", "{}"),
        ToolCall("c4", "keep", "{}"),
        ToolCall("c5", "agent__kid", json.dumps({"prompt": told["child input"]})),
        ToolCall("c6", "picky", "{}"),
        ToolCall("c7", told["call name"], "{}"),
        ToolCall("c8", "ask", "{}"),
    )

    def answer(request: Any) -> Reply:
        if request.step == 1 and request.attempt == 1:
            raise ModelUnavailable(told["model error"])
        if request.step == 1:
            for piece in (told["delta"][:5], told["delta"][5:9], told["delta"][9:]):
                request.on_delta(Delta("text", piece, 1, 2))
            thinking = Thinking(told["thinking"], told["signature"], extra={"x": told["extra"]})
            return Reply((thinking, Text(told["reply"]), *calls), response_id=told["response id"])
        return Reply((Text(told["last words"]),))

    secret_agents = [
        Agent(
            "boss",
            model=FunctionModel(answer),
            instructions=told["instructions"],
            tools=[speak, fail, ask, keep, Picky(told)],
            agents=["kid"],
        ),
        Agent("kid", model=FunctionModel(lambda request: Reply((Text(told["child output"]),)))),
        Agent(
            "phased",
            model=FunctionModel(lambda request: Reply((Text("well"),))),
            phases=[Phase("one", instructions=told["phase instructions"]), Phase("two")],
        ),
        Agent("hung", model=FunctionModel(lambda request: Reply((Text("go on"),)))),
    ]
    heard: list[str] = []
    found: dict[str, bytes] = {}
    root.mkdir(mode=0o700)
    runtime = Runtime(
        root / "runs.db",
        secret_agents,
        critic=Critic(told),
        delivery=Post(told, root / "delivered"),
        files=DirectoryStager(root / "files"),
        secrets=secrets,
        sleep_after_s=3600,
        **options,
    )
    with runtime:
        parts = [Text(told["input"]), Image("image/png", url=told["image address"])]
        parts.append(Image("image/png", told["image bytes"].encode()))  # type: ignore[arg-type]
        run = runtime.start(
            "boss",
            parts,
            caller=told["caller"],
            request_id=told["request id"],
            name=told["run name"],
            channel=told["channel"],
            inputs={told["key of inputs"]: [told["inputs"]]},
            files=[InputFile(told["file name"], b"attached", told["file kind"])],
            on_delta=deltas.append,
        )
        wait_for(run, "approval-awaited")
        run.steer(told["steer"], by=told["steered by"])
        run.note(told["note type"], {told["key of note"]: {"deep": [told["note"]]}})
        run.log_error(told["logged error"])
        first, second = (one.call for one in run.approvals())
        run.approve(first, by=told["approved by"])
        run.deny(second, reason=told["denied because"])
        result = run.result(DEADLINE_S)
        assert result.status == "ok"
        hung = runtime.start("hung", "x", interactive=True, deliver=False)
        wait_for(hung, "critic-observed")
        try:
            hung.approve(told["host error"])
        except ExecutusError as error:
            heard += [str(error), repr(error), str(vars(error))]
        try:
            runtime.start(told["host error"], "x")
        except ExecutusError as error:
            heard.append(repr(error))
        try:
            runtime.start("hung", {"x": told["host error"]})  # type: ignore[arg-type]
        except TypeError as error:
            heard.append(repr(error))
        try:
            hung.steer([told["host error"]])  # type: ignore[arg-type]
        except TypeError as error:
            heard.append(repr(error))
        hung.cancel(told["cancelled because"])
        runtime.start("phased", "x").result(DEADLINE_S)
        logging.getLogger("executus.calls").warning("so it is: %s", told["log line"])
        _wait_delivered(runtime, run.id)
        events = runtime.journal.scan()
        found["told"] = repr((result, heard, run.state(), run.transcript())).encode()
        found["deltas"] = "".join(delta.text for delta in deltas).encode()
        found["facts"] = "\n".join(repr(event) for event in events).encode()
        found["wal"] = b"".join(path.read_bytes() for path in root.glob("runs.db*") if path.is_file())
        found["snapshots"] = repr(runtime.journal.load(run.id)).encode()
        assert {type(event.fact) for event in events} >= _EXPECTED
    return found


def _wait_delivered(runtime: Runtime, run_id: str) -> None:
    with runtime.events() as events:
        while more := events.take(DEADLINE_S):
            if any(event.run_id == run_id and isinstance(event.fact, Delivered) for event in more):
                return
    raise AssertionError("not delivered")


def _expected() -> set[type[Fact]]:
    from executus import events

    names = (
        "RunStarted InputStaged StepFailed StepCompleted ToolFinished ToolRefused ApprovalRequested ApprovalGranted"
        " ApprovalDenied ArtifactStored ChildFinished CriticSteered CriticReviewed CallerSteered NoteLogged ErrorLogged"
        " CancelRequested DeliveryFailed Delivered PhaseStarted PhaseFinished RunFinished"
    )
    return {getattr(events, name) for name in names.split()}


_EXPECTED = _expected()
