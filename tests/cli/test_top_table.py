"""The table of `executus top` at every width."""

from __future__ import annotations

import click
import pytest

from executus.cli.top import HEADINGS, table
from executus.cli.words import WIDE_ENOUGH, width_of

ROW = {
    "RUN": "9f3c21aa",
    "CALLER": "alice",
    "AGENT": "researcher",
    "STEP": "12/30",
    "NOW": "child researcher 3 s; child headline 3 s",
    "TOKENS": "12.3k",
    "COST": "0.0012",
    "LEFT": "1 h 9 min",
    "CRITIC": "steered: You have called look_up with the same arguments 6 times",
}


def rows(**different: str) -> list[dict[str, tuple[str, str]]]:
    return [{name: (text, "running" if name == "NOW" else "") for name, text in (ROW | different).items()}]


@pytest.mark.parametrize("width", range(20, 200))
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    lines = [click.unstyle(line) for line in table(rows(), width)]
    assert max(map(width_of, lines)) <= width
    assert "9f3c21aa" in lines[1]
    assert "NOW" in lines[0]


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (WIDE_ENOUGH, set()),
        (110, set()),
        (109, {"CRITIC"}),
        (86, {"CRITIC"}),
        (85, {"CRITIC", "COST"}),
        (77, {"CRITIC", "COST", "TOKENS"}),
        (69, {"CRITIC", "COST", "TOKENS", "CALLER"}),
        (61, {"CRITIC", "COST", "TOKENS", "CALLER", "AGENT"}),
        (30, {"CRITIC", "COST", "TOKENS", "CALLER", "AGENT", "LEFT"}),
    ],
)
def test_what_has_no_room_is_left_out_and_what_a_run_does_never(width: int, missing: set[str]) -> None:
    heading = click.unstyle(table(rows(), width)[0]).split()
    assert set(HEADINGS) - set(heading) == missing


def test_what_is_short_takes_no_room_from_what_is_long() -> None:
    line = click.unstyle(table(rows(NOW="model 3 s"), 139)[1])
    assert line.endswith(ROW["CRITIC"])
    assert "CRITIC" not in click.unstyle(table(rows(CRITIC=""), 130)[0])
    assert ROW["NOW"] in click.unstyle(table(rows(CRITIC=""), 130)[1])
