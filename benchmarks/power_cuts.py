"""Cuts the power of a host thousands of times: every write of a real one is recorded, and disks are made as cuts leave
them.

Hosts with live runs (`kill_host.py`) work on one journal, one after the other, the first ones killed, the last one left
alone; a library loaded before all others (`write_recorder.c`, made with gcc) notes each write, cut to length, sync and
name, and the acknowledgements in between. Then, at points drawn at random, images of the disk are made in which what
was not synced is lost, kept, or kept in part: each sector and each name for itself. Each image is opened: SQLite finds
nothing wrong, every log verifies, everything that was acknowledged before the cut is there, no tool had run before its
intent was safe, every artifact in a log is whole, stored views equal ones built anew. Every so many images a host is
booted on one and left alone: it must finish all runs and deliver all output.

That the record is complete is checked first: replayed to its end, it must give every file as it is, byte for byte.
Linux and gcc only. --plant shows that a mistake would be found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import kill_agents  # beside this file
import kill_bugs
import kill_loop
from kill_checks import Findings, Told, file_check, full_check, views_check
from power_images import MODELS, Disk, Operation, drop_torn_end, read_record

from executus.errors import ExecutusError

HERE = Path(__file__).resolve().parent
PLANTS = ("synchronous-normal", "unsynced-artifacts", "acknowledge-early")
LIVES = ("killed", "killed", "killed", "alone")
WAL_BYTES = 200_000
"""The write-ahead log is copied into the database at this size, so that a short record has checkpoints."""

MOST_SHOWN = 20
LONGEST_LIFE_S = 120.0


def why_not() -> str:
    """Why this machine cannot record; "" if it can."""
    if not sys.platform.startswith("linux"):
        return "the recorder is for Linux"
    return "" if shutil.which("gcc") else "the recorder is made with gcc, which is not here"


def made_recorder(folder: Path) -> Path:
    """The recorder's library, made in `folder`."""
    library = folder / "write_recorder.so"
    source = HERE / "write_recorder.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


def record(work: Path, options: argparse.Namespace) -> tuple[list[Operation], Path]:
    """Let hosts live on one journal and record what they write; returns the record and their folder."""
    folder, kept = (work / "host").resolve(), work / "record"
    folder.mkdir(mode=0o700)
    environment = dict(
        os.environ,
        LD_PRELOAD=str(made_recorder(work)),
        EXECUTUS_RECORD_UNDER=str(folder),
        EXECUTUS_RECORD_TO=str(kept),
        EXECUTUS_KILL_WAL=str(WAL_BYTES),
    )
    told, rng, request = Told(folder), random.Random(options.seed), 1
    for life in LIVES:
        how = "drain" if life == "alone" else "work"
        host = subprocess.Popen(
            [
                sys.executable,
                str(HERE / "kill_host.py"),
                str(folder),
                str(options.runs),
                str(request),
                how,
                options.plant,
            ],
            env=environment,
        )
        said = told.total + rng.randrange(options.acks // 2, options.acks * 3 // 2)
        until = time.monotonic() + LONGEST_LIFE_S
        while host.poll() is None and (life == "alone" or told.total < said) and time.monotonic() < until:
            time.sleep(0.02)
            told.read_on()
        if host.poll() is None:
            host.send_signal(signal.SIGKILL)
            host.wait()
            drop_torn_end(kept)
        told.read_on()
        if life == "alone" and host.returncode != 0:
            raise RuntimeError(f"the host that was left alone ended with code {host.returncode}")
        request = max(1, max((int(one[1:]) for one in told.starts), default=0) - 4)
    return read_record(kept), folder


def unlike(operations: list[Operation], folder: Path) -> list[str]:
    """What the record does not account for. A host that is killed may have written one piece more than was recorded:
    there the record has a hole.
    """
    disk = Disk()
    for one in operations:
        disk.apply(one)
    replayed = {path: content for path, content in disk.live_files().items() if not path.endswith("-shm")}
    found = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith("-shm")
    }
    problems: list[str] = []
    holes = 0
    for path in sorted(replayed.keys() | found.keys()):
        missing = holes_in(replayed.get(path), found.get(path))
        holes += missing or 0
        if missing is None or holes > LIVES.count("killed"):
            problems.append(f"the record says otherwise of {path} than the disk")
    return problems


def holes_in(replayed: bytes | None, found: bytes | None) -> int | None:
    """How many pieces of `found` were never recorded; None if it differs in any other way."""
    if replayed == found:
        return 0
    if replayed is None or found is None or len(replayed) > len(found):
        return None
    replayed = replayed.ljust(len(found), b"\0")
    differs = [place for place, (was, now) in enumerate(zip(replayed, found, strict=True)) if was != now]
    if any(replayed[place] for place in differs):
        return None
    return sum(place - 1 != before for before, place in pairwise([-2, *differs]))


