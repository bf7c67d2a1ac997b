from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.models.scripted import ScriptedModel
from executus.adapters.tools.functions import tool
from executus.ports import Agent, Delegate, Phase, Skill
from executus.ports.delegation import (
    PROMPT_INPUTS,
    agent_tool_spec,
    check_inputs,
    child_agent,
    child_prompt,
    inert_spec,
    read_inputs,
    skill_agent,
    skill_prompt,
    skill_tool_spec,
)


@tool
def look(place: str) -> str:
    """Look at a place."""
    return place


@tool
def touch(place: str) -> str:
    """Touch a place."""
    return place


@tool
def sing() -> str:
    """Sing."""
    return "la"


TIERS = {"fast": "test:small", "deep": ScriptedModel([], name="test:large")}
AGENT = Agent("researcher", model="test:own", instructions="Research.", description="Finds out.", tools=[look, touch])
TRIP = Skill(
    "trip",
    description="Plans a trip.",
    instructions="Plan it.",
    inputs={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    tools=[look, touch],
)


def names(agent: Agent) -> list[str]:
    return [one.spec.name for one in agent.tools]


# ------------------------------------------------------------------ what the model sees


def test_an_agent_is_a_tool_that_needs_a_prompt() -> None:
    spec = agent_tool_spec("researcher", "", Delegate("researcher"), AGENT)
    assert (spec.name, spec.description) == ("agent__researcher", "Finds out.")
    assert check_inputs(spec.schema, '{"prompt": "why?"}') is None
    assert "`prompt` is missing" in str(check_inputs(spec.schema, "{}"))
    assert "`question` is not allowed" in str(check_inputs(spec.schema, '{"prompt": "why?", "question": 1}'))


def test_a_description_for_the_caller_goes_before_the_agents_own() -> None:
    assert agent_tool_spec("r", "Ask it first.", Delegate("r"), AGENT).description == "Ask it first."


def test_the_model_is_told_the_limits_that_the_delegate_sets() -> None:
    delegate = Delegate("r", max_steps=5, timeout_s=90.0, max_tool_calls=3, max_tokens=1000, max_cost_usd=0.5)
    told = agent_tool_spec("r", "Ask.", delegate, AGENT).description
    assert told == ("Ask.\nEach call has at most 5 steps, 3 tool calls, 90 seconds, 1000 tokens, 0.5 US dollars.")


def test_a_skill_is_a_tool_that_takes_its_inputs() -> None:
    spec = skill_tool_spec("trip", TRIP)
    assert (spec.name, spec.description, spec.schema) == ("skill__trip", "Plans a trip.", TRIP.inputs)


def test_every_tool_has_a_description_and_properties() -> None:
    bare = Skill("bare", inputs={"type": "object"})
    for spec in (
        agent_tool_spec("a", "", Delegate("a"), Agent("a", model="test:own")),
        skill_tool_spec("bare", bare),
        inert_spec("agent__gone"),
    ):
        assert spec.description
        assert isinstance(spec.schema["properties"], dict)


def test_an_inert_tool_takes_any_object() -> None:
    spec = inert_spec("skill__gone")
    assert spec.name == "skill__gone"
    assert "skill gone" in spec.description
    assert check_inputs(spec.schema, '{"anything": [1, {"at": "all"}]}') is None
    assert check_inputs(spec.schema, "[1]") is not None


# ------------------------------------------------------------------ the child


def test_a_delegate_that_changes_nothing_leaves_the_agent_as_it_is() -> None:
    assert child_agent(AGENT, Delegate("researcher"), tiers={}) is AGENT


@pytest.mark.parametrize("tier", TIERS)
def test_a_delegates_tier_brings_the_model_of_that_tier(tier: str) -> None:
    child = child_agent(AGENT, Delegate("researcher", tier=tier), tiers=TIERS)
    assert (child.model, child.tier, child.instructions) == (TIERS[tier], tier, "Research.")


def test_a_tier_that_is_not_there_is_named_with_those_that_are() -> None:
    for make in (
        lambda: child_agent(AGENT, Delegate("r", tier="huge"), tiers=TIERS),
        lambda: skill_agent(TRIP, Delegate("r", tier="huge"), "test:parent", tiers=TIERS),
    ):
        with pytest.raises(ValueError, match="Delegate 'r', tier: no tier 'huge'; there are: deep, fast"):
            make()


def test_a_child_keeps_only_the_tools_it_is_left() -> None:
    assert names(child_agent(AGENT, Delegate("r", tools=["touch"]), tiers={})) == ["touch"]
    assert names(child_agent(AGENT, Delegate("r", tools=[]), tiers={})) == []
    assert names(child_agent(AGENT, Delegate("r"), tiers={})) == ["look", "touch"]


def test_tools_that_a_child_never_had_are_named() -> None:
    with pytest.raises(ValueError, match="Delegate 'r', tools: no tools fly, swim; it has: look, touch"):
        child_agent(AGENT, Delegate("r", tools=["swim", "look", "fly"]), tiers={})
    with pytest.raises(ValueError, match="no tools sing; it has: look, touch"):
        skill_agent(TRIP, Delegate("r", tools=["sing"]), "test:parent")


def test_a_child_left_few_tools_gets_no_others_through_phases_or_delegates() -> None:
    agent = Agent(
        "whole",
        model="test:own",
        tools=[look, touch],
        agents=["helper", Delegate("friend", prefix="Please. ")],
        skills=["trip"],
        phases=[Phase("one", tools=[look, sing]), Phase("two")],
    )
    child = child_agent(agent, Delegate("whole", tools=["look", "agent__friend"]), tiers={})
    assert names(child) == ["look"]
    assert (child.agents, child.skills) == ((Delegate("friend", prefix="Please. "),), ())
    first, second = child.phases
    assert [one.spec.name for one in first.tools or ()] == ["look"]
    assert second.tools is None
    singer = child_agent(agent, Delegate("whole", tools=["sing"]), tiers={})
    assert [one.spec.name for one in singer.phases[0].tools or ()] == ["sing"]


def test_a_child_runs_under_the_delegates_limits() -> None:
    delegate = Delegate("r", max_steps=3, timeout_s=9.0, max_tool_calls=2, max_tokens=100, max_cost_usd=0.25)
    for child in (child_agent(AGENT, delegate, tiers={}), skill_agent(TRIP, delegate, "test:parent")):
        limits = child.limits()
        assert (limits.max_steps, limits.timeout_s, limits.max_tool_calls) == (3, 9.0, 2)
        assert (limits.max_tokens, limits.max_cost_usd) == (100, 0.25)


def test_limits_that_a_delegate_does_not_set_stay_the_childs_own() -> None:
    agent = Agent("r", model="test:own", max_steps=7, timeout_s=70.0, max_tokens=700, raise_steps_to=700)
    child = child_agent(agent, Delegate("r", max_tool_calls=1), tiers={})
    assert (child.max_steps, child.timeout_s, child.max_tokens, child.raise_steps_to) == (7, 70.0, 700, 700)
    skill = skill_agent(TRIP, Delegate("trip"), "test:parent")
    assert (skill.max_steps, skill.timeout_s) == (20, 600.0)


@pytest.mark.parametrize(("own", "capped"), [(None, None), (7, 7), (50, 10), (3, 5)])
def test_a_critic_raises_a_delegates_limit_to_twice_at_most(own: int | None, capped: int | None) -> None:
    agent = Agent("r", model="test:own", raise_steps_to=own, extend_to_s=own)
    child = child_agent(agent, Delegate("r", max_steps=5, timeout_s=5.0), tiers={})
    assert (child.raise_steps_to, child.extend_to_s) == (capped, capped)


def test_a_skill_becomes_an_agent_of_kind_skill() -> None:
    child = skill_agent(TRIP, Delegate("trip", tools=["look"]), "test:parent")
    assert (child.name, child.kind, child.instructions, names(child)) == ("trip", "skill", "Plan it.", ["look"])


@pytest.mark.parametrize(
    ("skill", "delegate", "model", "tier"),
    [
        (Skill("s"), Delegate("s"), "test:parent", ""),
        (Skill("s", tier="fast"), Delegate("s"), "test:small", "fast"),
        (Skill("s", model="test:its", tier="fast"), Delegate("s"), "test:its", ""),
        (Skill("s", model="test:its"), Delegate("s", tier="fast"), "test:small", "fast"),
    ],
)
def test_who_carries_a_skill_out(skill: Skill, delegate: Delegate, model: str, tier: str) -> None:
    child = skill_agent(skill, delegate, "test:parent", tiers=TIERS)
    assert (child.model, child.tier) == (model, tier)


def test_without_tiers_a_skills_tier_is_left_to_the_runtime() -> None:
    child = skill_agent(Skill("s", tier="fast"), Delegate("s"), "test:parent")
    assert (child.model, child.tier) == (None, "fast")


def test_a_prefix_stands_before_every_prompt() -> None:
    delegate = Delegate("r", prefix="Be brief. ")
    assert child_prompt(delegate, "Why?") == "Be brief. Why?"
    assert skill_prompt(delegate, ' {"city" : "Bonn"} ') == 'Be brief. {"city":"Bonn"}'
    assert skill_prompt(Delegate("r"), "") == "{}"


# ------------------------------------------------------------------ inputs


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{}", "`city` is missing"),
        ('{"city": 3}', "`city`: expected string, got integer"),
        ('{"city": "Bonn", "days": "3"}', "`days`: expected integer, got string"),
        ('{"city": "Bonn", "days": 2.5}', "`days`: expected integer, got number"),
        ('{"city": "Bonn", "days": true}', "`days`: expected integer, got boolean"),
        ('{"city": "Bonn", "mood": 1}', "`mood` is not allowed"),
        ("[]", "got array"),
        ('"city"', "got string"),
        ('{"city": "Bonn"', "truncated"),
        ('{"city": "\\ud800"}', ""),
        ('{"city": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_inputs_that_do_not_fit_are_answered_by_one_sentence(arguments: str, why: str) -> None:
    said = check_inputs(TRIP.inputs, arguments)
    assert said is not None
    assert said.startswith("the inputs do not fit: ")
    assert why in said
    assert said.endswith("; expected a JSON object of {city, days?}")
    assert "\n" not in said


@pytest.mark.parametrize(
    "arguments", ['{"city": "Bonn"}', '{"city": "Bonn", "days": 3}', ' {"city": "", "days": 3.0} ']
)
def test_inputs_that_fit_are_taken(arguments: str) -> None:
    assert check_inputs(TRIP.inputs, arguments) is None


def test_no_arguments_are_no_inputs() -> None:
    assert read_inputs("") == {}
    assert check_inputs({"type": "object"}, "") is None
    assert check_inputs(PROMPT_INPUTS, "") is not None


def test_what_lies_inside_is_checked_and_named() -> None:
    schema = {
        "type": "object",
        "properties": {
            "stops": {"type": "array", "items": {"type": "object", "required": ["at"]}},
            "pace": {"enum": ["slow", "fast"]},
        },
    }
    assert "`stops[1].at` is missing" in str(check_inputs(schema, '{"stops": [{"at": 1}, {}]}'))
    assert "`pace`: expected one of ['slow', 'fast']" in str(check_inputs(schema, '{"pace": "warp"}'))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "thing"},
        {"type": 7, "properties": [], "required": {"a": 1}},
        {"properties": {"a": None, "b": 3, "c": "string"}, "required": [1, None]},
        {"properties": {"a": {"enum": 3, "items": 4, "type": []}}},
        {"properties": {"a": {"$ref": "https://example.invalid/never-fetched", "type": "string"}}},
    ],
)
def test_a_schema_that_makes_no_sense_asks_for_nothing(schema: dict[str, Any]) -> None:
    assert check_inputs(schema, '{"a": [1], "b": 2, "c": 3}') is None


