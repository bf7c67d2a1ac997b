"""Stored views through the public API: kept by default, a host's own beside them, and what a host begins with."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime_support import DEADLINE_S, FunctionModel, said
from view_support import SaidView, built, rows_of

from executus import Agent, Allowance, Event, Reply, Runtime, ScriptedModel, Text, Usage
from executus.adapters.prices import FixedPrices
from executus.journal import SqliteJournal, read_journal
from executus.journal.views.builtin import builtin_views
from executus.journal.views.definition import Definition, defined
from executus.ports import ModelRequest, Parcel
from executus.projections.ledger import recount
from executus.projections.rows import Rows
from executus.wiring import everything


class Dear:
    """Spends 600 tokens a call and tells no price."""

    name = "house:dear"

    async def reply(self, request: ModelRequest) -> Reply:
        return Reply((Text("done"),), Usage(input=500, output=100), model="dear-2")


def dear() -> Agent:
    return Agent("dear", model=Dear(), max_call_tokens=1000)


def agree(path: Path, *definitions: Definition) -> None:
    """What is stored is what the log gives, built from nothing."""
    journal = read_journal(path)
    log = list(everything(journal))
    for definition in definitions:
        assert rows_of(Path(f"{path}.views"), definition) == built(definition, log)
    journal.close()


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From where pages of stored journals are read on the thread that opens a runtime, and on the actors'."""
    asked: list[int] = []
    scan = SqliteJournal.scan

    def counted(self: SqliteJournal, after: int = 0, limit: int = 1000) -> list[Event]:
        if limit > 1 and not threading.current_thread().name.startswith("executus-views"):
            asked.append(after)
        return scan(self, after, limit)

    monkeypatch.setattr(SqliteJournal, "scan", counted)
    return asked


def test_a_stored_journal_has_its_views_and_a_host_s_own_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Runtime(path, [Agent("a", model=ScriptedModel(["words"]))], views=[SaidView()]) as runtime:
        assert runtime.start("a", "go", caller="alice").result(DEADLINE_S).status == "ok"
        assert runtime.views is not None
        assert runtime.views.wait(timeout=DEADLINE_S)
        connection = sqlite3.connect(runtime.views.path)
        assert connection.execute("SELECT agent, caller, status, output FROM runs").fetchall() == [
            ("a", "alice", "ok", "words")
        ]
        assert connection.execute("SELECT replies, chars FROM said").fetchall() == [(1, 5)]
        assert connection.execute("SELECT runs, ok FROM runs_by_caller").fetchall() == [(1, 1)]
        connection.close()
        assert [one.name for one in runtime.views.standing()] == ["audit", "budget", "outbox", "said"]
    agree(path, *builtin_views(), defined(SaidView()))


