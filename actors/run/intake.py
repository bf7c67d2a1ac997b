"""The run's intake: every text of a message is cleaned here, before it can become a fact."""

from __future__ import annotations

from typing import assert_never

import msgspec

from ...events import Image, InputPart, ReplyPart, Text, Thinking, ToolCall
from ...events.clean import clean_json, clean_text
from ...ports import Reply
from .messages import (
    AcceptChild,
    AcceptChildWait,
    AcceptGrant,
    AcceptModelFailure,
    AcceptPlans,
    AcceptReconciled,
    AcceptRefusal,
    AcceptReply,
    AcceptResult,
    AcceptUnknown,
    ApproveCall,
    BeginRun,
    CancelRun,
    ChargeReview,
    DenyCall,
    EndByDeadline,
    EndRun,
    EndWithParent,
    ExpireApproval,
    ExtendRun,
    KillRun,
    LogError,
    LogNote,
    LoseCritic,
    NoteSleep,
    ObserveRun,
    RaiseCeiling,
    ReachSoftTimeout,
    ResumeRun,
    RetryStep,
    RunMessage,
    SendInput,
    StartRun,
    SteerRun,
    StoreArtifact,
    ToolPlan,
)

WORDS = 4_096
"""Characters kept of a name, an id or a reason."""


def cleaned(message: RunMessage) -> RunMessage:
    """Return `message` with every text in it cleaned, or itself when all was clean."""
    match message:
        case AcceptReply():
            reply = clean_reply(message.reply)
            refused = any(plan.refusal is not None or plan.approval is not None for plan in message.plans)
            if reply is message.reply and not refused and message.misfit is None:
                return message
            misfit = None if message.misfit is None else clean_text(message.misfit, WORDS)
            return msgspec.structs.replace(message, reply=reply, plans=tuple(map(_plan, message.plans)), misfit=misfit)
        case AcceptPlans():
            return msgspec.structs.replace(message, plans=tuple(map(_plan, message.plans)))
        case AcceptResult():
            text = clean_text(message.text)
            return message if text is message.text else msgspec.structs.replace(message, text=text)
        case AcceptReconciled():
            unknown = None if message.unknown is None else clean_text(message.unknown, WORDS)
            return msgspec.structs.replace(message, text=clean_text(message.text), unknown=unknown)
        case AcceptModelFailure():
            return msgspec.structs.replace(message, error=clean_text(message.error, WORDS))
        case AcceptUnknown():
            return msgspec.structs.replace(message, reason=clean_text(message.reason, WORDS))
        case AcceptRefusal():
            return msgspec.structs.replace(message, why=clean_text(message.why, WORDS))
        case AcceptChild():
            return msgspec.structs.replace(message, output=clean_text(message.output))
        case EndWithParent():
            return msgspec.structs.replace(message, reason=clean_text(message.reason, WORDS))
        case SteerRun() | ObserveRun():
            return msgspec.structs.replace(
                message,
                text=clean_text(message.text),
                by=clean_text(message.by, WORDS),
                evidence=clean_json(message.evidence),
            )
        case KillRun():
            return msgspec.structs.replace(
                message,
                reason=clean_text(message.reason, WORDS),
                by=clean_text(message.by, WORDS),
                evidence=clean_json(message.evidence),
            )
        case ExtendRun() | RaiseCeiling() | LoseCritic() | DenyCall():
            return msgspec.structs.replace(
                message, reason=clean_text(message.reason, WORDS), by=clean_text(message.by, WORDS)
            )
        case ApproveCall() | BeginRun():
            return msgspec.structs.replace(message, by=clean_text(message.by, WORDS))
        case ChargeReview():
            return msgspec.structs.replace(
                message, model=clean_text(message.model, WORDS), by=clean_text(message.by, WORDS)
            )
        case SendInput():
            return SendInput(input=clean_input(message.input), by=clean_text(message.by, WORDS))
        case EndRun():
            return EndRun(input=clean_input(message.input), by=clean_text(message.by, WORDS))
        case CancelRun():
            return CancelRun(by=clean_text(message.by, WORDS), reason=clean_text(message.reason, WORDS))
        case LogNote():
            return LogNote(type=clean_text(message.type, WORDS), payload=clean_json(message.payload))
        case LogError():
            return LogError(message=clean_text(message.message))
        case (
            StartRun()
            | ResumeRun()
            | RetryStep()
            | EndByDeadline()
            | ReachSoftTimeout()
            | AcceptGrant()
            | AcceptChildWait()
            | NoteSleep()
            | ExpireApproval()
            | StoreArtifact()
        ):
            return message
        case _:
            assert_never(message)


def clean_input(parts: tuple[InputPart, ...]) -> tuple[InputPart, ...]:
    """The parts of an input, cleaned."""
    return tuple(_image(part) if isinstance(part, Image) else Text(clean_text(part.text)) for part in parts)


def _image(image: Image) -> Image:
    url = None if image.url is None else clean_text(image.url)
    return Image(clean_text(image.media_type, WORDS), image.data, url)


def clean_reply(reply: Reply) -> Reply:
    """A model's reply, cleaned; the same object when it was clean."""
    parts = tuple(map(_part, reply.parts))
    model, response_id = clean_text(reply.model, WORDS), clean_text(reply.response_id, WORDS)
    same = model is reply.model and response_id is reply.response_id
    if same and all(new is old for new, old in zip(parts, reply.parts, strict=True)):
        return reply
    return Reply(parts, reply.usage, reply.stop, model, response_id)


def _part(part: ReplyPart) -> ReplyPart:
    match part:
        case Text():
            text = clean_text(part.text)
            return part if text is part.text else Text(text)
        case ToolCall():
            call_id, name = clean_text(part.id, WORDS), clean_text(part.name, WORDS)
            arguments = clean_text(part.arguments)
            same = call_id is part.id and name is part.name and arguments is part.arguments
            return part if same else ToolCall(call_id, name, arguments)
        case Thinking():
            return Thinking(
                clean_text(part.text),
                None if part.signature is None else clean_text(part.signature),
                None if part.id is None else clean_text(part.id, WORDS),
                None if part.provider is None else clean_text(part.provider, WORDS),
                None if part.extra is None else clean_json(part.extra),
            )
        case _:
            assert_never(part)


def _plan(plan: ToolPlan) -> ToolPlan:
    if plan.refusal is not None:
        return ToolPlan(plan.effect, clean_text(plan.refusal, WORDS))
    if plan.approval is not None:
        approval = msgspec.structs.replace(plan.approval, question=clean_text(plan.approval.question))
        return msgspec.structs.replace(plan, approval=approval)
    return plan
