"""The ports a host passed, checked, and what stands in for those it did not."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from .actors.address import Address
from .actors.budget_desk import BudgetDesk
from .actors.pooled import Cancellable
from .actors.pricing import contained
from .actors.run.messages import AcceptGrant, AcceptRefusal
from .adapters.budgets import FixedBudget
from .adapters.critics.outside import OutsideCritic
from .adapters.files.artifacts import DirectoryArtifacts, MemoryArtifacts
from .adapters.files.sealed import OpenedArtifacts, SealedStager
from .adapters.files.stager import DirectoryStager, MemoryStager
from .adapters.palette.registered import RegisteredPalette
from .adapters.signing import Signing
from .errors import JournalError
from .events import BudgetExceeded, Event, RunInfo, Usage, at_rest
from .handles import wait
from .journal import Anchors, AnchorTerms, BesideJournal, MemoryJournal, SqliteJournal, open_journal
from .journal.views import StoredViews, all_definitions, taken_up_outbox, taken_up_spending
from .ports import (
    Agent,
    Allowance,
    ArtifactStore,
    Budget,
    Critic,
    Delivery,
    FileStager,
    Journal,
    Model,
    Palette,
    Prices,
    Skill,
    View,
)
from .ports.signing import Signer
from .projections.allowing import REPLY_TOKENS, Granted, Refused, Want
from .projections.outbox import Outbox
from .redaction.vault import Vault

if TYPE_CHECKING:
    from .runtime import Runtime
    from .wire.host import HostWire
    from .wire.terms import Listen

log = logging.getLogger("executus.runtime")

T = TypeVar("T")

PAGE = 2_000
"""Events of the journal read at once when views are rebuilt."""


@dataclass(frozen=True)
class Ports:
    """What a runtime works with beside its journal and agents."""

    palette: Palette
    tiers: Mapping[str, str | Model]
    critic: Critic | Callable[[RunInfo], Critic | None] | None
    budget: Budget | None
    prices: Prices | None
    delivery: Delivery | None
    files: FileStager | None
    artifacts: ArtifactStore

    def critic_of(self, address: Address) -> Critic | None:
        """Who watches the run: its agent's critic, or the runtime's, which may be chosen by run and may be nobody."""
        if address.agent.critic is not None:
            return address.agent.critic
        if self.critic is None or isinstance(self.critic, Critic):
            return self.critic
        try:
            found = self.critic(address.info)
        except Exception:
            log.exception("run %s: choosing its critic failed; nobody watches it", address.run_id)
            return None
        if found is None or isinstance(found, Critic):
            return found
        log.error("run %s: expected a Critic or None, got %r; nobody watches it", address.run_id, found)
        return None


def checked_ports(
    path: str | os.PathLike[str] | None,
    agents: Sequence[Agent],
    skills: Sequence[Skill],
    *,
    palette: Palette | None,
    tiers: Mapping[str, str | Model] | None,
    critic: Critic | Callable[[RunInfo], Critic | None] | None,
    budget: Budget | Sequence[Allowance] | None,
    prices: Prices | None,
    delivery: Delivery | None,
    files: FileStager | None,
    artifacts: ArtifactStore | None,
) -> Ports:
    """The ports of a runtime.

    Raises:
        TypeError, ValueError: a wrong argument, with what was expected.
    """
    tiers = dict(tiers or {})
    for name, model in tiers.items():
        if not isinstance(name, str) or not isinstance(model, (str, Model)):
            raise TypeError(f"Runtime, tiers[{name!r}]: expected 'provider:name' or a Model, got {model!r}")
    _port("palette", palette, Palette)
    if critic is not None and not isinstance(critic, Critic) and not callable(critic):
        raise TypeError(f"Runtime, critic: expected a Critic or a function of a RunInfo, got {critic!r}")
    if budget is not None and not isinstance(budget, Budget):
        if isinstance(budget, (str, bytes)) or not isinstance(budget, Sequence):
            raise TypeError(f"Runtime, budget: expected a Budget or a sequence of Allowance, got {budget!r}")
        budget = FixedBudget(*budget)
    _port("delivery", delivery, Delivery)
    _port("files", files, FileStager)
    _port("artifacts", artifacts, ArtifactStore)
    if prices is not None and not callable(getattr(prices, "cost_usd", None)):
        raise TypeError(f"Runtime, prices: expected Prices (with cost_usd), got {prices!r}")
    return Ports(
        palette=palette if palette is not None else RegisteredPalette(agents, skills),
        tiers=tiers,
        critic=critic,
        budget=budget,
        prices=prices,
        delivery=delivery,
        files=files,
        artifacts=artifacts if artifacts is not None else LazyArtifacts(path),
    )


def check_needs(agents: Sequence[Agent], skills: Sequence[Skill], vault: Vault) -> None:
    """Refuse tools whose secrets nobody registered.

    Raises:
        ValueError: which tool of whom needs which.
    """
    tools = [(f"agent {agent.name!r}", agent.tools) for agent in agents]
    tools += [(f"agent {agent.name!r}", phase.tools or ()) for agent in agents for phase in agent.phases]
    tools += [(f"skill {skill.name!r}", skill.tools) for skill in skills]
    for whose, several in tools:
        for tool in several:
            for name in vault.missing(getattr(tool, "secrets", ())):
                sentence = f"the tool {tool.spec.name!r} of {whose} needs the secret {name!r}"
                raise ValueError(f"Runtime, secrets: {sentence}: Runtime(secrets={{{name!r}: …}})")


def _port(name: str, given: object, port: Any) -> None:
    if given is not None and not isinstance(given, port):
        raise TypeError(f"Runtime, {name}: expected a {port.__name__}, got {given!r}")


class LazyArtifacts:
    """`ports.ArtifactStore` beside the journal (`PATH-artifacts`), made when the first artifact is; without a path, in
    memory.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._store: ArtifactStore | None = None
        self._making = threading.Lock()

    def put(self, content: bytes) -> str:
        """See `ports.ArtifactStore.put`."""
        return self._made().put(content)

    def get(self, sha256: str) -> bytes:
        """See `ports.ArtifactStore.get`."""
        return self._made().get(sha256)

    def forget(self, sha256: str) -> None:
        """Remove an artifact, if it is there."""
        if self._store is None and self._path is not None and not os.path.isdir(f"{os.fspath(self._path)}-artifacts"):  # noqa: PTH112
            return
        store = self._made()
        assert isinstance(store, (DirectoryArtifacts, MemoryArtifacts))
        store.forget(sha256)

    def _made(self) -> ArtifactStore:
        with self._making:
            if self._store is None:
                where = self._path
                stored = where is not None
                self._store = DirectoryArtifacts(f"{os.fspath(where)}-artifacts") if stored else MemoryArtifacts()  # type: ignore[arg-type]
            return self._store


