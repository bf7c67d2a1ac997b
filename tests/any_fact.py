"""Hypothesis strategies for every fact, with text as it may stand in one: cleaned, whatever it was before."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
from hypothesis import strategies as st

from executus.events import (
    FACTS,
    Fact,
    Image,
    InputPart,
    Message,
    Opaque,
    ReplyPart,
    RunInfo,
    Text,
    Thinking,
    ToolCall,
)
from executus.events.clean import clean_json, clean_text

SURROGATES = "\ud800\udbff\udc00\udfff\ud83d\ude00"
raw_text = st.one_of(
    st.text(max_size=30),
    st.text(alphabet=st.sampled_from("a\x00\n😀é" + SURROGATES), max_size=12),
    st.sampled_from(["", "\x00", "\ud83d", "\ude00\ud83d", "\ud83d\ude00", "‮", "﻿", "\x1b[31m", "a" * 300]),
)
"""Text as a model, a tool or a person may hand it over."""

text = raw_text.map(clean_text)

raw_json = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        raw_text,
        st.binary(max_size=4),
        st.dates(),
        st.sampled_from([1 << 64, -(1 << 63) - 1, 1 << 200, float("nan"), float("-inf"), -0.0]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(raw_text, st.integers(), st.none()), inner, max_size=3),
    ),
    max_leaves=8,
)
"""A value as a host or a provider may hand it over, JSON or not."""

json_map = st.dictionaries(raw_text, raw_json, max_size=3).map(clean_json)

input_part: st.SearchStrategy[InputPart] = st.one_of(
    st.builds(Text, text),
    st.builds(Image, st.just("image/png"), data=st.binary(max_size=20)),
    st.builds(Image, st.just("image/png"), url=text),
)
reply_part: st.SearchStrategy[ReplyPart] = st.one_of(
    st.builds(Text, text),
    st.builds(
        Thinking,
        text,
        signature=st.none() | text,
        id=st.none() | text,
        provider=st.none() | text,
        extra=st.none() | json_map,
    ),
    st.builds(ToolCall, text, text, text),
)

message = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.lists(reply_part, max_size=3).map(tuple)
)

# What the fields of facts are made of. These hold for the whole test run; text and numbers as facts have them are
# also text and numbers to everybody else.
st.register_type_strategy(str, text)
st.register_type_strategy(Thinking, st.builds(Thinking, text, signature=st.none() | text, extra=st.none() | json_map))
st.register_type_strategy(RunInfo, st.builds(RunInfo, run_id=text, name=text, caller_id=text, inputs=json_map))
st.register_type_strategy(int, st.integers(-(1 << 63), (1 << 64) - 1))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any fact of that kind, every field drawn."""
    special: dict[str, st.SearchStrategy[Any]] = {
        "input": st.lists(input_part, max_size=3).map(tuple),
        "reply": st.lists(reply_part, max_size=4).map(tuple),
        "payload": json_map,
        "evidence": json_map,
        "messages": st.lists(message, max_size=3).map(tuple),
    }
    drawn = {name: special[name] for name in kind.__struct_fields__ if name in special}
    rest = {name: st.from_type(hint) for name, hint in _hints(kind).items() if name not in drawn}
    return st.builds(kind, **drawn, **rest)


def _hints(kind: type[Any]) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__}


known_fact: st.SearchStrategy[Fact] = st.one_of([of(struct) for struct, _ in FACTS.values()])
opaque_fact = st.builds(
    Opaque,
    tag=st.sampled_from(["run-teleported", "step-started-v9"]),
    schema=st.integers(1, 9),
    payload=json_map.map(msgspec.msgpack.encode),
)
any_fact: st.SearchStrategy[Fact] = st.one_of(known_fact, opaque_fact)
