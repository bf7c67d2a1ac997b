"""Journals with poisoned rows: runs cut off after every kind of fact, with one row of each made to be anything."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from executus.events import FACTS, GENESIS, TERMINAL_TAGS, Event, Limits, RunStarted
from executus.events.codec import HASH_BYTES, encode_event
from executus.journal import open_journal, read_journal
from executus.journal.snapshots import shape

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
LONG_AGO_US = 1_700_000_000_000_000
BIG = (1 << 63) - 1
HUGE = 64 << 20
"""Bytes of the largest row that is planted."""


@dataclass(frozen=True)
class Life:
    """The first events of a run; the last of them is to be poisoned. over: the run has ended by then."""

    events: tuple[Event, ...]

    @property
    def over(self) -> bool:
        """Whether its end is among them."""
        return any(event.tag in TERMINAL_TAGS for event in self.events)


def lives() -> list[Life]:
    """Every run of the golden logs, cut off after each of its events, and one for each kind of fact that is not among
    them: every kind of fact is some life's last.
    """
    found: list[Life] = []
    for path in sorted(GOLDEN.glob("log-*.db")):
        with closing(read_journal(path)) as reader:
            for row in reader.runs():
                events = reader.read(row.run_id)
                found += [Life(tuple(events[: event.version])) for event in events if event.content == "clear"]
    first = found[0].events[0]
    for tag in sorted(FACTS.keys() - {life.events[-1].tag for life in found}):
        fact = msgspec.convert(_least(msgspec.inspect.type_info(FACTS[tag][0])), FACTS[tag][0])
        found.append(Life((first, Event(run_id=first.run_id, version=2, tag=tag, fact=fact, at_us=2, elapsed_ms=2))))  # type: ignore[arg-type]
    return found


def _least(kind: Any) -> Any:
    """The least value of a type, as plain data."""
    match kind:
        case msgspec.inspect.StructType():
            tagged = {} if kind.tag is None else {kind.tag_field: kind.tag}
            return tagged | {one.encode_name: _least(one.type) for one in kind.fields if one.required}
        case msgspec.inspect.UnionType():
            return _least(kind.types[0])
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.StrType():
            return "1.0"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
        case msgspec.inspect.BytesType():
            return b""
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.DictType():
            return {}
        case _:
            return []


# ------------------------------------------------------------------ what is done to a row

State = tuple[str, bytes | str]
"""Tag and state of the poisoned event."""

Poison = Callable[[State, random.Random], State]


def _bytes(state: State) -> bytearray:
    assert isinstance(state[1], bytes)
    return bytearray(state[1])


def _flip(state: State, rng: random.Random) -> State:
    content = _bytes(state)
    for _ in range(rng.randrange(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return state[0], bytes(content)


def _truncate(state: State, rng: random.Random) -> State:
    content = _bytes(state)
    return state[0], bytes(content[: rng.randrange(len(content))])


def _nest(state: State, rng: random.Random) -> State:
    content = _bytes(state)
    at = rng.choice((HASH_BYTES, rng.randrange(HASH_BYTES, len(content))))
    content[at:at] = rng.choice((b"\x91", b"\x81\xa1p")) * rng.choice((200, 5000, 100_000))
    return state[0], bytes(content)


def _unknown_tag(state: State, rng: random.Random) -> State:
    names = ("os:system", "evil_module:Evil", "", "\x00", "step-started\x00", "RUN-STARTED", "x" * 100_000, "🜏")
    return rng.choice(names), state[1]


def _other_tag(state: State, rng: random.Random) -> State:
    return rng.choice(sorted(FACTS)), state[1]


def _text(state: State, rng: random.Random) -> State:
    return state[0], rng.choice(("", "__import__('os').system('true')", "x" * 1000))


def _rubbish(state: State, rng: random.Random) -> State:
    return state[0], rng.randbytes(rng.choice((0, 1, 31, 32, 33, 500, 100_000)))


def _pickle(state: State, rng: random.Random) -> State:
    return state[0], _bytes(state)[:HASH_BYTES] + b"cos\nsystem\n(S'true'\ntR."


STRANGE: tuple[Any, ...] = (
    BIG,
    -BIG - 1,
    (1 << 64) - 1,
    1 << 53,
    -1,
    0,
    float("nan"),
    float("inf"),
    -1e308,
    None,
    True,
    "",
    "ok",
    "\x00",
    "../../etc/passwd",
    "os:system",
    "x" * 100_000,
    b"\xff" * 40,
    [],
    {},
    [[[[]]]],
    {"type": "run-finished"},
    "01900000-0000-7000-8000-000000000000",
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, one in inner:
        yield from _leaves(one, (*path, key))


def _strange_value(state: State, rng: random.Random) -> State:
    """Another value at one or two places of the payload or the envelope, well formed."""
    content = _bytes(state)
    body = msgspec.msgpack.decode(bytes(content[HASH_BYTES:]))
    for _ in range(rng.randrange(1, 3)):
        path = rng.choice([one for one in _leaves(body) if one])
        at = body
        for key in path[:-1]:
            at = at[key]
        how = rng.random()
        if how < 0.1 and isinstance(at, dict):
            del at[path[-1]]
        elif how < 0.2 and isinstance(at[path[-1]], list):
            at[path[-1]] = at[path[-1]] * rng.choice((0, 2, 2000))
        else:
            at[path[-1]] = copy.deepcopy(rng.choice(STRANGE))  # it may be poisoned itself, next time
    return state[0], bytes(content[:HASH_BYTES]) + msgspec.msgpack.encode(body)


SAME: dict[type, tuple[Any, ...]] = {
    int: (BIG, -BIG - 1, 1 << 53, 1 << 31, -1, 0, 1, 10**15),
    float: (float("nan"), float("inf"), -float("inf"), 1e308, -1.0, 0.0, 5e-324),
    str: ("", "ok", "\x00", "../../etc/passwd", "os:system", "x" * 100_000, "1.0", "9.9", "🜏", "killed", "pure"),
    bytes: (b"", b"\xff" * 40),
    bool: (True, False),
}


def _same_type(state: State, rng: random.Random) -> State:
    """Other values at up to four places, each of its own type: it decodes, and means something else."""
    content = _bytes(state)
    body = msgspec.msgpack.decode(bytes(content[HASH_BYTES:]))
    places = [one for one in _leaves(body) if one]
    for path in rng.sample(places, min(len(places), rng.randrange(1, 5))):
        at = body
        for key in path[:-1]:
            at = at[key]
        choices = SAME.get(type(at[path[-1]]), ())
        if choices:
            at[path[-1]] = rng.choice(choices)
    return state[0], bytes(content[:HASH_BYTES]) + msgspec.msgpack.encode(body)


def _lost_blob(state: State, rng: random.Random) -> State:
    body = msgspec.msgpack.decode(bytes(_bytes(state)[HASH_BYTES:]))
    body.pop("p", None)
    body["b"] = {"sha256": rng.randbytes(rng.choice((0, 32))), "size": rng.choice((0, 1, BIG)), "head": b""}
    return state[0], bytes(_bytes(state)[:HASH_BYTES]) + msgspec.msgpack.encode(body)


def _huge(state: State, rng: random.Random) -> State:
    return state[0], bytes(_bytes(state)) + bytes(HUGE)


ROWS: dict[str, Poison] = {
    "bit flip": _flip,
    "truncated": _truncate,
    "nested": _nest,
    "unknown tag": _unknown_tag,
    "other tag": _other_tag,
    "text": _text,
    "rubbish": _rubbish,
    "pickle": _pickle,
    "strange value": _strange_value,
    "same type": _same_type,
    "same type again": _same_type,
    "lost blob": _lost_blob,
}
"""What may be done to tag and state of one row; `_huge` is planted apart, as it is slow."""

SOUND = "sound"
"""Nothing is done to it."""

INDEX = ("version", "over", "hash", "position", "gap", "stranger", "swapped", "snapshot", "recovery")
"""What may be done beside them: to the run's row in the index, to the version or the run id of the event."""


