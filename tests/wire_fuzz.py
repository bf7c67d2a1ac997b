"""Hostile frames for both ends of the wire: mutants of one valid frame of each kind, most of them signed with a right
key so that what is behind the signature is reached, and judges that say what must hold of each.
"""

from __future__ import annotations

import logging
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from wire_frames import KINDS, RUN, decode_reply, encode, frame, valid

from executus import Agent, Runtime, ScriptedModel, tool
from executus.adapters.critics.outside import OutsideCritic, review_of, trace_json, trace_of
from executus.adapters.models.scripted import call
from executus.errors import ExecutusError
from executus.events import Event
from executus.journal.order_book import SqliteOrderBook
from executus.projections.trace import trace_of as folded
from executus.wire import places
from executus.wire.answering import Desk
from executus.wire.critics import Critics
from executus.wire.frames import Frame, decode_frame, encode_frame, frames_of, on_the_wire
from executus.wire.gate import Admitted, Gate, Turned
from executus.wire.line import _decode as decode_as_client
from executus.wire.line import _welcomed, error_of
from executus.wire.listeners import Peer
from executus.wire.remote import RemoteJournal
from executus.wire.requests import (
    VERSION,
    Done,
    Found,
    Number,
    Orders,
    Page,
    Refused,
    ReviewWanted,
    Rows,
    RunOrder,
    Session,
    Stands,
    Unheard,
    Welcome,
)
from executus.wire.signing import unsigned
from executus.wire.terms import Grant

BOOT = "b" * 32
BEGUN_US = 1_800_000_000_000_000
BAD = "\x01BAD\x02"
"""Becomes text that is no UTF-8 once it is encoded."""
BAD_BYTES = b"\xff\xed\xa0\x80\xfe"

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 31, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63), 0.0, -0.0, 1e308,
    float("nan"), float("inf"), float("-inf"), "", "x", BAD, BAD * 9, "\x00", "\x1b[2J", "é" * 40, "x" * 300, "0" * 32,
    "x" * 40_000, b"", b"\xff" * 40, [], {}, [[[[[]]]]], {"a": {"b": {"c": []}}}, RUN, "kill", "hello", "done",
    "refused", msgspec.msgpack.Ext(1, b"x"), msgspec.msgpack.Ext(-1, b"\xff" * 12),
)  # fmt: skip


