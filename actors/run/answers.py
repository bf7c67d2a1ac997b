"""Which owed thing a message is the answer to."""

from __future__ import annotations

from typing import Any

from .messages import (
    AcceptChild,
    AcceptGrant,
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptRefusal,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    EndByDeadline,
    ExpireApproval,
    ReachSoftTimeout,
    RetryStep,
)


def answered_key(message: Any) -> str | None:
    """Which owed thing `message` is the answer to, by key."""
    match message:
        case AcceptReply() | AcceptModelFailure():
            return f"model:{message.step}:{message.attempt}"
        case AcceptPlans():
            return f"plan:{message.step}"
        case AcceptResult() | AcceptUnknown():
            return f"tool:{message.call}"
        case AcceptReconciled():
            return f"reconcile:{message.call}:{message.attempt}"
        case RetryStep():
            return f"retry:{message.step}:{message.attempt}"
        case EndByDeadline():
            return f"deadline:{message.at_ms}"
        case ReachSoftTimeout():
            return f"soft:{message.at_ms}"
        case ExpireApproval():
            return f"expiry:{message.call}:{message.at_us}"
        case AcceptGrant() | AcceptRefusal():
            return f"reserve:{message.step}:{message.attempt}"
        case AcceptChild():
            return f"child:{message.call}"
        case _:
            return None
