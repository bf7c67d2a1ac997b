"""Runs executus, LangGraph's SqliteSaver and DBOS in one sitting; prints medians and how many times faster executus is.

usage: python sitting.py HARNESS VENVS [--rounds 3] [--long] [--json]

HARNESS: the folder with workload.py and the p_*.py files, p_executus.py among them. VENVS: the folder with
venv-executus, venv-langgraph, venv-dbos and venv-raw. The peers take turns within each round, so that neighbours in
time are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = (
    ("raw", "p_raw.py", "group"),
    ("executus", "p_executus.py", "default"),
    ("langgraph", "p_langgraph.py", "default"),
    ("langgraph", "p_langgraph.py", "delta"),
    ("dbos", "p_dbos.py", "default"),
    ("dbos", "p_dbos.py", "wal"),
)
METRICS = {
    "many": ["many", "--runs", "100", "--n", "10"],
    "many, 50 steps": ["many", "--runs", "100", "--n", "50"],
    "seq": ["seq", "--n", "100"],
}
LONG = {"raw", "executus"}
"""Who is fast enough for 5,000 steps without `--long`."""


def measure(harness: Path, venvs: Path, peer: str, script: str, variant: str, words: list[str]) -> dict[str, float]:
    """One figure line of one peer.

    Raises:
        SystemExit: the peer failed; with its last words.
    """
    command = [str(venvs / f"venv-{peer}" / "bin" / "python"), script, *words, "--variant", variant]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            command, cwd=harness, env=dict(os.environ, PEERBENCH_DATA=place), capture_output=True, text=True
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    if done.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("venvs", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="let every peer make the 5,000 steps of `many, 50 steps`")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    got: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for number in range(given.rounds):
        for metric, words in METRICS.items():
            for peer, script, variant in PEERS:
                if "50 steps" in metric and peer not in LONG and not given.long:
                    continue
                shown = "2tx" if metric == "seq" and peer == "raw" else variant
                line = measure(given.harness, given.venvs.absolute(), peer, script, shown, words)
                got.setdefault((metric, peer, shown), []).append(line)
                print(f"round {number + 1}: {metric}: {peer} {shown}: {line['steps_s']:.0f} steps/s", file=sys.stderr)
    rows = []
    for (metric, peer, variant), lines in got.items():
        ours = got[metric, "executus", "default"]
        rows.append(
            {
                "metric": metric,
                "peer": f"{peer} {variant}",
                "steps_s": statistics.median(line["steps_s"] for line in lines),
                "cpu_ms_step": statistics.median(line["cpu_ms_step"] for line in lines),
                "p50_ms": statistics.median(line["p50_ms"] for line in lines),
                "executus_is": statistics.median(a["steps_s"] / b["steps_s"] for a, b in zip(ours, lines, strict=True)),
            }
        )
    if given.json:
        print(json.dumps(rows))
        return
    print("| metric | peer | steps/s | CPU ms a step | p50 ms | executus is |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['metric']} | {row['peer']} | {row['steps_s']:,.0f} | {row['cpu_ms_step']:.3g} |"
            f" {row['p50_ms']:.3g} | {row['executus_is']:.3g} × |"
        )


if __name__ == "__main__":
    main()
