"""A registered secret that comes in anywhere is nowhere afterwards: not in a file, a fact, a delta, a log line or an
error. Without the funnel it would be.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_source import ROOT, modules, tree_of
from planted_secrets import WRITTEN, leaks, random_secret
from runtime_support import FunctionModel, said
from secret_carriers import CARRIERS, NAMES_OF_FILES, ONE_LINE, live

from executus import Agent, Runtime, ScriptedModel
from executus.redaction import Redactor

SECRETS = {"github": "ghq+Correct/Horse=Battery9", "db": "pa$$-W0rd'\"<&>\\é-and-more", "plain": "k7Qm2ZxW9vRt4Lp8"}


def found_in(left: dict[str, bytes], secrets: dict[str, str]) -> dict[str, list[str]]:
    """Where secrets are found, and how they are written there."""
    found: dict[str, list[str]] = {}
    for where, content in left.items():
        text = content.decode("utf-8", "replace")
        for value in secrets.values():
            if leaks(value, text):
                found[where] = leaks(value, text)
    return found


def text_for(carrier: str, way: str, value: str) -> str:
    if carrier in NAMES_OF_FILES:
        return f"a {value} b"
    text = f"before {WRITTEN[way](value)} after"
    return text.replace("\n", " ") if carrier in ONE_LINE else text


def test_nothing_is_left_of_a_secret_that_comes_in_everywhere(tmp_path: Path) -> None:
    told = {carrier: text_for(carrier, "raw", SECRETS["plain"]) for carrier in CARRIERS}
    left = live(tmp_path, told, SECRETS)
    assert found_in(left, SECRETS) == {}
    marks = left["facts"].count(b"[secret:plain]") + left["facts"].count(b"[secret-plain]")
    assert marks >= len(CARRIERS)
    assert b"[secret:plain]" in left["deltas"]
    assert b"so it is: before [secret:plain] after" in left["log lines"]
    assert left["told"].count(b"[secret:plain]") > 5
    names = [where for where in left if where.startswith("name ")]
    named = [where for where in names if where.endswith("/a [secret-plain] b")]
    assert len(named) == 1, "an artifact is delivered under its name"


def test_whoever_chooses_by_run_is_told_of_it_as_its_log_has_it(opened: Any) -> None:
    seen: list[Any] = []
    value = SECRETS["plain"]

    def choose(info: Any) -> Any:
        seen.append(info)
        return True

    agents = [Agent("a", model=ScriptedModel(["well"]))]
    runtime = opened(
        None, agents, secrets=SECRETS, critic=lambda info: seen.append(info), durable=choose, record=choose
    )
    run = runtime.start("a", "x", caller=value, request_id=f"r {value}", inputs={"password": "hunter2"})
    assert run.result(10).status == "ok"
    assert runtime.start("a", "x", caller=value, request_id=f"r {value}").id == run.id
    assert len(seen) >= 5
    assert value not in repr(seen)
    assert "hunter2" not in repr(seen)


@given(st.integers(0, 1 << 30))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_left_of_any_secret_written_in_any_way(tmp_path_factory: Any, seed: int) -> None:
    rng = random.Random(seed)
    secrets = {f"s{number}": random_secret(rng) for number in range(6)} | SECRETS
    told = {
        carrier: text_for(carrier, rng.choice(sorted(WRITTEN)), rng.choice([*secrets.values()]))
        for carrier in CARRIERS
        if carrier not in NAMES_OF_FILES
    }
    told |= {carrier: text_for(carrier, "raw", secrets["s0"]) for carrier in NAMES_OF_FILES}
    left = live(tmp_path_factory.mktemp("live"), told, secrets, redact=rng.choice([(), ("shapes", "names")]))
    assert found_in(left, secrets) == {}


def test_every_carrier_would_leak_without_the_funnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above looks where each of them would be found."""
    rng = random.Random(7)
    values = {carrier: random_secret(rng, 24) for carrier in CARRIERS}
    monkeypatch.setattr(Redactor, "spans", lambda self, text, way="text": [])
    monkeypatch.setattr("executus.redaction.known.Known.in_bytes", lambda self, data: data)
    left = live(tmp_path, {carrier: f"a {value} b" for carrier, value in values.items()}, SECRETS)
    whole = b"\n".join(left.values()).decode("utf-8", "replace")
    assert [carrier for carrier, value in values.items() if value not in whole] == []


