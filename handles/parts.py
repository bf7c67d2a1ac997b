"""What people say to a run, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..events import Image, InputPart, Text


def as_parts(what: str, value: str | Sequence[InputPart]) -> tuple[InputPart, ...]:
    """Text, or text and images, as parts.

    Raises:
        TypeError, ValueError: with what was expected.
    """
    if isinstance(value, str):
        return (Text(value),)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Sequence):
        raise TypeError(f"{what}: expected a string or a sequence of Text and Image, got {value!r}")
    return tuple(_part(what, part) for part in value)


def _part(what: str, part: object) -> InputPart:
    if isinstance(part, str):
        return Text(part)
    try:
        good = msgspec.convert(msgspec.to_builtins(part, builtin_types=(bytes,)), InputPart)
    except Exception as error:
        raise TypeError(f"{what}: expected str, Text or Image parts, got {part!r} ({error})") from error
    if isinstance(good, Image) and (good.data is None) == (good.url is None):
        raise ValueError(f"{what}: expected an Image with either data or url, got {good!r}")
    return good  # type: ignore[no-any-return]
