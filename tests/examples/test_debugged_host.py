"""The host that shows its own runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("sse_starlette", reason="the debugger needs an extra: pip install '.[debug]'")
testclient = pytest.importorskip("starlette.testclient", reason="the debugger needs an extra: pip install '.[debug]'")

from executus import Runtime  # noqa: E402

HOST = Path(__file__).parents[2] / "examples" / "debugged_host.py"
TOKEN = "a-token-for-the-test"


def test_the_debugger_stands_beside_the_service_and_reaches_its_runs() -> None:
    spec = importlib.util.spec_from_file_location("debugged_host", HOST)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    agent = example.Agent("clerk", model=example.ScriptedModel(example.answer), tools=[example.add], max_steps=100)
    with Runtime(None, [agent]) as rt:
        run = rt.start("clerk", "Add things up.")
        made = example.service(rt, TOKEN)
        client = testclient.TestClient(made, base_url="http://127.0.0.1:8400")
        assert client.get("/").text == "1 runs at work\n"
        assert made.state.debugger == f"/executus/#token={TOKEN}"
        assert b"executus debugger" in client.get("/executus/").content
        headers = {"x-executus-token": TOKEN}
        [row] = client.get("/executus/api/runs", headers=headers).json()["runs"]
        assert (row["run"], row["status"]) == (run.id, "running")
        order = client.post(f"/executus/api/runs/{run.id}/orders", json={"order": "kill"}, headers=headers)
        assert order.json() == {"done": True, "status": "killed"}
        assert run.result(20).by == "debugger"
