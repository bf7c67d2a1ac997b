"""Every log written by any released version loads, replays and rebuilds in this one (P16)."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from golden_shapes import broken_by, differences, shapes, told_of_run
from journal_support import Sent
from sealing_support import encryption

from executus.actors.run.asking import request_key_of
from executus.events import AFTER_THE_END, GENESIS, TERMINAL_TAGS, NoteLogged, erased
from executus.events.codec import decode_event, encode_event, verify_hash
from executus.journal import open_journal, read_journal, verify_run
from executus.journal.layout import LAYOUT
from executus.projections import fold

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("log-*.db"))
SEALED = sorted(path.stem for path in HERE.glob("sealed-*.db"))
"""None before the first release that can seal."""
UNRELEASED: set[str] = {"run-begun"}
"""Tags that no released version has written yet: the golden log of the next one holds them."""
TAGS = json.loads((HERE / "tags.json").read_text())


def told(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"{name}.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def path(name: str, tmp_path: Path) -> Path:
    copied = tmp_path / "journal" / "golden.db"
    copied.parent.mkdir(mode=0o700)
    shutil.copyfile(HERE / f"{name}.db", copied)
    copied.chmod(0o600)
    return copied


def test_there_is_a_golden_log() -> None:
    assert "log-0.1.0" in NAMES


def test_a_reader_finds_in_an_old_journal_what_was_in_it(name: str, path: Path) -> None:
    reader = read_journal(path)
    try:
        for run_id, was in told(name).items():
            assert verify_run(reader, run_id) == []
            now = told_of_run(reader.read(run_id, verify=True), reader.load(run_id))
            assert differences(was, now) == []
            assert reader.find_request(request_key_of("alice", f"request-{run_id[-1]}")) == run_id
    finally:
        reader.close()


def test_the_fold_of_an_old_log_is_what_it_was_from_any_point(name: str, path: Path) -> None:
    reader = read_journal(path)
    try:
        for run_id in told(name):
            events = reader.read(run_id)
            whole = fold(events)
            assert whole == reader.load(run_id)
            for cut in range(len(events) + 1):
                assert fold(events[cut:], fold(events[:cut])) == whole
    finally:
        reader.close()


def test_a_host_goes_on_where_an_old_journal_ends(name: str, path: Path) -> None:
    journal = open_journal(path)
    try:
        for run_id in told(name):
            row = journal.run(run_id)
            assert row is not None
            note = encode_event(
                NoteLogged(type="host", payload={"read": True}),
                run_id=run_id,
                version=row.version + 1,
                previous=row.hash,
                at_us=1,
                elapsed_ms=1,
                cause="",
                epoch=journal.epoch,
            )
            append = Sent(run_id, row.version, [note])
            journal.append(append)
            append.ok()
            assert verify_run(journal, run_id) == []
    finally:
        assert journal.close()


def test_the_bytes_of_an_old_log_decode_without_any_journal(name: str) -> None:
    previous: dict[str, bytes] = {}
    facts: dict[str, list[Any]] = {}
    for row in json.loads((HERE / f"{name}.dump.json").read_text()):
        run_id, state = row["run_id"], b64decode(row["state"])
        blob = None if row["blob"] is None else zlib.decompress(b64decode(row["blob"]))
        event = decode_event(run_id, row["version"], row["tag"], state, position=0, blob=lambda _, blob=blob: blob)
        verify_hash(event, state, previous.get(run_id, GENESIS))
        previous[run_id] = event.hash
        facts.setdefault(run_id, []).append(event)
    for run_id, was in told(name).items():
        now = told_of_run(facts[run_id], fold(facts[run_id]))
        for event in [*was["events"], *now["events"]]:
            del event["position"]
        assert differences(was, now) == []


def test_the_golden_logs_hold_every_fact() -> None:
    seen = {event["tag"] for name in NAMES for run in told(name).values() for event in run["events"]}
    assert set(TAGS["tags"]) - seen == UNRELEASED, "make a golden log of the next version (make_golden.py log)"


# ------------------------------------------------------------------ sealed journals


@pytest.fixture(params=SEALED)
def sealed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    copied = tmp_path / "journal" / "golden.db"
    copied.parent.mkdir(mode=0o700)
    for ending in ("", ".keys"):
        shutil.copyfile(HERE / f"{request.param}.db{ending}", f"{copied}{ending}")
        Path(f"{copied}{ending}").chmod(0o600)
    return copied, told(request.param)


def test_an_old_sealed_journal_opens_with_its_key(sealed: tuple[Path, dict[str, Any]]) -> None:
    path, runs = sealed
    host = open_journal(path, encryption=encryption())
    try:
        for run_id, was in runs.items():
            assert differences(was, told_of_run(host.read(run_id, verify=True), host.load(run_id))) == []
        contents = [{event.content for event in host.read(run_id)} for run_id in runs]
        assert contents[0] == {"clear", "erased"}
        assert all("sealed" in one for one in contents[1:])
    finally:
        assert host.close()


def test_of_an_old_sealed_journal_the_numbers_can_be_read_without_its_key(sealed: tuple[Path, dict[str, Any]]) -> None:
    path, runs = sealed
    reader = read_journal(path)
    try:
        for run_id in runs:
            loaded = reader.load(run_id)
            assert loaded.withheld is not None
            assert loaded.state.agent
            assert all(erased(event.fact) == event.fact for event in reader.read(run_id))
    finally:
        reader.close()


# ------------------------------------------------------------------ shapes


def test_no_shape_changed_in_a_way_that_old_logs_cannot_bear() -> None:
    assert broken_by(TAGS, shapes()) == []


def test_every_shape_is_recorded() -> None:
    assert shapes() == TAGS, "facts grew: record it with `python tests/golden/make_golden.py tags`"


def test_what_ends_a_run_and_what_may_follow_is_for_ever() -> None:
    assert {"run-finished"} <= TERMINAL_TAGS
    assert {"note-logged", "error-logged"} <= AFTER_THE_END


@pytest.mark.parametrize(
    ("place", "change", "sentence"),
    [
        (("tags",), lambda at: at.pop("step-started"), "tag 'step-started' is gone"),
        (("values",), lambda at: at.pop("Usage"), "value Usage is gone"),
        (("tags", "step-started", "fields"), lambda at: at.pop("attempt"), "has lost its field 'attempt'"),
        (("tags", "step-started", "fields", "attempt"), lambda at: at.update(type="string"), "another type"),
        (("tags", "step-started", "required"), lambda at: at.append("mood"), "new field 'mood' without a default"),
        (("values", "RunStats", "fields", "status", "enum"), lambda at: at.remove("killed"), "another type"),
    ],
)
def test_a_change_that_breaks_old_logs_is_named(place: tuple[str, ...], change: Any, sentence: str) -> None:
    changed = at = copy.deepcopy(TAGS)
    for key in place:
        at = at[key]
    change(at)
    problems = broken_by(TAGS, changed)
    assert any(sentence in problem for problem in problems), problems


def test_what_only_grows_breaks_nothing() -> None:
    grown = copy.deepcopy(TAGS)
    grown["tags"]["run-teleported"] = {"schema": 1, "required": ["to"], "fields": {"to": {"type": "string"}}}
    grown["tags"]["step-started"]["fields"]["mood"] = {"type": "string"}
    grown["values"]["RunStats"]["fields"]["status"]["enum"].append("lost")
    grown["tags"]["run-resumed"] = {"schema": 2, "required": ["because"], "fields": {"because": {"type": "string"}}}
    assert broken_by(TAGS, grown) == []


def layout(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_a_host_brings_an_older_layout_up_to_todays_and_a_reader_does_not(path: Path) -> None:
    before = layout(path)
    read_journal(path).close()
    assert layout(path) == before
    open_journal(path).close()
    assert layout(path) == LAYOUT
    fresh = open_journal(path.with_name("fresh.db"))
    fresh.close()
    assert tables(path) == tables(path.with_name("fresh.db"))


def tables(path: Path) -> dict[str, list[tuple[str, str]]]:
    connection = sqlite3.connect(path)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [(row[1], row[2]) for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    finally:
        connection.close()
