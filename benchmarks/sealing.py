"""What sealing costs: microseconds an event to store and to read, and whole runs with it beside runs without.

The facts are those of a step with one tool call, with texts of 1,000 characters. Storing is encoding with chain hash,
reading is decoding; the disk is in the runs only, which take turns with and without in this process.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

from agents import agent, measure_drive
from measure import Figure, against_floor, options, report, scratch, text

from executus import Runtime
from executus.adapters.keys.aes import AesGcm
from executus.events import GENESIS, Fact, Seal, StepCompleted, StepStarted, Text, ToolCall, ToolFinished, ToolStarted
from executus.events.codec import Stored, decode_event, decode_fact, encode_event
from executus.journal.keyring import RunSeal

RUN = "01890000-0000-7000-8000-00000000abcd"


def step_facts(number: int) -> list[Fact]:
    return [
        StepStarted(step=number, model="m"),
        StepCompleted(step=number, reply=(Text(text(1, number)), ToolCall(f"id-{number}", "look", '{"at": 1}'))),
        ToolStarted(call=f"{number}.0", name="look", effect="pure"),
        ToolFinished(call=f"{number}.0", result=text(2, number), took_ms=3),
    ]


def encode_all(facts: list[Fact], seal: Seal | None) -> list[Stored]:
    stored: list[Stored] = []
    previous = GENESIS
    for version, fact in enumerate(facts, 1):
        one = encode_event(
            fact,
            run_id=RUN,
            version=version,
            previous=previous,
            at_us=1_700_000_000_000_000,
            elapsed_ms=version,
            cause="",
            epoch=1,
            seal=seal,
        )
        previous = one.event.hash
        stored.append(one)
    return stored


def timed(call: Callable[[], object], events: int) -> float:
    """Microseconds an event."""
    gc.collect()
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / events * 1e6


def one_round(facts: list[Fact], seal: Seal) -> dict[str, tuple[float, float]]:
    """(sealed, in the clear) by what was measured."""
    sealed, clear = encode_all(facts, seal), encode_all(facts, None)

    def read(stored: list[Stored], opener: Callable[[str, bytes], Seal] | None) -> None:
        for one in stored:
            event = one.event
            decode_event(RUN, event.version, event.tag, one.state, position=1, blob=lambda _: None, opener=opener)

    def fold(stored: list[Stored], opener: Callable[[str, bytes], Seal] | None) -> None:
        for one in stored:
            decode_fact(RUN, one.event.version, one.event.tag, one.state, blob=lambda _: None, opener=opener)

    def opener(_run: str, _key: bytes) -> Seal:
        return seal

    count = len(facts)
    return {
        "storing": (timed(lambda: encode_all(facts, seal), count), timed(lambda: encode_all(facts, None), count)),
        "reading": (timed(lambda: read(sealed, opener), count), timed(lambda: read(clear, None), count)),
        "folding": (timed(lambda: fold(sealed, opener), count), timed(lambda: fold(clear, None), count)),
        "bytes": (
            sum(len(one.state) for one in sealed) / count,
            sum(len(one.state) for one in clear) / count,
        ),
    }


def runs_with(folder: Path, encryption: bytes | None, runs: int, steps: int) -> tuple[float, float]:
    """(steps a second, CPU-ms a step)."""
    with scratch(folder) as place, Runtime(place / "runs.db", [agent(steps)], encryption=encryption) as runtime:
        speed = measure_drive(runtime, runs, steps)
        return speed.steps_s, speed.cpu_ms


def main() -> None:
    given = options(__doc__)
    steps = 50 if given.quick else 2_000
    facts = [fact for number in range(1, steps + 1) for fact in step_facts(number)]
    seal = RunSeal(b"k" * 8, AesGcm(bytes(range(32))))
    one_round(facts[:100], seal)
    rounds = [one_round(facts, seal) for _ in range(given.rounds)]
    figures: list[Figure] = [
        against_floor(f"{what} an event, sealed", "B" if what == "bytes" else "µs", [one[what] for one in rounds])
        for what in ("storing", "reading", "folding", "bytes")
    ]
    runs, steps = (10, 5) if given.quick else (100, 50)
    key = bytes(range(32))
    runs_with(given.folder, key, runs, 3)
    speeds: list[tuple[float, float]] = []
    cpu: list[tuple[float, float]] = []
    for turn in range(given.rounds):
        order = (key, None) if turn % 2 else (None, key)
        measured = {encryption: runs_with(given.folder, encryption, runs, steps) for encryption in order}
        speeds.append((measured[key][0], measured[None][0]))
        cpu.append((measured[key][1], measured[None][1]))
    figures.append(against_floor(f"{runs} runs, sealed beside in the clear", "steps/s", speeds, at_least=True))
    figures.append(against_floor("  CPU a step", "ms", cpu))
    report("sealing", figures, given)


if __name__ == "__main__":
    main()