def test_whoever_wants_none_has_none_and_a_journal_in_memory_has_none(
    tmp_path: Path, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened(tmp_path / "runs.db", views=None).views is None
    assert not (tmp_path / "runs.db.views").exists()
    assert opened().views is None
    assert caplog.records == []
    assert opened(views=[SaidView()]).views is None
    assert [record.getMessage() for record in caplog.records] == ["the journal is in memory: no views are stored"]


@pytest.mark.parametrize("wrong", [7, "said", [7], [SaidView(), SaidView()]])
def test_what_is_no_view_is_refused_before_anything_is_opened(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="view"):
        Runtime(tmp_path / "runs.db", views=wrong)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_ends_with_just_before_the_close_is_in_the_tables_after_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Runtime(path, [Agent("a", model=FunctionModel(lambda _: said("words")))]) as runtime:
        for _ in range(20):
            run = runtime.start("a", "go")
        assert run.result(DEADLINE_S).status == "ok"
    agree(path, *builtin_views())


def test_a_view_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Hung(SaidView):
        def apply(self, event: Event, rows: Rows) -> None:
            entered.set()
            gate.wait(DEADLINE_S)

    runtime = Runtime(tmp_path / "runs.db", [Agent("a", model=ScriptedModel(["words"]))], views=[Hung()])
    assert runtime.start("a", "go").result(DEADLINE_S).status == "ok"
    assert entered.wait(DEADLINE_S)
    began = time.monotonic()
    assert not runtime.close(timeout=2), "not everything let go"
    assert time.monotonic() - began < DEADLINE_S / 2
    views = runtime.views
    assert views is not None
    gate.set()
    assert views.close(DEADLINE_S)
    agree(tmp_path / "runs.db", *builtin_views())


# ------------------------------------------------------------------ what a host begins with


def spend(path: Path, runs: int, **options: Any) -> dict[str, Any]:
    """One life of a host with a budget; returns what the caller has spent at its end."""

    async def all_of_them(runtime: Runtime) -> None:
        started = [await runtime.start_async("dear", "go", caller="alice") for _ in range(runs)]
        for run in started:
            assert (await run.result_async()).status == "ok"

    with Runtime(path, [dear()], budget=[Allowance(window="total", tokens=10**9)], **options) as runtime:
        before, head = runtime.spending("alice"), runtime.journal.head()
        asyncio.run(all_of_them(runtime))
        shown = runtime.spending("alice")
        prices = options.get("prices")
        log = list(everything(runtime.journal))
        price = None if prices is None else prices.cost_usd
        want = recount(log, price).account("alice").standing()
        until = time.monotonic() + DEADLINE_S
        while shown != want and time.monotonic() < until:  # the newest events are told to the ledger after the runs
            shown = runtime.spending("alice")
        assert shown == want
        assert before == recount(log[:head], price).account("alice").standing() or not head
        return shown


@pytest.mark.parametrize("prices", [None, FixedPrices({"house:dear": (1.0, 10.0)})], ids=["unpriced", "priced"])
def test_a_host_with_budgets_reads_only_what_came_after_its_stored_views(
    tmp_path: Path, scanned: list[int], prices: FixedPrices | None
) -> None:
    path = tmp_path / "runs.db"
    spend(path, 3, prices=prices)
    head = read_journal(path).head()
    scanned.clear()
    shown = spend(path, 2, prices=prices)
    assert scanned[0] == head, "the first page that is read begins at the end of what the views know"
    assert shown["total"].tokens == 5 * 600
    assert shown["total"].cost_usd == (0.0 if prices is None else pytest.approx(5 * 0.0015))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: Path(f"{path}.views").unlink(),
        lambda path: Path(f"{path}.views").write_bytes(b"nonsense" * 1000),
        lambda path: harmed(path, "UPDATE views SET shape = 'another'"),
        lambda path: harmed(path, "UPDATE views SET hash = x'00'"),
        lambda path: harmed(path, "DROP TABLE spending"),
        lambda path: harmed(
            path, "UPDATE paying_runs SET calls = 'no json'", "INSERT INTO paying_runs(run_id) VALUES ('x')"
        ),
    ],
    ids=["gone", "garbage", "shape", "journal", "table", "rows"],
)
def test_without_stored_views_that_can_be_used_a_host_counts_everything(
    tmp_path: Path, scanned: list[int], change: Callable[[Path], None]
) -> None:
    path = tmp_path / "runs.db"
    spend(path, 3)
    change(path)
    scanned.clear()
    assert spend(path, 1)["total"].tokens == 4 * 600
    assert scanned[0] == 0


def harmed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(f"{path}.views")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_other_prices_are_counted_again_from_the_beginning(tmp_path: Path, scanned: list[int]) -> None:
    path = tmp_path / "runs.db"
    assert spend(path, 2, prices=FixedPrices({"house:dear": (1.0, 10.0)}))["total"].cost_usd == pytest.approx(0.003)
    scanned.clear()
    again = spend(path, 1, prices=FixedPrices({"house:dear": (2.0, 20.0)}))
    assert scanned[0] == 0
    assert again["total"].cost_usd == pytest.approx(3 * 0.003)


def test_prices_without_a_version_are_counted_at_every_opening(
    tmp_path: Path, scanned: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    class Nameless(FixedPrices):
        @property
        def version(self) -> str:
            raise KeyError("no version")

    prices = Nameless({"house:dear": (1.0, 10.0)})
    path = tmp_path / "runs.db"
    spend(path, 1, prices=prices)
    scanned.clear()
    assert spend(path, 1, prices=prices)["total"].cost_usd == pytest.approx(0.003)
    assert scanned[0] == 0
    assert any("counted anew at every opening" in record.getMessage() for record in caplog.records)


def test_what_was_not_delivered_is_found_in_the_stored_views(tmp_path: Path, scanned: list[int]) -> None:
    path = tmp_path / "runs.db"
    handed: list[str] = []
    taking = threading.Event()

    class Post:
        def deliver(self, parcel: Parcel, artifacts: Any) -> str:
            if not taking.is_set():
                raise OSError("nobody is in")
            handed.append(parcel.output)
            return "taken"

    agents = [Agent("a", model=ScriptedModel(["words"]))]
    with Runtime(path, agents, delivery=Post()) as runtime:
        assert runtime.start("a", "go", deliver=True).result(DEADLINE_S).status == "ok"
        assert runtime.views is not None
        until = time.monotonic() + DEADLINE_S
        while not any(event.tag == "delivery-failed" for event in everything(runtime.journal)):
            assert time.monotonic() < until
            time.sleep(0.01)
    connection = sqlite3.connect(f"{path}.views")
    [(attempts,)] = connection.execute("SELECT attempts FROM outbox").fetchall()
    connection.close()
    assert attempts == 1
    head = read_journal(path).head()
    taking.set()
    scanned.clear()
    with Runtime(path, agents, delivery=Post()) as runtime:
        until = time.monotonic() + DEADLINE_S
        while not handed:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert handed == ["words"]
    assert scanned[0] == head
    agree(path, *builtin_views())
