"""What is kept of orders: each once, what became of it, and refusals counted."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executus.errors import JournalUnavailable
from executus.journal import order_book
from executus.journal.order_book import SqliteOrderBook, orders_path, read_orders
from executus.ports.orders import KeptOrder

NOW_US = 1_800_000_000_000_000


def an_order(number: int = 1, **fields: Any) -> KeptOrder:
    given = {"id": f"{number:032x}", "at_us": NOW_US, "grant": "op", "role": "operator", "peer": "p", "ask": "kill"}
    return KeptOrder(**{**given, "run": "r", **fields})


def refused(**fields: Any) -> KeptOrder:
    return an_order(**{"id": "", "fate": "refused", "kind": "expired", "told": "too old", **fields})


@pytest.fixture(params=["stored", "in memory"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteOrderBook]:
    one = SqliteOrderBook(tmp_path / "runs.db" if request.param == "stored" else None)
    yield one
    one.close()


def test_an_order_is_taken_once_and_what_became_of_it_is_told(book: SqliteOrderBook) -> None:
    assert book.find(an_order().id) is None
    assert book.take(an_order()) is None
    known = book.take(an_order(run="another"))
    assert known is not None
    assert (known.fate, known.run) == ("under way", "r")
    book.settle(an_order().id, "done", told="kill", run="started")
    found = book.find(an_order().id)
    assert found is not None
    assert (found.fate, found.told, found.run, found.kind) == ("done", "kill", "started", "")
    book.settle(an_order().id, "failed", kind="failed")
    assert book.find(an_order().id).run == "started"  # type: ignore[union-attr]
    assert book.find("") is None


def test_of_many_who_give_one_order_at_once_one_carries_it_out(book: SqliteOrderBook) -> None:
    together, found = threading.Barrier(8), []

    def give() -> None:
        together.wait(10)
        found.append(book.take(an_order()))

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found.count(None) == 1


def test_what_was_under_way_is_unknown_to_the_next_host(tmp_path: Path) -> None:
    for number, fate in enumerate(("under way", "done", "refused", "failed"), 1):
        book = SqliteOrderBook(tmp_path / "runs.db")
        assert book.take(an_order(number)) is None
        if fate != "under way":
            book.settle(an_order(number).id, fate)  # type: ignore[arg-type]
        book.close()
    book = SqliteOrderBook(tmp_path / "runs.db")
    assert [row.fate for row in book.rows()] == ["unknown", "done", "refused", "failed"]
    assert book.take(an_order(1)) is not None
    book.close()
    book.close()


def test_refusals_of_one_kind_within_a_minute_are_one_row(book: SqliteOrderBook) -> None:
    for second in range(59):
        book.refuse(refused(at_us=NOW_US + second * 1_000_000))
    assert [(row.times, row.told) for row in book.rows()] == [(59, "too old")]
    book.refuse(refused(at_us=NOW_US + 60_000_000))
    book.refuse(refused(at_us=NOW_US + 61_000_000, kind="replayed"))
    book.refuse(refused(at_us=NOW_US + 61_000_000, peer="q"))
    book.refuse(refused(at_us=NOW_US + 61_000_001))
    assert [row.times for row in book.rows()] == [59, 2, 1, 1]


def test_a_flood_is_counted_to_the_last_one_and_stored_once_a_second(book: SqliteOrderBook) -> None:
    statements: list[str] = []
    book._connection.set_trace_callback(statements.append)
    for number in range(10_000):
        book.refuse(refused(at_us=NOW_US + number * 100))
        book.refuse(refused(at_us=NOW_US + number * 100, kind="malformed"))
    assert len([one for one in statements if one.startswith("UPDATE")]) < 100
    assert sorted((row.kind, row.times) for row in book.rows()) == [("expired", 10_000), ("malformed", 10_000)]


def test_counts_are_stored_when_the_book_is_closed(tmp_path: Path) -> None:
    book = SqliteOrderBook(tmp_path / "runs.db")
    for _ in range(500):
        book.refuse(refused())
    book.close()
    assert [row.times for row in read_orders(tmp_path / "runs.db")] == [500]


def test_a_flood_of_many_kinds_makes_few_rows(book: SqliteOrderBook) -> None:
    for number in range(3_000):
        book.refuse(refused(peer=f"connection {number}"))
    rows = book.rows(limit=10_000)
    assert len(rows) == order_book.MOST_KINDS + 1
    assert sum(row.times for row in rows) == 3_000
    assert (rows[-1].peer, rows[-1].kind) == ("several", "expired")
    book.refuse(refused(peer="later", at_us=NOW_US + 120_000_000))
    assert book.rows(limit=10_000)[-1].peer == "later"


def test_a_clock_that_is_set_loses_no_count(book: SqliteOrderBook) -> None:
    for at_us in (NOW_US, NOW_US - 3_600_000_000, NOW_US, NOW_US + 3_600_000_000):
        for _ in range(40):
            book.refuse(refused(at_us=at_us))
    assert sum(row.times for row in book.rows()) == 160


def test_the_oldest_go_and_refusals_push_no_order_out(book: SqliteOrderBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "MOST_KEPT", 10)
    monkeypatch.setattr(order_book, "MOST_REFUSED", 5)
    monkeypatch.setattr(order_book, "SWEEP_EVERY", 1)
    for number in range(1, 13):
        book.take(an_order(number))
    for minute in range(200):
        book.refuse(refused(at_us=NOW_US + minute * 61_000_000))
    rows = book.rows(limit=1000)
    assert [int(row.id, 16) for row in rows if row.id] == list(range(3, 13))
    assert len([row for row in rows if not row.id]) == 5
    assert rows[-1].number == 212


def test_pages_go_on_after_a_number(book: SqliteOrderBook) -> None:
    for number in range(1, 8):
        book.take(an_order(number))
    assert [row.number for row in book.rows(after=2, limit=3)] == [3, 4, 5]


def test_the_file_and_what_lies_beside_it_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        book = SqliteOrderBook(tmp_path / "runs.db")
        book.take(an_order())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        book.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert "runs.db.orders" in modes


def test_it_is_read_beside_a_live_host_and_without_one(tmp_path: Path) -> None:
    assert read_orders(tmp_path / "runs.db") == []
    book = SqliteOrderBook(tmp_path / "runs.db")
    book.take(an_order())
    assert [row.ask for row in read_orders(tmp_path / "runs.db")] == ["kill"]
    book.close()
    assert [row.ask for row in read_orders(tmp_path / "runs.db")] == ["kill"]


def test_a_file_that_is_no_order_book_is_said_and_left(tmp_path: Path) -> None:
    path = Path(orders_path(tmp_path / "runs.db"))
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(JournalUnavailable, match="cannot be opened"):
        SqliteOrderBook(tmp_path / "runs.db")
    with pytest.raises(JournalUnavailable, match="cannot be read"):
        read_orders(tmp_path / "runs.db")
    assert path.read_bytes() == b"not a database" * 100
    with pytest.raises(JournalUnavailable, match="cannot be opened"):
        SqliteOrderBook(tmp_path / "nowhere" / "runs.db")


def test_what_cannot_be_kept_is_not_taken_and_a_refusal_hurts_nobody(book: SqliteOrderBook) -> None:
    book.take(an_order(1))
    book._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalUnavailable, match="cannot be kept"):
        book.take(an_order(2))
    book.refuse(refused())
    book.settle(an_order(1).id, "done")
    assert book.find(an_order(1).id).fate == "under way"  # type: ignore[union-attr]
    book._connection.execute("PRAGMA query_only = OFF")
    assert book.take(an_order(2)) is None
    book.close()
    with pytest.raises(JournalUnavailable):
        book.find(an_order(1).id)
    book.refuse(refused())


def test_two_ids_that_are_equal_cannot_both_be_stored(tmp_path: Path) -> None:
    book = SqliteOrderBook(tmp_path / "runs.db")
    book.take(an_order())
    with pytest.raises(sqlite3.IntegrityError):
        book._connection.execute(order_book._INSERT, order_book._values(an_order()))
    book.close()
