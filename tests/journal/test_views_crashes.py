"""Stored views under crashes at any moment are what a rebuild gives (P7); these tests notice when they are not."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from view_support import SaidView, built, logs, rows_of, scan_of

from executus.events import Event
from executus.journal.views import store as store_module
from executus.journal.views.advancing import advance
from executus.journal.views.building import TemporaryViews
from executus.journal.views.builtin import audit_view, budget_view, outbox_view
from executus.journal.views.definition import Definition, defined
from executus.journal.views.feed import Feed, Pages
from executus.journal.views.store import Moved, StoredView, ViewStore


class Crash(BaseException):
    """The process is gone; what was committed stays."""


class CrashingStore(ViewStore):
    """Crashes before, within and after its transactions."""

    def __init__(self, file: TemporaryViews, chance: random.Random, often: float) -> None:
        super().__init__(file)
        self.chance, self.often = chance, often

    def maybe_crash(self) -> None:
        if self.chance.random() < self.often:
            raise Crash

    @contextmanager
    def transaction(self) -> Generator[Any]:
        self.maybe_crash()
        with super().transaction() as connection:
            yield connection
            self.maybe_crash()
        self.maybe_crash()

    def _move(self, connection: Any, view: StoredView, last: Event) -> None:
        self.maybe_crash()
        super()._move(connection, view, last)
        self.maybe_crash()


def lived_through(
    definition: Definition,
    log: Sequence[Event],
    seed: int,
    store_kind: type[CrashingStore] = CrashingStore,
    pages_kind: type[Pages] = Pages,
) -> None:
    """Build and follow the view over `log`, which grows meanwhile, with crashes; then compare."""
    chance = random.Random(seed)
    file = TemporaryViews()
    file.open()
    known, often = 0, 0.3
    view: StoredView | None = None
    store = store_kind(file, chance, often)
    for _ in range(400):
        known = min(len(log), known + chance.randrange(6))
        often = 0.3 if known < len(log) else 0.0
        try:
            scan = scan_of(log[:known])
            if view is None:
                store = store_kind(file, chance, often)
                view = store.kept_or_begun(definition, scan)
            store.often = often
            page = pages_kind(scan).after(view.position, chance.randrange(1, 9))
            if page:
                advance(store, [view], [page])
                assert view.status != "stopped", view.error
            elif view.building:
                view = store.swap(view)
            elif known == len(log):
                break
        except Crash:
            if file.connection.in_transaction:
                file.connection.execute("ROLLBACK")
            view = None
        except Moved:
            view = None
    assert rows_of(file.connection, definition) == built(definition, log), "the view is not what a rebuild gives"
    file.close()


DEFINITIONS = [audit_view(), budget_view(), outbox_view(), defined(SaidView())]


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(0, 1 << 32), st.sampled_from(DEFINITIONS))
def test_whenever_a_host_crashes_its_views_are_what_a_rebuild_gives(
    log: list[Event], seed: int, definition: Definition
) -> None:
    lived_through(definition, log, seed)


# ------------------------------------------------------------------ planted mistakes


class AppliesTheLastOneAgain(Pages):
    """A page begins one event too early."""

    def after(self, position: int, limit: int = 1000) -> Sequence[Event]:
        more = super().after(position, limit)
        return super().after(max(0, position - 1), limit + 1) if more else more


class SkipsAtABorder(Pages):
    """After a full page the next one begins one event too late."""

    def after(self, position: int, limit: int = 1000) -> Sequence[Event]:
        page = list(super().after(position, limit + 1))
        return page if len(page) <= limit else [*page[: limit - 1], page[limit]]


class MovesThePositionApart(CrashingStore):
    """Rows first, the position in a transaction of its own."""

    def commit(self, views: Any, last: Event) -> list[Any]:
        with self.transaction() as connection:
            for view in views:
                view.rows.write(connection)
        with self.transaction() as connection:
            for view in views:
                self._move(connection, view, last)
        for view in views:
            view.stored(last)
        return []


class MovesWithoutLooking(CrashingStore):
    """The position is set, wherever it was."""

    def _move(self, connection: Any, view: StoredView, last: Event) -> None:
        connection.execute(
            "UPDATE tracking SET notification_id = ? WHERE application_name = ?", (last.position, view.key)
        )
        connection.execute("UPDATE views SET hash = ? WHERE name = ?", (last.hash, view.key))


FEWER = settings(
    max_examples=300,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def must_be_found(definition: Definition, **planted: Any) -> None:
    @FEWER
    @given(logs(), st.integers(0, 1 << 32))
    def judged(log: list[Event], seed: int) -> None:
        lived_through(definition, log, seed, **planted)

    with pytest.raises(AssertionError, match="not what a rebuild gives"):
        judged()


@pytest.mark.parametrize(
    "planted",
    [
        {"pages_kind": AppliesTheLastOneAgain},
        {"pages_kind": SkipsAtABorder},
        {"store_kind": MovesThePositionApart},
    ],
    ids=["applied twice", "skipped at a border", "position not in the transaction"],
)
@pytest.mark.parametrize("definition", [audit_view(), defined(SaidView())], ids=lambda one: one.name)
def test_a_planted_mistake_is_found(planted: dict[str, Any], definition: Definition) -> None:
    must_be_found(definition, **planted)


def test_two_that_move_one_view_without_looking_are_found() -> None:
    """Two processes in turns on one file, each with its own memory of where it stands."""

    def both(store_kind: type[CrashingStore], log: list[Event], seed: int) -> None:
        chance = random.Random(seed)
        file = TemporaryViews()
        file.open()
        definition, scan = defined(SaidView()), scan_of(log)
        first = CrashingStore(file, chance, 0)
        first.swap(first.kept_or_begun(definition, scan))
        stores = [store_kind(file, chance, 0) for _ in range(2)]
        views = [store.kept_or_begun(definition, scan) for store in stores]
        for _ in range(4 * len(log) + 4):
            who = chance.randrange(2)
            page = Pages(scan).after(views[who].position, chance.randrange(1, 5))
            try:
                if page:
                    advance(stores[who], [views[who]], [page])
            except Moved:
                views[who] = stores[who].kept_or_begun(definition, scan)
        done = max(view.position for view in views)
        assert rows_of(file.connection, definition) == built(definition, log[:done]), "not what a rebuild gives"
        file.close()

    @FEWER
    @given(logs(), st.integers(0, 1 << 32))
    def judged(log: list[Event], seed: int) -> None:
        both(MovesWithoutLooking, log, seed)

    with pytest.raises(AssertionError, match="not what a rebuild gives"):
        judged()

    @settings(max_examples=30, deadline=None)
    @given(logs(), st.integers(0, 1 << 32))
    def sound(log: list[Event], seed: int) -> None:
        both(CrashingStore, log, seed)

    sound()


def test_rows_that_are_kept_in_memory_after_a_failed_commit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(log: list[Event], seed: int) -> None:
        """A commit fails now and then, and the same process goes on, as the keeper does."""
        chance = random.Random(seed)
        file = TemporaryViews()
        file.open()
        definition = defined(SaidView())
        store = CrashingStore(file, chance, 0)
        view = store.kept_or_begun(definition, scan_of(log))
        for _ in range(6 * len(log) + 20):
            page = Pages(scan_of(log)).after(view.position, chance.randrange(1, 5))
            if not page:
                break
            store.often = 0.3
            try:
                advance(store, [view], [page])
            except Crash:
                row = store.row("said", True)
                assert row is not None
                if row.position != view.position:  # it was stored after all
                    view = StoredView(file, definition, row, building=True)
        store.often = 0.0
        store.swap(view)
        assert rows_of(file.connection, definition) == built(definition, log[: view.position]), (
            "not what a rebuild gives"
        )
        file.close()

    @FEWER
    @given(logs(), st.integers(0, 1 << 32))
    def judged(log: list[Event], seed: int) -> None:
        attempt(log, seed)

    judged()
    monkeypatch.setattr(store_module.StoredView, "forget", lambda self: None)
    with pytest.raises(AssertionError, match="not what a rebuild gives"):
        judged()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("crt"), st.integers(1, 5)), max_size=60), st.integers(1, 12))
def test_a_feed_gives_every_event_once_in_order_however_it_is_pushed_and_read(
    doings: list[tuple[str, int]], most: int
) -> None:
    """c: events are committed and told; r: they are committed and told to nobody; t: the reader takes."""
    from executus.events import NoteLogged
    from executus.journal.views import feed as feed_module

    log: list[Event] = []

    def commit(count: int) -> list[Event]:
        fresh = [
            Event(run_id="r", version=n, tag="note-logged", fact=NoteLogged(type="t"), position=n)
            for n in range(len(log) + 1, len(log) + count + 1)
        ]
        log.extend(fresh)
        return fresh

    before, feed_module.MOST_PUSHED = feed_module.MOST_PUSHED, most
    try:
        feed = Feed(Pages(scan_of_growing(log)), 0)
        taken: list[Event] = []
        for what, count in doings:
            if what == "c":
                feed(commit(count))
            elif what == "r":
                commit(count)
            else:
                taken += feed.take()
        feed(commit(1))
        for _ in range(len(log) + 2):
            taken += feed.take()
        assert [event.position for event in taken] == [event.position for event in log]
    finally:
        feed_module.MOST_PUSHED = before


def scan_of_growing(log: list[Event]) -> Any:
    return lambda after, limit: log[after : after + limit]
