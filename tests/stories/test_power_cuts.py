"""The power of a host is cut at any write: a short version of `benchmarks/power_cuts.py`.

What is recorded are the writes of a real host; without gcc, or elsewhere than on Linux, nothing can be recorded.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="the recorder needs Linux and gcc"
)


def cut(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "power_cuts.py"), "--json", "--acks", "250", "--dir", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_power_cut_loses_nothing_acknowledged_and_a_host_on_what_is_left_finishes_all(tmp_path: Path) -> None:
    code, figures = cut(tmp_path, "--images", "102", "--boot-every", "50")
    assert figures["problems"] == []
    assert code == 0
    assert figures["images"] == 102
    assert figures["booted"] == 2
    assert figures["syncs"] > 50
    assert figures["acknowledgements"] > 0


@pytest.mark.parametrize("mistake", ["synchronous-normal", "unsynced-artifacts"])
def test_a_journal_or_a_store_that_does_not_wait_for_the_disk_is_found(mistake: str, tmp_path: Path) -> None:
    code, figures = cut(tmp_path, "--images", "300", "--boot-every", "0", "--plant", mistake, "--stop")
    assert code == 1
    assert figures["bad, unsynced: nothing"] > 0
    assert figures["bad, unsynced: everything"] == 0


def test_of_what_was_not_synced_every_sector_and_every_name_is_lost_or_kept_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from power_images import Disk, Operation

    disk = Disk()
    steps = [
        ("C", 7, 0, "a", b""),
        ("W", 7, 0, "a", b"x" * 1024),
        ("B", 7, 0, "a", b""),
        ("W", 7, 512, "a", b"y" * 1024),  # after the sync began
        ("S", 7, 0, "a", b""),
        ("B", 1, 0, "", b""),
        ("S", 1, 0, "", b""),
        ("R", 7, 0, "a", b"b"),
    ]
    for number, (kind, inode, offset, path, data) in enumerate(steps):
        disk.apply(Operation(number, kind, inode, offset, path, data))
    seen = set()
    for seed in range(200):
        image = tmp_path / str(seed)
        disk.write_to(image, "part", random.Random(seed))
        (file,) = image.iterdir()
        seen.add((file.name, file.read_bytes().replace(b"x" * 512, b"X").replace(b"y" * 512, b"Y")))
    left = {b"XX", b"XY", b"XYY", b"XXY"}
    assert seen == {(name, content) for name in ("a", "b") for content in left}
    disk.write_to(tmp_path / "none", "nothing", random.Random(0))
    assert (tmp_path / "none" / "a").read_bytes() == b"x" * 1024
    disk.write_to(tmp_path / "all", "everything", random.Random(0))
    assert (tmp_path / "all" / "b").read_bytes() == b"x" * 512 + b"y" * 1024


@pytest.mark.parametrize(
    ("recorded", "there", "holes"),
    [
        (b"one\ntwo\n", b"one\ntwo\n", "0"),
        (b"one\n", b"one\ntwo\n", "1"),
        (b"one\n\0\0\0\0six\n", b"one\ntwo\nsix\n", "1"),
        (b"\0\0\0\0two\n", b"one\ntwo\nsix\n", "2"),
        (b"one\nTWO\n", b"one\ntwo\n", "None"),
        (b"one\ntwo\n", b"one\n", "None"),
    ],
)
def test_only_what_a_kill_kept_from_being_recorded_may_be_missing(recorded: bytes, there: bytes, holes: str) -> None:
    asked = f"import power_cuts; print(power_cuts.holes_in({recorded!r}, {there!r}))"
    done = subprocess.run([sys.executable, "-c", asked], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (holes, "")


def test_a_record_that_a_kill_has_torn_ends_before_that(tmp_path: Path) -> None:
    asked = """
import sys
from pathlib import Path
from power_images import HEAD, drop_torn_end, read_record
record = HEAD.pack(HEAD.size - 4 + 4 + 3, b"W", 7, 0, 4) + b"acks" + b"yes"
path = Path(sys.argv[1])
for torn in range(len(record)):
    path.write_bytes(record + record[:torn])
    drop_torn_end(path)
    path.write_bytes(path.read_bytes() + record)
    assert [(one.path, one.data) for one in read_record(path)] == [("acks", b"yes")] * 2, torn
"""
    command = [sys.executable, "-c", asked, str(tmp_path / "record")]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
