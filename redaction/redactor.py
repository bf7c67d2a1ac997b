"""The funnel: masks secrets in texts, in JSON values, and in every text of a message or a fact."""

from __future__ import annotations

import re
import typing
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec

from .known import SHORTEST_PART, Known, Span
from .names import hidden, named
from .shapes import shaped, words_of

Mask: TypeAlias = Literal["shapes", "names"]
"""What is masked beside registered values: what has the shape of a secret, and what stands under the name of one."""
MASKS: Final[tuple[Mask, ...]] = ("shapes", "names")

ROUNDS: Final = 8
"""How often a text is looked at again after something in it was masked: a mark may stand beside a part of a secret."""
REMEMBERED: Final = 512
"""Texts that are remembered as clean: each is looked at as part of a message, and again as part of a fact."""
WORTH_REMEMBERING: Final = 64
MAX_DEPTH: Final = 80
_CUT: Final = "characters left out; sha256 of the whole: "
_CUT_MARK: Final = re.compile(rf"\n\[… \d+ {_CUT}[0-9a-f]{{64}} …\]\n")

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
        self._clean: dict[int, str] = {}

    @property
    def idle(self) -> bool:
        """Whether there is nothing that it would mask."""
        return not (self.known or self._shapes or self._names)

    # -------------------------------------------------------------- texts

    def text(self, text: str) -> str:
        """`text` with every secret in it masked; the same object if there is none."""
        if len(text) < WORTH_REMEMBERING:
            return self._masked(text, "text")
        if self._clean.get(id(text)) is text:
            return text
        masked = self._masked(text, "text")
        if len(self._clean) >= REMEMBERED:
            self._clean.clear()
        self._clean[id(masked)] = masked
        return masked

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
            if self._shapes:
                spans += shaped(text, data, words)
            if self._names and way == "text":
                spans += named(text, words)
        if self.known and _CUT in text:
            spans += self._parts(text)
        return merged(spans) if spans else spans

    def _masked(self, text: str, way: Way) -> str:
        text = joined(text)
        for _ in range(ROUNDS):
            spans = self.spans(text, way)
            if not spans:
                break
            text = applied(text, spans)
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
            return self.text(value) if way == "text" else self._masked(value, way)
        if kind is bytes:
            return self.known.in_bytes(value) if self.known else value
        if depth <= 0:
            return value
        if kind is dict:
            return self._dict(value, way, depth) if json else value
        if kind is tuple or kind is list:
            new = [self._value(one, way, depth - 1, json) for one in value]
            joined = _texts(new) if kind is tuple and len(new) > 1 else ()
            if joined:
                self._join(new, joined)
            if all(one is other for one, other in zip(new, value, strict=True)):
                return value
            return cast("Any", tuple(new) if kind is tuple else new)
        if isinstance(value, msgspec.Struct):
            return self._struct(value, depth, json)
        if isinstance(value, str):
            return self._masked(str.__str__(value), way)
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
        for name, way in texts_of(value):
            old = getattr(value, name)
            if old is None or old == ():
                continue
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
