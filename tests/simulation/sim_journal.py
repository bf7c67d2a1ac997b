"""A journal on the disk of the simulated world, which fails now and then."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from msgspec.structs import force_setattr
from sim_seals import secret_of
from sim_world import HostCrash, SimScheduler, World

from executus.errors import Deposed, JournalError, JournalUnavailable, LogCorrupt, RequestRepeated, UnknownRun
from executus.events import Event, NoteLogged, Seal, Withheld
from executus.events.codec import encode_event
from executus.journal.rules import Head, advance_head
from executus.journal.writer import Nothing
from executus.ports import Append, Follower, Recovery, RunSummary, Unfinished
from executus.projections import Checkpoint


class SimJournal:
    """The part of `Journal` that actors use, on a disk, with faults. Appends wait for a commit, as in the real one.

    After a commit that failed nobody knows what was stored: followers are told of nothing more before this journal has
    looked, and then of what it found.
    """

    def __init__(self, world: World, scheduler: SimScheduler) -> None:
        self.world, self.scheduler, self.disk = world, scheduler, world.disk
        self.disk.epoch += 1
        self.epoch = self.disk.epoch
        self.disk.held.clear()
        self.waiting: list[Append] = []
        self.line: list[Callable[[], None]] = []
        """Commits of what is kept of attempts, in order."""
        self.followers: list[Follower] = []
        self.unsure: list[Event] = []
        """Stored by a commit that reported a failure, and not yet found."""
        self.told: list[int] = []
        """Positions of which followers were told."""
        self.doubtful = False
        """Its host stood still for longer than its lease, and has not looked since."""
        self.broken: Deposed | None = None
        self.when_stopped: Callable[[Deposed], None] = lambda error: None
        self.fate = random.Random(f"{world.seed}: looks of {self.epoch}")

    def append(self, append: Append) -> None:
        if not self.waiting:
            self.scheduler.call_later(self.world.rng.random() * 0.01, self.commit)
        self.waiting.append(append)

    @property
    def held(self) -> bool:
        return self.world.bugs.held(self.doubtful)

    def short(self, run_id: str) -> str:
        return ""

    def confirm(self, told: Callable[[JournalError | None], None]) -> None:
        self.append(Nothing(told))

    def renew(self) -> None:
        """What an idle journal does when its lease is due."""
        self.confirm(lambda error: None)

    def deposed(self) -> bool:
        """Looked at inside every transaction, before anything else; said once."""
        if self.broken is None and not self.world.bugs.owns(self.epoch, self.disk.epoch):
            self.broken = Deposed(self.epoch, self.disk.epoch)
            self.when_stopped(self.broken)
        return self.broken is not None

    def commit(self) -> None:
        """One transaction for all that wait."""
        world, who = self.world, self.world.personality
        batch, self.waiting = self.waiting, []
        world.maybe_crash("before a commit")
        if self.deposed():
            for append in batch:
                append.done(self.broken)
            return
        self.look()
        fails = world.strikes("commit fails", who.commit_fails)
        stores = not fails or world.rng.random() < 0.5
        if fails and stores:
            world.note("commit fails and is stored")
        outcomes: list[tuple[Append, JournalError | None]] = []
        news: list[Event] = []
        for append in batch:
            error = self.store(append) if stores else None
            outcomes.append((append, error))
            if stores and error is None:
                news += [self.disk.decoded[stored.event.position - 1] for stored in append.stored]
        world.maybe_crash("after a commit")
        for append, error in outcomes:
            if error is None:
                self.keep_key(append)
            if fails:
                error = JournalUnavailable("the commit failed; what was stored is unknown")
            append.done(error)
        if fails:
            self.unsure = news
            self.scheduler.call_later(self.fate.random() * 0.2, self.look)
        else:
            self.doubtful = False
            self.tell(news)

    def look(self) -> None:
        """Find what a commit that failed has stored after all."""
        if self.doubtful and self.deposed():
            return
        found, self.unsure = self.unsure, []
        self.tell(self.world.bugs.found(found))

    def tell(self, news: Sequence[Event]) -> None:
        """Tell followers what was committed."""
        if news:
            self.told += [event.position for event in news]
            for follower in self.followers:
                follower(news)

    def keep_recoveries(
        self, kept: Sequence[Recovery], dropped: Sequence[str], done: Callable[[JournalError | None], None]
    ) -> None:
        """A commit of its own, which fails as the others do."""

        def commit() -> None:
            world, who = self.world, self.world.personality
            if self.deposed():
                done(self.broken)
                return
            fails = world.strikes("keeping fails", who.commit_fails)
            if not fails or world.rng.random() < 0.5:
                for run_id in dropped:
                    self.disk.recoveries.pop(run_id, None)
                self.disk.recoveries.update({one.run_id: one for one in kept})
                world.recoveries_kept(kept, dropped)
            if world.strikes("crash after keeping", who.crash / 4):
                world.crashing = True
                raise HostCrash
            done(JournalUnavailable("the commit failed; what was stored is unknown") if fails else None)

        self.line.append(commit)
        self.scheduler.call_later(self.world.rng.random() * 0.01, lambda: self.line.pop(0)())

    def recoveries(self) -> list[Recovery]:
        return list(self.disk.recoveries.values())

    def unfinished(self, after: int = 0, limit: int | None = None) -> list[Unfinished]:
        rows = sorted(self.runs(unfinished=True), key=lambda row: row.first_position)
        rows = [row for row in rows if row.first_position > after][:limit]
        return [Unfinished(summary=row, first=self.read(row.run_id, limit=1)[0]) for row in rows]

    def follow(self, follower: Follower) -> None:
        self.followers.append(follower)

    def store(self, append: Append) -> JournalError | None:
        if isinstance(append, Nothing):
            return None
        disk = self.disk
        head = disk.heads.setdefault(append.run_id, Head())
        if head.version and not head.over and self.world.strikes("rival", self.world.personality.rival):
            self.rival(append.run_id, head)
        if append.request_key and append.request_key in disk.requests:
            return RequestRepeated("", disk.requests[append.request_key])
        refused = self.world.bugs.refusal(append, head)
        if refused is not None:
            return refused
        if self.world.bugs.keys_first:
            self.keep_key(append)
        position = 0
        for stored in append.stored:
            position = disk.store(stored, self.epoch)
            force_setattr(stored.event, "position", position)
        if append.request_key:
            disk.requests[append.request_key] = append.run_id
        advance_head(head, append, position)
        return None

    def keep_key(self, append: Append) -> None:
        """Have the key of a run that begins on the disk."""
        if append.run_id in self.disk.held and any(stored.key for stored in append.stored):
            self.disk.keys.setdefault(append.run_id, self.disk.held[append.run_id])

    def seal(self, run_id: str, *, new: bool = False, root: str = "", files: bool = False) -> Seal | Withheld | None:
        if not self.world.sealed:
            return None
        if new and run_id not in self.disk.keys:
            self.disk.held.setdefault(run_id, secret_of(run_id, self.epoch))
        return self.disk.opening(run_id, b"")

    def rival(self, run_id: str, head: Head) -> None:
        """Somebody else appends to the run first."""
        self.world.hurt.add(run_id)
        note = encode_event(
            NoteLogged(type="rival"),
            run_id=run_id,
            version=head.version + 1,
            previous=head.hash,
            at_us=0,
            elapsed_ms=0,
            cause="rival",
            epoch=self.epoch,
        )
        head.position = self.disk.store(note, 0)
        head.version, head.hash = note.event.version, note.event.hash

    def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        log = self.disk.logs.get(run_id)
        if not log:
            raise UnknownRun(run_id)
        return [self.disk.decoded[index] for index in log[after:][:limit]]

    def load(self, run_id: str) -> Checkpoint:
        if self.world.is_bent(run_id):
            self.world.note("log bent")
            self.world.hurt.add(run_id)
            raise LogCorrupt(run_id, 1, "the log does not fold")
        if run_id not in self.disk.logs:
            raise UnknownRun(run_id)
        return self.disk.folded(run_id)

    def scan(self, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        return self.disk.decoded[after : after + limit]

    def runs(self, *, unfinished: bool = False) -> list[RunSummary]:
        heads = self.disk.heads.items()
        return [head.summary(run_id) for run_id, head in heads if head.version and not (unfinished and head.over)]

    def run(self, run_id: str) -> RunSummary | None:
        head = self.disk.heads.get(run_id)
        return None if head is None or not head.version else head.summary(run_id)
