"""The disk of the simulated world: what survives a crash of its host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sim_seals import opening

from executus.events import Event, Seal, Withheld
from executus.events.codec import Stored, decode_event
from executus.journal.rules import Head
from executus.ports import Recovery
from executus.projections import Checkpoint, fold


@dataclass
class Disk:
    """What survives a crash. seen: told of every event when it is there."""

    seen: Callable[[Event], None]
    rows: list[tuple[str, int, str, bytes]] = field(default_factory=list)
    decoded: list[Event] = field(default_factory=list)
    """The rows as a reader sees them."""
    by: list[int] = field(default_factory=list)
    """Epoch of the host that stored each row; 0 for somebody who is no host."""
    logs: dict[str, list[int]] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    """Of sealed runs."""
    held: dict[str, bytes] = field(default_factory=dict)
    """Keys that the host has in memory: not on the disk, and gone with it."""
    epoch: int = 0
    _folded: dict[str, Checkpoint] = field(default_factory=dict)

    def store(self, stored: Stored, epoch: int) -> int:
        self.by.append(epoch)
        event = stored.event
        row = event.run_id, event.version, event.tag, stored.state
        self.rows.append(row)
        self.logs.setdefault(event.run_id, []).append(len(self.rows) - 1)
        if stored.blob is not None:
            self.blobs[stored.blob[0]] = stored.blob[1]
        read = decode_event(*row, position=len(self.rows), blob=self.blobs.get, opener=self.opening)
        self.decoded.append(read)
        self.seen(read)
        return len(self.rows)

    def opening(self, run_id: str, _key: bytes) -> Seal | Withheld:
        """What the host opens a run with."""
        return opening({**self.held, **self.keys}, run_id)

    def events(self, run_id: str) -> list[Event]:
        return [self.decoded[index] for index in self.logs.get(run_id, ())]

    def folded(self, run_id: str) -> Checkpoint:
        """The fold of the run's log; only what is new since the last time is folded, as a journal's snapshots do."""
        known = self._folded.get(run_id, Checkpoint())
        new = self.logs[run_id][known.version :]
        if new:
            known = self._folded[run_id] = fold([self.decoded[index] for index in new], known)
        return known
