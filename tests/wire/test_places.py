"""Where hosts are found: nothing in a room is believed that is not its user's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from wire_frames import short_room

from executus import Runtime
from executus.errors import HostUnreachable, ListenRefused
from executus.wire import places
from executus.wire.attached import attach, hosts
from executus.wire.line import where_is
from executus.wire.places import CARD, TOKEN, Card

CARD_BYTES = msgspec.json.encode(Card(boot="b", pid=1, control="ipc:///c", feed="ipc:///f"))


@pytest.fixture
def room() -> Iterator[Path]:
    with short_room():
        yield places.private_room(places.room_of("runs.db"))


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_rooms_are_made_private_whatever_the_umask_is() -> None:
    with short_room() as home:
        before = os.umask(0)
        try:
            room = places.private_room(places.room_of("runs.db"))
            places.put(room, TOKEN, b"secret")
        finally:
            os.umask(before)
        assert room.parent == Path(home) / "executus"
        assert (mode(room), mode(room.parent), mode(room / TOKEN)) == (0o700, 0o700, 0o600)


def test_a_file_that_was_left_behind_for_all_to_read_becomes_private(room: Path) -> None:
    (room / f".{TOKEN}.{os.getpid()}").touch(0o644)
    places.put(room, TOKEN, b"secret")
    assert mode(room / TOKEN) == 0o600
    assert places.token_in(room) == "secret"
    assert [path.name for path in room.iterdir()] == [TOKEN]


@pytest.mark.parametrize("bits", [0o750, 0o701, 0o755, 0o770, 0o777])
def test_a_room_that_others_can_enter_is_refused_and_nothing_in_it_is_believed(room: Path, bits: int) -> None:
    places.put(room, CARD, CARD_BYTES)
    places.put(room, TOKEN, b"secret")
    assert places.card_in(room) is not None
    room.chmod(bits)
    assert places.card_in(room) is None
    assert places.token_in(room) == ""
    with pytest.raises(ListenRefused, match="only its owner"):
        places.private_room(room)


def test_a_home_that_others_can_enter_is_refused(room: Path) -> None:
    room.parent.chmod(0o755)
    assert places.all_cards() == []
    with pytest.raises(ListenRefused, match="only its owner"):
        places.private_room(room)


def test_a_room_that_is_a_link_a_file_or_cannot_be_made_is_refused(room: Path) -> None:
    room.rmdir()
    elsewhere = room.parent / "elsewhere"
    elsewhere.mkdir(0o700)
    room.symlink_to(elsewhere)
    with pytest.raises(ListenRefused):
        places.private_room(room)
    places.put(elsewhere, CARD, CARD_BYTES)
    assert places.card_in(room) is None
    room.unlink()
    room.touch()
    with pytest.raises(ListenRefused):
        places.private_room(room)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_what_is_another_users_is_not_believed(room: Path) -> None:
    places.put(room, CARD, CARD_BYTES)
    os.chown(room / CARD, 65534, 65534)
    assert places.card_in(room) is None
    os.chown(room / CARD, 0, 0)
    assert places.card_in(room) is not None
    os.chown(room, 65534, 65534)
    assert places.card_in(room) is None
    with pytest.raises(ListenRefused):
        places.private_room(room)


def test_cards_that_are_links_pipes_directories_or_large_are_none(room: Path) -> None:
    real = room / "real"
    real.write_bytes(CARD_BYTES)
    (room / CARD).symlink_to(real)
    assert places.card_in(room) is None
    (room / CARD).unlink()
    os.mkfifo(room / CARD)
    assert places.card_in(room) is None
    (room / CARD).unlink()
    (room / CARD).mkdir()
    assert places.card_in(room) is None
    (room / CARD).rmdir()
    (room / CARD).write_bytes(CARD_BYTES + b" " * places.MOST_CARD)
    assert places.card_in(room) is None


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"\xff\xfe", b'{"boot":1}', b"[" * 9_000, b'{"boot":"\xff"}'])
def test_what_is_no_card_is_none(room: Path, bad: bytes) -> None:
    (room / CARD).write_bytes(bad)
    assert places.card_in(room) is None


def test_a_runtime_directory_that_is_not_private_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o755)
    assert places.hosts_home().name == f"executus-{os.getuid()}"
    tmp_path.chmod(0o700)
    assert places.hosts_home() == tmp_path / "executus"


def test_a_journal_has_one_room_by_whatever_path_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = ["runs.db", "./runs.db", tmp_path / "runs.db", tmp_path / "link" / "runs.db"]
    assert len({places.room_of(name) for name in names}) == 1


def test_a_host_that_closes_takes_its_card_and_token_down_and_no_other_hosts(room: Path) -> None:
    places.put(room, CARD, CARD_BYTES)
    places.put(room, TOKEN, b"secret")
    places.leave(room, "another")
    assert places.card_in(room) is not None
    places.leave(room, "b")
    assert list(room.iterdir()) == []


def test_a_card_that_a_lost_host_left_is_not_taken_for_a_host(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with short_room():
        Runtime(path, []).close()
        room = places.private_room(places.room_of(path))
        gone = Card(boot="b", pid=1, control=f"ipc://{room}/control-gone", feed=f"ipc://{room}/feed-gone")
        places.put(room, CARD, msgspec.json.encode(gone))
        places.put(room, TOKEN, b"operator." + b"x" * 43)
        with attach(path, timeout=0.2) as found:
            assert not found.live
        with pytest.raises(HostUnreachable):
            attach(path, host=True, timeout=0.2)
        assert [host.answers for host in hosts(0.2)] == [False]
        with Runtime(path, [], listen="ipc"), attach(path, host=True) as found:
            assert found.live
        assert places.card_in(room) is None
        assert places.token_in(room) == ""


def test_the_token_of_an_opening_is_worth_nothing_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with short_room():
        with Runtime(path, [], listen="ipc"):
            token = places.token_in(places.room_of(path))
        with Runtime(path, [], listen="ipc"):
            assert places.token_in(places.room_of(path)) != token
            assert token.encode() not in path.read_bytes()


def test_a_host_that_takes_its_card_down_between_two_looks_has_just_closed(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "room_of", lambda journal: room)
    places.put(room, CARD, CARD_BYTES)
    with pytest.raises(ValueError, match="pass the token"):  # it lets in only who has a token
        where_is("runs.db", "", None)
    monkeypatch.setattr(places, "token_in", lambda there: (there / CARD).unlink() or "")
    with pytest.raises(HostUnreachable, match="just closed"):
        where_is("runs.db", "", None)
