"""CPU of `import executus`, beside importing the three libraries it stands on, each in a fresh interpreter.

`import executus` itself is lazy, so the line that counts is the one that also takes the names a host uses.
Target: ≤ 1.5 × `import msgspec, pykka, eventsourcing.persistence`.
"""

from __future__ import annotations

import subprocess
import sys

from measure import Figure, against_floor, options, report

FLOOR = "import msgspec, pykka, eventsourcing.persistence"
OURS = (
    ("import executus", "import executus"),
    ("from executus import Agent, Runtime, tool", "from executus import Agent, Runtime, tool"),
    ("the same, and an open journal", "from executus import Agent, Runtime, tool\nRuntime().close()"),
)


def cpu_ms(code: str) -> float:
    """CPU milliseconds of running `code` in a new interpreter, without the interpreter's own start."""
    timed = f"import time\nstart = time.process_time()\n{code}\nprint((time.process_time() - start) * 1000)"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    given = options(__doc__, rounds=11)
    pairs: dict[str, list[tuple[float, float]]] = {what: [] for what, _ in OURS}
    for turn in range(given.rounds + 1):
        raw = cpu_ms(FLOOR)
        for what, code in OURS:
            measured = cpu_ms(code)
            if turn:  # the first one may compile bytecode
                pairs[what].append((measured, raw))
    figures: list[Figure] = [
        against_floor(what, "ms", pairs[what], bound=1.5 if "journal" not in what else None) for what, _ in OURS
    ]
    report("imports", figures, given)


if __name__ == "__main__":
    main()
