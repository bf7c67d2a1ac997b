"""A model of your own is an object with a name and `reply`: plain, or async."""

import asyncio

from executus import Agent, ModelRequest, ModelUnavailable, Reply, Runtime, Text


class Shout:
    """A plain model: runs on the runtime's threads, so it may block."""

    name = "shout"

    def reply(self, request: ModelRequest) -> Reply:
        """Repeat the last message, louder."""
        last = request.messages[-1]
        return Reply((Text(" ".join(part.text.upper() for part in last.parts if isinstance(part, Text))),))


class Patient:
    """An async model: runs on the runtime's loop, and its task is cancelled when the run is stopped."""

    name = "patient"

    async def reply(self, request: ModelRequest) -> Reply:
        """Answer at the second attempt."""
        await asyncio.sleep(0)  # here it would wait for a server
        if request.attempt == 1:
            raise ModelUnavailable("warming up", retry_after_s=0.01)  # the run waits and asks again
        return Reply((Text("here I am"),))


if __name__ == "__main__":
    agents = [Agent("shout", model=Shout()), Agent("patient", model=Patient())]
    with Runtime(agents=agents) as rt:
        for agent in agents:
            run = rt.start(agent.name, "hello")
            print(agent.name, run.result(timeout=60).output, [event.tag for event in run.events()])
