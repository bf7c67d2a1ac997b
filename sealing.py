"""What a runtime does with the keys of its journal: erasing what was said, proving it, and changing the host's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .erasure import Eraser, Erasure
from .errors import MessageRefused
from .events.clean import clean_text
from .handles import Run
from .journal import MemoryJournal, Router, SqliteJournal
from .ports import ArtifactStore, Clock, FileStager, KeySource
from .redaction.raised import masks_errors
from .redaction.vault import Vault

WORDS: Final = 4_096
"""Characters kept of a name and a reason."""


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
