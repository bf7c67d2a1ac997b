"""A table of your own: how often each tool was started and refused. Kept while the host runs, rebuilt like ours."""

import sqlite3
import sys

from executus import Agent, Event, Row, Rows, Runtime, ScriptedModel, Table, tool
from executus.adapters.models.scripted import call
from executus.events import ToolRefused, ToolStarted


class ToolUse(Row):
    """A row: its fields are the columns, the first of them is the key."""

    tool: str
    started: int = 0
    refused: int = 0


class ToolUseView:
    """How often each tool was started, and how often it was refused."""

    name = "tool_use"
    version = 1
    tables = (Table("tool_use", ToolUse),)

    def apply(self, event: Event, rows: Rows) -> None:
        """Count one event."""
        match event.fact:
            case ToolStarted(name=name):
                rows.of(ToolUse).change(name).started += 1
            case ToolRefused(name=name):
                rows.of(ToolUse).change(name).refused += 1


@tool(effect="pure")
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def main(path: str) -> None:
    """Live a short life and print the table."""
    script = [[call("add", left=1, right=2), call("add", left="one", right=2)], [call("add", left=3, right=4)], "done"]
    with Runtime(path, [Agent("clerk", model=ScriptedModel(script), tools=[add])], views=[ToolUseView()]) as rt:
        rt.start("clerk", "Add something.").result(timeout=60)
        if rt.views is not None:
            rt.views.wait()  # to print it here and now; nobody else needs to
            for row in sqlite3.connect(rt.views.path).execute("SELECT tool, started, refused FROM tool_use"):
                print("{}: started {} times, refused {} times".format(*row))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs.db")
