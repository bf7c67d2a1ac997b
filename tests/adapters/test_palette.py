from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

from executus.adapters.palette.chained import ChainedPalette
from executus.adapters.palette.registered import RegisteredPalette
from executus.ports import Agent, Palette, Skill

ALPHA = Agent("alpha", model="test:a")
OTHER_ALPHA = Agent("alpha", model="test:other")
BETA = Agent("beta", model="test:b")
TRIP = Skill("trip")


class AsyncPalette:
    """A host's own palette, which looks names up elsewhere."""

    def __init__(self, *agents: Agent) -> None:
        self._agents = {agent.name: agent for agent in agents}
        self.asked = 0

    async def agent(self, caller_id: str, name: str) -> Agent | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self._agents.get(name)

    async def skill(self, caller_id: str, name: str) -> Skill | None:
        return None


class BrokenPalette:
    def agent(self, caller_id: str, name: str) -> Agent | None:
        raise ConnectionError("the directory is down")

    def skill(self, caller_id: str, name: str) -> Skill | None:
        raise ConnectionError("the directory is down")


def test_every_palette_is_one() -> None:
    assert isinstance(RegisteredPalette(), Palette)
    assert isinstance(ChainedPalette(), Palette)


# ------------------------------------------------------------------ registered


def test_registered_agents_and_skills_are_found_by_name() -> None:
    palette = RegisteredPalette([BETA, ALPHA], [TRIP])
    assert palette.agent("ann", "alpha") is ALPHA
    assert palette.skill("ann", "trip") is TRIP
    assert palette.agents() == (ALPHA, BETA)
    assert palette.skills() == (TRIP,)


def test_an_agent_is_not_a_skill_of_its_name() -> None:
    palette = RegisteredPalette([ALPHA, Agent("trip", model="test:t")], [TRIP])
    assert palette.skill("ann", "alpha") is None
    assert palette.agent("ann", "gone") is None
    assert palette.skill("ann", "trip") is TRIP


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two agents are named 'alpha'"):
        RegisteredPalette([ALPHA, OTHER_ALPHA])
    with pytest.raises(ValueError, match="two skills are named 'trip'"):
        RegisteredPalette(skills=[TRIP, Skill("trip")])
    palette = RegisteredPalette([ALPHA])
    with pytest.raises(ValueError, match="two agents are named 'alpha'"):
        palette.add(OTHER_ALPHA)
    assert palette.agent("ann", "alpha") is ALPHA


@pytest.mark.parametrize("wrong", ["alpha", None, TRIP])
def test_what_is_no_agent_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected an Agent"):
        RegisteredPalette([wrong])


def test_one_more_can_be_registered_later() -> None:
    palette = RegisteredPalette()
    palette.add(ALPHA)
    palette.add(TRIP)
    assert (palette.agent("ann", "alpha"), palette.skill("ann", "trip")) == (ALPHA, TRIP)
    with pytest.raises(TypeError, match="expected an Agent or a Skill, got 'alpha'"):
        palette.add("alpha")  # type: ignore[arg-type]


def test_the_host_decides_per_caller_what_exists() -> None:
    asked: list[tuple[str, str, str]] = []

    def allow(caller_id: str, kind: str, name: str) -> bool:
        asked.append((caller_id, kind, name))
        return caller_id == "ann"

    palette = RegisteredPalette([ALPHA], [TRIP], allow=allow)
    assert palette.agent("ann", "alpha") is ALPHA
    assert palette.agent("bob", "alpha") is None
    assert palette.skill("bob", "trip") is None
    assert palette.agent("bob", "gone") is None
    assert asked == [("ann", "agent", "alpha"), ("bob", "agent", "alpha"), ("bob", "skill", "trip")]


def test_an_answer_that_is_no_bool_allows_nothing() -> None:
    async def allow(caller_id: str, kind: str, name: str) -> bool:
        return False

    answers: list[Any] = []

    def remembered(caller_id: str, kind: str, name: str) -> Any:
        answers.append(allow(caller_id, kind, name))
        return answers[-1]

    palette = RegisteredPalette([ALPHA], allow=remembered)
    with pytest.raises(TypeError, match="allow: expected a plain function that returns a bool"):
        palette.agent("ann", "alpha")
    answers[0].close()


def test_of_many_threads_that_register_one_name_one_wins() -> None:
    palette = RegisteredPalette()
    barrier = threading.Barrier(8)
    refused: list[str] = []

    def register() -> None:
        barrier.wait(10)
        for number in range(50):
            try:
                palette.add(Agent(f"a{number}", model="test:a"))
            except ValueError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(palette.agents()) == 50
    assert len(refused) == 7 * 50


# ------------------------------------------------------------------ chained


def test_the_first_palette_that_knows_a_name_answers() -> None:
    chain = ChainedPalette(RegisteredPalette([ALPHA]), RegisteredPalette([OTHER_ALPHA, BETA], [TRIP]))
    assert chain.agent("ann", "alpha") is ALPHA
    assert chain.agent("ann", "beta") is BETA
    assert chain.skill("ann", "trip") is TRIP
    assert chain.agent("ann", "gone") is None
    assert ChainedPalette().agent("ann", "alpha") is None


def test_a_palette_further_on_is_not_asked_for_what_is_found() -> None:
    late = AsyncPalette(OTHER_ALPHA)
    assert ChainedPalette(RegisteredPalette([ALPHA]), late).agent("ann", "alpha") is ALPHA
    assert late.asked == 0


@pytest.mark.parametrize(
    ("name", "found"), [("alpha", ALPHA), ("beta", BETA), ("gamma", Agent("gamma", model="test:g")), ("gone", None)]
)
def test_async_palettes_are_awaited_in_their_place(name: str, found: Agent | None) -> None:
    gamma = [] if found is None or found.name != "gamma" else [found]
    chain = ChainedPalette(
        AsyncPalette(ALPHA), RegisteredPalette([OTHER_ALPHA, BETA]), AsyncPalette(OTHER_ALPHA, *gamma)
    )
    answer = chain.agent("ann", name)
    assert inspect.isawaitable(answer)

    async def awaited() -> Agent | None:
        return await answer

    assert asyncio.run(awaited()) is found


def test_a_palette_that_raises_is_not_passed_over() -> None:
    chain = ChainedPalette(BrokenPalette(), RegisteredPalette([ALPHA]))
    with pytest.raises(ConnectionError):
        chain.agent("ann", "alpha")


def test_only_palettes_are_chained() -> None:
    with pytest.raises(TypeError, match="ChainedPalette: expected palettes, got \\{\\}"):
        ChainedPalette({})  # type: ignore[arg-type]
