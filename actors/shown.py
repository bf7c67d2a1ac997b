"""Pieces of a reply on their way to whoever watches, without secrets."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from ..ports import Delta
from ..redaction import Redactor, Stream


class Shown:
    """Takes the pieces of one reply and passes on what may be shown of them, each kind in its own order. What is held
    back when the call fails is never shown: it may have been the beginning of a secret.
    """

    def __init__(self, redactor: Redactor, show: Callable[[Delta], None]) -> None:
        self._redactor, self._show = redactor, show
        self._streams: dict[str, tuple[Stream, Delta]] = {}

    def __call__(self, delta: Delta) -> None:
        """Take a piece."""
        if self._redactor.idle or not isinstance(delta, Delta):
            self._show(delta)
            return
        known = self._streams.get(delta.kind)
        stream = Stream(self._redactor) if known is None else known[0]
        self._streams[delta.kind] = (stream, delta)
        text = stream.feed(delta.text)
        if text:
            self._show(delta if text == delta.text else structs.replace(delta, text=text))

    def close(self) -> None:
        """The reply is complete: show the rest."""
        for stream, last in self._streams.values():
            text = stream.close()
            if text:
                self._show(structs.replace(last, text=text))
