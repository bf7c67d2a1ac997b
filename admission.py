"""The door: what a host passes in, checked and cleaned before anything is made of it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import msgspec
from msgspec import structs

from .actors.address import Address
from .actors.budget_desk import BudgetDesk
from .actors.printing import print_of
from .actors.run.asking import Asked
from .actors.run.intake import WORDS, clean_input
from .actors.run.messages import StartRun
from .actors.supervisor import Admit
from .errors import FileRefused, UnknownAgent
from .events import BudgetExceeded, Image, InputPart, InputStaged, Limits, RunInfo, RunStarted, Text
from .events.clean import clean_json, clean_text
from .handles import as_parts
from .ports import MOST, Agent, Delta, FileStager, InputFile, Model, is_seconds
from .redaction import Redactor
from .wiring import spent_fact

log = logging.getLogger("executus.runtime")

AS_AGENT: Any = object()
"""Default of a limit: the agent's own."""

FOR_EVER_S = 1e9
"""Thirty years: a longer limit is none."""


class Planned(msgspec.Struct):
    """A run about to be started: the order, the attachments that must be staged before, and the host's choices."""

    order: Admit
    files: tuple[InputFile, ...] = ()
    recorded: bool = True
    durable: bool = True


def planned(
    agents: Mapping[str, Agent],
    tiers: Mapping[str, str | Model],
    run_id: str,
    now_us: int,
    *,
    agent: str,
    input: str | Sequence[InputPart],
    caller: str,
    request_id: str,
    name: str,
    subject: str,
    channel: str,
    guild: str,
    inputs: Mapping[str, Any] | None,
    files: Sequence[InputFile],
    interactive: bool,
    dry_run: bool,
    deliver: bool,
    tier: str,
    max_steps: int | None,
    timeout_s: float | None,
    limits: Mapping[str, Any] | None,
    on_delta: Callable[[Delta], None] | None,
) -> Planned:
    """The order to start a run, from what `Runtime.start` was given.

    Everything is checked: a wrong type would be stored, and could never be read again.

    Raises:
        UnknownAgent: none of `agents` has this name.
        TypeError, ValueError: a wrong argument, with what was expected.
    """
    if not isinstance(agent, str):
        raise TypeError(f"start, agent: expected the name of an agent, got {agent!r}")
    found = agents.get(agent)
    if found is None:
        raise UnknownAgent(agent, tuple(agents))
    words = {"caller": caller, "request_id": request_id, "name": name}
    words |= {"subject": subject, "channel": channel, "guild": guild}
    for label, value in words.items():
        if not isinstance(value, str):
            raise TypeError(f"start, {label}: expected a string, got {value!r}")
        words[label] = clean_text(value, WORDS)
    if "\n" in words["caller"]:
        raise ValueError("start, caller: expected one line")
    for label, flag in (("interactive", interactive), ("dry_run", dry_run), ("deliver", deliver)):
        if not isinstance(flag, bool):
            raise TypeError(f"start, {label}: expected True or False, got {flag!r}")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise TypeError(f"start, inputs: expected a mapping, got {inputs!r}")
    if on_delta is not None and not callable(on_delta):
        raise TypeError(f"start, on_delta: expected a function of a Delta, got {on_delta!r}")
    found = in_tier(found, tier, tiers)
    images, others = _sorted_files(files)
    parts = (*clean_input(as_parts("start, input", input)), *images)
    carved = changed_limits("start", found.limits(), {**_given(max_steps, timeout_s), **(limits or {})})
    info = RunInfo(
        run_id=run_id,
        name=words["name"] or found.name,
        subject_id=words["subject"] or found.name,
        caller_id=words["caller"],
        channel_id=words["channel"],
        guild_id=words["guild"],
        model_tier=found.tier,
        inputs=clean_json(dict(inputs or {})),
        request_id=words["request_id"],
        started_at_us=now_us,
        max_iterations=carved.max_steps,
    )
    started = RunStarted(
        info=info,
        agent=print_of(found),
        limits=carved,
        input=parts,
        interactive=interactive,
        dry_run=dry_run,
        deliver=deliver,
    )
    return Planned(Admit(Address(info, found, on_delta), started, Asked(StartRun(started=started))), others)


