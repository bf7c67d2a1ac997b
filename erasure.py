"""Erasing the content of runs that are over: their keys are destroyed, and what else is theirs is deleted.

What is to be erased is written down first, and every step may be repeated, so that after a crash anywhere the next host
finishes it. The decisive step needs no key: from the moment a run's key is overwritten nobody can read the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import msgspec

from .errors import JournalConflict, JournalError, MessageRefused, UnknownRun
from .events import ArtifactStored, ChildStarted, ContentErased, InputStaged, RunForked, RunStarted
from .events.codec import Stored, encode_event
from .handles import wait
from .journal import Keyring, SqliteJournal, phrases_found, remains
from .ports import Clock

log = logging.getLogger("executus.erasure")

AT_ONCE: Final = 1_000
"""Runs whose erasure is written into their logs together."""

IN_THE_CLEAR: Final = (
    "it was stored in the clear, so that nobody could prove that it is gone; new runs are sealed with "
    "Runtime(encryption=…), and to be rid of this one, delete the journal with its backups"
)
NOT_OVER: Final = "it is not over: cancel it first"


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was, or with `dry_run` would be, erased.

    runs: the runs, with children and with runs that go on from them. artifacts, blobs, attachments: how many were
    deleted; attachments counts runs. left: what could not be erased, or speaks against it, a sentence each: nothing, if
    all went well.
    """

    runs: tuple[str, ...]
    artifacts: int = 0
    blobs: int = 0
    attachments: int = 0
    dry_run: bool = False
    left: tuple[str, ...] = ()


