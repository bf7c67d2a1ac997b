"""Other processes follow and steer a host at work, which is killed, forked and succeeded: short versions of scripts in
`benchmarks/`, where it goes on for long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the scripts need Linux")


def script(name: str, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--json", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "EXECUTUS_TOKEN"},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_followers_that_are_fast_stopped_or_reconnecting_have_every_event_once_and_in_order() -> None:
    code, figures = script("followers", "--rounds", "1", "--runs", "100", "--steps", "15", "--quick", "--seed", "1")
    assert figures["problems"] == []
    assert code == 0
    assert figures["events"] > 2 * 100 * 15 * 4
    assert figures["stops"] > 0
    assert figures["attachments"] > 2


def test_hosts_and_clients_end_cleanly_from_every_state_in_every_way() -> None:
    code, figures = script("exits_wire", "--each", "2", "--at-once", "2", "--seed", "1")
    assert figures["problems"] == []
    assert code == 0
    assert figures["good_in_all"] == figures["exits"] == 28


def test_forked_children_neither_hang_nor_harm_a_host_that_listens_or_a_client() -> None:
    code, figures = script("forks_wire", "--forks", "40", "--seed", "1")
    assert figures["problems"] == []
    assert code == 0
    assert len(figures["ways"]) == 6


def test_an_order_is_carried_out_once_whenever_the_host_is_killed() -> None:
    code, figures = script("order_kills", "--kills", "8", "--clients", "2", "--seed", "1")
    assert figures["problems"] == []
    assert code == 0
    assert set(figures["orders"]) == {"steer", "extend", "approve", "start", "kill"}
    assert figures["answers"]["done"] > 20


def test_a_host_that_keeps_no_orders_is_found() -> None:
    code, figures = script("order_kills", "--kills", "12", "--clients", "3", "--seed", "1", "--plant", "no-book")
    assert code == 1
    assert figures["problems"]


def test_clients_outlive_their_hosts_and_nothing_is_left_of_those_that_closed() -> None:
    code, figures = script("attachments", "--cycles", "50", "--successions", "6", "--seed", "1")
    assert figures["problems"] == []
    assert code == 0
    assert figures["successions"] == 6
