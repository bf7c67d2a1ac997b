"""What the models of this host would say, without models: each answers by rules from what it was told."""

import os
import re

import msgspec

from executus import Message, ModelRequest, ScriptedModel
from executus.adapters.models.scripted import Answer, call
from executus.events import Text, ToolResult

SLOW_S = float(os.environ.get("STAND_INS_TAKE_S", "0"))
"""Seconds that each takes to answer: some, so that there is something to see."""

FILE_ID = re.compile(r"file id (\S+)")


def _said(messages: tuple[Message, ...]) -> list[str]:
    """What people said, and what was staged for them, oldest first."""
    return [
        part.text for message in messages if message.role == "user" for part in message.parts if isinstance(part, Text)
    ]


def _results(messages: tuple[Message, ...]) -> list[str]:
    return [part.text for message in messages for part in message.parts if isinstance(part, ToolResult)]


def desk(request: ModelRequest) -> Answer:
    """The front desk: the words of the wish decide which tools it calls."""
    said, results = _said(tuple(request.messages)), _results(tuple(request.messages))
    wish, done = said[0], len(results)
    ids = [found for text in said for found in FILE_ID.findall(text)]
    if "loop" in wish:
        return call("look_up", topic="tea")
    if "publish" in wish and not done:
        return call("publish", text=wish)
    if "watch" in wish and not done:
        return call("watch", seconds=600)
    if ids and not done:
        return call("read_attachment", file_id=ids[0])
    if ids and done == 1:
        return call("save_artifact", name="summary.txt", text=f"{len(results[0].split())} words: {results[0]}")
    if "research" in wish and not done:
        return [call("agent__researcher", prompt=wish), call("skill__headline", text=wish)]
    if "research" in wish and done == 2:
        return call("agent__writer", prompt="\n".join(results))
    return " ".join([results[-1] if results else f"You said: {wish}", *(f"(heard: {text})" for text in said[1:])])


def researcher(request: ModelRequest) -> Answer:
    """Looks one thing up and says what it found."""
    results = _results(tuple(request.messages))
    return results[-1] if results else call("look_up", topic=_said(tuple(request.messages))[0])


def writer(request: ModelRequest) -> Answer:
    """Makes a report of its notes."""
    return f"Report.\n{_said(tuple(request.messages))[0]}"


def small(request: ModelRequest) -> Answer:
    """The small model: it has the researcher's work when it has tools, else it shortens what it is told."""
    if request.tools:
        return researcher(request)
    inputs = msgspec.json.decode(_said(tuple(request.messages))[0])  # a skill is told its inputs as JSON
    return " ".join(inputs["text"].split()[:8]).capitalize()


def judge(request: ModelRequest) -> Answer:
    """The critic's model: it lets every run go on; `StuckCritic` stops those that turn in circles."""
    return '{"verdict": "continue", "text": "nothing speaks against it"}'


DESK = ScriptedModel(desk, name="stand-in:desk", delay_s=SLOW_S)
WRITER = ScriptedModel(writer, name="stand-in:writer", delay_s=SLOW_S)
SMALL = ScriptedModel(small, name="stand-in:small", delay_s=SLOW_S)
JUDGE = ScriptedModel(judge, name="stand-in:judge", delay_s=SLOW_S)
