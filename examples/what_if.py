"""What if it had been told otherwise? A finished run, forked where it went wrong: `python examples/what_if.py`."""

from __future__ import annotations

from executus import Agent, ModelRequest, Overrides, Reply, Runtime, Say, ScriptedModel, tool
from executus.adapters.models.scripted import call, say


@tool(effect="pure")
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: rain"


def answer(request: ModelRequest) -> Reply:
    """An offline stand-in: it asks for the weather, and judges by what it hears."""
    heard = str(request.messages)
    if "rain" in heard or "sun" in heard:
        advice = "Take an umbrella." if "rain" in heard else "Take a hat."
        return say(advice + (" Mind the wind." if "wind" in heard else ""))
    return say("I look.", call("weather", city="Jena"))


def main() -> list[str]:
    """Return what the run said, and what its forks said."""
    agent = Agent("guide", model=ScriptedModel(answer), tools=[weather])
    with Runtime(None, [agent]) as rt:
        run = rt.start("guide", "What shall I take along to Jena?")
        said = [run.result(10).output]
        [at] = [event.version for event in rt.journal.read(run.id) if event.tag == "tool-finished"]

        fork = rt.fork(run, at, overrides=Overrides(results={"1.0": "Jena: sun"}))
        fork.begin(by="ann")
        said.append(fork.result(10).output)

        told = Overrides(messages=[Say("There is a strong wind, too.")], limits={"max_steps": 3})
        windy = rt.fork(run, at, overrides=told, start=True)
        said.append(windy.result(10).output)

        cheap = rt.fork(run, 1, reuse="recorded", start=True)
        said.append(cheap.result(10).output)
        assert [one.id for one in rt.forks(run)] == [fork.id, windy.id, cheap.id]
    return said


if __name__ == "__main__":
    print(main())