@pytest.mark.parametrize(
    ("schema", "arguments", "fits"),
    [
        ({"additionalProperties": {"type": "number"}}, '{"a": true}', False),
        ({"additionalProperties": {"type": "number"}}, '{"a": 1}', True),
        ({"additionalProperties": {"type": "number"}}, '{"a": 1.5}', True),
        ({"additionalProperties": {"type": "integer"}}, '{"a": 1.0}', True),
        ({"additionalProperties": {"type": ["null", "boolean"]}}, '{"a": null, "b": false}', True),
        ({"additionalProperties": {"type": ["null", "boolean"]}}, '{"a": 0}', False),
        ({"patternProperties": {"^a": True}, "additionalProperties": False}, '{"abc": 1}', True),
        ({"properties": {"a": {"prefixItems": [True], "items": {"type": "string"}}}}, '{"a": [1, "b"]}', True),
    ],
)
def test_types_are_those_of_json(schema: dict[str, Any], arguments: str, fits: bool) -> None:
    assert (check_inputs(schema, arguments) is None) is fits
    assert accepted(schema, json.loads(arguments)) is fits


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])
OURS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": TYPES | st.lists(TYPES, min_size=1, unique=True)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            "additionalProperties": inner,
            "items": inner,
            "enum": st.lists(st.sampled_from(["", "a", "b", None]), min_size=1, unique=True),
            "const": st.sampled_from(["a", None]),
        },
    ),
    max_leaves=6,
)
"""Schemas made of the words that are checked."""
MORE = {
    "minProperties": st.integers(0, 2),
    "anyOf": st.lists(OURS, min_size=1, max_size=2),
    "patternProperties": st.dictionaries(st.just("^a"), OURS, max_size=1),
    "propertyNames": st.just({"maxLength": 0}),
    "prefixItems": st.lists(OURS, min_size=1, max_size=2),
}


def accepted(schema: Any, value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@given(
    OURS.filter(lambda schema: isinstance(schema, dict)),
    st.dictionaries(st.sampled_from("abc"), JSON_VALUES, max_size=3),
)
def test_the_words_that_are_checked_mean_what_json_schema_says(schema: dict[str, Any], value: dict[str, Any]) -> None:
    assert (check_inputs(schema, json.dumps(value)) is None) == accepted(schema, value)


@given(st.data(), st.dictionaries(st.sampled_from("abc"), JSON_VALUES, max_size=3))
def test_other_words_never_refuse_what_json_schema_allows(data: st.DataObject, value: dict[str, Any]) -> None:
    inner = data.draw(st.fixed_dictionaries({"items": OURS}, optional=MORE))
    outer = data.draw(st.fixed_dictionaries({"additionalProperties": st.just(inner) | OURS}, optional=MORE))
    if accepted(outer, value):
        assert check_inputs(outer, json.dumps(value)) is None
