"""Whether a model's last words fit the type that was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from ..events import Text
from ..ports import Reply
from ..ports.saying import said


def misfit(reply: Reply, wanted: Any) -> str | None:
    """Return None if the reply's text, as JSON, fits the type `wanted`, else what the model is told.

    JSON in a fenced block counts as the block's content: many models cannot leave the fence out.
    """
    text = "".join([part.text for part in reply.parts if type(part) is Text])
    try:
        msgspec.json.decode(unfenced(text), type=wanted)
    except Exception as error:  # also what a type's own checks raise; the model can try again
        return f"Your answer must be JSON that fits the schema, and nothing else. It does not: {said(error)}"
    return None


def unfenced(text: str) -> str:
    """`text` without a Markdown fence around all of it."""
    text = text.strip()
    if not (text.startswith("```") and text.endswith("```")) or "\n" not in text:
        return text
    return text.split("\n", 1)[1].rsplit("```", 1)[0].strip()
