"""What masking costs: microseconds of CPU for 10 KB of text of several kinds, and CPU milliseconds a durable step.

    python benchmarks/redaction.py [--rounds 5] [--json] [--quick] [FILE]

Texts: prose, JSON, source code (the standard library's own) and random characters; FILE, if given, is a JSON array of
recorded conversations whose tool results and replies are taken too, and searched for what is masked in them although
it is no secret. Ten secrets are registered, as long as those of well-known issuers are. Steps are
those of `throughput.py`, of runtimes that mask nothing, by shapes and names, and ten registered secrets as well, which
take turns in this process.
"""

from __future__ import annotations

import argparse
import inspect
import json
import random
import string
import sys
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agents import agent, measure_drive
from measure import _LETTERS, Figure, Options, median_of, options, report, scratch

from executus import Runtime
from executus.redaction import MASKS, Redactor

SIZE = 10_000
SIZES = (40, 40, 20, 32, 24, 26, 64, 40, 22, 36)
SECRETS = {
    f"s{number}": "".join(random.Random(number).choices(string.ascii_letters + string.digits, k=size))
    for number, size in enumerate(SIZES)
}


def texts(conversations: Path | None) -> dict[str, str]:
    """10 KB of each kind."""
    rows = [
        {"id": n, "user_id": f"mia_li_{n}", "name": "Mia Li", "paid": n * 7.5, "at": "2024-05-15"} for n in range(200)
    ]
    found = {
        "random characters": _LETTERS,
        "JSON": json.dumps(rows),
        "source code": inspect.getsource(json.decoder) + inspect.getsource(argparse),
        "prose": (argparse.__doc__ or "")
        + "\n".join(inspect.getdoc(vars(argparse)[name]) or "" for name in argparse.__all__) * 20,
    }
    if conversations is not None:
        said = list(spoken(conversations))
        found["recorded results"] = "".join(text for role, text in said if role == "tool")
        found["recorded replies"] = "".join(text for role, text in said if role == "assistant")
    return {kind: text[:SIZE] for kind, text in found.items()}


def spoken(conversations: Path) -> list[tuple[str, str]]:
    """Every text of the recordings with who said it; arguments of calls too."""
    found: list[tuple[str, str]] = []
    for conversation in json.loads(conversations.read_text()):
        for message in conversation["messages"]:
            found.append((message["role"], message.get("content") or ""))
            found += [("arguments", call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
    return found


def micros(call: Callable[[], Any], number: int) -> float:
    """CPU microseconds of one call."""
    return timeit.timeit(call, number=number, timer=time.thread_time) / number * 1e6


def speeds(given: Options, conversations: Path | None) -> list[Figure]:
    """One line for each kind of text and of redactor."""
    redactors = {
        "10 registered": (Redactor(SECRETS.items(), ()), 50.0),
        "shapes and names": (Redactor(), None),
        "all": (Redactor(SECRETS.items()), None),
    }
    figures: list[Figure] = []
    for kind, text in texts(conversations).items():
        assert len(text) == SIZE, kind
        for name, (redactor, bound) in redactors.items():
            number = 20 if given.quick else 200
            values = [micros(partial(redactor.spans, text), number) for _ in range(given.rounds)]
            figures.append(median_of(f"10 KB of {kind}, {name}", "us", values, bound=bound))
    return figures


def steps(given: Options) -> list[Figure]:
    """CPU a step, with and without."""
    runs, count = (5, 5) if given.quick else (50, 40)
    kinds: dict[str, dict[str, Any]] = {
        "nothing is masked": {"redact": ()},
        "shapes and names (the default)": {"redact": MASKS},
        "ten registered secrets too": {"redact": MASKS, "secrets": SECRETS},
    }
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(given.rounds + 1):
        for kind, settings in kinds.items():
            with (
                scratch(given.folder) as place,
                Runtime(place / "runs.db", [agent(count, "async")], **settings) as runtime,
            ):
                cpu_ms = measure_drive(runtime, runs, count).cpu_ms
            if number:  # the first round warms up
                found[kind].append(cpu_ms)
    plain = found["nothing is masked"]
    figures = [median_of("CPU a step, nothing is masked", "ms", plain)]
    for kind in list(kinds)[1:]:
        ratios = [one / other for one, other in zip(found[kind], plain, strict=True)]
        figures.append(median_of(f"  {kind}, ratio to that", "x", ratios))
    return figures


def mistaken(conversations: Path) -> list[Figure]:
    """What is masked in recordings without secrets."""
    redactor, said = Redactor(), spoken(conversations)
    count = sum(bool(redactor.spans(text)) for _, text in said)
    return [Figure(f"texts masked of {len(said)} without a secret", count, "", bound=0.0)]


def main() -> None:
    """Print the figures."""
    files = [Path(one) for one in sys.argv[1:] if not one.startswith("-") and Path(one).is_file()]
    sys.argv = [sys.argv[0], *(one for one in sys.argv[1:] if Path(one) not in files)]
    given = options(__doc__)
    conversations = files[0] if files else None
    figures = speeds(given, conversations) + (mistaken(conversations) if conversations is not None else [])
    report("redaction", figures + steps(given), given)


if __name__ == "__main__":
    main()
