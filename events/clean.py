"""The one funnel for text from outside: what passes it can be encoded, stored and sent, always.

A lone surrogate or a NUL that reaches the codec would make it fail *after* a tool ran, and the result would be
lost; so text is cleaned before it becomes a fact. Applied by whoever builds a fact from a message.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

MAX_TEXT = 1 << 20
"""Characters of one text kept in a fact; longer text keeps its head and its tail."""

CUT_MARK = 136
"""Characters that the note about a cut may take; they are part of the limit, so that cutting twice changes nothing."""

MAX_DEPTH = 64
"""Levels of nesting kept in a JSON value."""

MAX_ITEMS = 100_000
"""Items looked into in one JSON value; lists and dicts after that become text."""


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` with lone surrogates and NUL replaced, cut to at most about `limit` characters.

    A cut keeps head and tail and says how much is missing and the SHA-256 of the whole, so that two cut results
    can still be told apart.
    """
    if type(text) is not str:  # a subclass (an enum, say): encoders take the plain kind only
        text = str.__str__(text)
    if text.isascii():
        if "\x00" in text:
            text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
    else:
        if "\x00" in text:
            text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            # utf-16 joins a surrogate pair that was split into two code points, and marks what stays alone.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    half = max(0, limit - CUT_MARK) // 2
    cut = len(text) - 2 * half
    return f"{text[:half]}\n[… {cut} characters left out; sha256 of the whole: {digest} …]\n{text[len(text) - half :]}"


def clean_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a copy of `value` that msgpack and JSON can hold: str, int, float, bool, None, list, dict of str.

    Anything else becomes its cleaned `str()`; nesting deeper than `depth` levels becomes text, and so does what comes
    after `MAX_ITEMS` items (a list that holds itself twice has more than there are atoms); integers outside 64 bits
    and non-finite floats become text, which both encodings can carry.
    """
    return _plain(value, depth, [MAX_ITEMS])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else _describe(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    foreign: Any = value
    if depth > 0 and left[0] > 0:
        if isinstance(value, dict):
            return {clean_text(_describe(key)): _plain(item, depth - 1, left) for key, item in foreign.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(item, depth - 1, left) for item in foreign]
    return clean_text(_describe(value))


def _describe(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # a foreign __str__ may do anything, and a huge int has none
        return f"<{type(value).__name__}: str() failed with {type(error).__name__}>"
