"""Finds the forms of registered secrets in a text: exactly, and in a time that does not grow with their number.

A form of at least 15 bytes, wherever it stands, covers one whole block of 8 bytes at a multiple of 8. So the blocks of
a text at such places, as numbers, are looked up in the set of all blocks that any form can show there; longer forms
allow for longer steps. Nearly always nothing is found, and the text has no secret. Only the forms whose blocks are
there are then looked for one by one. Forms too short for the step are looked for in every text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from .forms import Form, forms_of
from .secret import mark_of

BLOCK = 8
LONGEST_STEP = 8
"""Blocks from one that is looked at to the next, at most."""

ALL_BLOCKS = 10
"""What looking at every block of a text costs, as measured: so many times as much as looking for one form in it."""

WORTH_A_LOOK = 12
"""Characters of a word that ordinary prose seldom has."""

SHORTEST_PART = 4
"""Characters of a secret that count as a part of it where a text was cut."""

_TABLE = bytes(97 if (chr(byte).isalnum() and byte < 128) or byte in b"_-%\\+/=." else 32 for byte in range(256))

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")

Span: TypeAlias = tuple[int, int, str]
"""Where something is to be masked, and by which mark."""


class Known:
    """The registered values, compiled. Immutable; may be used by many threads."""

    def __init__(self, values: Iterable[tuple[str, str]] = ()) -> None:
        """values: names and values; a name may have several."""
        self.marks: dict[str, str] = {}
        """by the form's text"""
        forms: dict[str, Form] = {}
        for name, value in values:
            for form in forms_of(value):
                forms.setdefault(form.text, form)
                self.marks.setdefault(form.text, mark_of(name))
        self._forms = forms
        by_size = {text: len(text.encode()) for text in forms}
        self._step = _best_step(by_size.values())
        self._short = tuple(text for text, size in by_size.items() if size < _needed(self._step))
        self._blocks = _blocks(self._step, (text for text in forms if text not in self._short))
        self._keys = frozenset(self._blocks)
        words = (max(map(len, form.encode().translate(_TABLE).split()), default=0) for form in forms)
        self._word = b"a" * min(words, default=0)
        """a word as long as one in every form: a text without one has no secret"""
        self.longest = max(map(len, forms), default=0)
        """characters of the longest form"""
        self.shortest = min(map(len, forms), default=0)
        """characters of the shortest one"""
        self._least = min(by_size.values(), default=0)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def spans(self, text: str, data: bytes) -> list[Span]:
        """Where a form of a secret stands in `text`, which is `data` in UTF-8."""
        found = self._candidates(data)
        spans: list[Span] = []
        for form in found:
            place = text.find(form)
            while place >= 0:
                spans.append(self._widened(text, place, form))
                place = text.find(form, place + 1)
        return spans

    def in_bytes(self, data: bytes) -> bytes:
        """`data` with every form masked."""
        for form in self._candidates(data):
            data = data.replace(form.encode(), self.marks[form].encode())
        return data

    def _candidates(self, data: bytes) -> set[str]:
        size = len(data)
        if size < self._least or (len(self._word) >= WORTH_A_LOOK and self._word not in data.translate(_TABLE)):
            return set()
        found = {form for form in self._short if form.encode() in data} if self._short else set[str]()
        if self._step and size >= _needed(self._step):
            view = memoryview(data)[: size - size % BLOCK].cast("Q")
            if not self._keys.isdisjoint(view[:: self._step]):
                for block in self._keys.intersection(view[:: self._step]):
                    found.update(self._blocks[block])
        return found

    def _widened(self, text: str, start: int, form: str) -> Span:
        """With the characters at its ends that hold bits of the secret, and the padding of base64."""
        end, known = start + len(form), self._forms[form]
        if known.lead and start and text[start - 1] in _BASE64:
            start -= 1
        if known.trail and text[end : end + 1] in _BASE64 and end < len(text):
            end += 1
            while text[end : end + 1] == "=":
                end += 1
        return start, end, self.marks[form]

    # -------------------------------------------------------------- parts

    def begun(self, text: str, least: int = 1, forms: Iterable[str] | None = None) -> Span | None:
        """The longest end of `text`, of at least so many characters, with which a form begins and is not complete."""
        best: Span | None = None
        for form in self._forms if forms is None else forms:
            first = max(0, len(text) - len(form) + 1)
            last = len(text) - least if best is None else best[0] - 1
            place = text.find(form[:least], first, last + least)
            while 0 <= place <= last:
                if form.startswith(text[place:]):
                    best = (place, len(text), self.marks[form])
                    break
                place = text.find(form[:least], place + 1, last + least)
        return best

    def ended(self, text: str, least: int = 1) -> Span | None:
        """The longest beginning of `text`, of at least so many characters, with which a form ends, without its own."""
        best: Span | None = None
        for form in self._forms:
            for size in range(min(len(form) - 1, len(text)), max(least, best[1] + 1 if best else least) - 1, -1):
                if text.startswith(form[-size:]):
                    best = (0, size, self.marks[form])
                    break
        return best


def _needed(step: int) -> int:
    """Bytes of a form at least that shows a whole block at every so many blocks; without steps, more than any has."""
    return (step + 1) * BLOCK - 1 if step else 1 << 62


def _best_step(sizes: Collection[int]) -> int:
    """The step at which a text is looked at fastest: a longer one leaves more forms to be looked for one by one."""
    costs = {
        step: ALL_BLOCKS / step + sum(size < _needed(step) for size in sizes) for step in range(1, LONGEST_STEP + 1)
    }
    best = min(costs, key=lambda step: costs[step])
    return best if any(size >= _needed(best) for size in sizes) else 0


def _blocks(step: int, forms: Iterable[str]) -> Mapping[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    if not step:
        return found
    for form in forms:
        data = form.encode()
        for place in range(step * BLOCK):
            [block] = memoryview(data[place : place + BLOCK]).cast("Q")
            if form not in (others := found.get(block, ())):
                found[block] = (*others, form)
    return found
