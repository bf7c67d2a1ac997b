"""The tutorial's fix and its test: a tool that refuses what the agent must not do, played against the bad run.

`changed-flight-tape.json` was made by `executus cassette`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from executus import Runtime, Tool, ToolContext, tool
from executus.events import InputAwaited, ToolFinished
from executus.testing import cassette

TAPE = Path("changed-flight-tape.json")
TODAY = "2024-05-15"
"""The day on which the recorded conversation took place."""


def guarded(look_up: Any, change: Any) -> list[Tool]:
    """The airline's two tools, with the rule that a trip which has begun is not changed by an agent."""
    begun: set[str] = set()

    @tool(effect="pure")
    async def get_reservation_details(reservation_id: str, context: ToolContext) -> str:
        """Get the details of a reservation."""
        found = await look_up.call(json.dumps({"reservation_id": reservation_id}), context)
        if any(flight["date"] < TODAY for flight in json.loads(found)["flights"]):
            begun.add(reservation_id)
        return found

    @tool(effect="never_retry")
    async def update_reservation_flights(
        reservation_id: str, cabin: str, flights: list[dict[str, Any]], payment_id: str, context: ToolContext
    ) -> str:
        """Change the flights of a reservation: all of them are given."""
        if reservation_id in begun:
            raise ValueError(f"{reservation_id} is partly flown and cannot be changed; transfer to a human agent")
        asked = {"reservation_id": reservation_id, "cabin": cabin, "flights": flights, "payment_id": payment_id}
        return await change.call(json.dumps(asked), context)

    return [get_reservation_details, update_reservation_flights]


def test_a_trip_that_has_begun_is_not_changed() -> None:
    """The recorded model asks for the same four changes; today not one of them gets through."""
    with cassette(TAPE, strict=False) as tape:
        recorded = {one.spec.name: one for one in tape.tools}
        guards = guarded(recorded["get_reservation_details"], recorded["update_reservation_flights"])
        tools = [*(recorded | {one.spec.name: one for one in guards}).values()]
        left = list(tape.said)
        results: list[str] = []
        with Runtime(agents=[tape.agent(tools=tools)]) as rt:
            run = rt.start("recorded", tape.input, interactive=True)
            for event in run.events():
                match event.fact:
                    case InputAwaited() if len(left) > 1:
                        run.send(left.pop(0))
                    case InputAwaited():
                        run.end(left.pop(0))
                    case ToolFinished(result=result) if "cannot be changed" in result:
                        results.append(result)
                    case _:
                        pass
            assert run.result(timeout=30).status == "ok"
    assert results == ["ValueError: XEWRD9 is partly flown and cannot be changed; transfer to a human agent"] * 4
