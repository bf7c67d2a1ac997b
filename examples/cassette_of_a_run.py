"""A test that plays a recorded run: no key, no network, no database. `refund.json` was made by `executus cassette`."""

from __future__ import annotations

from pathlib import Path

from executus import Runtime
from executus.testing import cassette

TAPE = Path("refund.json")


def test_a_refund_goes_as_it_went() -> None:
    """The agent of today asks its model and its tools what the recorded one asked."""
    with cassette(TAPE) as tape, Runtime(agents=[tape.agent(name="clerk")]) as rt:
        result = rt.start("clerk", tape.input).result(timeout=30)
    assert result.status == "ok"
