"""Who works for this host: its agents, what they may call, what callers may spend, and who watches."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import stand_ins
from msgspec import Meta

from executus import (
    Agent,
    Allowance,
    ApprovalTerms,
    Delegate,
    Model,
    ModelCritic,
    Progress,
    StuckCritic,
    self_status,
    tool,
)
from executus.adapters.budgets import PerCaller
from executus.adapters.critics.several import Critics
from executus.adapters.palette.chained import ChainedPalette
from executus.adapters.palette.folders import SkillFolders
from executus.adapters.palette.registered import RegisteredPalette
from executus.adapters.prices import FixedPrices, GenaiPrices
from executus.adapters.tools.files import read_attachment, save_artifact
from executus.ports import Palette, Prices

log = logging.getLogger("heavy_host")

SKILLS = Path(__file__).parent / "skills"


# ------------------------------------------------------------------ tools


@tool(effect="pure")
async def look_up(topic: str) -> str:
    """Look a topic up in the notes of the house."""
    return f"Notes on {topic!r}: nothing is known that would speak against it."


@tool(effect="pure")
async def watch(seconds: Annotated[float, Meta(gt=0, le=86_400)]) -> str:
    """Watch the house for so many seconds."""
    await asyncio.sleep(seconds)
    return f"watched for {seconds:g} seconds; all is quiet"


@tool(effect="idempotent", approval=ApprovalTerms(expires_s=7 * 86_400, question="May this be published?"))
async def publish(text: str) -> str:
    """Publish a text. Somebody has to say yes first."""
    return f"published: {text}"


# ------------------------------------------------------------------ agents


def _told(news: Progress) -> None:
    log.info("%s child %s: %s", news.emoji, news.run_id, news.event)


def team(model: str | None) -> list[Agent]:
    """The agents, all with the real `model`, or each with its stand-in."""
    desk = Agent(
        "desk",
        model=model or stand_ins.DESK,
        instructions="You are the front desk of a small house. Use your tools, hand research to the researcher and "
        "writing to the writer, and keep files that people should receive with save_artifact. Be brief.",
        tools=[look_up, watch, publish, read_attachment, save_artifact, self_status],
        agents=[
            Delegate("researcher", tier="small", max_steps=6, max_tool_calls=8, on_progress=_told),
            Delegate("writer", prefix="Write a short report from these notes.\n", timeout_s=300, on_progress=_told),
        ],
        skills=[Delegate("headline", tier="small", max_steps=2)],
        max_steps=30,
        timeout_s=3600,
        soft_timeout_s=900,
        max_tool_calls=40,
    )
    researcher = Agent(
        "researcher",
        tier="small",
        description="Looks things up and says what it found.",
        instructions="Look things up with your tool. Answer with what you found and nothing else.",
        tools=[look_up],
        max_steps=8,
        timeout_s=600,
    )
    writer = Agent(
        "writer",
        model=model or stand_ins.WRITER,
        description="Writes a short report from notes.",
        instructions="Write what you are asked for and nothing else.",
        max_steps=4,
        timeout_s=600,
    )
    return [desk, researcher, writer]


def tiers(model: str | None) -> dict[str, str | Model]:
    """The model behind each tier."""
    return {"small": model or stand_ins.SMALL, "large": model or stand_ins.DESK}


def palette(agents: list[Agent]) -> Palette:
    """Who may call whom: everybody the researcher and the skills, only those who pay the writer."""
    registered = RegisteredPalette(agents, allow=lambda caller, kind, name: name != "writer" or caller != "trial")
    return ChainedPalette(registered, SkillFolders(SKILLS, tools={"look_up": look_up}))


# ------------------------------------------------------------------ supervision and money


def critic(model: str | None) -> Critics:
    """Rules for what turns in circles, and a model for the rest."""
    return Critics(StuckCritic(), ModelCritic(model or stand_ins.JUDGE, every_s=300, every_steps=3))


def budget() -> PerCaller:
    """What each caller may spend; who is not named here may spend nothing."""
    paying = [Allowance(window="day", tokens=500_000, cost_usd=5.0), Allowance(window="run", tool_calls=60)]
    return PerCaller(
        {"alice": paying, "bob": paying, "trial": [Allowance(window="day", tokens=2_000)]},
        otherwise=[Allowance(window="total", tokens=0)],
    )


def prices(model: str | None) -> Prices:
    """Real prices for a real model; those of the stand-ins are made up."""
    if model is not None:
        return GenaiPrices()
    names = [one.name for one in (stand_ins.DESK, stand_ins.WRITER, stand_ins.SMALL, stand_ins.JUDGE)]
    return FixedPrices(dict.fromkeys(names, (1.0, 4.0)), version="made up")
