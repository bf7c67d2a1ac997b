"""The funnel: masks secrets in texts, in JSON values, and in every text of a message or a fact."""

from __future__ import annotations

import operator
import re
import typing
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec

from .known import SHORTEST_PART, Known, Span
from .names import SHORTEST_NAMED, hidden, named
from .shapes import LONG_WORD, PRIVATE_KEY, SHORTEST_SHAPE, shaped, words_of

Mask: TypeAlias = Literal["shapes", "names"]
"""What is masked beside registered values: what has the shape of a secret, and what stands under the name of one."""
MASKS: Final[tuple[Mask, ...]] = ("shapes", "names")

ROUNDS: Final = 8
"""How often a text is looked at again after something in it was masked: a mark may stand beside a part of a secret."""
REMEMBERED: Final = 1 << 20
"""Characters of texts that are remembered as clean: each is looked at as part of a message, and again of a fact."""
SEEN: Final = 512
"""Tuples that are remembered as clean, for the same reason, and no longer than their texts."""
MAX_DEPTH: Final = 80
_CUT: Final = "characters left out; sha256 of the whole: "
_CUT_MARK: Final = re.compile(rf"\n\[… \d+ {_CUT}[0-9a-f]{{64}} …\]\n")

_PLAIN: Final = frozenset((int, float, bool, type(None)))
_FLAT: Final = _PLAIN | {str, bytes}

IDS: Final = frozenset(
    (
        *("call", "caller_id", "channel_id", "file_id", "guild_id", "id", "key", "name", "parent_run_id", "request_id"),
        *("response_id", "root_run_id", "run_id", "source", "subject_id"),
    )
)
"""Fields by which things are told apart: what merely stands under a name there is left, or two would become one."""
OPAQUE: Final = frozenset(("extra", "fingerprint", "hash", "sha256", "signature"))
"""Fields that only their maker can read: random text, in which only registered values are masked."""

T = TypeVar("T")
Way: TypeAlias = Literal["text", "id", "opaque"]


