"""The door: what a host passes in, checked and cleaned before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .actors.address import Address
from .actors.run.actor import Asked
from .actors.run.intake import WORDS, clean_input
from .actors.run.messages import StartRun
from .actors.supervisor import Admit
from .errors import UnknownAgent
from .events import AgentPrint, InputPart, Limits, RunInfo, RunStarted
from .events.clean import clean_json, clean_text
from .handles import as_parts
from .ports import MOST, Agent, Delta, Model, is_seconds

AS_AGENT: Any = object()
"""Default of a limit: the agent's own."""

FOR_EVER_S = 1e9
"""Thirty years: a longer limit is none."""


def planned(
    agents: Mapping[str, Agent],
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
    interactive: bool,
    dry_run: bool,
    max_steps: int | None,
    timeout_s: float | None,
    on_delta: Callable[[Delta], None] | None,
) -> Admit:
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
    if timeout_s is AS_AGENT:
        timeout_s = found.timeout_s
    elif not is_seconds(timeout_s):
        raise ValueError(f"start, timeout_s: expected seconds > 0 or None, got {timeout_s!r}")
    if timeout_s is not None and timeout_s >= FOR_EVER_S:
        timeout_s = None
    for label, flag in (("interactive", interactive), ("dry_run", dry_run)):
        if not isinstance(flag, bool):
            raise TypeError(f"start, {label}: expected True or False, got {flag!r}")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise TypeError(f"start, inputs: expected a mapping, got {inputs!r}")
    if on_delta is not None and not callable(on_delta):
        raise TypeError(f"start, on_delta: expected a function of a Delta, got {on_delta!r}")
    steps = found.max_steps if max_steps is None else at_least_one("start, max_steps", max_steps)
    parts = clean_input(as_parts("start, input", input))
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
        max_iterations=steps,
    )
    started = RunStarted(
        info=info,
        agent=_print_of(found),
        limits=Limits(max_steps=steps, timeout_s=timeout_s, max_attempts=found.max_attempts),
        input=parts,
        interactive=interactive,
        dry_run=dry_run,
    )
    return Admit(Address(run_id, found, on_delta), started, Asked(StartRun(started=started)))


def _print_of(agent: Agent) -> AgentPrint:
    return AgentPrint(
        name=clean_text(agent.name, WORDS),
        model=clean_text(agent.model_name, WORDS),
        instructions=clean_text(agent.instructions),
        tools=tuple(tool.spec.name for tool in agent.tools),
        fingerprint=agent.fingerprint,
    )


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


def at_least_one(label: str, number: int) -> int:
    """`number`, if it is a whole number from 1 up.

    Raises:
        ValueError: it is not; `label` says what was meant.
    """
    if type(number) is not int or not 1 <= number < MOST:
        raise ValueError(f"{label}: expected a whole number ≥ 1, got {number!r}")
    return number
