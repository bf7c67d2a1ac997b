"""Tools are typed functions; what runs them, and what a crash means for them, is said once, at the decorator."""

import asyncio
import hashlib
from typing import Annotated

from msgspec import Meta

from executus import Agent, DidNotHappen, Happened, Runtime, ScriptedModel, ToolContext, tool
from executus.adapters.models.scripted import call
from executus.ports import ApprovalTerms

ORDERS: dict[str, str] = {}
BOOK: dict[str, str] = {}
"""Here a dict; a bank's book outlives the host, or asking would be no use."""


@tool(effect="pure")
def count_words(text: Annotated[str, Meta(description="the text to count", min_length=1)]) -> int:
    """Count the words of a text."""
    return len(text.split())


@tool(effect="idempotent", timeout_s=30)
async def order(item: str, context: ToolContext, amount: int = 1) -> str:
    """Order something. Asked twice with the same key, it orders once."""
    await asyncio.sleep(0)  # here it would wait for the shop
    return ORDERS.setdefault(context.key, f"ordered {amount} × {item}")


def find_transfer(context: ToolContext) -> Happened | DidNotHappen:
    """Look the transfer up by its key. It changes nothing, so it may be asked again and again."""
    receipt = BOOK.get(context.key)
    return DidNotHappen() if receipt is None else Happened(receipt)


@tool(effect="reconcilable", reconcile=find_transfer, reconcile_timeout_s=10)
def transfer(to: str, cents: int, context: ToolContext) -> str:
    """Send money. Sent under its key, so that the bank can be asked about it."""
    BOOK[context.key] = f"{cents} cents to {to}"
    return BOOK[context.key]


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
        [call("transfer", to="Bob", cents=7)],
        "done",
    ]
    clerk = Agent("clerk", model=ScriptedModel(script), tools=[count_words, order, grind, refund, transfer])
    with Runtime(agents=[clerk]) as rt:
        run = rt.start("clerk", "Get me some tea.")
        result = run.result(timeout=60)
        for message in run.transcript():
            for part in message.parts:
                print(message.role, part)
        print(result.status, result.output)
