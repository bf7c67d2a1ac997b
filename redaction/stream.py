"""A text that is shown while it is made: nothing of a secret is shown, also when it comes in pieces."""

from __future__ import annotations

import re
from typing import Final

from .redactor import Redactor, applied, joined

CONTEXT: Final = 512
"""Characters already shown that are kept, so that a name is known when its value comes."""
LONGEST_WORD: Final = 8_192
"""Characters held back at most, beside those of a registered secret."""

_LAST_WORD: Final = re.compile(r"""[^\s"',;{}()<>|]*\Z""")
_BREAKS: Final = re.compile(r"""[\s"',;{}()<>|]""")
_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9 ]{0,48}-{0,4}|[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,-]*)\Z"
)


class Stream:
    """Takes pieces, gives back what may be shown. The last word is held back until it is complete, and so is whatever
    a registered secret may begin with. Not for several threads at a time.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._shown = 0  # of `_held`: what was shown and is kept for its meaning
        # Secrets that are one word need no look of their own.
        self._phrases = tuple(form for form in redactor.known if _BREAKS.search(form))

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        if self._redactor.idle:
            return piece
        self._held = joined(self._held + piece)
        return self._take(self._safe())

    def close(self) -> str:
        """The rest: nothing more comes."""
        return self._take(len(self._held))

    def _safe(self) -> int:
        text = self._held
        last_word = _LAST_WORD.search(text, max(self._shown, len(text) - LONGEST_WORD))
        safe = len(text) if last_word is None else last_word.start()
        key = _KEY.search(text, max(self._shown, len(text) - LONGEST_WORD))
        if key is not None:
            safe = min(safe, key.start())
        begun = self._redactor.known.begun(text, forms=self._phrases) if self._phrases else None
        return safe if begun is None else min(safe, begun[0])

    def _take(self, cut: int) -> str:
        text = self._held
        if cut <= self._shown:
            return ""
        mine: list[tuple[int, int, str]] = []
        for first, last, mark in self._redactor.spans(text):
            if last > cut and cut < len(text):  # not all of it is there, or it may go on
                cut = min(cut, max(first, self._shown))
            elif last > self._shown:
                mine.append((max(first, self._shown), last, mark))
        shown = applied(text[:cut], [span for span in mine if span[1] <= cut])[self._shown :]
        keep = max(0, cut - CONTEXT)
        self._held, self._shown = text[keep:], cut - keep
        return shown
