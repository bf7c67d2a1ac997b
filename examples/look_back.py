"""Looking back at a run from code: what happened, what stood there at any point, what changed, and who changed it.

The journal may be a live host's (`runtime.journal`), or be read beside one or after it, as here. Nothing is executed.
"""

import sys

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.journal import read_journal
from executus.travel import Recording, blame, diff, search


@tool(effect="pure")
def divide(left: int, right: int) -> float:
    """Divide two numbers."""
    return left / right


def main(path: str) -> None:
    """Live a short life in which something goes wrong, and find out what."""
    script = [[call("divide", left=6, right=0)], ["Once more.", call("divide", left=6, right=2)], "It is 3."]
    with Runtime(path, [Agent("clerk", model=ScriptedModel(script), tools=[divide])]) as rt:
        run_id = rt.start("clerk", "What is 6 by 2?").result(timeout=60).run_id

    journal = read_journal(path)
    recording = Recording(journal, run_id)
    for moment in recording.moments():
        if moment.wrong:
            print(f"version {moment.version}: {moment.title.partition(' (')[0]}")
            before, after = recording.at(moment.version - 1), recording.at(moment.version)
            print(f"  open calls: {len(before.state.open_calls)}, then {len(after.state.open_calls)}")
            since = diff(recording, run_id, moment.version, recording.head)
            print(f"  said since: {len(since.said)} messages")
    for write in blame(journal, run_id, "output"):
        print(f"version {write.version}: output is {write.after!r}")
    for found in search(journal, "once MORE"):
        print(f"{found.tag}, {found.where}: {found.before}[{found.hit}]{found.after}")
    journal.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs.db")
