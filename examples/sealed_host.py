"""A sealed journal, and a customer who asks to be forgotten.

python examples/sealed_host.py
"""

import tempfile
from pathlib import Path

from executus import Agent, Runtime, ScriptedModel
from executus.adapters.keys.sources import KeyFile

clerk = Agent("clerk", model=ScriptedModel(["Your order is on its way, Ada."]))


def main(folder: Path) -> None:
    """Run one customer's request sealed, then erase what was said."""
    key = KeyFile(folder / "keys" / "host.key", create=True)  # not in the folder of the journal
    with Runtime(folder / "data" / "runs.db", [clerk], encryption=key) as rt:
        run = rt.start("clerk", "Where is my order? Ada, 5 Example Street", caller="customer-17")
        print(run.result().output)

        erasure = rt.erase(caller="customer-17", by="data protection", reason="request 2031")
        print(run.transcript()[0].parts[0].text, run.result().stats.steps)
        print(rt.prove_erasure(erasure.runs, phrases=["Example Street"]) or "proved")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "keys").mkdir(mode=0o700)
        main(Path(temporary))
