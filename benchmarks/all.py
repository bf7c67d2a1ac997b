"""Runs every benchmark of this folder, each in its own process, one after the other; options are passed on.

Those that measure no time are run by hand: `docs/reliability.md` lists the ones that do violence to a host.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measure import conditions

NAMES = (
    "floor",
    "throughput",
    "latency",
    "appends",
    "disk",
    "idle",
    "fold",
    "seek",
    "backtest",
    "views",
    "evidence",
    "sealing",
    "recovery",
    "imports",
)


def main() -> int:
    """Returns 1 if a benchmark could not be run; a missed target is printed, not an error."""
    here = Path(__file__).parent
    passed_on = sys.argv[1:]
    if "--json" not in passed_on and "-h" not in passed_on and "--help" not in passed_on:
        print(", ".join(f"{name} {value}" for name, value in conditions().items()))
    failed = [name for name in NAMES if subprocess.run([sys.executable, here / f"{name}.py", *passed_on]).returncode]
    if failed:
        print(f"could not be run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
