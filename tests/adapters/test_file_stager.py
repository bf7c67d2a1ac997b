"""Attachments: what may be stored, what is found again, and that nothing outside the root is ever touched."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.files.names import checked_name, is_file_id, same_name_key
from executus.adapters.files.stager import DirectoryStager, MemoryStager
from executus.errors import FileRefused
from executus.ports import FileStager

RUN = "0192f000-0000-7000-8000-000000000001"
OTHER_RUN = "0192f000-0000-7000-8000-000000000002"
DEADLINE_S = 60.0

BAD_NAMES = [
    *("", ".", "..", "...", "../up", "a/b", "/etc/passwd", "a\\b", "..\\up", "C:\\x", "C:x", "x:stream", "a/../b"),
    *("a\0b", "a\nb", "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "\ud800", "fdp\u202eexe.pdf", "\u2066x"),
    *(".env", ".ssh", "-rf", "--help", "a.", "a ", "a\u00a0", " ", "a.txt.", "a.txt "),
    *("CON", "con", "nul.txt", "NUL.tar.gz", "Aux", "prn", "com1", "LPT9.log", "com¹", "CONIN$", "nul .txt"),
    *("x" * 256, "é" * 128, "🙂" * 64),
]
GOOD_NAMES = [
    *(
        "a",
        "report.pdf",
        "Überweisung März.pdf",
        "文書.txt",
        "a b.txt",
        "x" * 255,
        "é" * 127,
        "a..b",
        "c-d_e(1).tar.gz",
    ),
    *("console.log", "null", "comb.txt", "com10", "👩‍👧.png", "~x", "%2e%2e", "$(id)", "e" + "\u0301" + ".txt"),
]

Make = Callable[..., Any]


@pytest.fixture(params=["directory", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return MemoryStager
    return lambda **limits: DirectoryStager(tmp_path / "root", **limits)


def stage(stager: Any, name: str = "a.bin", content: bytes = b"abc", run: str = RUN) -> str:
    file_id = stager.stage(run, "agent", name, "application/octet-stream", content)
    assert isinstance(file_id, str)
    return file_id


def paths_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(make: Make, name: str) -> None:
    with pytest.raises(FileRefused, match=r"^file name '") as refused:
        stage(make(), name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_plain_name_is_taken(make: Make, name: str) -> None:
    stager = make()
    assert stager.open(RUN, stage(stager, name)) == b"abc"


@given(st.text(st.characters(exclude_categories=[]), max_size=300))
def test_a_checked_name_is_one_plain_file_in_its_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        checked = checked_name(name)
    except FileRefused:
        return
    assert checked == unicodedata.normalize("NFC", name) == checked_name(checked)
    assert 0 < len(checked.encode()) <= 255
    folder = tmp_path_factory.mktemp("names")
    (folder / checked).write_bytes(b"")
    assert paths_below(folder) == {checked}


def test_a_name_is_kept_in_composed_form() -> None:
    assert checked_name("e\u0301.txt") == "\u00e9.txt"


@given(st.text(st.sampled_from(" .-_/\\:\0aA\u202e\u0301éCONnul1"), max_size=8))
def test_no_checked_name_leads_anywhere(name: str) -> None:
    try:
        checked = checked_name(name)
    except FileRefused:
        return
    assert checked not in {".", ".."}
    assert not set("/\\:\0\u202e") & set(checked)
    assert checked[0] not in ".-"
    assert checked[-1] not in ". "
    assert checked.partition(".")[0].strip().upper() not in {"CON", "NUL"}


def test_names_that_a_file_system_may_confuse_have_one_key() -> None:
    assert same_name_key("Stra\u00dfe") == same_name_key("STRASSE")
    assert same_name_key("\u00e9") == same_name_key("E\u0301")
    assert same_name_key("a") != same_name_key("b")


# ------------------------------------------------------------------ both stagers


def test_a_staged_file_is_found_by_its_id(make: Make) -> None:
    stager = make()
    assert isinstance(stager, FileStager)
    ids = {stage(stager, f"{number}.txt", bytes([number])): bytes([number]) for number in range(5)}
    assert len(ids) == 5
    assert all(is_file_id(file_id) for file_id in ids)
    assert {file_id: stager.open(RUN, file_id) for file_id in ids} == ids


def test_an_empty_file_can_be_staged(make: Make) -> None:
    stager = make()
    assert stager.open(RUN, stage(stager, content=b"")) == b""


def test_a_run_opens_its_own_files_only(make: Make) -> None:
    stager = make()
    file_id = stage(stager)
    others = [stage(stager, name, b"other", OTHER_RUN) for name in ("b", "c")]
    foreign = [other for other in others if other != file_id]
    assert foreign
    for other in foreign:
        with pytest.raises(FileRefused, match="has no file"):
            stager.open(RUN, other)
    with pytest.raises(FileRefused, match="has no file"):
        stager.open("0192f000-0000-7000-8000-000000000003", file_id)


@pytest.mark.parametrize(
    "file_id", ["", ".", "..", "../x", "file-", "file-000000000000000G", f"../{RUN}/x", "/etc/passwd", "a\0b", "a.json"]
)
def test_what_is_no_file_id_opens_nothing(make: Make, file_id: str) -> None:
    stager = make()
    stage(stager)
    with pytest.raises(FileRefused, match="has no file"):
        stager.open(RUN, file_id)


@pytest.mark.parametrize("run", ["", ".", "..", "../x", RUN.upper().replace("0192F", "ABCDE"), RUN + "\n", RUN[:-1]])
def test_a_run_id_that_is_no_uuid_is_refused(make: Make, run: str) -> None:
    stager = make()
    file_id = stage(stager)
    with pytest.raises(FileRefused, match="run id"):
        stage(stager, run=run)
    with pytest.raises(FileRefused):
        stager.open(run, file_id)


def test_the_same_file_staged_twice_has_one_id(make: Make) -> None:
    stager = make(max_files=1)
    assert stage(stager) == stage(stager)
    assert stage(stager, run=OTHER_RUN)


@pytest.mark.parametrize(("first", "second"), [("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("é", "e\u0301"), ("ß", "SS")])
def test_two_files_of_a_run_never_share_a_name(make: Make, first: str, second: str) -> None:
    stager = make()
    stage(stager, first, b"1")
    with pytest.raises(FileRefused, match="another file"):
        stage(stager, second, b"2")


def test_a_file_over_the_limit_is_refused(make: Make) -> None:
    stager = make(max_file_bytes=3)
    stage(stager, "three", b"123")
    with pytest.raises(FileRefused, match=r"4 bytes, over the limit of 3 .max_file_bytes"):
        stage(stager, "four", b"1234")


def test_the_files_of_a_run_are_limited_together(make: Make) -> None:
    stager = make(max_run_bytes=5)
    stage(stager, "a", b"123")
    with pytest.raises(FileRefused, match=r"6 bytes, over the limit of 5 .max_run_bytes"):
        stage(stager, "b", b"456")
    stage(stager, "c", b"45")
    stage(stager, "a", b"12345", OTHER_RUN)


def test_the_number_of_files_of_a_run_is_limited(make: Make) -> None:
    stager = make(max_files=2)
    stage(stager, "a")
    stage(stager, "b")
    with pytest.raises(FileRefused, match="max_files"):
        stage(stager, "c")


@pytest.mark.parametrize("setting", ["max_file_bytes", "max_run_bytes", "max_files"])
def test_a_limit_below_one_is_refused(make: Make, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}: expected a whole number above 0, got 0"):
        make(**{setting: 0})


@pytest.mark.parametrize("media_type", ["", "a\nb", "ä/b", "x" * 256])
def test_a_media_type_is_plain_text(make: Make, media_type: str) -> None:
    with pytest.raises(FileRefused, match="media type"):
        make().stage(RUN, "agent", "a", media_type, b"")


def test_only_bytes_are_content(make: Make) -> None:
    with pytest.raises(TypeError, match="expected bytes, got str"):
        make().stage(RUN, "agent", "a", "text/plain", "text")


def test_a_forgotten_run_has_no_files_and_others_keep_theirs(make: Make) -> None:
    stager = make()
    gone, kept = stage(stager), stage(stager, run=OTHER_RUN)
    stager.forget(RUN)
    stager.forget(RUN)
    with pytest.raises(FileRefused, match="has no file"):
        stager.open(RUN, gone)
    assert stager.open(OTHER_RUN, kept) == b"abc"
    assert stager.open(RUN, stage(stager)) == b"abc"


def test_threads_never_pass_a_quota_together(make: Make) -> None:
    stager = make(max_files=7)

    def attempt(number: int) -> tuple[str, str, bytes] | None:
        run, content = (RUN if number % 2 else OTHER_RUN), b"%d" % number
        try:
            return run, stage(stager, f"{number}.txt", content, run), content
        except FileRefused:
            return None

    with ThreadPoolExecutor(8) as pool:
        stored = [each for each in pool.map(attempt, range(40)) if each]
    assert sorted(run for run, _, _ in stored) == [RUN] * 7 + [OTHER_RUN] * 7
    assert all(stager.open(run, file_id) == content for run, file_id, content in stored)


def test_memory_of_all_runs_is_limited_until_some_are_forgotten() -> None:
    stager = MemoryStager(max_bytes=4)
    stage(stager)
    with pytest.raises(FileRefused, match="max_bytes"):
        stage(stager, run=OTHER_RUN)
    stager.forget(RUN)
    stage(stager, run=OTHER_RUN)


# ------------------------------------------------------------------ on disk


def test_everything_on_disk_is_private_and_has_a_name_made_here(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        file_id = stage(DirectoryStager(tmp_path / "deep" / "root"), "given name.sh")
    finally:
        os.umask(old)
    root = tmp_path / "deep" / "root"
    assert paths_below(root) == {RUN, f"{RUN}/{file_id}", f"{RUN}/{file_id}.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, root / RUN)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root / RUN).iterdir()} == {0o600}


def test_a_stager_opened_again_finds_the_files(tmp_path: Path) -> None:
    file_id = stage(DirectoryStager(tmp_path / "root"))
    again = DirectoryStager(tmp_path / "root", max_files=1)
    assert again.open(RUN, file_id) == b"abc"
    with pytest.raises(FileRefused, match="max_files"):
        stage(again, "b")


@pytest.mark.parametrize("kind", ["open to others", "link", "file"])
def test_a_root_that_is_not_ours_alone_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "link":
        (tmp_path / "real").mkdir(0o700)
        root.symlink_to(tmp_path / "real")
    elif kind == "file":
        root.touch()
    else:
        root.mkdir()
        root.chmod(0o755)
    with pytest.raises(ValueError, match="expected a folder"):
        DirectoryStager(root)


def plant(kind: str, at: Path, outside: Path) -> None:
    if kind == "link":
        at.symlink_to(outside)
    elif kind == "second name":
        os.link(outside, at)
    elif kind == "pipe":
        os.mkfifo(at)
    elif kind == "folder":
        at.mkdir()


@pytest.mark.parametrize("kind", ["link", "second name", "pipe", "folder"])
@pytest.mark.parametrize("suffix", ["", ".json"])
def test_only_a_regular_file_of_ours_is_opened(tmp_path: Path, kind: str, suffix: str) -> None:
    stager = DirectoryStager(tmp_path / "root")
    file_id = stage(stager)
    place = tmp_path / "root" / RUN / (file_id + suffix)
    outside = tmp_path / "outside"
    outside.write_bytes(place.read_bytes())  # even the right bytes
    place.unlink()
    plant(kind, place, outside)
    with pytest.raises(FileRefused, match="not a regular file"):
        stager.open(RUN, file_id)


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "open to others"])
def test_a_run_folder_that_we_did_not_make_is_refused(tmp_path: Path, kind: str) -> None:
    stager = DirectoryStager(tmp_path / "root")
    outside = tmp_path / "outside"
    place = tmp_path / "root" / RUN
    if kind == "file":
        place.touch()
    elif kind == "open to others":
        place.mkdir()
        place.chmod(0o777)
    else:
        if kind == "link":
            outside.mkdir(0o700)
        place.symlink_to(outside)
    with pytest.raises(FileRefused, match="folder"):
        stage(stager)
    assert not outside.exists() or not list(outside.iterdir())


@pytest.mark.parametrize("damage", [b"", b"abd", b"abcd"])
def test_damaged_content_is_refused(tmp_path: Path, damage: bytes) -> None:
    stager = DirectoryStager(tmp_path / "root")
    file_id = stage(stager)
    (tmp_path / "root" / RUN / file_id).write_bytes(damage)
    with pytest.raises(FileRefused, match="its content is damaged"):
        stager.open(RUN, file_id)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"name": 1}', b"\xff\xfe"])
def test_a_damaged_description_is_refused(tmp_path: Path, damage: bytes) -> None:
    stager = DirectoryStager(tmp_path / "root")
    file_id = stage(stager)
    (tmp_path / "root" / RUN / f"{file_id}.json").write_bytes(damage)
    with pytest.raises(FileRefused, match="what is kept about it is damaged"):
        stager.open(RUN, file_id)


def test_what_a_crash_left_is_no_file_and_goes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = f"""
import os
from executus.adapters.files.stager import DirectoryStager
stager = DirectoryStager({str(root)!r}, max_files=1)
os.rename = lambda *_, **__: os._exit(9)  # the process dies just before the description gets its name
stager.stage({RUN!r}, "agent", "a.bin", "text/plain", b"lost")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
    assert done.returncode == 9
    [left] = filter(is_file_id, paths_below(root / RUN))
    assert len(paths_below(root / RUN)) == 2
    stager = DirectoryStager(root, max_files=1)
    with pytest.raises(FileRefused, match="has no file"):
        stager.open(RUN, left)
    file_id = stage(stager)
    assert paths_below(root / RUN) == {file_id, f"{file_id}.json"}


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = f"""
import errno, resource, signal
from executus.adapters.files.stager import DirectoryStager
stager = DirectoryStager({str(root)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    stager.stage({RUN!r}, "agent", "a.bin", "text/plain", b"x" * 2000)
except OSError as error:
    assert error.errno == errno.EFBIG
    raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
    assert done.returncode == 7
    assert paths_below(root) == {RUN}


def test_swapping_the_folder_for_a_link_meanwhile_leads_nobody_outside(tmp_path: Path) -> None:
    stager = DirectoryStager(tmp_path / "root", max_files=10_000)
    outside = tmp_path / "outside"
    outside.mkdir(0o700)
    (outside / "canary").write_bytes(b"canary")
    place = tmp_path / "root" / RUN
    place.mkdir(0o700)
    stop, swapping = threading.Event(), threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            aside = tmp_path / f"aside-{turn}"
            with contextlib.suppress(OSError):  # the stager made the folder anew
                place.rename(aside)
                place.symlink_to(outside)
                swapping.set()
            with contextlib.suppress(OSError):
                place.unlink()
                aside.rename(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        assert swapping.wait(DEADLINE_S)
        for number in range(300):
            with contextlib.suppress(FileRefused):
                stage(stager, f"{number}.txt", b"%d" % number)
            with contextlib.suppress(FileRefused):
                stager.open(RUN, "file-" + "0" * 16)
    finally:
        stop.set()
        swapper.join(DEADLINE_S)
    assert paths_below(outside) == {"canary"}
    assert (outside / "canary").read_bytes() == b"canary"
