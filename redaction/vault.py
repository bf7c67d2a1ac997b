"""What a host registered: secrets by name, for the tools that ask for them, and the redactor made of all of them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from .redactor import MASKS, Mask, Redactor
from .secret import Secret, checked_name, is_reference, mark_of


class Vault:
    """Secrets of one runtime. Thread-safe. A value that was registered stays masked when its name gets another."""

    def __init__(self, secrets: Mapping[str, str | Secret] | None = None, masks: Collection[Mask] = MASKS) -> None:
        """secrets: by name. masks: what is masked beside them.

        Raises:
            TypeError, ValueError: a wrong argument, with what was expected; never with a value.
        """
        self._masks = _checked_masks(masks)
        self._lock = threading.Lock()
        self._secrets: dict[str, Secret] = {}
        self._values: tuple[tuple[str, str], ...] = ()
        self.redactor = Redactor((), self._masks)
        """Masks all that is registered now; another object after `add`."""
        if secrets is not None and not isinstance(secrets, Mapping):
            raise TypeError(f"secrets: expected a mapping of names to values, got {type(secrets).__name__}")
        if secrets:
            self._register([(name, value) for name, value in secrets.items()])

    def add(self, name: str, value: str | Secret) -> None:
        """Register one more, or another value for a name: tools get the new one, both are masked.

        Raises:
            TypeError, ValueError: as the constructor.
        """
        self._register([(name, value)])

    def get(self, name: str) -> Secret:
        """The secret of that name.

        Raises:
            LookupError: there is none.
        """
        try:
            return self._secrets[name]
        except KeyError:
            raise LookupError(f"no secret named {name!r} is registered: Runtime(secrets={{{name!r}: …}})") from None

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are not registered."""
        return [name for name in names if name not in self._secrets]

    def _register(self, given: list[tuple[Any, Any]]) -> None:
        checked: list[Secret] = []
        for name, value in given:
            checked_name(name)
            try:
                one = value if isinstance(value, Secret) else Secret(value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"secret {name!r}: {str(error).removeprefix('secret: ')}") from None
            if is_reference(one):
                raise ValueError(f"secret {name!r}: expected a value, got a reference; secret(…) is for parameters")
            checked.append(one.named(name))
        with self._lock:
            values = dict.fromkeys((*self._values, *((one.name, one.reveal()) for one in checked)))
            redactor = Redactor(values, self._masks)
            for name, _ in values:
                # A mark that holds a secret would be masked, and its mark again.
                if redactor.text(mark_of(name)) != mark_of(name):
                    raise ValueError(f"secret {name!r}: a name that has a secret in it, or looks like one")
            self._values, self.redactor = tuple(values), redactor
            self._secrets = self._secrets | {one.name: one for one in checked}


def _checked_masks(masks: Any) -> tuple[Mask, ...]:
    known = get_args(Mask)
    if isinstance(masks, (str, bytes)) or not isinstance(masks, Collection):
        raise TypeError(f"redact: expected a collection of {' and '.join(map(repr, known))}, got {masks!r}")
    given: Collection[Any] = masks  # pyright: ignore[reportUnknownVariableType]
    for mask in given:
        if mask not in known:
            raise ValueError(f"redact: expected some of {', '.join(map(repr, known))}, got {mask!r}")
    return tuple(given)
