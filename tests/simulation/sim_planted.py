"""Planting a mistake in the simulated world, and looking for a seed that notices."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sim_episode import episode
from sim_host import SimRunActor
from sim_world import Bugs

from executus.actors.courier import CourierActor
from executus.actors.recoverer import Recoverer
from executus.actors.reusing import Recordings
from executus.actors.supervisor import Supervisor

SEARCHED = 5_000
"""Seeds in which every planted mistake must show."""
GIVE_UP = 8_000
"""Steps after which a world with a mistake in it is judged as it is."""


def planted(kind: type) -> Bugs:
    """The world's mistakes: `kind` in place of the class it is made of, or `kind` itself."""
    if issubclass(kind, Bugs):
        return kind()
    bugs = Bugs()
    if issubclass(kind, SimRunActor):
        bugs.run_actor = kind
    elif issubclass(kind, Supervisor):
        bugs.supervisor = kind
    elif issubclass(kind, Recoverer):
        bugs.recoverer = kind
    elif issubclass(kind, Recordings):
        bugs.recordings = kind
    elif issubclass(kind, CourierActor):
        bugs.courier = kind
    else:
        bugs.desk = kind
    return bugs


def found_in(kind: type | Callable[[], Bugs], searched: int = SEARCHED) -> int | None:
    """The first seed that notices the mistake, or None."""
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(searched):
            bugs = planted(kind) if isinstance(kind, type) else kind()
            if episode(seed, bugs, give_up=GIVE_UP).problems:
                return seed
    finally:
        logging.disable(logging.NOTSET)
    return None
