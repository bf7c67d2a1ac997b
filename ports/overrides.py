"""What may be made different in a fork."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..projections.editing import MessageEdit
from .agents import Agent
from .models import Model


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What is to be different in a fork; what is not given is as it was.

    model: "provider:name", a name from `Runtime(models=…)`, or a `Model`. instructions: instead of the conversation's.
    tools: names of the only ones that stay, delegates too. agent: the name of another one of the runtime, or an
    `Agent`; its instructions take the place of the others. limits: by the names of `events.Limits`. messages: changes
    of the conversation (`Reword`, `DropFrom`, `Say`), made one after the other. results: by call ("3.0"), what its tool
    is said to have answered; a call that was not over is then not made.

    A `Model` or `Agent` that is not the runtime's is not there after a restart: the next host looks for their names.
    """

    model: str | Model | None = None
    instructions: str | None = None
    tools: Sequence[str] | None = None
    agent: str | Agent | None = None
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    messages: Sequence[MessageEdit] = ()
    results: Mapping[str, str] = field(default_factory=dict[str, str])