def judge(image: Path) -> list[str]:
    """Open an image as the next host would find it; return what is wrong, a sentence each."""
    told = Told(image)
    told.read_on()
    journal = image / "runs.db"
    if not journal.exists():
        return [f"there is no journal, and {told.total} acknowledgements"] if told.total else []
    problems = file_check(journal)
    try:
        return problems + full_check(image, told).problems + views_check(journal)
    except ExecutusError as error:
        return [*problems, f"{type(error).__name__}: {error}"]


def boot(image: Path, options: argparse.Namespace) -> list[str]:
    """Leave a host alone on an image: it must finish everything."""
    told = Told(image)
    told.read_on()
    problems = kill_loop.last_boot(image, argparse.Namespace(runs=options.runs, plant=""), told)
    told.read_on()
    clean = not problems
    problems += full_check(image, told, at_rest=clean).problems + file_check(image / "runs.db")
    return problems + views_check(image / "runs.db", must_be_there=clean)


def cut(operations: list[Operation], work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make the images, and look at them."""
    rng = random.Random(options.seed)
    points = sorted(rng.randrange(1, len(operations)) for _ in range(-(-options.images // len(MODELS))))
    disk = Disk()
    bad: Counter[str] = Counter()
    problems: list[str] = []
    images = boots = done = 0
    began = time.monotonic()
    for point in points:
        while done < point:
            disk.apply(operations[done])
            done += 1
        for model in MODELS:
            image = work / "image"
            shutil.rmtree(image, ignore_errors=True)
            disk.write_to(image, model, rng)
            images += 1
            wrong = judge(image)
            if not wrong and options.boot_every and images % options.boot_every == 0:
                boots += 1
                wrong = [f"after a boot: {one}" for one in boot(image, options)]
            if wrong:
                bad[model] += 1
                problems += [f"cut before operation {point}, unsynced: {model}: {one}" for one in wrong]
            if sys.stderr.isatty():
                print(f"\r{images} images, {sum(bad.values())} bad", end="", file=sys.stderr)
        if len(problems) > MOST_SHOWN and options.stop:
            break
    return {
        "images": images,
        "booted": boots,
        "bad": sum(bad.values()),
        **{f"bad, unsynced: {model}": bad[model] for model in MODELS},
        "images_a_second": round(images / (time.monotonic() - began), 1),
        "problems": list(dict.fromkeys(problems))[:MOST_SHOWN],
    }


def run(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Record, cut, look; returns the figures."""
    operations, folder = record(work, options)
    kinds = Counter(one.kind for one in operations)
    figures: dict[str, Any] = {
        "seed": options.seed,
        "hosts": len(LIVES),
        "operations": len(operations),
        "syncs": kinds["S"],
        "acknowledgements": sum(one.path == "acks" for one in operations if one.kind == "W"),
    }
    incomplete = unlike(operations, folder)
    if incomplete:
        return figures | {"images": 0, "bad": 0, "problems": incomplete}
    whole: Findings = full_check(folder, _told(folder), at_rest=True)
    figures |= {"runs": whole.runs, "events": whole.events, "artifacts": whole.artifacts}
    if whole.problems and not options.plant:
        return figures | {"images": 0, "bad": 0, "problems": whole.problems[:MOST_SHOWN]}
    return figures | cut(operations, work, options)


def _told(folder: Path) -> Told:
    told = Told(folder)
    told.read_on()
    return told


def main() -> int:
    """Run it; 1 if a promise was broken, 2 if this machine cannot record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500, help="default 500; the long form is 5,000 or more")
    parser.add_argument("--runs", type=int, default=8, help="live runs of the host at any time (default 8)")
    parser.add_argument("--acks", type=int, default=400, help="about so many until a host is killed (default 400)")
    parser.add_argument("--boot-every", type=int, default=50, help="images between two boots (default 50, 0 for none)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="of the points to cut at")
    parser.add_argument("--dir", type=Path, default=None, help="where the images go; memory is fast: /dev/shm")
    parser.add_argument("--plant", choices=PLANTS, default="", help="plant a mistake that must be found")
    parser.add_argument("--stop", action="store_true", help="stop when there are more problems than are shown")
    parser.add_argument("--sealed", action="store_true", help="seal what is said in runs, and sign the log's heads")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    if options.sealed:
        os.environ[kill_agents.SEALED] = "1"
    if min(options.images, options.runs, options.acks) < 1:
        parser.error("--images, --runs, --acks: expected whole numbers ≥ 1")
    assert set(PLANTS) <= set(kill_bugs.BUGS)
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 2
    where = options.dir if options.dir is not None else _memory()
    with tempfile.TemporaryDirectory(prefix="executus-cuts-", dir=where, ignore_cleanup_errors=True) as work:
        figures = run(Path(work), options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "problems":
                print(f"{name.replace('_', ' '):28} {value}")
        for problem in figures["problems"]:
            print(f"BROKEN: {problem}")
        print("a promise was broken" if figures["problems"] else "no promise was broken")
    return 1 if figures["problems"] else 0


def _memory() -> Path | None:
    shared = Path("/dev/shm")
    with suppress(OSError):
        if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1 << 29:
            return shared
    return None


if __name__ == "__main__":
    sys.exit(main())