class Redactor:
    """Masks secrets. values: registered ones, by name; a name may come several times. masks: what else is masked.

    Immutable but for what it remembers; may be used by many threads. What was masked once stays as it is.
    """

    def __init__(self, values: Iterable[tuple[str, str]] = (), masks: Collection[Mask] = MASKS) -> None:
        self.known = Known(values)
        self._shapes, self._names = "shapes" in masks, "names" in masks
        sizes = {"opaque": [self.known.shortest] if self.known else []}
        sizes["id"] = [*sizes["opaque"], *([SHORTEST_SHAPE] if self._shapes else [])]
        sizes["text"] = [*sizes["id"], *([SHORTEST_NAMED] if self._names else [])]
        self.idle = not (self.known or self._shapes or self._names)
        """whether there is nothing that it would mask"""
        self._least = {way: min(several, default=1 << 62) for way, several in sizes.items()}
        """by way: characters of a text at least that has something to be masked"""
        self._clean: dict[tuple[int, Way], str] = {}
        self._kept = 0
        self._seen: dict[int, tuple[Any, ...]] = {}

    # -------------------------------------------------------------- texts

    def text(self, text: str) -> str:
        """`text` with every secret in it masked; the same object if there is none."""
        return self._masked(text, "text")

    def identifier(self, text: str) -> str:
        """The same for a text by which things are told apart, see `IDS`."""
        return self._masked(text, "id")

    def file_name(self, text: str) -> str:
        """The same for the name of a file, in which no mark may have a colon."""
        masked = self._masked(text, "id")
        return text if masked is text else masked.replace("[secret:", "[secret-")

    def spans(self, text: str, way: Way = "text") -> list[Span]:
        """Where `text` is to be masked: in order, without overlaps. It has no lone surrogates."""
        data = text.encode()
        spans = self.known.spans(text, data) if self.known else []
        if way != "opaque" and (self._shapes or self._names):
            words = words_of(data)
            if self._shapes and (LONG_WORD in words or PRIVATE_KEY in text):
                spans += shaped(text, data, words)
            if self._names and way == "text" and ("=" in text or ":" in text):
                spans += named(text, words)
        if self.known and _CUT in text:
            spans += self._parts(text)
        return merged(spans) if spans else spans

    def _masked(self, text: str, way: Way) -> str:
        if len(text) < self._least[way]:
            return text
        if self._clean.get((id(text), way)) is text:
            return text
        text = joined(text)
        for _ in range(ROUNDS):
            spans = self.spans(text, way)
            if not spans:
                break
            text = applied(text, spans)
        self._kept += len(text)
        if self._kept > REMEMBERED:
            self._clean, self._seen, self._kept = {}, {}, len(text)
        self._clean[id(text), way] = text
        return text

    def _parts(self, text: str) -> list[Span]:
        """What is left of a secret where a text was cut before it came here."""
        spans: list[Span] = []
        for cut in _CUT_MARK.finditer(text):
            longest = self.known.longest
            before = max(0, cut.start() - longest)
            begun = self.known.begun(text[before : cut.start()], SHORTEST_PART)
            if begun is not None:
                spans.append((begun[0] + before, begun[1] + before, begun[2]))
            ended = self.known.ended(text[cut.end() : cut.end() + longest], SHORTEST_PART)
            if ended is not None:
                spans.append((cut.end(), cut.end() + ended[1], ended[2]))
        return spans

    # -------------------------------------------------------------- values

    def data(self, value: T, way: Way = "text", depth: int = MAX_DEPTH) -> T:
        """A JSON value with every secret in it masked, in keys too; the same object if there is none."""
        masked: Any = self._value(value, way, depth)
        return masked  # type: ignore[no-any-return]

    def struct(self, value: T) -> T:
        """A fact with every secret in it masked; the same object if there is none."""
        masked: Any = value if self.idle else self._struct(value, MAX_DEPTH)
        return masked  # type: ignore[no-any-return]

    def texts(self, value: T) -> T:
        """A message with every secret in its texts masked, and its JSON values left for later: until they are cleaned
        they may hold anything, themselves among it.
        """
        masked: Any = value if self.idle else self._struct(value, MAX_DEPTH, json=False)
        return masked  # type: ignore[no-any-return]

    def _value(self, value: Any, way: Way, depth: int, json: bool = True) -> Any:
        kind = cast("Any", type(value))  # pyright: ignore[reportUnknownArgumentType]
        if kind is str:
            return self._masked(value, way)
        if depth <= 0 or kind in _PLAIN:
            return value
        if kind is tuple or kind is list:
            return self._several(value, way, depth, json)
        if kind is dict:
            return self._dict(value, way, depth) if json else value
        if kind is bytes:
            return self.known.in_bytes(value) if self.known else value
        if isinstance(value, msgspec.Struct):
            return self._struct(value, depth, json)
        if isinstance(value, str):
            return self._masked(str.__str__(value), way)
        return value

    def _several(self, value: Any, way: Way, depth: int, json: bool) -> Any:
        seen = self._seen
        if seen.get(id(value)) is value:
            return value
        new = [self._value(one, way, depth - 1, json) for one in value]
        if type(value) is list:
            return new if any(one is not old for one, old in zip(new, value, strict=True)) else value  # pyright: ignore
        if len(new) > 1:
            joined = _texts(new)
            if joined:
                self._join(new, joined)
        if any(map(operator.is_not, new, value)):
            value = tuple(new)
        # Else not all of it may have been looked at.
        if depth > MAX_DEPTH // 2 and (json or all(map(_is_flat, new))):
            if len(seen) >= SEEN:
                self._seen = seen = {}
            seen[id(value)] = value
        return value

    def _dict(self, value: dict[Any, Any], way: Way, depth: int) -> dict[Any, Any]:
        new: dict[Any, Any] = {}
        same = True
        for key, item in value.items():
            masked = self._value(item, way, depth - 1)
            if self._names and way == "text" and type(masked) is str and isinstance(key, str):
                masked = hidden(key, masked)
            name = self._value(key, way, 1) if isinstance(key, str) else key
            same = same and masked is item and name is key
            new[name] = masked
        return value if same else new

    def _struct(self, value: Any, depth: int, json: bool = True) -> Any:
        changes: dict[str, Any] | None = None
        least = self._least
        for name, way in _fields.get(value.__class__) or texts_of(value):
            old = getattr(value, name)
            if type(old) is str:
                if len(old) < least[way]:
                    continue
                new = self._masked(old, way)
            elif old is None or old == ():
                continue
            else:
                new = self._value(old, way, depth - 1, json)
            if new is not old:
                changes = changes or {}
                changes[name] = new
        if changes is None:
            return value
        if "text" in changes and hasattr(value, "signature"):
            changes["signature"] = None  # it is of the words as they were, and would be refused
        return msgspec.structs.replace(value, **changes)

    def _join(self, parts: list[Any], places: list[int]) -> None:
        """Mask what stands across several texts of one message: what is shown of them is their sum."""
        whole = "".join([parts[place].text for place in places])
        spans = self.spans(whole)
        if not spans:
            return
        begin = 0
        for place in places:
            text = parts[place].text
            end = begin + len(text)
            mine = [
                (max(first, begin) - begin, min(last, end) - begin, mark if first >= begin else "")
                for first, last, mark in spans
                if first < end and last > begin
            ]
            if mine:
                parts[place] = self._struct(msgspec.structs.replace(parts[place], text=applied(text, mine)), 2)
            begin = end