def sealed_ports(ports: Ports, stored: MemoryJournal | SqliteJournal, beside: BesideJournal) -> Ports:
    """The same ports, with what is kept of files sealed as their runs are."""
    if not isinstance(stored, SqliteJournal) or stored.keyring is None:
        return ports
    files = ports.files
    if isinstance(files, (DirectoryStager, MemoryStager)):  # a host's own may need to read what it is given
        files = SealedStager(files, lambda run_id: beside.seal(run_id, new=True, files=True), stored.opening)
    return replace(ports, files=files, artifacts=OpenedArtifacts(ports.artifacts, stored.opening))


class RunReserver:
    """`actors.run.surroundings.Reserver` on the budget desk: it knows what a model call of an agent may take."""

    def __init__(self, desk: BudgetDesk, prices: Prices | None, tiers: Mapping[str, str | Model] | None = None) -> None:
        self._desk = desk
        self._price = None if prices is None else contained(prices)
        self._tiers = tiers or {}

    def reserve(
        self,
        address: Address,
        step: int,
        attempt: int,
        context_tokens: int,
        reply: Callable[[AcceptGrant | AcceptRefusal], None],
    ) -> Cancellable:
        """See `actors.run.surroundings.Reserver`."""
        agent = address.agent
        declared = agent.max_call_tokens
        tokens = declared if declared is not None else context_tokens + REPLY_TOKENS
        info = address.info
        want = Want(
            run_id=info.run_id,
            root_run_id=info.root_run_id,
            step=step,
            attempt=attempt,
            tokens=tokens,
            usd=self._usd(agent, 0 if declared is not None else context_tokens, tokens),
            estimated=declared is None,
        )

        def told(answer: Granted | Refused) -> None:
            if isinstance(answer, Granted):
                reply(AcceptGrant(step=step, attempt=attempt, tokens=answer.tokens, usd=answer.usd))
            else:
                reply(
                    AcceptRefusal(
                        step=step,
                        attempt=attempt,
                        measure=answer.measure,
                        limit=answer.limit,
                        spent=answer.spent,
                        window=answer.window,
                        why=answer.why,
                    )
                )

        return self._desk.reserve(info.caller_id, want, told)

    def give_up(self, run_id: str) -> None:
        """See `actors.run.surroundings.Reserver`."""
        self._desk.give_up(run_id)

    def _usd(self, agent: Agent, context_tokens: int, tokens: int) -> float:
        """What so many tokens may cost at most: with a declared maximum all are taken for output, the dearest kind; an
        estimate takes the context for input.
        """
        if self._price is None:
            return 0.0
        model = agent.model if agent.model is not None else self._tiers.get(agent.tier, "")
        name = model if isinstance(model, str) else model.name
        return self._price(name, Usage(input=context_tokens, output=tokens - context_tokens)) or 0.0


