"""One step forward: events are applied to views in memory, then stored with the position in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ...events import Event
from .definition import ViewFailed
from .store import StoredView, ViewStore

log = logging.getLogger("executus.views")


def advance(store: ViewStore, views: Sequence[StoredView], pages: Sequence[Sequence[Event]]) -> None:
    """Move `views`, which stand at one position, by the events that follow it. One that raises, or whose rows cannot be
    stored, is stopped, visibly, and the others move on.

    Raises:
        Moved, sqlite3.Error: as `ViewStore.commit`; what was applied is then to be forgotten.
    """
    moving: list[StoredView] = []
    for view in views:
        try:
            for events in pages:
                view.apply(events)
        except KeyboardInterrupt:
            view.forget()
            raise
        except BaseException as error:
            _stop(store, view, error)
        else:
            moving.append(view)
    if not moving:
        return
    try:
        failed = store.commit(moving, pages[-1][-1])
    except BaseException:
        for view in moving:
            view.forget()
        raise
    for view, reason in failed:
        _stop(store, view, reason)


def _stop(store: ViewStore, view: StoredView, error: BaseException) -> None:
    said = why(error)
    place = f"the view {view.name!r} stops after position {view.position}"
    log.error("%s: %s; `executus rebuild %s` builds it anew", place, said, view.name, exc_info=error)
    store.stop(view, said)


def why(error: BaseException) -> str:
    """An error in one sentence."""
    return str(error) if isinstance(error, ViewFailed) else f"{type(error).__name__}: {error}"
