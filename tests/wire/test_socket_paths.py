"""Where a host may make a socket, and who reaches it."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from wire_frames import RawAsker, encode, eventually, short_room

from executus import Runtime
from executus.errors import ListenRefused
from executus.wire import dialers, listeners
from executus.wire.dialers import Asker
from executus.wire.listeners import Answerer, Peer
from executus.wire.requests import VERSION, Hello
from executus.wire.signing import unsigned
from executus.wire.socket_paths import check_path, is_answered
from executus.wire.sockets import TimedOut


@pytest.fixture
def place() -> Iterator[Path]:
    with short_room() as room:
        yield Path(room) / "s"


def opened(path: Path) -> Answerer:
    return Answerer(f"ipc://{path}", tls=None, peers=4, recv_bytes=1024)


def test_nothing_there_is_a_good_place_and_is_left_empty(place: Path) -> None:
    one = opened(place)
    assert stat.S_ISSOCK(os.lstat(place).st_mode)
    one.close()
    one.close()
    assert not place.exists()


def test_a_file_is_left_as_it_is(place: Path) -> None:
    place.write_text("a journal")
    with pytest.raises(ListenRefused, match="is no socket"):
        opened(place)
    assert place.read_text() == "a journal"


def test_a_directory_is_left_as_it_is(place: Path) -> None:
    place.mkdir()
    with pytest.raises(ListenRefused, match="is no socket"):
        opened(place)
    assert place.is_dir()


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_left_as_it_is(place: Path, dangling: bool) -> None:
    target = place.with_name("target")
    if not dangling:
        target.write_text("kept")
    place.symlink_to(target)
    with pytest.raises(ListenRefused, match="is no socket"):
        opened(place)
    assert place.is_symlink()
    assert target.exists() is not dangling


def test_a_link_to_a_socket_is_not_followed(place: Path) -> None:
    one = opened(place.with_name("t"))
    place.symlink_to(place.with_name("t"))
    with pytest.raises(ListenRefused, match="is no socket"):
        opened(place)
    one.close()


def test_somebodys_live_socket_is_left_as_it_is(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
        other.listen(1)
        with pytest.raises(ListenRefused, match="somebody listens"):
            opened(place)
    one = opened(place)
    with pytest.raises(ListenRefused, match="somebody listens"):
        opened(place)
    assert is_answered(str(place))
    one.close()


def test_a_socket_that_a_lost_host_left_is_replaced(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
        other.listen(1)
    one = opened(place)
    assert is_answered(str(place))
    one.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket away")
def test_another_users_socket_is_left_as_it_is(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
    os.chown(place, 65534, 65534)
    with pytest.raises(ListenRefused, match="another user"):
        opened(place)
    assert place.exists()


def test_a_path_that_is_too_long_or_nowhere_is_refused(place: Path) -> None:
    for path in (place.with_name("x" * 100), place.with_name("é" * 50)):
        with pytest.raises(ListenRefused, match="at most 107 bytes"):
            check_path(str(path))
    with pytest.raises(ListenRefused, match="no directory"):
        check_path(str(place / "deeper"))
    place.touch()
    with pytest.raises(ListenRefused, match="no directory"):
        check_path(str(place / "deeper"))


@pytest.mark.parametrize(
    ("bits", "good"), [(0o700, True), (0o755, True), (0o775, False), (0o777, False), (0o1777, True)]
)
def test_a_directory_that_others_may_change_is_refused(place: Path, bits: int, good: bool) -> None:
    place.mkdir()
    place.chmod(bits)
    if good:
        check_path(str(place / "s"))
    else:
        with pytest.raises(ListenRefused, match="others may change"):
            check_path(str(place / "s"))


def test_the_file_is_its_owners_alone_before_anybody_can_connect(place: Path) -> None:
    seen: set[int] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.connect(str(place))
                    seen.add(stat.S_IMODE(os.lstat(place).st_mode))
            except OSError:
                continue

    watcher = threading.Thread(target=look)
    before = os.umask(0)
    try:
        watcher.start()
        for _ in range(40):
            one = opened(place)
            assert stat.S_IMODE(os.lstat(place).st_mode) == 0o600
            one.close()
        one = opened(place)
        eventually(lambda: seen)
        one.close()
    finally:
        os.umask(before)
        stop.set()
        watcher.join(10)
    assert seen == {0o600}


def test_a_host_at_a_given_path_makes_both_sockets_private(place: Path, tmp_path: Path) -> None:
    with Runtime(tmp_path / "runs.db", [], listen=f"ipc://{place}"):
        assert [stat.S_IMODE(os.lstat(path).st_mode) for path in (place, f"{place}.feed")] == [0o600, 0o600]
    assert list(place.parent.glob("s*")) == []


def test_a_host_that_cannot_listen_does_not_open_and_leaves_the_journal_to_others(place: Path, tmp_path: Path) -> None:
    place.write_text("kept")
    with pytest.raises(ListenRefused):
        Runtime(tmp_path / "runs.db", [], listen=f"ipc://{place}")
    assert place.read_text() == "kept"
    Runtime(tmp_path / "runs.db", []).close()


def test_who_cannot_be_told_is_not_let_in(place: Path, monkeypatch: pytest.MonkeyPatch, caplog: object) -> None:
    one = opened(place)
    hello = unsigned(encode(Hello()), version=VERSION)
    for peer in (lambda pipe: Peer(pipe.id), lambda pipe: Peer(pipe.id, os.getuid() + 1), lambda pipe: 1 / 0):
        monkeypatch.setattr(listeners, "peer_of", peer)
        with pytest.raises((ConnectionError, TimeoutError)), RawAsker(f"ipc://{place}") as asker:
            asker.ask(hello)
        assert one.peers == 0
    one.close()


def test_a_client_asks_nothing_of_another_users_host(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened(place)
    slot = one.slot()
    foreign = {"uid": os.getuid() + 1}
    monkeypatch.setattr(dialers, "peer_of", lambda pipe: Peer(pipe.id, foreign["uid"]))
    monkeypatch.setattr(one, "_arrives", lambda pipe: None)
    asker = Asker(f"ipc://{place}", tls=None, recv_bytes=1024)
    with pytest.raises(TimedOut):
        asker.ask(b"who is there?", 0.3)
    asker.close()
    one.close()
    slot.close()
