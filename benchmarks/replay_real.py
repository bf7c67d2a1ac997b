"""Drive the whole kernel over recorded conversations, and check that every run tells its recording again.

    python benchmarks/replay_real.py FILE [--at-once 100] [--db PATH] [--json]

FILE is a JSON array of chat-completions conversations. Each is an interactive run of its own: model and tools answer
from the recording, people speak through `run.send`, the run ends as the recording does. A conversation passes if its
run's transcript, written as chat messages, equals the recording's, and its log verifies. Exit code 1 if any differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from executus import Agent, ModelRequest, Reply, Runtime, ToolContext
from executus.adapters.chat import to_chat
from executus.adapters.recordings import Recording, read_recordings
from executus.events import InputAwaited, InputPart, Message, StepStarted, Text, ToolCall, ToolResult
from executus.journal import verify_run
from executus.ports import Tool, ToolSpec

NOTHING_MORE = "the recording ends here"


class RecordedModel:
    """Gives the k-th reply of the recording at step k; after the last one it says nothing, for ever."""

    def __init__(self, recording: Recording) -> None:
        self.name = recording.model or "recorded"
        self.replies = [message for message in recording.messages if message.role == "assistant"]

    async def reply(self, request: ModelRequest) -> Reply:
        """The recorded reply."""
        if request.step > len(self.replies):
            await asyncio.get_running_loop().create_future()
        parts: Any = self.replies[request.step - 1].parts
        asks = any(isinstance(part, ToolCall) for part in parts)
        return Reply(parts, stop="tool_calls" if asks else "stop")


class RecordedTool:
    """Answers each call with what the recording has for it."""

    effect = "pure"
    mode = "async"
    timeout_s = None

    def __init__(self, name: str, answers: dict[str, str]) -> None:
        self.spec = ToolSpec(name, "", {"type": "object"})
        self.answers = answers

    def check(self, arguments: str) -> str | None:
        """Whatever was recorded fits."""
        return None

    async def call(self, arguments: str, context: ToolContext) -> str:
        """The recorded result."""
        return self.answers[context.call]


def answers_of(recording: Recording) -> dict[str, str]:
    """Results by call ("STEP.INDEX")."""
    answers: dict[str, str] = {}
    step, asked = 0, [""]
    for message in recording.messages:
        if message.role == "assistant":
            step += 1
            asked = [part.id for part in message.parts if isinstance(part, ToolCall)]
        elif message.role == "tool":
            result: Any = message.parts[0]
            index = asked.index(result.id)
            asked[index] = ""
            answers[f"{step}.{index}"] = result.text
    return answers


def undrivable(messages: tuple[Message, ...]) -> str:
    """Why a conversation cannot happen live, or ""."""
    roles = [message.role for message in messages]
    if roles[:1] == ["system"]:
        roles = roles[1:]
    if roles[:1] != ["user"] or "system" in roles:
        return "it does not begin with a person, or has later instructions"
    if any(pair in (("user", "user"), ("assistant", "assistant")) for pair in pairwise(roles)):
        return "somebody speaks twice in a row"
    if roles[-1] == "assistant" and any(isinstance(part, ToolCall) for part in messages[-1].parts):
        return "its last tool call is never answered"
    return ""


async def drive(runtime: Runtime, recording: Recording) -> str:
    """Live through the recording; returns the run's id."""
    people: list[tuple[InputPart, ...]] = [m.parts for m in recording.messages if m.role == "user"]  # type: ignore[misc]
    unanswered = recording.messages[-1].role == "user"
    steps = sum(message.role == "assistant" for message in recording.messages)
    run = await runtime.start_async(
        recording.place, people[0], caller="replay", interactive=True, max_steps=steps + 1, timeout_s=None
    )
    said = 1
    async for event in run.events():
        if isinstance(event.fact, InputAwaited):
            if said == len(people):
                await run.end_async()
            elif said == len(people) - 1 and unanswered:
                await run.end_async(people[said])
            else:
                await run.send_async(people[said])
            said += 1
        elif isinstance(event.fact, StepStarted) and event.fact.step > steps:
            await run.cancel_async(NOTHING_MORE, by="replay")
    return run.id


