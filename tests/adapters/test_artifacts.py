"""Artifacts: found again by the hash of their content, whole or not at all, and kept once."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.files.artifacts import DirectoryArtifacts, MemoryArtifacts
from executus.errors import FileRefused
from executus.ports import ArtifactStore

DEADLINE_S = 60.0
ABC = hashlib.sha256(b"abc").hexdigest()

Make = Callable[..., Any]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture(params=["directory", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return MemoryArtifacts
    return lambda **limits: DirectoryArtifacts(tmp_path / "root", **limits)


def test_an_artifact_is_found_by_the_hash_of_its_content(make: Make) -> None:
    store = make()
    assert isinstance(store, ArtifactStore)
    assert store.put(b"abc") == ABC
    assert store.get(ABC) == b"abc"
    assert store.get(store.put(b"")) == b""


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_every_content_comes_back(contents: list[bytes]) -> None:
    store = MemoryArtifacts()
    addresses = [store.put(content) for content in contents]
    assert [store.get(address) for address in addresses] == contents


@pytest.mark.parametrize("address", ["", ".", "..", "../x", ABC.upper(), ABC[:-1], ABC + "\n", "/etc/passwd", "a\0b"])
def test_what_is_no_address_opens_nothing(make: Make, address: str) -> None:
    store = make()
    store.put(b"abc")
    with pytest.raises(FileRefused, match="artifact"):
        store.get(address)


def test_an_artifact_that_nobody_stored_is_refused(make: Make) -> None:
    with pytest.raises(FileRefused, match=f"no artifact '?{ABC}"):
        make().get(ABC)


def test_only_bytes_are_content(make: Make) -> None:
    with pytest.raises(TypeError, match="expected bytes, got str"):
        make().put("abc")


def test_the_same_content_counts_once(make: Make) -> None:
    store = make(max_bytes=3)
    assert store.put(b"abc") == store.put(b"abc")
    with pytest.raises(FileRefused, match="max_"):
        store.put(b"d")


def test_a_forgotten_artifact_makes_room(make: Make) -> None:
    store = make(max_bytes=3)
    store.forget(store.put(b"abc"))
    store.forget(ABC)
    with pytest.raises(FileRefused):
        store.get(ABC)
    store.put(b"def")


def test_a_limit_below_one_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="expected a whole number above 0, got 0"):
        make(max_bytes=0)


def test_threads_that_store_the_same_content_store_it_once(make: Make) -> None:
    size, rounds, threads = 2**20, 8, 8
    store = make(max_bytes=size * rounds)
    together = threading.Barrier(threads)

    def put(content: bytes) -> Any:
        together.wait(DEADLINE_S)
        return store.put(content)

    with ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            [address] = set(pool.map(put, [bytes([number]) * size] * threads))
            assert store.get(address) == bytes([number]) * size
    with pytest.raises(FileRefused, match="max_bytes"):
        store.put(b"x")


def test_threads_never_pass_the_limit_together(make: Make) -> None:
    store = make(max_bytes=20)

    def attempt(number: int) -> str | None:
        try:
            address = store.put(b"%02d" % number)
        except FileRefused:
            return None
        assert isinstance(address, str)
        return address

    with ThreadPoolExecutor(8) as pool:
        assert sum(address is not None for address in pool.map(attempt, range(60))) == 10


# ------------------------------------------------------------------ on disk


def test_one_file_of_one_content_is_on_disk_and_private(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = DirectoryArtifacts(root)
    for _ in range(3):
        store.put(b"abc")
    assert names_in(root) == [ABC]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / ABC).stat().st_mode) == 0o600


def test_a_store_opened_again_has_the_artifacts_and_counts_them(tmp_path: Path) -> None:
    DirectoryArtifacts(tmp_path / "root").put(b"abc")
    store = DirectoryArtifacts(tmp_path / "root", max_bytes=4, max_files=2)
    assert store.get(ABC) == b"abc"
    with pytest.raises(FileRefused, match="3 bytes are kept, the limit is 4"):
        store.put(b"de")
    store.put(b"d")
    with pytest.raises(FileRefused, match="max_files"):
        store.put(b"")


def test_an_artifact_over_the_limit_is_refused(tmp_path: Path) -> None:
    store = DirectoryArtifacts(tmp_path / "root", max_file_bytes=3)
    with pytest.raises(FileRefused, match=r"4 bytes: over the limit of 3 .max_file_bytes"):
        store.put(b"abcd")
    assert names_in(tmp_path / "root") == []


@pytest.mark.parametrize("damage", [b"", b"abd", b"abcd"])
def test_a_damaged_artifact_is_refused_and_healed_when_stored_again(tmp_path: Path, damage: bytes) -> None:
    store = DirectoryArtifacts(tmp_path / "root", max_files=2)
    store.put(b"abc")
    (tmp_path / "root" / ABC).write_bytes(damage)
    with pytest.raises(FileRefused, match="is damaged"):
        store.get(ABC)
    assert store.put(b"abc") == ABC
    assert store.get(ABC) == b"abc"
    store.put(b"the second of two")


@pytest.mark.parametrize("kind", ["link", "second name", "pipe"])
def test_only_a_regular_file_of_ours_is_opened(tmp_path: Path, kind: str) -> None:
    store = DirectoryArtifacts(tmp_path / "root")
    outside, place = tmp_path / "outside", tmp_path / "root" / ABC
    outside.write_bytes(b"abc")  # even the right bytes
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "second name":
        os.link(outside, place)
    else:
        os.mkfifo(place)
    with pytest.raises(FileRefused, match="not a regular file"):
        store.get(ABC)
    outside.write_bytes(b"canary")
    store.put(b"abc")
    assert store.get(ABC) == b"abc"
    assert outside.read_bytes() == b"canary"


@pytest.mark.parametrize("kind", ["open to others", "link", "file"])
def test_a_root_that_is_not_ours_alone_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "link":
        root.symlink_to(tmp_path)
    elif kind == "file":
        root.touch()
    else:
        root.mkdir()
        root.chmod(0o755)
    with pytest.raises(ValueError, match="expected a folder"):
        DirectoryArtifacts(root)


def test_what_a_crash_left_is_no_artifact_and_goes_when_the_store_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = f"""
import os
from executus.adapters.files.artifacts import DirectoryArtifacts
store = DirectoryArtifacts({str(root)!r})
os.rename = lambda *_, **__: os._exit(9)  # the process dies just before the file gets its name
store.put(b"abc")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
    assert done.returncode == 9
    [left] = names_in(root)
    assert (root / left).read_bytes() == b"abc"
    store = DirectoryArtifacts(root, max_bytes=3)
    assert names_in(root) == []
    with pytest.raises(FileRefused, match="no artifact"):
        store.get(ABC)
    store.put(b"abc")


def test_opening_a_store_leaves_the_unfinished_files_of_a_live_writer(tmp_path: Path) -> None:
    root = tmp_path / "root"
    DirectoryArtifacts(root)
    code = f"""
import os, sys
from executus.adapters.files.artifacts import DirectoryArtifacts
store = DirectoryArtifacts({str(root)!r})
rename = os.rename
def wait_then_rename(*args, **options):
    print("writing", flush=True)
    sys.stdin.readline()
    rename(*args, **options)
os.rename = wait_then_rename
print(store.put(b"abc"), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        DirectoryArtifacts(root)
        said, _ = writer.communicate("go\n", timeout=DEADLINE_S)
    assert said == f"{ABC}\n"
    assert DirectoryArtifacts(root).get(ABC) == b"abc"


def test_a_full_disk_leaves_nothing_and_takes_no_room(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = f"""
import errno, resource, signal
from executus.adapters.files.artifacts import DirectoryArtifacts
store = DirectoryArtifacts({str(root)!r}, max_bytes=2000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
try:
    store.put(b"x" * 2000)
except OSError as error:
    assert error.errno == errno.EFBIG
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    store.forget(store.put(b"y" * 2000))
    raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
    assert done.returncode == 7
    assert names_in(root) == []