def spent_fact(refused: Refused) -> BudgetExceeded:
    """The fact that the caller's budget has no room."""
    return BudgetExceeded(
        measure=refused.measure, limit=refused.limit, spent=refused.spent, scope="caller", window=refused.window
    )


@dataclass(frozen=True)
class Choices:
    """What the host chooses run by run."""

    record: Callable[[RunInfo], bool] | None
    durable: Callable[[RunInfo], bool] | None

    def __post_init__(self) -> None:
        """Refuse what is no function.

        Raises:
            TypeError: with what was expected.
        """
        for label, choose in (("record", self.record), ("durable", self.durable)):
            if choose is not None and not callable(choose):
                raise TypeError(f"Runtime, {label}: expected a function of a RunInfo, got {choose!r}")

    def of(self, info: RunInfo, record: bool | None, durable: bool | None) -> tuple[bool, bool]:
        """Whether the run is recorded, and durable. A choice that fails is yes: nothing is lost by it.

        Raises:
            TypeError: what was asked for at the start is no bool.
        """
        return _chosen("record", record, self.record, info), _chosen("durable", durable, self.durable, info)


def _chosen(label: str, asked: object, choose: Callable[[RunInfo], bool] | None, info: RunInfo) -> bool:
    if asked is not None:
        if not isinstance(asked, bool):
            raise TypeError(f"start, {label}: expected True, False or None, got {asked!r}")
        return asked
    if choose is None:
        return True
    try:
        chosen: Any = choose(info)
    except Exception:
        log.exception("choosing %s for run %s failed; taken as yes", label, info.run_id)
        return True
    if not isinstance(chosen, bool):
        log.error("choosing %s for run %s: expected True or False, got %r; taken as yes", label, info.run_id, chosen)
        return True
    return chosen


def opened(
    path: str | os.PathLike[str] | None, degrade: bool, encryption: object = None, min_free_mb: float | None = None
) -> tuple[MemoryJournal | SqliteJournal, tuple[str, ...]]:
    """The journal, and for the log of each run why it is only in memory if it should be stored and cannot be.

    Raises:
        JournalError, OSError: it cannot be opened, and the host did not say to go on without it.
        TypeError, ValueError, ExtraMissing: with `encryption` nothing can be sealed, for good.
    """
    sealing = None
    if encryption is not None:
        from .adapters.keys.sources import encryption_of  # imports a library, and only if it is used

        sealing = encryption_of(encryption, "Runtime, encryption")
    try:
        keep = None if min_free_mb is None else round(min_free_mb * (1 << 20))
        return open_journal(path, encryption=sealing, keep_free_bytes=keep), ()
    except (JournalError, OSError) as error:
        if not degrade:
            raise
        log.error("the journal cannot be opened; runs are kept in memory only: %s", error)
        return open_journal(None), (f"this run is kept in memory only: its journal could not be opened: {error}",)


def checked_views(views: Sequence[View] | None) -> None:
    """Refuse what cannot be kept as stored views.

    Raises:
        TypeError, ValueError: with what was expected.
    """
    if views is not None:
        all_definitions(views)


def views_beside(
    stored: MemoryJournal | SqliteJournal, views: Sequence[View] | None, ports: Ports
) -> StoredViews | None:
    """The stored views of a journal; None if it is in memory, where there are none, or the host wants none."""
    if views is None:
        return None
    if isinstance(stored, MemoryJournal):
        if views:
            log.warning("the journal is in memory: no views are stored")
        return None
    purse = None
    if ports.budget is not None and ports.prices is not None:
        purse = (contained(ports.prices), version_of(ports.prices))
    return StoredViews(stored, stored.path, views, reduce=at_rest, purse=purse)


def count_again(desk: BudgetDesk, stored: MemoryJournal | SqliteJournal, stored_views: bool, ports: Ports) -> None:
    """Have the desk count what is in the journal: from the stored views on, where they are to be had."""
    after = 0
    if stored_views and isinstance(stored, SqliteJournal):
        price = None if ports.prices is None else contained(ports.prices)
        found = taken_up_spending(stored, stored.path, price, version_of(ports.prices))
        if found is not None:
            after = found.position
            for caller, ledger, runs in found.ledgers:
                desk.take_up(caller, ledger, runs)
    desk.rebuild(everything(stored, after))


