"""Gives both ends of the wire a million hostile frames: mutants of one valid frame of each kind.

Bits and bytes are changed, frames cut and spliced, lengths promise more than there is, values become others of every
type, texts no UTF-8, structures thousands deep. Most requests are signed anew with a right key, so that what is behind
the signature is reached. The gate, the desk of a real host in memory, and what a client does with replies, frames of
the feed, cards, traces and verdicts are tried. Nothing may escape, each answer must be a reply, a refusal must change
nothing. With `--corpus` what broke something is kept there, for `tests/wire/test_hostile_frames.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from measure import memory_bytes

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS)]

from wire_fuzz import Fuzz, quiet  # noqa: E402

WARM = 100_000
MOST_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="where to keep what broke something")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        os.environ["TMPDIR"] = folder
        fuzz = Fuzz(options.seed, room)
        begun = time.monotonic()
        try:
            warm = min(WARM, options.inputs // 2)
            fuzz.go(warm)
            before = memory_bytes()
            fuzz.go(options.inputs - warm)
            grown = (memory_bytes() - before) / 1e6
        finally:
            fuzz.close()
    seconds = time.monotonic() - begun
    for name, sent, why in fuzz.broken[:MOST_SHOWN]:
        print(f"BROKEN {name}: {why}: {sent[:60].hex()}", file=sys.stderr)
        if options.corpus is not None:
            options.corpus.mkdir(parents=True, exist_ok=True)
            (options.corpus / f"{name}-{hashlib.sha256(sent).hexdigest()[:12]}.bin").write_bytes(sent)
    found = {
        "inputs": options.inputs,
        "seconds": round(seconds),
        "broken": len(fuzz.broken),
        "grown_mb": round(grown, 1),
        "slowest_ms": {name: round(took * 1e3, 1) for name, took in sorted(fuzz.slowest.items())},
        "seen": dict(sorted(fuzz.seen.items())),
    }
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if isinstance(value, dict):
                print(f"{name}:")
                for what, times in value.items():
                    print(f"  {what:24} {times:>10,}")
            else:
                print(f"{name}: {value:,}")
    return 1 if fuzz.broken else 0


if __name__ == "__main__":
    sys.exit(main())