class Mutator:
    """Makes other bytes of bytes."""

    def __init__(self, rng: random.Random, seeds: list[bytes]) -> None:
        self._rng, self._seeds = rng, seeds

    def __call__(self, seed: bytes) -> bytes:
        """One mutant."""
        if self._rng.random() < 0.4:
            return self._gentle(seed)
        made = self._tree(seed) if self._rng.random() < 0.6 else seed
        for _ in range(self._rng.choice((0, 0, 1, 1, 2, 5)) + (made is seed)):
            made = self._bytes(made)
        return made

    def _gentle(self, seed: bytes) -> bytes:
        """One that may well be valid: at most one value is another of its type, and an order has an id of its own."""
        rng = self._rng
        try:
            tree = msgspec.msgpack.decode(seed)
        except Exception:
            return seed
        if isinstance(tree, dict) and tree:
            if "id" in tree and rng.random() < 0.8:
                tree["id"] = rng.randbytes(16).hex()
            key = rng.choice(list(tree))
            if key not in ("ask", "reply", "id") and rng.random() < 0.7:
                tree[key] = rng.choice([one for one in ODD if type(one) is type(tree[key])] or [tree[key]])
        elif isinstance(tree, list) and tree and rng.random() < 0.7:
            at = rng.randrange(len(tree))
            tree[at] = rng.choice([one for one in ODD if type(one) is type(tree[at])] or [tree[at]])
        return encode(tree).replace(BAD.encode(), BAD_BYTES)

    def _bytes(self, given: bytes) -> bytes:
        rng, made = self._rng, bytearray(given)
        at = rng.randrange(len(made) + 1)
        match rng.randrange(9):
            case 0 if made:
                made[at % len(made)] ^= 1 << rng.randrange(8)
            case 1 if made:
                made[at % len(made)] = rng.randrange(256)
            case 2:
                del made[at:]
            case 3:
                del made[at : at + rng.randrange(1, 9)]
            case 4:
                made[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 5:
                other = rng.choice(self._seeds)
                made[at:] = other[rng.randrange(len(other) + 1) :]
            case 6:  # a length that promises more than there is
                made[at : at + 5] = rng.choice((b"\xdb", b"\xdd", b"\xdf", b"\xc6", b"\xc9")) + struct.pack(
                    ">I", rng.choice((0, 1, 1 << 16, (1 << 31) - 1, (1 << 32) - 1))
                )
            case 7:  # deep
                made[at:at] = rng.choice((b"\x91", b"\x81\xa1a", b"\x92\xc0")) * rng.choice((3, 70, 1200, 9000))
            case _:
                made += rng.choice((b"\x00", b"\xc1", bytes(made[:20])))
        return bytes(made)

    def _tree(self, seed: bytes) -> bytes:
        try:
            tree = msgspec.msgpack.decode(seed)
            for _ in range(self._rng.choice((1, 1, 2, 4))):
                tree = self._changed(tree)
            return encode(tree).replace(BAD.encode(), BAD_BYTES)
        except Exception:
            return self._bytes(seed)

    def _changed(self, node: Any) -> Any:
        rng = self._rng
        if isinstance(node, dict) and node and rng.random() < 0.9:
            key = rng.choice(list(node))
            match rng.randrange(6):
                case 0:
                    return {name: value for name, value in node.items() if name != key}
                case 1:
                    return {**node, rng.choice(("also", "check", "by", "run", "id", "ask", BAD, 7)): rng.choice(ODD)}
                case 2:
                    return {rng.choice(("also", key * 2, BAD)) if name == key else name: v for name, v in node.items()}
                case _:
                    return {**node, key: self._changed(node[key])}
        if isinstance(node, list) and node and rng.random() < 0.9:
            at = rng.randrange(len(node))
            match rng.randrange(6):
                case 0:
                    return node[:at] + node[at + 1 :]
                case 1:
                    return [*node[:at], rng.choice(ODD), *node[at:]]
                case _:
                    return [*node[:at], self._changed(node[at]), *node[at + 1 :]]
        if isinstance(node, str) and rng.random() < 0.3:
            return node + rng.choice(("x", BAD, "\x00", "\ud83d".encode("utf-16", "surrogatepass").decode("latin-1")))
        if isinstance(node, (int, float)) and rng.random() < 0.4:
            return node + rng.choice((1, -1, 0.5, 1 << 20))
        return rng.choice(ODD)


@tool(approval=True)
def pay() -> str:
    """Pay."""
    return "paid"


def _agents() -> list[Agent]:
    def wants(request: Any) -> Any:
        return [call("pay")] if request.step == 1 else "over"

    return [
        Agent("waiting", model=ScriptedModel(wants), tools=[pay]),
        Agent("quick", model=ScriptedModel(lambda _: "over")),
    ]


class World:
    """A host in memory with a run of alice's that waits for a person, one of bob's that is over, and a desk whose clock
    is set by the test.
    """

    def __init__(self) -> None:
        self.runtime = Runtime(None, _agents())
        self.waiting = self.runtime.start("waiting", "Pay.", caller="alice")
        self.over = self.runtime.start("quick", "Go.", caller="bob")
        self.over.result(20)
        with self.waiting.events() as events:
            while next(events).tag != "approval-awaited":
                pass
        grants = [Grant("op", "operator"), Grant("view", "viewer"), Grant("ann", "owner", caller="alice")]
        self.tokens = [grant.token for grant in grants]
        self.now_us = BEGUN_US
        self.book = SqliteOrderBook(None)
        self.gate = Gate(BOOT, grants)
        self.desk = Desk(
            self.runtime,
            self.runtime.journal,
            self.book,
            self.gate,
            Critics([OutsideCritic("outside")]),
            boot=BOOT,
            agents=["waiting"],  # the other is never started: what is begun goes on behind the judge's back
            mask=lambda text: text,
            wall_us=lambda: self.now_us,
            steady_us=lambda: self.now_us,
            program="1",
        )

    def standing(self) -> tuple[int, int, int]:
        """What a refusal may not change."""
        journal = self.runtime.journal
        rows = [journal.run(run.id) for run in (self.waiting, self.over)]
        return (journal.head(), *(0 if row is None else row.version for row in rows))

    def close(self) -> None:
        """Let go."""
        self.book.close()
        self.runtime.close(2)


class Fuzz:
    """Draws inputs and judges what becomes of them. broken: what was not as it must be, with its input."""

    def __init__(self, seed: int, room: Path) -> None:
        self._rng = random.Random(seed)
        self._room = room
        self.seen: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.broken: list[tuple[str, bytes, str]] = []
        self._begun = self._ended = 0.0
        self.world = World()
        self._requests: list[bytes] = []
        self._learn()
        self._targets: dict[str, tuple[int, Callable[[bytes], str], list[bytes]]] = {
            "gate": (25, self.judge_gate, self._frames()),
            "desk": (45, self.judge_desk, self._requests),
            "reply": (12, self.judge_reply, [encode(reply) for reply in self._replies()]),
            "feed": (10, self.judge_feed, self._feed_frames()),
            "card": (3, self.judge_card, [self._card()]),
            "review": (2, self.judge_review, [b'{"verdict":"steer","text":"x","evidence":{"a":[1]}}']),
            "trace": (3, self.judge_trace, [self._trace().encode()]),
        }
        self._mutators = {name: Mutator(self._rng, seeds) for name, (_, _, seeds) in self._targets.items()}

    def close(self) -> None:
        """Let go."""
        self.world.close()

    def anew(self) -> None:
        """Go on with a new host."""
        self.world.close()
        self.world = World()
        self._learn()

    def _learn(self) -> None:
        """The seeds: each request, and each order to the run that waits and to the one that is over."""
        self._requests[:] = [encode(valid(kind)) for kind in KINDS]
        for kind in KINDS:
            if "run" in kind.__struct_fields__:
                self._requests += [
                    encode(valid(kind, run=run.id, **({"check": True} if issubclass(kind, RunOrder) else {})))
                    for run in (self.world.waiting, self.world.over)
                ]
                self._requests.append(encode(valid(kind, run=self.world.waiting.id)))

    def go(self, count: int, anew_every: int = 20_000) -> None:
        """Try `count` inputs."""
        names = list(self._targets)
        weights = [self._targets[name][0] for name in names]
        for number in range(1, count + 1):
            name = self._rng.choices(names, weights)[0]
            sent = self._mutators[name](self._rng.choice(self._targets[name][2]))
            self.judge(name, sent)
            if number % anew_every == 0:
                self.anew()

    def judge(self, name: str, sent: bytes) -> None:
        """Try one input."""
        self.world.now_us += 1_000_000
        self._begun, self._ended = time.perf_counter(), 0.0
        try:
            found = self._targets[name][1](sent)
        except BaseException as error:
            self.broken.append((name, sent, repr(error)[:300]))
            found = "BROKEN"
        took = (self._ended or time.perf_counter()) - self._begun
        self.slowest[name] = max(self.slowest.get(name, 0.0), took)
        self.seen[f"{name}: {found}"] += 1

    # -------------------------------------------------------------- the host's side

    def _frames(self) -> list[bytes]:
        world = self.world
        signed = [frame(body, token=world.tokens[0], boot=BOOT, now_us=BEGUN_US) for body in self._requests]
        return [*signed, unsigned(self._requests[0], version=VERSION)]

    def judge_gate(self, sent: bytes) -> str:
        """Whatever it is, it is turned away: it is signed for long ago, or by nobody."""
        world = self.world
        found = world.gate.admit(sent, 1, world.now_us + 60_000_000)
        if isinstance(found, Admitted):
            assert found.grant is None, "let in"
            return "hello"
        assert isinstance(found, Turned)
        return found.reply.kind

    def judge_desk(self, body: bytes) -> str:
        """Answered by a reply; a refusal changes nothing."""
        world = self.world
        token = self._rng.choice(world.tokens)
        sent = frame(body, token=token, boot=BOOT, now_us=world.now_us)
        before = world.standing()
        self._begun = time.perf_counter()
        answer = world.desk.answer(sent, Peer(1, os.getuid(), 7))
        self._ended = time.perf_counter()
        reply = decode_reply(answer)
        after = world.standing()
        if isinstance(reply, Refused):
            assert before == after, f"refused ({reply.kind}), and something has changed"
            assert reply.kind != "failed", reply.why
            return reply.kind
        if not isinstance(reply, Done) or token == world.tokens[1]:
            assert before == after, "a question, and something has changed"
        if isinstance(reply, Done) and after != before:
            self._settle()
        return type(reply).__name__

    def _settle(self) -> None:
        """Wait until what was begun is done."""
        before = None
        while before != (before := self.world.standing()) or self.world.waiting.status == "running":
            time.sleep(0.02)
            if self.world.waiting.status == "running" and before == self.world.standing():
                break

    # -------------------------------------------------------------- the client's side

    def _replies(self) -> list[Any]:
        event = self.world.runtime.journal.scan(limit=1)[0]
        row = self.world.runtime.journal.run(self.world.over.id)
        assert row is not None
        return [
            Welcome(version=VERSION, boot=BOOT, now_us=BEGUN_US, program="1"),
            Session(grant="op", role="operator", agents=("a",)),
            Number(value=7),
            Rows(runs=(row,), next=3),
            Found(run=row),
            Page(events=(on_the_wire(event),), at=4, more=True),
            Stands(status="running", reason=""),
            Done(run=RUN, told="steer"),
            Unheard(),
            Orders(orders=tuple(self.world.book.rows(limit=1))),
            ReviewWanted(id="0" * 32, trace=self._trace(), now=1.0, until_s=5.0),
            Refused(kind="unknown-agent", why="no", run=RUN, names=("a", "b")),
            Refused(kind="budget-spent", why="no", run=RUN, names=("a",)),
        ]

    def judge_reply(self, sent: bytes) -> str:
        """Read, or not readable: what a client raises is one of ours."""
        with suppress(ExecutusError, TimeoutError):
            _welcomed(sent)
        try:
            reply = decode_as_client(sent)
        except Exception:
            return "not readable"
        if isinstance(reply, Refused):
            error = error_of(reply)
            assert isinstance(error, (ExecutusError, TimeoutError))
            assert isinstance(str(error), str)
            return "error"
        if isinstance(reply, Welcome):
            frame(b"", token=self.world.tokens[0], boot=reply.boot, now_us=reply.now_us)
        return type(reply).__name__

    def _trace(self) -> str:
        return trace_json(folded(self.world.runtime.journal.read(self.world.waiting.id)))

    def _feed_frames(self) -> list[bytes]:
        events = self.world.runtime.journal.scan(limit=50)
        several = frames_of(BOOT, 0, events, most=4000)
        return [encode_frame(one) for one in (*several, Frame(BOOT, 9, 9), *frames_of(BOOT, 0, events[:1]))]

    def judge_feed(self, sent: bytes) -> str:
        """Told, or said to be missing."""
        try:
            found = decode_frame(sent)
        except Exception:
            return "not readable"
        lagged: list[int] = []
        journal = RemoteJournal(None, lambda: lagged.append(1))  # type: ignore[arg-type]
        heard: list[Event] = []
        journal._followers.join(heard.extend)
        at = journal._take(found, 0)
        assert at >= 0
        assert all(event.position > 0 for event in heard)
        assert heard or lagged or not found.events or max(one.position for one in found.events) <= 0
        return "told" if heard else "lagged" if lagged else "nothing new"

    def _card(self) -> bytes:
        return msgspec.json.encode(places.Card(boot=BOOT, pid=7, control="ipc:///x", feed="ipc:///x.feed"))

    def judge_card(self, sent: bytes) -> str:
        """A card, or none."""
        (self._room / places.CARD).write_bytes(sent)
        return "none" if places.card_in(self._room) is None else "card"

    def judge_review(self, sent: bytes) -> str:
        """A verdict, or no verdict; as the host takes it."""
        try:
            text = sent.decode()
        except UnicodeDecodeError:
            text = sent.decode("latin-1")
        try:
            return type(review_of(text)).__name__
        except ValueError:
            return "none"

    def judge_trace(self, sent: bytes) -> str:
        """A trace, or none; as a critic takes it."""
        try:
            trace_of(sent.decode("latin-1"))
        except ValueError:
            return "none"
        return "trace"


def quiet() -> None:
    """What is warned of hostile frames is not shown."""
    logging.getLogger("executus").setLevel(logging.CRITICAL)