def outbox_so_far(stored: MemoryJournal | SqliteJournal, stored_views: bool) -> tuple[Outbox, int]:
    """What is still to be delivered as the stored views know it, and the position up to which they do."""
    if stored_views and isinstance(stored, SqliteJournal):
        found = taken_up_outbox(stored, stored.path)
        if found is not None:
            return found.outbox, found.position
    return Outbox(), 0


def version_of(prices: Prices | None) -> str:
    """By which a host's prices are known again at its next opening."""
    if prices is None:
        return ""
    kind = type(prices)
    try:
        return f"{kind.__module__}.{kind.__qualname__} {prices.version}"
    except Exception as error:
        log.warning("the version of the prices cannot be told; budgets are counted anew at every opening: %r", error)
        return f"nobody's {os.urandom(16).hex()}"


def signer_of(signing: Signing | None, path: str | os.PathLike[str] | None) -> Signer | None:
    """Who signs for the journal at `path`.

    Raises:
        ExtraMissing, TypeError, ValueError, OSError: what is wrong with the key, or that nothing is stored.
    """
    if signing is None:
        return None
    if not isinstance(signing, Signing):
        raise TypeError(f"Runtime, signing: expected a Signing, got {signing!r}")
    if path is None:
        raise ValueError(
            "Runtime, signing: expected a journal that is stored (path); what is in memory cannot be signed"
        )
    return signing.signer()


def anchors_beside(
    stored: MemoryJournal | SqliteJournal, signer: Signer | None, signing: Signing | None, wall_us: Callable[[], int]
) -> Anchors | None:
    """Signs for a stored journal; None if nobody does."""
    if signer is None or signing is None or isinstance(stored, MemoryJournal):
        return None
    terms = AnchorTerms(signing.every_events, signing.every_s)
    return Anchors(stored, signer, terms, signing.told(), wall_us=wall_us)


def why_spent(refused: BudgetExceeded) -> str:
    """Why a start was refused, for people."""
    return f"the budget ({refused.window}) of {refused.limit:.6g} {refused.measure} is spent: {refused.spent:.6g} used"


def everything(journal: Journal, after: int = 0) -> Iterator[Event]:
    """Every event of a journal with position > `after`, a page at a time."""
    while True:
        page = journal.scan(after=after, limit=PAGE)
        if not page:
            return
        yield from page
        after = page[-1].position


def run_on_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `coroutine` on the runtime's loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop)


def run_on(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
    """The same, and wait for what it returns; cancelled if that is too late."""
    running = run_on_loop(loop, coroutine)
    try:
        result: T = wait(running, timeout, "the attachments are not yet stored")
        return result
    finally:
        running.cancel()


def terms_of(listen: str | Listen | None, critic: object, agents: Sequence[Agent]) -> Listen | None:
    """On which terms a runtime listens, with the critics that other processes provide, if it or its agents have some.

    Raises:
        TypeError, ValueError: they cannot be.
    """
    outside = [one for one in (critic, *(agent.critic for agent in agents)) if isinstance(one, OutsideCritic)]
    if listen is None:
        if outside:
            raise ValueError(
                f"Runtime, critic: {outside[0].name!r} is of another process, which needs Runtime(listen=...)"
            )
        return None
    from .wire.terms import listen_of

    terms = listen_of(listen)
    return replace(terms, critics=tuple(dict.fromkeys((*terms.critics, *outside))))


def wire_of(
    terms: Listen,
    runtime: Runtime,
    stored: MemoryJournal | SqliteJournal,
    agents: Mapping[str, Agent],
    wall_us: Callable[[], int],
) -> HostWire:
    """Open the host's side of the wire; pynng is only imported here.

    Raises:
        ListenRefused, JournalUnavailable: it cannot listen there, or keep what it is ordered.
    """
    from .journal.order_book import SqliteOrderBook
    from .wire.host import HostWire

    where = stored.path if isinstance(stored, SqliteJournal) else None
    book = SqliteOrderBook(where)
    try:
        return HostWire(
            terms,
            runtime,
            stored,
            book,
            path=where or "",
            agents=sorted(agents),
            mask=lambda text: runtime.redactor.text(text),
            wall_us=wall_us,
            program=str(import_module("executus").__version__),  # above this room: not to be imported at its head
        )
    except BaseException:
        book.close()
        raise
