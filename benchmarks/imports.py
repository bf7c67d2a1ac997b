"""CPU of `import executus`, beside importing the three libraries it stands on, each in a fresh interpreter.

`import executus` itself loads names at first use, so the second line also takes those that every host uses.
Target: ≤ 1.5 × `import msgspec, pykka, eventsourcing.persistence`.
"""

from __future__ import annotations

import os
import subprocess
import sys

from measure import Figure, against_floor, options, report, scratch

FLOOR = "import msgspec, pykka, eventsourcing.persistence"
OURS = (
    ("import executus", "import executus"),
    ("from executus import Agent, Runtime, tool", "from executus import Agent, Runtime, tool"),
    ("the same, and an open journal", "from executus import Agent, Runtime, tool\nRuntime().close()"),
)


def cpu_ms(code: str, bytecode: str) -> float:
    """CPU milliseconds of running `code` in a new interpreter, without the interpreter's own start.

    bytecode: the folder that keeps the compiled modules, so that every round but the first finds them.
    """
    timed = f"import time\nstart = time.process_time()\n{code}\nprint((time.process_time() - start) * 1000)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def main() -> None:
    given = options(__doc__, rounds=11)
    pairs: dict[str, list[tuple[float, float]]] = {what: [] for what, _ in OURS}
    with scratch(given.folder) as place:
        for turn in range(given.rounds + 1):
            raw = cpu_ms(FLOOR, str(place))
            for what, code in OURS:
                measured = cpu_ms(code, str(place))
                if turn:  # the first one compiles
                    pairs[what].append((measured, raw))
    figures: list[Figure] = [
        against_floor(what, "ms", pairs[what], bound=1.5 if "journal" not in what else None) for what, _ in OURS
    ]
    report("imports", figures, given)


if __name__ == "__main__":
    main()
