"""What a check of a journal finds: one sentence each, and the first place where it shows."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """Something about a journal.

    why: what, as part of a sentence. run_id, version, position: where it shows first, as far as that can be said, else
    "" and 0. remark: nothing is wrong; somebody may want to know.
    """

    why: str
    run_id: str = ""
    version: int = 0
    position: int = 0
    remark: bool = False

    def __str__(self) -> str:
        """Place and sentence, without the run."""
        place = [f"version {self.version}"] if self.version else []
        if self.position:
            place.append(f"position {self.position}")
        return f"{', '.join(place)}: {self.why}" if place else self.why
