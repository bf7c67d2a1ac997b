"""An async host: runs beside the host's own tasks, one that is steered, one that is cancelled, one that is a chat."""

import asyncio

from executus import Agent, ModelRequest, Reply, Runtime, ScriptedModel, Text, tool
from executus.adapters.models.scripted import call


@tool(effect="pure")
async def look_up(topic: str) -> str:
    """Look something up."""
    await asyncio.sleep(0)  # here it would wait for a server
    return f"notes on {topic}"


class Attentive:
    """A stand-in for a model that waits for advice and says what it read."""

    name = "attentive"

    async def reply(self, request: ModelRequest) -> Reply:
        """Answer with what people said so far."""
        if request.step == 1:
            await asyncio.sleep(0.2)  # time enough to be steered
        said = [part.text for message in request.messages if message.role == "user" for part in message.parts]
        return Reply((Text("heard: " + ", ".join(said)),))


class Endless:
    """A stand-in for a model that never comes back."""

    name = "endless"

    async def reply(self, request: ModelRequest) -> Reply:
        """Never answer."""
        await asyncio.Event().wait()
        raise AssertionError


AGENTS = [
    Agent("researcher", model=ScriptedModel([call("look_up", topic="tea"), "Tea is a drink."]), tools=[look_up]),
    Agent("listener", model=Attentive()),
    Agent("stuck", model=Endless()),
    Agent("chat", model=ScriptedModel(["Hello, who are you?", "Nice to meet you."])),
]


async def main() -> None:
    """Start four runs and treat each as its host sees fit."""
    async with Runtime(agents=AGENTS) as rt:
        research = await rt.start_async("researcher", "What is tea?", caller="alice")
        async for event in research.events():
            print(event.version, event.tag)
        print((await research).output)

        listener = await rt.start_async("listener", "Listen.")
        await listener.steer_async("be brief", by="alice")
        print((await listener.result_async(timeout=10)).output)

        stuck = await rt.start_async("stuck", "Begin.")
        await stuck.cancel_async("taking too long", by="alice")
        result = await stuck
        print(result.status, "by", result.by, "-", result.reason)

        chat = await rt.start_async("chat", "Hi!", interactive=True)
        async for event in chat.events():
            if event.tag == "input-awaited" and event.version < 6:
                await chat.send_async("Alice.")
            elif event.tag == "input-awaited":
                await chat.end_async("Bye.")
        for message in chat.transcript():
            print(message.role, *(part.text for part in message.parts))


if __name__ == "__main__":
    asyncio.run(main())
