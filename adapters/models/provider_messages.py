"""Our messages as pydantic-ai's, and its responses as ours. Loaded with the provider's library, at first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from pydantic_ai import ToolDefinition
from pydantic_ai import messages as theirs
from pydantic_ai.models import ModelRequestParameters

from ...events import Image, Message, ReplyPart, StopReason, Text, Thinking, ToolCall, ToolResult, Usage
from ...ports import Delta, ModelRequest, Reply, ToolSpec

_STOPS: dict[str | None, StopReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_call": "tool_calls",
}


def their_tools(tools: Sequence[ToolSpec]) -> ModelRequestParameters:
    """The tools a model may call."""
    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)
            for tool in tools
        ]
    )


def their_messages(messages: Sequence[Message]) -> list[theirs.ModelMessage]:
    """The transcript in turns: all that stands between two replies is one request, as providers want every result of
    a reply's calls in the message after it.
    """
    turns: list[theirs.ModelMessage] = []
    asked: list[theirs.ModelRequestPart] = []
    for message in messages:
        if message.role != "assistant":
            asked.extend(_request_parts(message))
            continue
        if asked:
            turns.append(theirs.ModelRequest(parts=asked))
            asked = []
        turns.append(theirs.ModelResponse(parts=[part for given in message.parts for part in _response_part(given)]))
    if asked:
        turns.append(theirs.ModelRequest(parts=asked))
    return turns


def _request_parts(message: Message) -> list[theirs.ModelRequestPart]:
    parts: list[theirs.ModelRequestPart] = []
    said: list[theirs.UserContent] = []
    for part in message.parts:
        match part:
            case ToolResult():
                outcome: Literal["failed", "success"] = "failed" if part.is_error else "success"
                parts.append(theirs.ToolReturnPart(part.name, part.text, part.id, outcome=outcome))
            case Text() if message.role == "system":
                parts.append(theirs.SystemPromptPart(part.text))
            case Text() | Thinking():
                said.append(part.text)
            case Image() if part.data is not None:
                said.append(theirs.BinaryContent(part.data, media_type=part.media_type))
            case Image():
                said.append(theirs.ImageUrl(part.url or "", media_type=part.media_type or None))
            case ToolCall():
                continue  # only assistants call
    if said:
        parts.append(theirs.UserPromptPart(said))
    return parts


def _response_part(part: object) -> list[theirs.ModelResponsePart]:
    match part:
        case Text():
            return [theirs.TextPart(part.text)]
        case Thinking():
            return [
                theirs.ThinkingPart(
                    part.text,
                    id=part.id,
                    signature=part.signature,
                    provider_name=part.provider,
                    provider_details=part.extra,
                )
            ]
        case ToolCall():
            return [theirs.ToolCallPart(part.name, part.arguments, part.id)]
        case _:
            return []  # an imported assistant message may hold an image; no provider takes it back


def our_reply(response: theirs.ModelResponse) -> Reply:
    """The whole answer. Calls keep the model's JSON text, thinking its signature, as they came."""
    parts: list[ReplyPart] = []
    for part in response.parts:
        match part:
            case theirs.TextPart():
                parts.append(Text(part.content))
            case theirs.ThinkingPart():
                parts.append(
                    Thinking(part.content, part.signature, part.id, part.provider_name, part.provider_details or None)
                )
            case theirs.ToolCallPart():
                parts.append(ToolCall(part.tool_call_id, part.tool_name, _as_text(part.args)))
            case _:
                continue  # files and provider-run tools: nothing in a run asks for them
    return Reply(
        tuple(parts),
        _usage(response),
        _stop(response, any(isinstance(part, ToolCall) for part in parts)),
        response.model_name or "",
        response.provider_response_id or "",
    )


def finish_given(response: theirs.ModelResponse) -> bool:
    """Whether the provider itself said how the reply ended; a stream that broke off has no such word."""
    details = response.provider_details or {}
    return bool(details.get("finish_reason") or details.get("refusal"))


def _stop(response: theirs.ModelResponse, calls: bool) -> StopReason:
    details = response.provider_details or {}
    if details.get("refusal") or details.get("finish_reason") == "refusal":
        return "refusal"
    stop = _STOPS.get(response.finish_reason, "other")
    return "tool_calls" if calls and stop in ("stop", "other") else stop  # some say "stop" with calls


def _usage(response: theirs.ModelResponse) -> Usage:
    used = response.usage
    details = used.details
    thinking = used.output_reasoning_tokens or details.get("reasoning_tokens", 0) or details.get("thinking_tokens", 0)
    return Usage(
        input=used.input_tokens,
        output=used.output_tokens,
        thinking=thinking,
        cache_read=used.cache_read_tokens,
        cache_write=used.cache_write_tokens,
        cost_usd=None if used.cost is None else float(used.cost),
    )


def _as_text(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments or {}, enc_hook=str).decode()


def our_delta(event: theirs.ModelResponseStreamEvent, request: ModelRequest) -> Delta | None:
    """A piece of the reply, if `event` is one a watcher cares for."""
    kind: Literal["text", "thinking", "arguments"]
    text: object
    match event:
        case theirs.PartStartEvent(part=theirs.TextPart(content=text)):
            kind = "text"
        case theirs.PartStartEvent(part=theirs.ThinkingPart(content=text)):
            kind = "thinking"
        case theirs.PartStartEvent(part=theirs.ToolCallPart(args=text)):
            kind = "arguments"
        case theirs.PartDeltaEvent(delta=theirs.TextPartDelta(content_delta=text)):
            kind = "text"
        case theirs.PartDeltaEvent(delta=theirs.ThinkingPartDelta(content_delta=text)):
            kind = "thinking"
        case theirs.PartDeltaEvent(delta=theirs.ToolCallPartDelta(args_delta=text)):
            kind = "arguments"
        case _:
            return None
    if not text:
        return None
    return Delta(kind, text if isinstance(text, str) else _as_text(text), request.step, request.attempt)
