"""A light host: a swarm of bounded runs without a port: nothing is stored, budgeted, supervised or delivered.

    python examples/light_host.py [--model openai:gpt-5-mini] [FILE ...]

asks for one remark about each Python file, many at a time, and prints the answers in the order of the files.
"""

import argparse
import ast
import sys
from pathlib import Path

from executus import Agent, ModelRequest, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import Answer, call
from executus.events import ToolResult


@tool(effect="pure")
def functions(path: Path) -> str:
    """List the functions of a Python file with their number of lines, longest first."""
    tree = ast.parse(path.read_text())
    found = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = sorted(((one.end_lineno or one.lineno) - one.lineno + 1, one.name) for one in found)
    return "\n".join(f"{name}: {lines} lines" for lines, name in reversed(sizes)) or "it has no functions"


def stand_in(request: ModelRequest) -> Answer:
    """What a model would do, without one: look at the file, then name its longest function."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolResult):
                return f"the tool failed: {part.text}" if part.is_error else f"longest: {part.text.splitlines()[0]}"
    return call("functions", path=request.messages[-1].parts[0].text)


def main() -> int:
    """Start a run for each file, wait for all of them, and say how each ended."""
    options = argparse.ArgumentParser(description="A swarm of bounded runs without any port.")
    options.add_argument("files", nargs="*", type=Path, help="Python files; without any, those beside this one")
    options.add_argument("--model", help="such as openai:gpt-5-mini, with OPENAI_API_KEY set; else a stand-in")
    given = options.parse_args()
    files = given.files or sorted(Path(__file__).parent.glob("*.py"))
    reader = Agent(
        "reader",
        model=given.model or ScriptedModel(stand_in, name="stand-in"),
        instructions="Look at the file with your tool. Answer with one remark, in one sentence.",
        tools=[functions],
        max_steps=4,
        timeout_s=60,
    )
    ended = []
    with Runtime(agents=[reader]) as runtime:
        swarm = [(path, runtime.start("reader", str(path))) for path in files]
        for path, run in swarm:
            result = run.result()
            ended.append(result.status)
            print(f"{result.status}  {path.name}  {result.output or result.error}  ({result.stats.steps} steps)")
    print(f"{ended.count('ok')} of {len(files)} ended well")
    return 0 if set(ended) <= {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