def test_a_secret_that_a_cut_would_halve_is_masked_before(tmp_path: Path) -> None:
    value = SECRETS["plain"]
    halved = "x" * 1_975 + value + "y" * 5_000
    told = dict.fromkeys(("steer", "model error", "receipt", "tool error", "delivery error", "approved by"), halved)
    told["tool result"] = "x" * ((1 << 19) - 80) + value + "y" * (1 << 20)
    left = live(tmp_path, told, SECRETS)
    for size in range(4, len(value)):
        assert value[:size].encode() + b"\n" not in left["facts"]
        assert ("x" + value[:size]).encode() not in left["facts"]


def test_a_run_resumed_from_its_log_says_what_it_said_live(tmp_path: Path) -> None:
    """The live model and the replay hear the same words: the state is folded from what was stored."""
    heard: list[str] = []

    def answer(request: Any) -> Any:
        heard.append(repr(request.messages))
        return said(f"I heard {SECRETS['github']}")

    agents = [Agent("a", model=FunctionModel(answer), instructions=f"use {SECRETS['db']}")]
    with Runtime(tmp_path / "runs.db", agents, secrets=SECRETS) as runtime:
        run = runtime.start("a", f"my key is {SECRETS['plain']}", interactive=True)
        with run.events() as events:
            assert any(event.tag == "input-awaited" for event in events)
        run.send("and again")
        with run.events(after=0) as events:
            next(event for event in events if event.tag == "step-completed" and event.fact.step == 2)  # type: ignore[union-attr]
        live_messages = run.transcript()
        run.end()
        assert runtime.run(run.id).result(10).output == "I heard [secret:github]"
    with Runtime(tmp_path / "runs.db", agents, secrets=SECRETS) as runtime:
        assert runtime.run(run.id).transcript()[: len(live_messages)] == live_messages
    assert "[secret:plain]" in heard[0]
    assert "[secret:db]" in heard[0]
    assert "I heard [secret:github]" in heard[1]
    assert found_in({"heard": "".join(heard).encode()}, SECRETS) == {}


# ------------------------------------------------------------------ the list of paths is complete


def test_facts_are_made_in_four_places_and_each_masks_them() -> None:
    """Every event is encoded by `encode_event`, and whoever calls it has masked the fact, or all that goes into it."""
    callers: dict[str, str] = {}
    functions: dict[str, str] = {}
    for path in modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                functions[f"{path.relative_to(ROOT).as_posix()}:{node.name}"] = ast.unparse(node)
                calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
                if any(getattr(one.func, "id", "") == "encode_event" for one in calls):
                    callers[f"{path.relative_to(ROOT).as_posix()}:{node.name}"] = ast.unparse(node)
    masking = {
        "actors/run/actor.py:append": "map(self.redact, facts)",
        "actors/courier.py:say": "fact = around.vault.redactor.struct(fact)",
        "cli/importing.py:_encoded": "map(REDACTOR.struct, facts)",
        "erasure.py:__init__": "encode_event(fact",  # of two texts, which `erase` masks
    }
    assert set(callers) == set(masking)
    assert [place for place, call in masking.items() if call not in callers[place]] == []
    masked = "(redactor.identifier(caller), redactor.text(by), redactor.text(reason))"
    assert masked in functions["sealing.py:erase"]


def test_nothing_else_builds_what_a_journal_stores() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Stored"
    }
    assert makers == {"events/codec.py"}


def test_the_benchmark_that_plants_secrets_finds_none_and_would_find_them() -> None:
    path = ROOT / "benchmarks" / "leaks.py"
    spec = importlib.util.spec_from_file_location("leaks", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    masked = module.plant(1)
    assert masked.planted > 1_500
    assert masked.found == {}
    assert len(module.plant(1, unmasked=True).found) > 100


def test_whoever_erases_and_why_is_masked_too(tmp_path: Path) -> None:
    value = SECRETS["plain"]
    agents = [Agent("a", model=ScriptedModel(["well"]))]
    with Runtime(tmp_path / "runs.db", agents, secrets=SECRETS, encryption=bytes(range(32))) as runtime:
        run = runtime.start("a", "x", caller=f"c {value}")
        run.result(10)
        runtime.erase(caller=f"c {value}", by=f"by {value}", reason=f"for {value}")
        facts = repr(runtime.journal.read(run.id))
    left = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "by [secret:plain]" in facts
    assert found_in({"facts": facts.encode(), **left}, SECRETS) == {}