def _given(max_steps: int | None, timeout_s: float | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if max_steps is not None:
        given["max_steps"] = max_steps
    if timeout_s is not AS_AGENT:
        given["timeout_s"] = timeout_s
    return given


def in_tier(agent: Agent, tier: str, tiers: Mapping[str, str | Model]) -> Agent:
    """The agent with the model of `tier`; itself without one.

    Raises:
        TypeError, ValueError: no such tier.
    """
    if not isinstance(tier, str):
        raise TypeError(f"start, tier: expected a string, got {tier!r}")
    wanted = tier or (agent.tier if agent.model is None else "")
    if not wanted:
        return agent
    if wanted not in tiers:
        have = ", ".join(sorted(tiers)) or "none"
        raise ValueError(f"agent {agent.name!r}: no tier {wanted!r}; Runtime(tiers=...) has: {have}")
    return agent if wanted == agent.tier and agent.model is None else replace(agent, tier=wanted, model=None)


def _sorted_files(files: Sequence[InputFile]) -> tuple[list[InputPart], tuple[InputFile, ...]]:
    """Images for the model, and what is to be staged."""
    images: list[InputPart] = []
    others: list[InputFile] = []
    if isinstance(files, (str, bytes)) or not isinstance(files, Sequence):
        raise TypeError(f"start, files: expected a sequence of InputFile, got {files!r}")
    for file in files:
        if not isinstance(file, InputFile) or not isinstance(file.content, bytes):
            raise TypeError(f"start, files: expected InputFile objects with bytes, got {type(file).__name__}")
        if not isinstance(file.name, str) or not isinstance(file.media_type, str):
            raise TypeError("start, files: expected an InputFile with name and media_type as strings")
        if file.media_type.startswith("image/"):
            images.append(Image(clean_text(file.media_type, WORDS), file.content))
        else:
            others.append(file)
    return images, tuple(others)


def changed_limits(call: str, limits: Limits, changes: Mapping[str, Any]) -> Limits:
    """`limits` with `changes`, by the names of `Limits`.

    Raises:
        TypeError, ValueError: an unknown name, or a value that is no such limit.
    """
    if not isinstance(changes, Mapping):
        raise TypeError(f"{call}, limits: expected a mapping of limits, got {changes!r}")
    if not changes:
        return limits
    checked = dict(changes)
    for label, value in changes.items():
        if label in WHOLE:
            optional = label not in ("max_steps", "max_attempts")
            lowest = 0 if label == "max_depth" else 1
            if not (optional and value is None) and (type(value) is not int or not lowest <= value < MOST):
                raise ValueError(f"{call}, {label}: expected a whole number ≥ {lowest}, got {value!r}")
        elif label in SECONDS:
            if not is_seconds(value):
                raise ValueError(f"{call}, {label}: expected seconds > 0 or None, got {value!r}")
            checked[label] = None if value is not None and value >= FOR_EVER_S else value
        elif label == "max_cost_usd":
            if value is not None and not (type(value) in (int, float) and 0 < value < MOST):
                raise ValueError(f"{call}, {label}: expected dollars > 0 or None, got {value!r}")
        elif label == "notice_at":
            checked[label] = fractions(f"{call}, notice_at", value)
        else:
            known = ", ".join((*WHOLE, *SECONDS, "max_cost_usd", "notice_at"))
            raise ValueError(f"{call}, limits: no limit {label!r}; there are: {known}")
    return structs.replace(limits, **checked)


WHOLE = ("max_steps", "max_attempts", "max_tool_calls", "max_tokens", "max_depth", "raise_steps_to")
SECONDS = ("timeout_s", "soft_timeout_s", "extend_to_s")


def fractions(what: str, value: Any) -> tuple[float, ...]:
    """Fractions between 0 and 1.

    Raises:
        ValueError: something else.
    """
    given: list[Any] = list(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else [None]
    if all(type(one) in (int, float) and 0 < one < 1 for one in given):
        return tuple([float(one) for one in given])
    raise ValueError(f"{what}: expected fractions between 0 and 1, got {value!r}")


def staged(file: InputFile, file_id: Any) -> tuple[InputStaged, Text]:
    """The fact that an attachment was stored, and what the model is told of it.

    Raises:
        FileRefused: the stager answered with no file id.
    """
    if not isinstance(file_id, str) or not file_id:
        raise FileRefused(f"the file stager answered {file_id!r} for {file.name!r}; expected a file id")
    fact = InputStaged(
        file_id=clean_text(file_id, WORDS),
        name=clean_text(file.name, WORDS),
        media_type=clean_text(file.media_type, WORDS),
        size=len(file.content),
        sha256=hashlib.sha256(file.content).hexdigest(),
    )
    told = f"Attached file: {fact.name} ({fact.media_type}, {fact.size} bytes), file id {fact.file_id}"
    return fact, Text(told)


def without_secrets(order: Admit, redactor: Redactor) -> Admit:
    """The same order without secrets in it: its request id, say, is remembered as its log has it."""
    started = redactor.struct(order.started)
    if started is order.started:
        return order
    start, address = order.asked.message, order.address
    assert isinstance(start, StartRun)
    address = Address(started.info, address.agent, address.on_delta)
    return Admit(address, started, Asked(structs.replace(start, started=started)))


async def stage(plan: Planned, stager: FileStager | None, redactor: Redactor) -> Admit:
    """Hand the attachments to the host's stager, by names without secrets; the order then names them. For the runtime's
    loop.

    Raises:
        FileRefused: one was not taken; nothing is started, and those that were are given up.
    """
    try:
        return await _stage(plan, stager, redactor)
    except BaseException:
        await asyncio.to_thread(unstage, plan, stager)
        raise


async def _stage(plan: Planned, stager: FileStager | None, redactor: Redactor) -> Admit:
    started = plan.order.started
    facts: list[InputStaged] = []
    told: list[InputPart] = []
    for file in plan.files if stager is not None else ():
        file = structs.replace(file, name=redactor.file_name(file.name), media_type=redactor.text(file.media_type))
        info, agent = started.info, started.agent
        call = partial(stager.stage, info.run_id, agent.name, file.name, file.media_type, file.content)  # type: ignore[union-attr]
        file_id = await asyncio.to_thread(call)
        if inspect.isawaitable(file_id):
            file_id = await file_id
        fact, text = staged(file, file_id)
        facts.append(fact)
        told.append(text)
    started = structs.replace(started, input=(*started.input, *told))
    start = plan.order.asked.message
    assert isinstance(start, StartRun)
    start = structs.replace(start, started=started, staged=tuple(facts))
    return Admit(plan.order.address, started, Asked(start))


def unstage(plan: Planned, stager: FileStager | None) -> None:
    """Give up the attachments of a run that did not come about, if the host's stager can."""
    forget = getattr(stager, "forget", None)
    if not plan.files or not callable(forget):
        return
    run_id = plan.order.started.info.run_id
    try:
        forget(run_id)
    except Exception:  # what is left behind is the stager's to find; the start has its own answer
        log.warning("the attachments of run %s, which was not started, could not be given up", run_id, exc_info=True)


def is_refused(order: Admit) -> bool:
    """Whether the run is only to be recorded as refused."""
    start = order.asked.message
    return isinstance(start, StartRun) and start.refused is not None


def gated(order: Admit, budgets: BudgetDesk, now_us: int) -> Admit:
    """The same order, paid by its caller's budget; to be recorded as refused if that has nothing left.

    Raises:
        Exception: the host's `Budget` cannot say what the caller may spend.
    """
    caller = order.started.info.caller_id
    if not budgets.allowances(caller):
        return order
    started = structs.replace(order.started, budgeted=True)
    start = order.asked.message
    assert isinstance(start, StartRun)
    order = Admit(order.address, started, Asked(structs.replace(start, started=started)))
    refused = budgets.check(caller, now_us)
    return order if refused is None else over_budget(order, spent_fact(refused))


def over_budget(order: Admit, refused: BudgetExceeded) -> Admit:
    """The same run, to be recorded as refused. Its request id is not used up: asked again later, it may be let in."""
    started = structs.replace(order.started, info=structs.replace(order.started.info, request_id=""))
    address = Address(started.info, order.address.agent)
    start = order.asked.message
    assert isinstance(start, StartRun)
    return Admit(address, started, Asked(structs.replace(start, started=started, refused=refused)))


def agents_by_name(agents: Sequence[Agent]) -> dict[str, Agent]:
    """The agents of a runtime by their names.

    Raises:
        TypeError, ValueError: something else, or two of one name.
    """
    found: dict[str, Agent] = {}
    for agent in agents:
        if not isinstance(agent, Agent):
            raise TypeError(f"Runtime, agents: expected Agent objects, got {agent!r}")
        if agent.name in found:
            raise ValueError(f"Runtime, agents: two agents are named {agent.name!r}")
        found[agent.name] = agent
    return found


def checked_models(models: Mapping[str, Model] | None) -> dict[str, Model]:
    """The models of a runtime by the names that agents use.

    Raises:
        TypeError: one is no `Model`.
    """
    for name, model in (models or {}).items():
        if not isinstance(model, Model):
            raise TypeError(f"Runtime, models[{name!r}]: expected a Model (with name and reply), got {model!r}")
    return dict(models or {})


def run_id_of(call: str, run: object) -> str:
    """The id of a run that a host names by its `Run` or its id.

    Raises:
        TypeError: it is neither; `call` says of what.
    """
    run_id = run if isinstance(run, str) else getattr(run, "id", None)
    if not isinstance(run_id, str):
        raise TypeError(f"{call}: expected a Run or the id of one, got {run!r}")
    return run_id


def page_of(call: str, after: int, limit: int | None) -> None:
    """See that a page may be asked for after `after`, with at most `limit` items.

    Raises:
        ValueError: one of them is no whole number from 0 up.
    """
    for label, number in (("after", after), ("limit", 0 if limit is None else limit)):
        if type(number) is not int or not 0 <= number < MOST:
            raise ValueError(f"{call}, {label}: expected a whole number ≥ 0, got {number!r}")


def at_least_one(label: str, number: int) -> int:
    """`number`, if it is a whole number from 1 up.

    Raises:
        ValueError: it is not; `label` says what was meant.
    """
    if type(number) is not int or not 1 <= number < MOST:
        raise ValueError(f"{label}: expected a whole number ≥ 1, got {number!r}")
    return number
