"""The skeleton of a fact: no word of its content, and it folds like the whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from any_fact import any_fact, known_fact
from any_life import Life, for_any_life
from hypothesis import given

from executus.events import (
    FACTS,
    TOMBSTONE,
    Fact,
    Opaque,
    StepCompleted,
    Text,
    Thinking,
    ToolCall,
    erased,
    tag_of,
)
from executus.projections import RunState, evolve, evolve_transcript, outstanding
from executus.projections.transcript import Transcript

CANARY = "canary of this test"

STAYS = {
    # Of texts in facts, these are names, ids and who gave an order; see docs/encryption.md.
    "agent-print": {"name", "model", "tools", "fingerprint", "overridden"},
    "phase-print": {"name", "model", "tools"},
    "run-info": {
        "run_id", "name", "subject_id", "caller_id", "channel_id", "guild_id", "parent_run_id", "model_tier",
        "request_id",
        "root_run_id",
    },
    "run-started": {"imported_from"},
    "run-finished": {"by"},
    "run-begun": {"by"},
    "run-forked": {"source", "hash", "phase", "noticed"},
    "step-started": {"model"},
    "step-completed": {"model", "response_id"},
    "tool-started": {"call"},
    "tool-refused": {"call"},
    "tool-finished": {"call"},
    "tool-outcome-unknown": {"call"},
    "reconcile-started": {"call"},
    "tool-reconciled": {"call"},
    "approval-requested": {"call"},
    "approval-granted": {"call", "by"},
    "approval-denied": {"call", "by"},
    "approval-expired": {"call"},
    "caller-steered": {"by"},
    "input-received": {"by"},
    "cancel-requested": {"by"},
    "critic-observed": {"by"},
    "critic-steered": {"by"},
    "critic-killed": {"by"},
    "critic-reviewed": {"by", "model"},
    "critic-lost": {"by"},
    "deadline-extended": {"by"},
    "ceiling-raised": {"by"},
    "budget-noticed": {"phase"},
    "budget-exceeded": {"scope", "window"},
    "child-started": {"call", "run_id"},
    "child-finished": {"call", "run_id"},
    "child-waited": {"call", "run_id"},
    "child-went-on": {"call", "run_id"},
    "phase-started": {"phase"},
    "phase-finished": {"phase"},
    "input-staged": {"file_id"},
    "artifact-stored": {"sha256", "call"},
    "delivery-attempted": {"key"},
    "content-erased": {"by", "reason"},
}  # fmt: skip


def of_info(info: Any) -> Any:
    """A value of a type, with the canary wherever a text can be that may not stay."""
    match info:
        case msgspec.inspect.StrType():
            return CANARY
        case msgspec.inspect.BytesType():
            return CANARY.encode()
        case msgspec.inspect.IntType():
            return 3
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.LiteralType(values):
            return values[0]
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.DictType():
            return {CANARY: [CANARY]}
        case msgspec.inspect.VarTupleType(item_type=item):
            options = item.types if isinstance(item, msgspec.inspect.UnionType) else (item,)
            return tuple(of_info(one) for one in options)
        case msgspec.inspect.TupleType(item_types=items):
            return tuple(of_info(one) for one in items)
        case msgspec.inspect.UnionType(types):
            return of_info(next(one for one in types if not isinstance(one, msgspec.inspect.NoneType)))
        case msgspec.inspect.StructType(cls=cls):
            stays: set[str] = STAYS.get(kebab(cls.__name__), set())
            fields = {
                field.name: "stays" if field.name in stays and field_is_text(field) else of_info(field.type)
                for field in info.fields
            }
            for name in stays & fields.keys():
                if isinstance(fields[name], tuple):
                    fields[name] = ("stays",)
                elif isinstance(fields[name], bytes):
                    fields[name] = b"stays"
            if "outputs" in fields:  # by phase
                fields["outputs"] = (("stays", CANARY),)
            return cls(**fields)
        case _:
            raise AssertionError(f"no value for {info!r}")


def field_is_text(field: Any) -> bool:
    return isinstance(field.type, msgspec.inspect.StrType)


def kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


@pytest.mark.parametrize("tag", FACTS)
def test_no_text_that_somebody_wrote_is_left_in_a_skeleton(tag: str) -> None:
    whole = of_info(msgspec.inspect.type_info(FACTS[tag][0]))
    skeleton = erased(whole)
    assert type(skeleton) is type(whole)
    assert CANARY.encode() not in msgspec.msgpack.encode(skeleton)


def test_a_fact_of_a_newer_version_keeps_its_tag_only() -> None:
    assert erased(Opaque(tag="run-dreamt", schema=3, payload=b"\xa6canary")) == Opaque("run-dreamt", 3, b"\x80")


@given(any_fact)
def test_a_skeleton_is_a_fact_of_the_same_kind_and_its_own_skeleton(fact: Fact) -> None:
    skeleton = erased(fact)
    assert type(skeleton) is type(fact)
    assert tag_of(skeleton) == tag_of(fact)
    assert erased(skeleton) == skeleton


@given(known_fact)
def test_a_skeleton_comes_back_from_its_bytes_as_it_was(fact: Fact) -> None:
    skeleton = erased(fact)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(skeleton), type=type(skeleton)) == skeleton


def test_parts_keep_their_kinds_and_places() -> None:
    fact = StepCompleted(
        step=1,
        reply=(
            Thinking("secret thought", signature="s", provider="anthropic", extra={"a": 1}),
            Text(""),
            Text("one"),
            ToolCall("id-1", "pay", '{"to": "alice"}'),
            Text("two"),
        ),
    )
    assert erased(fact) == StepCompleted(
        step=1,
        reply=(
            Thinking(TOMBSTONE, provider="anthropic"),
            Text(""),
            Text(TOMBSTONE),
            ToolCall("id-1", "pay", "{}"),
            Text(""),
        ),
    )


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("pay", "pay"),
        ("agent__writer-2", "agent__writer-2"),
        ("dear alice", TOMBSTONE),
        ("a" * 65, TOMBSTONE),
        ("é", TOMBSTONE),
    ],
)
def test_a_name_that_a_model_made_up_stays_only_if_it_looks_like_one(name: str, left: str) -> None:
    skeleton = erased(StepCompleted(step=1, reply=(ToolCall("id", name, "{}"),)))
    assert isinstance(skeleton, StepCompleted)
    assert skeleton.reply == (ToolCall("id", left, "{}"),)


# ------------------------------------------------------------------ folding


def without_words(value: object) -> object:
    """A fold with every text that may be content replaced, so that what is left are its numbers and where it stands."""
    return msgspec.json.decode(msgspec.json.encode(_blank(msgspec.to_builtins(value))))


WORDS = {"output", "error", "reason", "arguments", "text", "question", "instructions", "url", "data"}


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        shown = {name: bool(one) if name in WORDS else _blank(one) for name, one in value.items()}
        if "outputs" in value:
            shown["outputs"] = [(phase, bool(output)) for phase, output in value["outputs"]]
        return shown
    if isinstance(value, (list, tuple)):
        return [_blank(one) for one in value]
    return value


@for_any_life()
def test_a_log_of_skeletons_goes_through_the_same_states(life: Life) -> None:
    whole, bare = RunState(), RunState()
    shown, bare_shown = Transcript(), Transcript()
    for fact in life.facts:
        skeleton = erased(fact)
        whole, bare = evolve(whole, fact), evolve(bare, skeleton)
        shown, bare_shown = evolve_transcript(shown, fact), evolve_transcript(bare_shown, skeleton)
        assert counted(whole) == counted(bare)
        assert [one.key for one in outstanding(whole)] == [one.key for one in outstanding(bare)]
        assert [one.role for one in shown.messages] == [one.role for one in bare_shown.messages]
        assert [len(one.parts) for one in shown.messages] == [len(one.parts) for one in bare_shown.messages]


def counted(state: RunState) -> object:
    return without_words(state)
