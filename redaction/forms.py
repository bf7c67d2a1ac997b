r"""How one value may be written: every form in which a registered secret is looked for.

Raw; as JSON writes it, up to three levels deep, with and without \uXXXX; as Python's `repr` writes it; in HTML;
percent-encoded by the rules of several languages, upper and lower case; in hex; and in base64 at each of its three
alignments, so that it is found in the middle of something longer that was encoded as a whole. Only characters that
depend on nothing but the secret are compared: at the ends of a base64 text the neighbours' bits are mixed in.
"""

from __future__ import annotations

import base64
import html
import json
import unicodedata
from collections.abc import Iterable, Iterator

import msgspec

SHORTEST_LINE = 16
"""Of a secret with several lines, such as a key file, lines of so many characters are secrets too."""

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_ALSO_SAFE = (b"", b"/", b"!'()*", b"!'()*;,/?:@&=+$#")
"""What is left as it is: RFC 3986, Python's `quote`, JavaScript's `encodeURIComponent` and `encodeURI`."""


class Form(msgspec.Struct, frozen=True):
    """One way to write a secret. lead, trail: the character before or after it holds bits of the secret too."""

    text: str
    lead: bool = False
    trail: bool = False


def forms_of(value: str) -> list[Form]:
    """Every form of `value`, without repetitions."""
    found: dict[str, Form] = {}
    for base in _bases(value):
        for text in _written(base):
            found.setdefault(text, Form(text))
        for form in _base64(base.encode()):
            found.setdefault(form.text, form)
    return list(found.values())


def _bases(value: str) -> Iterator[str]:
    yield value
    stripped = value.strip()
    yield stripped
    lines = stripped.splitlines()
    if len(lines) > 1:
        yield "\r\n".join(lines)
        yield "\n".join(lines)
        # The frame of a key file is no secret: it is the same in every one.
        yield from (line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----"))
    if not value.isascii():
        yield unicodedata.normalize("NFC", value)
        yield unicodedata.normalize("NFD", value)


def _written(text: str) -> Iterator[str]:
    yield text
    once = set(_json(text))
    twice = {again for one in once for again in _json(one)}
    yield from once
    yield from twice
    yield from (again for one in twice for again in _json(one))
    units = _units(text)
    for case in ("{:04x}", "{:04X}"):
        full = "".join(["\\u" + case.format(unit) for unit in units])
        yield full
        yield full.replace("\\", "\\\\")
    data = text.encode()
    for shown in (repr(text), repr(data)):
        inner = shown[shown.index(shown[-1]) + 1 : -1]
        for one in {inner, inner.replace("\\'", "'")}:
            yield one
            yield from _json(one)
    yield html.escape(text)
    yield html.escape(text, quote=False)
    yield html.escape(text).replace("&#x27;", "&#39;")
    yield text.replace("'", "'\"'\"'")  # as a shell's single quotes have it
    yield text.replace("'", "'\\''")
    for one in {text, *once}:
        yield from _percent(one.encode())
    for case in ("{:02x}", "{:02X}"):
        pairs = [case.format(byte) for byte in data]
        yield "".join(pairs)
        yield "".join(["\\x" + pair for pair in pairs])
        yield "".join(["%" + pair for pair in pairs])


def _json(text: str) -> Iterable[str]:
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    ascii_only = json.dumps(text)[1:-1]
    for one in (plain, ascii_only):
        yield one
        yield one.replace("/", "\\/")
        for hidden in ("<>&", "<>&'"):  # what Go, and what templates for HTML, do not leave as it is
            safe = one
            for character in hidden:
                safe = safe.replace(character, f"\\u{ord(character):04x}")
            yield safe
            yield _upper_escapes(safe)


def _upper_escapes(text: str) -> str:
    parts = text.split("\\u")
    return "\\u".join([parts[0], *(part[:4].upper() + part[4:] for part in parts[1:])])


def _units(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [data[place] << 8 | data[place + 1] for place in range(0, len(data), 2)]


def _percent(data: bytes) -> Iterator[str]:
    for safe in _ALSO_SAFE:
        kept = UNRESERVED | frozenset(safe)
        for case in ("%{:02X}", "%{:02x}"):
            one = "".join([chr(byte) if byte in kept else case.format(byte) for byte in data])
            yield one
            yield one.replace("%20", "+")


def _base64(data: bytes) -> Iterator[Form]:
    for before in range(3):
        text = base64.b64encode(b"\x00" * before + data).decode()
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        lead, trail = before > 0, (before + len(data)) * 8 % 6 > 0
        core = text[first:last]
        written = {core, core.replace("+", "-").replace("/", "_"), core.replace("/", "\\/")}
        written |= {core.replace("+", "%2B").replace("/", "%2F"), core.replace("+", "%2b").replace("/", "%2f")}
        written |= {core.replace("+", "\\u002b").replace("/", "\\u002f"), core.replace("+", "\\u002B")}
        for one in written:
            yield Form(one, lead, trail)