def agent_of(recording: Recording) -> Agent:
    first = recording.messages[0]
    answers = answers_of(recording)
    named: list[Tool] = [RecordedTool(name, answers) for name in recording.tools]  # type: ignore[misc]
    instructions = (
        "".join(part.text for part in first.parts if isinstance(part, Text)) if first.role == "system" else ""
    )
    return Agent(recording.place, model=RecordedModel(recording), instructions=instructions, tools=named)


async def replay(
    runtime: Runtime, recordings: list[Recording], raw: list[list[dict[str, Any]]], at_once: int
) -> tuple[list[str], float, float]:
    """What differs, a sentence each; and the seconds and CPU seconds that the runs took."""
    room = asyncio.Semaphore(at_once)
    runs: dict[int, str] = {}

    async def one(index: int) -> None:
        async with room:
            runs[index] = await drive(runtime, recordings[index])

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(index) for index in range(len(recordings))))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    wrong: list[str] = []
    for index, recording in enumerate(recordings):
        told = to_chat(runtime.run(runs[index]).transcript())
        if told != raw[index]:
            at = next(
                (n for n, (a, b) in enumerate(zip(told, raw[index], strict=False)) if a != b),
                min(len(told), len(raw[index])),
            )
            wrong.append(f"{recording.place}: message {at + 1} differs")
        wrong += [f"{recording.place}: {problem}" for problem in verify_run(runtime.journal, runs[index])]
    return wrong, took, cpu


def main() -> int:
    parser = argparse.ArgumentParser(description="Replay recorded conversations through the whole kernel.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--at-once", type=int, default=100, help="runs at a time (default: 100)")
    parser.add_argument("--db", type=Path, help="keep the journal here (default: a temporary file)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    everything = list(read_recordings(text, options.file.name))
    raws = [conversation["messages"] for conversation in json.loads(text)]
    left_out = {one.place: why for one in everything if (why := undrivable(one.messages))}
    pairs = [(one, raw) for one, raw in zip(everything, raws, strict=True) if one.place not in left_out]
    recordings, raw = [one for one, _ in pairs], [messages for _, messages in pairs]
    with tempfile.TemporaryDirectory(prefix="executus-replay-") as folder:
        agents = [agent_of(one) for one in recordings]
        with Runtime(options.db or Path(folder) / "runs.db", agents=agents, resume=False) as runtime:
            wrong, took_s, cpu_s = asyncio.run(replay(runtime, recordings, raw, options.at_once))
            events = runtime.journal.head()
    steps = sum(message.role == "assistant" for one in recordings for message in one.messages)
    calls = sum(
        isinstance(part, ToolResult) for one in recordings for message in one.messages for part in message.parts
    )
    passed = len(recordings) - len({sentence.partition(":")[0] for sentence in wrong})
    result = {
        "conversations": len(everything),
        "passed": passed,
        "left_out": left_out,
        "wrong": wrong,
        "steps": steps,
        "tool_calls": calls,
        "events": events,
        "seconds": round(took_s, 3),
        "steps_per_s": round(steps / took_s),
        "cpu_ms_per_step": round(1000 * cpu_s / max(1, steps), 3),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for place, why in left_out.items():
            print(f"left out: {place}: {why}")
        for sentence in wrong:
            print(sentence)
        print(f"{passed} of {len(everything)} conversations pass: same transcript, log verifies")
        print(
            f"{steps:,} steps, {calls:,} tool calls, {events:,} events in {took_s:.2f} s: {steps / took_s:,.0f} "
            f"durable steps/s, {1000 * cpu_s / max(1, steps):.2f} CPU-ms a step (model, tools and driver included)"
        )
    return 0 if passed == len(everything) else 1


if __name__ == "__main__":
    sys.exit(main())
