"""The stored views of a host, as its runtime holds them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ...errors import JournalError
from ...ports import Journal
from ...ports.views import FoldingView, View, ViewStanding
from ...projections.ledger import Price
from .builtin import PURSE, builtin_views, purse_view
from .definition import Definition, checked_together, defined
from .feed import Reduce
from .file import views_path
from .keeper import ViewsKeeper


def all_definitions(own: Sequence[View | FoldingView] = ()) -> tuple[list[Definition], list[Definition]]:
    """The built-in views and a host's own, checked.

    Raises:
        TypeError, ValueError: one of them is no view, or two have a name in common; with what was expected.
    """
    if isinstance(own, (str, bytes)) or not isinstance(own, Sequence):
        raise TypeError(f"views: expected a sequence of View, or None for no stored views at all, got {own!r}")
    builtin, theirs = builtin_views(), [defined(view) for view in own]
    if any(one.name == PURSE for one in theirs):
        raise ValueError(f"a view cannot be named {PURSE!r}: give it another name")
    checked_together([*builtin, *theirs])
    return builtin, theirs


class StoredViews:
    """Keeps the built-in views and `own` beside the journal at `path`, each kind on a thread of its own, so that a view
    of the host that hangs holds up no other than its own. purse: the host's prices and their version; with them what
    callers spent is kept by these too, for the next opening.

    Raises:
        TypeError, ValueError: as `all_definitions`.
    """

    def __init__(
        self,
        journal: Journal,
        path: str,
        own: Sequence[View | FoldingView] = (),
        *,
        purse: tuple[Price, str] | None = None,
        reduce: Reduce | None = None,
    ) -> None:
        builtin, theirs = all_definitions(own)
        if purse is not None:
            builtin.append(purse_view(*purse))
        self._journal = journal
        self.path = views_path(path)
        making = threading.Lock()
        self._keepers = [
            ViewsKeeper(journal, some, self.path, reduce=reduce, making=making) for some in (builtin, theirs) if some
        ]

    def standing(self) -> list[ViewStanding]:
        """How each view stands, the built-in ones first.

        Raises:
            JournalUnavailable: the journal is closed.
        """
        head = self._journal.head()
        return [one for keeper in self._keepers for one in keeper.standing(head)]

    def wait(self, position: int | None = None, timeout: float = 10.0) -> bool:
        """Wait until every view that is not stopped has what is stored up to `position`, by default up to now; False if
        that takes longer than `timeout` seconds.
        """
        wanted = self._journal.head() if position is None else position
        until = time.monotonic() + timeout
        done = [keeper.wait(wanted, max(0.0, until - time.monotonic())) for keeper in self._keepers]
        return all(done)

    def finish(self, timeout: float) -> bool:
        """Before the journal closes: take what is stored, as far as `timeout` seconds go."""
        until = time.monotonic() + timeout
        try:
            head = self._journal.head()
        except JournalError:
            return False
        done = [keeper.finish(head, max(0.0, until - time.monotonic())) for keeper in self._keepers]
        return all(done)

    def close(self, timeout: float) -> bool:
        """After the journal is closed: end it. False if that takes longer; the rest is left to the next opening."""
        until = time.monotonic() + timeout
        done = [keeper.close(max(0.0, until - time.monotonic())) for keeper in self._keepers]
        return all(done)
