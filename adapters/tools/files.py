"""The ready tools `read_attachment` and `save_artifact`: text that comes with a run, and text that it makes."""

from __future__ import annotations

import codecs
from typing import Annotated, Any

from msgspec import Meta

from ...errors import FileRefused
from ...ports import Desk, ToolContext
from ..files.names import checked_media_type, checked_name, shown
from .functions import tool

LONGEST_PART = 100_000
"""Characters of an attachment that one call reads, at most."""


@tool(effect="pure")
def read_attachment(
    file_id: Annotated[str, Meta(description="the id under which the attachment was announced")],
    context: ToolContext,
    offset: Annotated[int, Meta(ge=0, description="the first character to read")] = 0,
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PART, description="how many characters to read")] = 20_000,
) -> str:
    """Read an attachment of this run that is text. A long one is read in parts: each says where the next begins."""
    text = _text(_desk(context).open_file(file_id), file_id)
    end = min(offset + limit, len(text))
    if offset >= len(text):
        return f"[{len(text)} characters in all: nothing at offset {offset}]"
    part = text[offset:end]
    if len(part) == len(text):
        return part
    more = f"; the next part: offset={end}" if end < len(text) else ", the end"
    return f"{part}\n[characters {offset} to {end - 1} of {len(text)}{more}]"


@tool(effect="idempotent")
def save_artifact(
    name: Annotated[str, Meta(description="a file name, without a folder")],
    text: Annotated[str, Meta(description="the whole content")],
    context: ToolContext,
    media_type: Annotated[str, Meta(description="such as text/plain, text/markdown, application/json")] = "text/plain",
) -> dict[str, Any]:
    """Store a text file as a result of this run; whoever started the run receives it."""
    content = text.encode()
    address = _desk(context).keep(checked_name(name), content, checked_media_type(media_type))
    return {"name": name, "bytes": len(content), "sha256": address}


def _desk(context: ToolContext) -> Desk:
    if context.desk is None:
        raise FileRefused("where this tool runs, the files of the run cannot be reached")
    return context.desk


def _text(content: bytes, file_id: str) -> str:
    """The content as text.

    Raises:
        FileRefused: it is not text: a model can do nothing with bytes, and the window is too dear for them.
    """
    # UTF-16 always begins with its mark; without one it cannot be told from binary.
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # no text has one, and most other files do
        kind = f"{len(content)} bytes that are not text in UTF-8 or UTF-16"
        raise FileRefused(f"attachment {shown(file_id)}: {kind}; it needs a tool made for its kind of file")
    return text
