"""Stored views compared with ones that are built anew, as part of the check of a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import JournalError
from .findings import Finding
from .reading import LogReader


def view_findings(journal: LogReader) -> Iterator[Finding]:
    """Which of the built-in views beside `journal` are not what its events make, at the position where they stand."""
    from .views import all_definitions  # they stand on the journal, and so come after this module
    from .views.building import check
    from .views.feed import Pages
    from .views.file import views_path

    path = getattr(journal, "path", None)
    if path is None or not Path(views_path(path)).is_file():
        return
    for definition in all_definitions(())[0]:
        try:
            found = check(views_path(path), definition, Pages(journal.scan), lambda position: None)
        except JournalError as error:  # it is of another version, say, and is built anew by the next host
            yield Finding(f"the stored view {definition.name} cannot be compared: {error}", remark=True)
            continue
        if found.difference:
            why = f"the stored view {found.name} differs from one built anew: {found.difference}"
            yield Finding(why, position=found.position)
