"""The host dies at each point of an order that another process gave: what is told when it is given again to the next
host. The rows are those of docs/crash-points.md, by name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attach_support import Talker, short_room
from runtime_support import DEADLINE_S

from executus import attach
from executus.errors import ExecutusError, OutcomeUnknown
from executus.wire.attached import order_of
from executus.wire.requests import Done, Steer

PAGE = (Path(__file__).parents[2] / "docs" / "crash-points.md").read_text()
ROWS = {
    "before the order is kept": ("take before", "done", 1),
    "the order is kept, and not begun": ("take after", "unknown", 0),
    "what the order led to is durable, its outcome is not kept": ("settle before", "unknown", 1),
    "its outcome is kept, and the answer not sent": ("settle after", "done", 1),
}
"""By point: where the host dies, what whoever gives the order again is told, and how often it is in the run's log."""


@pytest.mark.parametrize("name", ROWS)
def test_what_becomes_of_an_order_when_its_host_dies(name: str) -> None:
    point, fate, times = ROWS[name]
    with short_room() as room, Talker("attached_host.py", "host", room / "runs.db", point) as first:
        first.wait_for("listening")
        with attach(room / "runs.db", host=True, timeout=DEADLINE_S) as client:
            run = client.start("watch", "go")
            order = order_of(Steer, run=run.id, text="Look closer.", by="alice")
            first.say()
            first.wait_for("planted")
            with pytest.raises(ExecutusError):
                client.give(order, 1.0)
            first.process.wait(DEADLINE_S)
            with Talker("attached_host.py", "host", room / "runs.db") as second:
                second.wait_for("listening")
                for _ in range(2):
                    if fate == "done":
                        assert isinstance(client.give(order, DEADLINE_S), Done)
                    else:
                        with pytest.raises(OutcomeUnknown, match="look at the run's log"):
                            client.give(order, DEADLINE_S)
                tags = [event.tag for event in client.journal.read(run.id)]
                assert tags.count("caller-steered") == times
                assert [kept.fate for kept in client.orders() if kept.id == order.id] == [fate]


def test_every_point_has_its_row_on_the_page_and_every_row_its_test() -> None:
    section = PAGE.split("## Orders from other processes")[1].split("\n## ")[0]
    told = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert [one for one in told if one not in ("point", "---")] == list(ROWS)
