"""A host that signs for what its journal holds, puts the evidence elsewhere, and moves old runs to the archive.

openssl genpkey -algorithm ed25519 -out host.pem
python examples/signed_host.py runs.db host.pem elsewhere/anchors.jsonl
"""

from __future__ import annotations

import sys

from executus import Agent, Runtime, ScriptedModel, Signing

AGENTS = [Agent("greeter", model=ScriptedModel(["Hello."]))]


def main(journal: str, key: str, evidence: str) -> None:
    """One run, signed for."""
    signing = Signing(key, every_events=1_000, every_s=10.0, sink=evidence)
    with Runtime(journal, agents=AGENTS, signing=signing) as rt:
        print(rt.start("greeter", "Good morning.").result().output)
        moved = rt.compact(older_than_s=90 * 86_400, keep=1_000)
        print(f"{moved.runs} runs ({moved.events} events) moved to the archive")


if __name__ == "__main__":
    main(*sys.argv[1:])