class Eraser:
    """Erases in one stored journal. artifacts, files: where these are kept; one without `forget` keeps what it has."""

    STEPS: Final = ("note", "say", "destroy", "delete", "forget_files", "empty", "strike")

    def __init__(
        self, journal: SqliteJournal, clock: Clock, artifacts: object, files: object, timeout: float | None
    ) -> None:
        self._journal, self._clock = journal, clock
        self._artifacts, self._files, self._timeout = artifacts, files, timeout
        self._counts: dict[str, int] = {"artifacts": 0, "blobs": 0, "attachments": 0}
        self._left: list[str] = []
        self._again = False

    # -------------------------------------------------------------- what is to be erased

    def chosen(self, run_id: str) -> list[str]:
        """The run, with its children and the runs that go on from it, and theirs.

        Raises:
            UnknownRun: there is none with this id.
            MessageRefused: one of them is not over, or was stored in the clear.
        """
        if self._journal.run(run_id) is None:
            raise UnknownRun(run_id)
        runs = self._with_family([run_id])
        for one in runs:
            if (why := self._why_not(one)) is not None:
                which = "" if one == run_id else f"run {one}, which belongs to it: "
                raise MessageRefused(run_id, "erase", which + why)
        return runs

    def chosen_of(self, caller: str) -> list[str]:
        """The same for all runs of a caller. What was stored in the clear is left out, and named in `Erasure.left`.

        Raises:
            MessageRefused: one of them is not over.
        """
        found: list[str] = []
        for row in self._journal.runs():
            try:
                first = self._journal.read(row.run_id, limit=1)
            except JournalError as error:
                self._left.append(f"run {row.run_id} cannot be read, nor erased: {error}")
                continue
            fact = first[0].fact if first else None
            if isinstance(fact, RunStarted) and fact.info.caller_id == caller:
                found.append(row.run_id)
        runs = self._with_family(found)
        refused = {one: why for one in runs if (why := self._why_not(one)) is not None}
        for one, why in refused.items():
            if why == IN_THE_CLEAR:
                self._left.append(f"run {one} was not erased: {why}")
            else:
                raise MessageRefused(one, "erase", why)
        return [one for one in runs if one not in refused]

    def _with_family(self, run_ids: Iterable[str]) -> list[str]:
        successors: dict[str, list[str]] = {}
        for successor in self._journal.tagged("run-forked"):
            events = self._journal.read(successor, after=1, limit=1)
            if events and isinstance(events[0].fact, RunForked):
                successors.setdefault(events[0].fact.source, []).append(successor)
        runs: dict[str, None] = {}
        line = list(run_ids)
        while line:
            run_id = line.pop(0)
            if run_id in runs or self._journal.run(run_id) is None:  # such as a child that was never born
                continue
            runs[run_id] = None
            facts = [event.fact for event in self._journal.read(run_id)]
            line += [fact.run_id for fact in facts if isinstance(fact, ChildStarted)]
            line += successors.get(run_id, ())
        return list(runs)

    def _why_not(self, run_id: str) -> str | None:
        row = self._journal.run(run_id)
        if row is None or not row.over:
            return NOT_OVER
        if not self._journal.is_sealed(run_id):
            return IN_THE_CLEAR
        keyring = self._journal.keyring
        if keyring is None or keyring.file is None or keyring.file.row(run_id) is None:
            return "its key is not in the keys file beside the journal; put that back first"
        first = self._journal.read(run_id, limit=1)[0].fact
        root = first.info.root_run_id if isinstance(first, RunStarted) else ""
        above = self._journal.run(root) if root else None
        if above is not None and not above.over:
            return f"the run that it belongs to, {root}, is not over: cancel that first"
        return None

    # -------------------------------------------------------------- erasing

    def erase(self, run_ids: Sequence[str], by: str, reason: str, *, dry_run: bool = False) -> Erasure:
        """Erase these runs, as `chosen` gave them.

        Raises:
            JournalError, TimeoutError: it is not finished; repeat it, or open the journal again.
        """
        if run_ids and not dry_run:
            for step in self.STEPS:
                getattr(self, step)(run_ids, by, reason)
            self._left += remains(self._journal, run_ids)
        return Erasure(runs=tuple(run_ids), dry_run=dry_run, left=tuple(self._left), **self._counts)

    def finish(self) -> None:
        """Finish what an earlier host began; what cannot be finished now is logged and left for the next one."""
        families: dict[tuple[str, str], list[str]] = {}
        for one in self._keyring.unfinished():
            families.setdefault((one.by, one.reason), []).append(one.run_id)
        for (by, reason), run_ids in families.items():
            try:
                left = self.erase([one for one in run_ids if self._journal.run(one) is not None], by, reason).left
                problems = list(left)
            except (JournalError, TimeoutError) as error:
                problems = [str(error)]
            for problem in problems:
                log.error("an erasure that was begun is not finished: %s", problem)

    def problems(self, run_ids: Sequence[str], phrases: Sequence[str]) -> list[str]:
        """What speaks against these runs being erased."""
        return remains(self._journal, run_ids) + phrases_found(self._journal, phrases)

    @property
    def _keyring(self) -> Keyring:
        keyring = self._journal.keyring
        assert keyring is not None
        return keyring

    def note(self, run_ids: Sequence[str], by: str, reason: str) -> None:
        """Write down what is to be erased, durably."""
        self._keyring.begin_erasure(run_ids, by, reason, self._clock.wall_us())

    def say(self, run_ids: Sequence[str], by: str, reason: str) -> None:
        """Say it in every run's log, once."""
        said = set(self._journal.tagged("content-erased"))
        left = [run_id for run_id in run_ids if run_id not in said]
        fact = ContentErased(by=by, reason=reason)
        while left:
            some, left = left[:AT_ONCE], left[AT_ONCE:]
            appends = [_Append(self._journal, run_id, fact, self._clock) for run_id in some]
            for append in appends:
                self._journal.append(append)
            for append in appends:
                error = wait(append.answer, self._timeout, "the erasure is not yet stored; repeat it")
                if isinstance(error, JournalConflict):  # its delivery was written down meanwhile
                    left.append(append.run_id)
                elif error is not None:
                    raise error

    def destroy(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Overwrite the keys: from here on nothing opens."""
        self._keyring.destroy(run_ids, self._clock.wall_us())

    def delete(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Delete sealed blobs, and snapshots if there are any."""
        self._counts["blobs"] += self._journal.delete_content(run_ids)

    def forget_files(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Delete artifacts and attachments. No two sealed runs share one: its address is of sealed bytes."""
        artifacts: set[str] = set()
        attached: list[str] = []
        for run_id in run_ids:
            facts = [event.fact for event in self._journal.read(run_id)]
            artifacts.update(fact.sha256 for fact in facts if isinstance(fact, ArtifactStored))
            if any(isinstance(fact, InputStaged) for fact in facts):
                attached.append(run_id)
        self._counts["artifacts"] += self._forget("artifact", self._artifacts, sorted(artifacts))
        self._counts["attachments"] += self._forget("attachments of run", self._files, attached)

    def empty(self, _run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Copy the journal's write-ahead log and cut it to nothing."""
        if not self._journal.empty_log():
            raise JournalError("the journal's write-ahead log could not be emptied, since somebody reads it; repeat it")

    def strike(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Nothing is left to do, unless files could not be deleted: then the next opening tries again."""
        if not self._again:
            self._keyring.finish_erasure(run_ids)

    def _forget(self, what: str, store: object, names: Sequence[str]) -> int:
        """Have a store of the host forget; returns how many it did."""
        forget: Any = getattr(store, "forget", None)
        if names and not callable(forget):
            self._again = self._again or store is None  # another opening may have it
            self._left.append(f"{what} {', '.join(names)}: this host has nothing that forgets them")
            return 0
        done = 0
        for name in names:
            try:
                forget(name)
                done += 1
            except Exception as error:  # a host's own store may raise anything
                self._again = True
                self._left.append(f"{what} {name} could not be deleted: {error}")
        return done


class _Append:
    """`ports.Append` of one fact after a run's end."""

    request_key = ""

    def __init__(self, journal: SqliteJournal, run_id: str, fact: ContentErased, clock: Clock) -> None:
        row = journal.run(run_id)
        if row is None:
            raise UnknownRun(run_id)
        last = journal.read(run_id, after=row.version - 1, limit=1)[0]
        self.run_id, self.expected = run_id, last.version
        self.answer: Future[JournalError | None] = Future()
        self.stored: Sequence[Stored] = [
            encode_event(
                fact,
                run_id=run_id,
                version=last.version + 1,
                previous=last.hash,
                at_us=clock.wall_us(),
                elapsed_ms=last.elapsed_ms,
                cause="Erase",
                epoch=journal.epoch,
            )
        ]

    def done(self, error: JournalError | None) -> None:
        """Told by the journal."""
        self.answer.set_result(error)
