"""Every error executus raises, named by whose move comes next.

The world failing (a model, a tool) is a fact in the log, not one of these; a wrong argument is a plain
`TypeError` or `ValueError` that says what was expected.
"""

from __future__ import annotations

from typing import Any


class ExecutusError(Exception):
    """The base of every error below: catch it at the edge of your host. Each can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args, self.__dict__.copy())


def _remade(kind: type[ExecutusError], args: tuple[Any, ...], fields: dict[str, Any]) -> ExecutusError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class MessageRefused(ExecutusError):
    """The sender should not have asked: the run is over, or not in a state that can take the message."""

    def __init__(self, run_id: str, message: str, why: str) -> None:
        super().__init__(f"run {run_id} refused {message}: {why}")
        self.run_id, self.message, self.why = run_id, message, why


class UnknownRun(ExecutusError):
    """No run has this id in this journal."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no run {run_id!r} in this journal; list the runs with `executus ps` or Runtime.runs()")
        self.run_id = run_id


class UnknownAgent(ExecutusError):
    """No agent of this name was given to the runtime."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        have = ", ".join(sorted(known)) or "none"
        super().__init__(f"no agent named {name!r}; this runtime has: {have}. Pass it in Runtime(agents=[...])")
        self.name, self.known = name, known


class Departed(ExecutusError, AssertionError):
    """The code under test did something else than the recorded run: change it back, or record anew."""

    def __init__(self, step: int, what: str, diff: str = "") -> None:
        super().__init__(f"{what}\n{diff}" if diff else what)
        self.step, self.what, self.diff = step, what, diff


class Overloaded(ExecutusError):
    """A limit of this runtime is reached: wait, or raise the limit named."""

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(f"{what}: the limit of {limit} is reached; wait for some to finish, or raise {setting}")
        self.what, self.limit, self.setting = what, limit, setting


class RuntimeClosed(ExecutusError):
    """The runtime was closed; a run that was live in a stored journal resumes when it is opened again."""


class ForkedProcess(ExecutusError):
    """A forked child uses its parent's runtime or journal, or opens a journal of its own though one was open at the
    fork: begin another program in the child (`subprocess`, or `spawn` of multiprocessing), and open it there.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} belongs to the parent process; use spawn, or subprocess, and open your own there")


class WouldDeadlock(ExecutusError):
    """A blocking call was made on a thread that the answer needs: use the `_async` form there."""

    def __init__(self, call: str) -> None:
        super().__init__(f"{call}() would wait on the runtime's own thread for ever; await {call}_async() there")


# ------------------------------------------------------------------ journal


class JournalError(ExecutusError):
    """Something is wrong with the journal; the message says what, and what was left untouched."""


class JournalInUse(JournalError):
    """Another live host owns this journal: close that host, or open another file.

    owner: who. until: when its lease ends, if only that keeps others out; "" when it has the journal until it closes it
    or ends.
    """

    def __init__(self, path: str, owner: str, until: str = "") -> None:
        lease = f", whose lease ends at {until} unless it is renewed" if until else ""
        super().__init__(
            f"{path} is in use by {owner}{lease}; close that host, or use another file (reading is always possible)"
        )
        self.path, self.owner, self.until = path, owner, until


class JournalUnreadable(JournalError):
    """The file is not a journal that this version can open; nothing in it was changed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot open {path} as a journal: {why}; nothing was changed")
        self.path, self.why = path, why


class JournalTooNew(JournalUnreadable):
    """The file was made by a newer version of executus: upgrade."""

    def __init__(self, path: str, found: int, known: int) -> None:
        why = f"it has layout {found}, this version knows up to {known}; upgrade executus"
        super().__init__(path, why)
        self.found, self.known = found, known


class JournalUnavailable(JournalError):
    """The journal could not store or read now (disk full, I/O error, closed); what was acknowledged is safe."""


class ArchiveMissing(JournalUnavailable):
    """A run's events were moved to the journal's archive, and it is not there: put it back beside the journal."""

    def __init__(self, run_id: str, path: str, why: str) -> None:
        super().__init__(
            f"run {run_id} was moved to {path}, which cannot be read: {why}; put it back beside the journal"
        )
        self.run_id, self.path, self.why = run_id, path, why


class DiskFull(JournalUnavailable):
    """There is no room on the journal's disk: free some. Runs go on by themselves when there is."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}; free some space: what is stored is safe, and runs go on by themselves then")
        self.path, self.why = path, why


class JournalConflict(JournalError):
    """Somebody else appended first: read again, decide again."""

    def __init__(self, run_id: str, expected: int, found: int) -> None:
        super().__init__(f"run {run_id} is at version {found}, not {expected}")
        self.run_id, self.expected, self.found = run_id, expected, found


class RunIsOver(JournalConflict):
    """The run has ended: only notes may follow. Read again; there is nothing left to decide."""

    def __init__(self, run_id: str, version: int, tag: str) -> None:
        JournalError.__init__(self, f"run {run_id} ended by version {version}: {tag} may not follow")
        self.run_id, self.expected, self.found, self.tag = run_id, version, version, tag