# ------------------------------------------------------------------ the journal


class Poisoned:
    """A journal being made: healthy runs, which must finish whatever else is in there, and poisoned ones."""

    def __init__(self, path: Path, seed: int) -> None:
        open_journal(path).close()
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("BEGIN")
        self._rng = random.Random(seed)
        self._position = 0
        self.what: dict[str, str] = {}
        """What was done to each poisoned run."""
        self.healthy: list[str] = []

    def _run_id(self) -> str:
        stamp = LONG_AGO_US // 1000 << 80
        return str(UUID(int=stamp | self._rng.getrandbits(80) & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))

    def _write(self, life: Life, agent: str, run_id: str) -> list[tuple[int, State]]:
        """Store the events as those of a run of its own; returns (position, state) of each."""
        previous, rows = GENESIS, []
        for event in life.events:
            fact = event.fact
            if isinstance(fact, RunStarted):
                info = msgspec.structs.replace(
                    fact.info, run_id=run_id, parent_run_id="", root_run_id="", model_tier="", caller_id=agent
                )
                print_ = msgspec.structs.replace(fact.agent, name=agent)
                fact = msgspec.structs.replace(fact, info=info, agent=print_, imported_from="")
                if agent == "healthy":
                    fact = msgspec.structs.replace(fact, interactive=False, dry_run=False, limits=Limits())
            stored = encode_event(
                fact,
                run_id=run_id,
                version=event.version,
                previous=previous,
                at_us=LONG_AGO_US + event.version,
                elapsed_ms=event.elapsed_ms,
                cause=event.cause,
                epoch=1,
            )
            previous = stored.event.hash
            self._position += 1
            row = (self._position, UUID(run_id).bytes, event.version, event.tag, stored.state)
            self._connection.execute("INSERT INTO stored_events VALUES (?, ?, ?, ?, ?)", row)
            if stored.blob is not None:
                self._connection.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", stored.blob)
            rows.append((self._position, (event.tag, stored.state)))
        first, last = rows[0][0], rows[-1][0]
        index = (UUID(run_id).bytes, len(rows), first, last, int(life.over), previous, None)
        self._connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", index)
        return rows

    def add_healthy(self, life: Life) -> None:
        """A run that has just started."""
        run_id = self._run_id()
        self._write(Life(life.events[:1]), "healthy", run_id)
        self.healthy.append(run_id)

    def add(self, life: Life, poison: str) -> None:
        """A run whose last event was poisoned so."""
        run_id = self._run_id()
        rows = self._write(life, "victim", run_id)
        if poison == SOUND:
            return
        position, state = rows[-1]
        self.what[run_id] = f"{state[0]} at version {len(rows)}: {poison}"
        if poison in ROWS or poison == "huge":
            tag, content = ROWS.get(poison, _huge)(state, self._rng)
            self._connection.execute(
                "UPDATE stored_events SET topic = ?, state = ? WHERE rowid = ?", (tag, content, position)
            )
        else:
            self._poison_index(poison, run_id, position, len(rows))

    def _poison_index(self, poison: str, run_id: str, position: int, version: int) -> None:
        execute, rng, key = self._connection.execute, self._rng, UUID(run_id).bytes
        match poison:
            case "version":
                execute("UPDATE runs SET version = ? WHERE run_id = ?", (rng.choice((0, 1, version + 5, BIG)), key))
            case "over":
                execute("UPDATE runs SET over = 1 - over WHERE run_id = ?", (key,))
            case "hash":
                execute("UPDATE runs SET hash = ? WHERE run_id = ?", (rng.choice((b"", b"x" * 32, "text")), key))
            case "position":
                execute("UPDATE runs SET position = ? WHERE run_id = ?", (rng.choice((0, -1, BIG)), key))
            case "gap":
                execute("UPDATE stored_events SET originator_version = ? WHERE rowid = ?", (version + 7, position))
            case "stranger":  # the event is somebody's whom the index does not know
                execute("UPDATE stored_events SET originator_id = ? WHERE rowid = ?", (rng.randbytes(16), position))
            case "swapped":  # its content is that of another run's event
                other = rng.randrange(1, position + 1)
                found = execute("SELECT topic, state FROM stored_events WHERE rowid = ?", (other,)).fetchone()
                execute("UPDATE stored_events SET topic = ?, state = ? WHERE rowid = ?", (*found, position))
            case "recovery":  # what is noted of attempts to take it up
                number, words = (
                    (1, -1, BIG, -BIG - 1, "many"),
                    ("", "trying", "quarantined", "x" * 100_000, "os:system"),
                )
                row = (key, rng.choice(words), *(rng.choice(number) for _ in range(4)), rng.choice(words))
                execute("INSERT OR REPLACE INTO recoveries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            case _:
                row = (key, rng.choice((1, version, BIG)), shape(), rng.randbytes(rng.randrange(200)))
                execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Finish; what was done is written beside the journal."""
        self._connection.execute("COMMIT")
        (path,) = [one[2] for one in self._connection.execute("PRAGMA database_list") if one[1] == "main"]
        self._connection.close()
        told = {"healthy": self.healthy, "poisoned": self.what}
        Path(f"{path}.told.json").write_text(json.dumps(told))
