"""A value that is shown nowhere, and the reference to one."""

from __future__ import annotations

import hmac
import re
from typing import Any, final

SHORTEST = 8
"""Characters of a secret at least: a shorter one would mask ordinary words."""

DIFFERENT = 4
"""Different characters in a secret at least, for the same reason."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@final
class Secret:
    """A secret value. `reveal` returns it; `str`, `repr`, `format` and JSON show a mark, and it cannot be pickled.

    Equal to another `Secret` of the same value; the comparison takes the same time wherever they differ.

    Raises:
        TypeError, ValueError: no text, or too short (`SHORTEST`) or too even (`DIFFERENT`) to be told from other text.
    """

    __slots__ = ("_name", "_value")

    def __init__(self, value: str) -> None:
        self._name = ""
        self._value: str | None = checked_value(value)

    @property
    def name(self) -> str:
        """What it is registered as; empty before."""
        return self._name

    def named(self, name: str) -> Secret:
        """The same value under a name.

        Raises:
            TypeError, ValueError: no such name can be.
        """
        made = Secret.__new__(Secret)
        made._name, made._value = checked_name(name), self._value
        return made

    def reveal(self) -> str:
        """The value itself. Whoever asks for it keeps it from other eyes.

        Raises:
            LookupError: it is only a reference (`secret`): a runtime fills it in when it runs the tool.
        """
        if self._value is None:
            raise LookupError(
                f"the secret {self._name!r} is filled in by a runtime when a model calls the tool;"
                " when you call the function yourself, pass Secret(…)"
            )
        return self._value

    def __str__(self) -> str:
        return mark_of(self._name or "unnamed")

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._value is None or other._value is None:
            return self._value is other._value and self._name == other._name
        mine, theirs = (one.encode("utf-8", "surrogatepass") for one in (self._value, other._value))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value, self._name if self._value is None else ""))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"{self!r} is not pickled: its value would be in the pickle; send its name instead")


def secret(name: str) -> Secret:
    """A reference to the secret that `Runtime(secrets={name: …})` registers: the default of a tool's parameter.

        @tool
        def deploy(branch: str, token: Secret = secret("github")) -> str: ...

    The model is not told of such a parameter and cannot fill it in; the runtime does when the tool runs.

    Raises:
        TypeError, ValueError: no such name can be.
    """
    made = Secret.__new__(Secret)
    made._name, made._value = checked_name(name), None  # pyright: ignore[reportPrivateUsage]
    return made


def is_reference(value: Secret) -> bool:
    """Whether it has a name and no value."""
    return value._value is None  # pyright: ignore[reportPrivateUsage]


def mark_of(name: str) -> str:
    """What stands in a text instead of a secret."""
    return f"[secret:{name}]"


def checked_name(name: Any) -> str:
    """`name`, if a secret can have it.

    Raises:
        TypeError, ValueError: with what was expected.
    """
    if not isinstance(name, str):
        raise TypeError(f"secret, name: expected text, got {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError("secret, name: expected 1 to 64 of A-Z a-z 0-9 _ . - that begin with a letter or digit")
    return name


def checked_value(value: Any) -> str:
    """`value`, if it can be told from other text. The errors do not show it.

    Raises:
        TypeError, ValueError: with what was expected.
    """
    if not isinstance(value, str):
        raise TypeError(f"secret: expected text, got {type(value).__name__}")
    if len(value.strip()) < SHORTEST:
        raise ValueError(
            f"secret: expected at least {SHORTEST} characters, got {len(value.strip())}: masking a shorter one would"
            " mask ordinary words too"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("secret: expected text without lone surrogates") from None
    if len(set(value)) < DIFFERENT:
        raise ValueError(
            f"secret: expected at least {DIFFERENT} different characters: masking one like this would mask ordinary"
            " text too"
        )
    return value
