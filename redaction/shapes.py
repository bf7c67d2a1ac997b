"""Secrets that nobody registered and that show by their shape: a fixed beginning and a long random rest.

Only shapes that ordinary text does not have. The beginnings are those that the issuers document (AWS: unique
identifiers of IAM; GitHub: formats of authentication tokens; GitLab: prefixes of tokens; Slack: token types; Stripe and
Google: API keys; RFC 7468 and RFC 7519 for PEM and JWT), and the lengths those in the rules of gitleaks. A long random
text alone is no shape: hashes and ids are random too.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from .known import Span
from .secret import mark_of

_LEFT = r"(?<![A-Za-z0-9_-])"
_SPACE = r"(?:\s|\\{1,4}[nr])"  # a line's end, also as JSON writes it
_PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rf"(?:{_SPACE}{{1,4}}[A-Za-z-]{{1,24}}: [^\n\\]{{1,100}}){{0,6}}"
    rf"(?:{_SPACE}{{1,6}}[A-Za-z0-9+/=]{{16,}})+"
    rf"(?:{_SPACE}{{1,4}}[A-Za-z0-9+/=]{{1,15}})?"
    rf"(?:{_SPACE}{{1,4}}-----END (?:[A-Z0-9]{{1,20}} ){{0,3}}PRIVATE KEY(?: BLOCK)?-----)?"
)
SHAPES: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("aws-key", ("AKIA", "ASIA"), r"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9_-])"),
    ("github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github-token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{36,255}"),
    ("gitlab-token", ("glpat-", "gldt-", "glrt-", "glptt-"), r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_.-]{20,300}"),
    ("google-key", ("AIza",), r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    ("google-secret", ("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("huggingface-token", ("hf_",), r"hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])"),
    # A digit and a capital: "sk-learn-based-classification" has neither. OpenRouter's are in hex.
    ("model-key", ("sk-",), r"sk-(?=[A-Za-z_-]{0,60}\d)(?=[a-z0-9_-]{0,60}[A-Z])[A-Za-z0-9_-]{20,255}"),
    ("model-key", ("sk-or-",), r"sk-or-v1-[0-9a-f]{64}"),
    ("npm-token", ("npm_",), r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    ("pypi-token", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{50,}"),
    ("slack-token", ("xox",), r"xox[abeoprs]-(?=[A-Za-z-]{0,40}\d)[A-Za-z0-9-]{16,255}"),
    ("slack-token", ("xapp-",), r"xapp-\d-[A-Z0-9]{6,}-\d{6,}-[A-Za-z0-9]{16,}"),
    ("stripe-key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
    ("stripe-key", ("whsec_",), r"whsec_[A-Za-z0-9]{24,}"),
)
"""Name, beginnings, and the shape: one word of at least 20 letters, digits, "_" and "-"."""

_BEGINS: Final = {
    begin.encode(): (name, re.compile(_LEFT + shape)) for name, begins, shape in SHAPES for begin in begins
}
_ANY: Final = tuple(_BEGINS)
_FIRST: Final = frozenset((*(begin[:2] for begin in _ANY), b"ey"))
_DOT: Final = ord(".")
_JWT: Final = re.compile(
    _LEFT + r"eyJ[A-Za-z0-9_-]{10,}\.(?:eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})"
)
_AFTER_A_DOT: Final = (
    ("jwt", "eyJ", _JWT),
    ("google-token", "ya29.", re.compile(_LEFT + r"ya29\.[A-Za-z0-9_-]{24,}")),
    ("sendgrid-key", "SG.", re.compile(_LEFT + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}")),
)
_WEBHOOK: Final = re.compile(r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}")

SHORTEST_SHAPE: Final = 20
"""Characters of a shape at least."""
_IN_WORDS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_TABLE: Final = bytes(97 if byte in _IN_WORDS else 32 for byte in range(256))
LONG_WORD: Final = b"a" * SHORTEST_SHAPE
"""What is in `words_of` a text that has any shape but one."""
PRIVATE_KEY: Final = "PRIVATE KEY"
"""What is in a text that has that one."""


def words_of(data: bytes) -> bytes:
    """`data` with an "a" for every letter, digit, "_" and "-", and a blank for everything else: long words are found in
    it faster than any expression could.
    """
    return data.translate(_TABLE)


def shaped(text: str, data: bytes, words: bytes) -> list[Span]:
    """Where `text` has the shape of a secret. data, words: the text in UTF-8, and `words_of` it."""
    spans: list[Span] = []
    if PRIVATE_KEY in text:
        spans += [_span("private-key", found) for found in _PEM.finditer(text)]
    place = words.find(LONG_WORD)
    if place < 0:
        return spans
    dotted = False
    begun: set[bytes] = set()
    while place >= 0:
        # The leftmost of twenty is the beginning of its word.
        if data[place : place + 2] in _FIRST:
            begun.update(begin for begin in _ANY if data.startswith(begin, place))
            dotted = dotted or data.startswith(b"eyJ", place)
        dotted = dotted or (place > 0 and data[place - 1] == _DOT)
        end = words.find(b" ", place)
        place = words.find(LONG_WORD, end) if end >= 0 else -1
    for begin in begun:
        name, shape = _BEGINS[begin]
        spans += [_span(name, found) for found in shape.finditer(text)]
    for name, sign, shape in _AFTER_A_DOT if dotted else ():
        if sign in text:
            spans += [_span(name, found) for found in shape.finditer(text)]
    if "hooks.slack.com/" in text:
        spans += [_span("slack-webhook", found) for found in _WEBHOOK.finditer(text)]
    return spans


def _span(name: str, found: re.Match[str]) -> Span:
    # Two secrets of a shape stay two; such a value cannot be guessed, so a few bits of its hash tell nothing of it.
    digest = hashlib.sha256(found[0].encode()).hexdigest()[:8]
    return found.start(), found.end(), mark_of(f"{name}#{digest}")