class Deposed(JournalError):
    """Another host took this journal over (a higher owner epoch): this one may not append any more, and closes itself.

    Open a new runtime to take the journal back, after the other host has closed.
    """

    def __init__(self, mine: int, found: int) -> None:
        super().__init__(
            f"this host has owner epoch {mine}, the journal is at {found}: another host took over;"
            " this one stores nothing more, and its runs go on there"
        )
        self.mine, self.found = mine, found


class RequestRepeated(JournalError):
    """This caller used this request id before; `run_id` is the run it started (the same one, by promise P3)."""

    def __init__(self, request_id: str, run_id: str) -> None:
        super().__init__(f"request {request_id!r} already started run {run_id}")
        self.request_id, self.run_id = request_id, run_id


class LogCorrupt(JournalError):
    """A run's log does not verify; the run is set aside, the others go on."""

    def __init__(self, run_id: str, version: int, why: str) -> None:
        super().__init__(f"run {run_id}, version {version}: {why}")
        self.run_id, self.version, self.why = run_id, version, why


class KeyRefused(JournalError):
    """The host's key cannot be had, or does not open this journal's keys: give the right one. Nothing was changed."""


class KeysMissing(JournalUnreadable):
    """The journal has sealed runs, and the file with their keys is not beside it: put it back from its backup."""


class ContentWithheld(JournalError):
    """What was said in this run is sealed, and its key is not here ("locked"), or destroyed ("erased")."""

    def __init__(self, run_id: str, why: str) -> None:
        said = (
            "its content was erased: nothing can go on from it"
            if why == "erased"
            else "its content is sealed and its key is not here; open the journal with the host's key"
        )
        super().__init__(f"run {run_id}: {said}")
        self.run_id, self.why = run_id, why


class UnknownFact(JournalError):
    """The log holds a fact of a newer version: it is kept, and the run is read-only until you upgrade."""

    def __init__(self, run_id: str, version: int, tag: str) -> None:
        super().__init__(
            f"run {run_id}, version {version}: fact {tag!r} is from a newer executus; upgrade to continue it"
        )
        self.run_id, self.version, self.tag = run_id, version, tag


class RunQuarantined(ExecutusError):
    """The run failed repeatedly inside executus and was set aside; its log is intact."""

    def __init__(self, run_id: str, why: str) -> None:
        super().__init__(f"run {run_id} is quarantined: {why}")
        self.run_id, self.why = run_id, why


# ------------------------------------------------------------------ models, tools, extras


class ModelUnavailable(ExecutusError):
    """The model cannot answer now (rate limit, overload, network, timeout): the run waits and tries again.

    `retry_after_s`: seconds the provider asked us to wait, if it did.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class ModelRefused(ExecutusError):
    """The model will not answer this request however often it is asked (bad key, bad request, unknown model)."""


class ExtraMissing(ExecutusError):
    """An optional part is not installed; the message is the command that installs it."""

    def __init__(self, what: str, extra: str, package: str = "executus") -> None:
        super().__init__(f"{what} needs an extra: pip install '{package}[{extra}]'")
        self.what, self.extra, self.package = what, extra, package


class BudgetSpent(ExecutusError):
    """The caller's budget has nothing left: the run was not begun; its log says why and ends "budget_exceeded"."""

    def __init__(self, caller: str, why: str, run_id: str = "") -> None:
        super().__init__(f"caller {caller!r}: {why}; wait for the window to move on, or raise the allowance")
        self.caller, self.why, self.run_id = caller, why, run_id


class ListenRefused(ExecutusError):
    """The host cannot listen there: something else is in the place, or it would not be private. Nothing was changed."""


class HostUnreachable(JournalUnavailable):
    """No host answers now: start one with `Runtime(path, listen="ipc")`, or wait until it is back."""


class ControlRefused(ExecutusError):
    """A host did not take a request of another process. kind: "unauthenticated", "forbidden", "expired", "replayed",
    "too-many", "busy", "closing", "malformed", "oversize" or "version". Nothing was changed.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


class OutcomeUnknown(ExecutusError):
    """The host was lost while it carried out an order: it may have been carried out; the run's log tells."""

    def __init__(self, order: str, why: str) -> None:
        super().__init__(f"order {order[:8]}: {why}; look at the run's log before you give it again")
        self.order, self.why = order, why


class FileRefused(ExecutusError):
    """A file cannot be stored or opened: its name, its size, or because this run has none of that id."""


class DeliveryRefused(ExecutusError):
    """Raised by a `Delivery`: this parcel will never be taken, however often it is tried."""


class ImportRefused(ExecutusError):
    """A recorded conversation cannot be read; `place` names where (line, column, conversation, message)."""

    def __init__(self, path: str, place: str, why: str) -> None:
        super().__init__(f"{path}: {place}: {why}")
        self.path, self.place, self.why = path, place, why
