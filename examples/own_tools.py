"""Tools are typed functions; what runs them, and what a crash means for them, is said once, at the decorator."""

import asyncio
import hashlib
from typing import Annotated

from msgspec import Meta

from executus import Agent, Runtime, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.ports import ApprovalTerms

ORDERS: dict[str, str] = {}


@tool(effect="pure")
def count_words(text: Annotated[str, Meta(description="the text to count", min_length=1)]) -> int:
    """Count the words of a text."""
    return len(text.split())


@tool(effect="idempotent", timeout_s=30)
async def order(item: str, context: ToolContext, amount: int = 1) -> str:
    """Order something. Asked twice with the same key, it orders once."""
    await asyncio.sleep(0)  # here it would wait for the shop
    return ORDERS.setdefault(context.key, f"ordered {amount} × {item}")


@tool(effect="pure", mode="process", timeout_s=30)
def grind(rounds: int) -> str:
    """Compute for long: in a child process, which is killed at the timeout or when the run is stopped."""
    digest = b""
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def large(customer: str, cents: int) -> ApprovalTerms | None:
    """Up to 10 € a refund may just start; above, somebody has a day to say yes."""
    if cents <= 1000:
        return None
    return ApprovalTerms(expires_s=86_400, question=f"Refund {cents / 100:.2f} € to {customer}?")


@tool(effect="idempotent", approval=large)
def refund(customer: str, cents: int) -> str:
    """Give a customer money back."""
    return f"{customer} got {cents} cents back"


if __name__ == "__main__":
    script = [
        [call("count_words", text="one two three"), call("order", item="tea", amount="2"), call("grind", rounds=1000)],
        [call("count_words", words="wrong"), call("refund", customer="Ada", cents=500)],
        "done",
    ]
    clerk = Agent("clerk", model=ScriptedModel(script), tools=[count_words, order, grind, refund])
    with Runtime(agents=[clerk]) as rt:
        run = rt.start("clerk", "Get me some tea.")
        result = run.result(timeout=60)
        for message in run.transcript():
            for part in message.parts:
                print(message.role, part)
        print(result.status, result.output)
