"""Secrets that show by the name they stand under: `"password": "…"`, `DB_PASSWORD=…`, `Authorization: Bearer …`,
`scheme://user:…@host`.

Made for precision. A name counts by its last words (`api_key` yes; `primary_key`, `max_tokens`, `keyboard` no), and a
value by how it looks: placeholders, references and words are left alone, and for the less certain names so is
whatever has no digit and letter. So a password of nothing but letters, outside of quotes, is not found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from .known import Span
from .secret import mark_of

LIKELY: Final = 12
"""Characters of a secret at least, under the less certain names."""

SHORTEST_NAMED: Final = 10
"""Characters of a name and what stands under it, or of an address with a password, at least."""

MARK: Final = mark_of("by-name")


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_PLAIN: Final = frozenset(("password", "passwd", "passphrase", "secret", "clientsecret"))
"""Last words of names whose value is a secret whatever it looks like."""
_KINDS: Final = _words(
    "apikey accesskey secretkey privatekey accesstoken authtoken refreshtoken authorization credential",
    "credentials",
)
_KEYS: Final = _words(
    "access account aes api auth deploy encryption hmac master private sas secret service shared signing",
    "ssh storage",
)
"""What a key is of, if it is secret."""
_NO_TOKENS: Final = _words(
    "bad bos cancel cancellation change cls continuation cursor each end eos every fencing first",
    "idempotency input last lock mask max min new next output pad page pagination per prev previous sep",
    "sequence skip special start stop sync unexpected unk unknown upload watch",
)
"""What a token is of, if it is not secret."""
_PLACEHOLDERS: Final = _words(
    "boolean changed changeme correct denied disabled enabled expired false forgot hidden incorrect",
    "invalid masked missing needed nothing number object optional pass passwd password private protected provided",
    "redacted removed required secret string unchanged undefined unknown",
)
_SCHEMES: Final = r"(?:AWS4-HMAC-SHA256|Basic|Bearer|Token|ApiKey|Digest|Negotiate|Bot)\s+"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_REFERENCE: Final = re.compile(
    r"[$<{%*.]|\[|(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*$|(?:your|my|the|example|dummy|test)[-_ ]", re.I
)
_PLAIN_HINTS: Final = ("secret", "passw", "passphrase", "_pwd")
_HINTS: Final = (*_PLAIN_HINTS, "token", "key", "cookie", "credential", "authorization")
_RUN: Final = b"a" * LIKELY
_NAME: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ASSIGNED: Final = re.compile(
    r"""(?P<close>\\{0,3}["'])?\s{0,4}(?:=>|[:=])\s{0,4}(?:(?P<open>\\{0,3}["'])|(?P<bare>(?:"""
    + _SCHEMES
    + r""")?[^\s"'`&;,<>\[\]{}()|\\]{6,4096}))""",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(_SCHEMES, re.IGNORECASE)
_COOKIE: Final = re.compile(r"""\s*:\s*([^\s"'\\=]{1,64}=[^\r\n"'\\]{6,4096})""")
_ADDRESS: Final = re.compile(r"""[a-zA-Z][a-zA-Z0-9+.-]{1,24}://[^\s:/?#@"'<>\\]{0,128}:([^\s/?#@"'<>\\]{3,256})@""")
_LONGEST: Final = 64
_LONGEST_VALUE: Final = 4_096

Certainty = Literal["plain", "likely", ""]


@lru_cache(maxsize=4096)
def certainty(name: str) -> Certainty:
    """Whether what stands under `name` is a secret: whatever it looks like, if it looks like one, or not."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return ""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _PLAIN or (last == "pwd" and before):
        return "plain"
    if last in _KINDS or (last == "key" and before in _KEYS) or (last == "cookie" and before in ("", "set", "session")):
        return "likely"
    if last == "token" and before not in _NO_TOKENS:
        return "likely"
    return ""


def hidden(name: str, value: str) -> str:
    """`value`, which stands under `name` in a mapping, masked if it is a secret."""
    found = certainty(name)
    if not found or len(value) > _LONGEST_VALUE:
        return value
    scheme = _SCHEME.match(value)
    secret = value[scheme.end() :] if scheme else value
    if not _is_secret(secret, found, quoted=True):
        return value
    return f"{value[: len(value) - len(secret)]}{MARK}"


def _is_secret(value: str, found: Certainty, *, quoted: bool) -> bool:
    if len(value) < 6 or "[secret:" in value or value.lower() in _PLACEHOLDERS or _REFERENCE.match(value):
        return False
    if len(set(value)) < 3 or (value.isidentifier() and certainty(value)):  # PASSWORD = "PASSWORD"
        return False
    digit = any("0" <= one <= "9" for one in value)
    if found == "plain":
        return digit or (quoted and not _is_sentence(value))
    return len(value) >= LIKELY and digit and any(one.isalpha() for one in value) and " " not in value


def _is_sentence(value: str) -> bool:
    return value.count(" ") > 3  # a passphrase has a few words, an explanation more


def named(text: str, words: bytes) -> list[Span]:
    """Where `text` has a secret under its name. words: `shapes.words_of` its UTF-8."""
    spans: list[Span] = []
    if "@" in text and "://" in text:
        for found in _ADDRESS.finditer(text):
            value = found[1]
            if "[secret:" not in value and not _REFERENCE.match(value) and value.lower() not in _PLACEHOLDERS:
                spans.append((found.start(1), found.end(1), MARK))
    low = text.lower()
    if len(low) != len(text):  # a few letters become two: places would not fit
        low = "".join([one if len(one) == 1 else "?" for one in map(str.lower, text)])
    done: set[int] = set()
    for hint in _HINTS if _RUN in words else _PLAIN_HINTS:
        place = low.find(hint)
        while place >= 0:
            end = place + len(hint)
            limit = min(len(text), end + _LONGEST)
            while end < limit and text[end] in _NAME:
                end += 1
            if end not in done:
                done.add(end)
                span = _assigned(text, low, place, end)
                if span is not None:
                    spans.append(span)
            place = low.find(hint, end)
    return spans


def _assigned(text: str, low: str, place: int, end: int) -> Span | None:
    start, limit = place, max(0, place - _LONGEST)
    while start > limit and text[start - 1] in _NAME:
        start -= 1
    before = text[start - 1] if start else ""
    if before == ":" or (before == "[" and text.startswith("[secret:", start - 1)):
        return None  # a part of something like an ARN, or a mark
    found = certainty(text[start:end].strip("-."))
    if not found:
        return None
    if low.startswith("cookie", end - 6):
        cookie = _COOKIE.match(text, end)
        return (cookie.start(1), cookie.end(1), MARK) if cookie and "[secret:" not in cookie[1] else None
    assigned = _ASSIGNED.match(text, end)
    if assigned is None:
        return None
    quote = assigned["open"]
    if quote is not None and before in ("'", '"') and assigned["close"] is None:
        return None  # the end of what began before the name: 'Password: '
    if quote is None:
        first, last = assigned.span("bare")
        if text[last : last + 1] in ("(", "["):  # code
            return None
        while last > first and text[last - 1] in ".:":  # a sentence's end
            last -= 1
    else:
        first = assigned.end()
        last = _closing(text, first, quote)
        if last < 0:
            return None
    scheme = _SCHEME.match(text, first, last)
    if scheme is not None:
        first = scheme.end()
    if not _is_secret(text[first:last], found, quoted=quote is not None):
        return None
    return first, last, MARK


def _closing(text: str, first: int, quote: str) -> int:
    """Where the text that began with `quote` ends; -1 if it does not, or is too long for a secret."""
    limit = min(len(text), first + _LONGEST_VALUE)
    place = text.find(quote, first, limit)
    if len(quote) > 1:
        return place
    while place > first:
        slashes = 0
        while text[place - 1 - slashes] == "\\":
            slashes += 1
        if slashes % 2 == 0:
            return place
        place = text.find(quote, place + 1, limit)
    return place