def _is_flat(part: Any) -> bool:
    """Whether it is a struct that holds no other values."""
    fields: tuple[str, ...] = getattr(part, "__struct_fields__", ())
    return bool(fields) and all(type(getattr(part, name)) in _FLAT for name in fields)


def _texts(parts: list[Any]) -> list[int]:
    """Where the parts of a message are that are nothing but text, if there are several."""
    found = [place for place, part in enumerate(parts) if getattr(part, "__struct_fields__", None) == ("text",)]
    return found if len(found) > 1 else []


_fields: dict[Any, tuple[tuple[str, Way], ...]] = {}


def texts_of(value: Any) -> tuple[tuple[str, Way], ...]:
    """The fields of a struct that may hold text from outside, and how each is looked at."""
    found = _fields.get(value.__class__)
    if found is None:
        found = _fields[value.__class__] = _texts_of(value.__class__)
    return found


def _texts_of(kind: Any) -> tuple[tuple[str, Way], ...]:
    hints = typing.get_type_hints(kind)
    found: list[tuple[str, Way]] = []
    for name in kind.__struct_fields__:
        if not _holds_text(hints[name]):
            continue
        way: Way = "opaque" if name in OPAQUE else "id" if name in IDS else "text"
        found.append((name, way))
    return tuple(found)


def _holds_text(hint: Any) -> bool:
    if hint in (int, float, bool, type(None)):
        return False
    origin = typing.get_origin(hint)
    if origin is Literal:
        return False
    if origin is frozenset:
        return False  # keys of ours
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return bool(_texts_of(hint))
    inner = [one for one in typing.get_args(hint) if one is not Ellipsis]
    return any(map(_holds_text, inner)) if inner else True


def joined(text: str) -> str:
    """`text` without lone surrogates: a pair of them is one character, as it will be when it is stored."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def merged(spans: list[Span]) -> list[Span]:
    """The same in order; those that touch or overlap are one, with the marks of all."""
    spans.sort(key=lambda span: (span[0], -span[1]))
    found: list[Span] = []
    for first, last, mark in spans:
        if found and first < found[-1][1]:
            before = found[-1]
            marks = before[2] if mark in before[2] or last <= before[1] else before[2] + mark
            found[-1] = (before[0], max(before[1], last), marks)
        else:
            found.append((first, last, mark))
    return found


def applied(text: str, spans: list[Span]) -> str:
    """`text` with its spans replaced by their marks."""
    pieces: list[str] = []
    place = 0
    for first, last, mark in spans:
        pieces += (text[place:first], mark)
        place = last
    return "".join([*pieces, text[place:]])
