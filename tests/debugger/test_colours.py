"""Words can be read on what they stand on, in the dark and in the light."""

from __future__ import annotations

import re

import pytest

from executus.debugger.application import page_files

CSS = page_files()["css/base.css"][0].decode()
LIGHT, DARK = (
    dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
)


def brightness(colour: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((brightness(one), brightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("words", "ground"),
    [
        *(
            (words, ground)
            for words in ("--ink", "--soft", "--accent", "--wrong")
            for ground in ("--panel", "--ground", "--hover")
        ),
        ("--ink", "--accent-soft"),
        ("--soft", "--accent-soft"),
        ("--wrong", "--wrong-soft"),
        ("--ok", "--ok-soft"),
        ("--ink", "--ok-soft"),
        ("--ink", "--wrong-soft"),
        ("--warn", "--warn-soft"),
        ("--accent", "--accent-soft"),
        ("--on-accent", "--accent"),
    ],
)
def test_words_stand_out(colours: dict[str, str], words: str, ground: str) -> None:
    assert contrast(colours[words], colours[ground]) >= 4.5


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_of_the_lanes_stand_out(colours: dict[str, str]) -> None:
    lanes = [name for name in colours if name.startswith("--lane-")]
    assert len(lanes) == 9
    assert [lane for lane in lanes if contrast(colours[lane], colours["--panel"]) < 3] == []
