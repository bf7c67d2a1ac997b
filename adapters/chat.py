"""Chat-completions messages <-> our messages. Reading whole files of them is in `recordings`."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from collections.abc import Iterable
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ..events import Image, Message, Part, Role, Text, Thinking, ToolCall, ToolResult
from ..events.clean import clean_text

ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class NotAChatMessage(ValueError):
    """What was read is not a chat-completions message."""


def from_chat(raw: object) -> Message:
    """Return one chat-completions message as ours, its text cleaned; a call's arguments are kept verbatim.

    A tool's result is an error if the message says so: `is_error` is true, or `status` is "error". The format itself
    has no such field, but recorders write these.

    Raises:
        NotAChatMessage: with one sentence that says what was expected, and where in the message.
    """
    if not isinstance(raw, dict):
        raise NotAChatMessage(f"expected a message, an object with 'role' and 'content', got {_shown(raw)}")
    message = cast("dict[str, Any]", raw)
    given = message.get("role")
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise NotAChatMessage(f"role: expected one of {', '.join(ROLES)}, got {_shown(given)}")
    content = message.get("content")
    if role == "assistant":
        return Message(role, _reply(message, content))
    parts = _content(content)
    if not parts:
        raise NotAChatMessage(f"content of a {role} message: expected text or a list of parts, got {_shown(content)}")
    if role == "tool":
        text = "".join(part.text for part in parts if isinstance(part, Text))
        if any(isinstance(part, Image) for part in parts):
            raise NotAChatMessage("content of a tool message: expected text, got an image")
        failed = message.get("is_error") is True or message.get("status") == "error"
        return Message(role, (ToolResult(_text(message, "tool_call_id"), _text(message, "name", ""), text, failed),))
    return Message(role, parts)


def to_chat(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return `messages` as chat-completions messages; what `from_chat` reads back as the same.

    Whether a tool failed, and a model's signed reasoning, have no place in that format and are left out.
    """
    return [_one_to_chat(message) for message in messages]


# ------------------------------------------------------------------ reading


def _reply(message: dict[str, Any], content: object) -> tuple[Part, ...]:
    parts: list[Part] = []
    for key in ("reasoning_content", "reasoning"):
        if isinstance(thought := message.get(key), str) and thought:
            parts.append(Thinking(clean_text(thought)))
            break
    said = _content(content)
    if any(isinstance(part, Image) for part in said):
        raise NotAChatMessage("content of an assistant message: expected text, got an image")
    parts.extend(said)
    if not said and isinstance(refusal := message.get("refusal"), str):
        parts.append(Text(clean_text(refusal)))
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise NotAChatMessage(f"tool_calls: expected a list, got {_shown(calls)}")
    parts.extend(_call(call) for call in cast("list[object]", calls or []))
    return tuple(parts)


def _call(raw: object) -> ToolCall:
    shown = _shown(raw)
    call = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    if not isinstance(call.get("function"), dict):
        raise NotAChatMessage(f"tool_calls: expected objects with 'id' and 'function', got {shown}")
    function = cast("dict[str, Any]", call["function"])
    arguments = function.get("arguments", "{}")
    if not isinstance(arguments, str):  # some recorders store them parsed
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(_text(call, "id"), _text(function, "name"), clean_text(arguments))


def _content(content: object) -> tuple[Text | Image, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(clean_text(content)),)
    if isinstance(content, list):
        return tuple(_part(part) for part in cast("list[object]", content))
    raise NotAChatMessage(f"content: expected text or a list of parts, got {_shown(content)}")


def _part(raw: object) -> Text | Image:
    if not isinstance(raw, dict):
        raise NotAChatMessage(f"content: expected parts with 'type', got {_shown(raw)}")
    part = cast("dict[str, Any]", raw)
    match part.get("type"):
        case "text":
            return Text(clean_text(_text(part, "text")))
        case "refusal":
            return Text(clean_text(_text(part, "refusal")))
        case "image_url":
            image = part.get("image_url")
            return _image(_text(cast("dict[str, Any]", image), "url") if isinstance(image, dict) else image)
        case other:
            raise NotAChatMessage(
                f"content: a part of type {_shown(other)} is not known; known are text, refusal, image_url"
            )


def _image(url: object) -> Image:
    if not isinstance(url, str) or not url:
        raise NotAChatMessage(f"image_url: expected an object with 'url', got {_shown(url)}")
    if not url.startswith("data:"):
        kind = mimetypes.guess_type(urlsplit(url).path)[0] if "://" in url else None
        return Image(kind or "image/*", url=clean_text(url))
    head, comma, encoded = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise NotAChatMessage("image_url: expected data:TYPE;base64,…, got another kind of data URL")
    try:
        return Image(clean_text(head.removesuffix(";base64")), data=base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise NotAChatMessage(f"image_url: its base64 does not decode: {error}") from None


def _text(holder: dict[str, Any], key: str, default: str | None = None) -> str:
    value = holder.get(key, default)
    if value is None and default is not None:
        value = default
    if not isinstance(value, str):
        raise NotAChatMessage(f"{key}: expected text, got {_shown(value)}")
    return clean_text(value)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


# ------------------------------------------------------------------ writing


def _one_to_chat(message: Message) -> dict[str, Any]:
    parts = message.parts
    if message.role == "tool":
        result = cast("ToolResult", parts[0])
        return {"role": "tool", "tool_call_id": result.id, "name": result.name, "content": result.text}
    if message.role != "assistant":
        return {"role": message.role, "content": _content_to_chat(parts)}
    texts = [part.text for part in parts if isinstance(part, Text)]
    chat: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        for part in parts
        if isinstance(part, ToolCall)
    ]
    if calls:
        chat["tool_calls"] = calls
    if thoughts := [part.text for part in parts if isinstance(part, Thinking)]:
        chat["reasoning_content"] = "".join(thoughts)
    return chat


def _content_to_chat(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            url = part.url
            if part.data is not None:
                url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    return content
