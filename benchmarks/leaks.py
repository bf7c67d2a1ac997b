"""Plant registered secrets wherever text comes in, in every way they may be written, and search every byte afterwards.

    python benchmarks/leaks.py [--plants 20000] [--seed 1] [--dir DIR] [--json] [--unmasked]

Each batch is a runtime of its own with 20 secrets and a few runs, whose texts (input, inputs, instructions, replies,
arguments, results and errors of tools, errors of models, advice, notes, file and artifact names, deltas, log lines, …)
have some 1,800 secrets in them. Then the bytes of every file that the runtime left
(database, WAL, blobs, attachments, artifacts, deliveries), what was shown live and what was logged are searched for
every one. Prints how many were planted and found; exit code 1 if any was. --unmasked: without the funnel, which shows
that the search would find them. Needs the extra `test`, whose encoders it shares.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from planted_secrets import WRITTEN, leaks, random_secret
from secret_carriers import CARRIERS, NAMES_OF_FILES, live

SECRETS = 20
LONG = 100
"""Secrets in each text that may be long."""
SHORT = 4
"""Secrets in each of the others: names, ids, reasons."""
LONG_ONES = frozenset(
    (
        *("input", "inputs", "instructions", "phase instructions", "reply", "thinking", "arguments", "tool result"),
        *("tool error", "child input", "child output", "steer", "note", "logged error", "last words", "delta"),
    )
)


@dataclass
class Outcome:
    """What came of it. found: by the way it is written and where."""

    planted: int = 0
    searched_bytes: int = 0
    seconds: float = 0.0
    found: dict[str, int] = field(default_factory=dict)


def plant(plants: int, seed: int = 1, folder: Path | None = None, *, unmasked: bool = False) -> Outcome:
    """Plant at least so many, and search for all of them."""
    rng, outcome, began = random.Random(seed), Outcome(), time.perf_counter()
    nothing = patch("executus.redaction.redactor.Redactor.spans", lambda self, text, way="text": [])
    while outcome.planted < plants:
        secrets = {f"s{number}": random_secret(rng) for number in range(SECRETS)}
        with tempfile.TemporaryDirectory(dir=folder) as place:
            told: dict[str, str] = {}
            for carrier in CARRIERS:
                if carrier in NAMES_OF_FILES:
                    told[carrier] = f"a {rng.choice([*secrets.values()])} b"
                    outcome.planted += 1
                    continue
                count = LONG if carrier in LONG_ONES else 1 if carrier == "file kind" else SHORT
                pieces = [WRITTEN[rng.choice(sorted(WRITTEN))](rng.choice([*secrets.values()])) for _ in range(count)]
                told[carrier] = "".join([f"{'x' * rng.randint(0, 9)} {piece} " for piece in pieces])
                outcome.planted += count
            if unmasked:
                with nothing:
                    left = live(Path(place), told, secrets)
            else:
                left = live(Path(place), told, secrets)
            for where, content in left.items():
                outcome.searched_bytes += len(content)
                text = content.decode("latin-1")
                for value in secrets.values():
                    for way in leaks(value, text):
                        key = f"{way} in {where.split(' ')[0]}"
                        outcome.found[key] = outcome.found.get(key, 0) + 1
    outcome.seconds = time.perf_counter() - began
    return outcome


def main() -> int:
    """Returns 1 if a secret was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=20_000, help="secrets to plant (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="which secrets, and where (default 1)")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the databases")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--unmasked", action="store_true", help="without the funnel: all are found")
    given = parser.parse_args()
    outcome = plant(given.plants, given.seed, given.dir, unmasked=given.unmasked)
    shown: dict[str, Any] = asdict(outcome)
    if given.json:
        print(json.dumps({"benchmark": "leaks", **shown}))
    else:
        total = sum(outcome.found.values())
        size = f"{outcome.searched_bytes / 1e6:,.1f} MB"
        print(f"planted {outcome.planted:,}, searched {size} in {outcome.seconds:,.0f} s, found {total:,}")
        for where, count in sorted(outcome.found.items()):
            print(f"  {count:6,}  {where}")
    return 1 if outcome.found else 0


if __name__ == "__main__":
    sys.exit(main())
