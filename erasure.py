"""Erasing the content of runs that are over: their keys are destroyed, and what else is theirs is deleted.

What is to be erased is written down first, and every step may be repeated, so that after a crash anywhere the next host
finishes it. The decisive step needs no key: from the moment a run's key is overwritten nobody can read the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .errors import JournalConflict, JournalError, MessageRefused, UnknownRun
from .events import ArtifactStored, ChildStarted, ContentErased, InputStaged, RunForked, RunStarted
from .events.clean import clean_text
from .events.codec import Stored, encode_event
from .handles import Run, wait
from .journal import Keyring, MemoryJournal, Router, SqliteJournal, phrases_found, remains
from .ports import ArtifactStore, Clock, FileStager, KeySource
from .redaction.raised import masks_errors
from .redaction.vault import Vault

log = logging.getLogger("executus.erasure")

WORDS: Final = 4_096
"""Characters kept of a name and a reason."""

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
        waiting = [run_id for run_id in run_ids if run_id not in said]
        fact = ContentErased(by=by, reason=reason)
        while waiting:
            appends = [_Append(self._journal, run_id, fact, self._clock) for run_id in waiting]
            for append in appends:
                self._journal.append(append)
            waiting = []
            for append in appends:
                error = wait(append.answer, self._timeout, "the erasure is not yet stored; repeat it")
                if isinstance(error, JournalConflict):  # its delivery was written down meanwhile
                    waiting.append(append.run_id)
                elif error is not None:
                    raise error

    def destroy(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Overwrite the keys: from here on nothing opens."""
        self._keyring.destroy(run_ids, self._clock.wall_us())

    def delete(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Delete sealed blobs, and snapshots if there are any."""
        self._counts["blobs"] += self._journal.delete_content(run_ids)

    def forget_files(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Delete artifacts and attachments. An artifact that another run names as well stays."""
        mine, others = self._artifacts_of(run_ids)
        attached = [run_id for run_id in run_ids if self._has(run_id, InputStaged)]
        self._counts["artifacts"] += self._forget("artifact", self._artifacts, sorted(mine - others))
        self._counts["attachments"] += self._forget("attachments of run", self._files, attached)

    def empty(self, _run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Copy the journal's write-ahead log and cut it to nothing."""
        if not self._journal.empty_log():
            raise JournalError("the journal's write-ahead log could not be emptied, since somebody reads it; repeat it")

    def strike(self, run_ids: Sequence[str], _by: str, _reason: str) -> None:
        """Nothing is left to do, unless files could not be deleted: then the next opening tries again."""
        if not self._again:
            self._keyring.finish_erasure(run_ids)

    def _artifacts_of(self, run_ids: Sequence[str]) -> tuple[set[str], set[str]]:
        """Addresses of these runs' artifacts, and those of all others."""
        mine: set[str] = set()
        others: set[str] = set()
        chosen = set(run_ids)
        for run_id in self._journal.tagged("artifact-stored"):
            place = mine if run_id in chosen else others
            facts = [event.fact for event in self._journal.read(run_id)]
            place.update(fact.sha256 for fact in facts if isinstance(fact, ArtifactStored))
        return mine, others

    def _has(self, run_id: str, kind: type[Any]) -> bool:
        return any(isinstance(event.fact, kind) for event in self._journal.read(run_id))

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


@masks_errors(lambda runtime: runtime._vault.redactor)
class Erases:
    """The part of a runtime that erases, and that changes its key; see `Runtime`."""

    _stored: MemoryJournal | SqliteJournal
    _router: Router
    _stored_router: Router
    _keeps: tuple[ArtifactStore, FileStager | None]
    _clock: Clock
    _vault: Vault

    if TYPE_CHECKING:

        def may_block(self, call: str) -> None:
            """See `Runtime`."""
            ...

        def _check_open(self) -> None: ...

    def erase(
        self,
        run: Run | str | None = None,
        *,
        caller: str = "",
        by: str = "",
        reason: str = "",
        dry_run: bool = False,
        timeout: float | None = 60.0,
    ) -> Erasure:
        """Erase for ever what was said in a run that is over, or in all runs of a caller: with children, and with runs
        that go on from it. Their keys are destroyed; statuses, counts, tokens, cost, names and times stay. by, reason:
        written into the log, and stay too. dry_run: only tell what would be erased. timeout: seconds to wait for the
        journal.

        Once it has begun it is finished, if need be at the next opening. `docs/encryption.md` says what stays where.

        Raises:
            MessageRefused: one of the runs is not over, or was stored in the clear: nothing was done.
            UnknownRun: there is none with this id.
            JournalError, TimeoutError: it is not finished; repeat it.
            RuntimeClosed; TypeError, ValueError: a wrong argument, with what was expected.
        """
        self.may_block("erase")
        self._check_open()
        if (run is None) == (not caller):
            raise ValueError("erase: expected a run or a caller, and one of them only")
        for label, text in (("caller", caller), ("by", by), ("reason", reason)):
            if not isinstance(text, str):
                raise TypeError(f"erase, {label}: expected text, got {text!r}")
        redactor = self._vault.redactor
        caller, by, reason = (
            redactor.identifier(caller),
            redactor.text(by),
            redactor.text(reason),
        )  # as in the log
        eraser = self._eraser(timeout, str(getattr(run, "id", run)))
        runs = eraser.chosen_of(caller) if run is None else eraser.chosen(run if isinstance(run, str) else run.id)
        erasure = eraser.erase(runs, clean_text(by, WORDS), clean_text(reason, WORDS), dry_run=dry_run)
        for router in (self._router, self._stored_router):
            router.reread()
        return erasure

    def prove_erasure(self, runs: Sequence[Run | str], phrases: Sequence[str] = ()) -> list[str]:
        """What speaks against the content of these runs being gone, a sentence each; an empty list is the proof.

        It looks at what is stored: no key of theirs is left, of every event only the skeleton can be read, no blob and
        no snapshot is left. phrases: texts that may stand in no file of the journal.

        Raises:
            MessageRefused: this runtime has no stored journal.
            JournalUnavailable, RuntimeClosed.
        """
        self._check_open()
        ids = [run if isinstance(run, str) else run.id for run in runs]
        return self._eraser(None, ids[0] if ids else "").problems(ids, phrases)

    def rotate_key(self, key: bytes | KeySource) -> int:
        """Give the journal another host's key, live: from now on it opens with `key` alone. Returns how many runs' keys
        were wrapped anew. What was said is not encrypted anew: whoever has the old key and an old copy of the keys file
        can read what these open.

        Raises:
            KeyRefused: the runtime was opened without its present key, or the new one refused; nothing was changed.
            MessageRefused: this runtime has no sealed journal.
            JournalUnavailable, RuntimeClosed; TypeError, ValueError: a wrong argument.
        """
        self._check_open()
        stored = self._stored
        if not isinstance(stored, SqliteJournal) or stored.keyring is None:
            raise MessageRefused("", "rotate_key", "this runtime has no sealed journal")
        from .adapters.keys.sources import encryption_of  # imports a library, and only if it is used

        return stored.keyring.rotate(encryption_of(key, "rotate_key"))

    def _eraser(self, timeout: float | None, run_id: str) -> Eraser:
        if not isinstance(self._stored, SqliteJournal):
            raise MessageRefused(run_id, "erase", "this runtime keeps runs in memory only; they go with the process")
        artifacts, files = self._keeps
        return Eraser(self._stored, self._clock, artifacts, files, timeout)

    def _finish_erasures(self) -> None:
        """Go on with what an earlier host began."""
        stored = self._stored
        if isinstance(stored, SqliteJournal) and stored.keyring is not None and stored.keyring.unfinished():
            self._eraser(60.0, "").finish()


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
